"""Statistics of a window from its sums of standardised values.

The sums are those of ``mlmon_feature_moment``: ``n`` values, their sum ``f`` and that of their squares ``ff``, and with a target
its ``y``, ``yy`` and the products ``fy``. The values are ``z = clip((x - mean) / scale, -8, 8) + 8``, with the mean and standard
deviation of the reference (1 for a feature that did not vary), or ``u``, ranks. Sums of windows and of replicas add.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

__all__ = [
    *("correlation", "correlation_z", "fisher_z_shift"),
    *("mean", "mean_shift", "std", "std_ratio", "variance_ratio"),
]

_CENTRE = 8.0
_CONSTANT = 1e-12  # a variance below is rounding
_GREATEST_R = 0.999999
_VARIANCE = {"z": 1.0, "u": 1.06}


def mean_shift(moments: Mapping[str, float]) -> float:
    """Shift of the mean against the reference's.

    Args:
        moments: ``n`` and ``f``, in z.

    Returns:
        Standard deviations of the reference.

    Raises:
        ValueError: If a sum is missing, negative or not finite, or there are no values.

    Source:
        ``f / n`` is the mean of z, which is 8 for the reference.

    >>> mean_shift({"n": 4, "f": 34})
    0.5
    """
    n, f = _sums(moments, "n", "f")
    return f / n - _CENTRE


def mean(moments: Mapping[str, float], *, reference_mean: float, scale: float) -> float:
    """Mean of the values (clipped at 8 standard deviations of the reference).

    Args:
        moments: As for ``mean_shift``.
        reference_mean: Mean of the reference.
        scale: Its standard deviation, or 1 for a feature that did not vary.

    Returns:
        In the feature's unit.

    Raises:
        ValueError: As ``mean_shift``.

    >>> mean({"n": 4, "f": 34}, reference_mean=10.0, scale=2.0)
    11.0
    """
    return reference_mean + mean_shift(moments) * scale


def variance_ratio(moments: Mapping[str, float]) -> float:
    """Variance, with divisor n, over the reference's.

    Args:
        moments: ``n``, ``f`` and ``ff``, in z.

    Returns:
        ``>= 0``; 1 for the reference itself, if it has no values beyond 8 deviations.

    Raises:
        ValueError: As ``mean_shift``.

    Source:
        ``E z^2 - (E z)^2``, which no shift of z changes.

    >>> variance_ratio({"n": 2, "f": 16, "ff": 130})
    1.0
    """
    n, f, ff = _sums(moments, "n", "f", "ff")
    return max(ff / n - (f / n) ** 2, 0.0)


def std_ratio(moments: Mapping[str, float]) -> float:
    """Standard deviation over the reference's: the root of ``variance_ratio``, with its arguments, errors and source.

    >>> std_ratio({"n": 2, "f": 16, "ff": 136})
    2.0
    """
    return float(np.sqrt(variance_ratio(moments)))


def std(moments: Mapping[str, float], *, scale: float) -> float:
    """Standard deviation, with divisor n, of the values (clipped at 8 standard deviations of the reference).

    Args:
        moments: As for ``variance_ratio``.
        scale: Standard deviation of the reference, or 1 for a feature that did not vary.

    Returns:
        In the feature's unit.

    Raises:
        ValueError: As ``mean_shift``.

    >>> std({"n": 2, "f": 16, "ff": 136}, scale=3.0)
    6.0
    """
    return std_ratio(moments) * scale


def correlation(moments: Mapping[str, float]) -> float:
    """Correlation of a feature with a target: Pearson's in z, Spearman's over bins in u.

    Args:
        moments: ``n``, ``f``, ``ff``, ``y``, ``yy`` and ``fy``, over the values that have a target.

    Returns:
        From -1 to 1; NaN if either side does not vary.

    Raises:
        ValueError: As ``mean_shift``.

    Source:
        Pearson (1895), doi:10.1098/rspl.1895.0041; on midranks it is Spearman's: Kendall, Rank Correlation Methods (1970),
        chapter 3.

    >>> correlation({"n": 2, "f": 16, "ff": 130, "y": 1, "yy": 1, "fy": 9})
    1.0
    """
    n, f, ff, y, yy, fy = _sums(moments, "n", "f", "ff", "y", "yy", "fy")
    f, y = f / n, y / n
    spread = ff / n - f * f, yy / n - y * y
    if min(spread) <= _CONSTANT:
        return float("nan")
    return float(np.clip((fy / n - f * y) / np.sqrt(spread[0] * spread[1]), -1.0, 1.0))


def fisher_z_shift(reference: float, current: float) -> float:
    """Difference of two correlations on Fisher's scale, where the spread of a coefficient does not depend on its value.

    Args:
        reference: Coefficient of the reference, from -1 to 1.
        current: Coefficient of the window, from -1 to 1.

    Returns:
        ``>= 0``; close to the difference for small coefficients. Coefficients count as at most 0.999999.

    Raises:
        ValueError: If a coefficient is beyond 1 or NaN.

    Source:
        Fisher (1915), doi:10.1093/biomet/10.4.507: ``|atanh(current) - atanh(reference)|``.

    >>> round(fisher_z_shift(0.5, 0.0), 4)
    0.5493
    """
    return abs(_fisher(current) - _fisher(reference))


def correlation_z(reference: float, current: float, *, reference_samples: float, samples: float, space: Literal["z", "u"]) -> float:
    """Difference of two correlations in its standard errors, if rows were independent: roughly standard normal without a change.

    Args:
        reference: Coefficient of the reference, from -1 to 1.
        current: Coefficient of the window, from -1 to 1.
        reference_samples: Rows behind the reference's, more than 3.
        samples: Rows behind the window's, more than 3.
        space: ``z`` for Pearson's, ``u`` for Spearman's coefficient.

    Returns:
        Positive where the window's is greater.

    Raises:
        ValueError: If a coefficient is beyond 1 or NaN, a number of rows not above 3, or the space unknown.

    Source:
        Variance ``1 / (n - 3)``: Fisher (1921), Metron 1:3-32; of Spearman's coefficient ``1.06 / (n - 3)``: Fieller, Hartley &
        Pearson (1957), doi:10.1093/biomet/44.3-4.470.

    >>> round(correlation_z(0.0, 0.5, reference_samples=103, samples=103, space="z"), 3)
    3.884
    """
    if space not in _VARIANCE:
        raise ValueError(f"space must be one of {tuple(_VARIANCE)}, got {space!r}")
    if not (3 < reference_samples < np.inf and 3 < samples < np.inf):
        raise ValueError(f"samples must be finite and > 3, got {reference_samples!r} and {samples!r}")
    variance = _VARIANCE[space] * (1.0 / (samples - 3) + 1.0 / (reference_samples - 3))
    return float((_fisher(current) - _fisher(reference)) / np.sqrt(variance))


def _fisher(r: float) -> float:
    if not abs(r) <= 1:
        raise ValueError(f"a correlation must be from -1 to 1, got {r!r}")
    return float(np.arctanh(np.clip(r, -_GREATEST_R, _GREATEST_R)))


def _sums(moments: Mapping[str, float], *names: str) -> tuple[float, ...]:
    missing = [name for name in names if name not in moments]
    if missing:
        raise ValueError(f"moments must have {names!r}, got no {missing!r}")
    sums = tuple(float(moments[name]) for name in names)
    if not all(0 <= value < np.inf for value in sums) or not sums[0]:
        raise ValueError(f"moments {names!r} must be finite and >= 0, of at least one value, got {sums!r}")
    return sums
