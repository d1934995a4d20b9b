"""Models that go wrong, or nearly: one per reason why an alert must fire or must stay silent."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.fleet import Replica

BINS = ("00 (-inf, 1)", "01 [1, 2)", "02 [2, 3)", "03 [3, inf)")
REFERENCE = dict.fromkeys(BINS, 250)
COLOURS = {"blue": 250, "green": 250, "red": 250, catalog.OTHER: 250, catalog.UNSEEN: 0}
WEIGHTS = (1.0, 1.0, 1.0)
CALM = np.array([30.0, 30, 30, 30])
MOVED = np.array([12.0, 12, 24, 72])
"""Rows a minute: 120; wasserstein 0.8, psi 0.6 against REFERENCE."""

DRIFT = "MlmonFeatureDrift"
WARNING = ("warning",)
BOTH = ("warning", "critical")
LEVELS = {(statistic, window): 0.2 for statistic in ("psi", "wasserstein") for window in ("1h", "6h", "1d")}

Alerts = frozenset[tuple[str, str]]
NONE: Alerts = frozenset()


def alerts(name: str, severities: Iterable[str] = BOTH) -> Alerts:
    """An alert at these severities."""
    return frozenset((name, severity) for severity in severities)


@dataclass(frozen=True)
class Case:
    """One model and the alerts that fire, by minute."""

    name: str
    build: Callable[[Replica], None]
    expected: Mapping[int, Alerts]
    life: Mapping[str, Any] = field(default_factory=dict)
    holds: tuple[tuple[int, str], ...] = ()
    """(minute, condition that has a result then): that a silent case is silent for its reason."""


def change(minutes: int, at: int, before: npt.ArrayLike, after: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A rate, or one per bin, that changes at a minute."""
    return np.array([before] * at + [after] * (minutes - at), dtype=float)


# ---------------------------------------------------------------- what takes hours, at a twelfth: 1h, 6h, 1d are 5, 30, 120 minutes
TIME_SCALE = 12
SCALED_MINUTES = 84


CRITICAL = alerts(DRIFT, ("critical",))


def _x(traffic: npt.ArrayLike = MOVED, **options: Any) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(np.broadcast_to(traffic, (SCALED_MINUTES, 4)).sum(axis=1))
        replica.feature("x", REFERENCE, traffic, **{"weights": WEIGHTS, "levels": LEVELS, **options})

    return build


def _named(name: str, reference: Mapping[str, float] = REFERENCE, **options: Any) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(60)
        replica.feature(name, reference, [*MOVED, *[0] * (len(reference) - 4)], **{"levels": LEVELS, **options})

    return build


def _limits(*limits: tuple[str, npt.ArrayLike, str, str], traffic: npt.ArrayLike = MOVED) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        _x(traffic)(replica)
        for statistic, value, severity, feature in limits:
            replica.threshold(statistic, value, severity=severity, feature=feature)

    return build


def _over(window: str, statistic: str = "wasserstein") -> str:
    both = "on (model_name, feature, statistic, window)"
    drift = f'mlmon:feature_drift{{model_name="{{model}}", baseline="training", window="{window}", statistic="{statistic}"}}'
    return f'{drift} > {both} mlmon:feature_drift:threshold{{severity="warning"}}'


def _serving(rows: npt.ArrayLike, failed: npt.ArrayLike = 0.0, **limits: float) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(rows, failed=failed)
        for statistic, value in limits.items():
            replica.threshold(statistic, value)

    return build


def _latency(fast: float, slow: float, **limits: float) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(fast + slow, durations={"0.5": fast, "2.5": slow, "+Inf": 0.0})
        for statistic, value in limits.items():
            replica.threshold(statistic, value)

    return build


def _missing(
    rows: float, missing: npt.ArrayLike, reference_missing: float = 0.0, limit: float | None = None
) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(60)
        replica.feature("x", REFERENCE, np.full(4, rows / 4), weights=WEIGHTS, missing=missing, reference_missing=reference_missing)
        if limit is not None:
            replica.threshold("missing_ratio", limit, feature="x")

    return build


def _events(
    family: catalog.MetricFamily, label: Mapping[str, str], rows: float, events: float, **limits: float
) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        _serving(rows, **limits)(replica)
        replica.counter(family, events, **label)

    return build


def _bad(rows: float, events: float, **limits: float) -> Callable[[Replica], None]:
    return _events(catalog.SCHEMA_VIOLATIONS, {"check": "width"}, rows, events, **limits)


def _lost(rows: float, events: float, **limits: float) -> Callable[[Replica], None]:
    return _events(catalog.ROWS_DROPPED, {"reason": "queue_full"}, rows, events, **limits)


def _real(traffic: npt.ArrayLike) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(60)
        replica.feature("x", REFERENCE, traffic, weights=WEIGHTS)

    return build


ERRORS, SLOW, SILENT, MISSING = "MlmonErrorRatioHigh", "MlmonLatencyHigh", "MlmonNoTraffic", "MlmonFeatureMissing"
BAD, LOST = "MlmonSchemaViolations", "MlmonRowsDropped"

