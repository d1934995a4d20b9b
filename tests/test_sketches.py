"""What one pass over the data keeps: moments, a sample of rows, categories."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon.feature import Feature
from otel_mlmon.profiling.sketches import Categories, Moments, Sample

PLAN = Feature("plan", kind="categorical")


@given(st.lists(st.lists(st.floats(-1e100, 1e100), max_size=20), min_size=1, max_size=8))
def test_moments_of_parts_are_those_of_the_whole(parts: list[list[float]]) -> None:
    moments, whole = Moments(), np.array([value for part in parts for value in part])
    for part in parts:
        moments.add(np.array(part))
    assert moments.count == len(whole)
    if len(whole):
        scale = float(np.abs(whole).max())
        assert moments.mean() == pytest.approx(float(whole.mean()), rel=1e-9, abs=1e-12 * scale)
        assert moments.std() == pytest.approx(float(whole.std()), rel=1e-6, abs=1e-9 * scale)
        assert moments.minimum == whole.min() <= moments.mean() <= whole.max() == moments.maximum


def test_deviation_survives_a_large_mean() -> None:
    """Sums of squares would lose all digits."""
    moments = Moments()
    for part in np.split(1e9 + np.arange(1_000.0) / 1_000, 10):
        moments.add(part)
    assert moments.std() == pytest.approx(np.arange(1_000).std() / 1_000, rel=1e-6)


def test_equal_values_have_no_deviation_at_all() -> None:
    """The mean of seven times 0.1 is not 0.1 in floating point."""
    moments = Moments()
    moments.add(np.full(7, 0.1))
    assert (moments.mean(), moments.std()) == (0.1, 0.0)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_any_split_of_the_rows_gives_the_same_sample(sizes: list[int]) -> None:
    columns = np.arange(2.0 * sum(sizes)).reshape(2, -1)
    whole, parts = Sample(25, seed=1), Sample(25, seed=1)
    whole.add(list(columns), sum(sizes))
    for part in np.split(columns, np.cumsum(sizes)[:-1], axis=1):
        parts.add(list(part), part.shape[1])
    kept = sorted(zip(*whole.columns(), strict=True))
    assert sorted(zip(*parts.columns(), strict=True)) == kept
    assert len(kept) == min(25, sum(sizes))


def test_every_row_is_sampled_equally_often() -> None:
    taken = np.zeros(40)
    for seed in range(3_000):
        sample = Sample(10, seed)
        for part in np.split(np.arange(40.0), 8):
            sample.add([part], 5)
        taken[next(sample.columns()).astype(int)] += 1
    assert np.abs(taken / 3_000 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 3_000)


def test_the_stated_error_of_sampled_quantiles_holds() -> None:
    """Within sqrt(ln(2 / 0.05) / (2 n)) in at least 95 of 100 samples."""
    values, error = np.random.default_rng(1).permutation(20_000).astype(float), np.sqrt(np.log(2 / 0.05) / (2 * 1_000))
    worst = []
    for seed in range(200):
        sample = Sample(1_000, seed)
        for part in np.split(values, 20):
            sample.add([part], 1_000)
        worst.append(np.abs(np.sort(next(sample.columns())) / 20_000 - np.arange(1_000) / 1_000).max())
    assert (np.array(worst) <= error + 0.001).mean() >= 0.95


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "b", None, "c", "a", float("nan")], ["a", "b", "c"]),
        ([True, 1, 1.0, True, "true"], ["true", "1"]),
        (np.array([3, 3, 7]), ["3", "7"]),
        (np.array(["x", "y", "y"]), ["y", "x"]),
        (np.array([2.5, 2.5, np.nan, 3.0]), ["2.5", "3"]),
        (["a", ["no", "category"], "a"], ["a"]),
        (["a", ("no", "category"), "a"], ["a"]),
    ],
)
def test_categories_are_ranked_by_frequency_then_name(values: Any, expected: list[str]) -> None:
    counts = Categories(PLAN)
    counts.add(values)
    assert counts.ranked() == expected


def test_categories_against_the_schema_do_not_count() -> None:
    counts = Categories(Feature("plan", kind="categorical", categories=("a", "b")))
    counts.add(["x", "x", "b"])
    assert counts.ranked() == ["b"]


def test_frequent_categories_survive_more_than_can_be_kept() -> None:
    """Any in more than 1 of `tracked` + 1 rows: 20 of these among 20,000 that come once."""
    rng = np.random.default_rng(2)
    rows: npt.NDArray[np.int64] = np.concatenate([np.arange(100, 20_100), np.repeat(np.arange(20), 500), np.full(2_000, 7)])
    rng.shuffle(rows)
    counts = Categories(PLAN, tracked=100)
    for part in np.array_split(rows, 50):
        counts.add(part)
    assert not counts.complete
    assert sorted(map(int, counts.ranked()[:20])) == list(range(20))
    assert counts.ranked()[0] == "7"
