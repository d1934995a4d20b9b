"""What models return becomes ``@prediction`` and ``@score``; scikit-learn's own models are the example."""

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from otel_mlmon import catalog
from otel_mlmon.catalog import PREDICTION, SCORE
from otel_mlmon.feature import Feature
from otel_mlmon.monitor import Monitor
from otel_mlmon.outputs import Task, interpret, join
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from tests.counts import QUIET, Counts, assert_same, counted, counts_of, one, series
from tests.tensors import Tensor

SCHEMA = Schema((Feature("x"),))
ROW = [0.0]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@functools.cache
def reference(task: Task | None) -> Reference:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 1))
    predictions: dict[Task | None, Any] = {
        "binary": rng.random(200),
        "multiclass": rng.choice(["a", "b", "3"], 200),
        "regression": x[:, 0],
        "ranking": rng.random(200),
        None: x[:, 0],
    }
    return Reference.build(x, names=["x"], task=task, predictions=predictions[task])


# ---------------------------------------------------------------- one call
def fitted(classes: int) -> tuple[LogisticRegression, Floats]:
    x, y = make_classification(n_samples=120, n_informative=4, n_features=5, n_redundant=0, n_classes=classes, random_state=0)
    return LogisticRegression(max_iter=500).fit(x, y), x


def test_binary_probabilities_decide_as_scikit_learn_does() -> None:
    model, x = fitted(2)
    found = interpret(model.predict_proba(x), "binary", len(x))
    assert found.prediction is not None
    assert found.score is not None
    np.testing.assert_array_equal(found.prediction, model.predict(x))
    np.testing.assert_array_equal(found.score, model.predict_proba(x)[:, 1])


def test_the_positive_column_alone_means_the_same() -> None:
    model, x = fitted(2)
    found = interpret(model.predict_proba(x)[:, 1], "binary", len(x))
    assert found.prediction is not None
    np.testing.assert_array_equal(found.prediction, model.predict(x))


def test_multiclass_probabilities_give_the_likeliest_class_and_its_probability() -> None:
    model, x = fitted(4)
    found = interpret(model.predict_proba(x), "multiclass", len(x))
    assert found.prediction is not None
    assert found.score is not None
    np.testing.assert_array_equal(model.classes_[found.prediction], model.predict(x))
    np.testing.assert_array_equal(found.score, model.predict_proba(x).max(axis=1))


@pytest.mark.parametrize(
    "result", [0.5, np.float32(0.5), [0.5], np.array([0.5]), np.array([[0.5]]), np.array([[0.5, 0.5]]), (0.5, 0.5)]
)
def test_a_lone_probability_in_any_form_is_class_one_from_one_half_on(result: Any) -> None:
    found = interpret(result, "binary", 1)
    assert found.prediction is not None
    assert found.score is not None
    assert (found.prediction.tolist(), found.score.tolist()) == ([1], [0.5])


@pytest.mark.parametrize(
    "result", [1, True, "late", [1], np.array([True]), np.array(["late"]), pd.Series([1]), np.array([1.0], dtype=object)]
)
def test_a_binary_result_that_is_no_float_is_a_class_without_score(result: Any) -> None:
    if isinstance(result, np.ndarray) and result.dtype.kind == "O":  # floats stay floats, whatever holds them
        assert interpret(result, "binary", 1).score is not None
    else:
        assert interpret(result, "binary", 1).score is None


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        (2, [2.0]),
        (2.5, [2.5]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, None], [1.0, np.nan]),
        ([10**400, 1], [np.inf, 1.0]),
        (np.array([[1], [2]]), [1.0, 2.0]),
    ],
)
def test_a_regression_gives_numbers_with_gaps(result: Any, wanted: list[float]) -> None:
    found = interpret(result, "regression", len(wanted))
    assert found.numeric
    np.testing.assert_array_equal(found.prediction, wanted)


def test_a_ranking_gives_scores_only() -> None:
    found = interpret([0.3, 0.1], "ranking", 2)
    assert found.prediction is None
    np.testing.assert_array_equal(found.score, [0.3, 0.1])


