"""Settings of a monitor that have a good default."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

from otel_mlmon.catalog import PREDICTION, RESERVED_FEATURES, SCORE

Statistic = Literal[
    "psi",
    "wasserstein",
    "min_samples",
    "error_budget",
    "latency_p99",
    "drifted_features_ratio",
    "correlation_shift",
    "missing_ratio",
    "invalid_ratio",
    "out_of_range_ratio",
    "unseen_ratio",
    "schema_violation_ratio",
    "rows_dropped_ratio",
    "model_age",
    "reference_age",
    "versions",
    "series",
]
Severity = Literal["warning", "critical"]
History = Literal["14d", "28d"]
"""How much recorded history normal operation may be learned from: the keys of ``thresholds.HISTORIES``."""

_OF_FEATURES = (
    *("psi", "wasserstein", "correlation_shift"),
    *("missing_ratio", "invalid_ratio", "out_of_range_ratio", "unseen_ratio"),
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One alert threshold set in code; exported as ``mlmon_threshold``, so that no rule file is edited.

    Args:
        statistic: What is compared: ``psi`` or ``wasserstein`` (drift; standard deviations of the reference), ``min_samples``
            (rows below which nothing alarms), ``drifted_features_ratio`` (share of a model's features), ``correlation_shift``
            (with an output or label, in Fisher's z), ``error_budget`` (share of the calls that may fail), ``missing_ratio`` (rise
            over the reference's), ``invalid_ratio``, ``out_of_range_ratio``, ``unseen_ratio``, ``schema_violation_ratio``,
            ``rows_dropped_ratio`` (shares from 0 to 1), ``latency_p99``, ``model_age``, ``reference_age`` (seconds), ``versions``
            (that serve at the same time) or ``series`` (of one process).
        value: The alert asks for more than this.
        severity: ``warning`` or ``critical``. ``min_samples``, ``error_budget``, ``reference_age``, ``versions`` and ``series`` are
            one value for both.
        feature: The feature it holds for, of drift, correlation and shares of a feature's values; empty for the whole model. A
            feature's threshold comes before the model's, and that before the default of the rules. A critical one that is not
            set is never below the warning.

    Raises:
        ValueError: For an unknown statistic or severity, a value that is negative or not finite, an error budget that is no share
            between 0 and 1, or a feature with a statistic of the whole model.
    """

    statistic: Statistic
    value: float
    severity: Severity = "warning"
    feature: str = ""

    def __post_init__(self) -> None:
        if self.statistic not in get_args(Statistic):
            raise ValueError(f"threshold: statistic must be one of {get_args(Statistic)}, got {self.statistic!r}")
        if self.severity not in get_args(Severity):
            raise ValueError(f"threshold {self.statistic!r}: severity must be one of {get_args(Severity)}, got {self.severity!r}")
        if not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError(f"threshold {self.statistic!r}: value must be finite and >= 0, got {self.value!r}")
        if self.statistic == "error_budget" and not 0 < self.value < 1:
            raise ValueError(f"threshold 'error_budget': value must be a share between 0 and 1, got {self.value!r}")
        if self.feature and self.statistic not in _OF_FEATURES:
            raise ValueError(f"threshold {self.statistic!r}: only {_OF_FEATURES} are per feature, got feature {self.feature!r}")


def check_thresholds(thresholds: Sequence[Threshold], features: Sequence[str] | None) -> None:
    """Check thresholds against each other and the schema.

    Args:
        thresholds: All of one monitor.
        features: Names of its features; None if they are not known yet.

    Raises:
        ValueError: If two say the same thing, or one is for a feature that is not there.
    """
    keys = Counter((one.statistic, one.severity, one.feature) for one in thresholds)
    repeated = [key for key, count in keys.items() if count > 1]
    if repeated:
        raise ValueError(f"thresholds: one for each statistic, severity and feature, got several of {repeated[0]!r}")
    for one in thresholds:
        if one.feature and features is not None and one.feature not in (*features, *RESERVED_FEATURES):
            raise ValueError(f"threshold {one.statistic!r}: feature must be one of {list(features)}, got {one.feature!r}")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a monitor works inside.

    Args:
        queue_rows: Rows that may wait for the worker; further ones are dropped and counted.
        drain_seconds: How often the worker empties the queue. Rare, larger drains touch fewer calls: at 500 calls a second a
            drain each second meets 0.3 % of the calls, one each 100 ms meets 3 %.
        system_seconds: How often process and system health are read; 0 turns them off.
        extremes_seconds: The span that ``mlmon_feature_min`` and ``_max`` look back over.
        max_error_types: Distinct exception classes before the rest is counted as ``__other__``.
        max_routes: Distinct HTTP routes before the rest is counted as ``__other__``.

    Raises:
        ValueError: For a value that is negative, or zero where that makes no sense.
    """

    queue_rows: int = 65_536
    drain_seconds: float = 1.0
    system_seconds: float = 5.0
    extremes_seconds: float = 300.0
    max_error_types: int = 32
    max_routes: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and (value > 0 or (value == 0 and field.name == "system_seconds"))):
                raise ValueError(f"setting {field.name!r}: must be finite and positive, got {value!r}")


@dataclass(frozen=True, slots=True)
class PredictionLog:
    """Which predictions are logged, and what of them: one OpenTelemetry log record per sampled row of a call that succeeded.

    Args:
        fields: What a record shows of its row: names of features, ``@prediction``, ``@score``. Nothing else ever is.
        sample: Share of the rows. With prediction ids it is the ids that are sampled, by a hash: every replica, version and retry
            logs the same ones.
        per_second: Records a second at most, with as many at once. What is sampled beyond is left out, and counted as ``limited``.

    Raises:
        ValueError: For no fields, a share outside of (0, 1], or a rate that is not positive.
    """

    fields: Sequence[str]
    sample: float = 0.01
    per_second: float = 100.0

    def __post_init__(self) -> None:
        if isinstance(self.fields, str) or not self.fields:
            raise ValueError(f"prediction log: fields must be some names, got {self.fields!r}")
        if not 0 < self.sample <= 1:
            raise ValueError(f"prediction log: sample must be a share in (0, 1], got {self.sample!r}")
        if not (math.isfinite(self.per_second) and self.per_second > 0):
            raise ValueError(f"prediction log: per_second must be finite and positive, got {self.per_second!r}")


LOGGED_OUTPUTS = (PREDICTION, SCORE)
"""What a prediction log may show besides features."""
