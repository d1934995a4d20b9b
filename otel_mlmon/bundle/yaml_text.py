"""YAML text of a rule file; the library's core has no YAML dependency."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Rule = Mapping[str, str | Mapping[str, str]]
"""The keys of one rule in order: ``record`` or ``alert``, ``expr``, ``for``, ``labels``, ..."""


def record(name: str, expression: str, **labels: str) -> Rule:
    """A recording rule.

    Args:
        name: The series that it writes.
        expression: PromQL, one or more lines.
        labels: Labels that it sets.

    Returns:
        A rule for ``rule_file``.

    >>> record("a:b", "up", window="1h")
    {'record': 'a:b', 'expr': 'up', 'labels': {'window': '1h'}}
    """
    rule: dict[str, str | dict[str, str]] = {"record": name, "expr": expression.strip("\n")}
    if labels:
        rule["labels"] = labels
    return rule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, one after the other.

    Args:
        name: Unique among all groups.
        interval: Between evaluations.
        rules: In order: each may read what those before it have just recorded.
        further: Further keys of the group, by name, JSON values: what the program that reads the file knows beyond Prometheus.
    """

    name: str
    interval: str
    rules: tuple[Rule, ...]
    further: Mapping[str, object] = field(default_factory=dict)


def rule_file(groups: Sequence[Group], *, header: str) -> str:
    """A rule file that Prometheus loads.

    Args:
        groups: In order.
        header: Comment above them, one or more lines.

    Returns:
        The text: expressions as block scalars, every other string in double quotes (JSON strings are YAML).

    Source:
        https://yaml.org/spec/1.2.2/#732-double-quoted-style and #812-literal-style

    >>> print(rule_file([Group("g", "1m", ({"record": "a:b", "expr": "up"},))], header="Made."), end="")
    # Made.
    groups:
      - name: "g"
        interval: "1m"
        rules:
          - record: "a:b"
            expr: |
              up
    """
    return "\n".join([*comment(header), *groups_key(groups)]) + "\n"


def comment(text: str) -> list[str]:
    """The lines of a comment."""
    return [f"# {line}".rstrip() for line in text.splitlines()]


def groups_key(groups: Sequence[Group]) -> list[str]:
    """The lines of the key ``groups`` of a rule file, or of whatever else holds rule groups."""
    lines = ["groups:"]
    for group in groups:
        lines += [f"  - name: {json.dumps(group.name)}", f"    interval: {json.dumps(group.interval)}"]
        lines += [f"    {key}: {json.dumps(value)}" for key, value in group.further.items()]
        lines.append("    rules:")
        for rule in group.rules:
            block = [line for key, value in rule.items() for line in _entry(key, value)]
            lines += [f"      - {block[0]}", *(f"        {line}" for line in block[1:])]
    return lines


def _entry(key: str, value: str | Mapping[str, str]) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}:", *(f"  {name}: {json.dumps(text, ensure_ascii=False)}" for name, text in value.items())]
    if key == "expr":
        return [f"{key}: |", *(f"  {line}" for line in value.splitlines())]
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}"]
