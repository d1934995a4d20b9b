"""What a demanding engineer on call checks in every alert, read from its syntax tree."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import BOARDS
from otel_mlmon.bundle.options import milliseconds
from otel_mlmon.bundle.rules import ALERTS_FILE, RECORDING_FILE, RuleOptions, render
from otel_mlmon.bundle.serving_rules import CALL_WINDOWS
from otel_mlmon.thresholds import BUDGET_WINDOW, BURN_RATES, SHIPPED
from tests.promql.needed import parsed

FILES = {name: parsed(text) for name, text in render(RuleOptions()).items()}
ALERTS = [(group, rule) for group in FILES[ALERTS_FILE] for rule in group["rules"]]
RULES = [(group, rule) for groups in FILES.values() for group in groups for rule in group["rules"]]
INTERVAL = milliseconds(RuleOptions().interval)
OF_ALERTS = [pytest.param(group, rule, id=f"{rule['alert']}-{rule['labels']['severity']}") for group, rule in ALERTS]
SETS = {"and", "or", "unless"}
COUNTERS = {family.prometheus_name for family in catalog.CATALOG if family.type == "counter"} | {n.RULE_FAILURES}


def nodes(expression: Any) -> Iterator[Any]:
    """Every node of an expression."""
    yield expression
    for name in ("lhs", "rhs", "expr", "param"):
        child = getattr(expression, name, None)
        if isinstance(child, promql.Expr):
            yield from nodes(child)
    for child in getattr(expression, "args", None) or ():
        yield from nodes(child)


def tree(rule: dict[str, Any]) -> list[Any]:
    """The nodes of a rule's expression."""
    return list(nodes(promql.parse(rule["expr"])))


def is_scalar(node: Any) -> bool:
    """Whether a node is a number, or computed from numbers and the time."""
    if isinstance(node, promql.Call):
        return node.func.name in {"time", "scalar"}
    if isinstance(node, promql.BinaryExpr):
        return is_scalar(node.lhs) and is_scalar(node.rhs)
    if isinstance(node, (promql.ParenExpr, promql.UnaryExpr)):
        return is_scalar(node.expr)
    return isinstance(node, promql.NumberLiteral)


@pytest.mark.parametrize(("group", "rule"), OF_ALERTS)
def test_an_alert_says_all_that_people_and_routes_need(group: dict[str, Any], rule: dict[str, Any]) -> None:
    """Labels without templates: they would make a new alert of each value."""
    labels, notes = rule["labels"], rule["annotations"]
    assert re.fullmatch(r"Mlmon[A-Z]\w+", rule["alert"])
    assert labels["severity"] in {"info", "warning", "critical"} or (rule["alert"], labels["severity"]) == ("MlmonWatchdog", "none")
    assert group["name"] == f"mlmon-{labels['layer']}.alerts"
    assert labels["layer"] in BOARDS
    assert set(notes) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert all(text.strip() for text in notes.values())
    assert not any("{{" in text for text in labels.values())
    assert not re.search(r"humanize(Percentage)? *}", notes["description"])  # which makes 880m of 0.88
    assert notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    assert ("action" in labels) == ("cause" in labels) == (rule["alert"] == "MlmonRetrainingDue")


@pytest.mark.parametrize(("group", "rule"), OF_ALERTS)
def test_an_alert_waits_and_does_not_flap(group: dict[str, Any], rule: dict[str, Any]) -> None:
    """At least two evaluations of its group, and it fires on for at least as long; but for the dead man's switch."""
    if rule["alert"] != "MlmonWatchdog":
        assert milliseconds(rule["for"]) >= 2 * milliseconds(group["interval"])
        assert milliseconds(rule["keep_firing_for"]) >= 2 * milliseconds(group["interval"])
        judged = re.search(r"mlmon:feature_\w+:(drifted|exceeded)\b", rule["expr"])  # where rules have compared
        assert judged or any(isinstance(node, promql.BinaryExpr) for node in tree(rule))


@pytest.mark.parametrize(("group", "rule"), OF_ALERTS)
def test_expressions_match_by_named_labels(group: dict[str, Any], rule: dict[str, Any]) -> None:
    """A label that somebody adds to his targets must not silence an alert; nor is there an order that no one chose."""
    for node in tree(rule):
        if isinstance(node, promql.AggregateExpr):
            assert str(node.op) not in {"topk", "bottomk"}
        if not isinstance(node, promql.BinaryExpr) or is_scalar(node.lhs) or is_scalar(node.rhs):
            continue
        matching = getattr(node.modifier, "matching", None)
        assert str(node.op) == "or" or matching is not None, node.prettify()


