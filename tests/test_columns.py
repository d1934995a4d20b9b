"""Raw columns become numbers and bin codes; naive code, pandas and NumPy are the oracles."""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon.columns import MEMO_ENTRIES, CategoryEncoder, NumericColumn, category, numeric, split
from otel_mlmon.feature import Feature

NUMBER = Feature("x")
CARRIER = Feature("carrier", kind="categorical")
FLAG = Feature("flag", kind="boolean")
TEXT = Feature("note", kind="text")
TIME = Feature("seen", kind="timestamp")
NOW = 1_800_000_000.0


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 3


class Row(NamedTuple):
    a: int
    b: str


class Opaque:
    """Text of its own it has none."""


def numbers_of(values: Any, feature: Feature = NUMBER) -> NumericColumn:
    return numeric(values, feature, at=NOW)


# ---------------------------------------------------------------- numeric
GOOD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.integers(-100, 100).map(np.int8),
    st.integers(0, 2**64 - 1).map(np.uint64),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    st.floats(width=16, allow_nan=False, allow_infinity=False).map(np.float16),
    st.booleans().map(np.bool_),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9),
    st.fractions(-1000, 1000),
    st.floats(-1e300, 1e300).map(np.array),
    st.floats(-1e300, 1e300).map(np.longdouble),
)
MISSING = st.sampled_from(
    [
        *(None, math.nan, np.nan, float("nan"), np.float32("nan"), np.array(np.nan), Decimal("NaN"), Decimal("sNaN")),
        *(pd.NA, pd.NaT, np.datetime64("NaT"), np.timedelta64("NaT"), np.ma.masked),
    ]
)
INFINITE = st.sampled_from([math.inf, -math.inf, np.float32("inf"), 10**400, -(10**400), Decimal("Infinity"), Decimal("1E+9999")])
WRONG = st.sampled_from(
    [
        *("", "1.5", "nan", "ü", b"1", np.str_("2"), np.array("3"), 1j, np.complex64(1), Opaque(), Colour.RED),
        *(
            [1.0],
            (),
            {"a": 1},
            np.array([1.0]),
            np.datetime64("2026-01-01"),
            np.timedelta64(1, "s"),
            date(2026, 1, 1),
            timedelta(1),
        ),
    ]
)
TAGGED = st.one_of(
    st.tuples(st.just("good"), GOOD),
    st.tuples(st.just("missing"), MISSING),
    st.tuples(st.just("infinite"), INFINITE),
    st.tuples(st.just("type"), WRONG),
)


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    """Object array, one element a value, whatever the values are."""
    result = np.empty(len(values), object)
    for index, value in enumerate(values):
        result[index] = value
    return result


@given(st.lists(st.one_of(TAGGED, st.tuples(st.just("good"), st.floats(-10, 10)))), st.sampled_from([list, tuple, objects]))
def test_each_value_is_a_number_missing_or_invalid(tagged: list[tuple[str, Any]], form: Callable[[list[Any]], Any]) -> None:
    """Whatever stands beside it in the column: the oracle knows from its strategy what each value is."""
    column = numbers_of(form([value for _, value in tagged]))
    counts = Counter(tag for tag, _ in tagged)
    expected = [float(value) if tag == "good" else math.nan for tag, value in tagged]
    np.testing.assert_array_equal(column.values, expected)
    assert column.values.dtype == np.float64
    assert column.missing == counts["missing"]
    assert column.invalid == {tag: counts[tag] for tag in ("infinite", "type") if counts[tag]}


