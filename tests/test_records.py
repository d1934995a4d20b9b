"""Rows of every shape cross the queue as they were when the call began, and count the same."""

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from otel_mlmon import catalog
from otel_mlmon.feature import Feature
from otel_mlmon.monitor import Monitor
from otel_mlmon.records import MISFIT, Form, Record, capture, capture_prediction
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.worker import MAX_ITEM_ROWS
from tests.counts import QUIET, Call, assert_same, counted, counts_of, one, series
from tests.shapes import BATCH, REFERENCE, SCORES, SINGLE, VALUES, Arrays, Model, Plain
from tests.tensors import Tensor

EXPECTED = counted([(VALUES, SCORES)], REFERENCE)


@pytest.mark.parametrize("shape", BATCH)
def test_a_batch_of_any_shape_counts_the_same(shape: str) -> None:
    assert_same(EXPECTED, counted([(BATCH[shape](), SCORES)], REFERENCE), shape)


@pytest.mark.parametrize("shape", SINGLE)
def test_single_rows_of_any_shape_count_as_their_batch(shape: str) -> None:
    calls: list[Call] = list(zip(SINGLE[shape](), SCORES, strict=True))
    assert_same(EXPECTED, counted(calls, REFERENCE), shape)


@pytest.mark.parametrize("dtype", ["f4", "f2", "i8", "i1", "u2", "?"])
def test_an_array_of_any_number_type_counts_as_its_values(dtype: str) -> None:
    array = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    assert_same(
        counted([(array.astype("f8"), None)], REFERENCE), counted([(array, None), *((row, None) for row in array[:0])], REFERENCE)
    )


def test_any_mixture_of_shapes_in_one_drain_counts_the_same() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        chosen = [SINGLE[str(rng.choice(list(SINGLE)))]()[place] for place in range(7)]
        assert_same(EXPECTED, counted(list(zip(chosen, SCORES, strict=True)), REFERENCE), str(chosen))


@pytest.mark.parametrize(
    ("feature", "value", "bin_label"),
    [
        (Feature("text", kind="categorical"), "JFK", "JFK"),
        (Feature("text", kind="categorical"), b"JFK", "JFK"),
        (Feature("text", kind="categorical"), np.str_("JFK"), "JFK"),
        (Feature("text", kind="categorical"), 3, "3"),
        (Feature("text", kind="categorical"), Decimal(3), "3"),
        (Feature("text", kind="boolean"), True, "true"),
    ],
)
def test_a_lone_value_is_a_row_of_one_feature(feature: Feature, value: Any, bin_label: str) -> None:
    reference = Reference.build(
        {"text": [True, False] if feature.kind == "boolean" else ["JFK", "3", "LAX"]}, schema=Schema((feature,))
    )
    assert series(counted([(value, None)], reference), catalog.FEATURE_BIN, "text") == {bin_label: 1}


@pytest.mark.parametrize("value", [1.5, 2, np.float32(1.5), np.int64(2), np.array(1.5), Decimal("1.5"), Tensor(1.5)])
def test_a_lone_number_is_a_row_of_one_feature(value: Any) -> None:
    reference = Reference.build({"x": [1.0, 2.0, 3.0]})
    assert sum(series(counted([(value, None)], reference), catalog.FEATURE_BIN, "x").values()) == 1


@pytest.mark.parametrize(
    "first",
    [datetime(2026, 1, 1, tzinfo=timezone.utc), pd.Timestamp("2026"), Decimal(1), None, pd.NA, np.datetime64("2026"), "2026-01-01"],
)
def test_a_row_by_position_may_begin_with_any_value(first: Any) -> None:
    form, values, rows = capture([first, 2.0])
    assert (form, rows) == (Form.VECTOR, 1)
    assert values[0] is first


