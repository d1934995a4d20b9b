"""Queries of the dashboard of drift: one model and version, each measured thing as multiples of its threshold.

The variables are single-valued, so the selectors compare them literally: a feature may be called ``delay (min)``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions

INPUTS = "!~@.*"
OUTPUTS = "=~" + "|".join(catalog.OUTPUTS)
TOGETHER = catalog.RECONSTRUCTION_ERROR
ANYTHING = "!="
"""Matchers of features."""

WINDOW = "$window"
RANGE = "$__range:30m"
"""Of a subquery: what the reader sees, as fine as windows of an hour need it."""

CALM, ONCE, DRIFTED, PAGED, FEW = 0, 1, 2, 3, -1
"""States: below its threshold; above it in one window; in both windows of a pair; critical, likewise; no window may alarm."""


def of_model(name: str, **labels: str) -> str:
    """A selector of the chosen model and version.

    Args:
        name: The series.
        labels: Further matchers, as ``names.selector`` reads them.

    >>> of_model("a", window="1h")
    'a{model_name="$model_name", model_version="$model_version", window="1h"}'
    """
    return n.selector(name, **{label: f"${label}" for label in n.MODEL_LABELS}, **labels)


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that drifts, and its threshold.

    Args:
        by: Labels that tell one from another: a table's row.
        on: Labels that value and threshold share, beside the window.
        value: The measured values in windows, a matcher.
        limit: Thresholds, of a severity and windows.
        rows: How many rows it is measured on, in windows.
        drifted: Those above their threshold of a severity in both windows of some pair, as the alerts have it.
    """

    by: str
    on: str
    value: Callable[[str], str]
    limit: Callable[[str, str], str]
    rows: Callable[[str], str]
    drifted: Callable[[str], str]

    def times(self, window: str, *, severity: str = "warning", by: str = "") -> str:
        """How many times its threshold each reaches: the greatest of the windows.

        Args:
            window: Matcher.
            severity: Whose threshold.
            by: Labels that stay; ``by`` of the measure if empty.
        """
        ratio = f"{self.value(window)} / on ({self.on}, window) {self.limit(severity, window)}"
        return f"max by ({by or self.by}) ({ratio})"

    def over(self, window: str, severity: str) -> str:
        """The values above their threshold."""
        return f"({self.value(window)} > on ({self.on}, window) {self.limit(severity, window)})"

    def state(self, options: RuleOptions) -> str:
        """One of the states above, by row."""
        every = "=~" + "|".join(options.alert_windows)
        states = {
            FEW: f"{FEW} * group by ({self.by}) ({self.rows(every)})",
            CALM: f"{CALM} * {self.times(every)}",
            ONCE: f"group by ({self.by}) {self.over(every, 'warning')}",
            DRIFTED: f"{DRIFTED} * group by ({self.by}) ({self.drifted('warning')})",
            PAGED: f"{PAGED} * group by ({self.by}) ({self.drifted('critical')})",
        }
        return f"max by ({self.by}) ({' or '.join(n.tagged(one, str(state)) for state, one in states.items())})"

    def worst(self, number: int, *, least: float = 0.5) -> str:
        """Those that came nearest to their threshold, or furthest above it, at some time that the reader sees.

        One choice for the whole range: a ``topk`` at each step would change its mind.

        Args:
            number: How many at most.
            least: The multiple of the threshold that they reached.
        """
        return f"topk({number}, max_over_time({self.times(WINDOW)}[{RANGE}] @ end()) > {least:g})"

    def level(self, number: int) -> str:
        """Over time, of the worst: 0 below half of the threshold, 1 above half, 2 above it, 3 above the critical one."""
        critical = self.times(WINDOW, severity="critical")
        steps = f"clamp_max(floor(2 * {self.times(WINDOW)}), 2) + ({critical} > bool 1)"
        return f"({steps}) and on ({self.by}) {self.worst(number)}"

    def since(self) -> str:
        """When each was first above its threshold within what the reader sees; milliseconds since the epoch."""
        return f"1000 * min_over_time(timestamp({self.times(WINDOW)} > 1)[{RANGE}])"


def distance(which: str) -> Measure:
    """The distance from the training data that alarms: numeric features' Wasserstein distance, categorical ones' PSI.

    Args:
        which: Matcher of the feature.
    """
    return Measure(
        by="feature",
        on=f"{n.FEATURE}, statistic",
        value=lambda window: of_model(n.DRIFT, baseline="training", window=window, feature=which),
        limit=lambda severity, window: of_model(n.DRIFT_THRESHOLD, severity=severity, window=window, feature=which),
        rows=lambda window: of_model(n.COUNT, window=window, feature=which),
        drifted=lambda severity: of_model(n.DRIFTED, severity=severity, feature=which),
    )


def relation() -> Measure:
    """The shift of Spearman's correlation between a feature and an output or label."""

    def samples(window: str) -> str:
        return of_model(n.CORRELATION_SAMPLES, space="u", window=window)

    def limit(severity: str, window: str) -> str:
        needed = of_model(n.THRESHOLD, statistic="min_samples")
        enough = f"({samples(window)} >= on ({n.MODEL}) group_left () {needed})"
        return (
            f"({of_model(n.CORRELATION_THRESHOLD, severity=severity, window=window)} and on ({n.FEATURE}, target, window) {enough})"
        )

    return Measure(
        by="feature, target",
        on=f"{n.FEATURE}, target",
        value=lambda window: of_model(n.CORRELATION_SHIFT, space="u", window=window),
        limit=limit,
        rows=samples,
        drifted=lambda severity: of_model(n.CORRELATION_DRIFTED, severity=severity),
    )


def statistic(name: str, baseline: str, **labels: str) -> str:
    """A recorded statistic of drift, by feature.

    Args:
        name: Such as ``psi``.
        baseline: ``training``, ``previous`` or a variable.
        labels: Further matchers.
    """
    return f"max by (feature) ({of_model(n.DRIFT, statistic=name, baseline=baseline, **labels)})"


def believable(name: str, by: str, **labels: str) -> str:
    """Of a series with the labels ``statistic`` and ``window`` that of the statistic that may alarm, where there is a threshold.

    With a handful of rows a distance is large, and says nothing.

    Args:
        name: The series.
        by: Labels that stay.
        labels: Further matchers.
    """
    limit = of_model(n.DRIFT_THRESHOLD, severity="warning")
    return f"max by ({by}) ({of_model(name, **labels)} and on ({n.FEATURE}, window, statistic) {limit})"


def shares(which: str, options: RuleOptions, *, ago: str = "") -> str:
    """Share of each bin in the chosen window: recorded seldom, and held by no rule, as only one feature's are looked at.

    Args:
        which: Matcher of the feature.
        options: How long they are remembered.
        ago: How long ago; empty for now.
    """
    when = f" offset {ago}" if ago else ""
    return f"sum by (feature, bin) (last_over_time({of_model(n.BIN_RATIO, feature=which, window=WINDOW)}[{options.kept}]{when}))"
