"""The runbooks: a section for each alert, each with all its parts, and queries that run."""

import json
import re
from pathlib import Path

import pytest
import yaml

from otel_mlmon import catalog
from otel_mlmon.bundle.rules import ALERTS_FILE, RuleOptions, render
from tests.promql.promtool import expectation, run
from tests.promql.troubled import MINUTES, SCALE, foreign, troubled
from tests.servers import SERIES, require

PAGE = (Path(__file__).parent.parent / "alert_rules" / "runbooks.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
RULES = {name: yaml.safe_load(text)["groups"] for name, text in render(RuleOptions()).items()}
ALERTS = [rule for group in RULES[ALERTS_FILE] for rule in group["rules"]]
PARTS = ("Means", "Check", "Causes", "Remedy", "Silence")
LABELS = {"model": "m m", "version": "1", "feature": "a b", "job": "mlmon", "instance": "a"}


def queries(section: str) -> list[str]:
    """What a section tells to ask."""
    return [text.strip() for text in re.findall(r"```promql\n(.*?)```", section, flags=re.DOTALL)]


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    """In the order of the table, which names layer and severities as the rules do."""
    said: dict[str, tuple[str, set[str]]] = {}
    for rule in ALERTS:
        said.setdefault(rule["alert"], (rule["labels"]["layer"], set()))[1].add(rule["labels"]["severity"])
    rows = re.findall(r"^\| \[(Mlmon\w+)\]\(#(\w+)\) \| (\w+) \| ([\w, ]+) \|", PAGE, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == list(SECTIONS)
    assert {name: (layer, set(severities.split(", "))) for name, _, layer, severities in rows} == said


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_all_its_parts(name: str) -> None:
    """In one order; at night nobody searches. Each of the first three checks has a query."""
    section = SECTIONS[name]
    assert tuple(re.findall(r"^\*\*(\w+)\.\*\*", section, flags=re.MULTILINE)) == PARTS
    texts = re.split(r"^\*\*\w+\.\*\*", section, flags=re.MULTILINE)[1:]
    assert all(len(text.split()) >= 4 for text in texts)
    checks = re.split(r"^\d\. ", texts[PARTS.index("Check")], flags=re.MULTILINE)[1:]
    assert len(checks) >= 3
    assert all(queries(check) for check in checks[:3])


def test_links_lead_somewhere() -> None:
    """Markdown makes an anchor of each heading, in lower case; each alert's address is one."""
    anchors = {name.lower() for name in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
    assert {rule["annotations"]["runbook_url"].partition("#")[2] for rule in ALERTS} == anchors


def test_queries_name_what_there_is() -> None:
    """A renamed series breaks here, not at night."""
    families = {family.prometheus_name for family in catalog.CATALOG}
    known = families | {rule.get("record") for groups in RULES.values() for group in groups for rule in group["rules"]}
    asked = [query for section in SECTIONS.values() for query in queries(section)]
    inline = [text for text in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)) if "mlmon:" in text]
    seen = {name for query in (*asked, *inline) for name in re.findall(r"\b(?:mlmon|process|system)[:_][a-z0-9_:]+[a-z0-9]", query)}
    assert seen - {"mlmon_"} <= known, seen - known
    assert len(set(asked)) > 70
    assert set(re.findall(r"\$(\w+)", " ".join(asked))) <= set(LABELS)


SILENT = (
    "sum(rate(mlmon_predictions_total",  # of yesterday; of calls that succeed
    "count by (model_name, model_version, instance)",  # nobody is scraped twice
    'bin="__unseen__"',  # of categories
    "mlmon:feature_unseen:ratio",
    'window="1d"}[40m]) == 0',
    'baseline="previous"',  # needs a day
)
"""Pieces of queries that have no answer for that model."""


@pytest.mark.parametrize("series", SERIES)
def test_queries_run(series: str, tmp_path: Path) -> None:
    """On a model in trouble: none fails, and each answers that can."""
    expectations = {}
    for text in sorted({query for section in SECTIONS.values() for query in queries(section)}):
        query = text
        for label, value in LABELS.items():
            query = query.replace(f"${label}", value)
        expectations[text] = expectation(f"absent({query})", MINUTES - 1, {})
    rules = render(RuleOptions(time_scale=SCALE, drift_interval="1m", statistics=()))
    said = run(require("promtool", series), tmp_path, rules, troubled()[:1], list(expectations.values()), foreign=foreign())
    assert "err:" not in said, said
    silent = {text for text, one in expectations.items() if json.dumps(one["expr"]) in said}
    assert silent == {text for text in expectations if any(piece in text for piece in SILENT)}
