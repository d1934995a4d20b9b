"""Raw values become categories and bin codes; naive code is the oracle."""

import math
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon.columns import MEMO_ENTRIES, CategoryEncoder, category
from otel_mlmon.feature import Feature
from otel_mlmon.values import CATEGORY_LENGTH
from tests.odd_values import MISSING, Colour, Level, Opaque, objects

NUMBER = Feature("x")
CARRIER = Feature("carrier", kind="categorical")
FLAG = Feature("flag", kind="boolean")
TEXT = Feature("note", kind="text")
TIME = Feature("seen", kind="timestamp")
NOW = 1_800_000_000.0


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


@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, {1}, frozenset({1}), (1, 2), np.array([1]), Opaque()], ids=lambda value: type(value).__name__
)
def test_what_holds_many_values_or_no_text_is_no_category(value: Any) -> None:
    """Unhashable values included; the row beside it still counts."""
    column = CategoryEncoder(CARRIER, CODES, unseen=7)([value, "a"])
    assert (column.codes.tolist(), column.missing, column.invalid) == ([-1, 4], 0, {"type": 1})


def test_either_way_to_write_a_text_makes_a_category() -> None:
    """``str()`` of an object that has one of the two says what it is."""

    class Said:
        def __str__(self) -> str:
            return "a"

    class Shown:
        def __repr__(self) -> str:
            return "é"

    assert CategoryEncoder(CARRIER, CODES, unseen=7)([Said(), Shown()]).codes.tolist() == [4, 6]


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
    encoder(["y" * CATEGORY_LENGTH])
    assert "y" * CATEGORY_LENGTH in encoder._memo
    for _ in range(2):
        assert encoder(list(range(100_000))).codes.nonzero()[0].tolist() == [i for i in range(100_000) if i != 5]
    assert encoder([99999]).codes.tolist() == [1]
    assert len(encoder._memo) == MEMO_ENTRIES


def test_an_empty_column_has_no_codes() -> None:
    assert CategoryEncoder(CARRIER, CODES, unseen=7)([]).codes.shape == (0,)


def test_encoder_refuses_a_numeric_feature() -> None:
    """A wiring mistake is loud."""
    with pytest.raises(ValueError, match=r"feature 'x'.*'numeric'"):
        CategoryEncoder(NUMBER, {}, unseen=0)