@pytest.mark.parametrize("code", ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g", ">f8", ">i4"])
def test_arrays_of_every_number_type_keep_their_values(code: str) -> None:
    """NumPy's own conversion is the oracle, and a list of the same scalars gives the same."""
    raw = np.array([0, 1, 1, 0, 1]).astype(code)
    column = numbers_of(raw)
    np.testing.assert_array_equal(column.values, [0, 1, 1, 0, 1])
    assert column.values.dtype == np.float64
    np.testing.assert_array_equal(numbers_of(list(raw)).values, column.values)


@given(st.lists(st.floats(width=32), max_size=20), st.sampled_from(["f4", "f8", "g"]))
def test_float_arrays_count_nan_and_infinity(values: list[float], code: str) -> None:
    """pandas knows what is missing, NumPy what is infinite."""
    raw = np.array(values, code)
    kept = raw.copy()
    column = numbers_of(raw)
    assert column.missing == int(pd.isna(pd.Series(values, dtype=float)).sum())
    assert column.invalid.get("infinite", 0) == int(np.isinf(raw).sum())
    np.testing.assert_array_equal(column.values, np.where(np.isinf(raw), np.nan, raw).astype(float))
    np.testing.assert_array_equal(raw, kept)


def test_what_a_longdouble_holds_and_a_float_does_not_is_infinite() -> None:
    """No warning either: warnings are errors here."""
    raw = np.array([1, 10], np.longdouble) ** 400
    assert numbers_of(raw).invalid == numbers_of(list(raw)).invalid == numbers_of([*raw, "x"][:2]).invalid == {"infinite": 1}


@pytest.mark.parametrize(
    "raw",
    [
        np.array(["1", "2"]),
        np.array([b"1", b"2"]),
        np.array([1j, complex("nan")]),
        np.array(["2026-01-01", "2026-01-02"], "M8[D]"),
        np.array([1, 2], "m8[s]"),
        np.array([[1.0], [2.0]]),
        np.ma.array([[1.0], [2.0]]),
        np.zeros(2, "f8,f8"),
    ],
    ids=lambda raw: str(raw.dtype),
)
def test_arrays_without_numbers_are_of_the_wrong_type(raw: np.ndarray[Any, Any]) -> None:
    """Strings are never parsed, dates never cast."""
    column = numbers_of(raw)
    assert (column.invalid, column.missing) == ({"type": 2}, 0)
    assert np.isnan(column.values).all()


def test_nat_in_a_numeric_column_is_missing() -> None:
    """A time is of the wrong type; no time at all is no value."""
    column = numbers_of(np.array(["2026-01-01", "NaT"], "M8[ns]"))
    assert (column.missing, column.invalid) == (1, {"type": 1})


def test_masked_values_are_missing() -> None:
    """Whatever lies under the mask."""
    column = numbers_of(np.ma.array([1.0, math.inf, 3.0, math.nan], mask=[False, True, False, False]))
    np.testing.assert_array_equal(column.values, [1, math.nan, 3, math.nan])
    assert (column.missing, column.invalid) == (2, {})


@given(st.lists(st.one_of(st.none(), st.floats(-3, 3), st.just("x"), st.just(math.inf))), st.booleans(), st.booleans())
def test_declared_range_is_inclusive_and_counted_apart(values: list[Any], low: bool, high: bool) -> None:
    """Naive comparison is the oracle; a string or an infinity is not out of range as well."""
    column = numbers_of(values, Feature("x", minimum=-1 if low else None, maximum=2 if high else None))
    inside = [isinstance(v, float) and math.isfinite(v) and (not low or v >= -1) and (not high or v <= 2) for v in values]
    outside = sum(isinstance(v, float) and math.isfinite(v) and not good for v, good in zip(values, inside, strict=True))
    np.testing.assert_array_equal(column.values, [v if good else math.nan for v, good in zip(values, inside, strict=True)])
    assert column.invalid.get("range", 0) == outside
    assert column.missing == values.count(None)


def test_range_at_the_bounds() -> None:
    """Both ends belong to it."""
    assert numbers_of([-1.0, 2.0, math.nextafter(2, 3)], Feature("x", minimum=-1, maximum=2)).invalid == {"range": 1}


def test_integer_refuses_fractions_only() -> None:
    """Of the descriptive types it is the one that is enforced."""
    values = [1, 2.0, 2.5, None, math.inf, True, 1e300]
    column = numbers_of(values, Feature("n", dtype="integer"))
    assert (column.missing, column.invalid) == (1, {"type": 1, "infinite": 1})
    assert numbers_of(values, Feature("n", dtype="int64")).invalid == {"infinite": 1}


def test_the_callers_array_is_never_written_to() -> None:
    """It may be read-only, too."""
    raw = np.array([1.0, 99.0, math.inf])
    raw.flags.writeable = False
    np.testing.assert_array_equal(numbers_of(raw, Feature("x", maximum=5)).values, [1, math.nan, math.nan])


def test_numeric_refuses_a_categorical_feature() -> None:
    """A wiring mistake is loud."""
    with pytest.raises(ValueError, match=r"feature 'carrier'.*'categorical'"):
        numbers_of([], CARRIER)


# ---------------------------------------------------------------- text, timestamp
def test_a_text_is_its_length() -> None:
    """In characters; what is no string is of the wrong type."""
    column = numbers_of(["", "abc", "äö𝄞", np.str_("ab"), None, math.nan, 5, b"abc", ["a"], np.array("xyz")], TEXT)
    np.testing.assert_array_equal(column.values, [0, 3, 3, 2, *[math.nan] * 5, 3])
    assert (column.missing, column.invalid) == (2, {"type": 3})
    np.testing.assert_array_equal(numbers_of(np.array(["a", "abc"]), TEXT).values, [1, 3])


def test_a_text_must_match_its_format_as_a_whole() -> None:
    """A match at the start is not enough; line feeds count."""
    column = numbers_of(["ab", "abc", "ab\n", "b", None], Feature("note", kind="text", format="[ab]+"))
    np.testing.assert_array_equal(column.values, [2, math.nan, math.nan, 1, math.nan])
    assert (column.missing, column.invalid) == (1, {"format": 2})


INSTANT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        INSTANT,
        INSTANT.replace(tzinfo=None),
        INSTANT.astimezone(timezone(timedelta(hours=5, minutes=30))),
        pd.Timestamp(INSTANT),
        pd.Timestamp(INSTANT).tz_convert("America/New_York"),
        pd.Timestamp(INSTANT.replace(tzinfo=None)),
        np.datetime64("2026-03-01T12:30:15.250", "ms"),
        np.datetime64("2026-03-01T12:30:15.250", "ns"),
        INSTANT.timestamp(),
        Decimal("1772368215.25"),
        "2026-03-01T12:30:15.25Z",
        "2026-03-01t12:30:15.250z",
        "2026-03-01 12:30:15.250000000",
        "2026-03-01T14:30:15.25+02:00",
        "2026-03-01T14:30:15,25+0200",
        "2026-03-01T14:30:15.25+02",
        "2026-03-01T06:00:15.25-06:30",
    ],
    ids=str,
)
def test_every_way_to_write_an_instant_gives_its_age(value: Any) -> None:
    """One instant, alone and beside others; ``datetime.timestamp`` is the oracle."""
    age = NOW - INSTANT.timestamp()
    assert numbers_of([value], TIME).values[0] == pytest.approx(age, abs=1e-6)
    column = numbers_of([value, None, "soon", True, math.inf, pd.NaT, ()], TIME)
    assert column.values[0] == pytest.approx(age, abs=1e-6)
    assert (column.missing, column.invalid) == (2, {"format": 1, "type": 2, "infinite": 1})


