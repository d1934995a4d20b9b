"""The last pass over training data: exact counts per bin, and how features go along with outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from otel_mlmon.columns import CategoryColumn, CategoryEncoder
from otel_mlmon.feature import Feature
from otel_mlmon.profiling.batches import Chunk
from otel_mlmon.profiling.binning import bin_numbers
from otel_mlmon.profiling.profile import Correlation, FeatureProfile
from otel_mlmon.profiling.survey import CategoryPlan, NumericPlan

__all__ = ["LIMIT", "CategoryTally", "Coded", "NumericTally", "PairTally"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LIMIT = 8.0
"""Standardised values are clipped to plus and minus this."""


@dataclass(frozen=True, slots=True)
class Coded:
    """One column of a chunk, ready to count.

    Attributes:
        codes: Bin number of each row, shape ``(rows,)``; -1 where missing or invalid.
        z: Standardised, clipped values, NaN where missing or invalid, same shape; None for categories.
    """

    codes: Integers
    z: Floats | None


class NumericTally:
    """Counts of one numeric feature.

    Args:
        feature: Whose values.
        plan: Its bins and moments.
    """

    def __init__(self, feature: Feature, plan: NumericPlan) -> None:
        self.feature, self.plan = feature, plan
        self.counts = np.zeros(len(plan.edges) + 1, dtype=np.int64)
        self.missing = self.invalid = self.outliers = 0
        self._scale = plan.std if plan.std > 0 else 1.0
        self._sums = np.zeros(len(plan.edges) + 1)
        self._squares = 0.0

    def add(self, chunk: Chunk) -> Coded:
        """Count the values of some rows."""
        column = chunk.numbers(self.feature)
        valid = ~np.isnan(column.values)
        known = column.values[valid]
        low, high = self.plan.fences
        self.missing += column.missing
        self.invalid += sum(column.invalid.values())
        self.outliers += int(((known < low) | (known > high)).sum())
        codes = np.full(len(column.values), -1, dtype=np.int64)
        codes[valid] = bin_numbers(known, self.plan.edges)
        z = np.clip((column.values - self.plan.mean) / self._scale, -LIMIT, LIMIT)
        self.counts += np.bincount(codes[valid], minlength=len(self.counts))
        self._sums += np.bincount(codes[valid], weights=z[valid], minlength=len(self.counts))
        self._squares += float(np.square(z[valid]).sum())
        return Coded(codes, z)

    def means(self) -> Floats:
        """Mean of z per bin. No bin is empty in a feature that varies; rounding cannot put them out of order."""
        return np.asarray(np.maximum.accumulate(self._sums / self.counts))

    def weights(self) -> tuple[float, ...]:
        """Steps between the means; none if the feature does not vary."""
        return tuple(np.diff(self.means()).tolist()) if self.plan.std > 0 else ()

    def variance(self) -> float:
        """Of z."""
        count = int(self.counts.sum())
        return max(self._squares / count - (float(self._sums.sum()) / count) ** 2, 0.0)


class CategoryTally:
    """Counts of one categorical feature.

    Args:
        feature: Whose values.
        plan: Its bins.
    """

    def __init__(self, feature: Feature, plan: CategoryPlan) -> None:
        self.feature, self.plan = feature, plan
        # An empty profile knows which category is in which bin.
        empty = FeatureProfile(feature.name, "categorical", plan.bins, (), (0,) * len(plan.bins), others=plan.others)
        self._encoder = CategoryEncoder(feature, empty.codes, empty.unseen)
        self.counts = np.zeros(len(plan.bins), dtype=np.int64)
        self.missing = self.invalid = 0

    def read(self, chunk: Chunk) -> CategoryColumn:
        """Bin numbers of some rows, not counted."""
        return self._encoder(chunk.columns[self.feature.name])

    def add(self, chunk: Chunk) -> Coded:
        """Count the values of some rows."""
        column = self.read(chunk)
        codes = column.codes.astype(np.int64)
        self.counts += np.bincount(codes[codes >= 0], minlength=len(self.counts))
        self.missing += column.missing
        self.invalid += sum(column.invalid.values())
        return Coded(codes, None)


class PairTally:
    """Correlation of one feature with one target, over the rows in which both are valid.

    Args:
        target: Name of the target.
        bins: How many bins the feature and the target have.
        ranks: Midrank per bin of both, as well as it is known before all rows are counted.
        number: Of the pair among all.
    """

    def __init__(self, target: str, bins: tuple[int, int], ranks: tuple[Sequence[float], Sequence[float]], number: int) -> None:
        self.target, self.number = target, number
        self._ranks = [np.asarray(of_bins) - 0.5 for of_bins in ranks]
        self._table = np.zeros(bins, dtype=np.int64)
        self._sums = np.zeros(5)  # of f, y, ff, yy, fy

    def add(self, feature: Coded, target: Coded) -> None:
        """Take in the same rows of both."""
        assert feature.z is not None and target.z is not None  # noqa: S101, PT018 - categories have no correlation
        both = (feature.codes >= 0) & (target.codes >= 0)
        f, y = feature.z[both], target.z[both]
        cells = np.bincount(feature.codes[both] * self._table.shape[1] + target.codes[both], minlength=self._table.size)
        self._table += cells.reshape(self._table.shape)
        self._sums += (f.sum(), y.sum(), f @ f, y @ y, f @ y)

    def products(self, feature: Coded, target: Coded) -> tuple[npt.NDArray[np.bool_], Floats]:
        """What a correlation is found from, row by row, for ``Hours.add_pair``.

        Args:
            feature: Some rows of the feature.
            target: The same rows of the target.

        Returns:
            Rows in which both are valid, shape ``(rows,)``; 1, f, y, ff, yy and fy of these in z and in u, shape ``(2, 6, valid)``.
        """
        assert feature.z is not None and target.z is not None  # noqa: S101, PT018 - categories have no correlation
        both = (feature.codes >= 0) & (target.codes >= 0)
        u, v = (ranks[one.codes[both]] for ranks, one in zip(self._ranks, (feature, target), strict=True))
        spaces = ((feature.z[both], target.z[both]), (u, v))
        return both, np.array([(np.ones(len(f)), f, y, f * f, y * y, f * y) for f, y in spaces])

    def correlations(self, feature_ranks: Sequence[float], target_ranks: Sequence[float]) -> list[Correlation]:
        """In z and in u; none where one of the two does not vary.

        Args:
            feature_ranks: Midrank per bin of the feature.
            target_ranks: Midrank per bin of the target.

        Source:
            Pearson's coefficient; on midranks it is Spearman's: Kendall, Rank Correlation Methods (1970), chapter 3.
        """
        samples = int(self._table.sum())
        u, v = np.asarray(feature_ranks) - 0.5, np.asarray(target_ranks) - 0.5
        rows, columns = self._table.sum(axis=1), self._table.sum(axis=0)
        ranks = np.array([rows @ u, columns @ v, rows @ u**2, columns @ v**2, u @ self._table @ v])
        found = []
        for space, sums in (("z", self._sums), ("u", ranks)):
            r = _coefficient(samples, sums)
            if r is not None:
                found.append(Correlation(self.target, space, r, samples))  # type: ignore[arg-type]  # the two above
        return found


def _coefficient(samples: int, sums: Floats) -> float | None:
    if samples < 2:
        return None
    f, y, ff, yy, fy = sums / samples
    spread = (ff - f * f, yy - y * y)
    if min(spread) <= 1e-12:
        return None
    return float(np.clip((fy - f * y) / math.sqrt(spread[0] * spread[1]), -1.0, 1.0))
