"""What chance alone does to a drift statistic: its noise floor at one row against one."""

import numpy as np
import numpy.typing as npt

__all__ = ["ALPHA", "psi_floor", "wasserstein_floor"]

Floats = npt.NDArray[np.float64]

ALPHA = 0.01
"""Share of windows without drift in which chance lifts any feature over its floor; Bonferroni divides it among the features."""

_CELLS = 200_000
_TAIL = 0.02


def psi_floor(bins: int, features: int) -> float:
    """Factor ``c``: PSI exceeds ``c * (1/n + 1/m)`` by chance in ``ALPHA / features`` of the windows.

    Args:
        bins: Of the feature, at least 2.
        features: How many are watched together.

    Source:
        PSI is asymptotically ``(1/n + 1/m)`` times chi-square with ``bins - 1`` degrees of freedom: Yurdakul and Naranjo (2020),
        doi:10.21314/JRMV.2020.227.
    """
    from scipy.stats import chi2  # on use: the import takes 0.9 s

    return float(chi2.isf(ALPHA / features, bins - 1))


def wasserstein_floor(shares: Floats, means: Floats, variance: float, *, features: int, seed: int) -> float:
    """Factor ``c``: ``drift.wasserstein`` exceeds ``c * sqrt(1/n + 1/m)`` by chance in ``ALPHA / features`` of the windows.

    The difference of two samples' shares, over ``sqrt(1/n + 1/m)``, tends to a normal vector with the covariance of one draw,
    ``diag(shares) - shares shares'``. The difference of the means is ``means . vector`` plus an independent normal number with the
    variance within the bins. Such vectors are drawn. The logarithm of the tail of a norm of a normal vector is close to linear in
    its square; the line through the largest 2 % of the draws gives the quantile, to about 2 %.

    Clipping z shifts its mean by at most 1/32 where a feature has values beyond 8 deviations, since ``|z| - 8 <= z*z / 32``; large
    windows of such a feature exceed this floor more often.

    Args:
        shares: Of the bins in the reference, shape ``(bins,)``.
        means: Of each bin's values, standardised, same shape; increasing.
        variance: Of all values, standardised.
        features: How many are watched together.
        seed: Of the draws.

    Source:
        Covariance of the multinomial distribution and the central limit theorem; for the tail Marcus and Shepp (1972),
        Sixth Berkeley Symposium, volume 2, pages 423-441.
    """
    bins, rng = len(shares), np.random.default_rng(seed)
    draws = max(_CELLS // bins, 5_000)
    roots = np.sqrt(shares).astype(np.float32)  # half the time, and the draws are no more exact than that
    normal = rng.standard_normal((draws, bins), dtype=np.float32)
    vectors = normal * roots
    vectors -= np.outer(normal @ roots, roots * roots)
    centre = float(shares @ means)
    within = max(variance - float(shares @ (means - centre) ** 2), 0.0)
    shifts = vectors @ means.astype(np.float32) + np.sqrt(within) * rng.standard_normal(draws)
    gaps = np.abs(np.cumsum(vectors, axis=1)[:, :-1]) @ np.diff(means).astype(np.float32)
    largest = np.sort(np.maximum(gaps, np.abs(shifts)))[-int(draws * _TAIL) :]
    survival = np.arange(len(largest), 0, -1) / draws
    slope, start = np.polyfit(-np.log(survival), largest**2, 1)
    return float(np.sqrt(start - slope * np.log(ALPHA / features)))
