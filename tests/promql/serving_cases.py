"""Models whose calls fail, drag on or stay away, or nearly."""

from collections.abc import Callable

import numpy.typing as npt

from tests.promql.cases import MINUTES, NONE, SCALED_MINUTES, WARNING, Case, alerts, change
from tests.promql.fleet import Replica

ERRORS, SLOW, SILENT = "MlmonErrorRatioHigh", "MlmonLatencyHigh", "MlmonNoTraffic"


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


SCALED = (
    Case("silence", _serving(change(SCALED_MINUTES, 30, 20, 0)), {34: NONE, 50: alerts(SILENT, WARNING)}),
    Case("silence-gone", _serving(change(SCALED_MINUTES, 30, 20, 0)), {50: NONE}, {"end": 34}),
    Case("silence-usual", _serving(change(SCALED_MINUTES, 30, 4, 0)), {50: NONE}),
    Case("silence-always", _serving(0), {50: NONE}),
)

REAL = (
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
)
