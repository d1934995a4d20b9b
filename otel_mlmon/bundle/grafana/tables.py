"""Columns of tables: their looks, and what a click on a cell opens."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard, table
from grafana_foundation_sdk.models import dashboard as dm

Properties = dict[str, Any]
"""Of a column, by the names that Grafana gives them."""


def link(title: str, uid: str, *, kept: Sequence[str] = (), **variables: str) -> dict[str, str]:
    """A link to another dashboard that keeps data source and time.

    Args:
        title: What the reader sees.
        uid: Of the dashboard.
        kept: Variables of this dashboard that the other has, too.
        variables: Names of the columns, one word each, that the dashboard's variables take their values from.

    >>> link("Model", "mlmon-model", model_name="Model")["url"]
    '/d/mlmon-model?${__url_time_range}&${datasource:queryparam}&var-model_name=${__data.fields.Model:percentencode}'
    """
    same = "".join(f"&${{{variable}:queryparam}}" for variable in kept)
    chosen = "".join(f"&var-{variable}=${{__data.fields.{column}:percentencode}}" for variable, column in variables.items())
    return {"title": title, "url": f"/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}{same}{chosen}"}


def column(
    panel: table.Panel,
    name: str,
    *,
    unit: str = "",
    decimals: int | None = None,
    width: int | None = None,
    mapping: dm.ValueMap | None = None,
    thresholds: dashboard.ThresholdsConfig | None = None,
    coloured: bool = False,
    links: Sequence[Mapping[str, Any]] = (),
    pattern: bool = False,
    **further: Any,
) -> table.Panel:
    """How a column looks.

    Args:
        panel: The table.
        name: The column's, after all transformations; or what it matches.
        unit: As of ``panels.graph``.
        decimals: Digits behind the point.
        width: Pixels.
        mapping: Words for its values.
        thresholds: Colours of its values.
        coloured: Whether the cells are filled with those colours, or the mapping's.
        links: What a click opens: see ``link``.
        pattern: Whether ``name`` is a regular expression.
        further: Properties by Grafana's names, ``_`` for ``.``: ``custom_align="left"``.

    Returns:
        The table.
    """
    properties: Properties = {
        "unit": unit or None,
        "decimals": decimals,
        "custom.width": width,
        "mappings": [mapping] if mapping else None,
        "thresholds": thresholds.build() if thresholds else None,
        "custom.cellOptions": {"type": "color-background", "mode": "basic"} if coloured else None,
        "links": list(links) or None,
        **{key.replace("_", "."): value for key, value in further.items()},
    }
    values = [dm.DynamicConfigValue(id_val=key, value=value) for key, value in properties.items() if value is not None]
    return panel.override_by_regexp(f"/{name}/", values) if pattern else panel.override_by_name(name, values)


def arranged(panel: table.Panel, *, renamed: dict[str, str], hidden: Sequence[str] = ()) -> table.Panel:
    """Columns named and in order; what is not named follows, unless it is hidden.

    Args:
        panel: The table.
        renamed: Names for people by field name, from left to right.
        hidden: Fields that are left out, beside the time.
    """
    order = {name: place for place, name in enumerate(renamed)}
    options = {"renameByName": renamed, "indexByName": order, "excludeByName": dict.fromkeys(("Time", *hidden), True)}
    return panel.with_transformation(dm.DataTransformerConfig(id_val="organize", options=options))


def transformed(panel: table.Panel, name: str, **options: Any) -> table.Panel:
    """Another transformation, behind those that there are."""
    return panel.with_transformation(dm.DataTransformerConfig(id_val=name, options=options))
