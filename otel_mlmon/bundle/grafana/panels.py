"""Panels: one question each, with a description that says what it shows, what to do about it, and which series it reads."""

import re
from collections.abc import Sequence
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import heatmap as hm
from grafana_foundation_sdk.models import units

from otel_mlmon.bundle.grafana.colours import STATES, plain
from otel_mlmon.bundle.grafana.queries import SOURCE

_SERIES = re.compile(r"\b(?:mlmon|process|system|cpython|hw|prometheus)[_:][a-z0-9_:]+|\bALERTS(?:_FOR_STATE)?\b|\bup\b")

Thresholds = dashboard.ThresholdsConfig
Queries = Sequence[prometheus.Dataquery]

_Panel = TypeVar(
    "_Panel", barchart.Panel, timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, heatmap.Panel, statetimeline.Panel
)


def graph(
    title: str,
    about: str,
    unit: str,
    queries: Queries,
    *,
    lines: Thresholds | None = None,
    width: int = 12,
    height: int = 8,
    least: float | None = 0.0,
) -> timeseries.Panel:
    """Lines over time, with a table of each line's last and greatest value.

    Args:
        title: The question in a few words.
        about: What it shows and what to do about it, in Markdown; the series are added.
        unit: One of ``grafana_foundation_sdk.models.units``.
        queries: Of ranges.
        lines: Thresholds, dashed across the graph; the first colour is ``transparent``.
        width: Columns, of 24.
        height: Rows of 38 pixels.
        least: Where the axis begins; None to leave it to the data.
    """
    legend = common.VizLegendOptions().display_mode(cm.LegendDisplayMode.TABLE).placement(cm.LegendPlacement.BOTTOM)
    panel = (
        _panel(timeseries.Panel(), title, about, queries, width, height)
        .unit(unit)
        .legend(legend.show_legend(True).calcs(["lastNotNull", "max"]).sort_by("Last *").sort_desc(True))
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
        .line_width(2)
        .fill_opacity(0)
        .show_points(cm.VisibilityMode.NEVER)
    )
    if lines is not None:
        dashed = common.GraphThresholdsStyleConfig().mode(cm.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(lines).thresholds_style(dashed)
    return panel if least is None else panel.min(least)


def number(
    title: str, about: str, unit: str, queries: Queries, *, thresholds: Thresholds | None = None, width: int = 4, height: int = 4
) -> stat.Panel:
    """One number, or one a series, on the colour of its threshold.

    Args:
        title, about, unit, width, height: As for ``graph``.
        queries: Instant ones.
        thresholds: Blue without any.
    """
    return (
        _panel(stat.Panel(), title, about, queries, width, height)
        .unit(unit)
        .no_value("no data")
        .thresholds(thresholds or plain())
        .color_mode(cm.BigValueColorMode.BACKGROUND_SOLID if thresholds else cm.BigValueColorMode.VALUE)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .reduce_options(_last())
    )


def bars(
    title: str, about: str, unit: str, queries: Queries, *, thresholds: Thresholds | None = None, width: int = 12, height: int = 8
) -> bargauge.Panel:
    """Horizontal bars, one a series.

    Args:
        title, about, unit, width, height: As for ``graph``.
        queries: Instant ones.
        thresholds: Blue without any.
    """
    return (
        _panel(bargauge.Panel(), title, about, queries, width, height)
        .unit(unit)
        .no_value("no data")
        .thresholds(thresholds or plain())
        .orientation(cm.VizOrientation.HORIZONTAL)
        .display_mode(cm.BarGaugeDisplayMode.BASIC)
        .min(0)
        .reduce_options(_last())
    )


def rows(title: str, about: str, queries: Queries, *, width: int = 24, height: int = 10) -> table.Panel:
    """A table; transformations and columns' looks are its dashboard's own: see ``tables``.

    Where it has no row it says so; an empty cell stays empty.

    Args:
        title, about, width, height: As for ``graph``.
        queries: Of tables.
    """
    empty = dm.DynamicConfigValue(id_val="noValue", value="")
    return _panel(table.Panel(), title, about, queries, width, height).no_value("no data").override_by_regexp("/.*/", [empty])


def states(title: str, about: str, queries: Queries, *, width: int = 24, height: int = 8) -> statetimeline.Panel:
    """Fine, warning and critical over time, one line a series; words in the bars that have room, and below.

    Args:
        title, about, width, height: As for ``graph``.
        queries: Of ranges, of ``names.STATE``.
    """
    return (
        _panel(statetimeline.Panel(), title, about, queries, width, height)
        .mappings([STATES])
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .show_value(cm.VisibilityMode.AUTO)
        .legend(_listed())
        .row_height(0.8)
        .per_page(20)
        .merge_values(True)
        .no_value("no data")
    )


def density(title: str, about: str, unit: str, queries: Queries, *, width: int = 12, height: int = 8) -> heatmap.Panel:
    """Buckets of a histogram over time; Grafana turns the scale of colours around in its light theme.

    Args:
        title, about, unit, width, height: As for ``graph``; the unit is that of the buckets' bounds.
        queries: Of heatmaps, or series that sort as they should be stacked.
    """
    return (
        _panel(heatmap.Panel(), title, about, queries, width, height)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(hm.HeatmapColorMode.SCHEME).scheme("Viridis").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
    )


def sorted_by(name: str, *, descending: bool = False) -> common.TableSortByFieldState:
    """An order of a table's rows, by a column as people see its name."""
    return common.TableSortByFieldState().display_name(name).desc(descending)


def histogram(title: str, about: str, queries: Queries, x: str, *, width: int = 12, height: int = 9) -> barchart.Panel:
    """Shares side by side, a bar a query in each bin or category; their names and colours are its dashboard's own.

    Args:
        title, about, width, height: As for ``graph``.
        queries: Of tables with shares by the label ``x``.
        x: The label.
    """
    return (
        _panel(barchart.Panel(), title, about, queries, width, height)
        .unit(units.PercentUnit)
        .no_value("no data")
        .min(0)
        .with_transformation(dm.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(dm.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}}))
        .with_transformation(dm.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": x}]}))
        .x_field(x)
        .orientation(cm.VizOrientation.AUTO)
        .show_value(cm.VisibilityMode.NEVER)
        .group_width(0.8)
        .bar_width(0.95)
        .fill_opacity(85)
        .x_tick_label_rotation(-30)
        .x_tick_label_max_length(24)
        .legend(_listed())
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI))
    )


def _listed() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(cm.LegendDisplayMode.LIST).placement(cm.LegendPlacement.BOTTOM)
    return legend.show_legend(True)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")


def _panel(panel: _Panel, title: str, about: str, queries: Queries, width: int, height: int) -> _Panel:
    panel = panel.title(title).datasource(SOURCE).span(width).height(height)
    read: dict[str, None] = {}
    for place, each in enumerate(queries):
        each.ref_id("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[place])
        panel = panel.with_target(each)
        read |= dict.fromkeys(_SERIES.findall(each.build().expr))
    return panel.description(f"{about}\n\nReads {', '.join(f'`{name}`' for name in read)}.")
