"""The rule files for Prometheus: recording rules and alerts, by options."""

from otel_mlmon.bundle.alerts import alert_groups
from otel_mlmon.bundle.history_rules import history_interval, history_rules
from otel_mlmon.bundle.holding import holding
from otel_mlmon.bundle.lifecycle_rules import lifecycle
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.recording import drift_group, serving_group
from otel_mlmon.bundle.state_rules import state
from otel_mlmon.bundle.variation_rules import variation
from otel_mlmon.bundle.yaml_text import Group, rule_file

__all__ = ["ALERTS_FILE", "HEADER", "RECORDING_FILE", "RuleOptions", "render", "rule_groups"]

RECORDING_FILE = "mlmon.rules.yml"
ALERTS_FILE = "mlmon.alerts.yml"

HEADER = "Written by `otel-mlmon rules`; do not edit: set thresholds in code (Threshold) or by its options."


def render(options: RuleOptions) -> dict[str, str]:
    """The rule files.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        YAML text by file name. Both files belong into ``rule_files`` of one Prometheus: the alerts read what the other records.

    >>> sorted(render(RuleOptions()))
    ['mlmon.alerts.yml', 'mlmon.rules.yml']
    """
    return {name: rule_file(groups, header=HEADER) for name, groups in rule_groups(options).items()}


def rule_groups(options: RuleOptions) -> dict[str, list[Group]]:
    """The groups of the rule files.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        Groups by file name, both in the order in which they build upon each other.
    """
    # Within a group the rules run one after the other, each on what those before it just recorded. What is for eyes and what stands
    # still is recorded less often.
    soon = options.alert_interval
    drift, latest = holding(drift_group(options), options)
    recording = [
        Group("mlmon-serving.rules", options.interval, tuple(serving_group(options))),
        Group("mlmon-drift.rules", options.pace, tuple(drift)),
        *([Group("mlmon-latest.rules", soon, tuple(latest))] if latest else []),
        Group("mlmon-variation.rules", soon, tuple(variation(options))),
        Group("mlmon-history.rules", history_interval(options), tuple(history_rules(options))),
        Group("mlmon-state.rules", options.interval, (*lifecycle(options), *state(options))),
    ]
    intervals = dict.fromkeys(("mlmon-drift.alerts", "mlmon-data_quality.alerts"), soon)
    alerting = [Group(name, intervals.get(name, options.interval), tuple(rules)) for name, rules in alert_groups(options).items()]
    return {RECORDING_FILE: recording, ALERTS_FILE: alerting}
