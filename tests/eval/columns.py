"""Columns of known populations, and windows of their rows as histograms over the distinct values: exact for every contender."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

_AT_ONCE = 4_000_000  # rows drawn at once, to bound memory


@dataclass(frozen=True, slots=True)
class Column:
    """One feature of a population.

    Attributes:
        name: Feature name.
        values: The distinct values, numbers in increasing order or texts, shape ``(values,)``.
        codes: Number of the value of each row, -1 where missing, shape ``(rows,)``.
    """

    name: str
    values: npt.NDArray[Any]
    codes: Integers

    @classmethod
    def of(cls, name: str, rows: Any) -> "Column":
        """Number the values of a column of a frame."""
        series = pd.Series(rows)
        if pd.api.types.is_bool_dtype(series):
            series = series.map({False: "false", True: "true"})  # as a reference names them
        elif not pd.api.types.is_numeric_dtype(series):
            series = series.astype(str).where(series.notna())
        codes, values = pd.factorize(series, sort=True)
        return cls(name, np.asarray(values), codes.astype(np.int64))

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.values.dtype.kind in "iuf"

    def histogram(self, rows: Integers | slice | npt.NDArray[np.bool_]) -> Floats:
        """Rows per distinct value, shape ``(values,)``."""
        codes = self.codes[rows]
        return np.bincount(codes[codes >= 0], minlength=len(self.values)).astype(np.float64)

    def histograms(self, groups: Integers, count: int) -> Floats:
        """Rows per group and distinct value, shape ``(count, values)``.

        Args:
            groups: Of each row; -1 for none.
            count: How many groups there are.
        """
        inside = (groups >= 0) & (self.codes >= 0)
        cells = groups[inside] * len(self.values) + self.codes[inside]
        return np.bincount(cells, minlength=count * len(self.values)).reshape(count, -1).astype(np.float64)


def columns(frame: pd.DataFrame) -> list[Column]:
    """Every column of a frame."""
    return [Column.of(str(name), frame[name]) for name in frame]


def raw(population: Sequence[Column], histogram_rows: Integers) -> dict[str, Any]:
    """The rows with these numbers, as training data for ``Reference.build``."""
    return {
        column.name: np.where(codes >= 0, column.values[codes], np.array(np.nan if column.numeric else None))
        for column in population
        for codes in (column.codes[histogram_rows],)
    }


def resample(population: Sequence[Column], windows: int, rows: int, rng: np.random.Generator) -> list[Floats]:
    """Windows of rows drawn with replacement, whole rows, so that features stay dependent.

    Args:
        population: Columns of the same rows.
        windows: How many.
        rows: In each.
        rng: Source of chance.

    Returns:
        Per column the histograms, shape ``(windows, values)``.
    """
    size = len(population[0].codes)
    if size <= rows:  # how often each row is drawn
        times = sparse.csr_array(rng.multinomial(rows, np.full(size, 1 / size), size=windows).astype(np.float64))
        found = []
        for column in population:
            known = np.flatnonzero(column.codes >= 0)
            places = (np.ones(len(known)), (known, column.codes[known]))
            found.append(np.asarray((times @ sparse.csr_array(places, shape=(size, len(column.values)))).todense()))
        return found
    step = max(1, _AT_ONCE // rows)
    parts: list[list[Floats]] = [[] for _ in population]
    for start in range(0, windows, step):
        count = min(step, windows - start)
        drawn = rng.integers(0, size, count * rows)
        groups = np.repeat(np.arange(count), rows)
        for part, column in zip(parts, population, strict=True):
            part.append(Column(column.name, column.values, column.codes[drawn]).histograms(groups, count))
    return [np.concatenate(part) for part in parts]


@dataclass(frozen=True, slots=True)
class Shape:
    """A feature made up: the probability of each of its values.

    Attributes:
        name: Feature name.
        values: Distinct values, increasing.
        shares: Probabilities, same shape.
    """

    name: str
    values: npt.NDArray[Any]
    shares: Floats

    def column(self, rows: int, rng: np.random.Generator) -> Column:
        """Rows drawn from it."""
        return Column(self.name, self.values, rng.choice(len(self.values), rows, p=self.shares))

    def histograms(self, windows: int, rows: int, rng: np.random.Generator) -> Floats:
        """Windows of rows drawn from it, shape ``(windows, values)``."""
        return rng.multinomial(rows, self.shares, size=windows).astype(np.float64)


def sliding(groups: Floats, length: int, start: int, stop: int) -> Floats:
    """Sums over the last ``length`` groups at the end of each group from ``start`` to ``stop``, none before ``start``.

    Args:
        groups: Histograms in order of time, shape ``(groups, values)``.
        length: Groups of a window.
        start: First group of the block: a model that starts there knows nothing of what was before.
        stop: One past the last.

    Returns:
        Shape ``(stop - start, values)``.
    """
    total = np.concatenate((np.zeros((1, groups.shape[1])), np.cumsum(groups[start:stop], axis=0)))
    ends = np.arange(1, stop - start + 1)
    return np.asarray(total[ends] - total[np.maximum(ends - length, 0)])


def training(parts: Mapping[str, Any] | Sequence[Column]) -> dict[str, Any]:
    """Columns as training data."""
    population = list(parts.values()) if isinstance(parts, Mapping) else list(parts)
    return raw(population, np.arange(len(population[0].codes)))