@pytest.mark.parametrize(
    ("result", "task", "rows"),
    [
        ([1, 2, 3], "binary", 2),
        ([[0.1, 0.2, 0.7]], "binary", 1),
        ([[0.5, 0.5]], "regression", 1),
        ("high", "regression", 1),
        (["3", "4"], "regression", 2),
        ([0.7, "a", None, True], None, 3),
        (np.zeros((2, 2, 2)), "multiclass", 2),
        ({"label": "a"}, "multiclass", 1),
        ({}, "multiclass", 1),
        ({"prediction": 1, "extra": 2}, "multiclass", 1),
        (object(), "regression", 1),
        ([[1, 2], [3]], "multiclass", 2),
        (np.array([0.7, True], dtype=object), "binary", 2),
    ],
)
def test_what_does_not_fit_is_refused(result: Any, task: Task | None, rows: int) -> None:
    with pytest.raises(ValueError):
        interpret(result, task, rows)


def test_one_long_text_does_not_widen_the_others() -> None:
    """An array of strings gives each the room of the longest: 10,000 times 1 MB would be 40 GB."""
    texts = ["x" * 1_000_000, *["y"] * 9_999]
    found = interpret(texts, "multiclass", 10_000)
    together = interpret(join(texts, [1] * 10_000), "multiclass", 10_000)
    assert found.prediction is not None
    assert together.prediction is not None
    assert found.prediction.nbytes + together.prediction.nbytes < 1_000_000


# ---------------------------------------------------------------- many calls
NAN = float("nan")
SINGLE: dict[Task | None, list[Any]] = {
    "binary": [
        *(0.7, 0.2, NAN, np.float32(0.4), [0.9], np.array([0.6]), np.array(0.7), pd.Series([0.3]), Tensor([0.7]), Tensor(0.7)),
        *([0.2, 0.8], np.array([[0.9, 0.1]]), Tensor([[0.1, 0.9]])),
        *(1, 0, True, "late", "la\0", np.str_("x"), b"x", np.array([1]), [True]),
        *({"score": 0.7}, {"prediction": 1}, {"prediction": 0, "score": 0.1}, {"prediction": "a", "score": 1}),
        *(None, [None], [1, 2, 3], object(), {"what": 1}, [], {}),
    ],
    "multiclass": [
        *("a", "b", 3, 3.0, np.int64(3), "3", ["a"], True, {"prediction": "a", "score": 0.9}),
        *([0.1, 0.2, 0.7], np.array([[1, 0, 0]]), None, [None], [[1, 2], [3]]),
    ],
    "regression": [
        *(1, 2.5, True, np.float32(1.5), [3], np.array([[4.5]]), 10**400, float("inf"), {"prediction": 2}, Tensor([1.0])),
        *(None, [None], "x", NAN, [1, 2]),
    ],
    "ranking": [0.5, 1, [0.25], {"score": 0.5}, None, "x", {"prediction": 1}],
    None: [0.5, 1.5, 1, "a", True, [0.25], {"prediction": 2.5}, {"score": 0.5}, None, [0.3, 0.7]],
}


@pytest.mark.parametrize("task", SINGLE)
def test_results_of_any_mixture_count_together_as_they_do_alone(task: Task | None) -> None:
    """The drain that brings calls together must not change what one of them means."""
    rng = np.random.default_rng(0)
    alone = [counted([(ROW, result)], reference(task)) for result in SINGLE[task]]
    for _ in range(25):
        chosen = rng.integers(0, len(alone), size=rng.integers(2, 8)).tolist()
        found = counted([(ROW, SINGLE[task][number]) for number in chosen], reference(task))
        assert_same(
            _summed([alone[number] for number in chosen]), _summed([found]), str([SINGLE[task][number] for number in chosen])
        )


@pytest.mark.parametrize(
    "results",
    [[{"score": 0.7}, {"prediction": 0, "score": 0.1}], [{"prediction": 1, "score": 0.7}, {"score": 0.1}], [0.7, {"score": 0.1}]],
)
def test_results_that_name_different_things_do_not_go_together(results: list[Any]) -> None:
    """What one of them lacks would count as missing, or what one of them has would be lost."""
    with pytest.raises(ValueError, match="different keys"):
        join(results, [1] * len(results))