def test_a_date_is_its_midnight() -> None:
    """In UTC, as a date, a string or a day-precise NumPy date."""
    expected = NOW - datetime(2026, 3, 1, tzinfo=timezone.utc).timestamp()
    assert set(numbers_of([date(2026, 3, 1), "2026-03-01", np.datetime64("2026-03-01")], TIME).values) == {expected}


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "2026-02-30", "20260301", "2026-03-01T25:00", "1772368215", "2026-03-01T12:30:15+25:00"]
)
def test_a_string_that_is_no_time_has_the_wrong_format(text: str) -> None:
    """Digits alone are not guessed to be seconds."""
    assert numbers_of([text], TIME).invalid == {"format": 1}


def test_arrays_of_times_give_ages() -> None:
    """pandas is the oracle for what is missing, and for the seconds."""
    times = pd.Series(pd.to_datetime(["2026-01-01 10:00:00.5", "NaT", "1969-12-31 23:59:59.0"]))
    for unit in ("ns", "us", "ms"):
        column = numbers_of(times.to_numpy(dtype=f"M8[{unit}]"), TIME)
        np.testing.assert_allclose(column.values, NOW - (times - pd.Timestamp(0)).dt.total_seconds(), atol=1e-6)
        assert (column.missing, column.invalid) == (1, {})
    masked = np.ma.array(times.to_numpy(dtype="M8[ns]"), mask=[True, False, False])
    assert numbers_of(masked, TIME).missing == 2
    assert numbers_of(np.array([True]), TIME).invalid == {"type": 1}
    np.testing.assert_array_equal(numbers_of(np.array([1, 2]), TIME).values, [NOW - 1, NOW - 2])


