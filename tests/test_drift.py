"""Distances from counts per bin, against SciPy on the same numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from otel_mlmon.drift import psi, psi_of_windows, wasserstein, wasserstein_of_windows

COUNTS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=2, max_size=40).filter(
    lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
)


def test_psi_is_the_symmetric_kl_divergence() -> None:
    """Two definitions, one number: SciPy's entropy is the oracle."""
    rng = np.random.default_rng(7)
    for _ in range(50):
        a, b = rng.integers(0, 100, size=(2, 10))
        p, q = ((c + 0.5) / (c + 0.5).sum() for c in (a, b))
        assert np.isclose(psi(a, b), stats.entropy(p, q) + stats.entropy(q, p))


def test_psi_worked_by_hand() -> None:
    """One value against three: shares 3/4, 1/4 and 1/2, 1/2 after half a count each."""
    assert psi([1, 0], [1, 1]) == pytest.approx((0.5 - 0.75) * np.log(0.5 / 0.75) + (0.5 - 0.25) * np.log(0.5 / 0.25), rel=1e-14)


@given(COUNTS)
def test_psi_is_a_symmetric_finite_distance(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert 0 <= psi(a, b) < np.inf
    assert psi(a, b) == pytest.approx(psi(b, a), rel=1e-9, abs=1e-12)
    assert psi(a, a) == 0


def test_wasserstein_is_scipys_distance_of_the_bin_means() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        a, b = rng.integers(1, 100, size=(2, 10))
        means = np.sort(rng.normal(size=10))
        expected = stats.wasserstein_distance(means, means, a, b)
        assert wasserstein(a, b, weights=np.diff(means)) == pytest.approx(expected, rel=1e-12)


def test_wasserstein_is_at_least_the_shift_of_the_mean() -> None:
    """Counts cannot see how far a value went beyond the last edge; the means can."""
    assert wasserstein([5, 5], [5, 5], weights=[1.0], mean_shift=-0.7) == 0.7
    assert wasserstein([9, 1], [1, 9], weights=[1.0], mean_shift=0.1) == pytest.approx(0.8)


def test_many_windows_are_each_like_one() -> None:
    rng = np.random.default_rng(5)
    base, windows = rng.integers(1, 50, size=6), rng.integers(1, 50, size=(9, 6)).astype(float)
    weights, shifts = rng.random(5), rng.normal(size=9)
    assert psi_of_windows(base, windows).tolist() == pytest.approx([psi(base, window) for window in windows], rel=1e-14)
    one_by_one = [
        wasserstein(base, window, weights=weights, mean_shift=shift) for window, shift in zip(windows, shifts, strict=True)
    ]
    found = wasserstein_of_windows(base, windows, weights=weights, mean_shifts=shifts)
    assert found.tolist() == pytest.approx(one_by_one, rel=1e-14)


@pytest.mark.parametrize(
    ("reference", "current", "message"),
    [
        ([1, 2], [1, 2, 3], "same bins"),
        ([[1, 2]], [1, 2], "same bins"),
        ([1, 2], [[1, 2]], r"shape \(bins,\)"),
        ([1, -2], [1, 2], "reference counts must be finite and >= 0"),
        ([1, 2], [np.nan, 2], "current counts must be finite and >= 0"),
        ([0, 0], [1, 2], "reference counts: there must be at least one value"),
        ([1, 2], [0, 0], "current counts: there must be at least one value"),
    ],
)
def test_counts_that_cannot_be_are_refused(reference: Any, current: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        psi(reference, current)
    with pytest.raises(ValueError, match=message):
        wasserstein(reference, current, weights=[1.0])


@pytest.mark.parametrize(
    ("weights", "shift", "message"),
    [
        ([1.0, 1.0], 0.0, "weights must be 1"),
        ([-1.0], 0.0, "weights must be 1"),
        ([np.inf], 0.0, "finite"),
        ([1.0], np.nan, "shift"),
    ],
)
def test_weights_and_shifts_that_cannot_be_are_refused(weights: list[float], shift: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wasserstein([1, 2], [2, 1], weights=weights, mean_shift=shift)
