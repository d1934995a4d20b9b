"""Recording rules in two groups: of serving, at every interval, and of drift, data quality and statistics, at their own pace."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.drift_rules import drift
from otel_mlmon.bundle.increments import Pace
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import bad_rows, exceeded, share_thresholds, shares
from otel_mlmon.bundle.reference_rules import reference
from otel_mlmon.bundle.serving_rules import serving
from otel_mlmon.bundle.statistics_rules import statistics
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import SEVERITIES, SHIPPED, SINGLE

MEMORY = "1h"
"""How long a model and its reference are remembered after the last replica was seen, real time."""


def serving_group(options: RuleOptions) -> list[Rule]:
    """Models and their replicas, thresholds, calls and rows, in order of dependency; all other groups read them.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        Rules of a group that is evaluated at every ``interval``.
    """
    pace = Pace("serving", options.interval, options)
    return [
        *pace.replicas(),
        record(n.KNOWN, f"group by ({n.MODEL}) (last_over_time({catalog.START_TIME.prometheus_name}[{MEMORY}]))"),
        pace.increment(n.VIOLATION_INCREMENT, catalog.SCHEMA_VIOLATIONS, ("check",)),
        pace.increment(n.PREDICTION_INCREMENT, catalog.PREDICTIONS),
        pace.increment(n.DROPPED_INCREMENT, catalog.ROWS_DROPPED, ("reason",)),
        pace.increment(n.CALL_INCREMENT, catalog.CALLS, ("status",)),
        *_thresholds(options),
        *bad_rows(options),
        *serving(options),
    ]


def drift_group(options: RuleOptions) -> list[Rule]:
    """The reference, values per bin, drift, shares of bad values, and all that is for eyes, in order of dependency.

    Args:
        options: Windows, pairs, intervals.

    Returns:
        Rules of a group that is evaluated at every ``pace``.
    """
    pace = Pace("drift", options.pace, options)
    return [
        *reference(options),
        *pace.replicas(),
        pace.increment(n.BIN_INCREMENT, catalog.FEATURE_BIN, ("feature", "bin")),
        pace.increment(n.MISSING_INCREMENT, catalog.FEATURE_MISSING, ("feature",)),
        pace.increment(n.INVALID_INCREMENT, catalog.FEATURE_INVALID, ("feature",)),
        pace.increment(n.OUTLIERS_INCREMENT, catalog.FEATURE_OUTLIERS, ("feature",)),
        pace.increment(n.OUT_OF_RANGE_INCREMENT, catalog.FEATURE_OUT_OF_RANGE, ("feature",)),
        pace.increment(n.MOMENT_INCREMENT, catalog.FEATURE_MOMENT, ("feature", "target", "space", "moment")),
        pace.increment(n.VALUE_INCREMENT, catalog.FEATURE_VALUE, ("feature", "le"), suffix="_bucket"),
        *drift(options),
        *shares(options),
        *share_thresholds(options),
        *exceeded(options),
        *statistics(options),
    ]


def _thresholds(options: RuleOptions) -> list[Rule]:
    said = catalog.THRESHOLD.prometheus_name
    by = f"{n.MODEL}, statistic, severity, feature"
    start = catalog.START_TIME.prometheus_name
    rules = [
        # What the replicas say now; while none is up, what they said last.
        record(
            n.THRESHOLD_SET,
            f"max by ({by}) ({said})\nor\n  (max by ({by}) (last_over_time({said}[{MEMORY}])) unless on ({n.MODEL}) {start})",
        )
    ]
    for statistic, severity in SHIPPED:
        where = {"statistic": statistic, "severity": severity, "feature": ""}
        labels = {"statistic": statistic, "severity": severity}
        if statistic in SINGLE:  # the same for every severity
            del where["severity"], labels["severity"]
        default = f"{n.KNOWN} * {options.threshold(statistic, severity):.12g}"
        if severity == "critical":
            # Whoever raises the warning alone is not paged below it.
            warning = n.selector(n.THRESHOLD, statistic=statistic, severity="warning")
            default = f"clamp_min({warning}, {options.threshold(statistic, severity):.12g})"
        in_code = f"max by ({n.MODEL}) ({n.selector(n.THRESHOLD_SET, **where)})"
        rules.append(record(n.THRESHOLD, f"{in_code}\nor on ({n.MODEL})\n  {default}", **labels))
    by = f"{n.FEATURE}, statistic"
    for severity in SEVERITIES:
        in_code = f"max by ({by}) ({n.selector(n.THRESHOLD_SET, severity=severity, feature='!=')})"
        if severity == "critical":
            of_model = n.selector(n.THRESHOLD, severity="critical")
            warning = n.selector(n.FEATURE_THRESHOLD, severity="warning")
            in_code += f"\nor on ({by})\n  ({warning} > on ({n.MODEL}, statistic) group_left () {of_model})"
        rules.append(record(n.FEATURE_THRESHOLD, in_code, severity=severity))
    return rules
