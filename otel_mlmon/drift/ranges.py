"""Where the values of a window lie: quantiles, and the share within the reference's range."""

from collections.abc import Sequence

import numpy as np

from otel_mlmon.drift.counts import Counts, Floats, checked_pair, one_window

__all__ = ["QUANTILES", "quantile_shifts", "quantiles", "range_compliance"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Those that are recorded."""


def quantiles(counts: Counts, bounds: Sequence[float] | Floats, q: Sequence[float] = QUANTILES) -> Floats:
    """Quantiles of binned values, as Prometheus's ``histogram_quantile`` tells them.

    Within a bin values count as evenly spread. The first bin begins at 0 if its bound is positive, else the bound itself stands for
    it; the bound of the open last bin stands for all in that.

    Args:
        counts: Values per bin, shape ``(bins,)``; not cumulative.
        bounds: Between the bins, shape ``(bins - 1,)``, at least one, increasing.
        q: Which quantiles, above 0 and at most 1.

    Returns:
        In the unit of the bounds, shape as ``q``.

    Raises:
        ValueError: If the shapes do not fit, a count is negative or not finite, there is no value, the bounds do not increase or
            a quantile is not above 0 and at most 1.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile

    >>> quantiles([2, 2, 4], [1.0, 2.0], [0.25, 0.375, 0.9]).tolist()
    [1.0, 1.5, 2.0]
    """
    found, limits, wanted = one_window(counts)[0], np.asarray(bounds, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise ValueError(f"counts must be finite and >= 0, of at least one value, got {found.tolist()!r}")
    if not len(found) > 1 or limits.shape != (len(found) - 1,) or not np.isfinite(limits).all() or (np.diff(limits) <= 0).any():
        raise ValueError(f"bounds must be finite and increasing, one fewer than the {len(found)} bins, got {bounds!r}")
    if wanted.ndim != 1 or not ((wanted > 0) & (wanted <= 1)).all():
        raise ValueError(f"quantiles must be above 0 and at most 1, got {q!r}")
    below = np.cumsum(found)
    ranks = wanted * below[-1]
    # The first bin that reaches the rank; the open last one stands at its lower bound.
    which = np.minimum(np.searchsorted(below[:-1], ranks), len(found) - 1)
    starts = np.concatenate(([0.0 if limits[0] > 0 else limits[0]], limits))
    widths = np.append(limits, limits[-1]) - starts
    before = np.concatenate(([0.0], below[:-1]))
    return np.asarray(starts[which] + widths[which] * (ranks - before[which]) / np.where(widths[which], found[which], 1.0))


def quantile_shifts(
    reference: Counts, current: Counts, *, bounds: Sequence[float] | Floats, scale: float, q: Sequence[float] = QUANTILES
) -> Floats:
    """Shifts of quantiles of binned values, the median's among them; both sides are read alike, so equal shares give 0.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.
        bounds: As for ``quantiles``.
        scale: Standard deviation of the reference, or 1 for a feature that did not vary.
        q: Which quantiles, above 0 and at most 1.

    Returns:
        In standard deviations of the reference, shape as ``q``. What happens within the open bins at both ends is not seen.

    Raises:
        ValueError: As ``quantiles``, or if the scale is not positive.

    >>> quantile_shifts([2, 2, 2], [1, 4, 1], bounds=[1.0, 2.0], scale=0.5, q=[0.5]).tolist()
    [0.0]
    """
    if not 0 < scale < np.inf:
        raise ValueError(f"scale must be finite and > 0, got {scale!r}")
    base, now = checked_pair(reference, current)
    return np.asarray((quantiles(now, bounds, q) - quantiles(base, bounds, q)) / scale)


def range_compliance(samples: float, out_of_range: float) -> float:
    """Share of valid values within the reference's minimum and maximum.

    Args:
        samples: Valid values.
        out_of_range: Those of them below the minimum or above the maximum.

    Returns:
        From 0 to 1; 1 for the reference itself.

    Raises:
        ValueError: If there are no values, or not from 0 to all of them are out of range.

    >>> range_compliance(200, 3)
    0.985
    """
    if not (0 < samples < np.inf and 0 <= out_of_range <= samples):
        raise ValueError(f"out_of_range must be from 0 to samples, of at least one value, got {out_of_range!r} of {samples!r}")
    return 1.0 - out_of_range / samples
