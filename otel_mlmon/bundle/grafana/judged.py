"""Values against the thresholds that the rules have recorded: a model's or a feature's own, not only the shipped ones."""

from typing import TypeVar

from grafana_foundation_sdk.builders import common, stat, timeseries
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm

from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, WARNING
from otel_mlmon.bundle.grafana.queries import query

_LIMITS = {"warning": WARNING, "critical": CRITICAL}
_DASHES = [10, 6]

THEN = "#8e8e9e"
"""Of what was before: the training data."""

Limited = TypeVar("Limited", timeseries.Panel, stat.Panel)


def judged(
    title: str, about: str, unit: str, value: str, over: dict[str, str], *, by: str = "", width: int = 4, height: int = 4
) -> stat.Panel:
    """The worst of some values, on the colour of the thresholds that it exceeds: its own, as the alerts compare it.

    Args:
        title, about, unit, width, height: As of ``panels.number``.
        value: Values, none of them below 0.
        over: Severity -> those values that exceed their threshold.
        by: A label that names what is at fault, beside its value; empty for none.
    """
    named = f"{{{{{by}}}}}" if by else ""
    worst = {severity: f"topk(1, {exceeding})" if by else f"max({exceeding})" for severity, exceeding in over.items()}
    queries = [
        query(f"max({value}) unless on () ({over['warning']})", "greatest" if by else "", instant=True),
        query(f"{worst['warning']} unless on () ({over['critical']})", named, instant=True),
        query(worst["critical"], named, instant=True),
    ]
    panel = p.number(title, about, unit, queries, width=width, height=height)
    for reference, colour in zip("ABC", (FINE, WARNING, CRITICAL), strict=True):
        panel = panel.override_by_query(reference, [_property("color", {"mode": "fixed", "fixedColor": colour})])
    panel = panel.color_mode(cm.BigValueColorMode.BACKGROUND_SOLID)
    return panel.text_mode(cm.BigValueTextMode.VALUE_AND_NAME) if by else panel


def against(
    title: str, about: str, unit: str, values: p.Queries, limits: str, *, width: int = 12, height: int = 8
) -> timeseries.Panel:
    """Lines over time with the thresholds that hold for them, dashed.

    Args:
        title, about, unit, width, height: As of ``panels.graph``.
        values: Of ranges.
        limits: Thresholds, with the label ``severity``; the least of each is drawn.
    """
    lines = query(f"min by (severity) ({limits})", "{{severity}} limit")
    return dashed(p.graph(title, about, unit, [*values, lines], width=width, height=height))


def dashed(panel: timeseries.Panel) -> timeseries.Panel:
    """Lines called "warning limit" and "critical limit" in their colours, dashed; the legend has room for the others."""
    style = {"fill": "dash", "dash": _DASHES}
    for severity, colour in _LIMITS.items():
        looks = {
            "color": {"mode": "fixed", "fixedColor": colour},
            "custom.lineStyle": style,
            "custom.lineWidth": 1,
            "custom.hideFrom": {"legend": True, "tooltip": False, "viz": False},
        }
        panel = panel.override_by_name(f"{severity} limit", [_property(key, value) for key, value in looks.items()])
    return panel


def compared(panel: timeseries.Panel, pattern: str) -> timeseries.Panel:
    """Lines whose name matches are what others are compared with: dashed, grey."""
    looks = {
        "color": {"mode": "fixed", "fixedColor": THEN},
        "custom.lineStyle": {"fill": "dash", "dash": [4, 6]},
    }
    return panel.override_by_regexp(f"/{pattern}/", [_property(key, value) for key, value in looks.items()])


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """An axis on which milliseconds and a threshold of seconds are both legible."""
    return panel.scale_distribution(common.ScaleDistributionConfig().type(cm.ScaleDistribution.LOG).log(10))


def _property(name: str, value: object) -> dm.DynamicConfigValue:
    return dm.DynamicConfigValue(id_val=name, value=value)
