"""Models that grow old, lose their reference, serve in several versions or are due for training, or nearly; frozen features."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.cases import CALM, LAPSE_MINUTES, MOVED, NONE, REFERENCE, WARNING, WEIGHTS, Case, alerts, change
from tests.promql.fleet import Replica

STALE, OLD_REFERENCE, MISSING = "MlmonModelStale", "MlmonReferenceStale", "MlmonReferenceMissing"
SKEW, DUE, FROZEN, DRIFT = "MlmonVersionSkew", "MlmonRetrainingDue", "MlmonFeatureFrozen", "MlmonFeatureDrift"

_HAPPENS_SOON = 1_200.0
"""Seconds: minute 20, where the time begins at 0."""


def _aged(*, trained: float | None = 0.0, built: float | None = 0.0, **limits: tuple[float, str]) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(60)
        replica.gauge(catalog.REFERENCE_MISSING, 0.0, feature="x")
        if trained is not None:
            replica.gauge(catalog.MODEL_TRAINED_TIME, trained)
        if built is not None:
            replica.gauge(catalog.REFERENCE_CREATED_TIME, built)
        for statistic, (value, severity) in limits.items():
            replica.threshold(statistic, value, severity=severity)

    return build


def _due_by_age(replica: Replica) -> None:
    _aged(model_age=(600.0, "warning"))(replica)
    replica.threshold("model_age", _HAPPENS_SOON, severity="critical")


def _other_version(name: str, version: str) -> Replica:
    return Replica(LAPSE_MINUTES, model=name, version=version, instance="b")


def _referenced(built: float | None) -> Callable[[Replica], None]:
    """A reference that is spoken of at most."""

    def build(replica: Replica) -> None:
        replica.traffic(60)
        if built is not None:
            replica.gauge(catalog.REFERENCE_CREATED_TIME, built)

    return build


def _reference_of_another(replica: Replica) -> None:
    replica.traffic(60)
    other = _other_version("reference-of-another", "2")
    other.gauge(catalog.REFERENCE_CREATED_TIME, 0.0)
    other.gauge(catalog.REFERENCE_MISSING, 0.0, feature="x")
    other.traffic(0)
    replica.series += other.series


def _versions(name: str, first: npt.ArrayLike, second: npt.ArrayLike, **limits: float) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        other = _other_version(name, "2")
        for each, rows in ((replica, first), (other, second)):
            each.traffic(rows)
            each.gauge(catalog.REFERENCE_MISSING, 0.0, feature="x")
        for statistic, value in limits.items():
            other.threshold(statistic, value)
        replica.series += other.series

    return build


def _drifting(moved: npt.ArrayLike, **limits: float) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(1_200)
        replica.feature("x", REFERENCE, np.asarray(moved) * 10, weights=WEIGHTS)
        for statistic, value in limits.items():
            replica.threshold(statistic, value, severity="critical")

    return build


def _varying(greatest: npt.ArrayLike, *, std: float = 1.0, rows: npt.ArrayLike = 150.0) -> Callable[[Replica], None]:
    """Four bins of so many rows an hour; the least value is 1."""

    def build(replica: Replica) -> None:
        counts = np.broadcast_to(np.asarray(rows, dtype=float), (LAPSE_MINUTES,))
        replica.traffic(counts * 4)
        replica.feature("x", REFERENCE, np.stack([counts] * 4, axis=-1), weights=WEIGHTS)
        replica.gauge(catalog.FEATURE_MIN, 1.0, feature="x")
        replica.gauge(catalog.FEATURE_MAX, greatest, feature="x")
        for statistic, value in {"mean": 0.0, "std": std}.items():
            replica.gauge(catalog.REFERENCE_STATISTIC, value, feature="x", statistic=statistic)

    return build


def _stops(at: int) -> npt.NDArray[np.float64]:
    return change(LAPSE_MINUTES, at, 5, 1)


_OFTEN = np.where(np.arange(LAPSE_MINUTES) % 5 == 0, 1.0, 5.0)
_OFTEN[60:] = 1.0
"""An hour of five it stands still, and then for good."""

_STANDS = 'mlmon:feature:range{model_name="{model}"} == 0'
_LIMIT: dict[str, Any] = {"model_age": (_HAPPENS_SOON, "warning")}

LAPSE = (
    Case("stale", _aged(**_LIMIT), {15: NONE, 30: alerts(STALE, WARNING)}),
    Case("stale-young", _aged(), {30: NONE}),
    Case("stale-unknown", _aged(trained=None, **_LIMIT), {30: NONE}),
    Case("due-age", _due_by_age, {19: alerts(STALE, WARNING), 30: alerts(STALE, WARNING) | alerts(DUE, WARNING)}),
    Case("reference-old", _aged(reference_age=(_HAPPENS_SOON, "warning")), {15: NONE, 30: alerts(OLD_REFERENCE, WARNING)}),
    Case("reference-young", _aged(), {30: NONE}),
    Case("reference-as-old", _aged(reference_age=(_HAPPENS_SOON, "warning"), **_LIMIT), {30: alerts(STALE, WARNING)}),
    Case("reference-lost", _referenced(0.0), {10: alerts(MISSING, WARNING), 40: alerts(MISSING, WARNING)}),
    Case("reference-never", _referenced(None), {20: NONE, 40: alerts(MISSING, ("info",))}),
    Case("reference-of-another", _reference_of_another, {10: alerts(MISSING, WARNING)}),
    Case("skew", _versions("skew", 60, change(LAPSE_MINUTES, 10, 0, 40)), {9: NONE, 20: alerts(SKEW, WARNING)}),
    Case("skew-small", _versions("skew-small", 97, 3), {20: NONE}),
    Case("skew-few-rows", _versions("skew-few-rows", 9, 9), {20: NONE}),
    Case("skew-set", _versions("skew-set", 60, 40, versions=2), {20: NONE}),
    Case("due-drift", _drifting(MOVED), {13: alerts(DRIFT), 35: alerts(DRIFT) | alerts(DUE, WARNING)}),
    Case("due-drift-no-version", _drifting(MOVED), {35: alerts(DRIFT) | alerts(DUE, WARNING)}, {"version": ""}),
    Case("due-drift-warning", _drifting(MOVED, wasserstein=0.9), {35: alerts(DRIFT, WARNING)}),
    Case(
        "due-drift-brief",
        _drifting(change(LAPSE_MINUTES, 6, MOVED, CALM), wasserstein=0.6),
        {13: alerts(DRIFT), 30: NONE},
    ),
)

STILL = (
    Case("frozen", _varying(_stops(60)), {59: NONE, 65: alerts(FROZEN, WARNING), 76: NONE}),
    Case("frozen-always", _varying(1), {65: NONE}, holds=((65, _STANDS),)),
    Case("frozen-often", _varying(_OFTEN), {65: NONE}, holds=((65, _STANDS),)),
    Case("frozen-young", _varying(_stops(18)), {21: NONE}, holds=((21, _STANDS),)),
    Case("frozen-constant-reference", _varying(_stops(60), std=0.0), {65: NONE}, holds=((65, _STANDS),)),
    Case("frozen-few-rows", _varying(_stops(60), rows=change(LAPSE_MINUTES, 60, 150, 10)), {65: NONE}),
    Case("frozen-varies", _varying(5), {65: NONE}),
)
