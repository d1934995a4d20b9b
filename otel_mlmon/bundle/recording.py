"""Recording rules: from the counters of a fleet to increments, windows and thresholds of its models.

Source of the expressions: fleet increments are telescoping differences, so sums over any window are exact (design.md §6). They
are tested against numpy and SciPy on the same counts on real Prometheus.
"""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.drift_rules import drift
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.quality_rules import quality, serving
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.thresholds import SEVERITIES, SHIPPED

MEMORY = "1h"
"""How long a model and its reference are remembered after the last replica was seen, real time."""


def recording_rules(options: RuleOptions) -> list[Rule]:
    """The rules of a model that alerts rest on, in order of dependency; all belong in one group.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [
        *_replicas(options),
        *_increments(options),
        *_thresholds(options),
        *drift(options),
        *quality(options),
        *serving(options),
    ]


def _now(selector: str, options: RuleOptions) -> str:
    offset = f" offset {options.delay}" if milliseconds(options.delay) else ""
    return f"last_over_time({selector}[{options.lookback}]{offset})"


def _before(selector: str, options: RuleOptions) -> str:
    offset = duration(milliseconds(options.interval) + milliseconds(options.delay))
    return f"last_over_time({selector}[{options.lookback}] offset {offset})"


def _replicas(options: RuleOptions) -> list[Rule]:
    start = catalog.START_TIME.prometheus_name
    now, before = _now(start, options), _before(start, options)
    # Whatever started earlier and was scraped would show in `before`.
    recent = (milliseconds(options.lookback) + milliseconds(options.interval) + milliseconds(options.delay)) / 1000
    return [
        record(n.STEADY, f"{now} == ignoring () {before}"),
        # Of those that (re)started since the previous evaluation all that their counters hold is new.
        record(n.COUNTED, f"{n.STEADY} or ignoring () ({now} > time() - {recent:g})"),
        record(n.KNOWN, f"group by ({n.MODEL}) (last_over_time({start}[{MEMORY}]))"),
    ]


def _increment(
    name: str, family: MetricFamily, keep: tuple[str, ...], options: RuleOptions, *, suffix: str = "", **where: str
) -> Rule:
    """Exact increment of the fleet's counter over one interval: no extrapolation; a vanished replica adds nothing.

    Sums first, differences then: most work is per series of a replica, and a sum is cheaper than a difference.
    """
    selector = n.selector(family.prometheus_name + suffix, **where)
    own = ", ".join((*n.further_labels(family), *(("le",) if suffix else ())))
    by = ", ".join((*n.MODEL_LABELS, *keep))
    now = f"sum by ({by}) ({_now(selector, options)} and ignoring ({own}) {n.COUNTED})"
    return record(
        name,
        f"""
clamp_min(
  sum by ({by}) (
      {n.tagged(now, "now")}
    or
      -sum by ({by}) ({_before(selector, options)} and ignoring ({own}) {n.STEADY})
  ),
  0
)""",
    )


def _increments(options: RuleOptions) -> list[Rule]:
    pair = ("feature", "target", "space", "moment")
    return [
        _increment(n.BIN_INCREMENT, catalog.FEATURE_BIN, ("feature", "bin"), options),
        _increment(n.MOMENT_INCREMENT, catalog.FEATURE_MOMENT, pair, options),
        _increment(n.VALUE_INCREMENT, catalog.FEATURE_VALUE, ("feature", "le"), options, suffix="_bucket"),
        _increment(n.MISSING_INCREMENT, catalog.FEATURE_MISSING, ("feature",), options),
        _increment(n.INVALID_INCREMENT, catalog.FEATURE_INVALID, ("feature",), options),
        _increment(n.OUTLIERS_INCREMENT, catalog.FEATURE_OUTLIERS, ("feature",), options),
        _increment(n.OUT_OF_RANGE_INCREMENT, catalog.FEATURE_OUT_OF_RANGE, ("feature",), options),
        _increment(n.VIOLATION_INCREMENT, catalog.SCHEMA_VIOLATIONS, ("check",), options),
        _increment(n.PREDICTION_INCREMENT, catalog.PREDICTIONS, (), options),
        _increment(n.DROPPED_INCREMENT, catalog.ROWS_DROPPED, ("reason",), options),
        _increment(n.CALL_INCREMENT, catalog.CALLS, ("status",), options),
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
        if statistic == "min_samples":  # a guard, the same for every severity
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
