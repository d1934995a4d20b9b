"""Two halves of the training data: what is derived from it is fitted on one and counted on the other.

A distance from a mean, or from principal components, is smaller for the rows that these were fitted on than for any others. Counted
on the same rows, live traffic without any drift would seem to have drifted.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import OTHER
from otel_mlmon.columns import NumericColumn, matrix
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.derivation.reconstruction import MIN_INPUTS, MIN_ROWS, Reconstruction
from otel_mlmon.derivation.space import Space
from otel_mlmon.derivation.words import Vocabulary
from otel_mlmon.feature import COMPONENTS, Feature
from otel_mlmon.frames import RawColumn, joined, listed, taken
from otel_mlmon.profiling.batches import Chunk, Source
from otel_mlmon.profiling.survey import CategoryPlan, Plan
from otel_mlmon.profiling.tallies import CategoryTally
from otel_mlmon.schema import Schema
from otel_mlmon.values import plain

__all__ = ["Halves"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FITTED_ROWS = 20_000
FITTED_VALUES = 2**24
"""At most so many rows, and numbers in them, are held to fit on."""

_HALF = 0.5


class Halves:
    """Draws the same halves in each pass over the data, whatever batches it comes in.

    Args:
        source: Training data.
        multivariate: Whether anything but the distances of vectors is derived.
        seed: Of the draw.
    """

    def __init__(self, source: Source, *, multivariate: bool, seed: int) -> None:
        self._source, self._multivariate, self._seed = source, multivariate, seed
        inputs = _inputs(source.schema)
        self._texts = [feature for feature in source.schema if feature.kind == "text" and multivariate]
        self._vectors = [feature for feature in source.schema if feature.kind == "vector"]
        self._inputs = inputs if multivariate and len(inputs) >= MIN_INPUTS else []
        self._names = list(dict.fromkeys(one.name for one in (*self._inputs, *self._texts, *self._vectors)))
        width = sum(max(feature.width, 1) for feature in source.schema)
        self._rows = max(min(FITTED_ROWS, FITTED_VALUES // width), 1) if self._names else 0
        self._keys: list[Floats] = []
        self._parts: dict[str, list[RawColumn]] = {name: [] for name in self._names}
        self._at: list[Floats] = []
        self._limit = _HALF
        self._derivation = Derivation()
        self._tallies: dict[str, CategoryTally] = {}

    def first(self) -> Iterator[Chunk]:
        """The chunks, while rows to fit on are kept."""
        draw = np.random.default_rng((self._seed, 1))
        for chunk in self._source:
            if self._names:
                self._keep(chunk, draw.random(chunk.rows))
            yield chunk

    def fit(self, plans: Mapping[str, Plan]) -> Derivation:
        """Fit on the rows kept.

        Args:
            plans: Bins of the schema's features but vectors.
        """
        if not self._names:
            return self._derivation
        self._shrink()
        at = np.concatenate(self._at) if self._at else None
        columns = {name: joined(parts) for name, parts in self._parts.items()}
        kept = Chunk(columns, at, sum(map(len, self._keys)))
        self._parts.clear()
        self._tallies = {
            feature.name: CategoryTally(feature, plan)
            for feature in self._inputs
            if isinstance(plan := plans.get(feature.name), CategoryPlan)
        }
        numbers, codes = self._typed(kept)
        inputs: list[tuple[str, Floats, Sequence[float]]] = [
            (feature.name, numbers[feature.name].values, ()) for feature in self._inputs if feature.name in numbers
        ]
        for name, tally in self._tallies.items():
            encoding = _encoding(tally, codes[name])
            inputs.append((name, np.append(encoding, np.nan)[codes[name]], encoding.tolist()))
        self._derivation = Derivation(
            tuple(_vocabulary(feature, kept, numbers[feature.name].values) for feature in self._texts),
            tuple(self._space(feature, kept) for feature in self._vectors),
            Reconstruction.fit(inputs) if inputs else None,
        )
        return self._derivation

    def second(self) -> Iterator[Chunk]:
        """The chunks once more, with what is derived of the rows that were not fitted on."""
        draw = np.random.default_rng((self._seed, 1))
        for chunk in self._source:
            yield self._derived(chunk, draw.random(chunk.rows) >= _HALF) if self._names else chunk

    def _keep(self, chunk: Chunk, keys: Floats) -> None:
        chosen = np.flatnonzero(keys < self._limit)
        self._keys.append(keys[chosen])
        if chunk.at is not None:
            self._at.append(chunk.at[chosen])
        for name, parts in self._parts.items():
            parts.append(taken(chunk.columns[name], chosen))
        if sum(map(len, self._keys)) > 2 * self._rows:
            self._shrink()

    def _shrink(self) -> None:
        """Only the rows with the smallest keys, in their order."""
        keys = np.concatenate(self._keys)
        if len(keys) <= self._rows:
            return
        chosen = np.sort(np.argpartition(keys, self._rows - 1)[: self._rows])
        self._limit = float(keys[chosen].max())
        self._keys = [keys[chosen]]
        self._at = [np.concatenate(self._at)[chosen]] if self._at else []
        self._parts = {name: [taken(joined(parts), chosen)] for name, parts in self._parts.items()}

    def _space(self, feature: Feature, kept: Chunk) -> Space:
        vectors, _, _ = matrix(kept.columns[feature.name], feature.width)
        vectors = vectors[~np.isnan(vectors[:, 0])]
        return Space.fit(feature, vectors, components=len(COMPONENTS) if self._multivariate and len(vectors) >= MIN_ROWS else 0)

    def _typed(self, chunk: Chunk) -> tuple[dict[str, NumericColumn], dict[str, npt.NDArray[np.intp]]]:
        numbers = {one.name: chunk.numbers(one) for one in (*self._inputs, *self._texts) if one.numeric}
        return numbers, {name: tally.read(chunk).codes for name, tally in self._tallies.items()}

    def _derived(self, chunk: Chunk, counted: Bools) -> Chunk:
        numbers, codes = self._typed(chunk)
        rows = np.flatnonzero(counted)
        found = self._derivation(
            {feature.name: taken(chunk.columns[feature.name], rows) for feature in (*self._texts, *self._vectors)},
            {name: column.values[rows] for name, column in numbers.items()},
            {name: column[rows] for name, column in codes.items()},
        )
        typed = dict(numbers)
        for name, column in found:
            values = np.full(chunk.rows, np.nan)
            values[rows] = column.values
            typed[name] = NumericColumn(values, column.missing, column.invalid)
        return Chunk(chunk.columns, chunk.at, chunk.rows, typed)


def _inputs(schema: Schema) -> list[Feature]:
    """What the reconstruction error is about: all but vectors, the numeric ones first."""
    return sorted((feature for feature in schema if feature.kind != "vector"), key=lambda feature: not feature.numeric)


def _vocabulary(feature: Feature, kept: Chunk, lengths: Floats) -> Vocabulary:
    texts = listed(kept.columns[feature.name])
    return Vocabulary.fit(feature.name, (plain(texts[row]) for row in np.flatnonzero(~np.isnan(lengths)).tolist()))


def _encoding(tally: CategoryTally, codes: npt.NDArray[np.intp]) -> Floats:
    """A number by bin: 0 and 1 for a truth value; else the frequency of a category, of ``__other__`` that of one of them."""
    if tally.feature.kind == "boolean":
        return np.array([0.0, 1.0, 0.0])
    counts = np.bincount(codes[codes >= 0], minlength=len(tally.counts))
    shares = counts / max(int(counts.sum()), 1)
    if OTHER in tally.plan.bins:
        place = tally.plan.bins.index(OTHER)
        shares[place] = shares[place] / len(tally.plan.others) if tally.plan.others else 0.0
    return np.asarray(shares)
