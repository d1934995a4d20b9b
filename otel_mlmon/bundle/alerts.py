"""The alerts, each with what a person at three in the morning needs: what, how bad, where to look."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import QUALITY_WINDOW, SERVING_WINDOWS
from otel_mlmon.bundle.thresholds import MIN_CALLS, MIN_CALLS_P99, MIN_EVENTS, MISSING_SIGMAS, SEVERITIES
from otel_mlmon.bundle.yaml_text import Rule

_WHO = "{{ $labels.model_name }} {{ $labels.model_version }}"
_FEATURE = "{{ $labels.feature }}"
_SHARE = '{{ $value | printf "%.3f" }}'


def alert_groups(options: RuleOptions) -> dict[str, list[Rule]]:
    """The alerts by group, one group per layer.

    Args:
        options: Pairs of windows, waiting times' scale, addresses of runbooks and dashboards.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return {
        "mlmon-drift.alerts": _drift(options),
        "mlmon-data_quality.alerts": [*_missing(options), *_violations(options)],
        "mlmon-serving.alerts": [*_errors(options), *_latency(options), _silence(options)],
        "mlmon-meta.alerts": _dropped(options),
    }


def _alert(
    name: str,
    expression: str,
    options: RuleOptions,
    *,
    wait: str,
    keep: str,
    severity: str,
    layer: str,
    summary: str,
    description: str,
    action: str = "",
    feature: bool = False,
) -> Rule:
    labels = {"severity": severity, "layer": layer} | ({"action": action} if action else {})
    board = "mlmon-drift" if layer == "drift" else "mlmon-overview"
    query = "".join(
        f"&var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in (*n.MODEL_LABELS, *(("feature",) if feature else ()))
    )
    return {
        "alert": name,
        "expr": expression.strip("\n"),
        "for": options.scaled(wait),
        "keep_firing_for": options.scaled(keep),
        "labels": labels,
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": f"{options.runbook_base}#{name.lower()}",
            "dashboard_url": f"{options.dashboard_base}/d/{board}?{query[1:]}",
        },
    }


def _threshold(statistic: str, severity: str) -> str:
    return n.selector(n.THRESHOLD, statistic=statistic, severity=severity)


def _drift(options: RuleOptions) -> list[Rule]:
    """Effect, normal operation, chance and number of rows are in the threshold's series; persistence is the pair of windows.

    ``keep_firing_for`` is the hysteresis: a statistic that swings around its threshold with day and night is one alert.
    """
    outputs = "|".join((catalog.PREDICTION, catalog.SCORE))
    by = f"{n.FEATURE}, statistic"
    subjects = (
        ("MlmonFeatureDrift", "!~@.*", f"Feature {_FEATURE} of {_WHO} has drifted."),
        ("MlmonPredictionDrift", f"=~{outputs}", f"Outputs ({_FEATURE}) of {_WHO} have drifted."),
    )
    distance = (
        'Its distance from the training data ({{{{ $labels.statistic }}}}) is {{{{ $value | printf "%.3f" }}}} over {spans}: '
        "more than the {severity} threshold, normal operation and chance explain."
    )
    rules = []
    for name, which, summary in subjects:
        for severity in SEVERITIES:
            pairs = []
            for fast, slow in options.pairs:
                over_fast, over_slow = (
                    f"({n.selector(n.DRIFT, baseline='training', window=window, feature=which)}"
                    f" > on ({by}) {n.selector(n.DRIFT_THRESHOLD, severity=severity, window=window)})"
                    for window in (fast, slow)
                )
                pairs.append(n.tagged(f"{over_slow}\n      and on ({by})\n        {over_fast}", f"{fast}, {slow}"))
            union = "\n  or\n    ".join(pairs)
            spans = " or ".join(f"{slow} and still the last {fast}" for fast, slow in options.pairs)
            rules.append(
                _alert(
                    name,
                    f"max by ({by}) (\n    {union}\n)",
                    options,
                    wait="10m",
                    keep="6h",
                    severity=severity,
                    layer="drift",
                    action="retrain" if severity == "critical" else "",
                    feature=True,
                    summary=summary,
                    description=distance.format(spans=spans, severity=severity),
                )
            )
    return rules


