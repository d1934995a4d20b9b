"""Building the profiles of a reference from training data: survey, count, conclude."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import LABEL, PREDICTION, SCORE
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.feature import Feature
from otel_mlmon.profiling import noise
from otel_mlmon.profiling.batches import Chunk, Source
from otel_mlmon.profiling.calibration import Hours, correlation_levels, levels
from otel_mlmon.profiling.halves import Halves
from otel_mlmon.profiling.profile import Correlation, FeatureProfile, interval_labels, midranks
from otel_mlmon.profiling.sketches import SAMPLE_ROWS
from otel_mlmon.profiling.survey import CategoryPlan, Plan, survey
from otel_mlmon.profiling.tallies import CategoryTally, Coded, NumericTally, PairTally

__all__ = ["profile"]

Floats = npt.NDArray[np.float64]
Tally = NumericTally | CategoryTally

_ONES = {frozenset({"0", "1"}): "1", frozenset({"false", "true"}): "true"}


@dataclass(frozen=True, slots=True)
class _Target:
    """An output that features are correlated with.

    Attributes:
        number: Which of the tallies it is.
        truths: Of a label that is true or false: 1 for the bin that is true, else 0; None for a numeric output.
        ranks: Midrank per bin, as well as it is known before all rows are counted.
    """

    number: int
    truths: Floats | None
    ranks: Sequence[float]

    def code(self, coded: Coded) -> Coded:
        """With values to correlate."""
        # What two values are called does not change a correlation, so 0 and 1 need no standardising.
        return coded if self.truths is None else Coded(coded.codes, self.truths[coded.codes])


def profile(
    source: Source, *, bins: int, categories: int, multivariate: bool, seed: int
) -> tuple[int, Derivation, tuple[FeatureProfile, ...]]:
    """Profile every feature and output of the training data, and what is derived from them.

    Args:
        source: Training data.
        bins: At most so many for a numeric feature.
        categories: At most so many for a categorical one, ``__other__`` and ``__unseen__`` aside.
        multivariate: Whether further features are derived.
        seed: Of the row sample, of the simulated noise and of the half that is fitted on.

    Returns:
        Number of rows; what was fitted; one profile per feature, in the order of the schema, then those of the derived features,
        then those of the outputs.

    Raises:
        ValueError: If a pass does not find what the first did, or a feature has no finite standard deviation.
    """
    sample = None if source.whole else SAMPLE_ROWS
    halves = Halves(source, multivariate=multivariate, seed=seed)
    known = [feature for feature in (*source.schema, *source.outputs) if feature.kind != "vector"]
    rows, found = survey(halves.first(), known, sample=sample, bins=bins, categories=categories, seed=seed)
    planned = {feature.name: plan for feature, plan in zip(known, found, strict=True)}
    derivation = halves.fit(planned)
    derived = [Feature(name) for name in derivation.names]
    late = [*(feature for feature in source.schema if feature.kind == "vector"), *derived]
    if late:
        _, found = survey(halves.second(), late, sample=sample, bins=bins, categories=categories, seed=seed)
        planned |= {feature.name: plan for feature, plan in zip(late, found, strict=True)}
    features = (*source.schema, *derived, *source.outputs)
    plans = [planned[feature.name] for feature in features]
    tallies = [_tally(feature, plan) for feature, plan in zip(features, plans, strict=True)]
    targets = _targets(features, plans)
    pairs = _pairs(tallies[: len(source.schema)], tallies, targets)
    hours = Hours([len(tally.counts) for tally in tallies], sum(map(len, pairs))) if source.timed else None
    counted = 0
    for chunk in halves.second():
        counted += chunk.rows
        _count(chunk, tallies, targets, pairs, hours)
    _check_same(rows, counted, tallies)
    ranks = [
        midranks(tallies[target.number].counts.tolist()) if target.truths is None else target.truths.tolist() for target in targets
    ]
    return (
        rows,
        derivation,
        tuple(
            _conclude(
                tally,
                correlations=_correlations(tally, pairs[number], ranks, hours) if number < len(pairs) else (),
                thresholds={} if hours is None else _levels(tally, number, hours),
                features=len(features),
                seed=seed,
            )
            for number, tally in enumerate(tallies)
        ),
    )


def _tally(feature: Feature, plan: Plan) -> Tally:
    return CategoryTally(feature, plan) if isinstance(plan, CategoryPlan) else NumericTally(feature, plan)


def _targets(features: Sequence[Feature], plans: Sequence[Plan]) -> list[_Target]:
    """Score, or else a numeric prediction; and a label that is a number or a truth value."""
    numbers = {feature.name: number for number, feature in enumerate(features)}
    output = SCORE if SCORE in numbers else PREDICTION
    targets = []
    for name in (output, LABEL):
        number = numbers.get(name)
        if number is None:
            continue
        plan = plans[number]
        if isinstance(plan, CategoryPlan):
            one = _ONES.get(frozenset(plan.bins[:-1])) if name == LABEL else None
            if one is not None:
                truths = np.array([float(label == one) for label in plan.bins])
                targets.append(_Target(number, truths, truths.tolist()))
        else:
            targets.append(_Target(number, None, plan.ranks))
    return targets


def _pairs(tallies: Sequence[Tally], outputs: Sequence[Tally], targets: Sequence[_Target]) -> list[list[PairTally]]:
    """Each numeric feature with each target; none for the others."""
    goals = [(target, outputs[target.number]) for target in targets]
    numbers = count()
    return [
        [
            PairTally(goal.feature.name, (len(tally.counts), len(goal.counts)), (tally.plan.ranks, target.ranks), next(numbers))
            for target, goal in goals
        ]
        if isinstance(tally, NumericTally)
        else []
        for tally in tallies
    ]


def _count(
    chunk: Chunk, tallies: Sequence[Tally], targets: Sequence[_Target], pairs: Sequence[Sequence[PairTally]], hours: Hours | None
) -> None:
    coded = [tally.add(chunk) for tally in tallies]
    goals = [target.code(coded[target.number]) for target in targets]
    together = [
        (pair, column, goal)
        for column, with_targets in zip(coded, pairs, strict=False)
        for pair, goal in zip(with_targets, goals, strict=False)
    ]
    for pair, column, goal in together:
        pair.add(column, goal)
    if hours is None or chunk.at is None:
        return
    rows, which = hours.place(chunk.at)
    for pair, column, goal in together:
        both, products = pair.products(column, goal)
        hours.add_pair(pair.number, rows, which[both], products)
    for number, column in enumerate(coded):
        valid = column.codes >= 0
        hours.add(number, rows, which[valid], column.codes[valid], None if column.z is None else column.z[valid])


def _check_same(rows: int, counted: int, tallies: Sequence[Tally]) -> None:
    if counted != rows:
        raise ValueError(f"data: must give the same rows each time it is read, got {rows} rows, then {counted}")
    for tally in tallies:
        if isinstance(tally, CategoryTally) and tally.counts[-1]:
            raise ValueError(
                f"feature {tally.feature.name!r}: must have the same categories each time it is read, "
                f"got {tally.counts[-1]} values of new ones"
            )


def _correlations(
    tally: Tally, pairs: Sequence[PairTally], ranks: Sequence[Sequence[float]], hours: Hours | None
) -> tuple[Correlation, ...]:
    own = midranks(tally.counts.tolist())
    found = [(pair, one) for pair, rank in zip(pairs, ranks, strict=False) for one in pair.correlations(own, rank)]
    if hours is None:
        return tuple(one for _, one in found)
    traffic = hours.traffic()
    return tuple(
        replace(one, thresholds=correlation_levels(hours.pair_series(pair.number)[:, "zu".index(one.space)], traffic))
        for pair, one in found
    )


def _levels(tally: Tally, number: int, hours: Hours) -> Mapping[str, Mapping[str, float]]:
    weights = tally.weights() if isinstance(tally, NumericTally) else ()
    return levels(tally.counts.tolist(), *hours.series(number), weights, hours.traffic())


def _conclude(
    tally: Tally,
    *,
    correlations: tuple[Correlation, ...],
    thresholds: Mapping[str, Mapping[str, float]],
    features: int,
    seed: int,
) -> FeatureProfile:
    counts, samples = tuple(tally.counts.tolist()), int(tally.counts.sum())
    rows = samples + tally.missing + tally.invalid  # of what is derived, only those that were not fitted on
    floors = {"psi": noise.psi_floor(len(counts), features)} if len(counts) > 1 and samples else {}
    if isinstance(tally, CategoryTally):
        return FeatureProfile(
            tally.feature.name,
            "categorical",
            tally.plan.bins,
            (),
            counts,
            rows=rows,
            missing=tally.missing,
            invalid=tally.invalid,
            noise=floors,
            thresholds=thresholds,
            others=tally.plan.others,
            singletons=tally.plan.singletons,
        )
    plan, weights = tally.plan, tally.weights()
    if weights:
        floors["wasserstein"] = noise.wasserstein_floor(
            tally.counts / samples, tally.means(), tally.variance(), features=features, seed=seed
        )
    return FeatureProfile(
        tally.feature.name,
        "numeric",
        interval_labels(plan.edges),
        plan.edges,
        counts,
        weights,
        rows=rows,
        missing=tally.missing,
        invalid=tally.invalid,
        outliers=tally.outliers,
        mean=plan.mean,
        std=plan.std,
        minimum=plan.minimum,
        maximum=plan.maximum,
        median=plan.median,
        fences=plan.fences,
        histogram=plan.histogram,
        correlations=correlations,
        noise=floors,
        thresholds=thresholds,
    )
