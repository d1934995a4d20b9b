"""Recording rules: from the counters of a fleet to increments, windows and thresholds of its models.

Source of the expressions: fleet increments are telescoping differences, so sums over any window are exact (design.md §6). They
are tested against numpy and SciPy on the same counts on real Prometheus.
"""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.drift_rules import drift
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.quality_rules import quality, serving
from otel_mlmon.bundle.thresholds import SEVERITIES, SHIPPED
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.catalog import MetricFamily

MEMORY = "1h"
"""How long a model and its reference are remembered after the last replica was seen, real time."""


def recording_rules(options: RuleOptions) -> list[Rule]:
    """Every recording rule, in order of dependency; all belong in one group.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [
        *_replicas(options),
        *_increments(options),
        *_references(options),
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
        # Replicas that (re)started since the previous evaluation: all that their counters hold is new.
        record(n.FRESH, f"({now} > time() - {recent:g})\n  unless ignoring () ({before} == {now})"),
        record(n.KNOWN, f"group by ({n.MODEL}) (last_over_time({start}[{MEMORY}]))"),
    ]


def _increment(name: str, family: MetricFamily, keep: tuple[str, ...], options: RuleOptions, **where: str) -> Rule:
    """Exact increment of the fleet's counter over one interval: no extrapolation; a vanished replica adds nothing."""
    selector = n.selector(family.prometheus_name, **where)
    now, before = _now(selector, options), _before(selector, options)
    by = ", ".join((*n.MODEL_LABELS, *keep))
    return record(
        name,
        f"""
sum by ({by}) (
    ({now} and ignoring ({", ".join(n.further_labels(family))}) {n.FRESH})
  or
    clamp_min({now} - {before}, 0)
)""",
    )


def _increments(options: RuleOptions) -> list[Rule]:
    return [
        _increment(n.BIN_INCREMENT, catalog.FEATURE_BIN, ("feature", "bin"), options),
        _increment(
            n.MOMENT_INCREMENT, catalog.FEATURE_MOMENT, ("feature", "moment"), options, target="", space="z", moment="=~n|f"
        ),
        _increment(n.MISSING_INCREMENT, catalog.FEATURE_MISSING, ("feature",), options),
        _increment(n.INVALID_INCREMENT, catalog.FEATURE_INVALID, ("feature",), options),
        _increment(n.VIOLATION_INCREMENT, catalog.SCHEMA_VIOLATIONS, ("check",), options),
        _increment(n.PREDICTION_INCREMENT, catalog.PREDICTIONS, (), options),
        _increment(n.DROPPED_INCREMENT, catalog.ROWS_DROPPED, ("reason",), options),
        _increment(n.CALL_INCREMENT, catalog.CALLS, ("status",), options),
    ]


def _copy(name: str, family: MetricFamily, expression: str, options: RuleOptions) -> Rule:
    """What the reference says, once for the fleet; it outlives gaps while any replica of the model is remembered."""
    back = duration(milliseconds(options.interval) / 2)
    return record(
        name,
        f"""
{expression}
or
  (
    last_over_time({name}[{options.lookback}] offset {back})
      and on ({n.MODEL}) {n.KNOWN}
      unless on ({n.FEATURE}) {family.prometheus_name}
  )""",
    )


def _references(options: RuleOptions) -> list[Rule]:
    weight = catalog.REFERENCE_BIN_WEIGHT.prometheus_name
    covered = "|".join(f"{index:02d}" for index in range(options.max_bins - 1))
    weights = f"""\
max by ({n.FEATURE}, bin) (label_replace({weight}, "bin", "$1", "bin", "([0-9][0-9]) .*"))
  unless on ({n.FEATURE}) {n.selector(weight, bin=f"!~({covered}) .*")}"""
    rules = [_copy(n.REFERENCE_WEIGHT, catalog.REFERENCE_BIN_WEIGHT, weights, options)]
    for name, family in (
        (n.REFERENCE_COUNT, catalog.REFERENCE_BIN_COUNT),
        (n.REFERENCE_NOISE, catalog.REFERENCE_NOISE),
        (n.REFERENCE_LEVEL, catalog.REFERENCE_THRESHOLD),
        (n.REFERENCE_MISSING, catalog.REFERENCE_MISSING),
    ):
        by = ", ".join(family.prometheus_labels)
        rules.append(_copy(name, family, f"max by ({by}) ({family.prometheus_name})", options))
    return rules


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
