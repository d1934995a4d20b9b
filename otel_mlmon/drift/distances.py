"""Distances between the distribution of a feature in the reference and in the current window, from counts per bin."""

from collections.abc import Sequence

import numpy as np

from otel_mlmon.drift.counts import Counts, Floats, checked, checked_pair, one_window, shares

__all__ = [
    *("hellinger", "js_distance", "js_divergence", "kl", "l_infinity", "psi", "psi_of_windows"),
    *("total_variation", "wasserstein", "wasserstein_of_windows"),
]

_JEFFREYS = 0.5


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index of ``current`` against ``reference``.

    Adds half a count per bin, so that empty bins stay finite.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        Dimensionless, ``>= 0``; 0 for equal shares.

    Raises:
        ValueError: If the shapes differ, a count is negative or not finite, or either side has no values.

    Source:
        Symmetric KL divergence: Kullback & Leibler (1951), doi:10.1214/aoms/1177729694. Half a count is Jeffreys' prior:
        doi:10.1098/rspa.1946.0056.

    >>> round(psi([50, 30, 20], [20, 30, 50]), 4)
    0.5329
    """
    return float(psi_of_windows(reference, one_window(current))[0])


def psi_of_windows(reference: Counts, windows: Floats) -> Floats:
    """``psi`` of many windows at once.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        windows: Counts in the same bins, shape ``(windows, bins)``.

    Returns:
        One value per window.

    Raises:
        ValueError: As ``psi``.
    """
    base, windows = checked(reference, windows)
    expected, actual = shares(base + _JEFFREYS), shares(windows + _JEFFREYS)
    return np.asarray(((actual - expected) * np.log(actual / expected)).sum(axis=-1))


def kl(reference: Counts, current: Counts) -> float:
    """Kullback-Leibler divergence of ``current`` from ``reference``: what coding current values by the reference costs.

    Adds half a count per bin, so that empty bins stay finite. ``kl(a, b) + kl(b, a)`` is ``psi(a, b)``.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        Nats, ``>= 0``; 0 for equal shares. Not symmetric.

    Raises:
        ValueError: As ``psi``.

    Source:
        Kullback & Leibler (1951), doi:10.1214/aoms/1177729694. Half a count is Jeffreys' prior: doi:10.1098/rspa.1946.0056.

    >>> round(kl([50, 30, 20], [20, 30, 50]), 4)
    0.2665
    """
    base, now = checked_pair(reference, current)
    return _entropy(shares(now + _JEFFREYS), shares(base + _JEFFREYS))


def js_divergence(reference: Counts, current: Counts) -> float:
    """Jensen-Shannon divergence: the mean divergence of both from their average. Finite without smoothing.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        Nats, from 0 for equal shares to ``ln 2`` where no bin has values of both. Symmetric.

    Raises:
        ValueError: As ``psi``.

    Source:
        Lin (1991), doi:10.1109/18.61115.

    >>> round(js_divergence([50, 30, 20], [20, 30, 50]), 4)
    0.0664
    """
    expected, actual = map(shares, checked_pair(reference, current))
    middle = (expected + actual) / 2
    return (_entropy(expected, middle) + _entropy(actual, middle)) / 2


def js_distance(reference: Counts, current: Counts) -> float:
    """Jensen-Shannon distance: the root of the divergence in bits.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 for equal shares to 1 where no bin has values of both. Symmetric; a metric.

    Raises:
        ValueError: As ``psi``.

    Source:
        Endres & Schindelin (2003), doi:10.1109/TIT.2003.813506.

    >>> js_distance([1, 0], [0, 1])
    1.0
    """
    return float(np.sqrt(js_divergence(reference, current) / np.log(2)))


def hellinger(reference: Counts, current: Counts) -> float:
    """Hellinger distance: the Euclidean one of the roots of the shares, over the root of 2.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 for equal shares to 1 where no bin has values of both. Symmetric; a metric.

    Raises:
        ValueError: As ``psi``.

    Source:
        Hellinger (1909), doi:10.1515/crll.1909.136.210.

    >>> hellinger([1, 0], [0, 1])
    1.0
    """
    expected, actual = map(shares, checked_pair(reference, current))
    return float(np.sqrt(((np.sqrt(actual) - np.sqrt(expected)) ** 2).sum() / 2))


def total_variation(reference: Counts, current: Counts) -> float:
    """Total variation distance: the share of values that would have to change their bin.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 for equal shares to 1 where no bin has values of both. Symmetric; a metric.

    Raises:
        ValueError: As ``psi``.

    Source:
        Half the sum of the differences: Levin, Peres & Wilmer, Markov Chains and Mixing Times (2009), proposition 4.2.

    >>> round(total_variation([50, 30, 20], [20, 30, 50]), 9)
    0.3
    """
    expected, actual = map(shares, checked_pair(reference, current))
    return float(np.abs(actual - expected).sum() / 2)


def l_infinity(reference: Counts, current: Counts) -> float:
    """L-infinity distance: the greatest difference of the shares of a bin.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 for equal shares to 1 where both have one bin each, not the same. Symmetric; a metric.

    Raises:
        ValueError: As ``psi``.

    Source:
        Breck, Polyzotis, Roy, Whang & Zinkevich, Data Validation for Machine Learning, MLSys (2019), section 4.

    >>> round(l_infinity([50, 30, 20], [20, 40, 40]), 9)
    0.3
    """
    expected, actual = map(shares, checked_pair(reference, current))
    return float(np.abs(actual - expected).max())


def wasserstein(reference: Counts, current: Counts, *, weights: Sequence[float] | Floats, mean_shift: float = 0.0) -> float:
    """Wasserstein-1 distance of ``current`` from ``reference``, in standard deviations of the reference.

    Every value counts as its bin's reference mean, so what happens within the open bins at both ends is not seen; the shift of
    the means, which no distance can be below, makes up for that.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.
        weights: Distance of the next bin's mean from this bin's, in standard deviations, shape ``(bins - 1,)``.
        mean_shift: Mean of ``current`` less mean of ``reference``, in standard deviations.

    Returns:
        ``>= 0``; 0 for equal shares and means.

    Raises:
        ValueError: If the shapes differ, a count or weight is negative, anything is not finite, or either side has no values.

    Source:
        In one dimension the area between the distribution functions: Vallender (1974), doi:10.1137/1118101. ``|E X - E Y|`` is a
        lower bound by Kantorovich duality with ``f(x) = x``.

    >>> wasserstein([2, 1, 1], [1, 1, 2], weights=[1.0, 2.0])
    0.75
    """
    return float(wasserstein_of_windows(reference, one_window(current), weights=weights, mean_shifts=np.array([mean_shift]))[0])


def wasserstein_of_windows(reference: Counts, windows: Floats, *, weights: Sequence[float] | Floats, mean_shifts: Floats) -> Floats:
    """``wasserstein`` of many windows at once.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        windows: Counts in the same bins, shape ``(windows, bins)``.
        weights: As for ``wasserstein``, shape ``(bins - 1,)``.
        mean_shifts: Shift of the mean of each window, in standard deviations, shape ``(windows,)``.

    Returns:
        One value per window.

    Raises:
        ValueError: As ``wasserstein``.
    """
    base, windows = checked(reference, windows)
    steps, shifts = np.asarray(weights, dtype=np.float64), np.asarray(mean_shifts, dtype=np.float64)
    if steps.shape != (len(base) - 1,) or not np.isfinite(steps).all() or (steps < 0).any():
        raise ValueError(f"weights must be {len(base) - 1} finite numbers >= 0, one fewer than bins, got {weights!r}")
    if shifts.shape != windows.shape[:1] or not np.isfinite(shifts).all():
        raise ValueError(f"the shift of the mean must be a finite number for each window, got {mean_shifts!r}")
    gaps = np.cumsum(shares(windows) - shares(base), axis=-1)[..., :-1]
    return np.maximum(np.abs(gaps) @ steps, np.abs(shifts))


def _entropy(of: Floats, relative_to: Floats) -> float:
    from scipy.special import rel_entr  # on use: the import takes 0.2 s

    return max(float(rel_entr(of, relative_to).sum()), 0.0)  # rounding
