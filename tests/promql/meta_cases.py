"""Models whose monitoring is in trouble, or nearly: targets, exports, its own errors and its size."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.cases import CRITICAL, LAPSE_MINUTES, MINUTES, NONE, WARNING, Alerts, Case, alerts, change
from tests.promql.fleet import Replica

TARGET, ABSENT = "MlmonTargetDown", "MlmonMetricsAbsent"
ERRORS, EXPORTS, LARGE = "MlmonInternalErrors", "MlmonExportFailing", "MlmonCardinalityHigh"


def up(instance: str, end: int | None = None) -> dict[str, str]:
    """What Prometheus says of a target that answers until a minute."""
    said = change(MINUTES, MINUTES if end is None else end, 1, 0)
    return {"series": f'up{{job="mlmon", instance="{instance}"}}', "values": " ".join(f"{value:g}" for value in said)}


def _two(name: str, ends: tuple[int | None, int | None], expected: Mapping[int, Alerts]) -> Case:
    """Two replicas, each a target, that answer until a minute."""
    targets = (f"{name}-1", f"{name}-2")

    def build(replica: Replica) -> None:
        other = Replica(MINUTES, model=name, instance=targets[1], end=ends[1])
        replica.series += [*other.series, *map(up, targets, ends)]

    return Case(name, build, expected, {"instance": targets[0], "end": ends[0]})


def _version(name: str) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.series += Replica(MINUTES, model=name, version="2", instance="b").series

    return build


def _counting(family: catalog.MetricFamily, **counts: npt.ArrayLike) -> Callable[[Replica], None]:
    """A counter of the monitor's own, by the value of its last label."""

    def build(replica: Replica) -> None:
        for value, grows in counts.items():
            replica.counter(family, grows, **{family.prometheus_labels[-1]: value})

    return build


def _size(exposed: float, **limits: float) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.gauge(catalog.SERIES, exposed)
        for statistic, value in limits.items():
            replica.threshold(statistic, value)

    return build


_ONCE = np.arange(MINUTES) == 30

REAL = (
    _two("target", (30, None), {39: NONE, 50: alerts(TARGET, WARNING)}),
    _two(
        "target-all",
        (30, 30),
        {
            38: alerts(TARGET, CRITICAL),
            60: alerts(TARGET, WARNING, 2) | alerts(TARGET, CRITICAL) | alerts(ABSENT, CRITICAL),
        },
    ),
    _two("target-up", (None, None), {60: NONE}),
    # only what has exported a model is missed
    Case("target-strange", lambda r: r.series.append(up("strange", 0)), {60: NONE}, {"instance": "target-strange-1"}),
    Case("absent", lambda _: None, {44: NONE, 60: alerts(ABSENT, CRITICAL)}, {"end": 30}),
    Case("absent-version", _version("absent-version"), {60: NONE}, {"end": 30}),
    Case("absent-brief", lambda _: None, {48: NONE}, {"failed": range(30, 45)}),
    Case("own-errors", _counting(catalog.INTERNAL_ERRORS, rows=_ONCE), {29: NONE, 60: alerts(ERRORS, WARNING)}),
    Case("own-errors-none", _counting(catalog.INTERNAL_ERRORS, rows=0, export=5), {60: NONE}),
    Case("exports", _counting(catalog.EXPORTS, ok=1, failed=2), {60: alerts(EXPORTS, WARNING)}),
    Case("exports-some", _counting(catalog.EXPORTS, ok=2, failed=1), {60: NONE}),
    Case("exports-none", _counting(catalog.EXPORTS, ok=0, failed=0), {60: NONE}),
    Case("large", _size(30_000), {20: NONE, 60: alerts(LARGE, WARNING)}),
    Case("large-not", _size(19_000), {60: NONE}),
    Case("large-set", _size(30_000, series=50_000), {60: NONE}),
)

_AWAY = range(30, 42)
"""For half a day, a day (24 minutes) before ``_AWAY_AGAIN`` begins."""
_AWAY_AGAIN = range(54, LAPSE_MINUTES)

LAPSE = (
    Case("absent-second-day", lambda _: None, {54: NONE, 62: alerts(ABSENT, CRITICAL)}, {"end": 54}),
    Case("absent-usual", lambda _: None, {62: NONE, 70: alerts(ABSENT, CRITICAL)}, {"failed": (*_AWAY, *_AWAY_AGAIN)}),
)
