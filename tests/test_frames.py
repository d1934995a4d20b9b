"""Raw columns of anything tabular; pandas, polars and NumPy are the oracles."""

from array import array
from datetime import date, datetime, timezone
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest

from otel_mlmon.columns import category, split
from otel_mlmon.feature import Feature

NUMBER = Feature("x")
CARRIER = Feature("carrier", kind="categorical")
FLAG = Feature("flag", kind="boolean")
TEXT = Feature("note", kind="text")
TIME = Feature("seen", kind="timestamp")
NOW = 1_800_000_000.0


class Row(NamedTuple):
    a: int
    b: str


# ---------------------------------------------------------------- split
ROWS: list[dict[str, Any]] = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
SHAPES = {
    "columns": {"a": [1, 2], "b": ["x", "y"]},
    "columns, arrays": {"a": np.array([1, 2]), "b": np.array(["x", "y"])},
    "columns, odd sequences": {"a": array("i", [1, 2]), "b": ("x", "y")},
    "columns, series": {"a": pd.Series([1, 2], index=[7, 8]), "b": pl.Series(["x", "y"])},
    "pandas": pd.DataFrame(ROWS, index=[5, 5]),
    "polars": pl.DataFrame(ROWS),
    "structured": np.array([(1, "x"), (2, "y")], [("a", int), ("b", "U1")]),
    "rows": ROWS,
    "named tuples": [Row(1, "x"), Row(2, "y")],
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_the_same_columns(data: Any) -> None:
    """And names select and order them."""
    assert {name: list(values) for name, values in split(data).items()} == {"a": [1, 2], "b": ["x", "y"]}
    assert {name: list(values) for name, values in split(data, ["b"]).items()} == {"b": ["x", "y"]}
    assert list(split(data, ["b", "a"])) == ["b", "a"]


@pytest.mark.parametrize(
    "data", [np.array([[1, "x"], [2, "y"]], object), [(1, "x"), (2, "y")], [[1, "x"], np.array([2, "y"], object)]]
)
def test_unnamed_data_takes_the_names(data: Any) -> None:
    """Arrays and rows that are sequences."""
    assert {name: list(values) for name, values in split(data, ["a", "b"]).items()} == {"a": [1, 2], "b": ["x", "y"]}


def test_an_array_is_not_copied() -> None:
    """Columns are views; a float64 column of a frame, too."""
    data = np.ones((3, 2))
    assert np.shares_memory(data, split(data, ["a", "b"])["b"])
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    assert np.shares_memory(frame["a"].to_numpy(), np.asarray(split(frame)["a"]))


def test_absent_keys_are_none() -> None:
    """Names of all rows, in the order in which they first appear."""
    assert split([{"a": 1}, {"b": 2, "a": 3}, {}]) == {"a": [1, 3, None], "b": [None, 2, None]}
    assert split([{"a": 1}], ["a", "c"]) == {"a": [1], "c": [None]}


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "UInt8", "boolean", "string", "category", "object"])
@pytest.mark.parametrize("gap", [False, True])
def test_pandas_types_keep_values_and_gaps(dtype: Any, gap: bool) -> None:
    """pandas' own isna is the oracle."""
    series = pd.Series([1, 0, None] if gap else [1, 0], dtype="object").astype(dtype)
    column = split(pd.DataFrame({"a": series}))["a"]
    values = [value for value in column if category(value) is not None]
    assert len(column) - len(values) == int(series.isna().sum())
    assert values == list(series.dropna())
    if dtype in ("Int64", "Float64", "UInt8"):
        assert isinstance(column, np.ndarray)
        assert column.dtype.kind in "iuf"


def test_times_with_a_zone_become_utc() -> None:
    """pandas and polars alike."""
    frame = pd.DataFrame({"t": pd.to_datetime(["2026-01-01 00:00", "NaT"]).tz_localize("Europe/Rome")})
    for data in (frame, pl.DataFrame({"t": [datetime(2025, 12, 31, 23, tzinfo=timezone.utc), None]})):
        values = np.asarray(split(data)["t"])
        assert values[0] == np.datetime64("2025-12-31T23:00")
        assert np.isnat(values[1])


def test_polars_types_keep_values_and_gaps() -> None:
    """polars' own list is the oracle."""
    frame = pl.DataFrame(
        {"i": [2**60 + 1, None], "f": [None, 2.5], "b": [None, True], "s": ["x", None], "d": [date(2026, 1, 1), None]}
    )
    frame = frame.with_columns(c=pl.col("s").cast(pl.Categorical), n=pl.col("f").cast(pl.Decimal(9, 2)))
    for name, values in split(frame).items():
        assert [None if category(value) is None else value for value in values] == frame[name].to_list(), name
    assert category(split(frame)["i"][0]) == str(2**60 + 1)  # an id; NumPy would call its float64 equal


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        ({"a": [1], "b": [1, 2]}, None, "1 values of 'a' and 2 of 'b'"),
        ({"a": 5}, None, "column 'a'.*got 5"),
        ({"a": "xyz"}, None, "column 'a'.*got 'xyz'"),
        ({"a": np.array(5)}, None, "column 'a'"),
        ({"a": [1]}, ["a", "b"], r"got none named \['b'\]"),
        ({1: [1], "1": [2]}, None, "distinct, got '1' twice"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), None, "distinct, got 'a' twice"),
        (np.ones((2, 3)), ["a", "b"], "2, got 3"),
        (np.ones((2, 3)), None, "names must be given"),
        (np.ones((2, 2)), ["a", "a"], "distinct"),
        (np.ones(3), ["a"], r"2 dimensions.*\(3,\)"),
        ([(1, 2), (1, 2, 3)], ["a", "b"], "row 1 .* 2, got 3"),
        ([{"a": 1}, (1,)], ["a"], "row 0"),
        ([1, 2], ["a"], "row 0.*got 1"),
        ("text", None, "got str"),
        (pd.Series([1, 2]), None, "2 dimensions"),
        (iter([1]), None, "got list_iterator"),
    ],
)
def test_data_of_no_shape_is_refused(data: Any, names: list[str] | None, message: str) -> None:
    """The message names the column or row, and what it got."""
    with pytest.raises(ValueError, match=message):
        split(data, names)


def test_no_rows_is_no_error() -> None:
    """An empty batch keeps its columns where they are known."""
    assert split([]) == {}
    assert split([], ["a"]) == {"a": []}
    assert split({}) == {}
    assert {name: len(column) for name, column in split(np.empty((0, 2)), ["a", "b"]).items()} == {"a": 0, "b": 0}
