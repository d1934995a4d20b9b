"""The rules for vmalert: in stages, since it reads what it wrote only some seconds later."""

from collections import defaultdict

from otel_mlmon.bundle.deploy import chain
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.rules import HEADER, rule_groups
from otel_mlmon.bundle.yaml_text import Group, Rule, rule_file

LEAST_DISTANCE = "3s"
"""Between stages: vmalert's flush (``-remoteWrite.flushInterval=500ms``) and VictoriaMetrics's (2 s)."""

_MOST_DISTANCE = 10_000

_NOW = {"latency_offset": ["1ms"]}
"""Asked with this, VictoriaMetrics does not leave out the last 30 s (``-search.latencyOffset``): the stages lie in them."""


def render(options: RuleOptions, *, least: str = LEAST_DISTANCE) -> dict[str, str]:
    """The rule files, cut into groups that run one after the other.

    vmalert sends what a rule records to the storage by remote write, in batches, and asks the storage again for the next rule:
    within a group a rule reads what the one before it recorded an interval ago. Groups with different ``eval_offset`` run in order.
    So rules that wait for no other form the first stage, those that read these the second, and so on. All stages end within the
    first half of the interval: what reads "as of half an interval ago" reads what belongs together.

    Args:
        options: Windows, intervals, thresholds.
        least: How far apart the stages must be at least.

    Returns:
        YAML text by file name.

    Raises:
        ValueError: If an interval is too short for the stages.

    Source:
        https://docs.victoriametrics.com/victoriametrics/vmalert/#chaining-groups

    >>> sorted(render(RuleOptions()))
    ['mlmon.alerts.yml', 'mlmon.rules.yml']
    """
    files = rule_groups(options)
    beside = defaultdict(list)
    for group in (group for groups in files.values() for group in groups):
        beside[group.interval].append(group)
    staged = {name: rules for same in beside.values() for name, rules in _staged(same).items()}
    distance = min([_MOST_DISTANCE, *(_room(interval, same, staged, milliseconds(least)) for interval, same in beside.items())])
    header = (
        f"{HEADER}\n"
        f"Stages are {duration(distance)} apart: vmalert needs -remoteWrite.flushInterval=500ms, and to read where it writes."
    )
    return {
        name: rule_file([part for group in groups for part in _parts(group, staged[group.name], distance)], header=header)
        for name, groups in files.items()
    }


def _staged(groups: list[Group]) -> dict[str, list[tuple[int, Rule]]]:
    """The rules of each group, with their stage among the rules of all these groups."""
    rules = [rule for group in groups for rule in chain.shortened(group.rules)]
    numbered = zip(chain.stages(rules), rules, strict=True)
    return {group.name: [next(numbered) for _ in group.rules] for group in groups}


def _room(interval: str, groups: list[Group], staged: dict[str, list[tuple[int, Rule]]], least: int) -> int:
    """Milliseconds from stage to stage, so that all fit into half an interval."""
    stages = 1 + max(stage for group in groups for stage, _ in staged[group.name])
    room = milliseconds(interval) // 2 // stages
    if room < least:
        raise ValueError(
            f"interval {interval}: vmalert needs {stages} stages {duration(least)} apart in its first half; "
            f"it must be at least {duration(2 * stages * least)}"
        )
    return room - room % 1000 if room > 1000 else room


def _parts(group: Group, rules: list[tuple[int, Rule]], distance: int) -> list[Group]:
    """The group, cut by stage; one that is on a single stage keeps its name."""
    by_stage = defaultdict(list)
    for stage, rule in rules:
        by_stage[stage].append(rule)
    return [
        Group(
            group.name if len(by_stage) == 1 else f"{group.name} {stage:02}",
            group.interval,
            tuple(by_stage[stage]),
            {"eval_offset": duration(stage * distance), "params": _NOW},
        )
        for stage in sorted(by_stage)
    ]
