"""The rules that a question rests on: promtool evaluates every rule of a file at every minute, also those that nobody reads."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

Rule = dict[str, Any]
Group = dict[str, Any]
Matcher = tuple[str, str, str]
"""Label, operator, value."""

_BRACES = r'\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\}'
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)(?:{_BRACES})?|{_BRACES}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')


def parsed(text: str) -> list[Group]:
    """The groups of a rule file."""
    groups: list[Group] = yaml.load(text, yaml.CSafeLoader)["groups"]
    return groups


def needed(groups: Iterable[Group], questions: Iterable[str]) -> list[Group]:
    """Groups in order, with the rules that a question reads, itself or through other rules, and no others.

    Args:
        groups: Of one or more rule files.
        questions: Expressions; ``ALERTS`` reads alerts. A rule stays unless its own labels contradict each selector.
    """
    groups = list(groups)
    waiting = dict(enumerate(rule for group in groups for rule in group["rules"]))
    expressions, kept = list(questions), set()
    while expressions:
        selectors = list(_selectors(expressions.pop()))
        read = [number for number, rule in waiting.items() if any(_may_see(selector, rule) for selector in selectors)]
        expressions += [waiting.pop(number)["expr"] for number in read]
        kept.update(read)
    numbers = iter(range(sum(len(group["rules"]) for group in groups)))
    left = [group | {"rules": [rule for rule in group["rules"] if next(numbers) in kept]} for group in groups]
    return [group for group in left if group["rules"]]


def _selectors(expression: str) -> Iterator[list[Matcher]]:
    """What may be selectors: words that are functions or labels name no rule."""
    for name, braces, alone in _SELECTOR.findall(expression):
        yield [*([("__name__", "=", name)] if name else []), *_MATCHER.findall(braces or alone)]


def _may_see(selector: Iterable[Matcher], rule: Rule) -> bool:
    labels: Mapping[str, str] = {
        **{label: value for label, value in rule.get("labels", {}).items() if "{{" not in value},
        **({"__name__": rule["record"]} if "record" in rule else {"__name__": "ALERTS", "alertname": rule["alert"]}),
    }
    return all(_holds(operator, labels[label], value) for label, operator, value in selector if label in labels)


def _holds(operator: str, found: str, value: str) -> bool:
    same = re.fullmatch(value, found) is not None if "~" in operator else found == value
    return same != operator.startswith("!")
