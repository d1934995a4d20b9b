"""End to end through a monitor: the same rows give the same counters however they come, and those are pandas' and NumPy's."""

import math
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from otel_mlmon import catalog
from otel_mlmon.catalog import PREDICTION, SCORE, UNSEEN
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Reference
from tests.counts import QUIET, Counts, assert_same, counted, counts_of, one, series
from tests.naive import SCHEMA, Row, expected, midranks, reference

# ---------------------------------------------------------------- awkward input
NUMBERS = st.one_of(
    st.floats(-50, 50),
    st.floats(),
    st.integers(-5, 120),
    st.sampled_from([10**400, -(10**400), 2**63, 1e308, -1e308, 5e-324, -0.0, math.nan, math.inf, -math.inf]),
    st.integers(-100, 100).map(np.int8),
    st.floats(width=32).map(np.float32),
    st.integers(-300, 300).map(lambda cents: Decimal(cents) / 100),
)
TEXTS = st.one_of(
    st.sampled_from(["a", "b", "c", "3", "true", "f1", "f2", "f12", "", "x" * 500, "naïve ☃ 💥", "a\0"]), st.text(max_size=8)
)
NESTED = st.sampled_from([[1, 2], (1.0,), {"a": 1}, {1, 2}, np.array([1.0, 2.0])])
VALUES = st.one_of(NUMBERS, TEXTS, st.sampled_from([None, True, False, np.True_, pd.NA, pd.NaT, b"a"]), NESTED)
AWKWARD_ROWS = st.lists(
    st.dictionaries(st.sampled_from([*SCHEMA.names, "extra"]), VALUES, max_size=7)
    | st.fixed_dictionaries(dict.fromkeys(SCHEMA.names, VALUES)),
    max_size=12,
)


def assert_counts(found: Counts, wanted: Counts) -> None:
    """Equal; but a histogram's sum loses what rounding loses, which is much beside 1e308."""
    sums = {key for key in found | wanted if key[0] == catalog.FEATURE_VALUE.name}
    for key in sums:
        assert not any(map(math.isnan, found.get(key, ()))), key
    assert_same(
        {key: values[:-1] if key in sums else values for key, values in found.items()},
        {key: values[:-1] if key in sums else values for key, values in wanted.items()},
    )


# ---------------------------------------------------------------- properties
@settings(max_examples=100)
@given(rows=AWKWARD_ROWS, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_counters_equal_an_independent_count(rows: list[Row], cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    calls = [(rows[start:stop], None) for start, stop in pairwise(bounds)]
    assert_counts(counted(calls, reference()), expected(rows))


SCORES = st.none() | st.floats(0, 1)


@settings(max_examples=60)
@given(cells=st.lists(st.tuples(NUMBERS, st.integers(0, 100), SCORES), min_size=1, max_size=20))
def test_counters_of_outputs_and_pairs_equal_an_independent_count(cells: list[tuple[Any, int, float | None]]) -> None:
    usual = {"c": "a", "free": "f1", "flag": True, "note": ""}
    rows = [{"x": x, "n": n, **usual} for x, n, _ in cells]
    scores = [score for *_, score in cells]
    if all(score is None for score in scores):
        scores[0] = 0.5
    assert_counts(counted([(rows, scores)], reference()), expected(rows, scores))


def _of_objects(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def _matrix(rows: Sequence[Row]) -> np.ndarray[Any, Any]:
    return np.stack([_of_objects(_placed(row)) for row in rows])


def _placed(row: Row) -> list[Any]:
    return [row[name] for name in SCHEMA.names]


Shape = Callable[[list[Row]], list[Any]]
"""Rows -> the features of one call or of several."""

_Example = make_dataclass("_Example", SCHEMA.names, slots=True)

BY_NAME: dict[str, Shape] = {
    "dicts": list,
    "list of dicts": lambda rows: [rows],
    "tuple of dicts": lambda rows: [tuple(rows)],
    "array of dicts": lambda rows: [_of_objects(rows)],
    "dataclasses": lambda rows: [_Example(**row) for row in rows],
    "list of dataclasses": lambda rows: [[_Example(**row) for row in rows]],
    "dict of lists": lambda rows: [{name: [row[name] for row in rows] for name in SCHEMA.names}],
    "dict of object arrays": lambda rows: [{name: _of_objects([row[name] for row in rows]) for name in SCHEMA.names}],
    "pandas": lambda rows: [
        pd.DataFrame({name: pd.Series(_of_objects([row[name] for row in rows]), dtype=object) for name in SCHEMA.names})
    ],
    "Series": lambda rows: [pd.Series(row, dtype=object) for row in rows],
}
BY_POSITION: dict[str, Shape] = {
    "lists": lambda rows: [_placed(row) for row in rows],
    "tuples": lambda rows: [tuple(_placed(row)) for row in rows],
    "list of lists": lambda rows: [[_placed(row) for row in rows]],
    "list of object arrays": lambda rows: [[_of_objects(_placed(row)) for row in rows]],
    "object arrays": lambda rows: [_of_objects(_placed(row)) for row in rows],
    "object matrix": lambda rows: [_matrix(rows)],
}
FLAT = st.one_of(NUMBERS, TEXTS, st.sampled_from([None, True, False, np.True_, pd.NA, b"a"]))
COMPLETE_ROW = st.fixed_dictionaries({name: FLAT if name == "x" else VALUES for name in SCHEMA.names})
"""By position a nested first value would make several rows of a list; the first value is flat."""

PARTS = st.lists(
    st.tuples(st.lists(COMPLETE_ROW, min_size=1, max_size=4), st.sampled_from([*BY_NAME, *BY_POSITION])), min_size=1, max_size=5
)


@settings(max_examples=80)
@given(parts=PARTS)
def test_any_cut_and_any_shapes_of_the_same_rows_count_the_same(parts: list[tuple[list[Row], str]]) -> None:
    shapes = BY_NAME | BY_POSITION
    calls = [(features, None) for rows, shape in parts for features in shapes[shape](rows)]
    whole = [row for rows, _ in parts for row in rows]
    assert_counts(counted(calls, reference()), counted([(whole, None)], reference()))


KINDS = ["f8", "f4", "f2", "i8", "u1", "?", "O"]


@settings(max_examples=30)
@given(parts=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 3)), min_size=2, max_size=4), flat=st.booleans())
def test_arrays_of_different_types_in_one_drain_count_as_they_do_alone(parts: list[tuple[str, int]], flat: bool) -> None:
    """A truth value is the category ``true`` whatever the next call brings."""
    blocks = [np.ones((rows, len(SCHEMA)), dtype=kind) for kind, rows in parts]
    calls = [(features, None) for block in blocks for features in (list(block) if flat else [block])]
    alone: Counter[tuple[str, ...]] = Counter()
    for call in calls:
        alone.update({key: values[0] for key, values in counted([call], reference()).items() if key[0] == catalog.FEATURE_BIN.name})
    together = counted(calls, reference())
    assert dict(alone) == {key: values[0] for key, values in together.items() if key[0] == catalog.FEATURE_BIN.name}


