"""What all dashboards have in common: variables, links, annotations, and panels that flow into rows of 24 columns."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as dm

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana.queries import SOURCE, Variable, began, chosen, firing, source, values
from otel_mlmon.bundle.options import RuleOptions

COLUMNS = 24
TAG = "mlmon"
Panel = Builder[dm.Panel]

MODEL_NAME = values("model_name", "Model", catalog.START_TIME.prometheus_name)
MODEL_VERSION = values("model_version", "Version", catalog.START_TIME.prometheus_name, given=("model_name",))


@dataclass(frozen=True, slots=True)
class Section:
    """A row's heading and the panels below it.

    Args:
        title: The heading; empty for none (the first section only).
        panels: From left to right; what exceeds 24 columns begins a new line.
        collapsed: Whether the reader opens it.
    """

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Args:
        uid: ``mlmon-<what>``, for ever: addresses and alerts name it.
        title: What the reader sees, behind "mlmon / ".
        about: One or two sentences.
        variables: Behind the data source's: model and version, mostly.
        sections: From top to bottom.
        since: How far back it begins.
        annotations: Whether new versions and critical alerts are marked.
    """

    uid: str
    title: str
    about: str
    sections: Sequence[Section]
    variables: Sequence[Variable] = (MODEL_NAME, MODEL_VERSION)
    since: str = "6h"
    annotations: bool = True


Maker = Callable[[RuleOptions], Board]
"""A dashboard's function ``board``: thresholds and windows are those of the rules."""


def dashboard(board: Board) -> dm.Dashboard:
    """A dashboard as Grafana imports it.

    Args:
        board: What is in it.

    Returns:
        A model of the SDK: panels placed, with identifiers that stay when others are added.

    Raises:
        ValueError: If two panels of one section have the same title, or a panel is wider than the dashboard.
    """
    made = (
        d.Dashboard(f"mlmon / {board.title}")
        .uid(board.uid)
        .description(board.about)
        .tags([TAG, "machine-learning"])
        .editable()
        .timezone("browser")
        .refresh("1m")
        .time(f"now-{board.since}", "now")
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
        .timepicker(d.TimePicker().refresh_intervals(["30s", "1m", "5m", "15m", "1h"]))
        .link(
            d.DashboardLink("mlmon")
            .type(dm.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in (source(), *board.variables):
        made = made.with_variable(variable)
    for annotation in _annotations() if board.annotations else ():
        made = made.annotation(annotation)
    built: dm.Dashboard = made.build()
    built.panels = list(_placed(board.sections))
    seen: set[int] = set()
    for panel in _all(built.panels):
        if panel.id_val in seen:
            raise ValueError(f"dashboard {board.uid!r}: titles must be distinct within a section, got {panel.title!r} twice")
        seen.add(panel.id_val or 0)
    return built


def _annotations() -> Iterable[d.AnnotationQuery]:
    """Moments, not spans: days of alerts would colour every graph."""
    known, start = f"{chosen(n.KNOWN)} offset 1h", chosen(catalog.START_TIME.prometheus_name)
    new = f"min by ({n.MODEL}) ({start}) unless on ({n.MODEL}) {known}"
    # One mark an alert and model, where the first of its features or versions begins.
    critical = {"severity": "critical"}
    alerts = f"min by (alertname, model_name) (\n{began(firing(**critical), **critical)}\n)"
    for name, colour, moment, title, text in (
        ("New version", "blue", new, "{{model_name}} {{model_version}} began", ""),
        ("Critical alerts", "red", alerts, "{{alertname}}", "{{model_name}}"),
    ):
        annotation = d.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour)
        yield annotation.expr(f"({moment}) * 1000").use_value_for_time(True).title_format(title).text_format(text)


def _placed(sections: Sequence[Section]) -> Iterable[dm.Panel | dm.RowPanel]:
    """Rows and panels with identifier and position; those of a collapsed row are in it."""
    y = 0
    for section in sections:
        row = None
        if section.title:
            row = dm.RowPanel(title=section.title, collapsed=section.collapsed, id_val=_identifier(section.title))
            row.grid_pos = dm.GridPos(h=1, w=COLUMNS, x=0, y=y)
            yield row
            y += 1
        below, y_below = _flow(section, y)
        if row is not None and section.collapsed:
            row.panels = below
        else:
            yield from below
            y = y_below


def _flow(section: Section, y: int) -> tuple[list[dm.Panel], int]:
    placed, x, height = [], 0, 0
    for builder in section.panels:
        panel = builder.build()
        place = panel.grid_pos
        if place is None or place.w > COLUMNS:
            raise ValueError(f"panel {panel.title!r}: width must be from 1 to {COLUMNS}, got {place and place.w}")
        if x + place.w > COLUMNS:
            x, y, height = 0, y + height, 0
        panel.grid_pos = dm.GridPos(h=place.h, w=place.w, x=x, y=y)
        panel.id_val = _identifier(f"{section.title}/{panel.title}")
        x, height = x + place.w, max(height, place.h)
        placed.append(panel)
    return placed, y + height


def _identifier(text: str) -> int:
    """From the title, so that links to a panel last when others are added."""
    return zlib.crc32(text.encode()) % 1_000_000 + 1


def _all(panels: Iterable[dm.Panel | dm.RowPanel]) -> Iterable[dm.Panel | dm.RowPanel]:
    for panel in panels:
        yield panel
        if isinstance(panel, dm.RowPanel):
            yield from panel.panels
