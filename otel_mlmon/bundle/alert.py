"""One alert as a rule: names, labels, waiting times and the texts and addresses that people get."""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule

WHO = "{{ $labels.model_name }}{{ with $labels.model_version }} {{ . }}{{ end }}"
FEATURE = "{{ $labels.feature }}"
SHARE = '{{ $value | printf "%.3f" }}'
COUNT = '{{ $value | printf "%.0f" }}'

BOARDS = {
    "serving": "mlmon-model",
    "data_quality": "mlmon-data-quality",
    "drift": "mlmon-drift",
    "lifecycle": "mlmon-model",
    "meta": "mlmon-meta",
}
"""Layer -> dashboard that shows why its alerts fire."""


def alert(
    name: str,
    expression: str,
    options: RuleOptions,
    *,
    wait: str = "",
    keep: str = "",
    severity: str,
    layer: str,
    summary: str,
    description: str,
    about: tuple[str, ...] = n.MODEL_LABELS,
    **labels: str,
) -> Rule:
    """An alert.

    Args:
        name: In CamelCase; in lower case the anchor of its runbook.
        expression: What must hold, PromQL.
        options: Scale of the waiting times, addresses.
        wait: How long it must hold before the alert fires; empty: not at all.
        keep: How long the alert fires on once it no longer holds: its hysteresis; empty: not at all.
        severity: ``warning`` or ``critical``; ``info`` is recorded only; ``none`` is for machines.
        layer: One of ``BOARDS``.
        summary: One sentence, a template of Prometheus.
        description: What is measured, likewise.
        about: Which of model, version and feature the expression's labels name: the dashboard opens on them.
        labels: Further labels, for Alertmanager's routes.

    Returns:
        A rule for ``yaml_text.rule_file``.
    """
    query = "&".join(f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in about)
    times = {"for": wait, "keep_firing_for": keep}
    return {
        "alert": name,
        "expr": expression.strip("\n"),
        **{key: options.scaled(time) for key, time in times.items() if time},
        "labels": {"severity": severity, "layer": layer, **labels},
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": f"{options.runbook_base}#{name.lower()}",
            "dashboard_url": f"{options.dashboard_base.rstrip('/')}/d/{BOARDS[layer]}" + (f"?{query}" if query else ""),
        },
    }


def threshold(statistic: str, severity: str) -> str:
    """The model's threshold of a statistic."""
    return n.selector(n.THRESHOLD, statistic=statistic, severity=severity)


def single(statistic: str) -> str:
    """The model's threshold of a statistic that has one for all severities."""
    return n.selector(n.THRESHOLD, statistic=statistic)


def enough(samples: str) -> str:
    """The sample guard: ``min_samples`` of the model, whatever the severity."""
    return f"({samples} >= on ({n.MODEL}) group_left () {single('min_samples')})"
