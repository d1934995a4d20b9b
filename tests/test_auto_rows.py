"""Auto-instrumentation of all libraries: what is read of a call, and that nested calls count once."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import xgboost
from onnx import TensorProto, helper
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from otel_mlmon import Monitor, Reference, catalog
from otel_mlmon.integrations.lightgbm import LightgbmInstrumentor
from otel_mlmon.integrations.onnxruntime import OnnxruntimeInstrumentor
from otel_mlmon.integrations.sklearn import SklearnInstrumentor
from otel_mlmon.integrations.xgboost import XgboostInstrumentor
from tests.readings import counted, readings

RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 2))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=["b", "a"])
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # sklearn, of arrays after a frame

ALL = (SklearnInstrumentor, XgboostInstrumentor, LightgbmInstrumentor, OnnxruntimeInstrumentor)


class Watch:
    """Instruments for one monitor, which it makes."""

    def __init__(self) -> None:
        self.monitor: Monitor | None = None

    def __call__(self, *instrumentors: Any, **options: Any) -> Monitor:
        self.monitor = Monitor("m", **options)
        for instrumentor in instrumentors:
            instrumentor().instrument(monitor=self.monitor)
        return self.monitor


@pytest.fixture
def watch() -> Iterator[Watch]:
    logging.getLogger("opentelemetry.instrumentation.instrumentor").disabled = True  # some are not instrumented
    made = Watch()
    yield made
    for instrumentor in ALL:
        instrumentor().uninstrument()
    assert made.monitor is not None
    made.monitor.close()
    logging.getLogger("opentelemetry.instrumentation.instrumentor").disabled = False


def reference(**outputs: Any) -> Reference:
    """Of the rows that the tests predict on; its columns stand in another order than the models'."""
    return Reference.build(FRAME[["a", "b"]], task="binary", predictions=outputs)


def counts(monitor: Monitor, feature: str) -> dict[str, float]:
    """Values by bin, without the empty ones."""
    assert monitor.flush()
    return {name: count for name, count in monitor.snapshot().features[feature].counts.items() if count}


def span(monitor: Monitor, feature: str) -> tuple[float, float]:
    """Least and greatest value."""
    assert monitor.flush()
    one = monitor.snapshot().features[feature]
    return one.minimum, one.maximum


def rows(monitor: Monitor) -> tuple[float, float]:
    """Calls that succeeded, and rows; nothing may have gone wrong."""
    calls, errors, _ = counted(monitor)
    assert (errors, sum(readings(monitor, catalog.INTERNAL_ERRORS).values())) == (0, 0)
    return calls, monitor.snapshot().rows


SPAN_A, SPAN_B = ((FRAME[name].min(), FRAME[name].max()) for name in ("a", "b"))


@pytest.mark.parametrize("known", [True, False], ids=["reference", "learned"])
@pytest.mark.parametrize("data", [X, X.tolist(), FRAME], ids=["array", "lists", "frame"])
def test_rows_by_position_bear_the_names_that_the_model_was_fitted_with(watch: Watch, data: Any, known: bool) -> None:
    """The reference's order is another one; read by position, a would be b."""
    monitor = watch(SklearnInstrumentor, **({"reference": reference(score=Y * 0.8)} if known else {"learn_rows": 40}))
    LogisticRegression().fit(FRAME, Y).predict(data)
    assert (span(monitor, "a"), span(monitor, "b")) == (SPAN_A, SPAN_B)


def test_other_names_than_the_references_leave_rows_in_their_positions(watch: Watch) -> None:
    """There is nothing to match them by."""
    monitor = watch(SklearnInstrumentor, reference=reference(score=Y * 0.8))
    LogisticRegression().fit(FRAME.set_axis(["u", "v"], axis=1), Y).predict(FRAME.set_axis(["u", "v"], axis=1).to_numpy()[:, ::-1])
    assert span(monitor, "a") == SPAN_A


