"""A frozen view of one process: rows, data quality and drift by feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog, drift
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.judge import Limits, Verdict, judge
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Reference
from otel_mlmon.settings import Threshold
from otel_mlmon.store import Snapshot

Counts = Mapping[str, float]
_Key = TypeVar("_Key")

_OF_ANY = (
    *("psi", "kl", "js_divergence", "js_distance", "hellinger", "total_variation", "l_infinity"),
    *("chi2", "chi2_pvalue", "cramers_v"),
)
_OF_NUMERIC = ("wasserstein", "ks", "ks_pvalue")


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
        out_of_range: Valid values below the reference's minimum or above its maximum.
        histogram: Valid values by upper bound of ``mlmon_feature_value``, not cumulative; empty where that is turned off.
        pairs: (target, space) -> sums ``n``, ``f``, ``ff``, ``y``, ``yy`` and ``fy`` over the rows that have a target.
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
    out_of_range: float = 0.0
    histogram: Mapping[float, float] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], Counts] = field(default_factory=dict)

    @property
    def rows(self) -> float:
        """Rows that had the feature, whatever its value: valid (where there are bins), missing and invalid ones."""
        return self.samples + self.missing + sum(self.invalid.values())

    @property
    def samples(self) -> float:
        """Valid values; of a feature without bins, unknown and 0."""
        return sum(self.counts.values())

    @property
    def unseen(self) -> float:
        """Values of categories that training did not have, as far as the reference can tell; 0 of numeric features."""
        return self.counts.get(catalog.UNSEEN, 0.0)

    @property
    def mean_shift(self) -> float:
        """Mean less the reference's mean, in its standard deviations (values clipped at 8); NaN without values."""
        return drift.mean_shift(self.moments) if self.moments.get("n") else float("nan")

    @property
    def mean(self) -> float:
        """Mean of the valid values (clipped at 8 standard deviations of the reference); NaN without any."""
        return self.reference.mean + self.mean_shift * self.reference.scale if self.reference is not None else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation, with divisor n, of the valid values (clipped likewise); NaN without any."""
        if self.reference is None or not self.moments.get("n"):
            return float("nan")
        return drift.std(self.moments, scale=self.reference.scale)

    @property
    def psi(self) -> float:
        """Population stability index against the reference; NaN without values or reference."""
        return self._against_reference("psi")

    @property
    def wasserstein(self) -> float:
        """Distance from the reference in its standard deviations; NaN where psi is the measure, or without values."""
        return self._against_reference("wasserstein")

    @property
    def js_distance(self) -> float:
        """Jensen-Shannon distance from the reference, from 0 to 1; NaN without values or reference."""
        return self._against_reference("js_distance")

    @property
    def ks(self) -> float:
        """Kolmogorov-Smirnov statistic against the reference; NaN for categorical features, without values or reference."""
        return self._against_reference("ks")

    @property
    def ks_pvalue(self) -> float:
        """Its p-value, if rows were independent; NaN likewise."""
        return self._against_reference("ks_pvalue")

    @property
    def chi2_pvalue(self) -> float:
        """P-value of the chi-square test against the reference, if rows were independent; NaN without values or reference."""
        return self._against_reference("chi2_pvalue")

    @property
    def drift(self) -> dict[str, float]:
        """Every statistic against the reference by its name in ``otel_mlmon.drift``; without those that are not known."""
        found = {name: self._against_reference(name) for name in (*_OF_ANY, *_OF_NUMERIC)}
        return {name: value for name, value in found.items() if not np.isnan(value)}

    @property
    def correlations(self) -> dict[tuple[str, str], float]:
        """(target, space) -> correlation, Pearson's in z, Spearman's over bins in u; without those that are not known."""
        found = {key: drift.correlation(sums) for key, sums in self.pairs.items() if sums["n"]}
        return {key: r for key, r in found.items() if not np.isnan(r)}

    def quantile(self, q: float) -> float:
        """A quantile of the valid values, above 0 and at most 1, as ``histogram_quantile`` tells it; NaN without the histogram."""
        counts, bounds = list(self.histogram.values()), list(self.histogram)[:-1]
        return float(drift.quantiles(counts, bounds, [q])[0]) if bounds and any(counts) else float("nan")

    def verdict(self, limits: Limits | None = None, *, normal: float | None = None) -> Verdict | None:
        """What the rule of the drift alerts says, by thresholds and chance: how long it took to count is not known here.

        Args:
            limits: Thresholds; None for the shipped ones.
            normal: Level of normal operation that counts as well, of who knows how long it took.

        Returns:
            None without a reference.
        """
        return (
            None
            if self.reference is None
            else judge(self.reference, self._current(), self.mean_shift, limits=limits, normal=normal)
        )

    def __sub__(self, earlier: "FeatureSnapshot") -> "FeatureSnapshot":
        """What came after ``earlier``; the extremes are those of now."""
        return replace(
            self,
            counts=_less(self.counts, earlier.counts),
            missing=self.missing - earlier.missing,
            invalid=_less(self.invalid, earlier.invalid),
            outliers=self.outliers - earlier.outliers,
            moments=_less(self.moments, earlier.moments),
            out_of_range=self.out_of_range - earlier.out_of_range,
            histogram=_less(self.histogram, earlier.histogram),
            pairs={key: _less(sums, earlier.pairs.get(key, {})) for key, sums in self.pairs.items()},
        )

    def _against_reference(self, statistic: str) -> float:
        profile = self.reference
        if profile is None or not profile.samples or not self.samples:
            return float("nan")
        if statistic == "wasserstein":
            if not profile.weights:
                return float("nan")
            return drift.wasserstein(profile.counts, self._current(), weights=profile.weights, mean_shift=self.mean_shift)
        if statistic in _OF_NUMERIC and profile.kind != "numeric":
            return float("nan")
        return float(getattr(drift, statistic)(profile.counts, self._current()))

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
        thresholds: Those of the monitor.
    """

    calls: Counts
    rows: float
    violations: Counts
    dropped: Counts
    errors: Counts
    features: Mapping[str, FeatureSnapshot]
    thresholds: Sequence[Threshold] = ()

    @classmethod
    def of(cls, snapshot: Snapshot, reference: Reference | None, thresholds: Sequence[Threshold] = ()) -> "MonitorSnapshot":
        """Read a store's snapshot.

        Args:
            snapshot: All series of one monitor.
            reference: Its reference; None without one.
            thresholds: Those set in code.
        """
        values = _values(snapshot)
        histograms = _histograms(snapshot)
        pairs: dict[str, dict[tuple[str, str], Counts]] = {}
        for (family, labels), sums in values.items():
            if family is catalog.FEATURE_MOMENT and labels[1]:
                pairs.setdefault(labels[0], {})[labels[1], labels[2]] = sums

        def by(family: MetricFamily, *labels: str) -> dict[str, float]:
            return values.get((family, labels), {})

        features = {
            name: FeatureSnapshot(
                name,
                by(catalog.FEATURE_BIN, name),
                missing,
                by(catalog.FEATURE_INVALID, name),
                by(catalog.FEATURE_OUTLIERS).get(name, 0.0),
                by(catalog.FEATURE_MOMENT, name, "", "z"),
                by(catalog.FEATURE_MIN).get(name, float("nan")),
                by(catalog.FEATURE_MAX).get(name, float("nan")),
                reference[name] if reference is not None and name in reference else None,
                by(catalog.FEATURE_OUT_OF_RANGE).get(name, 0.0),
                histograms.get(name, {}),
                pairs.get(name, {}),
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
            thresholds=thresholds,
        )

    def verdicts(self, thresholds: Sequence[Threshold] | None = None) -> dict[str, Verdict]:
        """What the rule of the drift alerts says of each feature, by thresholds and chance.

        Args:
            thresholds: Instead of the monitor's.

        Returns:
            By feature; without those that cannot alarm.

        Raises:
            ValueError: If two thresholds say the same thing.
        """
        limits = Limits(self.thresholds if thresholds is None else thresholds)
        found = {name: one.verdict(limits) for name, one in self.features.items()}
        return {name: verdict for name, verdict in found.items() if verdict is not None and verdict.statistic}

    @property
    def drifted(self) -> dict[str, str]:
        """Features that alarm, by thresholds and chance -> the gravest severity."""
        return {name: verdict.severity for name, verdict in self.verdicts().items() if verdict.severity}

    def __sub__(self, earlier: "MonitorSnapshot") -> "MonitorSnapshot":
        """What came after ``earlier``, a snapshot of the same monitor."""
        return MonitorSnapshot(
            _less(self.calls, earlier.calls),
            self.rows - earlier.rows,
            _less(self.violations, earlier.violations),
            _less(self.dropped, earlier.dropped),
            _less(self.errors, earlier.errors),
            {name: one - earlier.features[name] if name in earlier.features else one for name, one in self.features.items()},
            self.thresholds,
        )


def _values(snapshot: Snapshot) -> dict[tuple[MetricFamily, tuple[str, ...]], dict[str, float]]:
    """Values by last label: by family and the labels between the model's and that one."""
    values: dict[tuple[MetricFamily, tuple[str, ...]], dict[str, float]] = {}
    for series in snapshot.series:
        labels = series.labels[2:]  # behind the model's
        if series.family.type != "histogram":
            values.setdefault((series.family, labels[:-1]), {})[labels[-1] if labels else ""] = float(snapshot.values[series.index])
    return values


def _histograms(snapshot: Snapshot) -> dict[str, dict[float, float]]:
    """Values by upper bound, by feature."""
    return {
        series.labels[-1]: dict(
            zip(
                (*series.bounds, float("inf")),
                snapshot.values[series.index : series.index + series.width - 1].tolist(),
                strict=True,
            )
        )
        for series in snapshot.series
        if series.family is catalog.FEATURE_VALUE
    }


def _less(now: Mapping[_Key, float], earlier: Mapping[_Key, float]) -> dict[_Key, float]:
    return {key: value - earlier.get(key, 0.0) for key, value in now.items()}
