"""The PromQL of a dashboard: it parses, reads what exists, and asks in the right way."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser

from otel_mlmon.bundle import names as n
from tests.dashboard_lint import Found, House, Json, panels
from tests.promql import labels

_MACROS = {"__rate_interval": "5m", "__interval": "1m", "__range": "6h"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
_INSTANT = {"stat", "bargauge", "gauge", "table", "barchart"}
_RATES = {"rate", "increase", "irate", "resets", "changes"}
_FREE = {"$__all", "", "All"}


def queries(board: Json, house: House) -> Found:
    """Every query of panels, annotations and variables."""
    values = _values(board)
    for panel in panels(board):
        for target in panel.get("targets") or []:
            for rule, words in (*_asked(panel, target, values, house), *_matched(target["expr"], board)):
                yield rule, f"{panel['title']} {target['refId']}: {words}"
        missing = [name for name in _named(panel, values) if f"`{name}`" not in panel.get("description", "")]
        if missing:
            yield "description-series", f"{panel['title']}: {missing}"
    for note in board["annotations"]["list"]:
        if note.get("expr"):
            legend = note.get("titleFormat", "") + note.get("textFormat", "")
            yield from _read(note["expr"], legend, values, house)
            yield from _matched(note["expr"], board)
    for variable in board["templating"]["list"]:
        asked = (
            re.fullmatch(r"label_values\((.*), (\w+)\)", str((variable.get("query") or {}).get("query")))
            if _is_query(variable)
            else None
        )
        if asked:
            yield from _read(f"max by ({asked[2]}) ({asked[1]})", "", values, house)


def read(board: Json) -> set[str]:
    """Names of the series that its panels ask for."""
    values = _values(board)
    return {name for panel in panels(board) for name in _named(panel, values)}


def _is_query(variable: Json) -> bool:
    return bool(variable["type"] == "query")


def _values(board: Json) -> dict[str, str]:
    """What stands for each variable: the first word of a list that is written down, else a placeholder."""
    found = dict(_MACROS)
    for one in board["templating"]["list"]:
        written = one["query"].split(",")[0].rpartition(" : ")[2].strip() if one["type"] in {"custom", "interval"} else ""
        found[one["name"]] = written or labels.UNKNOWN
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], labels.UNKNOWN), text)


def _asked(panel: Json, target: Json, values: dict[str, str], house: House) -> Found:
    expression, instant = target["expr"], bool(target.get("instant"))
    for one in _VARIABLE.findall(expression):
        if not (name := one[0] or one[1]).isdigit() and name not in values:
            yield "variable-unknown", f"${name}"
    if panel["type"] in _INSTANT and not instant:
        yield "instant", f"a {panel['type']} shows one value: ask for one"
    if panel["type"] == "table" and target.get("format") != "table" and "labelsToFields" not in json.dumps(panel):
        yield "table-format", "a table asks in table format"
    yield from _read(expression, target.get("legendFormat", ""), values, house)
    try:
        tree = promql_parser.parse(_filled(expression, values))
    except ValueError:
        return
    ranges = re.findall(r"\b(?:rate|increase|irate)\((?:[^()\[]|\([^()]*\))*\[([^\]]+)\]", re.sub(r'"[^"]*"', "", expression))
    for one in ranges:
        if instant and one.startswith("$__rate"):
            yield "rate-interval", "an instant query has no step: give it a fixed window"
        if not instant and one != "$__rate_interval":
            yield "rate-interval", f"{one}: the window of a range query follows its step"
    if not instant and re.search(r"\b(topk|bottomk)\b", expression) and "@ end()" not in expression:
        yield "topk", "each step has other winners: only in instant queries, or of the range's end"
    for divisor in _divisors(tree):
        if re.search(r"\b(rate|increase)\(", divisor) and not re.search(r">\s*0\s*\)*$", divisor):
            yield "division", f"{divisor}: is 0 when nothing happens, and 0 / 0 a gap or infinite"
    for selector, function in labels.selectors(tree):
        if selector.name and selector.name.endswith("_total") and function not in _RATES:
            yield "raw-counter", selector.name


def _divisors(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "/":
        yield node.rhs.prettify()
    for part in ("lhs", "rhs", "expr"):
        if hasattr(node, part):
            yield from _divisors(getattr(node, part))
    for part in getattr(node, "args", ()):
        yield from _divisors(part)


def _read(expression: str, legend: str, values: dict[str, str], house: House) -> Found:
    try:
        tree = promql_parser.parse(_filled(expression, values))
    except ValueError as error:
        yield "promql", str(error)
        return
    wrong: list[str] = []
    found = labels.of(tree, house.series, wrong)
    for one in wrong:
        rule, _, words = one.partition(": ")
        yield rule, words
    for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", legend):
        if label not in found:
            yield "legend", f"{{{{{label}}}}}: the answer has {sorted(found)}"


def _matched(expression: str, board: Json) -> Found:
    """A variable of several values is a regular expression."""
    several = {one["name"] for one in board["templating"]["list"] if one.get("multi") or one.get("includeAll")}
    for operator, name in re.findall(r'(=~|!~|!=|=)\s*"\$\{?(\w+)', expression):
        if name in several and operator not in {"=~", "!~"}:
            yield "multi-needs-regex", f"${name}"


def _named(panel: Json, values: dict[str, str]) -> Iterator[str]:
    for target in panel.get("targets") or []:
        try:
            tree = promql_parser.parse(_filled(target["expr"], values))
        except ValueError:
            continue
        yield from (selector.name for selector, _ in labels.selectors(tree) if selector.name not in {None, n.UP})