def test_predictions_and_scores_are_those_of_the_models_classes(watch: Watch) -> None:
    """Whichever method is called; a class that is a float is no probability."""
    for names in (["no", "yes"], [0, 1], [1.0, 2.0], [-1, 1]):
        labels = np.array(names)[Y]
        model = LogisticRegression().fit(X, labels)
        expected = {str(name).removesuffix(".0"): count for name, count in pd.Series(model.predict(X)).value_counts().items()}
        score = model.predict_proba(X)[:, 1]
        monitor = watch(SklearnInstrumentor, reference=reference(prediction=labels, score=score))
        model.predict(X)
        assert counts(monitor, "@prediction") == expected
        model.predict_proba(X)
        assert counts(monitor, "@prediction") == {name: 2 * count for name, count in expected.items()}
        assert span(monitor, "@score") == (score.min(), score.max())
        SklearnInstrumentor().uninstrument()


def test_a_model_that_is_fitted_again_is_described_again(watch: Watch) -> None:
    monitor = watch(SklearnInstrumentor, reference=reference(prediction=np.array(["no", "yes"])[Y], score=Y * 0.8))
    model = LogisticRegression().fit(X, Y)
    model.predict_proba(X)
    model.fit(X, np.array(["no", "yes"])[Y]).predict_proba(X)
    assert counts(monitor, "@prediction")["yes"] > 0


class Several(ClassifierMixin, BaseEstimator):
    """Predicts several outputs a row."""

    def predict(self, data: Any) -> Any:
        return np.zeros((len(data), 3))

    def predict_proba(self, data: Any) -> Any:
        return [np.ones((len(data), 2))] * 3


def with_several() -> None:
    Several().predict(X)
    Several().predict_proba(X)


TEXTS = ["good", "bad", "good bad", "bad bad"]
TEXT_MODEL = make_pipeline(CountVectorizer(), MultinomialNB()).fit(TEXTS, [1, 0, 1, 0])
CALLS: dict[str, tuple[Callable[[], object], tuple[float, float]]] = {
    "texts": (lambda: TEXT_MODEL.predict(TEXTS), (1, 4)),
    "series of texts": (lambda: TEXT_MODEL.predict(pd.Series(TEXTS, name="text")), (1, 4)),
    "array of texts": (lambda: TEXT_MODEL.predict(np.array(TEXTS, dtype=object)), (1, 4)),
    "sparse": (lambda: LinearRegression().fit(X, Y).predict(sparse.csr_matrix(X)), (1, 40)),
    "by keyword": (lambda: LinearRegression().fit(X, Y).predict(X=X), (1, 40)),
    "by keyword, not first": (lambda: BayesianRidge().fit(X, Y).predict(return_std=False, X=X), (1, 40)),
    "several outputs": (with_several, (2, 80)),
    "several numbers": (lambda: LinearRegression().fit(X, X).predict(X), (1, 40)),
    "more than predictions": (lambda: BayesianRidge().fit(X, Y).predict(X, return_std=True), (1, 40)),
}


@pytest.mark.parametrize(("call", "expected"), CALLS.values(), ids=CALLS)
def test_any_input_and_output_counts_its_rows(watch: Watch, call: Callable[[], object], expected: tuple[float, float]) -> None:
    monitor = watch(SklearnInstrumentor)
    call()
    assert rows(monitor) == expected


def test_of_predictions_with_their_deviations_the_first_are_read(watch: Watch) -> None:
    model = BayesianRidge().fit(X, Y)
    monitor = watch(SklearnInstrumentor, learn_rows=40, task="regression")
    mean, _ = model.predict(X, return_std=True)
    assert span(monitor, "@prediction") == (mean.min(), mean.max())


XGB: Any = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(FRAME, Y)
LGBM: Any = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=2, n_jobs=1, verbose=-1).fit(FRAME, Y)
BOOSTER, LIGHT = XGB.get_booster(), LGBM.booster_


@pytest.mark.parametrize("model", [XGB, LGBM], ids=["xgboost", "lightgbm"])
@pytest.mark.parametrize(
    "instrumentors", [ALL, ALL[::-1], ALL[:1], ALL[1:]], ids=["all", "in another order", "sklearn alone", "without sklearn"]
)
def test_boosted_trees_count_once_whoever_watches(watch: Watch, model: Any, instrumentors: tuple[Any, ...]) -> None:
    """An estimator calls its booster; and it is scikit-learn's, too."""
    monitor = watch(*instrumentors, reference=reference(score=model.predict_proba(FRAME)[:, 1]))
    model.predict(FRAME)
    model.predict_proba(X)
    assert rows(monitor) == (2, 80)
    assert (span(monitor, "a"), sum(counts(monitor, "@score").values())) == (SPAN_A, 40)


