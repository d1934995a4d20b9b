"""Models whose features, outputs, labels or correlations drift, or nearly."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.cases import (
    CALM,
    COLOURS,
    MOVED,
    NONE,
    REFERENCE,
    SCALED_MINUTES,
    WARNING,
    WEIGHTS,
    Case,
    alerts,
    change,
)
from tests.promql.fleet import Replica

DRIFT, MODEL, CONCEPT = "MlmonFeatureDrift", "MlmonModelDrift", "MlmonConceptDrift"
LABEL, TOGETHER = "MlmonLabelDrift", "MlmonMultivariateDrift"
CRITICAL = alerts(DRIFT, ("critical",))
_BACK = change(SCALED_MINUTES, 40, MOVED, CALM)

_FALLING = change(SCALED_MINUTES, 44, 0.9, 0.1)
"""A threshold that comes down once 1h is calm again, so that nothing has fired before."""

Limit = tuple[str, npt.ArrayLike, str, str]
"""Statistic, value, severity, feature."""

LEVELS = {(statistic, window): 0.2 for statistic in ("psi", "wasserstein") for window in ("1h", "6h", "1d")}


def _x(traffic: npt.ArrayLike = MOVED, **options: Any) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(np.broadcast_to(traffic, (SCALED_MINUTES, 4)).sum(axis=1))
        replica.feature("x", REFERENCE, traffic, **{"weights": WEIGHTS, "levels": LEVELS, **options})

    return build


def _named(
    name: str, reference: Mapping[str, float] = REFERENCE, traffic: npt.ArrayLike = MOVED, **options: Any
) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(60)
        moved = np.broadcast_to(traffic, (SCALED_MINUTES, 4))
        unseen = np.zeros((SCALED_MINUTES, len(reference) - 4))
        replica.feature(name, reference, np.hstack((moved, unseen)), **{"levels": LEVELS, **options})

    return build


def _limits(*limits: Limit, traffic: npt.ArrayLike = MOVED) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        _x(traffic)(replica)
        _set(replica, limits)

    return build


def _set(replica: Replica, limits: Iterable[Limit]) -> None:
    for statistic, value, severity, feature in limits:
        replica.threshold(statistic, value, severity=severity, feature=feature)


def _over(window: str, statistic: str = "wasserstein") -> str:
    both = "on (model_name, feature, statistic, window)"
    drift = f'mlmon:feature_drift{{model_name="{{model}}", baseline="training", window="{window}", statistic="{statistic}"}}'
    return f'{drift} > {both} mlmon:feature_drift:threshold{{severity="warning"}}'


def _everything(replica: Replica) -> None:
    """Two inputs, label and reconstruction error, 20 rows a minute: enough of them after 15 minutes."""
    for name in ("x", "y", catalog.LABEL, catalog.RECONSTRUCTION_ERROR):
        replica.feature(name, REFERENCE, MOVED / 6, weights=WEIGHTS)


def _several(drifted: int, calm: int, *limits: Limit, traffic: npt.ArrayLike = MOVED) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(120)
        for number in range(drifted + calm):
            replica.feature(f"x{number}", REFERENCE, traffic if number < drifted else CALM, weights=WEIGHTS, levels=LEVELS)
        _set(replica, limits)

    return build


def _outputs(replica: Replica) -> None:
    replica.traffic(120)
    for name in (catalog.PREDICTION, catalog.SCORE, catalog.LABEL):
        replica.feature(name, REFERENCE, MOVED, weights=WEIGHTS, levels=LEVELS)
    replica.feature("x", REFERENCE, CALM, weights=WEIGHTS, levels=LEVELS)


def correlate(
    replica: Replica,
    feature: str,
    coefficient: npt.ArrayLike,
    *,
    rows: npt.ArrayLike,
    trained_on: float = 10_000.0,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Add a feature's rank correlation with the score, 0.5 in the reference: moments of two uniform variables."""
    where = {"feature": feature, "target": catalog.SCORE, "space": "u"}
    means = {"n": 1.0, "f": 1 / 2, "y": 1 / 2, "ff": 1 / 3, "yy": 1 / 3, "fy": 1 / 4 + np.asarray(coefficient) / 12}
    for moment, mean in means.items():
        replica.counter(catalog.FEATURE_MOMENT, rows * np.asarray(mean), moment=moment, **where)
    replica.gauge(catalog.REFERENCE_CORRELATION, 0.5, **where)
    replica.gauge(catalog.REFERENCE_CORRELATION_SAMPLES, trained_on, **where)
    for window, level in (levels or {}).items():
        replica.gauge(catalog.REFERENCE_CORRELATION_THRESHOLD, level, window=window, **where)


