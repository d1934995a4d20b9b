"""The rule files for Prometheus: recording rules and alerts, by options."""

from otel_mlmon.bundle.alerts import alert_groups
from otel_mlmon.bundle.history_rules import history_interval, history_rules
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.recording import recording_rules
from otel_mlmon.bundle.reference_rules import reference_rules
from otel_mlmon.bundle.statistics_rules import statistics_rules
from otel_mlmon.bundle.yaml_text import rule_file

__all__ = ["ALERTS_FILE", "RECORDING_FILE", "RuleOptions", "render"]

RECORDING_FILE = "mlmon.rules.yml"
ALERTS_FILE = "mlmon.alerts.yml"

_HEADER = "Written by `otel-mlmon rules`; do not edit: set thresholds in code (Threshold) or by its options."


def render(options: RuleOptions) -> dict[str, str]:
    """The rule files.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        YAML text by file name. Both files belong into ``rule_files`` of one Prometheus: the alerts read what the other records.

    >>> sorted(render(RuleOptions()))
    ['mlmon.alerts.yml', 'mlmon.rules.yml']
    """
    # Within a group the rules run one after the other, each on what those before it just recorded. What stands still and what is
    # for eyes is recorded less often.
    recording = {
        "mlmon-reference.rules": reference_rules(options),
        "mlmon-model.rules": recording_rules(options),
        "mlmon-statistics.rules": statistics_rules(options),
        "mlmon-history.rules": history_rules(options),
    }
    intervals = dict.fromkeys(("mlmon-reference.rules", "mlmon-statistics.rules"), options.statistics_interval)
    intervals["mlmon-history.rules"] = history_interval(options)
    return {
        RECORDING_FILE: rule_file(recording, interval=options.interval, intervals=intervals, header=_HEADER),
        ALERTS_FILE: rule_file(alert_groups(options), interval=options.interval, header=_HEADER),
    }
