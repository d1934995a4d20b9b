"""Alerts on serving: outage, errors, latency, silence."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import COUNT, SHARE, WHO, alert, enough, single, threshold
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.serving_rules import LATENCY_WINDOW
from otel_mlmon.bundle.yaml_text import Rule
from otel_mlmon.thresholds import BURN_RATES, DOWN_RATIO, MIN_CALLS, MIN_CALLS_P99, MIN_EVENTS, SEVERITIES

_DOWN_WINDOW = "5m"
_WAITS = {"critical": ("2m", "5m"), "warning": ("15m", "30m")}
"""Severity -> how long the error budget must burn, and how long that alert fires on.

The page's fast window forgets an outage within five minutes: so it ends before ``MlmonModelDown``, which silences it, and who has
repaired the model is not told of the budget then.
"""


def serving(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``serving``.

    Args:
        options: Waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [
        _down(options),
        *(_burn(severity, options) for severity in reversed(SEVERITIES)),
        *(_latency(severity, options) for severity in SEVERITIES),
        _silence(options),
    ]


def _ended(window: str, status: str = "=~ok|error") -> str:
    return f"sum by ({n.MODEL}) ({n.selector(n.CALL_COUNT, window=window, status=status)})"


def _down(options: RuleOptions) -> Rule:
    return alert(
        "MlmonModelDown",
        f"""
(max by ({n.MODEL}) ({n.selector(n.ERROR_RATIO, window=_DOWN_WINDOW)}) >= {DOWN_RATIO:g})
and on ({n.MODEL})
  ({_ended(_DOWN_WINDOW)} >= {MIN_CALLS})""",
        options,
        wait="2m",
        keep="10m",
        severity="critical",
        layer="serving",
        summary=f"{WHO} is down: nearly every call fails.",
        description=f"A share of {SHARE} of the calls of the last {_DOWN_WINDOW} raised.",
    )


def _burn(severity: str, options: RuleOptions) -> Rule:
    """The error budget is spent too fast in a slow window, and still in a fast one: the larger burn rate of the slow windows.

    If all calls fail, it burns ``1 / budget`` times as fast as it may. Where a large budget makes this less than the burn rate
    asked for, half way between the allowed share and all calls is enough.
    """
    pairs = []
    for burn, slow, fast in BURN_RATES[severity]:
        limit = f"clamp_max((1 + 1 / ({single('error_budget')} > 0)) / 2, {burn:g})"
        over = (f"({n.selector(n.BURN_RATE, window=window)} > on ({n.MODEL}) {limit})" for window in (slow, fast))
        guards = (f"({_ended(fast)} >= {MIN_CALLS})", f"({_ended(slow, 'error')} >= {MIN_EVENTS})")
        pairs.append(n.tagged(f"\n      and on ({n.MODEL})\n        ".join((*over, *guards)), slow))
    union = "\n  or\n    ".join(pairs)
    spans = " or ".join(f"{slow} (and still the last {fast})" for _, slow, fast in BURN_RATES[severity])
    wait, keep = _WAITS[severity]
    return alert(
        "MlmonErrorBudgetBurn",
        f"max by ({n.MODEL}) (\n    {union}\n)",
        options,
        wait=wait,
        keep=keep,
        severity=severity,
        layer="serving",
        summary=f"Calls of {WHO} fail: its error budget is running out.",
        description=f'It is spent {{{{ $value | printf "%.1f" }}}} times as fast as it may be over {spans}.',
    )


def _latency(severity: str, options: RuleOptions) -> Rule:
    calls = f"sum by ({n.MODEL}) ({n.selector(n.CALL_COUNT, window=LATENCY_WINDOW)})"
    return alert(
        "MlmonLatencyHigh",
        f"""
({n.LATENCY} > on ({n.MODEL}) {threshold("latency_p99", severity)})
and on ({n.MODEL})
  ({calls} >= {MIN_CALLS_P99})""",
        options,
        wait="10m",
        keep="10m",
        severity=severity,
        layer="serving",
        summary=f"{WHO} answers slowly.",
        description=f"The 99th percentile of its calls' duration is {SHARE} s over {LATENCY_WINDOW}.",
    )


def _silence(options: RuleOptions) -> Rule:
    """At least ``min_samples`` calls a day: silence for an hour is then no chance (300 a day: exp(-12.5)).

    Of all versions: one that is kept running behind its successor is no outage. Unless it is usual: the same hour of yesterday, or
    the one before, was silent too. In the first day nobody knows what is usual.
    """
    start = catalog.START_TIME.prometheus_name
    hour = options.span("1h")
    yesterday, before = (
        f"(sum by ({n.MODEL}) (sum_over_time({n.PREDICTION_INCREMENT}[{hour}] offset {options.scaled(ago)})) == 0)"
        for ago in ("1d", "25h")
    )
    return alert(
        "MlmonNoTraffic",
        f"""
{enough(f"sum by ({n.MODEL}) ({n.selector(n.CALL_COUNT, window='1d')})")}
and on ({n.MODEL})
  last_over_time({start}[{options.lookback}])
unless on (model_name)
  (sum by (model_name) (sum_over_time({n.PREDICTION_INCREMENT}[{hour}])) > 0)
unless on ({n.MODEL})
  ({yesterday} or {before})""",
        options,
        wait="5m",
        keep="10m",
        severity="warning",
        layer="serving",
        summary=f"{WHO} is up but predicts nothing.",
        description=f"No row was predicted in the last 1h, after {COUNT} calls in the last 1d.",
    )
