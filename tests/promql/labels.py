"""Which labels a PromQL expression can have, and which of their values, by the rules that record what it reads."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import promql_parser

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n

Labels = Mapping[str, frozenset[str] | None]
"""Label -> its possible values; None if they cannot be known."""

Series = dict[str, Labels]
"""Series by name."""

UNKNOWN = "x"
"""What stands for a variable's value."""

_RULES = dict.fromkeys(("rule_group", "job", "instance"))
_TARGET = dict.fromkeys(("job", "instance"))
_SELECTING = {"topk", "bottomk", "limitk", "limit_ratio"}


def recorded(groups: Iterable[Mapping[str, Any]]) -> Series:
    """Every series there is: the catalogue's, those of rules, and Prometheus's own.

    Args:
        groups: Of rule files, in any order: rules may read what later ones record.
    """
    series = _scraped()
    rules = [(rule, promql_parser.parse(rule["expr"])) for group in groups for rule in group["rules"]]
    before = None
    while before != series:
        before = dict(series)
        for rule, tree in rules:
            own = {label: None if "{{" in value else frozenset((value,)) for label, value in rule.get("labels", {}).items()}
            labels = {**of(tree, series), **own}
            if "record" in rule:
                series[rule["record"]] = _either(series.get(rule["record"]), labels)
            else:
                labels["alertname"] = frozenset((rule["alert"],))
                series[n.ALERTS_FOR_STATE] = _either(series.get(n.ALERTS_FOR_STATE), labels)
                series[n.ALERTS] = _either(series.get(n.ALERTS), {**labels, "alertstate": frozenset(("firing", "pending"))})
    return series


def _scraped() -> Series:
    series: Series = {}
    for family in catalog.CATALOG:
        labels = dict.fromkeys((*family.prometheus_labels, *_TARGET))
        series[family.prometheus_name] = labels
        if family.type == "histogram":
            series |= {f"{family.prometheus_name}{suffix}": labels for suffix in ("_sum", "_count")}
            series[f"{family.prometheus_name}_bucket"] = {**labels, "le": None}
    series |= dict.fromkeys((n.RULE_FAILURES, n.RULE_DURATION, n.RULE_INTERVAL, n.RULES_MISSED), _RULES)
    series[n.UP] = _TARGET
    return series


def _either(one: Labels | None, other: Labels) -> Labels:
    if one is None:
        return other
    together = {**one, **other}
    for label in one.keys() & other.keys():
        mine, theirs = one[label], other[label]
        together[label] = None if mine is None or theirs is None else mine | theirs
    return together


def of(node: Any, series: Series, wrong: list[str] | None = None) -> dict[str, frozenset[str] | None]:
    """Labels of an expression.

    Args:
        node: What ``promql_parser.parse`` returns.
        series: What ``recorded`` returns.
        wrong: Takes up what cannot be: series that nobody records, labels that a series never has, values that a label never has.

    Returns:
        Every label that some series of the answer may have.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/operators/#vector-matching
    """
    wrong = [] if wrong is None else wrong
    match type(node).__name__:
        case "VectorSelector":
            return _selected(node, series, wrong)
        case "MatrixSelector":
            return _selected(node.vector_selector, series, wrong)
        case "NumberLiteral" | "StringLiteral":
            return {}
        case "AggregateExpr":
            return _aggregated(node, series, wrong)
        case "BinaryExpr":
            return _joined(node, series, wrong)
        case "Call":
            return _called(node, series, wrong)
        case _:  # parentheses, a sign, a subquery
            return of(node.expr, series, wrong)


def selectors(node: Any, function: str = "") -> Iterator[tuple[Any, str]]:
    """Every selector of an expression, with the function that is applied to it."""
    match type(node).__name__:
        case "VectorSelector":
            yield node, function
        case "MatrixSelector":
            yield node.vector_selector, function
        case "Call":
            for argument in node.args:
                yield from selectors(argument, node.func.name)
        case _:
            for part in ("lhs", "rhs", "expr"):
                if hasattr(node, part):
                    yield from selectors(getattr(node, part))


