"""Where the bins of a numeric feature begin: equal frequency, heavy values apart, edges that read."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from otel_mlmon.profiling.profile import MAX_NUMERIC_BINS

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

_TOLERANCE = 0.05  # of a bin's rows: how far a cut may move for a shorter edge
_HISTOGRAM_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_HISTOGRAM_DIGITS = 3


def edges(values: Floats, bins: int) -> tuple[float, ...]:
    """Edges of at most ``bins`` bins ``[a, b)``, open at both ends, of about equal frequency; each holds a value.

    A value that is heavier than a bin gets one for itself, as far as that leaves bins for the others, and what is left is spread
    over the rest. Up to ``bins`` distinct values get a bin each. An edge is the shortest decimal number that parts the values at
    the wished place, give or take 5 % of a bin's values.

    Args:
        values: Finite values, in any order, shape ``(values,)``.
        bins: From 2 to 99.

    Returns:
        Strictly increasing edges. For a single value ``c``: ``(c, nextafter(c))``, that is three bins: below, equal, above; the
        outer two are empty. For no values: none.

    Raises:
        ValueError: If ``bins`` is out of range or a value is not finite.

    >>> edges(np.array([0.0] * 95 + [0.2, 0.5, 1.7, 2.2, 3.1]), 3)
    (0.2, 2.0)
    """
    if not 2 <= bins <= MAX_NUMERIC_BINS:
        raise ValueError(f"bins must be from 2 to {MAX_NUMERIC_BINS}, got {bins!r}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite to find edges")
    distinct, counts = np.unique(values + 0.0, return_counts=True)  # + 0.0: there is no edge -0
    if len(distinct) == 0:
        return ()
    if len(distinct) == 1:
        return point_edges(float(distinct[0]))
    if len(distinct) <= bins:
        return tuple(_shortest(low, high, high) for low, high in pairwise(distinct))
    return _spread(distinct, counts.astype(np.int64), bins)


def point_edges(value: float) -> tuple[float, ...]:
    """Edges that part a single value from what is below and above."""
    following = math.nextafter(value, math.inf)
    return (value, following) if math.isfinite(following) else (value,)


def histogram_bounds(values: Floats) -> tuple[float, ...]:
    """Upper bounds (``le``) for a histogram for eyes: quantiles of the values, rounded to three digits, distinct.

    Args:
        values: Finite values, shape ``(values,)``.
    """
    if len(values) == 0:
        return ()
    quantiles = np.quantile(values, _HISTOGRAM_QUANTILES)
    rounded = (float(f"{quantile:.{_HISTOGRAM_DIGITS - 1}e}") + 0.0 for quantile in quantiles)
    return tuple(sorted({bound for bound in rounded if math.isfinite(bound)}))


def bin_numbers(values: Floats, boundaries: Iterable[float]) -> Integers:
    """Number of the bin of each value: how many edges are at or below it."""
    return np.searchsorted(np.fromiter(boundaries, np.float64), values, side="right")


def _spread(distinct: Floats, counts: Integers, bins: int) -> tuple[float, ...]:
    """Equal frequency over more distinct values than bins."""
    cumulative = np.concatenate(([0], np.cumsum(counts)))
    heavy = _heavy(counts, bins)
    starts, stops = _runs(heavy)
    cuts = {int(cut) for index in np.flatnonzero(heavy) for cut in (index, index + 1)} - {0, len(distinct)}
    found = {cut: _shortest(distinct[cut - 1], distinct[cut], distinct[cut]) for cut in cuts}
    shares = _allocate(cumulative[stops] - cumulative[starts], bins - int(heavy.sum()))
    for start, stop, share in zip(starts, stops, shares, strict=True):
        for cut, edge in _equal(distinct, cumulative, int(start), int(stop), share):
            found.setdefault(cut, edge)
    return tuple(found[cut] for cut in sorted(found))


def _heavy(counts: Integers, bins: int) -> npt.NDArray[np.bool_]:
    """Which distinct values get a bin for themselves: more rows than a bin of what is left, and room for the runs in between.

    Source:
        The idea of LightGBM's ``GreedyFindBin``, https://github.com/microsoft/LightGBM (src/io/bin.cpp).
    """
    heavy = np.zeros(len(counts), dtype=np.bool_)
    while True:
        left, room = counts[~heavy].sum(), bins - int(heavy.sum())
        more = ~heavy & (counts * room > left)
        if room < 2 or not more.any():
            break
        heavy |= more
    for index in sorted(np.flatnonzero(heavy), key=lambda index: int(counts[index])):
        if int(heavy.sum()) + len(_runs(heavy)[0]) <= bins:
            break
        heavy[index] = False
    return heavy


def _runs(heavy: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Start and stop of each run of values that are not heavy."""
    steps = np.diff(np.concatenate(([True], heavy, [True])).astype(np.int8))
    return np.flatnonzero(steps == -1), np.flatnonzero(steps == 1)


def _allocate(rows: Integers, bins: int) -> list[int]:
    """Bins per run, at least one each: the next goes to where bins are fullest (d'Hondt)."""
    shares = [1] * len(rows)
    for _ in range(bins - len(rows)):
        fullest = max(range(len(rows)), key=lambda run: rows[run] / shares[run])
        shares[fullest] += 1
    return shares


def _equal(distinct: Floats, cumulative: Integers, start: int, stop: int, share: int) -> Iterator[tuple[int, float]]:
    """Cuts within one run, each with its edge: what is left is divided evenly after each cut, so ties do not add up."""
    for left in range(share, 1, -1):
        if start + 1 >= stop:
            return
        rows = (cumulative[stop] - cumulative[start]) / left
        target = cumulative[start] + rows
        above = int(np.clip(np.searchsorted(cumulative, target), start + 1, stop - 1))
        below = max(above - 1, start + 1)
        cut = above if cumulative[above] - target <= target - cumulative[below] else below
        slack = rows * _TOLERANCE
        first = min(cut, max(start + 1, int(np.searchsorted(cumulative, target - slack))))
        last = max(cut, min(stop - 1, int(np.searchsorted(cumulative, target + slack, side="right")) - 1))
        edge = _shortest(distinct[first - 1], distinct[last], distinct[cut])
        start = int(np.searchsorted(distinct, edge))
        yield start, edge


def _shortest(low: float, high: float, wish: float) -> float:
    """``wish`` with as few digits as keep it above ``low`` and not above ``high``."""
    for digits in range(17):
        candidate = float(f"{wish:.{digits}e}") + 0.0
        if low < candidate <= high:
            return candidate
    raise AssertionError(f"{wish!r} is not in ({low!r}, {high!r}]")
