"""Recording rules of data quality and serving: shares of missing values, bad rows, dropped rows and errors; latency."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.thresholds import SEVERITIES
from otel_mlmon.bundle.yaml_text import Rule, record

SERVING_WINDOWS = ("5m", "1h")
"""Fast and slow window of the alert on errors; the fast one is the latency's."""

QUALITY_WINDOW = "1h"
"""Window of bad and dropped rows."""


def quality(options: RuleOptions) -> list[Rule]:
    """Shares of missing values per feature, of rows that break the schema and of rows dropped.

    Args:
        options: The first pair of windows is that of the missing values.

    Returns:
        Rules in order of dependency, behind those of increments and windows.
    """
    rules = []
    for window in options.pairs[0]:
        count, span = n.selector(n.COUNT, window=window), options.span(window)
        missing, invalid = (f"sum_over_time({name}[{span}])" for name in (n.MISSING_INCREMENT, n.INVALID_INCREMENT))
        none = f"or on ({n.FEATURE}) {count} * 0"
        rows = f"{count}\n  + on ({n.FEATURE}) ({missing} {none})\n  + on ({n.FEATURE}) ({invalid} {none})"
        rules.append(record(n.FEATURE_ROWS, rows, window=window))
        ratio = f"{missing}\n  / on ({n.FEATURE}) ({n.selector(n.FEATURE_ROWS, window=window)} > 0)"
        rules.append(record(n.MISSING_RATIO, ratio, window=window))
    for severity in SEVERITIES:
        where = {"statistic": "missing_ratio", "severity": severity}
        of_feature = f"max by ({n.FEATURE}) ({n.selector(n.FEATURE_THRESHOLD, **where)})"
        of_model = f"{n.REFERENCE_MISSING} * 0 + on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, **where)}"
        rules.append(record(n.MISSING_THRESHOLD, f"{of_feature}\nor\n  {of_model}", severity=severity))
    span = options.span(QUALITY_WINDOW)
    rows, bad, dropped = (
        f"sum_over_time({name}[{span}])" for name in (n.PREDICTION_INCREMENT, n.VIOLATION_INCREMENT, n.DROPPED_INCREMENT)
    )
    return [
        *rules,
        # Rows whose call failed are bad without being predicted: then the share is 1.
        record(
            n.VIOLATION_RATIO,
            f"clamp_max({bad} / on ({n.MODEL}) group_left () ({rows} > 0), 1)\nor\n  ({bad} > bool 0) > 0",
            window=QUALITY_WINDOW,
        ),
        record(
            n.DROPPED_RATIO,
            f"{dropped} / (({dropped} + on ({n.MODEL}) group_left () {rows}) > 0)",
            window=QUALITY_WINDOW,
        ),
    ]


def serving(options: RuleOptions) -> list[Rule]:
    """Share of failed calls, and latency.

    Args:
        options: Interval and time scale.

    Returns:
        Rules behind those of increments.
    """
    rules = []
    for window in SERVING_WINDOWS:
        span = options.span(window)
        failed = f"sum by ({n.MODEL}) (sum_over_time({n.selector(n.CALL_INCREMENT, status='error')}[{span}]))"
        ended = f"sum by ({n.MODEL}) (sum_over_time({n.selector(n.CALL_INCREMENT, status='=~ok|error')}[{span}]))"
        rules.append(record(n.ERROR_RATIO, f"{failed}\n  / on ({n.MODEL}) ({ended} > 0)", window=window))
    buckets = f"{catalog.CALL_DURATION.prometheus_name}_bucket[{options.rate_range(SERVING_WINDOWS[0])}]"
    # Without calls the quantile is NaN, which is not >= 0.
    latency = f"histogram_quantile(0.99, sum by ({n.MODEL}, le) (rate({buckets}))) >= 0"
    return [*rules, record(n.LATENCY, latency)]
