"""Data against a reference, all features together: the report that a pipeline gates on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_mlmon.judge import Limits
from otel_mlmon.profiling.calibration import WINDOWS
from otel_mlmon.reference import Reference
from otel_mlmon.report.counting import batches_of, count
from otel_mlmon.report.features import STATES, FeatureReport, State, feature_report
from otel_mlmon.settings import Threshold, check_thresholds
from otel_mlmon.thresholds import MIN_DRIFTED, SEVERITIES

__all__ = ["DriftReport", "compare"]

FORMAT = "otel_mlmon.drift/1"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What some data has to do with a reference.

    Attributes:
        reference: Digest of the reference.
        rows: Rows that were compared.
        features: One per feature of the reference, the worst first.
        violations: Rows that break the schema as a whole, by check; for eyes, since the alarm on them is one of traffic.
        span_seconds: From the first timestamp to the last; NaN without timestamps.
        limits: Thresholds in force.

    >>> reference = Reference.build({"age": [20 + row % 40 for row in range(1000)]})
    >>> report = compare(reference, {"age": [35 + row % 40 for row in range(1000)]})
    >>> report.state, report.drifted
    ('critical', ('age',))
    """

    reference: str
    rows: int
    features: tuple[FeatureReport, ...]
    violations: Mapping[str, float]
    span_seconds: float
    limits: Limits

    @property
    def state(self) -> State:
        """The worst of its features'; ``too few values`` only if none could be judged."""
        states = {one.state for one in self.features}
        if states == {"ok", "too few values"}:
            return "ok"
        return max(states, key=STATES.index, default="too few values")

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features whose distance is over the level of the warning, the worst first."""
        return tuple(one.feature for one in self.features if one.exceeds("warning"))

    @property
    def judged(self) -> tuple[FeatureReport, ...]:
        """Input features with enough values: those that the share of drifted features is taken of."""
        enough = self.limits.min_samples
        inputs = (one for one in self.features if not one.feature.startswith("@"))
        return tuple(one for one in inputs if one.statistic and one.samples >= enough)

    def drifted_ratio(self, severity: str = "warning") -> float:
        """Share of the input features with enough values that are over the level of a severity; NaN if there are none."""
        return sum(one.exceeds(severity) for one in self.judged) / len(self.judged) if self.judged else math.nan

    @property
    def model_state(self) -> State:
        """Whether the model as a whole has drifted, as its alert would say: many features, of each of which one may be chance."""
        found: State = "ok" if self.judged else "too few values"
        for severity in SEVERITIES:
            over = self.drifted_ratio(severity) > self.limits.threshold("drifted_features_ratio", severity)
            if over and sum(one.exceeds(severity) for one in self.judged) >= MIN_DRIFTED:
                found = severity  # type: ignore[assignment]  # of SEVERITIES
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON's types; what is not known is null."""
        ratio = self.drifted_ratio()
        return {
            "format": FORMAT,
            "reference": self.reference,
            "rows": self.rows,
            "span_seconds": None if math.isnan(self.span_seconds) else self.span_seconds,
            "state": self.state,
            "model_state": self.model_state,
            "drifted": list(self.drifted),
            "drifted_features_ratio": None if math.isnan(ratio) else ratio,
            "violations": dict(self.violations),
            "features": [one.to_json() for one in self.features],
        }


def compare(
    reference: Reference,
    data: Any,
    *,
    predictions: Any = None,
    scores: Any = None,
    labels: Any = None,
    timestamps: Any = None,
    window: str = "",
    thresholds: Sequence[Threshold] = (),
    defaults: Mapping[tuple[str, str], float] | None = None,
) -> DriftReport:
    """Compare data with a reference by the alerts' rules.

    Rows are counted by the code that counts them in service, so the numbers are those that a fleet with the same rows would show.
    An alert asks a fast and a slow window to agree; data that is handed over whole is one window.

    Args:
        reference: Of the training data.
        data: Frame, dict of columns, 2-D array or list of rows. Or batches of such, as ``Reference.build`` takes: then the outputs
            and timestamps come in each ``Batch``.
        predictions: What the model returned for the rows.
        scores: One number per row, if ``predictions`` does not hold them.
        labels: Ground truth per row.
        timestamps: When each row was seen: their span decides whose level of normal operation counts. Without any, thresholds and
            chance alone do.
        window: Whose level of normal operation counts (``1d``), instead; a feature that is not calibrated for it has none.
        thresholds: As for ``Monitor``.
        defaults: (statistic, severity) -> value, instead of the shipped ones.

    Returns:
        The report.

    Raises:
        ValueError: If the window or a threshold is none, there are no rows, some cannot be read, or there are outputs that the
            reference lacks.
    """
    if window and window not in WINDOWS:
        raise ValueError(f"window must be one of {tuple(WINDOWS)}, got {window!r}")
    for key, value in (defaults or {}).items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"threshold {'/'.join(key)}: value must be finite and >= 0, got {value!r}")
    check_thresholds(thresholds, [profile.feature for profile in reference.profiles])
    limits = Limits(thresholds, defaults or {})
    outputs = {"predictions": predictions, "scores": scores, "labels": labels, "timestamps": timestamps}
    counted = count(reference, batches_of(data, outputs))
    features = [
        feature_report(counted.features[profile.feature], profile, window=window, span_seconds=counted.span_seconds, limits=limits)
        for profile in reference.profiles
        if profile.feature in counted.features
    ]
    features.sort(key=lambda one: (STATES.index(one.state) if one.findings else -1, one.excess), reverse=True)
    return DriftReport(reference.digest, counted.rows, tuple(features), counted.violations, counted.span_seconds, limits)