# ---------------------------------------------------------------- odd rows
@pytest.mark.parametrize(
    ("features", "rows", "check"),
    [
        ([1.0], 1, "width"),
        ([1.0, 2.0, 3.0], 1, "width"),
        (np.zeros((4, 3)), 4, "width"),
        ([], 0, ""),
        (np.zeros((0, 2)), 0, ""),
        (pd.DataFrame(), 0, ""),
        ({}, 1, "missing_column"),
        ({"a": 1.0}, 1, "missing_column"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, 1, "extra_column"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]}), 2, "extra_column"),
        (np.zeros((5, 2, 3)), 5, "unreadable"),
        (object(), 1, "unreadable"),
        (iter([1.0, 2.0]), 1, "unreadable"),
        ({1.0, 2.0}, 1, "unreadable"),
        ("text", 1, "width"),
    ],
)
def test_an_odd_call_breaks_the_schema_once_a_row(features: Any, rows: int, check: str) -> None:
    counts = counted([(features, None)], REFERENCE)
    assert series(counts, catalog.SCHEMA_VIOLATIONS) == ({check: rows} if rows else {})
    assert one(counts, catalog.PREDICTIONS) == rows


@pytest.mark.parametrize("odd", [None, 3.0, "x", [1.0, 2.0], object()])
def test_an_odd_row_in_a_list_of_dicts_costs_only_itself(odd: Any) -> None:
    counts = counted([([{"a": 3.0, "b": 4.0}, odd, {"a": 1.0, "b": 2.0}], None)], REFERENCE)
    assert series(counts, catalog.SCHEMA_VIOLATIONS) == {"missing_column": 1}
    assert_same(
        {
            key: values
            for key, values in counted([([{"a": 3.0, "b": 4.0}, {"a": 1.0, "b": 2.0}], None)], REFERENCE).items()
            if "bin" in key[0]
        },
        {key: values for key, values in counts.items() if "bin" in key[0]},
    )


@pytest.mark.parametrize("odd", [None, 3.0, [1.0], {"a": 1.0}, object()])
def test_an_odd_row_in_a_list_of_lists_costs_only_itself(odd: Any) -> None:
    counts = counted([([[1.0, 2.0], odd, [1.0, 2.0]], None)], REFERENCE)
    assert series(counts, catalog.SCHEMA_VIOLATIONS) == {"width": 1}
    assert sum(series(counts, catalog.FEATURE_BIN, "a").values()) == 2


@pytest.mark.parametrize("nested", [[1, 2], (1,), {"x": 1}, np.zeros(2), np.zeros((2, 2)), pd.Series([1.0]), {1}])
@pytest.mark.parametrize(
    "build", [lambda v: {"a": v, "b": 1.0}, lambda v: [{"a": v, "b": 1.0}], lambda v: {"b": 1.0, "a": v}, lambda v: Plain(v, 1.0)]
)
def test_a_nested_value_is_invalid_and_the_rest_of_the_row_counts(nested: Any, build: Callable[[Any], Any]) -> None:
    counts = counted([(build(nested), None)], REFERENCE)
    assert one(counts, catalog.FEATURE_INVALID, "a", "type") == 1
    assert sum(series(counts, catalog.FEATURE_BIN, "b").values()) == 1


def test_rows_of_lists_in_a_list_are_rows_and_not_columns() -> None:
    """Alone, a dict of equally long lists is columns; in a list of dicts it is one row with nested values."""
    counts = counted([([{"a": [1.0, 2.0], "b": [1.0, 2.0]}, {"a": 1.0, "b": 1.0}], None)], REFERENCE)
    assert series(counts, catalog.FEATURE_INVALID, "a") == {"type": 1}
    assert sum(series(counts, catalog.FEATURE_BIN, "a").values()) == 1


class Refusing(dict[str, Any]):
    """A row that cannot be copied."""

    def values(self) -> Any:
        raise RuntimeError("closed")


