"""YAML text of a rule file; the library's core has no YAML dependency."""

import json
from collections.abc import Mapping, Sequence

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


def rule_file(
    groups: Mapping[str, Sequence[Rule]], *, interval: str, header: str, intervals: Mapping[str, str] | None = None
) -> str:
    """A rule file that Prometheus loads.

    Args:
        groups: Rules by the name of their group, both in order.
        interval: Evaluation interval of the groups.
        header: Comment above it, one or more lines.
        intervals: Those of groups that have one of their own, by name.

    Returns:
        The text: expressions as block scalars, every other string in double quotes (JSON strings are YAML).

    Source:
        https://yaml.org/spec/1.2.2/#732-double-quoted-style and #812-literal-style

    >>> print(rule_file({"g": [{"record": "a:b", "expr": "up"}]}, interval="1m", header="Made."), end="")
    # Made.
    groups:
      - name: "g"
        interval: "1m"
        rules:
          - record: "a:b"
            expr: |
              up
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines.append("groups:")
    for name, rules in groups.items():
        lines += [
            f"  - name: {json.dumps(name)}",
            f"    interval: {json.dumps((intervals or {}).get(name, interval))}",
            "    rules:",
        ]
        for rule in rules:
            block = [line for key, value in rule.items() for line in _entry(key, value)]
            lines += [f"      - {block[0]}", *(f"        {line}" for line in block[1:])]
    return "\n".join(lines) + "\n"


def _entry(key: str, value: str | Mapping[str, str]) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}:", *(f"  {name}: {json.dumps(text, ensure_ascii=False)}" for name, text in value.items())]
    if key == "expr":
        return [f"{key}: |", *(f"  {line}" for line in value.splitlines())]
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}"]
