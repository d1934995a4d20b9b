"""The committed dashboards: what the code writes, without a finding of the linter, and linked with the alerts."""

import json
import re
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.rules import ALERTS_FILE, RuleOptions
from otel_mlmon.bundle.rules import render as render_rules
from otel_mlmon.catalog import CATALOG
from otel_mlmon.cli import main
from otel_mlmon.commands import dashboards as command
from otel_mlmon.thresholds import SHIPPED
from tests import dashboard_lint as lint
from tests.dashboard_queries import queries, read
from tests.promql.labels import recorded, selectors
from tests.promql.needed import parsed
from tests.promql.promtool import ask, expectation
from tests.servers import SERIES, require

ROOT = Path(__file__).parent.parent
RUNBOOKS = ROOT / "alert_rules" / "runbooks.md"
COMMITTED = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "dashboards").glob("*.json"))}
BOARDS = {name: json.loads(text) for name, text in COMMITTED.items()}
QUERIES = 25
"""That opening the overview may cost."""

SHOWN = {"health", "system", "gpu", "self-monitoring", "data quality"}
"""Areas of the catalogue."""


def with_sdk(test: Any) -> Any:
    """Grafana's SDK needs Python 3.11; what is committed is looked at everywhere."""
    missing = pytest.mark.skipif(sys.version_info < command.PYTHON, reason="grafana-foundation-sdk needs Python 3.11")
    return pytest.mark.optional(missing(test))


def render(options: RuleOptions) -> dict[str, str]:
    """The dashboards anew."""
    from otel_mlmon.bundle.grafana import render as sdk

    return sdk.render(options)


def house(options: RuleOptions) -> lint.House:
    """What dashboards of some options are held to."""
    groups = [group for text in render_rules(options).values() for group in parsed(text)]
    return lint.House(recorded(groups), lint.variables(BOARDS.values()), lint.anchors(RUNBOOKS), options)


@pytest.fixture(scope="module")
def shipped() -> lint.House:
    return house(RuleOptions())


def found(board: lint.Json, held: lint.House) -> list[str]:
    """What the linter finds, as text."""
    return [f"{rule}: {words}" for rule, words in (*lint.structure(board, held), *queries(board, held))]


def test_they_are_all_there() -> None:
    """Alerts and people's bookmarks name them."""
    uids = {board["uid"] for board in BOARDS.values()}
    assert {f"mlmon-{name}" for name in ("overview", "model", "data-quality", "drift", "meta")} <= uids
    assert {f"{uid}.json" for uid in uids} == set(BOARDS)


@pytest.mark.parametrize("name", BOARDS)
def test_the_linter_finds_nothing(name: str, shipped: lint.House) -> None:
    assert found(BOARDS[name], shipped) == []


def test_what_is_measured_is_shown() -> None:
    """By a dashboard, or by a recorded series that a dashboard reads: nobody pays for a family that nobody sees."""
    shown = {name for board in BOARDS.values() for name in read(board)}
    texts = render_rules(RuleOptions()).values()
    rules = [rule for text in texts for group in parsed(text) for rule in group["rules"] if "record" in rule]
    sources = {rule["record"]: frozenset[str]() for rule in rules}
    for rule in rules:
        sources[rule["record"]] |= {selector.name for selector, _ in selectors(promql_parser.parse(rule["expr"]))}
    waiting = list(shown)
    while waiting:
        new = sources.get(waiting.pop(), frozenset()) - shown
        shown |= new
        waiting += new
    seen = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    hidden = {family.name for family in CATALOG if family.area in SHOWN and family.prometheus_name not in shown | seen}
    assert hidden == set()


def test_the_overview_opens_fast() -> None:
    assert lint.loaded(BOARDS["mlmon-overview.json"]) <= QUERIES


@with_sdk
def test_the_committed_files_are_the_default_ones() -> None:
    assert render(RuleOptions()) == COMMITTED