# ---------------------------------------------------------------- large calls
@pytest.mark.parametrize("rows", [1, 1024, 1025, 2500])
@pytest.mark.parametrize("shape", ["list of dicts", "dict of lists", "pandas", "object matrix"])
def test_a_large_call_counts_as_its_rows_do(rows: int, shape: str) -> None:
    data, scores = _stream(rows)
    calls = [(features, scores) for features in (BY_NAME | BY_POSITION)[shape](data)]
    assert_counts(counted(calls, reference()), expected(data, scores))


def _stream(rows: int) -> tuple[list[Row], list[float | None]]:
    rng = np.random.default_rng(rows)
    data = [
        {
            "x": float(rng.normal()),
            "n": int(rng.integers(-5, 50)),
            "c": str(rng.choice(["a", "b", "z"])),
            "free": f"f{rng.integers(20)}",
            "flag": bool(rng.integers(2)),
            "note": "é" * int(rng.integers(5)),
        }
        for _ in range(rows)
    ]
    return data, rng.random(rows).tolist()


@pytest.mark.parametrize("misfit", [0.7, [0.7], [0.5] * 1024, [0.5] * 1026, {"prediction": [1] * 1024}, "abc"])
def test_predictions_that_do_not_fit_a_large_call_are_one_error_and_count_nowhere(misfit: Any) -> None:
    """Neither the first part, of 1,024 rows, nor the last, of one, may take them for its own."""
    data, _ = _stream(1025)
    counts = counted([(data, misfit)], reference())
    assert one(counts, catalog.INTERNAL_ERRORS, "prediction") == 1
    rest = {key: values for key, values in counts.items() if key[0] != catalog.INTERNAL_ERRORS.name}
    assert_counts(rest, expected(data))


# ---------------------------------------------------------------- rows that are read on the worker
@pytest.mark.parametrize("rows", [1, 700, 2500])
def test_rows_read_on_the_worker_count_as_observed_ones(rows: int) -> None:
    data, scores = _stream(rows)
    with Monitor("model", version="1", reference=reference(), settings=QUIET) as monitor:
        monitor.observe_lazy(lambda: (data, scores), weight=1)
        assert_counts(counts_of(monitor), expected(data, scores))
        assert monitor.snapshot().calls["ok"] == 1


def test_a_reader_that_raises_is_counted_and_costs_nobody_else() -> None:
    data, _ = _stream(10)

    def broken() -> tuple[Any, Any]:
        raise ValueError("no such message")

    with Monitor("model", version="1", reference=reference(), settings=QUIET) as monitor:
        monitor.observe_lazy(broken, weight=1)
        monitor.observe_lazy(lambda: None, weight=1)
        monitor.observe_lazy(lambda: (data, None), weight=1)
        counts = counts_of(monitor)
    assert counts.pop((catalog.INTERNAL_ERRORS.name, "reader")) == (1.0,)
    assert_counts(counts, expected(data))


