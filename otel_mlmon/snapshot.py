"""A frozen view of one process: rows, data quality and drift by feature."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog, drift
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Reference
from otel_mlmon.store import Snapshot

Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FeatureSnapshot:
    """One feature, or an output under its reserved name, since the process started or since an earlier snapshot.

    Attributes:
        feature: Its name.
        counts: Valid values by bin of the reference; empty without one.
        missing: Missing values.
        invalid: Invalid values by reason.
        outliers: Valid values outside the reference's fences.
        moments: Sums ``n``, ``f`` and ``ff`` of the standardised values (z); empty for categorical features.
        minimum: Least valid value of the last minutes; NaN without one.
        maximum: Greatest valid value of the last minutes; NaN without one.
        reference: Its profile; None without a reference.
    """

    feature: str
    counts: Counts = field(default_factory=dict)
    missing: float = 0.0
    invalid: Counts = field(default_factory=dict)
    outliers: float = 0.0
    moments: Counts = field(default_factory=dict)
    minimum: float = float("nan")
    maximum: float = float("nan")
    reference: FeatureProfile | None = None

    @property
    def rows(self) -> float:
        """Rows that had the feature, whatever its value: valid (where there are bins), missing and invalid ones."""
        return self.samples + self.missing + sum(self.invalid.values())

    @property
    def samples(self) -> float:
        """Valid values; of a feature without bins, unknown and 0."""
        return sum(self.counts.values())

    @property
    def mean_shift(self) -> float:
        """Mean less the reference's mean, in its standard deviations (values clipped at 8); NaN without values."""
        return self.moments["f"] / self.moments["n"] - 8.0 if self.moments.get("n") else float("nan")

    @property
    def mean(self) -> float:
        """Mean of the valid values (clipped at 8 standard deviations of the reference); NaN without any."""
        return self.reference.mean + self.mean_shift * self.reference.scale if self.reference is not None else float("nan")

    @property
    def psi(self) -> float:
        """Population stability index against the reference; NaN without values or reference."""
        if self.reference is None or not self.reference.samples or not self.samples:
            return float("nan")
        return drift.psi(np.array(self.reference.counts), self._current())

    @property
    def wasserstein(self) -> float:
        """Distance from the reference in its standard deviations; NaN where psi is the measure, or without values."""
        if self.reference is None or not self.reference.weights or not self.samples:
            return float("nan")
        return drift.wasserstein(
            np.array(self.reference.counts), self._current(), weights=np.array(self.reference.weights), mean_shift=self.mean_shift
        )

    def __sub__(self, earlier: "FeatureSnapshot") -> "FeatureSnapshot":
        """What came after ``earlier``; the extremes are those of now."""
        return FeatureSnapshot(
            self.feature,
            _less(self.counts, earlier.counts),
            self.missing - earlier.missing,
            _less(self.invalid, earlier.invalid),
            self.outliers - earlier.outliers,
            _less(self.moments, earlier.moments),
            self.minimum,
            self.maximum,
            self.reference,
        )

    def _current(self) -> npt.NDArray[np.float64]:
        return np.fromiter(self.counts.values(), dtype=np.float64, count=len(self.counts))


@dataclass(frozen=True, slots=True)
class MonitorSnapshot:
    """A monitor's numbers at one instant, or between two.

    Attributes:
        calls: Ended calls by status.
        rows: Rows predicted.
        violations: Rows that break the schema, by check.
        dropped: Rows that were not counted, by reason.
        errors: Errors of the monitoring itself, by place.
        features: By name, outputs under their reserved names.
    """

    calls: Counts
    rows: float
    violations: Counts
    dropped: Counts
    errors: Counts
    features: Mapping[str, FeatureSnapshot]

    @classmethod
    def of(cls, snapshot: Snapshot, reference: Reference | None) -> "MonitorSnapshot":
        """Read a store's snapshot.

        Args:
            snapshot: All series of one monitor.
            reference: Its reference; None without one.
        """
        values = _values(snapshot)

        def by(family: MetricFamily, feature: str = "") -> dict[str, float]:
            return values.get((family, feature), {})

        features = {
            name: FeatureSnapshot(
                name,
                by(catalog.FEATURE_BIN, name),
                missing,
                by(catalog.FEATURE_INVALID, name),
                by(catalog.FEATURE_OUTLIERS).get(name, 0.0),
                by(catalog.FEATURE_MOMENT, name),
                by(catalog.FEATURE_MIN).get(name, float("nan")),
                by(catalog.FEATURE_MAX).get(name, float("nan")),
                reference[name] if reference is not None and name in reference else None,
            )
            for name, missing in by(catalog.FEATURE_MISSING).items()
        }
        return cls(
            calls=by(catalog.CALLS),
            rows=by(catalog.PREDICTIONS).get("", 0.0),
            violations=by(catalog.SCHEMA_VIOLATIONS),
            dropped=by(catalog.ROWS_DROPPED),
            errors=by(catalog.INTERNAL_ERRORS),
            features=features,
        )

    def __sub__(self, earlier: "MonitorSnapshot") -> "MonitorSnapshot":
        """What came after ``earlier``, a snapshot of the same monitor."""
        return MonitorSnapshot(
            _less(self.calls, earlier.calls),
            self.rows - earlier.rows,
            _less(self.violations, earlier.violations),
            _less(self.dropped, earlier.dropped),
            _less(self.errors, earlier.errors),
            {name: one - earlier.features[name] if name in earlier.features else one for name, one in self.features.items()},
        )


def _values(snapshot: Snapshot) -> dict[tuple[MetricFamily, str], dict[str, float]]:
    """Values by last label: by family, and by feature where that is not the last one; only those that an attribute shows."""
    values: dict[tuple[MetricFamily, str], dict[str, float]] = {}
    for series in snapshot.series:
        family, labels = series.family, series.labels[2:]  # behind the model's
        if family.type != "histogram" and (family is not catalog.FEATURE_MOMENT or labels[1:3] == ("", "z")):
            key = family, labels[0] if len(labels) > 1 else ""
            values.setdefault(key, {})[labels[-1] if labels else ""] = float(snapshot.values[series.index])
    return values


def _less(now: Counts, earlier: Counts) -> Counts:
    return {name: value - earlier.get(name, 0.0) for name, value in now.items()}
