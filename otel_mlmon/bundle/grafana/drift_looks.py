"""Units, colours and words of the dashboard of drift."""

from collections.abc import Mapping
from typing import TypeVar

from grafana_foundation_sdk.builders import barchart, stat, timeseries
from grafana_foundation_sdk.models import dashboard as dm

from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, PLAIN, WARNING, steps, words
from otel_mlmon.bundle.grafana.drift_queries import CALM, DRIFTED, FEW, ONCE, PAGED

TIMES = "suffix:\N{MULTIPLICATION SIGN}"
NEAR = "yellow"
OVER = steps(FINE, (1.0, WARNING))
HALF_OR_OVER = steps("transparent", (0.5, NEAR), (1.0, WARNING))
"""Of a multiple of the warning threshold: one number; a column, which stays calm where nothing is."""

STATE_WORDS = words(
    (str(FEW), "not judged", PLAIN),
    (str(CALM), "calm", FINE),
    (str(ONCE), "over in one window", NEAR),
    (str(DRIFTED), "drifted", WARNING),
    (str(PAGED), "drifted, critical", CRITICAL),
)
LEVEL_WORDS = words(
    ("0", "below half", FINE), ("1", "above half", NEAR), ("2", "over warning", WARNING), ("3", "over critical", CRITICAL)
)

THEN, BEFORE, NOW, OTHER = "#8e8e9e", "light-blue", "dark-blue", "purple"
"""Colours of the training data, of some time ago and of now; of what else needs one."""

DASHED, DOTTED = (8, 6), (2, 6)

_Panel = TypeVar("_Panel", barchart.Panel, stat.Panel, timeseries.Panel)


def drawn(
    panel: _Panel,
    name: str,
    *,
    color: str = "",
    dash: tuple[int, int] | None = None,
    shown: str = "",
    width: int = 0,
    pattern: bool = False,
) -> _Panel:
    """How the series of a name is drawn.

    Args:
        panel: The panel.
        name: The series', or the column's; or what it matches.
        color: Its colour; the panel's if empty.
        dash: Lengths of dash and gap, pixels; None for a line without.
        shown: What the reader sees instead of the name.
        width: Of the line, pixels; the panel's if 0.
        pattern: Whether ``name`` is a regular expression.

    Returns:
        The panel.
    """
    properties: Mapping[str, object] = {
        "color": {"mode": "fixed", "fixedColor": color} if color else None,
        "custom.lineStyle": {"fill": "dash", "dash": list(dash)} if dash else None,
        "custom.fillOpacity": 0 if dash else None,
        "custom.lineWidth": width or None,
        "displayName": shown or None,
    }
    values = [dm.DynamicConfigValue(id_val=key, value=value) for key, value in properties.items() if value is not None]
    return panel.override_by_regexp(f"/{name}/", values) if pattern else panel.override_by_name(name, values)
