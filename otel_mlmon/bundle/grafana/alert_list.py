"""The alerts that fire, as a table that leads to the evidence and to what to do."""

from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import units

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alerts import alert_groups
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import CRITICAL, PLAIN, WARNING, words
from otel_mlmon.bundle.grafana.frame import Panel
from otel_mlmon.bundle.grafana.queries import began, firing, query, warning
from otel_mlmon.bundle.grafana.tables import arranged, column, link
from otel_mlmon.bundle.options import RuleOptions

BOARDS = {"serving|lifecycle": "mlmon-model", "data_quality": "mlmon-data-quality", "drift": "mlmon-drift", "meta": "mlmon-meta"}
"""Layers -> the dashboard that shows what their alerts are about."""

_FURTHER = ("check", "reason", "where", "target", "cause", "rule_group", "instance")
"""Labels of which an alert has one or two, besides the feature: its detail."""

_SEVERITIES = words(("critical", "critical", CRITICAL), ("warning", "warning", WARNING))


def alert_list(options: RuleOptions, *, layer: str = "", width: int = 24, height: int = 8) -> Panel:
    """What fires now, critical first.

    Args:
        options: Address of the runbooks.
        layer: The only layer shown, or several with ``|`` between; empty for all.
        width, height: As of ``panels.graph``.
    """
    panel = p.rows(
        "Firing alerts",
        "What fires now, critical first; a warning whose critical alert fires, too, is left out. *Since*: when the condition began "
        "to hold. A click on the feature or on *Dashboard* shows the evidence, "
        "on *Runbook* what to do. No row: nothing fires, or no rules are loaded.",
        [query(_expression(layer), table=True)],
        width=width,
        height=height,
    ).no_value("nothing fires, if the rules are loaded: see Watchdog in Monitoring itself")
    renamed = {
        "severity": "Severity",
        "alertname": "Alert",
        "model_name": "Model",
        "feature": "Feature",
        "Value": "Since",
        "board": "Dashboard",
        "anchor": "Runbook",
        "model_version": "Version",
        "detail": "Detail",
    }
    panel = arranged(panel, renamed=renamed, hidden=("layer", *_FURTHER))
    of_model = {"model_name": "Model", "model_version": "Version"}
    evidence = link("Evidence", "${__data.fields.Dashboard}", **of_model)
    of_feature = link("Evidence", "${__data.fields.Dashboard}", **of_model, feature="Feature")
    runbook = {"title": "open", "url": f"{options.runbook_base}#${{__value.text}}", "targetBlank": True}
    panel = column(panel, "Severity", mapping=_SEVERITIES, coloured=True, width=80)
    panel = column(panel, "Alert", width=200)
    panel = column(panel, "^(Model|Version|Detail)$", pattern=True, custom_minWidth=100)
    panel = column(panel, "Feature", links=[of_feature], custom_minWidth=120)
    panel = column(panel, "Since", unit=units.DateTimeFromNow, mapping=words(("0", "not known", PLAIN)), width=110)
    panel = column(panel, "Dashboard", links=[evidence], width=165)
    panel = column(
        panel, "Runbook", mapping=_anchors(options), links=[runbook], width=80, custom_cellOptions={"type": "data-links"}
    )
    return panel.sort_by([p.sorted_by("Severity"), p.sorted_by("Since", descending=True)])


def _expression(layer: str) -> str:
    """When each began, in milliseconds, with its dashboard, its runbook and what it is about besides a feature."""
    where = {"layer": f"=~{layer}"} if layer else {}
    alerts = f"{firing(severity='critical', **where)}\n  or\n{warning(**where)}"
    labels = ", ".join(("alertname", "severity", "layer", *n.FEATURE_LABELS, *_FURTHER))
    # Not every ruler keeps when an alert began; that it fires must show all the same.
    expression = f"max by ({labels}) (\n{began(alerts, **where)}\nor ignoring (alertstate)\n({alerts}) * 0\n) * 1000"
    for label in n.MODEL_LABELS:  # a link with an empty variable would open a dashboard without data
        expression = f'label_replace({expression}, "{label}", "All", "{label}", "")'
    for layers, uid in BOARDS.items():
        expression = f'label_replace({expression}, "board", "{uid}", "layer", "{layers}")'
    expression = f'label_replace({expression}, "anchor", "$1", "alertname", "(.*)")'
    return f'label_join({expression}, "detail", " ", {", ".join(map(_quoted, _FURTHER))})'


def _anchors(options: RuleOptions) -> dm.ValueMap:
    """A heading's anchor is in lower case, as GitHub makes them; Grafana has no format for that."""
    names = sorted({str(rule["alert"]) for rules in alert_groups(options).values() for rule in rules})
    return words(*((name, name.lower(), PLAIN) for name in names))


def _quoted(text: str) -> str:
    return f'"{text}"'
