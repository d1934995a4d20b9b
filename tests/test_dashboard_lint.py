"""The linter itself: each of its rules catches a dashboard that breaks it, and nothing else speaks up."""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_mlmon.bundle.rules import RuleOptions
from tests import dashboard_lint as lint
from tests.test_dashboards import COMMITTED, found, house

GOOD = COMMITTED["mlmon-overview.json"]

Change = Callable[[lint.Json], object]


@pytest.fixture(scope="module")
def shipped() -> lint.House:
    return house(RuleOptions())


def panel(board: lint.Json, kind: str) -> Any:
    return next(one for one in board["panels"] if one["type"] == kind)


def variable(board: lint.Json, name: str) -> Any:
    return next(one for one in board["templating"]["list"] if one["name"] == name)


def say(kind: str, **changes: object) -> Change:
    """Other keys of the first panel of a kind."""
    return lambda board: panel(board, kind).update(changes)


def ask(kind: str, expression: str, legend: str = "") -> Change:
    """Another first query of the first panel of a kind, all else being in order."""

    def change(board: lint.Json) -> None:
        panel(board, kind)["targets"][0].update(expr=expression, legendFormat=legend)
        names = ("up", "nobody", "mlmon_calls_total", "mlmon:feature_drift", "mlmon:call_errors:ratio", "mlmon_predictions_total")
        panel(board, kind)["description"] += " ".join(f"`{name}`" for name in names)

    return change


def put(*path: str | int, value: object) -> Change:
    """Another value at a path."""

    def change(board: lint.Json) -> None:
        inner: Any = board
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def of_variable(name: str, **changes: object) -> Change:
    return lambda board: variable(board, name).update(changes)


def of_link(old: str, new: str) -> Change:
    """Another address of every cell's link."""

    def change(board: lint.Json) -> None:
        table = panel(board, "table")
        table["fieldConfig"] = json.loads(json.dumps(table["fieldConfig"]).replace(old, new))

    return change


def both(*changes: Change) -> Change:
    return lambda board: [change(board) for change in changes]


def colours(kind: str, **of: object) -> Change:
    return lambda board: panel(board, kind)["fieldConfig"]["defaults"].update(of)