@with_sdk
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2")
@pytest.mark.parametrize("name", BOARDS)
def test_grafana_knows_every_key(name: str) -> None:
    """The SDK's model reads a dashboard and writes the same: a misspelt key would be lost."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    assert list(_lost(BOARDS[name], json.loads(json.dumps(Dashboard.from_json(BOARDS[name]), cls=JSONEncoder)))) == []


def _lost(written: Any, read: Any, path: str = "") -> Iterator[str]:
    if isinstance(written, dict):
        for key, value in written.items():
            if not isinstance(read, dict) or key not in read:
                yield f"{path}/{key}"
            else:
                yield from _lost(value, read[key], f"{path}/{key}")
    elif isinstance(written, list):
        for place, value in enumerate(written):
            yield from _lost(value, read[place], f"{path}/{place}")
    elif written != read:
        yield f"{path}: {written!r}, read as {read!r}"


@with_sdk
def test_thresholds_are_those_of_the_rules() -> None:
    """Other thresholds in the rules, others in the dashboards: nobody wrote a number twice."""
    options = RuleOptions(thresholds={key: value * 3 for key, value in SHIPPED.items()})
    others = {name: json.loads(text) for name, text in render(options).items()}
    with_others, with_shipped = house(options), house(RuleOptions())
    assert [one for board in others.values() for one in found(board, with_others)] == []
    wrong = {name for name, board in others.items() if any(one.startswith("threshold: ") for one in found(board, with_shipped))}
    assert {"mlmon-overview.json", "mlmon-meta.json"} <= wrong


@pytest.mark.parametrize("series", SERIES)
def test_alerts_are_listed_once(series: Any, tmp_path: Path) -> None:
    """A warning under its critical alert is left out; what is of no version or no model is of all, and leads on."""
    missing, skew, slow = (
        {"alertname": name, "layer": layer} | of
        for name, layer, of in (
            ("MlmonFeatureMissing", "data_quality", {"model_name": "m", "model_version": "1", "feature": "a"}),
            ("MlmonVersionSkew", "lifecycle", {"model_name": "m"}),
            ("MlmonRulesSlow", "meta", {"rule_group": "g"}),
        )
    )
    firing = [(missing, "warning"), (missing, "critical"), (missing | {"feature": "b"}, "warning"), (skew, "warning")]
    values = {n.ALERTS: "1+0x10", n.ALERTS_FOR_STATE: "60+0x10"}
    inputs = [
        {
            "series": n.selector(name, **labels, severity=severity, **({"alertstate": "firing"} if name == n.ALERTS else {})),
            "values": all_,
        }
        for labels, severity in (*firing, (slow, "warning"))
        for name, all_ in values.items()
        if not (name == n.ALERTS_FOR_STATE and labels is slow)
    ]
    asked = {
        panel["title"]: panel["targets"][0]["expr"] for panel in BOARDS["mlmon-overview.json"]["panels"][:10] if "targets" in panel
    }
    by = "alertname, severity, feature, model_version, model_name, board, anchor"
    listed, since = f"max by ({by}) ({filled(asked['Firing alerts'])})", 60_000.0
    rows = {
        n.selector("", alertname=name, severity=severity, anchor=name, board=board, **of): value
        for name, severity, board, of, value in (
            (
                "MlmonFeatureMissing",
                "critical",
                "mlmon-data-quality",
                {"model_name": "m", "model_version": "1", "feature": "a"},
                since,
            ),
            (
                "MlmonFeatureMissing",
                "warning",
                "mlmon-data-quality",
                {"model_name": "m", "model_version": "1", "feature": "b"},
                since,
            ),
            ("MlmonVersionSkew", "warning", "mlmon-model", {"model_name": "m", "model_version": "All"}, since),
            ("MlmonRulesSlow", "warning", "mlmon-meta", {"model_name": "All", "model_version": "All"}, 0.0),
        )
    }
    expectations = [
        expectation(listed, 5, rows),
        *(expectation(filled(asked[title]), 5, {"{}": number}) for title, number in (("Critical alerts", 1), ("Warnings", 3))),
    ]
    tests = {"interval": "1m", "input_series": inputs, "promql_expr_test": expectations}
    assert not ask(require("promtool", series), tmp_path, [], tests)


def filled(expression: str) -> str:
    """Of model ``m``, version 1."""
    return expression.replace("$model_name", "m").replace("$model_version", "1")


def test_alerts_open_a_dashboard_that_is_there() -> None:
    """With variables that it has."""
    variables = lint.variables(BOARDS.values())
    groups = yaml.safe_load(render_rules(RuleOptions())[ALERTS_FILE])["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        address = urllib.parse.urlsplit(rule["annotations"]["dashboard_url"])
        uid = address.path.rpartition("/d/")[2]
        assert uid in variables, rule["alert"]
        assert set(re.findall(r"var-(\w+)=", address.query)) <= variables[uid], rule["alert"]


@with_sdk
def test_the_command_writes_what_options_ask_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without options the committed files; with them, other thresholds and runbooks."""
    assert main(["dashboards", "--out", str(tmp_path / "default")]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "default").iterdir()} == COMMITTED
    assert str(tmp_path / "default" / "mlmon-overview.json") in capsys.readouterr().out
    options = ["--latency-p99-warning", "0.25", "--runbook-base", "https://wiki.example.org/mlmon"]
    assert main(["dashboards", "--out", str(tmp_path / "own"), *options]) == 0
    seldom = ["--windows", "6h,1d", "--pairs", "6h:1d", "--drift-interval", "2h"]
    assert main(["dashboards", "--out", str(tmp_path / "seldom"), *seldom]) == 0
    assert "[124m]" in (tmp_path / "seldom" / "mlmon-drift.json").read_text(
        encoding="utf-8"
    )  # how long the rules remember the bins
    overview = (tmp_path / "own" / "mlmon-overview.json").read_text(encoding="utf-8")
    assert '"value": 0.25' in overview
    assert "https://wiki.example.org/mlmon#" in overview


def test_an_old_python_is_told_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PYTHON", (99, 0))
    assert main(["dashboards", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "needs Python 99.0 or newer" in said
    assert "dashboards/ of the source distribution" in said
    assert not list(tmp_path.iterdir())
