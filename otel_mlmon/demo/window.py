"""The last simulated day of this process: drift and missing values by feature, from the monitor's snapshots."""

import math
from collections import deque
from dataclasses import dataclass

from otel_mlmon.demo.replay import DAY
from otel_mlmon.snapshot import FeatureSnapshot, MonitorSnapshot
from otel_mlmon.thresholds import MIN_COVERED, SHIPPED

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
    """Snapshots of one monitor over a simulated day; what happened in between is the difference of two.

    Args:
        min_samples: Values below which nothing is said about drift.
    """

    def __init__(self, min_samples: float) -> None:
        self._min_samples = min_samples
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
        enough = self._min_samples if elapsed - earliest >= MIN_COVERED * DAY else math.inf
        return [_recent(day.features[name], enough) for name in known]


def _recent(feature: FeatureSnapshot, min_samples: float) -> Recent:
    value = level = math.nan
    profile, samples = feature.reference, feature.samples
    if profile is not None and samples >= min_samples:
        statistic = "wasserstein" if profile.weights else "psi"
        value = feature.wasserstein if profile.weights else feature.psi
        spread = 1 / samples + 1 / profile.samples
        noise = profile.noise.get(statistic, 0.0) * (math.sqrt(spread) if profile.weights else spread)
        level = max(SHIPPED[statistic, "warning"], profile.thresholds.get(statistic, {}).get(WINDOW, 0.0), noise)
    return Recent(feature.feature, value, level, feature.missing / feature.rows if feature.rows else math.nan)
