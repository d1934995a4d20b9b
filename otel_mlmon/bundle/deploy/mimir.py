"""The rules as a namespace of the ruler of Grafana Mimir or Cortex."""

from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import HEADER, rule_groups
from otel_mlmon.bundle.yaml_text import comment, groups_key

NAMESPACE = "mlmon"

_FILE = "mlmon.yml"


def render(options: RuleOptions) -> dict[str, str]:
    """The groups of the rule files, as they are, in one namespace.

    A ruler evaluates a group as Prometheus does: its rules one after the other, each on what those before it have just written.
    Groups run beside each other, so a group cannot be cut to fit a limit without losing that order.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        YAML text by file name, for ``mimirtool rules load`` and ``cortextool rules load``. Its header says which limits it needs.

    Source:
        https://grafana.com/docs/mimir/latest/configure/configuration-parameters/#limits

    >>> render(RuleOptions())["mlmon.yml"].splitlines()[-1] != ""
    True
    """
    groups = [group for each in rule_groups(options).values() for group in each]
    most = max(len(group.rules) for group in groups)
    header = (
        f"{HEADER}\n"
        "Mimir allows 20 rules in a group and 70 groups unless told otherwise; Cortex sets no limit. This file needs:\n"
        f"  ruler_max_rules_per_rule_group_by_namespace: {{{NAMESPACE}: {most}}}\n"
        "    (before Mimir 2.14: ruler_max_rules_per_rule_group)\n"
        f"  ruler_max_rule_groups_per_tenant: {len(groups)} more than you use"
    )
    return {_FILE: "\n".join([*comment(header), f"namespace: {NAMESPACE}", *groups_key(groups)]) + "\n"}