def test_a_library_that_stays_takes_over_what_two_had_watched(watch: Watch) -> None:
    """The estimator's classes are observed, not its booster's probabilities."""
    monitor = watch(SklearnInstrumentor, XgboostInstrumentor, reference=reference(score=Y * 0.8))
    SklearnInstrumentor().uninstrument()
    XGB.predict(FRAME)
    assert rows(monitor) == (1, 40)
    assert counts(monitor, "@score") == {}
    XgboostInstrumentor().uninstrument()
    XGB.predict(FRAME)
    assert rows(monitor) == (1, 40)


SCORES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "xgboost, matrix": (lambda: BOOSTER.predict(xgboost.DMatrix(FRAME)), lambda: XGB.predict_proba(FRAME)[:, 1]),
    "xgboost, in place": (lambda: BOOSTER.inplace_predict(FRAME), lambda: XGB.predict_proba(FRAME)[:, 1]),
    "lightgbm": (lambda: LIGHT.predict(X), lambda: LGBM.predict_proba(FRAME)[:, 1]),
}


@pytest.mark.parametrize(("call", "oracle"), SCORES.values(), ids=SCORES)
def test_a_booster_gives_the_probabilities_that_its_objective_makes(
    watch: Watch, call: Callable[[], Any], oracle: Callable[[], Any]
) -> None:
    """The estimator's probabilities are the oracle. The rows of a DMatrix can only be counted."""
    score = oracle()
    monitor = watch(XgboostInstrumentor, LightgbmInstrumentor, reference=reference(score=score))
    call()
    assert rows(monitor) == (1, 40)
    assert span(monitor, "@score") == pytest.approx((score.min(), score.max()))
    assert span(monitor, "a") in (SPAN_A, pytest.approx((np.nan, np.nan), nan_ok=True))


OTHERS: dict[str, Callable[[], Any]] = {
    "leaves": lambda: BOOSTER.predict(xgboost.DMatrix(FRAME), pred_leaf=True),
    "contributions": lambda: BOOSTER.predict(xgboost.DMatrix(FRAME), pred_contribs=True),
    "margins of a booster": lambda: BOOSTER.predict(xgboost.DMatrix(FRAME), output_margin=True),
    "margins in place": lambda: BOOSTER.inplace_predict(FRAME, predict_type="margin"),
    "margins": lambda: XGB.predict(FRAME, output_margin=True),
    "margins by position": lambda: LIGHT.predict(X, 0, None, True),
    "lightgbm's leaves": lambda: LIGHT.predict(X, pred_leaf=True),
    "lightgbm's contributions": lambda: LGBM.predict(FRAME, pred_contrib=True),
}


@pytest.mark.parametrize("call", OTHERS.values(), ids=OTHERS)
def test_what_is_no_prediction_is_not_taken_for_one(watch: Watch, call: Callable[[], Any]) -> None:
    monitor = watch(XgboostInstrumentor, LightgbmInstrumentor, reference=reference(score=Y * 0.8))
    call()
    assert rows(monitor) == (1, 40)
    assert (counts(monitor, "@score"), counts(monitor, "@prediction")) == ({}, {})


def test_what_xgboost_asks_itself_while_it_trains_does_not_count(watch: Watch) -> None:
    """An objective in Python is given the booster's own predictions."""
    monitor = watch(XgboostInstrumentor)
    data = xgboost.DMatrix(X, Y)
    xgboost.train({"nthread": 1}, data, 2, obj=lambda margin, _: (margin - Y, np.ones(len(Y))))
    assert rows(monitor) == (0, 0)


def session(nodes: list[Any], inputs: dict[str, list[Any]], outputs: list[Any], path: Path | None = None) -> Any:
    """An onnxruntime session of a graph."""
    feeds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, "graph", feeds, outputs)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if path is not None:
        path.write_bytes(model)
    return onnxruntime.InferenceSession(path or model, options, providers=["CPUExecutionProvider"])


def classifier(*, zipmap: bool) -> Any:
    """Logistic regression as converters write it: a label, and probabilities as a matrix or as a mapping a row."""
    line = helper.make_node(
        "LinearClassifier",
        ["X"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=[-2.0, 0.0, 2.0, 0.0],
        intercepts=[0.0, 0.0],
        classlabels_ints=[0, 1],
        post_transform="SOFTMAX",
    )
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    if not zipmap:
        return session([line], {"X": [None, 2]}, [label, helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])])
    mapping = helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, [])))
    return session([line, mapping], {"X": [None, 2]}, [label, helper.make_value_info("maps", kind)])