def test_an_empty_call_changes_nothing_for_the_others() -> None:
    calls = [(np.zeros((0, 1)), []), (np.zeros((2, 1)), [1, 0]), (np.zeros((0, 1)), np.zeros((0, 2))), (ROW, 1)]
    counts = counted(calls, reference("binary"))
    assert series(counts, catalog.FEATURE_BIN, PREDICTION) == {"0": 1, "1": 2}
    assert not series(counts, catalog.FEATURE_BIN, SCORE)


def _summed(counts: list[Counts]) -> Counts:
    total: Counts = {}
    for some in counts:
        for key, values in some.items():
            if key[0] not in (catalog.FEATURE_MIN.name, catalog.FEATURE_MAX.name):
                total[key] = tuple(np.add(total.get(key, (0.0,) * len(values)), values).tolist())
    return total


# ---------------------------------------------------------------- through a monitor
def test_an_unreadable_prediction_is_counted_and_costs_nobody_else() -> None:
    counts = counted([(ROW, 0.9), (ROW, [1, 2, 3]), (ROW, 0.8), (ROW, object())], reference("binary"))
    assert one(counts, catalog.INTERNAL_ERRORS, "prediction") == 1  # what can be no prediction at all is none
    assert series(counts, catalog.FEATURE_BIN, PREDICTION) == {"1": 2}
    assert sum(series(counts, catalog.FEATURE_BIN, "x").values()) == 4


def test_calls_without_prediction_count_their_rows_only() -> None:
    counts = counted([(ROW, None), (ROW, 0.9), (ROW, None)], reference("binary"))
    assert sum(series(counts, catalog.FEATURE_BIN, "x").values()) == 3
    assert sum(series(counts, catalog.FEATURE_BIN, PREDICTION).values()) == 1
    assert not series(counts, catalog.FEATURE_MISSING, PREDICTION)


def test_a_failed_call_counts_its_rows_but_no_predictions() -> None:
    with Monitor("model", version="1", reference=reference("binary"), settings=QUIET) as monitor:

        @monitor.watch
        def predict(row: list[float]) -> float:
            if row[0] > 1:
                raise LookupError("no such model")
            return 0.9

        predict(ROW)
        with pytest.raises(LookupError):
            predict([2.0])
        counts = counts_of(monitor)
        assert one(counts, catalog.PREDICTIONS) == 1
        assert sum(series(counts, catalog.FEATURE_BIN, PREDICTION).values()) == 1
        assert sum(series(counts, catalog.FEATURE_BIN, "x").values()) == 2
        assert monitor.snapshot().calls == {"ok": 1, "error": 1, "cancelled": 0}


def test_what_a_model_returned_is_copied_before_the_caller_changes_it() -> None:
    array, rows, tensor, inner, listed = np.array([0.9]), [[0.1, 0.9]], Tensor([0.9]), np.array([0.9]), [1]
    named = {"score": inner, "prediction": listed}
    with Monitor("model", version="1", reference=reference("binary"), settings=QUIET) as monitor:
        for result in (array, rows, tensor, named):
            monitor.observe(ROW, result)
        array[:] = inner[:] = 0.0
        rows[0][:] = 1.0, 0.0
        listed[0] = 0
        tensor.fill(0.0)
        assert series(counts_of(monitor), catalog.FEATURE_BIN, PREDICTION) == {"1": 4}


def test_a_schema_alone_counts_gaps_of_outputs() -> None:
    """Without a reference there are no bins; what is missing or invalid still shows."""
    counts = counted([(ROW, float("nan")), (ROW, float("inf")), (ROW, 0.5)], SCHEMA, task="binary")
    assert one(counts, catalog.FEATURE_MISSING, SCORE) == 1
    assert one(counts, catalog.FEATURE_INVALID, SCORE, "infinite") == 1
