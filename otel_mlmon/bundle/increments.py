"""Recording rules from the counters of a fleet to increments of its models, each group's at its own pace.

Fleet increments are telescoping differences, so sums over any window are exact (design.md §6): tested against numpy on the same
counts.
"""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.catalog import MetricFamily


class Pace:
    """How often a group of rules reads counters.

    Args:
        group: The label that tells its replicas from other groups'.
        every: Its evaluation interval.
        options: Lookback and delay.
    """

    def __init__(self, group: str, every: str, options: RuleOptions) -> None:
        self._every = milliseconds(every)
        self._interval, self._delay = milliseconds(options.interval), milliseconds(options.delay)
        self._lookback = milliseconds(options.lookback)
        self._group = group
        self._steady, self._counted = (n.selector(name, group=group) for name in (n.STEADY, n.COUNTED))

    def _now(self, selector: str) -> str:
        """So far back that what a replica counted last, before it vanished, is seen."""
        return self._last(selector, self._lookback + self._every - self._interval, self._delay)

    def _before(self, selector: str) -> str:
        """Only of replicas that were up then: all that others had counted was seen by the previous evaluation."""
        return self._last(selector, self._lookback, self._every + self._delay)

    @staticmethod
    def _last(selector: str, back: int, ago: int) -> str:
        offset = f" offset {duration(ago)}" if ago else ""
        return f"last_over_time({selector}[{duration(back)}]{offset})"

    def replicas(self) -> list[Rule]:
        """Which replicas count: rules that come before those of ``increment``."""
        start = catalog.START_TIME.prometheus_name
        now, before = self._now(start), self._before(start)
        # Whatever started earlier and was scraped would show in `before`.
        recent = (self._lookback + self._every + self._delay) / 1000
        return [
            record(n.STEADY, f"{now} == ignoring () {before}", group=self._group),
            # Of those that (re)started since the previous evaluation all that their counters hold is new.
            record(n.COUNTED, f"{self._steady} or ignoring (group) ({now} > time() - {recent:g})", group=self._group),
        ]

    def increment(self, name: str, family: MetricFamily, keep: tuple[str, ...] = (), *, suffix: str = "", **where: str) -> Rule:
        """Exact increment of the fleet's counter since the previous evaluation: no extrapolation.

        What a replica counts between an evaluation and its restart is lost; what it counts before it vanishes is not.

        Sums first, differences then: most work is per series of a replica, and a sum is cheaper than a difference.

        Args:
            name: What to record.
            family: The counter.
            keep: Labels beside the model's that the sum keeps.
            suffix: ``_bucket`` for a histogram's.
            where: Labels that select some of its series.
        """
        selector = n.selector(family.prometheus_name + suffix, **where)
        own = ", ".join((*n.further_labels(family), *(("le",) if suffix else ()), "group"))
        by = ", ".join((*n.MODEL_LABELS, *keep))
        now = f"sum by ({by}) ({self._now(selector)} and ignoring ({own}) {self._counted})"
        return record(
            name,
            f"""
clamp_min(
  sum by ({by}) (
      {n.tagged(now, "now")}
    or
      -sum by ({by}) ({self._before(selector)} and ignoring ({own}) {self._steady})
  ),
  0
)""",
        )
