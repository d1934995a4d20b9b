"""One alert as a rule: names, labels, waiting times and the texts and addresses that people get."""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule

WHO = "{{ $labels.model_name }} {{ $labels.model_version }}"
FEATURE = "{{ $labels.feature }}"
SHARE = '{{ $value | printf "%.3f" }}'


def alert(
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
    """An alert.

    Args:
        name: In CamelCase; in lower case the anchor of its runbook.
        expression: What must hold, PromQL.
        options: Scale of the waiting times, addresses.
        wait: How long it must hold before the alert fires.
        keep: How long the alert fires on once it no longer holds: its hysteresis.
        severity: ``warning`` or ``critical``.
        layer: ``drift``, ``data_quality``, ``serving`` or ``meta``.
        summary: One sentence, a template of Prometheus.
        description: What is measured, likewise.
        action: What to start, for Alertmanager's routes; empty for nothing.
        feature: Whether it is about one feature: then the dashboard opens on it.

    Returns:
        A rule for ``yaml_text.rule_file``.
    """
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


def threshold(statistic: str, severity: str) -> str:
    """The model's threshold of a statistic."""
    return n.selector(n.THRESHOLD, statistic=statistic, severity=severity)


def enough(samples: str) -> str:
    """The sample guard: ``min_samples`` of the model, whatever the severity."""
    return f"({samples} >= on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, statistic='min_samples')})"
