"""Models that spend their error budget too fast, or nearly: in each pair of windows, with each of its guards broken apart."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.cases import LAPSE_MINUTES, NONE, SCALED_MINUTES, WARNING, Case, alerts, change
from tests.promql.fleet import Replica

BURN = "MlmonErrorBudgetBurn"
_BOTH, _WARNS = alerts(BURN), alerts(BURN, WARNING)


def _failing(
    calls: npt.ArrayLike, share: npt.ArrayLike, budget: npt.ArrayLike | None = None, cancelled: float = 0.0
) -> Callable[[Replica], None]:
    """So many calls a minute end, of which a share fails."""

    def build(replica: Replica) -> None:
        failed = np.asarray(calls, dtype=float) * share
        replica.traffic(np.asarray(calls) - failed, failed=failed)
        replica.counter(catalog.CALLS, cancelled, status="cancelled")
        if budget is not None:
            replica.threshold("error_budget", budget)
        replica.gauge(catalog.REFERENCE_MISSING, 0.0, feature="x")  # there is a reference

    return build


def _burns(window: str, more_than: float) -> str:
    return f'mlmon:call_errors:burn_rate{{model_name="{{model}}", window="{window}"}} > {more_than}'


def _late(at: int, share: float, until: int = 1_000, minutes: int = SCALED_MINUTES) -> npt.NDArray[np.float64]:
    """A share of failed calls from one minute until before another."""
    return np.where((np.arange(minutes) >= at) & (np.arange(minutes) < until), share, 0.0)


def _falling(at: int, minutes: int) -> npt.NDArray[np.float64]:
    """A budget that is cut once all is calm again, so that nothing has fired before."""
    return change(minutes, at, 0.99, 0.01)


# 5m is a minute, 30m two, 1h five, 2h ten, 6h thirty; 1d and 3d are the model's life
SCALED = (
    Case("burn-1h", _failing(100, _late(60, 0.2)), {59: NONE, 66: _BOTH}, holds=((66, _burns("1h", 14.4)),)),
    Case(
        "burn-1h-over",
        _failing(100, _late(57, 0.3, 62), _falling(63, SCALED_MINUTES)),
        {62: NONE, 64: NONE, 65: _WARNS},
        holds=((64, _burns("1h", 14.4)),),
    ),
    Case("burn-1h-brief", _failing(100, _late(70, 0.5, 71)), {71: NONE, 72: NONE}, holds=((71, _burns("5m", 14.4)),)),
    Case("burn-1h-few-calls", _failing(19, _late(60, 0.2)), {66: _WARNS}, holds=((66, _burns("1h", 14.4)),)),
    Case("burn-1h-some-calls", _failing(21, _late(60, 0.2)), {66: _BOTH}),
    Case("burn-1h-few-failures", _failing(30, _late(60, 0.05), 0.001), {65: NONE}, holds=((65, _burns("1h", 14.4)),)),
    Case("burn-6h", _failing(100, _late(30, 0.08)), {61: _BOTH}, holds=((61, _burns("6h", 6)),)),
    Case(
        "burn-6h-over",
        _failing(100, _late(0, 0.08, 59), _falling(60, SCALED_MINUTES)),
        {60: NONE, 62: _WARNS},
        holds=((62, _burns("6h", 6)),),
    ),
    Case("burn-6h-brief", _failing(100, _late(70, 0.13)), {72: NONE}, holds=((72, _burns("30m", 6)),)),
    Case("burn-6h-few-calls", _failing(9, _late(30, 0.08)), {62: _WARNS}, holds=((62, _burns("6h", 6)),)),
    Case("burn-6h-some-calls", _failing(11, _late(30, 0.08)), {62: _BOTH}),
    Case("burn-6h-few-failures", _failing(20, _late(30, 0.01), 0.001), {62: NONE}, holds=((62, _burns("6h", 6)),)),
    # 14.4 and 6 times a tenth of the calls are more than all of them, or nearly
    Case("burn-large-budget", _failing(100, 0.6, 0.1), {30: _BOTH}, holds=((30, f"({_burns('1h', 5.5)}) < 6.1"),)),
    Case("burn-large-budget-less", _failing(100, 0.5, 0.1), {30: _WARNS}),
    Case("burn-half-may-fail", _failing(100, 0.8, 0.5), {30: _BOTH}),
    Case("burn-half-may-fail-less", _failing(100, 0.7, 0.5), {30: _WARNS}),
    Case("burn-set", _failing(100, 0.2, 0.3), {30: NONE}),
    Case("burn-set-small", _failing(1_000, 0.002, 0.0001), {30: _BOTH}),
    Case("burn-cancelled", _failing(24, 0.2, cancelled=1_000), {30: _BOTH}),
    Case("burn-cancelled-only", _failing(0, 0.0, cancelled=1_000), {40: alerts("MlmonNoTraffic", WARNING)}),
)

_THINNED = change(LAPSE_MINUTES, 60, 1_000, 100)
"""Many calls before, so that those of 3d hide what fails today."""

# 5m, 30m and 1h are a minute, 2h two, 6h six, 1d twenty-four, 3d seventy-two
LAPSE = (
    Case(
        "burn-1d",
        _failing(_THINNED, _late(60, 0.05, minutes=LAPSE_MINUTES)),
        {59: NONE, 86: _WARNS},
        holds=((86, f"({_burns('3d', 0)}) < 1"),),
    ),
    Case(
        "burn-1d-over",
        _failing(_THINNED, _late(60, 0.05, 83, LAPSE_MINUTES), _falling(84, LAPSE_MINUTES)),
        {83: NONE, 87: NONE},
        holds=((87, _burns("1d", 3)),),
    ),
    Case("burn-1d-brief", _failing(100, _late(82, 0.05, minutes=LAPSE_MINUTES)), {85: NONE}, holds=((85, _burns("2h", 3)),)),
    Case(
        "burn-1d-few-calls",
        _failing(change(LAPSE_MINUTES, 60, 1_000, 9), _late(60, 0.2, minutes=LAPSE_MINUTES)),
        {86: NONE},
        holds=((86, _burns("1d", 3)),),
    ),
    Case(
        "burn-1d-some-calls",
        _failing(change(LAPSE_MINUTES, 60, 1_000, 11), _late(60, 0.2, minutes=LAPSE_MINUTES)),
        {86: _WARNS},
    ),
    Case("burn-3d", _failing(100, 0.015), {82: _WARNS}, holds=((82, f"({_burns('1d', 1)}) < 3"),)),
    Case(
        "burn-3d-over",
        _failing(100, _late(0, 0.015, 75, LAPSE_MINUTES), _falling(82, LAPSE_MINUTES)),
        {81: NONE, 84: NONE},
        holds=((84, _burns("3d", 1)),),
    ),
    Case("burn-3d-brief", _failing(100, _late(80, 0.025, minutes=LAPSE_MINUTES)), {86: NONE}, holds=((86, _burns("6h", 1)),)),
    Case("burn-3d-few-calls", _failing(3, 0.05), {82: NONE}, holds=((82, _burns("3d", 1)),)),
    Case("burn-3d-some-calls", _failing(4, 0.05), {82: _WARNS}),
    Case("burn-3d-few-failures", _failing(8, 0.015), {82: NONE}, holds=((82, _burns("6h", 1)),)),
    Case(
        "burn-nothing",
        _failing(100, 0.009),
        {82: NONE},
        holds=((82, 'abs(mlmon:call_errors:budget_ratio{model_name="{model}"} - 0.1) < 1e-9'),),
    ),
)
