"""What is left out of promtool's runs: only rules that nothing asked for can read."""

import pytest

from otel_mlmon.bundle.rules import RuleOptions, render
from tests.promql.needed import needed, parsed

GROUPS = parsed("""
groups:
  - name: first
    rules:
      - {record: "a:b", expr: "up"}
      - {record: "a:c", expr: 'sum by (x) (a:b{x="a:d{}"}) or 1 * on (x) vector(0)', labels: {window: 1h}}
      - {record: "a:c", expr: "a:d", labels: {window: 6h}}
  - name: second
    rules:
      - {record: "a:d", expr: "vector(1)"}
      - {alert: A, expr: 'a:c{window!="6h", other="6h"} > 1', labels: {severity: warning, who: "{{ $labels.x }}"}}
      - {alert: B, expr: 'a:d > 1', labels: {severity: critical}}
""")


@pytest.mark.parametrize(
    ("question", "places"),
    [
        ("a:b", [0]),
        ('a:c{window="1h"}', [0, 1]),
        ('rate(a:c{window=~"6.", feature="f"}[5m] offset 1m)', [2, 3]),
        ("a:c", [0, 1, 2, 3]),
        ('count({__name__=~"a:[bd]"})', [0, 3]),
        ('{window!~"6h"}', [0, 1, 3, 4, 5]),
        ("ALERTS", [0, 1, 3, 4, 5]),
        ('ALERTS{alertname="A", who="m"}', [0, 1, 4]),
        ('ALERTS{severity="critical"}', [3, 5]),
        ("up", []),
    ],
)
def test_what_a_question_reads_stays_and_what_that_reads(question: str, places: list[int]) -> None:
    """By hand: names, patterns, labels that contradict and labels that come from the data."""
    rules = [rule for group in GROUPS for rule in group["rules"]]
    left = needed(GROUPS, [question])
    assert [rule for group in left for rule in group["rules"]] == [rules[place] for place in places]
    assert all(group["rules"] for group in left)


def test_of_the_default_rules_all_is_read_by_someone() -> None:
    """Names with digits, colons and braces in their braces: nothing is overlooked."""
    groups = [group for text in render(RuleOptions()).values() for group in parsed(text)]
    assert needed(groups, ['{__name__=~"mlmon:.+|ALERTS"}']) == groups
