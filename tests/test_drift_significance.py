"""Statistics and p-values of tests from counts per bin, against SciPy's of the same samples."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from otel_mlmon import drift

Integers = npt.NDArray[np.int64]

TWO_SIDES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=20).filter(
    lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
)


def _seen(a: Any, b: Any) -> Integers:
    """SciPy's contingency table: it wants no empty column."""
    table = np.array([a, b])
    return table[:, table.any(axis=0)]


def _values(counts: Any) -> Integers:
    return np.repeat(np.arange(len(counts)), counts)


@given(TWO_SIDES)
def test_ks_is_scipys_of_the_bin_numbers(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    expected = stats.ks_2samp(_values(a), _values(b), method="asymp").statistic
    assert drift.ks(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_ks_of_bins_is_never_above_that_of_the_values() -> None:
    """And so its p-value is never below: binning makes the test conservative."""
    rng = np.random.default_rng(2)
    gaps = []
    for _ in range(50):
        x, y = rng.normal(size=400), rng.normal(0.3, 1.2, size=300)
        edges = np.quantile(x, np.arange(0.1, 1.0, 0.1))
        a, b = (np.bincount(np.searchsorted(edges, side, side="right"), minlength=10) for side in (x, y))
        gaps.append(stats.ks_2samp(x, y).statistic - drift.ks(a, b))
    assert min(gaps) >= -1e-12
    assert np.mean(gaps) < 0.03


def test_the_ks_p_value_is_kolmogorovs_with_stephens_factor() -> None:
    """SciPy's limiting distribution, over all sizes and down to 1e-12."""
    rng = np.random.default_rng(4)
    seen = []
    for n, m in ((20, 30), (300, 5_000), (10_000, 10_000), (10**9, 2_000)):
        for shift in (0.0, 0.02, 0.1, 0.4):
            p = rng.dirichlet(np.ones(10))
            a, b = rng.multinomial(n, p), rng.multinomial(m, np.roll(p, 1) * shift + p * (1 - shift))
            root = np.sqrt(n * m / (n + m))
            expected = float(stats.kstwobign.sf((root + 0.12 + 0.11 / root) * drift.ks(a, b)))
            if expected > 1e-12:
                assert drift.ks_pvalue(a, b) == pytest.approx(expected, rel=1e-6)
                seen.append(expected)
    assert min(seen) < 1e-3 < 0.5 < max(seen)


def test_the_ks_p_value_is_close_to_scipys() -> None:
    """SciPy takes the exact one-sample distribution at the rounded N: another approximation of the same."""
    rng = np.random.default_rng(6)
    for _ in range(40):
        a, b = rng.multinomial(500, np.full(20, 0.05)), rng.multinomial(400, rng.dirichlet(np.full(20, 30)))
        expected = stats.ks_2samp(_values(a), _values(b), method="asymp").pvalue
        assert drift.ks_pvalue(a, b) == pytest.approx(expected, rel=0.05, abs=0.005)


@given(TWO_SIDES)
def test_chi2_and_its_p_value_are_scipys(pairs: list[tuple[int, int]]) -> None:
    """Bins that are empty in both, and those in one, included."""
    a, b = zip(*pairs, strict=True)
    table = _seen(a, b)
    expected = stats.chi2_contingency(table, correction=False)
    assert drift.chi2(a, b) == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    if expected.pvalue > 1e-12:
        assert drift.chi2_pvalue(a, b) == pytest.approx(expected.pvalue, rel=1e-6)


def test_small_p_values_keep_their_digits() -> None:
    for m in (400, 600, 800):
        a, b = [500, 500, 0, 500], [m, 500, 0, 500]
        expected = stats.chi2_contingency(_seen(a, b), correction=False).pvalue
        assert drift.chi2_pvalue(a, b) == pytest.approx(expected, rel=1e-6)
    assert 1e-12 < expected < 1e-9


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ([10**12, 3 * 10**12, 0], [10**12, 3 * 10**12 + 10**6, 5]),
        ([1, 0], [0, 1]),
        ([1, 0, 5], [10**12, 0, 4 * 10**12]),
    ],
)
def test_great_and_tiny_counts_are_scipys(reference: list[int], current: list[int]) -> None:
    expected = stats.chi2_contingency(_seen(reference, current), correction=False)
    assert drift.chi2(reference, current) == pytest.approx(expected.statistic, rel=1e-6)
    assert drift.chi2_pvalue(reference, current) == pytest.approx(expected.pvalue, rel=1e-6)


@given(TWO_SIDES)
def test_cramers_v_is_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    table = _seen(a, b)
    if table.shape[1] > 1:
        assert drift.cramers_v(a, b) == pytest.approx(stats.contingency.association(table, method="cramer"), rel=1e-9, abs=1e-9)
    assert 0 <= drift.cramers_v(a, b) <= 1 + 1e-12


@pytest.mark.parametrize("counts", [([3], [8]), ([3, 0], [8, 0])])
def test_one_bin_tells_nothing(counts: tuple[list[int], list[int]]) -> None:
    assert drift.ks(*counts) == drift.chi2(*counts) == drift.cramers_v(*counts) == 0
    assert drift.ks_pvalue(*counts) == drift.chi2_pvalue(*counts) == 1


@given(TWO_SIDES)
def test_what_is_the_same_is_no_drift(pairs: list[tuple[int, int]]) -> None:
    a, _ = zip(*pairs, strict=True)
    assert drift.ks(a, a) == drift.chi2(a, a) == drift.cramers_v(a, a) == 0
    assert drift.ks_pvalue(a, a) == drift.chi2_pvalue(a, a) == 1


@given(TWO_SIDES)
def test_the_sides_may_change_places(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    for statistic in (drift.ks, drift.ks_pvalue, drift.chi2, drift.chi2_pvalue, drift.cramers_v):
        assert statistic(a, b) == pytest.approx(statistic(b, a), rel=1e-9, abs=1e-12)
        assert 0 <= statistic(a, b) < np.inf


def test_p_values_are_uniform_without_drift() -> None:
    """The reason for p-values at all: 5 % of them are below 5 %; binned KS is conservative."""
    rng = np.random.default_rng(8)
    p = rng.dirichlet(np.full(10, 5))
    drawn = [(rng.multinomial(2_000, p), rng.multinomial(1_000, p)) for _ in range(2_000)]
    chi2 = np.mean([drift.chi2_pvalue(a, b) < 0.05 for a, b in drawn])
    ks = np.mean([drift.ks_pvalue(a, b) < 0.05 for a, b in drawn])
    assert 0.035 < chi2 < 0.065
    assert 0.01 < ks <= 0.06