# ---------------------------------------------------------------- the reference's own data
def test_training_data_through_a_monitor_gives_exactly_the_counts_of_the_reference() -> None:
    """Two implementations of binning, one result. (What is derived is counted on half of the rows: see test_derivation.)"""
    rng = np.random.default_rng(5)
    size = 5000
    data = pd.DataFrame(
        {
            "normal": np.where(rng.random(size) < 0.02, np.nan, rng.normal(size=size)),
            "heavy": rng.standard_cauchy(size),
            "ties": np.round(rng.exponential(2, size)),
            "constant": np.full(size, 7.5),
            "carrier": rng.choice([f"c{number}" for number in range(60)], size, p=rng.dirichlet(np.ones(60) * 0.3)),
            "late": rng.random(size) < 0.2,
        }
    )
    prediction = rng.random(size)
    built = Reference.build(data, predictions=prediction, task="binary")
    counts = counted([(data[start : start + 700], prediction[start : start + 700]) for start in range(0, size, 700)], built)
    for profile in built.profiles:
        if profile.feature in built.derivation.names:
            continue
        found = series(counts, catalog.FEATURE_BIN, profile.feature)
        assert found == {name: n for name, n in zip(profile.bins, profile.counts, strict=True) if n}, profile.feature
        assert one(counts, catalog.FEATURE_MISSING, profile.feature) == profile.missing
        assert one(counts, catalog.FEATURE_OUTLIERS, profile.feature) == profile.outliers


def test_correlations_follow_from_the_pair_moments() -> None:
    """Pearson from z as NumPy has it; Spearman from u as SciPy has it of the bins' midranks."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    score = 1 / (1 + np.exp(-x - rng.normal(size=400)))
    rows = [{"x": value, "n": 1, "c": "a", "free": "f1", "flag": True, "note": ""} for value in x]
    counts = counted([(rows, score)], reference())
    wanted = {
        "z": np.corrcoef(x, score)[0, 1],
        # The reference's midranks rank the bins, but they do not average the ranks of this sample: Pearson of them is the figure.
        "u": np.corrcoef(midranks(reference()["x"], x), midranks(reference()[SCORE], score))[0, 1],
    }
    for space, r in wanted.items():
        m = series(counts, catalog.FEATURE_MOMENT, "x", SCORE, space)
        covariance = m["n"] * m["fy"] - m["f"] * m["y"]
        spread = (m["n"] * m["ff"] - m["f"] ** 2) * (m["n"] * m["yy"] - m["y"] ** 2)
        assert covariance / math.sqrt(spread) == pytest.approx(r, rel=1e-9)


def test_on_the_training_data_the_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=1000)
    score = 1 / (1 + np.exp(-x - rng.normal(size=1000)))
    built = Reference.build({"x": x}, predictions=score, task="binary")
    m = series(counted([(x[:, None], score)], built), catalog.FEATURE_MOMENT, "x", SCORE, "u")
    found = (m["n"] * m["fy"] - m["f"] * m["y"]) / math.sqrt((m["n"] * m["ff"] - m["f"] ** 2) * (m["n"] * m["yy"] - m["y"] ** 2))
    x_bins, score_bins = (
        np.searchsorted(built[name].edges, values, side="right").astype(np.float64) for name, values in (("x", x), (SCORE, score))
    )
    assert found == pytest.approx(stats.spearmanr(x_bins, score_bins).statistic, rel=1e-9)
    exported = {item.space: item.r for item in built["x"].correlations}
    assert exported["u"] == pytest.approx(found, rel=1e-9)


# ---------------------------------------------------------------- bounded
def test_a_flood_of_categories_takes_neither_series_nor_memory() -> None:
    def flood(start: int, stop: int) -> None:
        for first in range(start, stop, 1000):
            ids = [f"id-{number}" for number in range(first, first + 1000)]
            monitor.observe([{"x": 1.0, "n": 1, "c": "a", "free": one, "flag": True, "note": ""} for one in ids], ids)
            assert monitor.flush(timeout=30)

    with Monitor("model", version="1", reference=reference(), settings=QUIET) as monitor:
        flood(0, 10_000)  # what is bounded is full now
        before = len(monitor.collect().series)
        tracemalloc.start()
        flood(10_000, 100_000)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        counts = counts_of(monitor)
        assert len(monitor.collect().series) == before
    assert grown < 2_000_000
    assert series(counts, catalog.FEATURE_BIN, "free") == {UNSEEN: 100_000}
    assert series(counts, catalog.FEATURE_BIN, PREDICTION) == {UNSEEN: 100_000}


def test_huge_values_of_both_signs_never_leave_a_nan() -> None:
    """Sums overflow; an infinity less an infinity would stay NaN for as long as the process lives."""
    with Monitor("model", version="1", reference=reference(), settings=QUIET) as monitor:
        for sign in (1, -1, 1, -1):
            for _ in range(4):
                monitor.observe([{"x": sign * 1.7e308, "n": 1, "c": "a", "free": "f1", "flag": True, "note": ""}] * 500)
            assert monitor.flush(timeout=30)
        counts = counts_of(monitor)
    assert sum(series(counts, catalog.FEATURE_BIN, "x").values()) == 8000
    assert not any(math.isnan(value) for values in counts.values() for value in values)
    assert not series(counts, catalog.INTERNAL_ERRORS)