def test_a_row_that_cannot_be_copied_is_counted_and_its_call_counts() -> None:
    with Monitor("model", version="1", reference=REFERENCE, settings=QUIET) as monitor:
        monitor.observe(Refusing(a=1.0), 0.5)
        monitor.observe({"a": 1.0, "b": 2.0}, Refusing(score=0.5))
        monitor.observe({"a": 1.0, "b": 2.0}, 0.5)
        counts = counts_of(monitor)
        assert one(counts, catalog.INTERNAL_ERRORS, "extractor") >= 1
        assert monitor.snapshot().calls["ok"] == 3
        assert sum(series(counts, catalog.FEATURE_BIN, "a").values()) == 2


# ---------------------------------------------------------------- copies
def emptied(value: Any) -> None:
    """What a caller may do with its own rows after the call."""
    if isinstance(value, dict):
        for column in value.values():
            emptied(column)
        value.clear()
    elif isinstance(value, list):
        for row in value:
            emptied(row)
        value.clear()
    elif isinstance(value, (np.ndarray, pd.Series)):
        value[:] = 0 if value.dtype.names is None else tuple(0.0 for _ in value.dtype.names)
    elif isinstance(value, pd.DataFrame):
        value.iloc[:, :] = 0.0
    elif isinstance(value, Tensor):
        value.fill(0.0)
    elif isinstance(value, Arrays):
        emptied(value._values)
    elif isinstance(value, (Plain, Model)):
        value.a = value.b = 0.0


FRESH: dict[str, Callable[[], Any]] = {
    "array": lambda: np.array([1.5, 2.5]),
    "matrix": lambda: np.array([[1.5, 2.5], [3.5, 4.5]]),
    "structured": lambda: np.array([(1.5, 2.5)], dtype=[("a", "f8"), ("b", "f8")]),
    "masked": lambda: np.ma.masked_invalid([1.5, 2.5]),
    "dict": lambda: {"a": 1.5, "b": 2.5},
    "list": lambda: [1.5, 2.5],
    "list of lists": lambda: [[1.5, 2.5], [3.5, 4.5]],
    "list of dicts": lambda: [{"a": 1.5, "b": 2.5}],
    "list of arrays": lambda: [np.array([1.5, 2.5])],
    "dict of lists": lambda: {"a": [1.5], "b": [2.5]},
    "dict of arrays": lambda: {"a": np.array([1.5]), "b": np.array([2.5])},
    "dict of Series": lambda: {"a": pd.Series([1.5]), "b": pd.Series([2.5])},
    "Series": lambda: pd.Series({"a": 1.5, "b": 2.5}),
    "pandas": lambda: pd.DataFrame({"a": [1.5], "b": [2.5]}),
    "dataclass": lambda: Plain(1.5, 2.5),
    "pydantic": lambda: Model(a=1.5, b=2.5),
    "tensor": lambda: Tensor([[1.5, 2.5]]),
    "list of tensors": lambda: [Tensor([1.5, 2.5])],
    "__array__": lambda: Arrays([1.5, 2.5]),
}


@pytest.mark.parametrize("shape", FRESH)
def test_a_caller_may_reuse_its_rows_after_the_call(shape: str) -> None:
    given, untouched = FRESH[shape](), FRESH[shape]()
    captured, wanted = capture(given), capture(untouched)
    emptied(given)
    assert _flat(captured[1]) == _flat(wanted[1]) != []
    assert captured[::2] == wanted[::2]


def _flat(value: Any) -> list[float]:
    def walk(value: Any) -> Iterator[float]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from walk(inner)
        elif isinstance(value, (list, tuple, np.void)):
            for inner in value.tolist() if isinstance(value, np.void) else value:
                yield from walk(inner)
        elif isinstance(value, Tensor):
            yield from walk(np.asarray(value.cpu()))
        elif isinstance(value, (np.ndarray, pd.Series, pd.DataFrame)):
            yield from walk(value.tolist() if isinstance(value, np.ndarray) else value.to_numpy().tolist())
        else:
            yield float(value)

    return list(walk(value))