SCALED_CASES = (
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
    # the threshold comes down once 1h is calm again, so that nothing has fired before
    Case(
        "recovered",
        _limits(
            ("wasserstein", change(SCALED_MINUTES, 44, 0.9, 0.1), "warning", ""),
            ("wasserstein", change(SCALED_MINUTES, 44, 0.9, 0.1), "critical", ""),
            traffic=change(SCALED_MINUTES, 35, MOVED, CALM),
        ),
        {43: NONE, 50: NONE},
        holds=((50, _over("6h")),),
    ),
    Case("brief", _x(change(SCALED_MINUTES, 43, CALM * 10, MOVED)), {50: NONE}, holds=((50, _over("1h")),)),
    Case("hysteresis", _x(change(SCALED_MINUTES, 40, MOVED, CALM)), {60: alerts(DRIFT), 82: NONE}),
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
    Case("label", _named(catalog.LABEL, weights=WEIGHTS), {50: NONE}),
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
    Case("silence", _serving(change(SCALED_MINUTES, 30, 20, 0)), {34: NONE, 50: alerts(SILENT, WARNING)}),
    Case("silence-gone", _serving(change(SCALED_MINUTES, 30, 20, 0)), {50: NONE}, {"end": 34}),
    Case("silence-usual", _serving(change(SCALED_MINUTES, 30, 4, 0)), {50: NONE}),
    Case("silence-always", _serving(0), {50: NONE}),
    Case("missing-over", _missing(120, change(SCALED_MINUTES, 40, 24, 4.5)), {39: alerts(MISSING, WARNING), 55: NONE}),
    Case("missing-brief", _missing(120, change(SCALED_MINUTES, 59, 0, 30)), {65: NONE}),
)

# ---------------------------------------------------------------- the committed files, in real time
MINUTES = 76

REAL_TIME_CASES = (
    Case("drift", _real(MOVED / 6), {14: NONE, 60: alerts(DRIFT)}),
    Case("errors", _serving(20, 4), {60: alerts(ERRORS)}),
    Case("errors-warning", _serving(20, 1), {60: alerts(ERRORS, WARNING)}),
    Case("errors-few-calls", _serving(3, 0.6), {60: NONE}),
    Case(
        "errors-over",
        _serving(20, change(MINUTES, 45, 10, 0)),
        {40: alerts(ERRORS), 75: NONE},
        holds=((75, 'mlmon:call_errors:ratio{model_name="{model}", window="1h"} > 0.1'),),
    ),
    Case(
        "errors-burst",
        _serving(100, change(MINUTES, 54, 0, 20)),
        {60: NONE},
        holds=((60, 'mlmon:call_errors:ratio{model_name="{model}", window="5m"} > 0.1'),),
    ),
    Case("errors-set", _serving(20, 4, error_ratio=0.5), {60: NONE}),
    Case("latency", _latency(28, 2), {60: alerts(SLOW, WARNING)}),
    Case("latency-critical", lambda r: r.traffic(30, durations={"0.5": 20, "30": 10, "+Inf": 0}), {60: alerts(SLOW)}),
    Case("latency-ok", _latency(30, 0), {60: NONE}),
    Case("latency-few-calls", _latency(9, 1), {60: NONE}, holds=((60, 'mlmon:call_duration:p99{model_name="{model}"} > 1'),)),
    Case("latency-set", _latency(28, 2, latency_p99=3), {60: NONE}),
    Case("missing", _missing(20, 4), {60: alerts(MISSING, WARNING)}),
    Case("missing-all", _missing(0, 20), {60: alerts(MISSING)}),
    Case("missing-usual", _missing(20, 4, reference_missing=0.15), {60: NONE}),
    Case("missing-few-rows", _missing(3, 1), {60: NONE}),
    Case("missing-chance", _missing(3, 3, reference_missing=0.44), {60: NONE}),
    Case("missing-no-chance", _missing(30, 30, reference_missing=0.44), {60: alerts(MISSING, WARNING)}),
    Case("missing-set", _missing(20, 4, limit=0.5), {60: NONE}),
    Case("missing-set-all", _missing(20, 20, limit=0.6), {60: NONE}),
    Case("bad-rows", _bad(20, 2.4), {60: alerts(BAD)}),
    Case("bad-rows-warning", _bad(20, 1), {60: alerts(BAD, WARNING)}),
    Case("bad-rows-all", _bad(0, 1), {60: alerts(BAD)}),
    Case("bad-rows-few", _bad(1, 0.15), {60: NONE}),
    Case("bad-rows-set", _bad(20, 2.4, schema_violation_ratio=0.5), {60: NONE}),
    Case("lost-rows", _lost(20, 4), {60: alerts(LOST)}),
    Case("lost-rows-warning", _lost(20, 1), {60: alerts(LOST, WARNING)}),
    Case("lost-rows-few", _lost(1, 0.15), {60: NONE}),
    Case("lost-rows-set", _lost(20, 4, rows_dropped_ratio=0.5), {60: NONE}),
)