@pytest.mark.parametrize(("group", "rule"), OF_ALERTS)
def test_divisors_are_above_nothing(group: dict[str, Any], rule: dict[str, Any]) -> None:
    """0 / 0 is NaN, which no comparison finds; x / 0 is more than any threshold."""
    for node in tree(rule):
        if isinstance(node, promql.BinaryExpr) and str(node.op) == "/" and not is_scalar(node.rhs):
            guard = node.rhs
            while isinstance(guard, promql.ParenExpr):
                guard = guard.expr
            assert isinstance(guard, promql.BinaryExpr), node.prettify()
            assert str(guard.op) in {">", ">="}, node.prettify()


def test_rates_are_of_counters_and_wide_enough() -> None:
    """Four intervals survive a failed scrape."""
    seen = 0
    for node in (node for _, rule in RULES for node in tree(rule)):
        if isinstance(node, promql.Call) and node.func.name in {"rate", "increase"}:
            (selected,) = node.args
            assert selected.vector_selector.name.removesuffix("_bucket") in COUNTERS | {catalog.CALL_DURATION.prometheus_name}
            assert selected.range.total_seconds() * 1000 >= 4 * INTERVAL
            seen += 1
    assert seen > 3


def test_what_an_alert_reads_is_recorded_before() -> None:
    """By rules of the same interval or a shorter one, or held at it."""
    recorded = {rule["record"] for group in FILES[RECORDING_FILE] for rule in group["rules"]}
    for _, rule in ALERTS:
        for name in re.findall(r"\bmlmon:[a-z0-9_:]+", rule["expr"]):
            assert name in recorded, (rule["alert"], name)


def test_drift_and_quality_ask_for_samples() -> None:
    """Themselves, or in what they read: a share of three rows is no news."""
    texts: dict[str, str] = {}
    for group in FILES[RECORDING_FILE]:
        for rule in group["rules"]:
            texts[rule["record"]] = texts.get(rule["record"], "") + rule["expr"]
    for _, rule in ALERTS:
        if rule["labels"]["layer"] in {"drift", "data_quality"}:
            text, seen = rule["expr"], set[str]()
            while fresh := set(re.findall(r"\bmlmon:[a-z0-9_:]+", text)) - seen:
                seen |= fresh
                text += " ".join(texts[name] for name in fresh)
            assert 'statistic="min_samples"' in text or re.search(r">= 10\b", rule["expr"]), rule["alert"]


def test_budgets_can_burn() -> None:
    """A public mixin ships a page that asks for more than all calls to fail."""
    slow, fast = ({pair[place] for pairs in BURN_RATES.values() for pair in pairs} for place in (1, 2))
    assert set(CALL_WINDOWS) == slow | fast
    assert BUDGET_WINDOW in slow
    shipped = SHIPPED["error_budget", "warning"]
    for pairs in BURN_RATES.values():
        for burn, long, short in pairs:
            assert burn * shipped < 1
            assert milliseconds(long) == 12 * milliseconds(short)
            for budget in (1e-6, 0.001, 0.01, 0.05, 0.07, 0.2, 0.5, 0.9, 0.999):
                assert budget <= min(burn, (1 + 1 / budget) / 2) * budget < 1
    rules = [rule["expr"] for _, rule in ALERTS if rule["alert"] == "MlmonErrorBudgetBurn"]
    limit = r"clamp_max\(\(1 \+ 1 / \(mlmon:threshold:model\{statistic=\"error_budget\"\} > 0\)\) / 2, ([\d.]+)\)"
    said = {float(burn) for text in rules for burn in re.findall(limit, text)}
    assert said == {burn for pairs in BURN_RATES.values() for burn, *_ in pairs}


def test_severities_of_one_condition_share_a_name() -> None:
    """Or the inhibition by alert name would not work."""
    by_name: dict[str, list[tuple[str, str]]] = {}
    for _, rule in ALERTS:
        by_name.setdefault(rule["alert"], []).append((rule["labels"]["severity"], rule["labels"].get("cause", "")))
    assert all(len(each) == len(set(each)) for each in by_name.values())
    assert not [name for name in by_name if re.search(r"(Critical|Warning|High2?Critical)$", name)]
