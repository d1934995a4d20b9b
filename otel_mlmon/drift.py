"""Distances between the distribution of a feature in the reference and in the current window, from counts per bin."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Counts", "psi", "psi_of_windows", "wasserstein", "wasserstein_of_windows"]

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = Sequence[int] | Sequence[float] | npt.NDArray[np.int64] | npt.NDArray[np.float64]

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
    return float(psi_of_windows(reference, _one_window(current))[0])


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
    base, windows = _checked(reference, windows)
    expected, actual = _shares(base + _JEFFREYS), _shares(windows + _JEFFREYS)
    return np.asarray(((actual - expected) * np.log(actual / expected)).sum(axis=-1))


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
    return float(wasserstein_of_windows(reference, _one_window(current), weights=weights, mean_shifts=np.array([mean_shift]))[0])


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
    base, windows = _checked(reference, windows)
    steps, shifts = np.asarray(weights, dtype=np.float64), np.asarray(mean_shifts, dtype=np.float64)
    if steps.shape != (len(base) - 1,) or not np.isfinite(steps).all() or (steps < 0).any():
        raise ValueError(f"weights must be {len(base) - 1} finite numbers >= 0, one fewer than bins, got {weights!r}")
    if shifts.shape != windows.shape[:1] or not np.isfinite(shifts).all():
        raise ValueError(f"the shift of the mean must be a finite number for each window, got {mean_shifts!r}")
    gaps = np.cumsum(_shares(windows) - _shares(base), axis=-1)[..., :-1]
    return np.maximum(np.abs(gaps) @ steps, np.abs(shifts))


def _one_window(current: Counts) -> Floats:
    counts = np.asarray(current, dtype=np.float64)
    if counts.ndim != 1:
        raise ValueError(f"current counts must have shape (bins,), got {counts.shape}")
    return counts[None]


def _checked(reference: Counts, windows: Floats) -> tuple[Floats, Floats]:
    base, windows = np.asarray(reference, dtype=np.float64), np.asarray(windows, dtype=np.float64)
    if base.ndim != 1 or windows.ndim != 2 or windows.shape[1] != len(base):
        raise ValueError(f"reference and current counts must be in the same bins, got shapes {base.shape} and {windows.shape[1:]}")
    for name, counts in (("reference", base), ("current", windows)):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError(f"{name} counts must be finite and >= 0, got {counts.tolist()!r}")
        if not (counts.sum(axis=-1) > 0).all():
            raise ValueError(f"{name} counts: there must be at least one value, got {counts.tolist()!r}")
    return base, windows


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
