"""What every dashboard must hold to: structure, words, links, thresholds. ``dashboard_queries`` reads the PromQL."""

import collections
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_mlmon import catalog
from otel_mlmon import thresholds as shipped
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.rules import RuleOptions
from tests.promql.labels import Series

Json = dict[str, Any]
Found = Iterator[tuple[str, str]]
"""(rule, what breaks it)."""

PANELS = {"row", "text", "timeseries", "stat", "bargauge", "gauge", "table", "heatmap", "state-timeline", "barchart", "histogram"}
"""Kinds that the pictures can draw."""

WITHOUT_UNIT = {"row", "text", "table", "state-timeline", "heatmap"}
SCALED = {"ms", "\N{MICRO SIGN}s", "ns", "m", "h", "d", "percent", "kbytes", "mbytes", "gbytes", "decmbytes", "decgbytes"}
ALARMS = {"red", "orange"}
COLOURS = re.compile(r"((semi-dark|dark|light|super-light)-)?(red|orange|yellow|green|blue|purple)|transparent|text")
BYTES = 400_000
TITLE = 34

STATISTICS = {
    n.LATENCY: ("latency_p99",),
    n.ERROR_RATIO: ("error_budget",),
    n.MISSING_RATIO: ("missing_ratio",),
    n.INVALID_RATIO: ("invalid_ratio",),
    n.OUT_OF_RANGE_RATIO: ("out_of_range_ratio",),
    n.UNSEEN_RATIO: ("unseen_ratio",),
    n.VIOLATION_RATIO: ("schema_violation_ratio",),
    n.DROPPED_RATIO: ("rows_dropped_ratio",),
    n.DRIFT: ("psi", "wasserstein"),
    n.DRIFTED_RATIO: ("drifted_features_ratio",),
    n.CORRELATION_SHIFT: ("correlation_shift",),
    n.MODEL_AGE: ("model_age",),
    n.REFERENCE_AGE: ("reference_age",),
    catalog.SERIES.prometheus_name: ("series",),
}
"""Series -> the statistics of ``thresholds.SHIPPED`` that its alerts compare it with."""


@dataclass(frozen=True, slots=True)
class House:
    """What dashboards are held to.

    Args:
        series: See ``labels.recorded``.
        variables: Variables of every dashboard by its uid.
        anchors: Addresses of the runbooks' sections.
        options: Those that dashboards and rules were written with.
    """

    series: Series
    variables: Mapping[str, frozenset[str]]
    anchors: frozenset[str]
    options: RuleOptions = field(default_factory=RuleOptions)


