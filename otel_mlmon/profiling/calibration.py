"""The level that drift statistics and correlations reach in normal operation, from the reference's own hours.

Real traffic is not independent rows: time of day, weather and campaigns make every window differ from the training data. So the
reference's own windows say how far they differ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.drift import psi_of_windows, wasserstein_of_windows

__all__ = ["WINDOWS", "Hours", "correlation_levels", "levels"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Positions = npt.NDArray[np.intp]

WINDOWS: Mapping[str, int] = {"1h": 1, "6h": 6, "1d": 24, "7d": 168}
"""Window -> hours."""

MIN_ROWS = 100
"""Windows with fewer values say nothing."""

MIN_WINDOWS = 8
"""Fewer disjoint windows cannot tell a usual level from an unusual one."""

MIN_COVERED = 0.9
"""Share of its usual hours in which a window must have rows: a day of which the half was held back is no normal day."""

MAX_HOURS = 10 * 366 * 24
_WEEK = (7, 24)
_SELDOM = 0.25
_DEVIATIONS = 3.0
_SMALLEST = 1e-9
_LARGEST_R = 0.999999


class Hours:
    """Counts per bin and sums of standardised values of some features, and sums over pairs of columns, hour by hour.

    Args:
        bins: How many bins each feature has.
        pairs: How many pairs of a feature and a target there are.
    """

    def __init__(self, bins: Sequence[int], pairs: int = 0) -> None:
        self._starts = np.concatenate(([0], np.cumsum(bins))).astype(np.intp)
        self._rows: dict[int, int] = {}
        self._counts = np.zeros((64, self._starts[-1]), dtype=np.int64)
        self._sums = np.zeros((64, len(bins)))
        self._pairs = np.zeros((64, pairs, 2, 6))

    def place(self, at: Floats) -> tuple[Integers, Integers]:
        """Rows of the tables for some Unix times: those in use, and for each time which of these.

        Raises:
            ValueError: If the times span more than ten years.
        """
        hours, which = np.unique(np.floor_divide(at, 3600), return_inverse=True)
        for hour in hours.tolist():
            self._rows.setdefault(int(hour), len(self._rows))
        span = max(self._rows, default=0) - min(self._rows, default=0)
        if span > MAX_HOURS:
            raise ValueError(f"timestamps must be Unix times in seconds that span at most ten years, got {span} hours")
        if len(self._rows) > len(self._counts):
            more = max(len(self._rows), 2 * len(self._counts)) - len(self._counts)
            self._counts = np.pad(self._counts, ((0, more), (0, 0)))
            self._sums = np.pad(self._sums, ((0, more), (0, 0)))
            self._pairs = np.pad(self._pairs, ((0, more), (0, 0), (0, 0), (0, 0)))
        return np.array([self._rows[int(hour)] for hour in hours.tolist()], dtype=np.int64), which.ravel()

    def add(self, feature: int, rows: Integers, which: Integers, codes: Integers, z: Floats | None = None) -> None:
        """Count values.

        Args:
            feature: Number of the feature.
            rows: As ``place`` said.
            which: As ``place`` said, one per value.
            codes: Bin number per value.
            z: Standardised, per value; None for a feature without.
        """
        start, stop = self._starts[feature], self._starts[feature + 1]
        cells = np.bincount(which * (stop - start) + codes, minlength=len(rows) * (stop - start))
        self._counts[rows, start:stop] += cells.reshape(len(rows), stop - start)
        if z is not None:
            self._sums[rows, feature] += np.bincount(which, weights=z, minlength=len(rows))

    def add_pair(self, pair: int, rows: Integers, which: Integers, products: Floats) -> None:
        """Add up what correlations are found from.

        Args:
            pair: Number of the pair.
            rows: As ``place`` said.
            which: As ``place`` said, one per row in which both are valid.
            products: 1, f, y, ff, yy and fy in two spaces, shape ``(2, 6, values)``.
        """
        for space, six in enumerate(products):
            for moment, values in enumerate(six):
                self._pairs[rows, pair, space, moment] += np.bincount(which, weights=values, minlength=len(rows))

    def series(self, feature: int) -> tuple[Integers, Floats]:
        """Counts, shape ``(hours, bins)``, and sums, shape ``(hours,)``, from the first hour to the last, with empty hours."""
        counts = self._counts[:, self._starts[feature] : self._starts[feature + 1]]
        return self._ordered(counts), self._ordered(self._sums[:, feature])

    def pair_series(self, pair: int) -> Floats:
        """Sums of a pair, shape ``(hours, 2, 6)``, likewise."""
        return self._ordered(self._pairs[:, pair])

    def traffic(self) -> Floats:
        """Whether each hour has rows, and how often such an hour has, shape ``(2, hours)``.

        How often: of the same hours of the week, on days that have rows. A weekday is closed that has rows in fewer than a quarter
        as many weeks as the busiest; what is closed is no gap.
        """
        seen = self._ordered(np.ones(len(self._counts)))
        before = min(self._rows, default=0) % 168
        weeks = np.pad(seen, (before, -(before + len(seen)) % 168)).reshape(-1, *_WEEK)
        days = weeks.any(axis=2).sum(axis=0)
        often = weeks.sum(axis=0) / np.maximum(days, 1)[:, None]
        often[days < _SELDOM * days.max()] = 0.0
        return np.stack((seen, np.tile(often.ravel(), len(weeks))[before : before + len(seen)]))

    def _ordered(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """By hour what is by order of appearance."""
        hours = np.array(list(self._rows), dtype=np.int64)
        if not len(hours):
            return table[:0]
        ordered = np.zeros((int(np.ptp(hours)) + 1, *table.shape[1:]), dtype=table.dtype)
        ordered[hours - hours.min()] = table[: len(hours)]
        return ordered


def levels(
    reference: Sequence[int], counts: Integers, sums: Floats, weights: Sequence[float], traffic: Floats
) -> dict[str, dict[str, float]]:
    """Level of each statistic and window length that normal windows seldom exceed.

    Live windows slide, so all positions of a window count, hour by hour. A window needs 100 values and rows in nine tenths of its
    usual hours, and a length 8 disjoint ones. Each is compared with the rest of the reference (to first order, where the reference
    is large beside the window), as a live window is.

    Args:
        reference: Counts per bin of the whole reference, shape ``(bins,)``.
        counts: Per hour, shape ``(hours, bins)``.
        sums: Of standardised values per hour, shape ``(hours,)``.
        weights: For the Wasserstein distance, shape ``(bins - 1,)``; empty to leave it out.
        traffic: As ``Hours.traffic``.

    Returns:
        Statistic -> window -> ``max(exp(mean(log s) + 3 * sd(log s)), max(s))`` of the statistic of the reference's own windows;
        without the windows that cannot be judged.

    Source:
        Upper control limit at three deviations, Shewhart (1931), of the logarithm, since distances are skew. A feature that is
        mostly 0, like rain, has another tail: its largest distance. Measured against other estimators on real flights: CHANGELOG,
        and ``tests/test_calibration.py``.
    """
    found: dict[str, dict[str, float]] = {}
    if len(reference) < 2 or not len(counts):
        return found
    total, shift = _cumulative(counts), _cumulative(sums)
    for window, hours in WINDOWS.items():
        starts, stops = _windows(total.sum(axis=1), hours, traffic)
        if not _enough(starts, hours):
            continue
        inside = (total[stops] - total[starts]).astype(np.float64)
        apart = _apart(inside.sum(axis=1), float(sum(reference)))
        # PSI is close to a quadratic form of the differences of shares, the distance is linear in them.
        found.setdefault("psi", {})[window] = _level_of_distances(psi_of_windows(reference, inside) * apart**2)
        if len(weights):
            means = (shift[stops] - shift[starts]) / inside.sum(axis=1)
            distances = wasserstein_of_windows(reference, inside, weights=weights, mean_shifts=means)
            found.setdefault("wasserstein", {})[window] = _level_of_distances(distances * apart)
    return found


def correlation_levels(sums: Floats, traffic: Floats) -> dict[str, float]:
    """Shift of a correlation, in Fisher's z, that normal windows seldom exceed, by window length.

    Windows as for ``levels``, of those in which both vary.

    Args:
        sums: Of 1, f, y, ff, yy, fy per hour, shape ``(hours, 6)``.
        traffic: As ``Hours.traffic``.

    Returns:
        Window -> ``max(|mean(d)| + 3 * sd(d), max(|d|))`` of ``d = atanh(r of the window) - atanh(r of all)``; without the windows
        that cannot be judged.

    Source:
        Fisher (1921), Metron 1, pages 3-32, for the transformation, after which shifts are close to normal: so no logarithm, which
        would put the level of a signed quantity at four times as much. Measured on real flights: CHANGELOG.
    """
    found: dict[str, float] = {}
    if not len(sums):
        return found
    total = _cumulative(sums)
    whole = _fisher(total[-1])
    for window, hours in WINDOWS.items():
        starts, stops = _windows(total[:, 0], hours, traffic)
        shifts = _fisher(total[stops] - total[starts]) - whole
        vary = ~np.isnan(shifts)
        starts, stops, shifts = starts[vary], stops[vary], shifts[vary]
        if _enough(starts, hours):
            shifts *= _apart(total[stops, 0] - total[starts, 0], float(total[-1, 0]))
            level = _level(np.abs(shifts), abs(float(shifts.mean())), float(shifts.std(ddof=1)))
            if level > 0:
                found[window] = level
    return found


def _cumulative(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate((np.zeros_like(values[:1]), np.cumsum(values, axis=0)))


def _windows(values: Integers | Floats, hours: int, traffic: Floats) -> tuple[Positions, Positions]:
    """First hour, and the one after the last, of each window with enough values and hours; ``values`` are counted up to an hour."""
    starts = np.arange(max(len(values) - hours, 0), dtype=np.intp)
    seen, usual = _cumulative(traffic.T).T
    # Hours that are whole numbers add up exactly, shares do not.
    covered = seen[starts + hours] - seen[starts] >= MIN_COVERED * (usual[starts + hours] - usual[starts]) - _SMALLEST
    starts = starts[covered & (values[starts + hours] - values[starts] >= MIN_ROWS)]
    return starts, starts + hours


def _enough(starts: Positions, hours: int) -> bool:
    """Whether enough of the windows do not overlap."""
    free = 0
    for _ in range(MIN_WINDOWS):
        position = int(np.searchsorted(starts, free))
        if position == len(starts):
            return False
        free = int(starts[position]) + hours
    return True


def _apart(inside: Floats, whole: float) -> Floats:
    """How much farther a window is from the rest than from a whole that it is part of: shares of a whole are weighted means."""
    return whole / (whole - inside)


def _fisher(sums: Floats) -> Floats:
    """``atanh r`` from sums in the last axis; NaN where one of the two does not vary."""
    f, y, ff, yy, fy = np.moveaxis(sums[..., 1:] / np.maximum(sums[..., :1], 1.0), -1, 0)
    spread = np.stack((ff - f * f, yy - y * y))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (fy - f * y) / np.sqrt(spread.prod(axis=0))
    r = np.where(spread.min(axis=0) > _SMALLEST, r, np.nan)
    return np.asarray(np.arctanh(np.clip(r, -_LARGEST_R, _LARGEST_R)))


def _level_of_distances(values: Floats) -> float:
    logarithms = np.log(np.maximum(values, _SMALLEST))
    return float(np.exp(_level(logarithms, float(logarithms.mean()), float(logarithms.std(ddof=1)))))


def _level(values: Floats, mean: float, deviation: float) -> float:
    """The control limit, and never less than what was seen in normal operation."""
    return max(mean + _DEVIATIONS * deviation, float(values.max()))