def test_each_row_has_its_own_time() -> None:
    """An age beyond the declared one is out of range."""
    column = numeric(
        [100.0, 100.0, 100.0], Feature("seen", kind="timestamp", minimum=0, maximum=60), at=np.array([90.0, 130.0, 170.0])
    )
    np.testing.assert_array_equal(column.values, [math.nan, 30, math.nan])
    assert column.invalid == {"range": 2}


# ---------------------------------------------------------------- category
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (np.False_, "false"),
        (3, "3"),
        (3.0, "3"),
        (np.int64(3), "3"),
        (np.float32(3), "3"),
        (Decimal("3.00"), "3"),
        (Fraction(6, 2), "3"),
        (3 + 0j, "3"),
        (np.array(3), "3"),
        (Level.LOW, "3"),
        (2.5, "2.5"),
        (Decimal("2.50"), "2.5"),
        (-0.0, "0"),
        (1e22, str(10**22)),
        (math.inf, "inf"),
        (Decimal("-Infinity"), "-inf"),
        pytest.param(10**5000, "inf", id="huge"),
        (Decimal("1E+999999999"), "inf"),
        (Colour.RED, "red"),
        (b"JFK", "JFK"),
        (b"\xff", "�"),
        (np.str_("x"), "x"),
        (" é\n", " é\n"),
        ("\ud800", "?"),
        ("", ""),
        ("nan", "nan"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_category_has_one_normal_form(value: Any, expected: str) -> None:
    """Worked by hand."""
    assert category(value) == expected
    assert type(category(value)) is str


@given(MISSING)
def test_no_category_for_what_is_missing(value: Any) -> None:
    """Not the text 'nan'."""
    assert category(value) is None


@pytest.mark.parametrize(("length", "expected"), [(128, "a" * 128), (129, "a" * 127 + "…")])
def test_long_categories_are_cut(length: int, expected: str) -> None:
    """They become metric labels."""
    assert category("a" * length) == expected


# ---------------------------------------------------------------- encoder
CODES: Mapping[str, int] = {"true": 0, "false": 1, "1": 2, "0": 3, "a": 4, "2.5": 5, "é": 6}
CATEGORIES = st.one_of(
    st.sampled_from([True, False, np.True_, np.False_, 1, 0, 1.0, -0.0, np.int64(1), np.float64(0), Decimal(1), 1 + 0j, "a", "é"]),
    st.sampled_from(
        ["1", "true", np.str_("a"), b"a", 2.5, Decimal("2.50"), Fraction(5, 2), Colour.RED, "new", 7, np.array(1), math.inf]
    ),
    MISSING,
)


@given(st.lists(CATEGORIES), st.lists(CATEGORIES), st.sampled_from([list, tuple, objects]))
def test_codes_follow_the_normal_form(before: list[Any], values: list[Any], form: Callable[[list[Any]], Any]) -> None:
    """What the encoder saw before does not matter, though True == 1 == 1.0."""
    encoder = CategoryEncoder(CARRIER, CODES, unseen=7)
    encoder(before)
    column = encoder(form(values))
    texts = [category(value) for value in values]
    assert column.codes.tolist() == [-1 if text is None else CODES.get(text, 7) for text in texts]
    assert column.codes.dtype == np.intp
    assert (column.missing, column.invalid) == (texts.count(None), {})


@pytest.mark.parametrize(
    "raw",
    [
        np.array(["a", "é", "zz"]),
        np.array([b"a", b"b"]),
        np.array([1, 0, 5]),
        np.array([1, math.nan, 2.5]),
        np.array([True, False]),
        np.array(["2026-01-01", "NaT"], "M8[ns]"),
        np.ma.array([1, 0], mask=[True, False]),
        np.ma.array(["2026-01-01", "2026-01-02"], "M8[ns]", mask=[False, True]),
    ],
    ids=lambda raw: str(raw.dtype),
)
def test_arrays_are_encoded_like_their_elements(raw: np.ndarray[Any, Any]) -> None:
    """A batch counts like its rows one by one."""
    encoder = CategoryEncoder(CARRIER, CODES, unseen=7)
    single = [encoder([value]) for value in raw]
    column = encoder(raw)
    assert column.codes.tolist() == [int(one.codes[0]) for one in single]
    assert column.missing == sum(one.missing for one in single)


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, (1, 2), np.array([1]), Opaque()], ids=lambda value: type(value).__name__)
def test_what_holds_many_values_or_no_text_is_no_category(value: Any) -> None:
    """Unhashable values included; the row beside it still counts."""
    column = CategoryEncoder(CARRIER, CODES, unseen=7)([value, "a"])
    assert (column.codes.tolist(), column.missing, column.invalid) == ([-1, 4], 0, {"type": 1})


