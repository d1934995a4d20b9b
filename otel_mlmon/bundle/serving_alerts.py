"""Alerts on serving: errors, latency, silence."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import SHARE, WHO, alert, enough, threshold
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import SERVING_WINDOWS
from otel_mlmon.bundle.yaml_text import Rule
from otel_mlmon.thresholds import MIN_CALLS, MIN_CALLS_P99, SEVERITIES


def serving(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``serving``.

    Args:
        options: Waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [*_errors(options), *_latency(options), _silence(options)]


def _errors(options: RuleOptions) -> list[Rule]:
    fast, slow = SERVING_WINDOWS
    calls = f"sum by ({n.MODEL}) (sum_over_time({n.CALL_INCREMENT}[{options.span(fast)}]))"
    rules = []
    for severity in SEVERITIES:
        limit = threshold("error_ratio", severity)
        rules.append(
            alert(
                "MlmonErrorRatioHigh",
                f"""
({n.selector(n.ERROR_RATIO, window=slow)} > on ({n.MODEL}) {limit})
and on ({n.MODEL})
  ({n.selector(n.ERROR_RATIO, window=fast)} > on ({n.MODEL}) {limit})
and on ({n.MODEL})
  ({calls} >= {MIN_CALLS})""",
                options,
                wait="2m",
                keep="10m",
                severity=severity,
                layer="serving",
                summary=f"Calls of {WHO} fail.",
                description=f"A share of {SHARE} of the calls of the last {slow} raised, and the last {fast} is no better.",
            )
        )
    return rules


def _latency(options: RuleOptions) -> list[Rule]:
    fast = SERVING_WINDOWS[0]
    calls = f"sum by ({n.MODEL}) (sum_over_time({n.CALL_INCREMENT}[{options.span(fast)}]))"
    return [
        alert(
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
            description=f"The 99th percentile of its calls' duration is {SHARE} s over {fast}.",
        )
        for severity in SEVERITIES
    ]


def _silence(options: RuleOptions) -> Rule:
    """At least ``min_samples`` calls a day: silence for an hour is then no chance (300 a day: exp(-12.5)).

    Unless it is usual: the same hour of yesterday, or the one before, was silent too. In the first day nobody knows what is usual.
    """
    start = catalog.START_TIME.prometheus_name
    day, hour = options.span("1d"), options.span("1h")
    yesterday, before = (
        f"(sum by ({n.MODEL}) (sum_over_time({n.PREDICTION_INCREMENT}[{hour}] offset {options.scaled(ago)})) == 0)"
        for ago in ("1d", "25h")
    )
    return alert(
        "MlmonNoTraffic",
        f"""
{enough(f"sum by ({n.MODEL}) (sum_over_time({n.CALL_INCREMENT}[{day}]))")}
and on ({n.MODEL})
  last_over_time({start}[{options.lookback}])
unless on ({n.MODEL})
  (sum by ({n.MODEL}) (sum_over_time({n.PREDICTION_INCREMENT}[{hour}])) > 0)
unless on ({n.MODEL})
  ({yesterday} or {before})""",
        options,
        wait="5m",
        keep="10m",
        severity="warning",
        layer="serving",
        summary=f"{WHO} is up but predicts nothing.",
        description='No row was predicted in the last 1h, after {{ $value | printf "%.0f" }} calls in the last 1d.',
    )
