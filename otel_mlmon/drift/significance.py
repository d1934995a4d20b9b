"""Tests of whether a window comes from the reference's distribution, from counts per bin.

They ask whether rows drawn independently would differ so much. Rows of real traffic are not independent, and with many rows any
difference is significant: alerts rest on levels of normal operation instead (``judge``).
"""

import numpy as np

from otel_mlmon.drift.counts import Counts, Floats, checked_pair, shares

__all__ = ["chi2", "chi2_pvalue", "cramers_v", "ks", "ks_pvalue"]


def ks(reference: Counts, current: Counts) -> float:
    """Kolmogorov-Smirnov statistic of two samples: the greatest difference of the distribution functions at the edges.

    Args:
        reference: Counts per bin, shape ``(bins,)``, in the order of the values.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 for equal shares to 1. Never above the statistic of the values themselves, which looks between the edges too.

    Raises:
        ValueError: If the shapes differ, a count is negative or not finite, or either side has no values.

    Source:
        Smirnov (1948), doi:10.1214/aoms/1177730256.

    >>> round(ks([50, 30, 20], [20, 30, 50]), 9)
    0.3
    """
    expected, actual = map(shares, checked_pair(reference, current))
    return float(np.abs(np.cumsum(actual - expected)[:-1]).max(initial=0.0))


def ks_pvalue(reference: Counts, current: Counts) -> float:
    """Chance that two samples of one continuous distribution have at least this ``ks``.

    The statistic of binned values is never above that of the values, so the p-value is never below theirs: conservative.

    Args:
        reference: Counts per bin, shape ``(bins,)``, in the order of the values.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: As ``ks``.

    Source:
        Limiting distribution: Smirnov (1948), doi:10.1214/aoms/1177730256, at ``(sqrt(N) + 0.12 + 0.11 / sqrt(N)) * ks`` with
        ``N = n * m / (n + m)``: Stephens (1970), doi:10.1111/j.2517-6161.1970.tb00821.x.

    >>> round(ks_pvalue([50, 30, 20], [20, 30, 50]), 6)
    0.000174
    """
    from scipy.special import kolmogorov  # on use: the import takes 0.2 s

    base, now = checked_pair(reference, current)
    root = np.sqrt(1.0 / (1.0 / base.sum() + 1.0 / now.sum()))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * ks(base, now)))


def chi2(reference: Counts, current: Counts) -> float:
    """Pearson's chi-square statistic of homogeneity of two samples.

    Bins that are empty in both are left out, since nothing is expected there.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        ``>= 0``; 0 for equal shares. It grows with the number of values.

    Raises:
        ValueError: As ``ks``.

    Source:
        Pearson (1911), doi:10.1093/biomet/8.1-2.250: ``n * m * sum((p - q)^2 / (counts of both))`` with the shares p and q.

    >>> round(chi2([50, 30, 20], [20, 30, 50]), 4)
    25.7143
    """
    base, now = _seen(*checked_pair(reference, current))
    return float(base.sum() * now.sum() * ((shares(base) - shares(now)) ** 2 / (base + now)).sum())


def chi2_pvalue(reference: Counts, current: Counts) -> float:
    """Chance that two samples of one distribution have at least this ``chi2``.

    Approximate: it asks for some five values of each sample in each bin.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 to 1; 1 where there is a single bin.

    Raises:
        ValueError: As ``ks``.

    Source:
        Pearson (1911), doi:10.1093/biomet/8.1-2.250, with one degree of freedom less than bins that are not empty in both:
        Fisher (1922), doi:10.2307/2340521.

    >>> round(chi2_pvalue([50, 30, 20], [20, 30, 50]), 9)
    2.607e-06
    """
    from scipy.special import chdtrc  # on use: the import takes 0.2 s

    base, now = _seen(*checked_pair(reference, current))
    return float(chdtrc(len(base) - 1, chi2(base, now))) if len(base) > 1 else 1.0


def cramers_v(reference: Counts, current: Counts) -> float:
    """Cramer's V: how well the bin of a value tells which sample it is from.

    Args:
        reference: Counts per bin, shape ``(bins,)``.
        current: Counts in the same bins, same shape.

    Returns:
        From 0 for equal shares to 1 where no bin has values of both. It does not grow with the number of values, but it is the
        smaller the more unequal the two samples' numbers of values are.

    Raises:
        ValueError: As ``ks``.

    Source:
        Cramer, Mathematical Methods of Statistics (1946), page 282: ``sqrt(chi2 / (n + m))`` for two samples.

    >>> cramers_v([5, 0], [0, 5])
    1.0
    """
    base, now = checked_pair(reference, current)
    return float(np.sqrt(chi2(base, now) / (base.sum() + now.sum())))


def _seen(base: Floats, now: Floats) -> tuple[Floats, Floats]:
    some = (base > 0) | (now > 0)
    return base[some], now[some]