@pytest.mark.parametrize("zipmap", [False, True], ids=["matrix", "zipmap"])
def test_an_onnx_classifiers_label_and_probabilities_are_prediction_and_score(watch: Watch, zipmap: bool) -> None:
    expected = 1 / (1 + np.exp(-4 * X[:, 0].astype(np.float32)))
    monitor = watch(
        OnnxruntimeInstrumentor, reference=Reference.build(FRAME, task="binary", predictions={"prediction": Y, "score": expected})
    )
    classifier(zipmap=zipmap).run(None, {"X": X.astype(np.float32)})
    assert rows(monitor) == (1, 40)
    assert counts(monitor, "@prediction") == {"0": sum(Y == 0), "1": sum(Y == 1)}
    assert span(monitor, "@score") == pytest.approx((expected.min(), expected.max()), abs=1e-6)
    assert span(monitor, "b") == pytest.approx(SPAN_B, rel=1e-6)


def test_an_onnx_graph_with_an_input_a_feature_is_read_by_their_names(watch: Watch) -> None:
    graph = session(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        {"b": [None, 1], "a": [None, 1]},
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 1])],
    )
    monitor = watch(OnnxruntimeInstrumentor, learn_rows=40, task="regression")
    column = {name: FRAME[[name]].to_numpy(np.float32) for name in ("b", "a")}
    graph.run(["sum"], input_feed=column)
    assert rows(monitor) == (1, 40)
    assert span(monitor, "a") == pytest.approx(SPAN_A, rel=1e-6)
    total = FRAME["a"] + FRAME["b"]
    assert span(monitor, "@prediction") == pytest.approx((total.min(), total.max()), rel=1e-5)


def test_images_are_only_counted(watch: Watch) -> None:
    graph = session(
        [helper.make_node("Flatten", ["image"], ["flat"])],
        {"image": [None, 1, 2, 2]},
        [helper.make_tensor_value_info("flat", TensorProto.FLOAT, [None, 4])],
    )
    monitor = watch(OnnxruntimeInstrumentor)
    graph.run(None, {"image": np.zeros((5, 1, 2, 2), np.float32)})
    assert rows(monitor) == (1, 5)


def test_an_onnx_output_without_dimensions_is_no_prediction(watch: Watch) -> None:
    graph = session(
        [helper.make_node("ArgMax", ["x"], ["best"], axis=0, keepdims=0)],
        {"x": [None]},
        [helper.make_tensor_value_info("best", TensorProto.INT64, [])],
    )
    monitor = watch(OnnxruntimeInstrumentor)
    assert graph.run(None, {"x": np.arange(3, dtype=np.float32)})[0] == 2
    assert rows(monitor) == (1, 3)


def test_an_onnx_session_that_raises_says_what_it_says_without_us(watch: Watch) -> None:
    monitor = watch(OnnxruntimeInstrumentor)
    with pytest.raises(ValueError, match="Required inputs"):
        classifier(zipmap=False).run(None, {"Y": X})
    with pytest.raises(TypeError, match="input_feed"):
        classifier(zipmap=False).run(None)
    assert counted(monitor) == (0, 2, 0)


def test_uninstrument_restores_every_library(watch: Watch) -> None:
    places = [
        *((xgboost.Booster, name) for name in ("predict", "inplace_predict", "update", "eval_set", "__init_subclass__")),
        *((kind, name) for kind in (xgboost.XGBModel, lightgbm.LGBMModel) for name in ("fit", "predict", "__init_subclass__")),
        *((lightgbm.Booster, name) for name in ("predict", "__init_subclass__")),
        *((onnxruntime.InferenceSession.__mro__[1], name) for name in ("run", "__init_subclass__")),
    ]
    before = [vars(kind).get(name) for kind, name in places]
    watch(*ALL)
    during = [vars(kind).get(name) for kind, name in places]
    for instrumentor in ALL:
        instrumentor().uninstrument()
    after = [vars(kind).get(name) for kind, name in places]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert sum(one is not other for one, other in zip(before, during, strict=True)) >= 13