def panels(board: Json) -> Iterator[Json]:
    """Every panel, those of collapsed rows, too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels") or []


def loaded(board: Json) -> int:
    """Queries that opening the dashboard costs: of variables, annotations and panels outside of collapsed rows."""
    variables = [one for one in board["templating"]["list"] if one["type"] == "query"]
    notes = [one for one in board["annotations"]["list"] if one.get("expr")]
    return len(variables) + len(notes) + sum(len(panel.get("targets") or []) for panel in board["panels"])


def structure(board: Json, house: House) -> Found:
    """All but the PromQL."""
    yield from _frame(board)
    yield from _variables(board)
    yield from _places(board)
    for panel in panels(board):
        title = panel.get("title", "")
        for rule, words in (*_panel(panel), *_colours(panel), *_thresholds(panel, house)):
            yield rule, f"{title}: {words}"
    yield from _links(board, house)


def _frame(board: Json) -> Found:
    if not re.fullmatch(r"mlmon-[a-z-]{3,30}", board.get("uid") or ""):
        yield "uid", f"must be mlmon-<what>, got {board.get('uid')!r}"
    if board.get("id") is not None:
        yield "id", "Grafana gives it"
    if "mlmon" not in board.get("tags", []):
        yield "tags", "the other dashboards find it by the tag mlmon"
    if "__inputs" in board:
        yield "inputs", "a data source variable asks for nothing at import"
    if board.get("refresh") not in {"1m", "5m"}:
        yield "refresh", f"must be 1m or 5m, got {board.get('refresh')!r}"
    if not re.fullmatch(r"now-\d+[hd]", board["time"].get("from", "")) or board["time"].get("to") != "now":
        yield "time", f"must end now, got {board['time']}"
    if not board.get("description"):
        yield "description", "the dashboard has none"
    size = len(json.dumps(board))
    if size > BYTES:
        yield "size", f"{size} bytes"


def _variables(board: Json) -> Found:
    listed = board["templating"]["list"]
    if [one["name"] for one in listed if one["type"] == "datasource"] != ["datasource"]:
        yield "datasource-variable", "exactly one, called datasource"
    everything = json.dumps({key: value for key, value in board.items() if key != "templating"})
    asked = [one for one in listed if one["type"] == "query"]
    for place, one in enumerate(asked):
        name, query = one["name"], one["query"]["query"]
        if one.get("refresh") != 2:
            yield "variable-refresh", f"{name}: on time range"
        if one.get("includeAll") and not one.get("allValue"):
            yield "variable-all", f"{name}: without allValue Grafana lists every value"
        for before in asked[:place] if name in {"model_version", "feature"} else ():
            if before["name"] in {"model_name", "model_version"} and f'"${before["name"]}"' not in query:
                yield "variable-chain", f"{name} is not narrowed by {before['name']}"
    for one in listed:
        later = json.dumps([other.get("query") for other in listed if other is not one])
        if not re.search(rf"\$\{{?{one['name']}\b", everything + later):
            yield "variable-unused", one["name"]


def _places(board: Json) -> Found:
    numbers = collections.Counter(panel.get("id") for panel in panels(board))
    yield from (("panel-id", f"{number!r}, {count} times") for number, count in numbers.items() if count > 1 or not number)
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place, title = panel["gridPos"], panel["title"]
        if place["x"] + place["w"] > 24 or min(place["w"], place["h"]) < 1:
            yield "grid", f"{title}: {place}"
        cells = [(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
        for other in {taken[cell] for cell in cells if cell in taken}:
            yield "overlap", f"{title} and {other}"
        taken |= dict.fromkeys(cells, title)


def _panel(panel: Json) -> Found:
    kind, title = panel["type"], panel.get("title", "")
    if kind not in PANELS:
        yield "panel-type", kind
    if kind in {"row", "text"}:
        return
    if not title or len(title) > TITLE:
        yield "title", f"from 1 to {TITLE} characters"
    about, targets = panel.get("description", ""), panel.get("targets") or []
    if not targets:
        yield "targets", "none"
    if len(about.partition("\n\nReads ")[0]) < 15:
        yield "description", "says nothing"
    if kind not in WITHOUT_UNIT and not panel["fieldConfig"]["defaults"].get("unit"):
        yield "unit", "none"
    for one in sorted(SCALED & set(_units(panel))):
        yield "unit", f"{one}: series are in seconds and bytes, shares from 0 to 1"
    sources = [panel.get("datasource"), *(target.get("datasource") for target in targets)]
    yield from (("datasource", str(one)) for one in sources if not one or one.get("uid") != "${datasource}")
    letters = [target["refId"] for target in targets]
    if len(set(letters)) < len(letters):
        yield "ref-id", str(letters)


def _units(panel: Json) -> Iterator[str]:
    """Of the panel and of single fields."""
    config = panel["fieldConfig"]
    yield config["defaults"].get("unit", "")
    for override in config.get("overrides", []):
        yield from (one["value"] for one in override["properties"] if one["id"] == "unit")


def _steps(panel: Json) -> Iterator[list[Json]]:
    config = panel.get("fieldConfig", {})
    yield (config.get("defaults", {}).get("thresholds") or {}).get("steps") or []
    for override in config.get("overrides", []):
        yield from (one["value"]["steps"] for one in override["properties"] if one["id"] == "thresholds")


def _colours(panel: Json) -> Found:
    """Who cannot tell red from green reads a number, a word or a line."""
    every = {step["color"] for steps in _steps(panel) for step in steps}
    yield from (("colour", f"Grafana has no {one}") for one in every if not COLOURS.fullmatch(one))
    used = every & {*ALARMS, "green"}
    options, defaults = panel.get("options", {}), panel.get("fieldConfig", {}).get("defaults", {})
    if panel["type"] == "stat" and used and options.get("textMode", "auto") in {"none", "name"}:
        yield "colour-alone", "a coloured field without its value"
    if panel["type"] == "bargauge" and used and options.get("valueMode") == "hidden":
        yield "colour-alone", "bars without values"
    if panel["type"] == "state-timeline" and not defaults.get("mappings"):
        yield "colour-alone", "states without words"
    if panel["type"] == "state-timeline" and options["showValue"] == "never" and not options["legend"]["showLegend"]:
        yield "colour-alone", "words that nobody sees"
    style = defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode", "off")
    if panel["type"] == "timeseries" and style in {"area", "series"}:
        yield "colour-alone", f"thresholds as {style}: draw lines"
    for mapping in defaults.get("mappings") or []:
        if mapping["type"] == "value" and not all(one.get("text") for one in mapping["options"].values()):
            yield "colour-alone", "a mapping without words"


def _thresholds(panel: Json, house: House) -> Found:
    """What is drawn is what alarms; 1 is the threshold of what was divided by it, and of a count."""
    drawn = {step["value"] for steps in _steps(panel) for step in steps if step["value"] is not None and step["color"] in ALARMS}
    if not drawn:
        return
    text, options = json.dumps(panel.get("targets")), house.options
    allowed = {0.0, 1.0}
    for series, statistics in STATISTICS.items():
        if re.search(rf"{series}(?![\w:])", text):
            keys = [key for key in shipped.SHIPPED if key[0] in statistics]
            allowed |= {options.threshold(*key) for key in keys}
    burns = {rate for rates in shipped.BURN_RATES.values() for rate, _, _ in rates}
    if n.BURN_RATE in text:
        allowed |= burns
    if n.ERROR_RATIO in text:
        allowed |= {options.threshold("error_budget", "warning") * rate for rate in burns} | {shipped.DOWN_RATIO}
    if n.RULE_INTERVAL in text:
        allowed.add(shipped.RULES_BUSY_RATIO)
    for value in drawn:
        if not any(math.isclose(value, one, abs_tol=1e-6) for one in allowed):
            yield "threshold", f"{value}: the alerts on what it shows have {sorted(allowed)}"


def _links(board: Json, house: House) -> Found:
    for one in board.get("links", []):
        if not (one.get("keepTime") and one.get("includeVars")):
            yield "link-time", f"{one['title']}: keep time and variables"
        if one.get("placement"):
            yield "link-hidden", f"{one['title']} is in a menu"
    for panel in panels(board):
        for link, texts in _cell_links(panel):
            for rule, words in (*_link(link["url"], texts, house), *_given(link["url"], panel)):
                yield rule, f"{panel['title']}: {words}"


def _given(url: str, panel: Json) -> Found:
    """A variable is given the column of its own label, escaped."""
    names: dict[str, str] = {}
    for one in panel.get("transformations") or []:
        names |= one["options"].get("renameByName", {})
    for variable, column, form in re.findall(r"var-(\w+)=\$\{__data\.fields\.(\w+)(:\w+)?\}", url):
        if names.get(variable) != column:
            yield "link-column", f"{variable} from {column}"
        if form != ":percentencode":
            yield "link-escape", f"{column}: an & or a + in it would end the value"


def _cell_links(panel: Json) -> Iterator[tuple[Json, frozenset[str]]]:
    """Links of a panel's fields, each with the words that its field's values become."""
    config = panel.get("fieldConfig", {})
    groups = [{one["id"]: one.get("value") for one in override["properties"]} for override in config.get("overrides", [])]
    for properties in (config.get("defaults", {}), *groups, {"links": panel.get("links")}):
        maps = [one["options"] for one in properties.get("mappings") or [] if one["type"] == "value"]
        words = frozenset(str(one["text"]) for options in maps for one in options.values())
        yield from ((link, words) for link in properties.get("links") or [])


def _link(url: str, texts: frozenset[str], house: House) -> Found:
    address, _, query = url.partition("?")
    if address.startswith("/d/"):
        uid = address.split("/")[2]
        if "$" not in uid and uid not in house.variables:
            yield "link-target", f"{uid} is no dashboard of ours"
        if "${__url_time_range}" not in query or "datasource" not in query:
            yield "link-time", f"{url}: keep time and data source"
        known = house.variables.get(uid, frozenset[str]().union(*house.variables.values()))
        yield from (
            ("link-variable", f"{uid} has no variable {one}") for one in re.findall(r"var-(\w+)=", query) if one not in known
        )
    elif url.startswith(house.options.runbook_base):
        anchor = url.partition("#")[2]
        wanted = texts if anchor == "${__value.text}" else {anchor}
        yield from (("runbook", f"no section {one}") for one in sorted(set(wanted) - house.anchors) or () if wanted)
        if not wanted:
            yield "runbook", f"{url}: no anchor"
    elif not url.startswith("https://"):
        yield "link-target", url


def anchors(runbooks: Path) -> frozenset[str]:
    """Addresses of a Markdown file's sections, as GitHub makes them of single words."""
    return frozenset(re.findall(r"^## (\w+)$", runbooks.read_text(encoding="utf-8").lower(), re.MULTILINE))


def variables(boards: Iterable[Json]) -> dict[str, frozenset[str]]:
    """Names of the variables of each dashboard."""
    return {board["uid"]: frozenset(one["name"] for one in board["templating"]["list"]) for board in boards}