def coloured_stat(board: lint.Json) -> lint.Json:
    stats = (one for one in board["panels"] if one["type"] == "stat")
    return next(one for one in stats if len(one["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1)


_RANGE = 'sum by (model_name, model_version) (rate(mlmon_predictions_total{{model_name=~"$model_name"}}[{}]))'

BROKEN: list[tuple[str, Change]] = [
    ("uid", put("uid", value="Overview!")),
    ("id", put("id", value=7)),
    ("tags", put("tags", value=["machine-learning"])),
    ("inputs", put("__inputs", value=[])),
    ("refresh", put("refresh", value="5s")),
    ("time", put("time", "from", value="2026-01-01")),
    ("description", put("description", value="")),
    ("size", put("padding", value="x" * 500_000)),
    ("datasource-variable", lambda board: board["templating"]["list"].pop(0)),
    ("variable-refresh", of_variable("model_name", refresh=1)),
    ("variable-all", of_variable("model_name", allValue="")),
    ("variable-chain", lambda board: variable(board, "model_version")["query"].update(query="label_values(up, instance)")),
    ("variable-unused", lambda board: board["templating"]["list"].append({"name": "spare", "type": "textbox", "query": ""})),
    ("series", of_variable("model_name", query={"query": "label_values(nobody, model_name)"})),
    ("label", of_variable("model_name", query={"query": "label_values(mlmon_start_time_seconds, feature)"})),
    ("panel-id", lambda board: board["panels"][1].update(id=board["panels"][0]["id"])),
    ("grid", lambda board: board["panels"][6]["gridPos"].update(w=9)),
    ("overlap", lambda board: board["panels"][1]["gridPos"].update(x=0)),
    ("panel-type", say("table", type="alertlist")),
    ("title", say("stat", title="How many versions of all models report at the moment")),
    ("targets", say("stat", targets=[])),
    ("description", say("stat", description="")),
    ("unit", colours("stat", unit="")),
    ("unit", colours("stat", unit="ms")),
    ("datasource", say("stat", datasource={"type": "prometheus", "uid": "P1809F7CD0C75ACF3"})),
    ("datasource", lambda board: panel(board, "stat")["targets"][0].pop("datasource")),
    ("ref-id", lambda board: panel(board, "stat").update(targets=panel(board, "stat")["targets"] * 2)),
    ("colour-alone", lambda board: coloured_stat(board)["options"].update(textMode="none")),
    ("colour-alone", lambda board: panel(board, "state-timeline")["fieldConfig"]["defaults"].update(mappings=[])),
    (
        "colour-alone",
        lambda board: panel(board, "state-timeline")["options"].update(showValue="never", legend={"showLegend": False}),
    ),
    (
        "colour-alone",
        lambda board: panel(board, "timeseries")["fieldConfig"]["defaults"]["custom"].update(thresholdsStyle={"mode": "area"}),
    ),
    ("colour", lambda board: coloured_stat(board)["fieldConfig"]["defaults"]["thresholds"]["steps"][1].update(color="amber")),
    ("threshold", lambda board: coloured_stat(board)["fieldConfig"]["defaults"]["thresholds"]["steps"][1].update(value=0.0123)),
    ("link-time", put("links", 0, "keepTime", value=False)),
    ("link-hidden", put("links", 0, "placement", value="inControlsMenu")),
    ("link-time", of_link("${__url_time_range}&", "")),
    ("link-target", of_link("/d/${__data.fields.Dashboard}", "/d/mlmon-nothing")),
    ("link-variable", of_link("var-model_name=", "var-model=")),
    ("runbook", of_link("#${__value.text}", "#nothing")),
    ("runbook", of_link('"text": "mlmonmodeldrift"', '"text": "mlmon-model-drift"')),
    ("link-column", of_link("var-feature=${__data.fields.Feature", "var-feature=${__data.fields.Model")),
    ("link-escape", of_link("Model:percentencode", "Model")),
    ("promql", ask("stat", "sum(up")),
    ("series", ask("stat", "sum(nobody)")),
    ("label", ask("stat", 'sum(up{feature="a"})')),
    ("label", ask("stat", "sum by (feature) (up)")),
    ("label", ask("stat", "up / on (feature) up")),
    ("value", ask("stat", 'max(mlmon:feature_drift{window="5m"})')),
    ("value", ask("stat", 'max(mlmon:call_errors:ratio{window=~"7d|8d"})')),
    ("legend", ask("timeseries", _RANGE.format("$__rate_interval"), "{{feature}}")),
    ("variable-unknown", ask("stat", 'sum(up{job=~"$job"})')),
    ("multi-needs-regex", ask("stat", 'sum(mlmon:call_errors:ratio{model_name="$model_name"})')),
    ("rate-interval", ask("timeseries", _RANGE.format("5m"))),
    ("rate-interval", ask("stat", _RANGE.format("$__rate_interval"))),
    ("division", ask("stat", "sum(rate(mlmon_calls_total[5m])) / sum(rate(mlmon_predictions_total[5m]))")),
    ("topk", ask("timeseries", "topk(3, up)")),
    ("raw-counter", ask("stat", "sum(mlmon_calls_total)")),
    ("instant", lambda board: panel(board, "stat")["targets"][0].update(instant=False)),
    ("table-format", lambda board: panel(board, "table")["targets"][0].update(format="time_series")),
    ("description-series", say("stat", description="Many words about it that name none of what it reads.")),
    ("series", lambda board: board["annotations"]["list"][1].update(expr="nobody")),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN, ids=[f"{place}-{rule}" for place, (rule, _) in enumerate(BROKEN)])
def test_each_rule_catches_what_breaks_it(rule: str, change: Change, shipped: lint.House) -> None:
    board = json.loads(GOOD)
    change(board)
    assert rule in {one.partition(":")[0] for one in found(board, shipped)}


def test_no_rule_is_left_without_a_broken_sample() -> None:
    """Every rule that can be reported: first of a pair that is yielded, or what ``labels`` puts before a colon."""
    here = Path(__file__).parent
    rules = set(re.findall(r'f"(series|label|value): ', (here / "promql" / "labels.py").read_text(encoding="utf-8")))
    for name in ("dashboard_lint.py", "dashboard_queries.py"):
        for node in ast.walk(ast.parse((here / name).read_text(encoding="utf-8"))):
            pair = node.value if isinstance(node, ast.Yield | ast.YieldFrom) else None
            pair = pair.elt if isinstance(pair, ast.GeneratorExp) else pair
            if isinstance(pair, ast.Tuple) and isinstance(pair.elts[0], ast.Constant):
                rules.add(str(pair.elts[0].value))
    assert {rule for rule, _ in BROKEN} == rules
