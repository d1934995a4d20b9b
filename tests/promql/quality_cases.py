"""Models that get bad values or bad rows, or lose rows, or nearly."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.cases import MINUTES, NONE, SCALED_MINUTES, WARNING, Case, alerts, change
from tests.promql.fleet import Replica

SHARES = {
    "missing_ratio": "MlmonFeatureMissing",
    "invalid_ratio": "MlmonFeatureInvalid",
    "out_of_range_ratio": "MlmonFeatureOutOfRange",
    "unseen_ratio": "MlmonNewCategory",
}
MISSING, UNSEEN = "MlmonFeatureMissing", "MlmonNewCategory"
BAD, LOST = "MlmonSchemaViolations", "MlmonRowsDropped"
LASTING = "MlmonFeatureOutOfRange"
"""Fires on for six hours."""


def _values(
    statistic: str,
    rows: npt.ArrayLike,
    events: npt.ArrayLike,
    *,
    trained_on: float = 1_000.0,
    usual: float = 0.0,
    of_feature: npt.ArrayLike | None = None,
    limits: Mapping[str, npt.ArrayLike] | None = None,
) -> Callable[[Replica], None]:
    """A feature ``x``: of its rows a minute, so many are missing, invalid, out of range or unseen; drift is out of question."""

    def build(replica: Replica) -> None:
        good = np.asarray(rows, dtype=float) - (0 if statistic == "out_of_range_ratio" else events)
        unseen = np.asarray(events if statistic == "unseen_ratio" else 0, dtype=float)
        traffic = np.stack(np.broadcast_arrays(good, unseen), axis=-1)
        missing = events if statistic == "missing_ratio" else 0.0
        reference = {"blue": trained_on, catalog.UNSEEN: 0}
        replica.feature("x", reference, traffic, missing=missing, reference_missing=usual, reference_unseen=usual)
        if statistic == "invalid_ratio":
            replica.counter(catalog.FEATURE_INVALID, events, feature="x", reason="category")
        if statistic == "out_of_range_ratio":
            replica.counter(catalog.FEATURE_OUT_OF_RANGE, events, feature="x")
        for name, value in {"psi": 99.0, **(limits or {})}.items():
            replica.threshold(name, value)
        if of_feature is not None:
            replica.threshold(statistic, of_feature, feature="x")

    return build


def _without_reference(replica: Replica) -> None:
    """A schema alone: rows are known as predictions only."""
    replica.traffic(40)
    for name, invalid in (("x", 12), ("y", 0)):
        replica.counter(catalog.FEATURE_MISSING, 20, feature=name)
        replica.counter(catalog.FEATURE_INVALID, invalid, feature=name, reason="type")


def _over(statistic: str, window: str, share: float) -> str:
    recorded = statistic.removesuffix("_ratio")
    return f'mlmon:feature_{recorded}:ratio{{model_name="{{model}}", window="{window}"}} > {share}'


def _of_share(statistic: str, alert: str) -> tuple[Case, ...]:
    """In real time: effect, chance, samples, events, thresholds of model and feature, waiting, hysteresis."""
    limit = {statistic: 0.03}
    return (
        Case(
            f"{statistic}-hysteresis",
            _values(statistic, 40, 12, limits={statistic: change(MINUTES, 40, 0.1, 0.9)}),
            {11: NONE, 39: alerts(alert), 50: alerts(alert), 60: alerts(alert) if alert == LASTING else NONE},
        ),
        Case(f"{statistic}-warning", _values(statistic, 40, 3), {60: alerts(alert, WARNING)}),
        Case(f"{statistic}-effect", _values(statistic, 1_000, 9, trained_on=1e6), {60: NONE}),
        Case(
            f"{statistic}-feature-before-model",
            _values(statistic, 40, 12, limits={statistic: 0.1}, of_feature=change(MINUTES, 50, 0.5, 0.2)),
            {49: NONE, 60: alerts(alert)},
        ),
        Case(
            f"{statistic}-chance",
            _values(statistic, 6, 0.24, limits=limit),
            {60: NONE},
            holds=((60, _over(statistic, "1h", 0.03)),),
        ),
        Case(f"{statistic}-no-chance", _values(statistic, 6, 0.42, trained_on=1e6, limits=limit), {60: alerts(alert, WARNING)}),
        Case(
            f"{statistic}-few-rows",
            _values(statistic, 4, 3, limits={"min_samples": change(MINUTES, 58, 300, 200)}),
            {57: NONE, 75: alerts(alert)},
        ),
        Case(
            f"{statistic}-few-events",
            _values(statistic, *[change(MINUTES, 50, 0.12, 1)] * 2, limits={"min_samples": 5}),
            {50: NONE, 70: alerts(alert)},
        ),
    )


def _of_share_scaled(statistic: str, alert: str) -> tuple[Case, ...]:
    """In time lapse: over in 6h but no longer in 1h, and in 1h but not yet in 6h."""
    burst = np.zeros(SCALED_MINUTES)
    burst[59] = 36
    return (
        Case(
            f"{statistic}-over",
            _values(statistic, 120, change(SCALED_MINUTES, 40, 9, 5), trained_on=1e6, limits={statistic: 0.05}),
            {39: alerts(alert, WARNING), **({82: NONE} if alert == LASTING else {55: NONE})},
            holds=((55, _over(statistic, "6h", 0.055)), (55, _over(statistic, "1h", 0.04))),
        ),
        Case(
            f"{statistic}-brief",
            _values(statistic, 120, burst, trained_on=1e6),
            {62: NONE, 64: NONE},
            holds=((62, _over(statistic, "1h", 0.055)),),
        ),
    )


def _events(
    family: catalog.MetricFamily, label: Mapping[str, str], rows: float, events: float, **limits: float
) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(rows)
        for statistic, value in limits.items():
            replica.threshold(statistic, value)
        replica.counter(family, events, **label)

    return build


def _bad(rows: float, events: float, **limits: float) -> Callable[[Replica], None]:
    return _events(catalog.SCHEMA_VIOLATIONS, {"check": "width"}, rows, events, **limits)


def _lost(rows: float, events: float, **limits: float) -> Callable[[Replica], None]:
    return _events(catalog.ROWS_DROPPED, {"reason": "queue_full"}, rows, events, **limits)


SCALED = tuple(case for statistic, alert in SHARES.items() for case in _of_share_scaled(statistic, alert))

REAL = (
    *(case for statistic, alert in SHARES.items() for case in _of_share(statistic, alert)),
    Case("missing-all", _values("missing_ratio", 20, 20), {60: alerts(MISSING)}),
    Case("missing-usual", _values("missing_ratio", 24, 4, usual=0.15), {60: NONE}),
    Case("missing-usual-chance", _values("missing_ratio", 6, 3, usual=0.42), {60: NONE}),
    Case("missing-usual-no-chance", _values("missing_ratio", 60, 30, usual=0.42), {60: alerts(MISSING, WARNING)}),
    Case("unseen-usual", _values("unseen_ratio", 24, 4, usual=0.16, trained_on=1e6), {60: NONE}),
    Case("unseen-unusual", _values("unseen_ratio", 24, 6, usual=0.16, trained_on=1e6), {60: alerts(UNSEEN, WARNING)}),
    # 7 % of an hour's 350 rows are no chance, but 500 training rows may have missed as many
    *(
        Case(f"{statistic}-small-reference", _values(statistic, 6, 0.42, trained_on=500), {60: NONE})
        for statistic in ("out_of_range_ratio", "unseen_ratio")
    ),
    Case("without-reference", _without_reference, {60: alerts(SHARES["invalid_ratio"])}),
)

ROWS = (
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
