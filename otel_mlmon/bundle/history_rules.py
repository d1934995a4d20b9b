"""Recording rules of the level that drift reaches in normal operation, learned from what was recorded before.

For models that ask for it (``Monitor(learn_normal="14d")``), above all those whose training data has no timestamps.

Sources:
    Upper control limit at three deviations, Shewhart (1931), of the logarithm, since distances are skew; and never less than the
    largest value of the history. Its false alarms on real flights: ``make eval``.
"""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.reference_rules import NUMERIC
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import HISTORIES, MARGIN, MIN_COVERED

_INTERVALS = 30
"""The history is recorded once in so many evaluations: neighbours of a sliding window tell nothing new."""

_PER_DAY = 8
"""But at least so often a day."""

_DAY = "1d"

_MIN_SPANS = 8
"""Days, or windows that are longer, that must be in the history: fewer cannot tell a usual level from an unusual one."""

_REMEMBERED = "7d"
_KEPT = "6h"
"""How long a learned level holds without being renewed: or a Prometheus that comes back would alarm as if there were none."""

_DEVIATIONS = 3
_SMALLEST = 1e-9
_BOTH = f"on ({n.WINDOW}, statistic)"


def history_interval(options: RuleOptions) -> str:
    """Evaluation interval of the group of ``history_rules``, real time."""
    often = milliseconds(options.scaled(_DAY)) / _PER_DAY
    return duration(max(milliseconds(options.interval), min(_INTERVALS * milliseconds(options.interval), often)))


def normal(options: RuleOptions) -> Rule:
    """The level of normal operation in force: the learned one, else the reference's.

    Args:
        options: Intervals.

    Returns:
        A rule for the fast group, behind those of the references.
    """
    kept = max(_memory(options), options.scaled(_KEPT), key=milliseconds)
    learned = f"last_over_time({n.LEARNED_LEVEL}[{kept}])"
    return record(n.NORMAL, f"{learned}\nor {_BOTH}\n  {n.REFERENCE_LEVEL}")


def history_rules(options: RuleOptions) -> list[Rule]:
    """From drift to its logarithm in normal operation, and from that to the learned level.

    What is over the critical margin of the least level of the last week is left out, so that a time that alarms is not learned as
    normal. A shift that lasts is, in the end: once less than eight days are left of the time before it, there is no learned level,
    a week later nothing is left out, and after eight days of it, it is learned: three weeks after it came (five, of 28 days).

    Args:
        options: Windows, intervals, time scale.

    Returns:
        Rules of a group of their own, behind the fast one.
    """
    asked = f"last_over_time({catalog.NORMAL_HISTORY.prometheus_name}[{_memory(options)}])"
    rules = [record(n.NORMAL_HISTORY, f"max by ({n.MODEL}) ({asked})")]
    windows = "=~" + "|".join(options.alert_windows)
    # Of a week: a window slides into drift too slowly to exceed the level of a moment ago by so much.
    usual = f"{MARGIN['critical']:g} * min_over_time({n.LEARNED_LEVEL}[{_back(_REMEMBERED, options)}])"
    for statistic, kind in (("wasserstein", "and"), ("psi", "unless")):
        drift = n.selector(n.DRIFT, statistic=statistic, baseline="training", window=windows)
        rules.append(
            record(
                n.DRIFT_LOG,
                f"""
max by ({n.WINDOW}) (ln(clamp_min({drift}, {_SMALLEST:g})))
  and on ({n.MODEL}) {n.NORMAL_HISTORY}
  and on ({n.WINDOW}) ({n.COUNT} >= on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, statistic="min_samples")})
  and on ({n.MODEL}, window) ({n.COVERED} >= {MIN_COVERED:g})
  {kind} on ({n.FEATURE}) {NUMERIC}
  unless on ({n.WINDOW}) ({drift} > {_BOTH} {usual})""",
                statistic=statistic,
            )
        )
    levels = f"\nor {_BOTH}\n".join(_level(length, seconds, options) for length, seconds in HISTORIES.items())
    return [*rules, record(n.LEARNED_LEVEL, levels)]


def _level(length: str, seconds: float, options: RuleOptions) -> str:
    """Learned from one length of history: all windows up to a day, and those longer ones that fit into it often enough."""
    back = _back(length, options)
    spans: dict[str, list[str]] = {}
    for window in options.alert_windows:
        spans.setdefault(max(window, _DAY, key=milliseconds), []).append(window)
    enough = "\n    or\n      ".join(
        f"(count_over_time(last_over_time({n.selector(n.DRIFT_LOG, window='=~' + '|'.join(windows))}[{_back(span, options)}])"
        f"[{back}:{options.scaled(span)}]) >= {_MIN_SPANS})"
        for span, windows in spans.items()
    )
    limit = f"avg_over_time({n.DRIFT_LOG}[{back}]) + {_DEVIATIONS} * stddev_over_time({n.DRIFT_LOG}[{back}])"
    return f"""\
exp(max by ({n.WINDOW}, statistic) (
    {n.tagged(limit, "limit")}
  or
    {n.tagged(f"max_over_time({n.DRIFT_LOG}[{back}])", "largest")}
))
  and {_BOTH} (
      {enough}
  )
  and on ({n.MODEL}) ({n.NORMAL_HISTORY} == {seconds:.0f})"""


def _back(length: str, options: RuleOptions) -> str:
    """Half an evaluation shorter: see ``RuleOptions.span``."""
    return duration(milliseconds(options.scaled(length)) - milliseconds(history_interval(options)) / 2)


def _memory(options: RuleOptions) -> str:
    """So long is remembered what was said last: two evaluations of the history, and some delay."""
    return duration(2.5 * milliseconds(history_interval(options)))
