"""A schema or a reference from the first rows of a process; the rows that were held count all the same."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_mlmon import catalog
from otel_mlmon.catalog import PREDICTION, SCORE
from otel_mlmon.feature import Feature
from otel_mlmon.monitor import Monitor
from otel_mlmon.outputs import Task
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from tests.counts import QUIET, Call, Counts, assert_same, counts_of, one, series
from tests.tensors import Tensor

RNG = np.random.default_rng(8)
VALUES = RNG.normal(size=(60, 2))
DICTS: list[dict[str, Any]] = [{"a": a, "b": b} for a, b in VALUES.tolist()]
SCORES: list[float] = RNG.random(60).tolist()


def observed(
    calls: Iterable[Call], *, learn_rows: int | None = 30, task: Task | None = "binary", schema: Schema | None = None
) -> tuple[Monitor, Counts]:
    """A monitor that learned, and what it counted."""
    with Monitor("model", version="1", settings=QUIET, learn_rows=learn_rows, task=task, schema=schema) as monitor:
        for features, prediction in calls:
            monitor.observe(features, prediction)
        return monitor, counts_of(monitor)


def learned(calls: Iterable[Call], **options: Any) -> tuple[Reference, Counts]:
    monitor, counts = observed(calls, **options)
    assert monitor.reference is not None
    return monitor.reference, counts


def total(counts: Counts, feature: str) -> float:
    return sum(series(counts, catalog.FEATURE_BIN, feature).values())


FORMS: dict[str, list[Call]] = {
    "dicts": list(zip(DICTS, SCORES, strict=True)),
    "arrays": list(zip(VALUES, SCORES, strict=True)),
    "list of dicts": [(DICTS[:20], SCORES[:20]), (DICTS[20:], SCORES[20:])],
    "matrices": [(VALUES[:20], SCORES[:20]), (VALUES[20:], SCORES[20:])],
    "frames": [(pd.DataFrame(DICTS[:20]), SCORES[:20]), (pd.DataFrame(DICTS[20:]), SCORES[20:])],
    "tensors": [(Tensor(VALUES[:20]), Tensor(SCORES[:20])), (Tensor(VALUES[20:]), Tensor(SCORES[20:]))],
    "list of tensors": [([Tensor(row) for row in VALUES], SCORES)],
    "both": [*zip(DICTS[:20], SCORES[:20], strict=True), (pd.DataFrame(DICTS[20:]), SCORES[20:])],
}


@pytest.mark.parametrize("form", FORMS)
def test_all_rows_count_those_held_included(form: str) -> None:
    reference, counts = learned(FORMS[form])
    assert 30 <= reference.rows <= 60
    assert [total(counts, name) for name in (*reference.schema.names, PREDICTION, SCORE)] == [60.0] * 4
    assert one(counts, catalog.PREDICTIONS) == 60


def test_the_reference_is_that_of_the_first_rows() -> None:
    """Built by hand from the same rows, it has the same bins and counts."""
    with Monitor("model", version="1", settings=QUIET, learn_rows=30, task="binary") as monitor:
        for row, score in zip(DICTS[:30], SCORES[:30], strict=True):
            monitor.observe(row, score)
        assert monitor.flush()
        first = counts_of(monitor)
        monitor.observe(DICTS[30:], SCORES[30:])
        both = counts_of(monitor)
        assert monitor.reference is not None
        by_hand = Reference.build(DICTS[:30], predictions=SCORES[:30], task="binary")
        assert [(p.bins, p.counts) for p in monitor.reference.profiles] == [(p.bins, p.counts) for p in by_hand.profiles]
    assert (total(first, "a"), total(both, "a")) == (30, 60)


def test_learned_series_equal_those_of_a_monitor_that_had_the_reference() -> None:
    reference, counts = learned(FORMS["dicts"])
    with Monitor("model", version="1", settings=QUIET, reference=reference) as monitor:
        for features, prediction in FORMS["dicts"]:
            monitor.observe(features, prediction)
        assert_same(counts, counts_of(monitor))


def test_the_reference_is_exported_once_it_is_there() -> None:
    with Monitor("model", version="1", settings=QUIET, learn_rows=30) as monitor:
        monitor.observe(DICTS, None)
        assert series(counts_of(monitor, [catalog.REFERENCE_BIN_COUNT]), catalog.REFERENCE_BIN_COUNT, "a")
        assert monitor.snapshot().features["a"].psi == 0.0


def test_without_reference_and_schema_the_first_hundred_rows_name_the_features(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        monitor, counts = observed([({"a": None if place % 2 else 1.0, "c": "x"}, None) for place in range(120)], learn_rows=None)
    assert monitor.schema is not None
    assert [(feature.name, feature.kind) for feature in monitor.schema] == [("a", "numeric"), ("c", "categorical")]
    assert monitor.reference is None
    assert one(counts, catalog.FEATURE_MISSING, "a") == 60
    assert "drift is not watched" in caplog.text


def test_a_schema_that_is_given_is_kept() -> None:
    schema = Schema((Feature("b"), Feature("a", minimum=0.0)))
    reference, counts = learned(FORMS["dicts"], schema=schema)
    assert reference.schema == schema
    assert one(counts, catalog.FEATURE_INVALID, "a", "range") == (VALUES[:, 0] < 0).sum()


def test_closing_before_there_are_enough_rows_counts_them_as_dropped() -> None:
    with Monitor("model", version="1", settings=QUIET, learn_rows=1000) as monitor:
        monitor.observe(DICTS, SCORES)
        monitor.observe(DICTS[0], 0.5)
    assert monitor.snapshot().dropped["learning"] == 61
    assert monitor.snapshot().rows == 61  # they were predicted, whatever became of their features


# ---------------------------------------------------------------- odd first rows
class Broken:
    """A tensor whose values cannot be had."""

    shape = (2,)

    def __len__(self) -> int:
        return 2

    def clone(self) -> "Broken":
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        raise RuntimeError("the device is gone")


def test_an_odd_value_among_the_first_costs_only_itself() -> None:
    odd = [({"a": "n/a", "b": 1.0}, 0.5), ({"a": [1.0], "b": 1.0}, 0.5)]
    reference, counts = learned([*FORMS["dicts"][:28], *odd])
    assert reference.schema["a"].kind == "numeric"
    assert one(counts, catalog.FEATURE_INVALID, "a", "type") == 2
    assert total(counts, "b") == 30


def test_a_row_of_another_width_among_the_first_costs_only_itself() -> None:
    reference, counts = learned([*FORMS["arrays"][:29], (np.zeros(5), 0.5), *FORMS["arrays"][29:]])
    assert reference.schema.names == ("x0", "x1")
    assert one(counts, catalog.SCHEMA_VIOLATIONS, "width") == 1
    assert total(counts, "x0") == 60


def test_a_row_of_another_width_than_the_schema_is_not_learned_from() -> None:
    schema = Schema((Feature("a"), Feature("b")))
    reference, counts = learned([*FORMS["arrays"], (np.zeros(3), 0.5)], schema=schema, learn_rows=61)
    assert (reference.rows, total(counts, "a")) == (60, 60)


@pytest.mark.parametrize("odd", [[1, 2, 3], {"what": 1}, [[0.1], [0.2, 0.3]], Broken()])
def test_an_unreadable_prediction_among_the_first_costs_only_itself(odd: Any) -> None:
    reference, counts = learned([*FORMS["dicts"][:29], (DICTS[29], odd)])
    assert reference[SCORE].samples == 29
    assert one(counts, catalog.INTERNAL_ERRORS, "prediction") == 1
    assert (total(counts, "a"), total(counts, SCORE)) == (30, 29)


def test_predictions_that_do_not_go_together_are_not_learned() -> None:
    """Some are probabilities, some classes: nothing to compare with, but the features are."""
    reference, counts = learned([*FORMS["dicts"][:29], (DICTS[29], 1)])
    assert PREDICTION not in reference
    assert total(counts, "a") == 30


def test_a_frame_that_names_a_column_twice_is_not_learned_from() -> None:
    twice = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["a", "a", "b"])
    reference, counts = learned([*FORMS["dicts"][:29], (twice, 0.5)])
    assert (reference.rows, total(counts, "a")) == (29, 29)
    assert one(counts, catalog.ROWS_DROPPED, "error") == 1


@pytest.mark.parametrize("predicts", [True, False])
def test_calls_that_failed_are_not_learned_from(predicts: bool) -> None:
    with Monitor("model", version="1", settings=QUIET, learn_rows=30, task="binary" if predicts else None) as monitor:
        for row, score in zip(DICTS[:29], SCORES, strict=False):
            monitor.observe(row, score if predicts else None)
        monitor.observe({"a": 99.0, "b": 99.0}, error=ValueError())
        assert total(counts_of(monitor), "a") == 30
        assert monitor.reference is not None
        assert monitor.reference.rows == 29
        assert (SCORE in monitor.reference) is predicts


@pytest.mark.parametrize("features", [{"a": None}, np.zeros((1, 2, 3)), {}])
def test_rows_that_tell_nothing_are_given_up_and_counted(features: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        monitor, counts = observed([(features, 0.5)] * 40)
    assert monitor.reference is None
    assert one(counts, catalog.INTERNAL_ERRORS, "learning") == 1
    assert one(counts, catalog.ROWS_DROPPED, "learning") >= 30
    assert len([record for record in caplog.records if "not watched" in record.message]) == 1


def test_what_breaks_while_learning_does_not_hold_the_rows_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Any exception, not just a ValueError: the next drain must not try the same rows again, and again."""
    with Monitor("model", version="1", settings=QUIET, learn_rows=2) as monitor, caplog.at_level(logging.WARNING):
        for _ in range(3):
            monitor.observe(Broken())
            monitor.observe(Broken())
            assert monitor.flush()
        assert monitor._pipeline.learner is None