def _missing(options: RuleOptions) -> list[Rule]:
    fast, slow = options.pairs[0]
    rules = []
    for severity in SEVERITIES:
        limit = n.selector(n.MISSING_THRESHOLD, severity=severity)
        rise = {w: f"({n.selector(n.MISSING_RATIO, window=w)} - on ({n.FEATURE}) {n.REFERENCE_MISSING})" for w in (fast, slow)}
        ratio, rows = n.selector(n.MISSING_RATIO, window=fast), n.selector(n.FEATURE_ROWS, window=fast)
        rules.append(
            _alert(
                "MlmonFeatureMissing",
                f"""
({rise[slow]} > on ({n.FEATURE}) {limit})
and on ({n.FEATURE})
  ({rise[fast]} > on ({n.FEATURE}) {limit})
and on ({n.FEATURE})
  ({rise[fast]} > on ({n.FEATURE}) {MISSING_SIGMAS:g} * sqrt({ratio} * (1 - {ratio}) / on ({n.FEATURE}) ({rows} > 0)))
and on ({n.FEATURE})
  ({rows} >= on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, statistic="min_samples")})""",
                options,
                wait="5m",
                keep="15m",
                severity=severity,
                layer="data_quality",
                feature=True,
                summary=f"Feature {_FEATURE} of {_WHO} is missing more often than in training.",
                description=f"Over {slow} {_SHARE} more of its values are missing than in training, and still in the last {fast}.",
            )
        )
    return rules


def _share(
    name: str, recorded: str, events: str, statistic: str, options: RuleOptions, *, layer: str, summary: str, description: str
) -> list[Rule]:
    """Alerts on a share of rows that ask for a few such rows, too."""
    by = f"{n.MODEL}, {'check' if recorded == n.VIOLATION_RATIO else 'reason'}"
    return [
        _alert(
            name,
            f"""
(max by ({by}) ({n.selector(recorded, window=QUALITY_WINDOW)}) > on ({n.MODEL}) group_left () {_threshold(statistic, severity)})
and on ({by})
  (sum_over_time({events}[{options.span(QUALITY_WINDOW)}]) >= {MIN_EVENTS})""",
            options,
            wait="5m",
            keep="15m",
            severity=severity,
            layer=layer,
            summary=summary,
            description=description,
        )
        for severity in SEVERITIES
    ]


def _violations(options: RuleOptions) -> list[Rule]:
    return _share(
        "MlmonSchemaViolations",
        n.VIOLATION_RATIO,
        n.VIOLATION_INCREMENT,
        "schema_violation_ratio",
        options,
        layer="data_quality",
        summary=f"Rows sent to {_WHO} break its schema ({{{{ $labels.check }}}}).",
        description=f"A share of {_SHARE} of the rows of the last {QUALITY_WINDOW} fails the check {{{{ $labels.check }}}}.",
    )


def _dropped(options: RuleOptions) -> list[Rule]:
    return _share(
        "MlmonRowsDropped",
        n.DROPPED_RATIO,
        n.DROPPED_INCREMENT,
        "rows_dropped_ratio",
        options,
        layer="meta",
        summary=f"Rows of {_WHO} go uncounted ({{{{ $labels.reason }}}}).",
        description=f"A share of {_SHARE} of the rows of the last {QUALITY_WINDOW} was dropped before it was counted: "
        "statistics rest on the remainder.",
    )


def _errors(options: RuleOptions) -> list[Rule]:
    fast, slow = SERVING_WINDOWS
    calls = f"sum by ({n.MODEL}) (sum_over_time({n.CALL_INCREMENT}[{options.span(fast)}]))"
    rules = []
    for severity in SEVERITIES:
        limit = _threshold("error_ratio", severity)
        rules.append(
            _alert(
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
                summary=f"Calls of {_WHO} fail.",
                description=f"A share of {_SHARE} of the calls of the last {slow} raised, and the last {fast} is no better.",
            )
        )
    return rules


def _latency(options: RuleOptions) -> list[Rule]:
    fast = SERVING_WINDOWS[0]
    calls = f"sum by ({n.MODEL}) (sum_over_time({n.CALL_INCREMENT}[{options.span(fast)}]))"
    return [
        _alert(
            "MlmonLatencyHigh",
            f"""
({n.LATENCY} > on ({n.MODEL}) {_threshold("latency_p99", severity)})
and on ({n.MODEL})
  ({calls} >= {MIN_CALLS_P99})""",
            options,
            wait="10m",
            keep="10m",
            severity=severity,
            layer="serving",
            summary=f"{_WHO} answers slowly.",
            description=f"The 99th percentile of its calls' duration is {_SHARE} s over {fast}.",
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
    return _alert(
        "MlmonNoTraffic",
        f"""
(
  sum by ({n.MODEL}) (sum_over_time({n.CALL_INCREMENT}[{day}]))
    >= on ({n.MODEL}) {n.selector(n.THRESHOLD, statistic="min_samples")}
)
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
        summary=f"{_WHO} is up but predicts nothing.",
        description='No row was predicted in the last 1h, after {{ $value | printf "%.0f" }} calls in the last 1d.',
    )