def _selected(node: Any, series: Series, wrong: list[str]) -> dict[str, frozenset[str] | None]:
    if node.name not in series:
        wrong.append(f"series: nobody records {node.name}")
        return {}
    labels = dict(series[node.name])
    for matcher in node.matchers.matchers:
        operator = str(matcher.op).rpartition(".")[2]
        if matcher.name not in labels:
            wrong.append(f"label: {node.name} has no label {matcher.name}")
            continue
        values = labels[matcher.name]
        if operator == "Equal" and values is not None and matcher.value not in {*values, "", UNKNOWN}:
            wrong.append(f"value: {node.name} never has {matcher.name}={matcher.value!r}, but {sorted(values)}")
        if operator == "Equal":
            labels[matcher.name] = frozenset((matcher.value,))
        elif operator == "Re" and values is not None and not _open(matcher.value):
            labels[matcher.name] = frozenset(value for value in values if re.fullmatch(matcher.value, value))
            if not labels[matcher.name]:
                wrong.append(f"value: {node.name} never has {matcher.name}=~{matcher.value!r}, but {sorted(values)}")
    return labels


def _open(pattern: str) -> bool:
    return UNKNOWN in pattern.split("|")


def _aggregated(node: Any, series: Series, wrong: list[str]) -> dict[str, frozenset[str] | None]:
    inner = of(node.expr, series, wrong)
    named = list(node.modifier.labels) if node.modifier else []
    wrong += [f"label: grouped by {label}, which {node.op} reads nowhere" for label in named if label not in inner]
    if str(node.op) in _SELECTING:
        return inner
    if node.modifier and str(node.modifier.type).endswith("Without"):
        return {label: values for label, values in inner.items() if label not in named}
    kept = {label: inner.get(label) for label in named}
    return kept | ({node.param.val: None} if str(node.op) == "count_values" else {})


def _joined(node: Any, series: Series, wrong: list[str]) -> dict[str, frozenset[str] | None]:
    left, right = of(node.lhs, series, wrong), of(node.rhs, series, wrong)
    matching = node.modifier.matching if node.modifier else None
    on = matching is not None and str(matching.type).endswith("Include")
    named = list(matching.labels) if matching is not None else []
    for side in (left, right) if on else ():
        wrong += [f"label: matched on {label}, which one side has not" for label in named if label not in side]
    if str(node.op) in {"and", "unless"}:
        return left
    if str(node.op) == "or" or node.modifier is None:
        return dict(_either(left, right))
    card = str(node.modifier.card).rpartition(".")[2]
    if card in {"ManyToOne", "OneToMany"}:
        many, one = (left, right) if card == "ManyToOne" else (right, left)
        return many | {label: one.get(label) for label in node.modifier.group_labels or ()}
    if matching is None:
        return dict(_either(left, right))
    return {label: values for label, values in left.items() if (label in named) == on}


def _called(node: Any, series: Series, wrong: list[str]) -> dict[str, frozenset[str] | None]:
    labels: dict[str, frozenset[str] | None] = {}
    for argument in node.args:
        labels |= of(argument, series, wrong)
    words = [argument.val for argument in node.args if type(argument).__name__ == "StringLiteral"]
    if node.func.name == "label_replace":
        target, value, source, _ = words
        wrong += [f"label: {target} is made of {source}, which is not there"] if source and source not in labels else []
        constant = frozenset((value,)) if "$" not in value and target not in labels else None
        return labels | {target: constant}
    if node.func.name == "label_join":
        wrong += [f"label: {words[0]} is made of {label}, which is not there" for label in words[2:] if label not in labels]
        return labels | {words[0]: None}
    if node.func.name == "histogram_quantile":
        labels.pop("le", None)
    return labels