def _related(coefficient: npt.ArrayLike, *limits: Limit, rows: npt.ArrayLike = 120.0, **options: Any) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(rows)
        correlate(replica, "x", coefficient, rows=rows, **options)
        _set(replica, limits)

    return build


def _shifted(window: str, by: float) -> str:
    return f'mlmon:feature_correlation:shift{{model_name="{{model}}", space="u", window="{window}"}} > {by}'


def _fall(statistic: str) -> tuple[Limit, Limit]:
    return (statistic, _FALLING, "warning", ""), (statistic, _FALLING, "critical", "")


SCALED = (
    Case("drift", _x(), {50: alerts(DRIFT)}),
    Case("calm", _x(CALM), {50: NONE}),
    Case("effect", _limits(("wasserstein", 0.9, "warning", ""), ("wasserstein", 0.9, "critical", "")), {50: NONE}),
    Case("effect-raised", _limits(("wasserstein", 0.9, "warning", "")), {50: NONE}),
    Case("effect-raised-for-feature", _limits(("wasserstein", 0.9, "warning", "x")), {50: NONE}),
    Case(
        "effect-critical-first", _limits(("wasserstein", 0.9, "warning", ""), ("wasserstein", 0.6, "critical", "x")), {50: CRITICAL}
    ),
    Case("effect-warning", _limits(("wasserstein", 0.9, "critical", "")), {50: alerts(DRIFT, WARNING)}),
    Case("normal", _x(levels=dict.fromkeys(LEVELS, 0.9)), {50: NONE}),
    Case("normal-margin", _x(levels=dict.fromkeys(LEVELS, 0.6)), {50: alerts(DRIFT, WARNING)}),
    Case("chance", _x(noise={"wasserstein": 30.0}), {50: NONE}),
    Case("chance-margin", _x(noise={"wasserstein": 12.0}), {50: alerts(DRIFT, WARNING)}),
    Case("samples", _x(MOVED / 2.5), {50: NONE}),
    Case("samples-set", _limits(("min_samples", 200, "warning", ""), traffic=MOVED / 2.5), {50: alerts(DRIFT)}),
    Case(
        "recovered",
        _limits(*_fall("wasserstein"), traffic=change(SCALED_MINUTES, 35, MOVED, CALM)),
        {43: NONE, 50: NONE},
        holds=((50, _over("6h")),),
    ),
    Case("brief", _x(change(SCALED_MINUTES, 43, CALM * 10, MOVED)), {50: NONE}, holds=((50, _over("1h")),)),
    Case("hysteresis", _x(_BACK), {60: alerts(DRIFT), 82: NONE}),
    # 6h and 1d make a pair, so 1h says nothing; 1d is not covered yet
    Case("uncalibrated-window", _x(levels={("wasserstein", "6h"): 0.2, ("wasserstein", "1d"): 0.2}), {50: NONE}),
    # no pair is calibrated: the levels that are there hold, and the other windows alarm without
    Case("calibrated-6h-only", _x(levels={("wasserstein", "6h"): 0.2}), {50: alerts(DRIFT)}),
    Case("calibrated-6h-only-normal", _x(levels={("wasserstein", "6h"): 0.9}), {50: NONE}),
    Case("calibrated-1h-only", _x(levels={("wasserstein", "1h"): 0.2}), {50: alerts(DRIFT)}),
    Case("calibrated-other-windows", _x(levels={("wasserstein", "7d"): 0.2, ("psi", "7d"): 0.2}), {50: alerts(DRIFT)}),
    Case("uncalibrated-feature", _x(levels={}), {50: alerts(DRIFT)}),
    Case("young", _x(), {50: NONE, 63: alerts(DRIFT)}, {"begin": 30}, ((50, _over("1h")),)),
    Case("young-uncalibrated", _x(levels={}), {50: alerts(DRIFT)}, {"begin": 30}),
    Case("shift", _x(CALM, mean_shift=0.3), {50: alerts(DRIFT, WARNING)}),
    Case("categorical", _named("c", COLOURS), {50: alerts(DRIFT)}, holds=((50, _over("1h", "psi")),)),
    Case("no-weights", _named("c"), {50: alerts(DRIFT)}),
    Case("score", _named(catalog.SCORE, weights=WEIGHTS), {50: alerts("MlmonPredictionDrift")}),
    Case("prediction", _named(catalog.PREDICTION, COLOURS), {50: alerts("MlmonPredictionDrift")}),
    Case("label", _named(catalog.LABEL, traffic=_BACK, weights=WEIGHTS), {60: alerts(LABEL), 82: NONE}),
    Case("errors", _named(catalog.RECONSTRUCTION_ERROR, traffic=_BACK, weights=WEIGHTS), {60: alerts(TOGETHER), 82: NONE}),
    Case(
        "feature-before-model",
        _limits(("wasserstein", 0.9, "warning", "x"), ("wasserstein", 0.1, "warning", ""), ("wasserstein", 0.9, "critical", "x")),
        {50: NONE},
    ),
    Case(
        "model-before-default",
        _limits(("wasserstein", 0.9, "critical", ""), ("wasserstein", 0.1, "critical", "y")),
        {50: alerts(DRIFT, WARNING)},
    ),
    # 200 rows in 1h say nothing, those of 6h do
    Case(
        "long-pair",
        _x(MOVED / 3, levels={}),
        {50: alerts(DRIFT)},
        holds=((50, 'absent(mlmon:feature_drift:believable{model_name="{model}", window="1h"})'),),
    ),
    Case(
        "model",
        _several(2, 1, traffic=_BACK),
        {60: alerts(MODEL) | alerts(DRIFT, times=2), 82: NONE},
    ),
    Case(
        "model-warning",
        _several(2, 1, ("drifted_features_ratio", 0.7, "critical", "")),
        {50: alerts(MODEL, WARNING) | alerts(DRIFT, times=2)},
    ),
    Case(
        "model-few",
        _several(2, 1, ("drifted_features_ratio", 0.7, "warning", "")),
        {50: alerts(DRIFT, times=2)},
        holds=((50, 'mlmon:model:drifted_features_ratio{model_name="{model}", severity="warning"} > 0.6'),),
    ),
    Case("model-one", _several(1, 1), {50: alerts(DRIFT)}),
    Case("model-brief", _several(2, 1, traffic=change(SCALED_MINUTES, 43, CALM * 10, MOVED)), {50: NONE}),
    Case("model-outputs", _outputs, {50: alerts("MlmonPredictionDrift", times=2) | alerts(LABEL)}),
    Case("concept", _related(change(SCALED_MINUTES, 40, 0, 0.5), levels={"1d": 0.9}), {60: alerts(CONCEPT), 82: NONE}),
    Case("concept-calm", _related(0.5), {50: NONE}),
    Case("concept-effect", _related(0.42), {50: NONE}, holds=((50, _shifted("1h", 0.1)),)),
    Case("concept-warning", _related(0.25), {50: alerts(CONCEPT, WARNING)}),
    Case(
        "concept-feature-before-model",
        _related(0, ("correlation_shift", 0.1, "warning", ""), ("correlation_shift", _FALLING, "warning", "x")),
        {43: NONE, 50: alerts(CONCEPT)},
    ),
    Case("concept-normal", _related(0, levels=dict.fromkeys(("1h", "6h", "1d"), 0.9)), {50: NONE}),
    Case("concept-normal-margin", _related(0, levels=dict.fromkeys(("1h", "6h", "1d"), 0.4)), {50: alerts(CONCEPT, WARNING)}),
    Case("concept-chance", _related(0, trained_on=60), {50: NONE}),
    Case("concept-chance-margin", _related(0, trained_on=120), {50: alerts(CONCEPT, WARNING)}),
    Case(
        "concept-samples",
        _related(-0.2, ("min_samples", change(SCALED_MINUTES, 44, 300, 100), "warning", ""), rows=5),
        {43: NONE, 50: alerts(CONCEPT)},
    ),
    Case(
        "concept-recovered",
        _related(change(SCALED_MINUTES, 35, 0, 0.5), *_fall("correlation_shift"), levels={"1d": 0.9}),
        {43: NONE, 50: NONE},
        holds=((50, _shifted("6h", 0.2)),),
    ),
    Case(
        "concept-brief",
        _related(change(SCALED_MINUTES, 43, 0.5, 0), rows=change(SCALED_MINUTES, 43, 1200, 120)),
        {50: NONE},
        holds=((50, _shifted("1h", 0.5)),),
    ),
)

_WAITED = alerts(DRIFT, times=2) | alerts(LABEL) | alerts(TOGETHER) | alerts(MODEL)

REAL = (Case("drift", _everything, {22: NONE, 60: _WAITED}),)
