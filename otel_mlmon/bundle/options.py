"""What can be chosen about the rules; times as Prometheus writes them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_mlmon.thresholds import SHIPPED

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile(r"(\d+d)?(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?")

STATISTICS = (
    *("kl", "js_divergence", "js_distance", "hellinger", "total_variation", "l_infinity"),
    *("ks", "ks_pvalue", "chi2", "chi2_pvalue", "cramers_v"),
)
"""Drift statistics for eyes: no alert reads them."""

RECORDED = ("js_distance", "ks", "ks_pvalue", "chi2_pvalue")
"""Those of them that are recorded unless others are asked for: a bounded distance, and two tests."""

_SLOWEST = 240_000
"""Milliseconds between evaluations of what instant queries read: they do not see a sample of more than five minutes ago."""

_OFTEN = 4
"""Intervals between evaluations of what is held, unless that is too slow."""

_EVALUATIONS = 2
"""Least number of evaluations of drift in the shortest window."""

RUNBOOKS = "https://github.com/otel-mlmon/otel-mlmon/blob/main/alert_rules/runbooks.md"
DASHBOARDS = "https://grafana.example.org"


def milliseconds(duration: str) -> int:
    """Length of a duration as Prometheus writes it.

    Args:
        duration: Such as ``5m``, ``1h30m``, ``250ms``.

    Returns:
        Milliseconds.

    Raises:
        ValueError: If it is not a duration.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations (years and weeks left out: write days)

    >>> milliseconds("1h30m")
    5400000
    """
    match = _DURATION.fullmatch(duration)
    if not duration or match is None:
        raise ValueError(f"duration must be written like 5m, 1h30m or 250ms (units d, h, m, s, ms), got {duration!r}")
    return sum(int(part[: -len(unit)]) * size for part, (unit, size) in zip(match.groups(), _UNITS.items(), strict=True) if part)


def duration(milliseconds: float) -> str:
    """A duration in its largest whole unit.

    Args:
        milliseconds: Length; rounded to a whole number.

    Returns:
        Text that every Prometheus since 2.26 reads.

    >>> duration(3_600_000), duration(1_500)
    ('1h', '1500ms')
    """
    whole = round(milliseconds)
    for unit, size in _UNITS.items():
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return "0s"


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """How the rules are written.

    Args:
        windows: Lengths of time over which statistics are taken, written in their largest unit: the text is the label
            ``window``, and a calibrated level counts only for a window of the same text.
        interval: Evaluation interval of serving, real time: at least the scrape interval, at most four minutes.
        drift_interval: Evaluation interval of drift, data quality and statistics, real time; shorter where it does not fit into the
            shortest window twice, or a whole number of times: see ``pace``. Their cost is in proportion to its inverse.
        lookback: How old a counter may be, real time: a scrape may fail for so long without loss.
        delay: How far behind now the counters are read, real time: until every replica's scrape has been stored.
        max_bins: Numeric bins covered by the Wasserstein distance. A numeric feature whose reference has more bins alarms
            on PSI instead. Each bin costs two rules.
        previous: How long ago the ``previous`` baseline is.
        pairs: Pairs (fast, slow) of windows; drift alarms if both windows of a pair show it. The first pair serves the alert
            on missing values too.
        statistics: Which of ``STATISTICS`` are recorded beside PSI and the Wasserstein distance, with those that they are
            computed from.
        statistics_windows: The windows in which they, the ``previous`` baseline and the bins are recorded; empty: the shortest and
            the longest.
        thresholds: (statistic, severity) -> value, instead of the shipped ones.
        time_scale: Divides the windows, ``previous`` and the alerts' waiting times, but not interval, lookback and delay: a
            time lapse in which the series keep saying 1h, 6h, 1d. A window is rounded to whole intervals.
        runbook_base: Address of the runbooks' page; ``#`` and the alert's name in lower case, as of Markdown headings, follow.
        dashboard_base: Grafana's address.

    Raises:
        ValueError: For anything that no Prometheus could evaluate, or that would switch alerts off unnoticed.

    >>> RuleOptions(windows=("1h", "6h"), pairs=(("1h", "6h"),)).interval
    '1m'
    """

    windows: tuple[str, ...] = ("1h", "6h", "1d")
    interval: str = "1m"
    drift_interval: str = "30m"
    lookback: str = "5m"
    delay: str = "15s"
    max_bins: int = 20
    previous: str = "1d"
    pairs: tuple[tuple[str, str], ...] = (("1h", "6h"), ("6h", "1d"))
    statistics: tuple[str, ...] = RECORDED
    statistics_windows: tuple[str, ...] = ()
    thresholds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    time_scale: float = 1.0
    runbook_base: str = RUNBOOKS
    dashboard_base: str = DASHBOARDS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_scale) and self.time_scale > 0):
            raise ValueError(f"time_scale must be finite and > 0, got {self.time_scale!r}")
        if not 2 <= self.max_bins <= 100:
            raise ValueError(f"max_bins must be from 2 to 100 (bin labels start with two digits), got {self.max_bins!r}")
        for name in ("runbook_base", "dashboard_base"):
            if not getattr(self, name).startswith(("http://", "https://")):
                raise ValueError(f"{name} must be an address that starts with http:// or https://, got {getattr(self, name)!r}")
        self._check_times()
        self._check_windows()
        unknown = set(self.statistics) - set(STATISTICS)
        if unknown:
            raise ValueError(f"statistics must be of {STATISTICS}, got {sorted(unknown)!r}")
        for key, value in self.thresholds.items():
            if key not in SHIPPED:
                raise ValueError(f"thresholds: (statistic, severity) must be one of {sorted(SHIPPED)}, got {key!r}")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"threshold {'/'.join(key)}: value must be finite and >= 0, got {value!r}")
            if key[0] == "error_budget" and not 0 < value < 1:
                raise ValueError(f"threshold {'/'.join(key)}: value must be a share between 0 and 1, got {value!r}")
        for statistic, severity in SHIPPED:
            warning, critical = self.threshold(statistic, "warning"), self.threshold(statistic, severity)
            if warning > critical:
                raise ValueError(f"threshold {statistic}: warning must not exceed critical, got {warning!r} > {critical!r}")

    def _check_times(self) -> None:
        for name in ("interval", "lookback", "previous"):
            if milliseconds(getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)!r}")
        milliseconds(self.delay)
        if milliseconds(self.interval) > _SLOWEST:
            raise ValueError(
                f"interval must be at most {duration(_SLOWEST)}: queries see no sample of more than five minutes ago, and recorded "
                f"series would have gaps, got {self.interval!r}"
            )
        if milliseconds(self.drift_interval) < milliseconds(self.interval):
            raise ValueError(f"drift_interval must be at least the interval of {self.interval}, got {self.drift_interval!r}")
        if milliseconds(self.lookback) < 2 * milliseconds(self.interval):
            raise ValueError(f"lookback must be at least two intervals of {self.interval}, got {self.lookback!r}")

    def _check_windows(self) -> None:
        if not self.windows or len(set(self.windows)) != len(self.windows):
            raise ValueError(f"windows must be distinct and at least one, got {self.windows!r}")
        for window in self.windows:
            if duration(milliseconds(window)) != window or window == "0s":
                raise ValueError(f"window {window!r}: write it in its largest unit: {duration(milliseconds(window))!r}")
            if milliseconds(window) / self.time_scale < milliseconds(self.interval):
                raise ValueError(
                    f"window {window!r}: at time_scale {self.time_scale:g} it lasts {milliseconds(window) / self.time_scale:g} ms, "
                    f"less than the interval {self.interval}; leave it out or lower time_scale or interval"
                )
        unknown = set(self.statistics_windows) - set(self.windows)
        if unknown:
            raise ValueError(f"statistics_windows must be of the windows {self.windows!r}, got {sorted(unknown)!r}")
        if not self.pairs:
            raise ValueError("pairs must be at least one, or drift could not alarm")
        for pair in self.pairs:
            if len(pair) != 2 or not set(pair) <= set(self.windows) or milliseconds(pair[0]) >= milliseconds(pair[1]):
                raise ValueError(f"pair {pair!r}: must be a shorter and a longer one of the windows {self.windows!r}")

    def threshold(self, statistic: str, severity: str) -> float:
        """The default that the rules carry for a statistic (one of ``SHIPPED``)."""
        return float(self.thresholds.get((statistic, severity), SHIPPED[statistic, severity]))

    @property
    def alert_windows(self) -> tuple[str, ...]:
        """The windows that drift alarms on, shortest first."""
        return tuple(sorted({window for pair in self.pairs for window in pair}, key=milliseconds))

    def scaled(self, length: str) -> str:
        """A simulated duration in real time."""
        return duration(max(1.0, milliseconds(length) / self.time_scale))

    def steps(self, length: str, every: str = "") -> int:
        """Evaluations in a simulated duration, at least 1.

        Args:
            length: The simulated duration.
            every: Time between two of them, real time; empty for ``interval``.
        """
        return max(1, round(milliseconds(length) / self.time_scale / milliseconds(every or self.interval)))

    def span(self, length: str, every: str = "") -> str:
        """Range that holds exactly the increments of a simulated duration.

        Half an evaluation shorter than it: a range that is a multiple of the interval holds one sample more on Prometheus 2,
        whose ranges include their left end, than on Prometheus 3.

        Args:
            length: The simulated duration.
            every: As of ``steps``.
        """
        return duration((self.steps(length, every) - 0.5) * milliseconds(every or self.interval))

    def sums(self, increments: str, window: str, every: str) -> str:
        """The sum of recorded increments over a window.

        Args:
            increments: A selector.
            window: One of ``windows``.
            every: Evaluation interval of the group that records them.
        """
        return f"sum_over_time({increments}[{self.span(window, every)}])"

    @property
    def described(self) -> tuple[str, ...]:
        """The windows of the statistics for eyes, shortest first."""
        ordered = sorted(self.statistics_windows or self.windows, key=milliseconds)
        return tuple(ordered) if self.statistics_windows else tuple(dict.fromkeys((ordered[0], ordered[-1])))

    @property
    def eyes(self) -> str:
        """A matcher of those windows."""
        return "=~" + "|".join(self.described)

    @property
    def pace(self) -> str:
        """Evaluation interval of drift: the longest up to ``drift_interval`` that fits into the shortest window twice or more.

        A whole number of times, so that the window is as long as it is called.
        """
        step, shortest = milliseconds(self.interval), min(self.steps(window) for window in self.windows)
        most = min(milliseconds(self.drift_interval) // step, shortest // _EVALUATIONS)
        return duration(step * max((steps for steps in range(1, most + 1) if shortest % steps == 0), default=1))

    @property
    def holds(self) -> bool:
        """Whether drift is recorded so seldom that instant queries would miss it: then it is held, see ``holding``."""
        return milliseconds(self.pace) > milliseconds(self.alert_interval)

    @property
    def alert_interval(self) -> str:
        """Evaluation interval of the alerts on drift and data quality, and of what holds the series that they read."""
        step = milliseconds(self.interval)
        return duration(step * max(1, min(_OFTEN, _SLOWEST // step, milliseconds(self.pace) // step)))

    @property
    def kept(self) -> str:
        """How long the last evaluation of drift is remembered: until the next one has been held."""
        return duration(milliseconds(self.pace) + milliseconds(self.alert_interval))

    @property
    def behind(self) -> str:
        """How far behind now what is held is read: until an evaluation of all models has ended, so that none is seen by halves."""
        return duration(milliseconds(self.alert_interval) / 2)

    def ago(self) -> str:
        """Real time to the previous baseline, in whole ``pace``."""
        step = milliseconds(self.pace)
        whole = step * max(1, round(milliseconds(self.previous) / self.time_scale / step))
        return duration(whole)

    def rate_range(self, length: str) -> str:
        """Range for ``rate()`` over raw counters: at least four intervals."""
        return duration(max(milliseconds(length) / self.time_scale, 4 * milliseconds(self.interval)))
