"""Thresholds that ship with the alerts, one table; code (``Threshold``) and ``otel-mlmon rules`` override them."""

from collections.abc import Mapping
from types import MappingProxyType

SEVERITIES = ("warning", "critical")

SHIPPED: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        # Credit scoring's rule of thumb, no change to speak of below 0.1 and a major one above 0.25: Siddiqi (2006), Credit Risk
        # Scorecards.
        ("psi", "warning"): 0.1,
        ("psi", "critical"): 0.25,
        # Standard deviations of the reference; never less than the shift of the mean, of which 0.2 is a small effect and 0.5 a
        # medium one: Cohen (1988), Statistical Power Analysis, chapter 2.
        ("wasserstein", "warning"): 0.1,
        ("wasserstein", "critical"): 0.5,
        # Rows of a feature in a window, 30 for each of ten bins; below, nothing statistical alarms at any severity. Chance alone
        # takes PSI over 0.1 in 85 % of windows of 50 rows, 38 % of 100, 3 % of 200.
        ("min_samples", "warning"): 300.0,
        ("error_ratio", "warning"): 0.02,
        ("error_ratio", "critical"): 0.1,
        # Seconds; what people wait for without losing their thought: Miller (1968), doi:10.1145/1476589.1476628.
        ("latency_p99", "warning"): 1.0,
        ("latency_p99", "critical"): 5.0,
        # Of the features of a model that may alarm; half of them is Evidently's default, too, whose tests alarm more easily.
        ("drifted_features_ratio", "warning"): 0.3,
        ("drifted_features_ratio", "critical"): 0.5,
        # Difference in Fisher's z, Cohen's q: 0.1 is small, 0.3 medium, 0.5 large; Cohen (1988), chapter 4.
        ("correlation_shift", "warning"): 0.2,
        ("correlation_shift", "critical"): 0.4,
        # Rise over the reference's share. Up to 5 % is inconsequential to an analysis: Schafer (1999),
        # doi:10.1177/096228029900800102.
        ("missing_ratio", "warning"): 0.05,
        ("missing_ratio", "critical"): 0.2,
        # What training has not seen, what the schema forbids and what is not counted: none is expected.
        ("invalid_ratio", "warning"): 0.01,
        ("invalid_ratio", "critical"): 0.1,
        ("out_of_range_ratio", "warning"): 0.01,
        ("out_of_range_ratio", "critical"): 0.1,
        ("unseen_ratio", "warning"): 0.01,
        ("unseen_ratio", "critical"): 0.1,
        ("schema_violation_ratio", "warning"): 0.01,
        ("schema_violation_ratio", "critical"): 0.1,
        ("rows_dropped_ratio", "warning"): 0.01,
        ("rows_dropped_ratio", "critical"): 0.1,
    }
)
"""(statistic, severity) -> value that the alert must exceed."""

MARGIN: Mapping[str, float] = MappingProxyType({"warning": 1.0, "critical": 1.5})
"""Severity -> how many times the calibrated level and the noise floor drift must exceed: a page needs more than a mail."""

MIN_COVERED = 0.9
"""Share of a calibrated window in which the model was up: the first hours of a day are no day of normal operation."""

HISTORIES: Mapping[str, float] = MappingProxyType({"14d": 1_209_600.0, "28d": 2_419_200.0})
"""How much recorded history normal operation may be learned from -> seconds; whole weeks, or weekends would weigh too much."""

MIN_CALLS = 20
"""Calls in the fast window below which a share of errors says nothing."""

MIN_CALLS_P99 = 100
"""Calls in the fast window below which a 99th percentile is only the maximum."""

MIN_EVENTS = 10
"""Missing, invalid, unseen values, bad or dropped rows, below which their share does not matter."""

MIN_DRIFTED = 2
"""Drifted features below which a model has not drifted: one is that feature's alert."""

SHARE_SIGMAS = 4.5
"""Standard errors by which a share must exceed what is usual: normal tail 3e-6, 1 % over 3,000 features."""

CORRELATION_SIGMAS = 4.5
"""Standard errors by which a correlation must have shifted: both normal tails 7e-6, 1 % over 1,000 pairs and windows."""
