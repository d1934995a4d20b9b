"""Thresholds that ship with the alerts, one table; code (``Threshold``) and ``otel-mlmon rules`` override them."""

from collections.abc import Mapping
from types import MappingProxyType

SEVERITIES = ("warning", "critical")

SHIPPED: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("psi", "warning"): 0.1,
        ("psi", "critical"): 0.25,
        ("wasserstein", "warning"): 0.1,  # standard deviations of the reference
        ("wasserstein", "critical"): 0.5,
        ("min_samples", "warning"): 300.0,  # rows of a feature in a window; below, nothing statistical alarms at any severity
        ("error_ratio", "warning"): 0.02,
        ("error_ratio", "critical"): 0.1,
        ("latency_p99", "warning"): 1.0,  # seconds
        ("latency_p99", "critical"): 5.0,
        ("missing_ratio", "warning"): 0.05,  # rise over the reference's share
        ("missing_ratio", "critical"): 0.2,
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

MIN_CALLS = 20
"""Calls in the fast window below which a share of errors says nothing."""

MIN_CALLS_P99 = 100
"""Calls in the fast window below which a 99th percentile is only the maximum."""

MIN_EVENTS = 10
"""Rows that break the schema or are dropped, below which their share does not matter."""

MISSING_SIGMAS = 4.0
"""Standard errors by which a share of missing values must exceed the reference's."""
