"""Which rule reads what which other rule records, and how often it has to wait."""

import re
from collections.abc import Mapping, Sequence

from otel_mlmon.bundle.yaml_text import Rule

_READ = re.compile(r"(?P<name>\bmlmon:[a-z0-9_:]+)(?:\{(?P<matchers>[^}]*)\})?(?:\[[^\]]*\])?(?P<past> offset \w+)?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')

LINKS = 4
"""Of a sum that runs on from rule to rule, how many rules are put into one: more make fewer stages and longer rules."""


def shortened(rules: Sequence[Rule]) -> list[Rule]:
    """The rules, with running sums (a rule that adds to another of the same name) cut into fewer links.

    Args:
        rules: In order.

    Returns:
        As many rules, which record the same. Each ``LINKS`` of a running sum no longer read each other: what they would read is put
        in its place.

    >>> first = {"record": "mlmon:a:sum", "expr": "x", "labels": {"bin": "00"}}
    >>> second = {"record": "mlmon:a:sum", "expr": 'y + on () mlmon:a:sum{bin="00"}', "labels": {"bin": "01"}}
    >>> shortened([first, second])[1]["expr"]
    'y + on () (x)'
    """
    done: list[Rule] = []
    depths: list[int] = []
    for rule in rules:
        expression, depth = str(rule["expr"]), 0
        for read in [*_READ.finditer(expression)][::-1]:
            before = [index for index, other in enumerate(done) if _feeds(other, read)]
            if read["name"] != rule.get("record") or len(before) != 1 or depths[before[0]] == LINKS - 1:
                continue
            depth = depths[before[0]] + 1
            expression = f"{expression[: read.start()]}({done[before[0]]['expr']}){expression[read.end() :]}"
        done.append({**rule, "expr": expression})
        depths.append(depth)
    return done


def stages(rules: Sequence[Rule]) -> list[int]:
    """How many rules, one after the other, each rule waits for.

    Args:
        rules: In order: what stands before its reader is read as just recorded. What stands behind it, and what is read with an
            ``offset``, is of the past: nobody waits for it.

    Returns:
        A number for each rule: 0 if it reads no other of the rules.

    >>> stages([{"record": "mlmon:a:b", "expr": "up"}, {"record": "mlmon:c:d", "expr": "mlmon:a:b > 1"}])
    [0, 1]
    """
    numbers: list[int] = []
    for rule in rules:
        reads = [read for read in _READ.finditer(str(rule["expr"])) if not read["past"]]
        waits = [number for other, number in zip(rules, numbers, strict=False) if any(_feeds(other, read) for read in reads)]
        numbers.append(max(waits, default=-1) + 1)
    return numbers


def _feeds(rule: Rule, read: re.Match[str]) -> bool:
    """Whether a rule records what a selector reads, as far as the labels that it sets tell."""
    if rule.get("record") != read["name"]:
        return False
    labels = rule.get("labels", {})
    return isinstance(labels, Mapping) and all(
        _matches(labels[label], how, value) for label, how, value in _MATCHER.findall(read["matchers"] or "") if label in labels
    )


def _matches(label: str, how: str, value: str) -> bool:
    equal = label == value if how in {"=", "!="} else re.fullmatch(value, label) is not None
    return equal == how.startswith("=")
