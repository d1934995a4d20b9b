"""A pass over training data: where the bins of each feature are, before anything is counted."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import OTHER, UNSEEN
from otel_mlmon.feature import Feature
from otel_mlmon.profiling.batches import Chunk
from otel_mlmon.profiling.binning import bin_numbers, edges, histogram_bounds, point_edges
from otel_mlmon.profiling.profile import midranks
from otel_mlmon.profiling.sketches import Categories, Moments, Sample

__all__ = ["CategoryPlan", "NumericPlan", "Plan", "survey"]

Floats = npt.NDArray[np.float64]

LISTED_OTHERS = 10_000
"""With more categories than this beyond the most frequent, nobody can tell an unseen category from a rare one."""

_FENCE = 1.5


@dataclass(frozen=True, slots=True)
class NumericPlan:
    """Bins and statistics of a numeric feature.

    Attributes:
        edges, fences, histogram, mean, std, minimum, maximum, median: As in ``FeatureProfile``.
        ranks: Distribution function in the middle of each bin, of the rows sampled.
    """

    edges: tuple[float, ...]
    mean: float = math.nan
    std: float = math.nan
    minimum: float = math.nan
    maximum: float = math.nan
    median: float = math.nan
    fences: tuple[float, float] = (-math.inf, math.inf)
    histogram: tuple[float, ...] = ()
    ranks: tuple[float, ...] = (0.5,)


@dataclass(frozen=True, slots=True)
class CategoryPlan:
    """Bins of a categorical feature.

    Attributes:
        bins, others, singletons: As in ``FeatureProfile``.
    """

    bins: tuple[str, ...]
    others: tuple[str, ...] = ()
    singletons: int = 0


Plan = NumericPlan | CategoryPlan


def survey(
    chunks: Iterable[Chunk], features: Sequence[Feature], *, sample: int | None, bins: int, categories: int, seed: int
) -> tuple[int, list[Plan]]:
    """Plan the bins of each feature.

    Args:
        chunks: All rows.
        features: Their features, and outputs.
        sample: Rows to take quantiles from; None for all.
        bins: At most so many for a numeric feature.
        categories: At most so many for a categorical one, ``__other__`` and ``__unseen__`` aside.
        seed: Of the sample.

    Returns:
        Number of rows; one plan per feature.

    Raises:
        ValueError: If a feature has no finite standard deviation.
    """
    numbers = [feature for feature in features if feature.numeric]
    moments = {feature.name: Moments() for feature in numbers}
    counts = {feature.name: Categories(feature) for feature in features if feature.kind == "categorical"}
    sampled, rows = Sample(sample, seed), 0
    for chunk in chunks:
        rows += chunk.rows
        columns = [chunk.numbers(feature).values for feature in numbers]
        for feature, values in zip(numbers, columns, strict=True):
            moments[feature.name].add(values[~np.isnan(values)])
        sampled.add(columns, chunk.rows)
        for name, count in counts.items():
            count.add(chunk.columns[name])
    quantiles = sampled.columns()  # in the order of `numbers`, which is that of `features`
    return rows, [
        _numeric(feature.name, moments[feature.name], next(quantiles), bins)
        if feature.numeric
        else CategoryPlan(("false", "true", UNSEEN))
        if feature.kind == "boolean"
        else _categorical(counts[feature.name], categories)
        for feature in features
    ]


def _numeric(name: str, moments: Moments, sample: Floats, bins: int) -> NumericPlan:
    values = sample[~np.isnan(sample)]
    if not moments.count:
        return NumericPlan(())
    mean, std, low, high = moments.mean(), moments.std(), moments.minimum, moments.maximum
    if not (math.isfinite(mean) and math.isfinite(std)):
        raise ValueError(f"feature {name!r}: values must have a finite standard deviation, got values from {low!r} to {high!r}")
    if len(values) == 0 or values.min() == values.max():
        bounds = _around(float(values[0]) if len(values) else mean, low, high)
        return NumericPlan(bounds, mean, std, low, high, float(mean), ranks=_ranks(values, bounds))
    first, median, third = (float(quantile) for quantile in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = _FENCE * (third - first)
    bounds = edges(values, bins)
    fences = (first - reach, third + reach)
    return NumericPlan(bounds, mean, std, low, high, median, fences, histogram_bounds(values), _ranks(values, bounds))


def _ranks(values: Floats, bounds: Sequence[float]) -> tuple[float, ...]:
    return midranks(np.bincount(bin_numbers(values, bounds), minlength=len(bounds) + 1).tolist())


def _around(value: float, low: float, high: float) -> tuple[float, ...]:
    """Edges around the only value sampled: no outer bin stays empty, unless there is no other value at all."""
    both = point_edges(value)
    if low == high:
        return both
    return both[0 if low < value else 1 : 2 if high > value else 1]


def _categorical(counts: Categories, most: int) -> CategoryPlan:
    ranked = counts.ranked()
    if counts.complete and len(ranked) <= most:
        return CategoryPlan((*ranked, UNSEEN), singletons=counts.singletons)
    others = ranked[most:]
    if not counts.complete or len(others) > LISTED_OTHERS:
        return CategoryPlan((*ranked[:most], OTHER, UNSEEN))
    return CategoryPlan((*ranked[:most], OTHER, UNSEEN), tuple(sorted(others)), counts.singletons)
