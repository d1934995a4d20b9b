"""Auto-instrumentation of scikit-learn: what counts, and that nobody else notices."""

import inspect
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn import discriminant_analysis, dummy, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, config_context
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from otel_mlmon import Monitor
from otel_mlmon.integrations.sklearn import SklearnInstrumentor
from tests.readings import counted

RNG = np.random.default_rng(11)
X = RNG.normal(size=(30, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """Takes every call of an estimator."""
    with Monitor("m", task="binary", learn_rows=10) as made:
        SklearnInstrumentor().instrument(monitor=made)
        yield made
        SklearnInstrumentor().uninstrument()


def rows(monitor: Monitor) -> float:
    assert monitor.flush()
    return monitor.snapshot().rows


def calls(monitor: Monitor) -> float:
    return counted(monitor)[0]


PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
MODELS: dict[str, Any] = {
    "pipeline": PIPELINE,
    "forest with threads": RandomForestClassifier(4, n_jobs=2).fit(X, Y),
    "voting with threads": VotingClassifier([("a", RandomForestClassifier(3, n_jobs=2))], voting="soft").fit(X, Y),
    "stacking": StackingClassifier([("a", LogisticRegression())], DummyClassifier(), cv=2).fit(X, Y),
    "search": GridSearchCV(PIPELINE, {"logisticregression__C": [1.0]}, cv=2).fit(X, Y),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_call_counts_once_whatever_it_calls_in_turn(monitor: Monitor, model: Any, method: str) -> None:
    getattr(model, method)(X[:7])
    assert (calls(monitor), rows(monitor)) == (1, 7)


def test_a_call_that_waits_in_a_thread_of_joblib_is_part_of_the_call_outside(monitor: Monitor) -> None:
    """Threads do not inherit context variables; the tasks carry it."""

    class Committee(ClassifierMixin, BaseEstimator):
        def predict(self, data: Any) -> Any:
            with joblib.parallel_config(backend="threading"):
                votes = joblib.Parallel(n_jobs=2)(joblib.delayed(PIPELINE.predict)(data) for _ in range(8))
            return np.mean(votes, axis=0)

    Committee().predict(X)
    assert calls(monitor) == 1


def test_calls_in_joblib_threads_that_nobody_called_for_count(monitor: Monitor) -> None:
    joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(PIPELINE.predict)(X[:1]) for _ in range(5))
    assert calls(monitor) == 5


TRAINING: dict[str, Callable[[], object]] = {
    "fit": lambda: in_threads(lambda: StackingClassifier([("a", LogisticRegression())], cv=2, n_jobs=2).fit(X, Y)),
    "search": lambda: GridSearchCV(PIPELINE, {"logisticregression__C": [1.0]}, cv=2).fit(X, Y),
    "score": lambda: PIPELINE.score(X, Y),
    "cross_val_score": lambda: cross_val_score(PIPELINE, X, Y, cv=2),
    "single scorer": lambda: get_scorer("neg_log_loss")(PIPELINE, X, Y),
    "scorer with probabilities": lambda: cross_val_score(PIPELINE, X, Y, cv=2, scoring="neg_log_loss"),
    "cross_val_predict": lambda: cross_val_predict(PIPELINE, X, Y, cv=2, method="predict_proba"),
    "in threads": lambda: in_threads(lambda: cross_val_predict(PIPELINE, X, Y, cv=2, n_jobs=2)),
    "fit_predict": lambda: IsolationForest(n_estimators=2).fit_predict(X),
}


def in_threads(function: Callable[[], object]) -> None:
    with joblib.parallel_config(backend="threading"):
        function()


@pytest.mark.parametrize("train", TRAINING.values(), ids=TRAINING)
def test_training_and_evaluation_are_no_traffic(monitor: Monitor, train: Callable[[], object]) -> None:
    train()
    assert calls(monitor) == 0
    PIPELINE.predict(X[:2])
    assert calls(monitor) == 1


class FromMixin:
    def predict(self, data: Any) -> Any:
        return np.full(len(data), 0.25)


class Mixed(FromMixin, RegressorMixin, BaseEstimator):
    """Its predict is written in a class that is no estimator."""


class Negated(LogisticRegression):
    def predict(self, data: Any) -> Any:
        """The other class."""
        return 1 - super().predict(data)


def test_classes_written_later_are_watched_too(monitor: Monitor) -> None:
    class Later(BaseEstimator):
        def predict(self, data: Any) -> Any:
            return np.zeros(len(data))

    Later().predict(X)
    Mixed().predict(X)
    Negated().fit(X, Y).predict(X)
    assert calls(monitor) == 3


class Frozen(type):
    """Of classes whose ``predict`` nobody may replace."""

    def __setattr__(cls, name: str, value: object) -> None:
        if name == "predict":
            raise AttributeError("this class is finished")
        super().__setattr__(name, value)


def test_a_class_that_lets_nobody_change_it_comes_into_being_unwatched(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    class Stone(BaseEstimator, metaclass=Frozen):
        def predict(self, data: Any) -> Any:
            return data

    assert Stone().predict(3) == 3
    assert "'Stone' is not watched: this class is finished" in caplog.text
    SklearnInstrumentor().uninstrument()
    SklearnInstrumentor().instrument(monitor=monitor)  # when the class is there already
    assert caplog.text.count("'Stone' is not watched") == 2
    assert "'sklearn.base' is not watched" not in caplog.text


def test_a_method_of_another_kind_stays_of_its_kind(monitor: Monitor) -> None:
    """A framework asks: what it does not find to be a coroutine function it does not await."""

    class Remote(BaseEstimator):
        async def predict(self, data: Any) -> Any:
            return data

        def fit(self, data: Any) -> Iterator[int]:
            yield len(data)

        async def predict_proba(self, data: Any) -> AsyncIterator[Any]:
            yield data

    assert inspect.iscoroutinefunction(Remote().predict)
    assert inspect.isgeneratorfunction(Remote().fit)
    assert inspect.isasyncgenfunction(Remote().predict_proba)


def test_a_replaced_method_that_another_class_holds_too_is_put_back_there(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """A dataclass with slots is a copy of the class that was written; what forbids the change costs itself alone."""

    @dataclass(slots=True)
    class Constant(BaseEstimator):
        value: float = 0.0

        def predict(self, data: Any) -> Any:
            return np.full(len(data), self.value)

    class Stone(BaseEstimator, metaclass=Frozen):
        predict = Constant.predict

    class Same(BaseEstimator):
        predict = Constant.predict

    ours = vars(Constant)["predict"]
    assert Constant(3.0).predict(X)[0] == 3.0
    assert calls(monitor) == 1
    SklearnInstrumentor().uninstrument()
    assert vars(Constant)["predict"] is vars(Same)["predict"] is ours.replaced
    assert "Stone.predict stays replaced: this class is finished" in caplog.text


def attributes() -> dict[tuple[str, str], object]:
    """What the classes concerned hold."""
    kinds = {ancestor for _, kind in ESTIMATORS for ancestor in kind.__mro__ if ancestor is not object}
    kinds |= {Mixed, FromMixin, Negated, joblib.Parallel, type(cross_val_score)}
    return {(str(kind), name): value for kind in kinds for name, value in vars(kind).items() if not name.startswith("_abc")}


ESTIMATORS: list[tuple[str, Any]] = [
    (name, kind)
    for module in (discriminant_analysis, dummy, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree)
    for name, kind in vars(module).items()
    if inspect.isclass(kind)
    and issubclass(kind, (ClassifierMixin, RegressorMixin))
    and hasattr(kind, "fit")
    and not inspect.isabstract(kind)
]
"""The public ones of the packages that hold nearly all of them; ``all_estimators`` would import all of scikit-learn's tests."""


BEFORE = attributes()
"""As tests are collected: before any of them could leave something behind."""


def test_uninstrument_puts_back_the_very_same_attributes() -> None:
    with Monitor("m") as monitor:
        SklearnInstrumentor().instrument(monitor=monitor)
        during = attributes()
        SklearnInstrumentor().uninstrument()
    after = attributes()
    assert len([key for key in during if during[key] is not BEFORE.get(key)]) > 100
    assert BEFORE.keys() == after.keys()
    assert [key for key in after if after[key] is not BEFORE[key]] == []


def test_instrumenting_twice_does_nothing_twice(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    SklearnInstrumentor().instrument(monitor=monitor)
    assert "already instrumented" in caplog.text
    PIPELINE.predict(X)
    assert calls(monitor) == 1


def test_who_has_a_method_stays_as_it_was(monitor: Monitor) -> None:
    """Behind ``available_if`` it is the fitted model that says."""
    assert hasattr(PIPELINE, "predict_proba")
    assert not hasattr(make_pipeline(StandardScaler(), LinearRegression()), "predict_proba")
    assert not hasattr(VotingClassifier([], voting="hard"), "predict_proba")
    assert not hasattr(LinearRegression(), "predict_proba")
    with pytest.raises(AttributeError, match="'SVC' has no attribute 'predict_proba'"):
        SVC(probability=False).predict_proba  # noqa: B018 - asking is the test


def test_estimators_look_copy_and_pickle_as_before(monitor: Monitor) -> None:
    model = Negated(C=2.0).fit(X, Y)
    assert str(inspect.signature(model.predict)) == "(data: Any) -> Any"
    assert model.predict.__doc__ == "The other class."
    assert inspect.isfunction(Negated.predict)
    assert "1 - super()" in inspect.getsource(Negated.predict)
    assert clone(model).set_params(C=3.0).get_params()["C"] == 3.0
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert np.array_equal(pickle.loads(pickle.dumps(model.predict))(X), model.predict(X))
    assert isinstance(pickle.loads(pickle.dumps(PIPELINE.predict)).__self__, Pipeline)


def test_metadata_is_routed_as_before(monitor: Monitor) -> None:
    """Requests are read off signatures when a class is written."""
    with config_context(enable_metadata_routing=True):

        class Weighted(ClassifierMixin, BaseEstimator):
            def fit(self, data: Any, y: Any, sample_weight: Any = None) -> Any:
                self.weight_, self.classes_ = sample_weight, np.unique(y)
                return self

            def predict(self, data: Any, offset: int = 0) -> Any:
                return np.full(len(data), offset)

        model = make_pipeline(Weighted().set_fit_request(sample_weight=True).set_predict_request(offset=True))
        model.fit(X, Y, sample_weight=np.ones(30))
        assert model[-1].weight_ is not None
        assert model.predict(X, offset=4).tolist() == [4] * 30


def by_value() -> Any:
    """A class as a notebook writes it: pickled with its methods."""
    scope: dict[str, Any] = {"__name__": "__main__", "BaseEstimator": BaseEstimator}
    exec("class Own(BaseEstimator):\n    def predict(self, data):\n        return [1] * len(data)\n", scope)  # noqa: S102
    return scope["Own"]


def test_a_class_of_main_is_pickled_with_its_methods(monitor: Monitor) -> None:
    """By value, as joblib sends it to its processes: what a method holds goes along, so that may be no lock and no monitor."""
    copied = pickle.loads(cloudpickle.dumps(by_value()()))
    assert copied.predict([0, 0]) == [1, 1]
    assert calls(monitor) == 1
    SklearnInstrumentor().uninstrument()  # as in a process where nothing is instrumented
    assert copied.predict([0, 0]) == [1, 1]
    assert calls(monitor) == 1
    SklearnInstrumentor().instrument(monitor=monitor)


def test_exceptions_pass_through_and_count_as_errors(monitor: Monitor) -> None:
    with pytest.raises(NotFittedError):
        LogisticRegression().predict(X)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        PIPELINE.predict()
    assert counted(monitor) == (0, 2, 0)
    PIPELINE.predict(X)
    assert counted(monitor) == (1, 2, 0)


def test_the_result_is_the_models_own_object(monitor: Monitor) -> None:
    result = np.zeros(30)

    class Same(BaseEstimator):
        def predict(self, data: Any) -> Any:
            return result

    assert Same().predict(X) is result


def test_threads_do_not_take_each_others_calls_for_their_own(monitor: Monitor) -> None:
    """Each stands in a call of its own when the others begin."""
    barrier = threading.Barrier(4, timeout=20)

    class Slow(BaseEstimator):
        def predict(self, data: Any) -> Any:
            barrier.wait()
            return np.zeros(len(data))

    threads = [threading.Thread(target=Slow().predict, args=(X,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert calls(monitor) == 4


FAST = [
    (name, kind)
    for name, kind in ESTIMATORS
    if not name.startswith(("GaussianProcess", "GradientBoosting", "HistGradient", "MLP", "CategoricalNB", "Multi", "Isotonic"))
    and not name.endswith(("Chain", "CV", "ForestClassifier", "ForestRegressor", "TreesClassifier", "TreesRegressor"))
    and not {"estimator", "estimators"}.intersection(inspect.signature(kind).parameters)
]


def fitted() -> dict[str, Any]:
    """Each fast estimator."""
    found = {}
    for name, kind in FAST:
        parameters = inspect.signature(kind).parameters
        options = {key: value for key, value in {"random_state": 0, "n_estimators": 3}.items() if key in parameters}
        found[name] = kind(**options).fit(np.abs(X), Y + 1)
    return found


def predictions(models: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """What they predict, by method."""
    data = np.abs(X[:6])
    return {
        (name, method): getattr(model, method)(data)
        for name, model in models.items()
        for method in ("predict", "predict_proba")
        if hasattr(model, method)
    }


@pytest.mark.filterwarnings("ignore")  # estimators say that they did not converge, or are deprecated
def test_every_estimator_predicts_the_same_and_counts_each_call_once(monitor: Monitor) -> None:
    models = fitted()
    watched = predictions(models)
    assert calls(monitor) == len(watched)
    assert rows(monitor) == 6 * len(watched)
    SklearnInstrumentor().uninstrument()
    plain = predictions(models)
    SklearnInstrumentor().instrument(monitor=monitor)
    assert len(watched) > 50
    assert watched.keys() == plain.keys()
    for key in plain:
        np.testing.assert_array_equal(watched[key], plain[key], err_msg=str(key))
