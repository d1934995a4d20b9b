"""Models whose calls all fail, drag on or stay away, or nearly."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tests.promql.budget_cases import BURN
from tests.promql.cases import BOTH, CRITICAL, MINUTES, NONE, SCALED_MINUTES, WARNING, Case, alerts, change
from tests.promql.fleet import Replica

DOWN, SLOW, SILENT = "MlmonModelDown", "MlmonLatencyHigh", "MlmonNoTraffic"
_BURNS = alerts(BURN)
_DOWN = alerts(DOWN, CRITICAL)
_FAIL = 'mlmon:call_errors:ratio{model_name="{model}", window="5m"} > 0.95'


def _serving(rows: npt.ArrayLike, failed: npt.ArrayLike = 0.0) -> Callable[[Replica], None]:
    return lambda replica: replica.traffic(rows, failed=failed)


def _down_for_ten_minutes(replica: Replica) -> None:
    """Of a fleet whose life before was long enough for the slower windows not to care."""
    minute = np.arange(MINUTES)
    failed = np.where((minute >= 50) & (minute < 60), 60.0, 0.0)
    replica.traffic(np.where(minute == 0, 200_000, 60 - failed), failed=failed)


def _taken_over(replica: Replica) -> None:
    """Another version has the traffic; this one is left running."""
    replica.traffic(change(SCALED_MINUTES, 30, 20, 0))
    other = Replica(SCALED_MINUTES, model="silence-taken-over", version="2", instance="b")
    other.traffic(change(SCALED_MINUTES, 30, 0, 20))
    replica.series += other.series


def _latency(fast: float, slow: float, **limits: float) -> Callable[[Replica], None]:
    def build(replica: Replica) -> None:
        replica.traffic(fast + slow, durations={"0.5": fast, "2.5": slow, "+Inf": 0.0})
        for statistic, value in limits.items():
            replica.threshold(statistic, value)

    return build


SCALED = (
    Case("silence", _serving(change(SCALED_MINUTES, 30, 20, 0)), {34: NONE, 50: alerts(SILENT, WARNING)}),
    Case("silence-gone", _serving(change(SCALED_MINUTES, 30, 20, 0)), {50: alerts("MlmonMetricsAbsent", CRITICAL)}, {"end": 34}),
    Case("silence-usual", _serving(change(SCALED_MINUTES, 30, 4, 0)), {50: NONE}),
    Case("silence-always", _serving(0), {50: NONE}),
    Case("silence-taken-over", _taken_over, {50: NONE}),
)

REAL = (
    Case("down", _serving(1, change(MINUTES, 40, 20, 0)), {12: alerts(DOWN, CRITICAL) | alerts(BURN, CRITICAL), 60: _BURNS}),
    Case(
        "down-over",  # the budget burns from the minute on that has the first calls out of its window, and is calm again before
        _down_for_ten_minutes,
        {58: _DOWN, 64: _DOWN | alerts(BURN, CRITICAL), 70: _DOWN, 72: NONE},
    ),
    Case("down-nearly", _serving(2, 20), {60: _BURNS}),
    Case(
        "down-few-calls",
        _serving(0.1, 3.5),
        {60: _BURNS},
        holds=((60, _FAIL),),
    ),
    Case("latency", _latency(28, 2), {60: alerts(SLOW, WARNING)}),
    Case("latency-critical", lambda r: r.traffic(30, durations={"0.5": 20, "30": 10, "+Inf": 0}), {60: alerts(SLOW, BOTH)}),
    Case("latency-ok", _latency(30, 0), {60: NONE}),
    Case("latency-few-calls", _latency(9, 1), {60: NONE}, holds=((60, 'mlmon:call_duration:p99{model_name="{model}"} > 1'),)),
    Case("latency-set", _latency(28, 2, latency_p99=3), {60: NONE}),
)
