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
        # Share of the calls that may fail: 99 % of them succeed.
        ("error_budget", "warning"): 0.01,
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
        # Seconds since the training: a quarter, and half a year. Of 128 pairs of model and data set 91 % lost quality with age:
        # Vela et al. (2022), doi:10.1038/s41598-022-15245-z. How soon is each model's own matter.
        ("model_age", "warning"): 7_776_000.0,
        ("model_age", "critical"): 15_552_000.0,
        # Seconds since the reference was built: longer, since a reference may serve several trainings.
        ("reference_age", "warning"): 15_552_000.0,
        # Versions of a model that serve at the same time.
        ("versions", "warning"): 1.0,
        # Series of one process; Prometheus itself is at ease with some millions.
        ("series", "warning"): 20_000.0,
    }
)
"""(statistic, severity) -> value that the alert must exceed."""

SINGLE = ("min_samples", "error_budget", "reference_age", "versions", "series")
"""Statistics with one threshold, whatever the severity."""

MARGIN: Mapping[str, float] = MappingProxyType({"warning": 1.0, "critical": 1.5})
"""Severity -> how many times the calibrated level and the noise floor drift must exceed: a page needs more than a mail."""

MIN_COVERED = 0.9
"""Share of a calibrated window in which the model was up: the first hours of a day are no day of normal operation."""

HISTORIES: Mapping[str, float] = MappingProxyType({"14d": 1_209_600.0, "28d": 2_419_200.0})
"""How much recorded history normal operation may be learned from -> seconds; whole weeks, or weekends would weigh too much."""

MIN_CALLS = 20
"""Calls in the fast window below which a share of errors, or of versions, says nothing."""

DOWN_RATIO = 0.95
"""Share of failed calls from which on a model is down."""

BURN_RATES: Mapping[str, tuple[tuple[float, str, str], ...]] = MappingProxyType(
    {
        "critical": ((14.4, "1h", "5m"), (6.0, "6h", "30m")),
        "warning": ((3.0, "1d", "2h"), (1.0, "3d", "6h")),
    }
)
"""Severity -> how many times as fast as it may be the error budget is spent, in a slow window and still in a fast one.

Of a budget for 30 days: 2 % within an hour, 5 % within six, 10 % within a day, 10 % within three. Source: Beyer et al. (2018), The
Site Reliability Workbook, chapter 5, table 5-8.
"""

BUDGET_WINDOW = "3d"
"""Window over which it is told what is left of the error budget: the longest that alarms, so any Prometheus keeps it."""

MIN_CALLS_P99 = 100
"""Calls in the fast window below which a 99th percentile is only the maximum."""

MIN_EVENTS = 10
"""Missing, invalid, unseen values, failed calls, bad or dropped rows, below which their share does not matter."""

MIN_VERSION_RATIO = 0.05
"""Share of a model's rows below which a version does not serve: what is left of it drains."""

FAILED_EXPORTS_RATIO = 0.5
"""Share of failed exports from which on it is no longer a lost packet."""

RULES_BUSY_RATIO = 0.8
"""Share of its interval that a group of rules may take: evaluations that take longer are left out."""

VARYING_RATIO = 0.9
"""Share of hours in which a feature must have varied before its standing still is news."""

MIN_VARYING_HOURS = 24
"""Hours for which it must be known whether a feature varies."""

MIN_DRIFTED = 2
"""Drifted features below which a model has not drifted: one is that feature's alert."""

SHARE_SIGMAS = 4.5
"""Standard errors by which a share must exceed what is usual: normal tail 3e-6, 1 % over 3,000 features."""

CORRELATION_SIGMAS = 4.5
"""Standard errors by which a correlation must have shifted: both normal tails 7e-6, 1 % over 1,000 pairs and windows."""
