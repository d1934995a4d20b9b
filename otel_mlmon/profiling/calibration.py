"""The level that drift statistics reach in normal operation, from the reference's own hours.

Real traffic is not independent rows: time of day, weather and campaigns make every window differ from the training data. So the
reference's own windows say how far they differ.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from otel_mlmon.drift import psi_of_windows, wasserstein_of_windows

__all__ = ["WINDOWS", "Hours", "levels"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

WINDOWS: Mapping[str, int] = {"1h": 1, "6h": 6, "1d": 24, "7d": 168}
"""Window -> hours."""

MIN_ROWS = 100
"""Windows with fewer values say nothing."""

MIN_WINDOWS = 8
"""Fewer disjoint windows cannot tell a usual level from an unusual one."""

MAX_HOURS = 10 * 366 * 24
_DEVIATIONS = 3.0
_SMALLEST = 1e-9


class Hours:
    """Counts per bin and sums of standardised values of some features, hour by hour.

    Args:
        bins: How many bins each feature has.
    """

    def __init__(self, bins: Sequence[int]) -> None:
        self._starts = np.concatenate(([0], np.cumsum(bins))).astype(np.intp)
        self._rows: dict[int, int] = {}
        self._counts = np.zeros((64, self._starts[-1]), dtype=np.int64)
        self._sums = np.zeros((64, len(bins)))

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

    def series(self, feature: int) -> tuple[Integers, Floats]:
        """Counts, shape ``(hours, bins)``, and sums, shape ``(hours,)``, from the first hour to the last, with empty hours."""
        if not self._rows:
            return np.zeros((0, self._starts[feature + 1] - self._starts[feature]), dtype=np.int64), np.zeros(0)
        first, hours = min(self._rows), np.array(list(self._rows))
        counts = np.zeros((max(self._rows) - first + 1, self._starts[feature + 1] - self._starts[feature]), dtype=np.int64)
        sums = np.zeros(len(counts))
        counts[hours - first] = self._counts[: len(hours), self._starts[feature] : self._starts[feature + 1]]
        sums[hours - first] = self._sums[: len(hours), feature]
        return counts, sums


def levels(reference: Sequence[int], counts: Integers, sums: Floats, weights: Sequence[float]) -> dict[str, dict[str, float]]:
    """Level of each statistic and window length that is exceeded in about 1 of 700 normal windows.

    Live windows slide, so all positions of a window count, hour by hour. A window needs 100 values, and a length 8 disjoint ones.

    Args:
        reference: Counts per bin of the whole reference, shape ``(bins,)``.
        counts: Per hour, shape ``(hours, bins)``.
        sums: Of standardised values per hour, shape ``(hours,)``.
        weights: For the Wasserstein distance, shape ``(bins - 1,)``; empty to leave it out.

    Returns:
        Statistic -> window -> ``exp(mean(log s) + 3 * sd(log s))``, which the statistic of the reference's own windows stays below;
        without the windows that cannot be judged.

    Source:
        Upper control limit at three deviations, Shewhart (1931), of the logarithm, since distances are skew. Measured on
        real flights in ``tests/test_calibration.py``.
    """
    found: dict[str, dict[str, float]] = {}
    if len(reference) < 2 or not len(counts):
        return found
    total = np.concatenate((np.zeros((1, counts.shape[1]), dtype=np.int64), np.cumsum(counts, axis=0)))
    shift = np.concatenate(([0.0], np.cumsum(sums)))
    for window, hours in WINDOWS.items():
        starts, stops = _sliding(total.sum(axis=1), hours)
        if not _enough(starts, hours):
            continue
        inside = (total[stops] - total[starts]).astype(np.float64)
        found.setdefault("psi", {})[window] = _level(psi_of_windows(reference, inside))
        if len(weights):
            means = (shift[stops] - shift[starts]) / inside.sum(axis=1)
            distances = wasserstein_of_windows(reference, inside, weights=weights, mean_shifts=means)
            found.setdefault("wasserstein", {})[window] = _level(distances)
    return found


def _sliding(values: Integers, hours: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First hour, and the one after the last, of each window with enough values; ``values`` are counted up to each hour."""
    starts = np.arange(max(len(values) - hours, 0), dtype=np.intp)
    starts = starts[values[starts + hours] - values[starts] >= MIN_ROWS]
    return starts, starts + hours


def _enough(starts: npt.NDArray[np.intp], hours: int) -> bool:
    """Whether enough of the windows do not overlap."""
    free = 0
    for _ in range(MIN_WINDOWS):
        position = int(np.searchsorted(starts, free))
        if position == len(starts):
            return False
        free = int(starts[position]) + hours
    return True


def _level(values: Floats) -> float:
    logarithms = np.log(np.maximum(values, _SMALLEST))
    return float(np.exp(logarithms.mean() + _DEVIATIONS * logarithms.std(ddof=1)))