@pytest.mark.parametrize(
    "result", [np.array([1.0, 2.0]), [[1.0, 2.0]], [np.array([1.0])], {"score": np.array([1.0])}, Tensor([1.0]), pd.Series([1.0])]
)
def test_predictions_are_copied_too(result: Any) -> None:
    before = _flat(result)
    copied = capture_prediction(result)
    emptied(result)
    assert _flat(copied) == before


# ---------------------------------------------------------------- parts
@pytest.mark.parametrize("rows", [1, MAX_ITEM_ROWS, MAX_ITEM_ROWS + 1, 3 * MAX_ITEM_ROWS])
@pytest.mark.parametrize(
    "prediction",
    [
        np.arange,
        lambda rows: list(range(rows)),
        lambda rows: {"score": np.arange(rows)},
        lambda rows: Tensor(np.arange(rows)),
        lambda _: None,
    ],
)
def test_parts_hold_all_rows_and_their_predictions_once(rows: int, prediction: Callable[[int], Any]) -> None:
    features = np.arange(2.0 * rows).reshape(rows, 2)
    parts = Record(capture(features), prediction(rows), "ok", "", 0.1, 2.0).split()
    assert [part.rows for part in parts] == [min(MAX_ITEM_ROWS, rows - start) for start in range(0, rows, MAX_ITEM_ROWS)]
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), features)
    assert [value for part in parts if part.prediction is not None for value in _flat(part.prediction)] == _flat(
        prediction(rows) if prediction(rows) is not None else []
    )
    assert [part.first for part in parts] == [True] + [False] * (len(parts) - 1)


@pytest.mark.parametrize(
    "features",
    [
        pd.DataFrame({"a": range(1500)}, index=np.arange(1500) / 2),
        {"a": pd.Series(range(1500), index=np.arange(1500) / 2)},
        pl.DataFrame({"a": range(1500)}),
        Tensor(np.zeros((1500, 1))),
        np.zeros((1500, 2, 2)),
    ],
    ids=["frame", "dict of Series", "polars", "tensor", "unreadable"],
)
def test_large_calls_of_any_shape_are_cut(features: Any) -> None:
    assert [part.rows for part in Record(capture(features), None, "ok", "", 0.1, 2.0).split()] == [1024, 476]
    parts = Record(capture(features), None, "ok", "", 0.1, 2.0).split()
    if isinstance(features, pd.DataFrame):
        assert parts[1].features["a"].tolist() == list(range(1024, 1500))
    if isinstance(features, dict):
        assert parts[1].features["a"].tolist() == list(range(1024, 1500))


@pytest.mark.parametrize("prediction", [np.array(0.5), {"score": np.array(0.5)}], ids=["alone", "score"])
def test_one_number_for_a_large_call_costs_no_rows(prediction: Any) -> None:
    """An array without dimensions has a ``__len__`` that raises."""
    parts = Record(capture(np.zeros((1500, 2))), prediction, "ok", "", 0.1, 2.0).split()
    assert [(part.rows, part.prediction is MISFIT) for part in parts] == [(1024, True), (476, False)]


class Document(dict[str, Any]):
    """Part of what a handler answers; reading it takes time."""

    def items(self) -> Any:
        raise AssertionError("read on the caller's thread")


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ([Document(a=1)] * 3, None),
        (({}, Document(a=1)), None),
        ([[Document(a=1)]], [None]),
        (Document(a=1), {"a": None}),
        ({"rows": [Document(a=1)], "score": 0.5}, {"rows": None, "score": None}),
    ],
)
def test_documents_that_can_be_no_predictions_are_not_copied(result: Any, kept: Any) -> None:
    """A handler may return megabytes of JSON; its call must not wait for a deep copy that no task reads."""
    assert capture_prediction(result) == kept
