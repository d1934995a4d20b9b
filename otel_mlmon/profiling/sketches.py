"""The first pass over training data: exact moments, a uniform sample of rows, the categories."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from otel_mlmon.columns import CategoryEncoder
from otel_mlmon.feature import Feature
from otel_mlmon.frames import RawColumn, listed
from otel_mlmon.values import category

__all__ = ["SAMPLE_ROWS", "Categories", "Moments", "Sample"]

Floats = npt.NDArray[np.float64]

SAMPLE_ROWS = 200_000
"""Rows kept for the quantiles of data in batches."""

TRACKED_CATEGORIES = 100_000


class Moments:
    """Mean, standard deviation and range of a feature, exactly, from parts.

    Source:
        Chan, Golub, LeVeque (1979), Stanford STAN-CS-79-773, for merging.
    """

    def __init__(self) -> None:
        self.count, self.minimum, self.maximum = 0, math.inf, -math.inf
        self._mean = self._squares = 0.0

    def add(self, values: Floats) -> None:
        """Take in finite values."""
        if not len(values):
            return
        count = self.count + len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            step = mean - self._mean
            self._squares += float(np.square(values - mean).sum()) + step * step * self.count * (len(values) / count)
        self._mean += step * (len(values) / count)
        self.count, self.minimum, self.maximum = (
            count,
            min(self.minimum, float(values.min())),
            max(self.maximum, float(values.max())),
        )

    def mean(self) -> float:
        """Mean; NaN without values. Within the range, whatever rounding did."""
        return min(max(self._mean, self.minimum), self.maximum) if self.count else math.nan

    def std(self) -> float:
        """Standard deviation with divisor n; exactly 0 if all are equal; NaN without values."""
        if not self.count:
            return math.nan
        return math.sqrt(self._squares / self.count) if self.minimum < self.maximum else 0.0


class Sample:
    """Uniform sample of rows: those with the smallest random keys, so that any split of the rows gives the same sample.

    The share of values below a sampled quantile is wrong by at most ``sqrt(ln(2 / 0.05) / (2 n))`` in 95 of 100 samples: 0.3 % of
    all rows for a sample of 200,000. (Counts are exact all the same: they are taken in the second pass.)

    Args:
        rows: How many to keep; None for all.
        seed: Of the keys.

    Source:
        Dvoretzky, Kiefer, Wolfowitz (1956) with the constant of Massart (1990), doi:10.1214/aop/1176990746, for draws
        with replacement; these are without, and so closer.
    """

    def __init__(self, rows: int | None, seed: int) -> None:
        self._rows, self._random = rows, np.random.default_rng(seed)
        self._limit = math.inf
        self._keys: list[Floats] = []
        self._parts: list[Floats] = []
        self._kept = 0

    def add(self, columns: Sequence[Floats], rows: int) -> None:
        """Take in some rows: one array of ``rows`` values per feature."""
        part = np.stack(columns) if columns else np.zeros((0, rows))
        if self._rows is None:
            self._parts.append(part)
            return
        keys = self._random.random(rows)
        chosen = keys < self._limit
        self._keys.append(keys[chosen])
        self._parts.append(part[:, chosen])
        self._kept += int(chosen.sum())
        if self._kept > 2 * self._rows:
            self._shrink(self._rows)

    def columns(self) -> Iterator[Floats]:
        """Sampled values by feature, NaN among them, shape ``(sampled rows,)`` each; made one at a time, for memory's sake."""
        if self._rows is not None and self._kept > self._rows:
            self._shrink(self._rows)
        for feature in range(len(self._parts[0])):
            yield np.concatenate([part[feature] for part in self._parts])

    def _shrink(self, rows: int) -> None:
        keys = np.concatenate(self._keys)
        chosen = np.argpartition(keys, rows - 1)[:rows]
        self._parts = [np.concatenate(self._parts, axis=1)[:, chosen]]
        self._keys, self._kept, self._limit = [keys[chosen]], rows, float(keys[chosen].max())


class Categories:
    """How often each valid category occurs; exact up to 100,000 different ones.

    Beyond, the least frequent are forgotten: a category in more than 1 of 100,000 rows is still found.

    Args:
        feature: Whose categories.
        tracked: How many are kept.

    Source:
        Misra and Gries (1982), doi:10.1016/0167-6423(82)90012-0, in the mergeable form of Agarwal et al. (2013),
        doi:10.1145/2500128.
    """

    def __init__(self, feature: Feature, tracked: int = TRACKED_CATEGORIES) -> None:
        self._encoder = CategoryEncoder(feature, {}, 0)
        self._counts: Counter[str] = Counter()
        self._tracked, self.complete = tracked, True

    def add(self, values: RawColumn) -> None:
        """Take in raw values."""
        raw = listed(values)
        try:
            # Equal values have one normal form, but for True, which equals 1.
            found = None if {bool, np.bool_} & set(map(type, raw)) else Counter(raw)
        except TypeError:  # a value that cannot be hashed
            found = None
        distinct = raw if found is None else list(found)
        for value, code in zip(distinct, self._encoder(distinct).codes.tolist(), strict=True):
            name = category(value) if code >= 0 else None
            if name is not None:
                self._counts[name] += 1 if found is None else found[value]
        if len(self._counts) > self._tracked:
            self._forget()

    def ranked(self) -> list[str]:
        """Categories, the most frequent first, equals by name."""
        return sorted(self._counts, key=lambda name: (-self._counts[name], name))

    @property
    def singletons(self) -> int:
        """Categories that occur once, if none was forgotten."""
        return sum(count == 1 for count in self._counts.values())

    def _forget(self) -> None:
        floor = self._counts.most_common()[self._tracked][1]
        self._counts = Counter({name: count - floor for name, count in self._counts.items() if count > floor})
        self.complete = False
