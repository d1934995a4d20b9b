"""Rows become typed columns: each broken row counts once a check, each value once, whoever comes along in the drain."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_mlmon.aggregate import REASONS, Table, Watched
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.feature import Feature
from otel_mlmon.intake import watched_features
from otel_mlmon.outputs import Outputs
from otel_mlmon.records import Record, capture
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.tabulate import LAYOUTS, Check, Tabulator
from tests.tensors import Tensor

NOW = 1_800_000_000.0
NUMBERS = Schema((Feature("a"), Feature("b")))


def record(features: Any, *, ended: float = NOW) -> Record:
    return Record(capture(features), None, "ok", "", 0.0, ended)


def tabulated(
    schema: Schema, *features: Any, ended: Sequence[float] = (), outputs: Outputs | None = None
) -> tuple[Table, Counter[Check]]:
    """The table of some calls that have one layout."""
    records = [record(some, ended=at) for some, at in zip(features, ended or [NOW] * len(features), strict=True)]
    (layout,) = {LAYOUTS[one.form] for one in records if one.form is not None}
    return Tabulator(schema, watched_features(schema, None, None), Derivation.unfitted(schema))(layout, records, outputs)


def broken(counts: Counter[Check]) -> dict[str, int]:
    return {check: count for check, count in counts.items() if count}


def invalid(table: Table, place: int) -> dict[str, float]:
    return {reason: count for reason, count in zip(REASONS, table.invalid[place].tolist(), strict=True) if count}


# ---------------------------------------------------------------- checks
STRICT = Schema((Feature("a", nullable=False), Feature("b", nullable=False), Feature("c", required=False, nullable=False)))


@pytest.mark.parametrize(
    ("row", "checks"),
    [
        ({"a": 1.0, "b": 2.0, "c": 3.0}, {}),
        ({"a": 1.0, "b": 2.0}, {}),
        ({"a": 1.0}, {"missing_column": 1}),
        ({}, {"missing_column": 1}),
        ({"a": None, "b": float("nan"), "c": None}, {"null": 1}),
        ({"a": None, "z": 1, "y": 2}, {"null": 1, "missing_column": 1, "extra_column": 1}),
        ({"a": "text", "b": [1]}, {}),
        ({"a": pd.NA, "b": pd.NaT}, {"null": 1}),
    ],
)
@pytest.mark.parametrize(
    "build",
    [lambda row: row, lambda row: [row], lambda row: pd.DataFrame([row], index=[0]).astype(object)],
    ids=["row", "batch", "frame"],
)
def test_a_row_counts_at_most_once_a_check(row: dict[str, Any], checks: dict[str, int], build: Callable[[Any], Any]) -> None:
    assert broken(tabulated(STRICT, build(row))[1]) == checks


def test_rows_without_fault_cost_nothing_beside_broken_ones() -> None:
    good = {"a": 1.0, "b": 2.0, "c": 3.0}
    table, counts = tabulated(STRICT, [good, {"a": 1.0}, {"a": None, "b": 1.0, "c": 1.0}, {**good, "z": 0}], good)
    assert broken(counts) == {"missing_column": 1, "null": 1, "extra_column": 1}
    assert table.missing.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(table.numeric, [[1, 1, np.nan, 1, 1], [2, np.nan, 1, 2, 2], [3, np.nan, 1, 3, 3]])


def test_a_null_by_position_breaks_the_schema_too() -> None:
    schema = Schema((Feature("a", nullable=False), Feature("b")))
    assert broken(tabulated(schema, [None, None], np.array([np.nan, 1.0]), [1.0, None])[1]) == {"null": 2}


def test_rows_of_a_wrong_width_are_in_no_column_but_keep_their_place_beside_outputs() -> None:
    """A score belongs to its row, whichever rows could be read."""
    schema = Schema((Feature("a"),))
    profile = Reference.build({"a": [1.0, 2.0]}, predictions=[0.1, 0.9], task="binary")
    watched = watched_features(schema, profile, "binary")
    records = [record([1.0]), record([1.0, 2.0]), record(np.array([3.0])), record(np.zeros((1, 2)))]
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    table, counts = Tabulator(schema, watched, Derivation())(
        "position", records, Outputs(np.zeros(4, dtype=int), scores, numeric=False)
    )
    assert broken(counts) == {"width": 2}
    np.testing.assert_array_equal(table.numeric, [[1, np.nan, 3, np.nan], scores])
    assert table.missing.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "mixture",
    [
        [[1.0, 2.0], np.array([1.0, 2.0]), np.ones((2, 2)), [[1.0, 2.0]], Tensor([1.0, 2.0])],
        [np.ones((1, 3)), [1.0, 2.0], [[1.0], [1.0, 2.0]], np.array([1.0, "x"], dtype=object), Tensor(np.ones((2, 2)))],
        [[1.0, [2.0, 3.0]], np.ones(2), (1.0, {"x": 1}), [None, "x"]],
    ],
)
def test_a_drain_by_position_is_the_sum_of_its_calls(mixture: list[Any]) -> None:
    together, counts = tabulated(NUMBERS, *mixture)
    alone = [tabulated(NUMBERS, some) for some in mixture]
    assert broken(counts) == broken(sum((one for _, one in alone), Counter()))
    np.testing.assert_array_equal(together.missing, sum(table.missing for table, _ in alone))
    np.testing.assert_array_equal(together.invalid, sum(table.invalid for table, _ in alone))
    np.testing.assert_array_equal(np.sort(together.numeric), np.sort(np.concatenate([table.numeric for table, _ in alone], axis=1)))


CATEGORIES = Reference.build(
    {"c": ["true", "1", "2", str(2**60 + 1)], "d": [1.0, 2.0, 3.0, 4.0]},
    schema=Schema((Feature("c", kind="categorical"), Feature("d"))),
)


@pytest.mark.parametrize(
    "first",
    [np.array([True, False]), np.array([[True, False]]), np.array([2**60 + 1, 1])],
    ids=["bools", "matrix of bools", "long integers"],
)
@pytest.mark.parametrize(
    "beside",
    [np.array([1.5, 2.5]), np.array([[1.5, 2.5]]), np.array([1, 2]), [1.5, 2.5]],
    ids=["floats", "matrix", "integers", "list"],
)
def test_a_category_is_the_same_whatever_comes_along_in_the_drain(first: Any, beside: Any) -> None:
    watched = watched_features(CATEGORIES.schema, CATEGORIES, None)

    def codes(*features: Any) -> list[int]:
        table, _ = Tabulator(CATEGORIES.schema, watched, Derivation())("position", [record(some) for some in features], None)
        return sorted(table.codes[0].tolist())

    assert codes(first, beside) == sorted(codes(first) + codes(beside))


def test_frames_of_one_drain_may_differ_in_columns_types_and_order() -> None:
    frames = [
        pd.DataFrame({"b": [1], "a": [1.5]}),
        {"a": ["x", 2.0]},
        pd.DataFrame({"a": [True], "b": [None], "z": [1]}),
        {"a": [], "b": []},
    ]
    table, counts = tabulated(NUMBERS, *frames)
    np.testing.assert_array_equal(table.numeric, [[1.5, np.nan, 2.0, 1.0], [1.0, np.nan, np.nan, np.nan]])
    assert broken(counts) == {"missing_column": 2, "extra_column": 1}
    assert (table.missing.tolist(), invalid(table, 0)) == ([0, 3], {"type": 1})


# ---------------------------------------------------------------- kinds
def test_the_age_of_a_timestamp_is_counted_from_its_own_call() -> None:
    schema = Schema((Feature("seen", kind="timestamp", minimum=0.0), Feature("a")))
    seen = datetime.fromtimestamp(NOW, timezone.utc)
    rows = [
        {"seen": seen, "a": 1.0},
        [{"seen": seen, "a": 1.0}, {"seen": seen - timedelta(hours=1), "a": 1.0}],
        {"seen": "not a time", "a": 1.0},
    ]
    table, _ = tabulated(schema, *rows, ended=[NOW + 1, NOW + 60, NOW])
    np.testing.assert_array_equal(table.numeric[0], [1, 60, 3660, np.nan])
    assert invalid(table, 0) == {"format": 1}
    table, _ = tabulated(schema, rows[0], ended=[NOW - 1])
    assert invalid(table, 0) == {"range": 1}


def test_ages_keep_to_their_rows_when_others_are_left_out() -> None:
    schema = Schema((Feature("seen", kind="timestamp"), Feature("a")))
    table, counts = tabulated(schema, [NOW, 1.0], [NOW], [NOW, 1.0], ended=[NOW + 1, NOW + 2, NOW + 3])
    np.testing.assert_array_equal(table.numeric[0], [1, np.nan, 3])
    assert broken(counts) == {"width": 1}


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", np.longdouble, "i8", "u8", "i1", "?", "O"])
def test_arrays_of_any_type_of_number_are_read(dtype: Any) -> None:
    table, _ = tabulated(NUMBERS, np.array([[1, 0], [0, 1]], dtype=dtype))
    np.testing.assert_array_equal(table.numeric, [[1, 0], [0, 1]])
    assert not table.missing.any()
    assert not table.invalid.any()


@pytest.mark.parametrize("dtype", ["U3", "c16", "m8[s]", "S3"])
def test_arrays_of_no_numbers_are_invalid_value_by_value(dtype: str) -> None:
    table, _ = tabulated(NUMBERS, np.array([[1, 0], [0, 1]]).astype(dtype))
    assert [invalid(table, place) for place in (0, 1)] == [{"type": 2}] * 2


def test_infinities_and_gaps_of_arrays_are_counted_apart() -> None:
    table, _ = tabulated(NUMBERS, np.array([[np.inf, np.nan], [-np.inf, 1.0]]), np.array([np.nan, np.inf]))
    assert (table.missing.tolist(), invalid(table, 0), invalid(table, 1)) == ([1, 1], {"infinite": 2}, {"infinite": 1})
    np.testing.assert_array_equal(np.isnan(table.numeric), [[True, True, True], [True, False, True]])


def test_a_number_that_no_float_holds_is_infinite() -> None:
    beyond = np.array([["1e400", "1"]]).astype(np.longdouble)
    table, _ = tabulated(NUMBERS, beyond, [[10**400, -(10**400)]])
    assert (invalid(table, 0), invalid(table, 1)) == ({"infinite": 2}, {"infinite": 1})


@pytest.mark.parametrize("kind", ["numeric", "categorical", "boolean", "text", "timestamp"])
@pytest.mark.parametrize("rows", [[], np.zeros((0, 1)), pd.DataFrame({"v": []}), {"v": []}])
def test_no_rows_are_no_counts(kind: Any, rows: Any) -> None:
    table, counts = tabulated(Schema((Feature("v", kind=kind),)), rows)
    assert (table.rows, float(table.missing.sum()), float(table.invalid.sum())) == (0, 0.0, 0.0)
    assert not broken(counts)


def test_rows_of_no_known_shape_are_unreadable_but_their_outputs_count() -> None:
    watched = [Watched("a", True, None), Watched("@score", True, None)]
    table, counts = Tabulator(Schema((Feature("a"),)), watched, Derivation())(
        "unreadable", [record(np.zeros((3, 2, 2)))], Outputs(None, np.array([0.1, np.nan, 0.3]), numeric=False)
    )
    assert broken(counts) == {"unreadable": 3}
    assert table.missing.tolist() == [0, 1]
