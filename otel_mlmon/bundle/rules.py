"""The rule files for Prometheus: recording rules and alerts, by options."""

from otel_mlmon.bundle.alerts import alert_groups
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.recording import recording_rules
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
    # One group: its rules run one after the other, each on what those before it just recorded.
    recording = {"mlmon-model.rules": recording_rules(options)}
    return {
        RECORDING_FILE: rule_file(recording, interval=options.interval, header=_HEADER),
        ALERTS_FILE: rule_file(alert_groups(options), interval=options.interval, header=_HEADER),
    }