def test_outside_the_declared_categories_is_invalid_and_not_unseen() -> None:
    """A declared category that the reference never had is unseen."""
    encoder = CategoryEncoder(Feature("c", kind="categorical", categories=("a", "b", "3")), {"a": 0}, unseen=1)
    column = encoder(["a", "b", "c", None, 3.0, "c"])
    assert (column.codes.tolist(), column.missing, column.invalid) == ([0, 1, -1, -1, 1, -1], 1, {"category": 2})


def test_a_category_must_match_its_format_as_a_whole() -> None:
    """Uncut, too: what a label cannot hold may still be valid."""
    encoder = CategoryEncoder(Feature("c", kind="categorical", format="[a-z]+"), {"ab": 0}, unseen=1)
    column = encoder(["ab", "ab1", "AB", "q" * 200, "q" * 200 + "1", b"ab", 5])
    assert (column.codes.tolist(), column.invalid) == ([0, -1, -1, 1, -1, 0, -1], {"format": 4})


@pytest.mark.parametrize("form", [list, objects])
def test_a_boolean_is_a_truth_value_zero_or_one(form: Callable[[list[Any]], Any]) -> None:
    """Its text is not parsed."""
    encoder = CategoryEncoder(FLAG, {"false": 0, "true": 1}, unseen=2)
    good = [True, np.False_, 1, 0, 1.0, np.int8(0), Decimal(1), np.array(True)]
    assert encoder(form(good)).codes.tolist() == [1, 0, 1, 0, 1, 0, 1, 1]
    assert encoder(form([True, None, False])).codes.tolist() == [1, -1, 0]
    column = encoder(form(["true", 2, 0.5, None, math.nan, [], math.inf, b"1", pd.NA]))
    assert (set(column.codes.tolist()), column.missing, column.invalid) == ({-1}, 3, {"type": 6})
    assert encoder(np.array([True, False])).codes.tolist() == [1, 0]


def test_the_memo_is_bounded_and_right_beyond_its_bound() -> None:
    """Neither ids, nor NaN, nor long texts fill it."""
    encoder = CategoryEncoder(CARRIER, {"5": 0, "99999": 1}, unseen=2)
    encoder(["x" * 1000 + str(index) for index in range(10)] + [float("nan") for _ in range(10)])
    assert len(encoder._memo) < 10
    for _ in range(2):
        assert encoder(list(range(100_000))).codes.nonzero()[0].tolist() == [i for i in range(100_000) if i != 5]
    assert encoder([99999]).codes.tolist() == [1]
    assert len(encoder._memo) == MEMO_ENTRIES


def test_an_empty_column_has_no_rows() -> None:
    """Neither kind trips over it."""
    assert CategoryEncoder(CARRIER, CODES, unseen=7)([]).codes.shape == numbers_of([]).values.shape == (0,)
    assert numbers_of(np.empty(0)).missing == 0


def test_encoder_refuses_a_numeric_feature() -> None:
    """A wiring mistake is loud."""
    with pytest.raises(ValueError, match=r"feature 'x'.*'numeric'"):
        CategoryEncoder(NUMBER, {}, unseen=0)


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
