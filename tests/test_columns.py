"""Raw columns become numbers and bin codes; naive code, pandas and NumPy are the oracles."""

import math
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon.columns import NumericColumn, numeric
from otel_mlmon.feature import Feature
from tests.odd_values import MISSING, Colour, Opaque, objects

NUMBER = Feature("x")
CARRIER = Feature("carrier", kind="categorical")
FLAG = Feature("flag", kind="boolean")
TEXT = Feature("note", kind="text")
TIME = Feature("seen", kind="timestamp")
NOW = 1_800_000_000.0


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


def test_an_empty_column_has_no_numbers() -> None:
    assert numbers_of([]).values.shape == (0,)
    assert numbers_of(np.empty(0)).missing == 0


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
    np.testing.assert_array_equal(numbers_of(["a\nb", None], TEXT).values, [3, math.nan])


def test_a_text_must_match_its_format_as_a_whole() -> None:
    """A match at the start is not enough; line feeds count."""
    feature = Feature("note", kind="text", format="[ab]+")
    column = numbers_of(["ab", "abc", "ab\n", "b", None], feature)
    np.testing.assert_array_equal(column.values, [2, math.nan, math.nan, 1, math.nan])
    assert (column.missing, column.invalid) == (1, {"format": 2})
    assert numbers_of(["ab", "abc"], feature).invalid == {"format": 1}


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
    assert numbers_of([np.True_, 5], TIME).invalid == numbers_of([True, 5], TIME).invalid == {"type": 1}
    np.testing.assert_array_equal(numbers_of(np.array([1, 2]), TIME).values, [NOW - 1, NOW - 2])


def test_each_row_has_its_own_time() -> None:
    """An age beyond the declared one is out of range."""
    column = numeric(
        [100.0, 100.0, 100.0], Feature("seen", kind="timestamp", minimum=0, maximum=60), at=np.array([90.0, 130.0, 170.0])
    )
    np.testing.assert_array_equal(column.values, [math.nan, 30, math.nan])
    assert column.invalid == {"range": 2}
