"""The last simulated day of this process: drift and missing values by feature, from the monitor's snapshots."""

import math
from collections import deque
from dataclasses import dataclass

from otel_mlmon.demo.replay import DAY
from otel_mlmon.judge import Limits, calibrated
from otel_mlmon.snapshot import FeatureSnapshot, MonitorSnapshot
from otel_mlmon.thresholds import MIN_COVERED

WINDOW = "1d"


@dataclass(frozen=True, slots=True)
class Recent:
    """One feature in the last simulated day.

    Attributes:
        feature: Its name.
        value: Drift in the statistic that alerts look at, Wasserstein distance or PSI; NaN with too few values to tell.
        level: What it must exceed before anything is wrong: the greatest of threshold, normal operation and noise; NaN likewise.
        missing_ratio: Share of missing values; NaN without rows.
    """

    feature: str
    value: float
    level: float
    missing_ratio: float

    @property
    def drifts(self) -> bool:
        """Whether the value is over the level."""
        return self.value > self.level


class DayWindow:
    """Snapshots of one monitor over a simulated day; what happened in between is the difference of two."""

    def __init__(self) -> None:
        self._snapshots: deque[tuple[float, MonitorSnapshot]] = deque()

    def add(self, elapsed: float, snapshot: MonitorSnapshot) -> list[Recent]:
        """Every feature that had values so far, in the day that ends now; until a day has passed nothing is said about drift.

        Args:
            elapsed: Simulated seconds, increasing.
            snapshot: The monitor at that moment.
        """
        self._snapshots.append((elapsed, snapshot))
        while len(self._snapshots) > 1 and self._snapshots[1][0] <= elapsed - DAY:
            self._snapshots.popleft()
        earliest, first = self._snapshots[0]
        day = snapshot - first if earliest > 0 else snapshot
        known = [name for name, feature in snapshot.features.items() if feature.rows]  # a score alone leaves @prediction empty
        limits, covered = Limits(snapshot.thresholds), elapsed - earliest >= MIN_COVERED * DAY
        return [_recent(day.features[name], limits, covered=covered) for name in known]


def _recent(feature: FeatureSnapshot, limits: Limits, *, covered: bool) -> Recent:
    value = level = math.nan
    if feature.reference is not None and covered:
        verdict = feature.verdict(limits, normal=calibrated(feature.reference).get(WINDOW))
        if verdict is not None and verdict.may_alarm:
            value, level = verdict.value, verdict.levels["warning"]
    return Recent(feature.feature, value, level, feature.missing / feature.rows if feature.rows else math.nan)
