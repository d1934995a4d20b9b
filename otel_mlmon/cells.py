"""Numbers to counts: bins, buckets, outliers and what is out of range, of all numeric features in one pass over their values."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from otel_mlmon.profiling.profile import FeatureProfile

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Cells:
    """The cuts of bins, histogram buckets, fences and range of each feature, joined: between two cuts lies a cell.

    Every bin, bucket or side of a fence or of the range is a run of cells, so that one count of cells gives all of them.

    Args:
        profiles: Of the numeric features, in the order of the values.
    """

    def __init__(self, profiles: Sequence[FeatureProfile]) -> None:
        self._profiles = profiles
        edges = [profile.edges for profile in profiles]
        # x <= bound is not x >= the next number: so bounds, which are closed above, become cuts like edges, closed below.
        bounds = [tuple(np.nextafter(profile.histogram, np.inf).tolist()) for profile in profiles]
        fences = [(profile.fences[0], float(np.nextafter(profile.fences[1], np.inf))) for profile in profiles]
        ranges = [
            (profile.minimum, float(np.nextafter(profile.maximum, np.inf))) if profile.samples else (-np.inf, np.inf)
            for profile in profiles
        ]
        self._cuts = [sorted(set().union(*cuts)) for cuts in zip(edges, bounds, fences, ranges, strict=True)]
        self._stride = max(map(len, self._cuts), default=0) + 2  # one more place takes what has no cell
        self._columns = np.full((self._stride - 2, len(profiles), 1), np.inf)
        for row, cuts in enumerate(self._cuts):
            self._columns[: len(cuts), row, 0] = cuts
        self._offsets = (np.arange(len(profiles), dtype=np.int32) * self._stride)[:, None]
        self._bins, self._buckets = self._runs(edges), self._runs(bounds)
        self._fences, self._ranges = self._runs(fences), self._runs(ranges)

    def place(self, values: Floats, missing: Bools | None) -> npt.NDArray[np.int32]:
        """Place of each value in the table of cells, flattened. Compare and add: faster than a search for some twenty cuts.

        Args:
            values: Shape ``(features, rows)``, NaN where there is none.
            missing: Where there is none; None if there is one everywhere.

        Returns:
            Same shape.
        """
        cells = np.zeros(values.shape, dtype=np.int8)  # large enough: MAX_NUMERIC_BINS, some buckets, two fences and a range
        passed = np.empty(values.shape, dtype=bool)
        for column in self._columns:
            np.greater_equal(values, column, out=passed)
            np.add(cells, passed.view(np.int8), out=cells)
        if missing is not None:
            np.copyto(cells, np.int8(self._stride - 1), where=missing)
        places: npt.NDArray[np.int32] = cells + self._offsets
        return places

    def count(self, places: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
        """Values per cell, flattened."""
        return np.bincount(places.ravel(), minlength=len(places) * self._stride)

    def bins(self, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Values per bin of all features, one after the other."""
        return self._bins(counts)

    def buckets(self, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Values per histogram bucket of all features, one after the other."""
        return self._buckets(counts)

    def outliers(self, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Values outside the fences, by feature."""
        return _outside(self._fences(counts))

    def out_of_range(self, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Values below the reference's minimum or above its maximum, by feature."""
        return _outside(self._ranges(counts))

    def ranks(self) -> Floats:
        """Reference mid-rank of the bin that each cell lies in, flattened; 0 where there is no value."""
        ranks = np.zeros((len(self._profiles), self._stride))
        for row, (profile, cuts) in enumerate(zip(self._profiles, self._cuts, strict=True)):
            inside = [0, *(bisect_right(profile.edges, cut) for cut in cuts)]
            ranks[row, : len(inside)] = [profile.midranks[place] for place in inside]
        return ranks.ravel()

    def _runs(self, chosen: Sequence[Sequence[float]]) -> "_Runs":
        starts: list[int] = []
        kept: list[bool] = []
        for row, (cuts, some) in enumerate(zip(self._cuts, chosen, strict=True)):
            first = row * self._stride
            starts += [first, *(first + cuts.index(cut) + 1 for cut in some), first + self._stride - 1]
            kept += [True] * (len(some) + 1) + [False]
        return _Runs(starts, kept)


def _outside(sides: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Of counts below, within and above, those that are not within."""
    below_within_above = sides.reshape(-1, 3)
    outside: npt.NDArray[np.intp] = below_within_above[:, 0] + below_within_above[:, 2]
    return outside


class _Runs:
    """Adds up runs of cells."""

    def __init__(self, starts: Sequence[int], kept: Sequence[bool]) -> None:
        self._starts, self._kept = np.array(starts, dtype=np.intp), np.array(kept, dtype=bool)

    def __call__(self, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        sums: npt.NDArray[np.intp] = np.add.reduceat(counts, self._starts)[self._kept]
        return sums
