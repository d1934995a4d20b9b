"""The dashboards as JSON, by file name."""

import importlib
import json
import pkgutil
from typing import Any, cast

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from otel_mlmon.bundle.grafana import boards
from otel_mlmon.bundle.grafana.frame import Board, Maker, dashboard
from otel_mlmon.bundle.options import RuleOptions

_BUILT_IN = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}
"""People's own annotations, which Grafana adds to every dashboard that lacks them."""


def render(options: RuleOptions) -> dict[str, str]:
    """Every dashboard.

    Args:
        options: Those of the rules beside them: thresholds, windows.

    Returns:
        JSON by file name, ``<uid>.json``, keys sorted: what a person imports, or a folder that Grafana reads.
    """
    made = (board(options) for board in _makers())
    return {f"{one.uid}.json": _text(one) for one in sorted(made, key=lambda one: one.uid)}


def _makers() -> list[Maker]:
    """Each module below ``boards`` has one."""
    found = sorted(module.name for module in pkgutil.iter_modules(boards.__path__))
    return [cast("Maker", importlib.import_module(f"{boards.__name__}.{name}").board) for name in found]


def _text(board: Board) -> str:
    document = json.loads(json.dumps(dashboard(board), cls=JSONEncoder))
    document["annotations"] = {"list": [_BUILT_IN, *document.get("annotations", {}).get("list", [])]}
    for one in (*document["annotations"]["list"], *document.get("links", [])):
        one.pop("placement", None)  # the SDK hides them in a menu
    _without_empty(document)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _without_empty(value: Any) -> None:
    """Null means as much as nothing here, but for the first threshold and the dashboard's own id."""
    if isinstance(value, list):
        for one in value:
            _without_empty(one)
    elif isinstance(value, dict):
        for key in [key for key, one in value.items() if one is None and key not in {"value", "id"}]:
            del value[key]
        for one in value.values():
            _without_empty(one)
