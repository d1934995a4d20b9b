"""What is recorded seldom, at hand at any time: queries do not see a sample of more than five minutes ago."""

import re
from collections.abc import Sequence

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import RATIOS
from otel_mlmon.bundle.statistics_rules import recorded
from otel_mlmon.bundle.yaml_text import Rule, record

_NAME = re.compile(r"\bmlmon:[a-z0-9_:]+")
_NAMED = ("record", "expr")

_WHOLE = (
    *(n.REFERENCE_STATISTIC, n.REFERENCE_CORRELATION, n.REFERENCE_MISSING, n.REFERENCE_UNSEEN),
    *(n.COUNT, n.MEAN_SHIFT, n.COVERED, n.NORMAL, n.NOISE, n.BELIEVABLE, n.DRIFT_THRESHOLD),
    *(n.DRIFTED, n.DRIFTED_COUNT, n.DRIFTED_RATIO),
    *(n.FEATURE_ROWS, *RATIOS, n.SHARE_THRESHOLD, n.EXCEEDED, n.STATISTIC),
    *(n.CORRELATION, n.CORRELATION_SAMPLES, n.CORRELATION_SHIFT, n.CORRELATION_Z, n.CORRELATION_THRESHOLD),
    n.CORRELATION_DRIFTED,
)
"""What is held in full."""


def holding(rules: Sequence[Rule], options: RuleOptions) -> tuple[list[Rule], list[Rule]]:
    """Rules under names of their own, and those that hold their last values under the public names.

    Args:
        rules: Of one group, by public names.
        options: Intervals; unless ``holds``, the rules stay as they are and nothing is held.

    Returns:
        Rules of the group, and of one that is evaluated at every ``alert_interval``.
    """
    if not options.holds:
        return [*rules], []
    public = _public(options)
    held = [
        record(name, f"last_over_time({n.selector(n.late(name), **where)}[{options.kept}] offset {options.behind})")
        for name, where in public.items()
    ]
    return [_renamed(rule, public) for rule in rules], held


def _renamed(rule: Rule, public: dict[str, dict[str, str]]) -> Rule:
    renamed = {key: _NAME.sub(lambda name: n.late(name[0]) if name[0] in public else name[0], str(rule[key])) for key in _NAMED}
    return {**rule, **renamed}


def _public(options: RuleOptions) -> dict[str, dict[str, str]]:
    """What alerts, dashboards and people read: name -> matchers of what they read of it."""
    alone = "|".join(sorted(recorded(options) - set(options.statistics)))
    drift = {"statistic": f"!~{alone}"} if alone else {}
    some = {n.REFERENCE_WEIGHT: {"bin": "00"}, n.DRIFT: drift}
    return {name: some.get(name, {}) for name in (*some, *_WHOLE)}
