"""Offline comparison of data with a reference: what the fleet would count and say of it, without a fleet."""

from otel_mlmon.report.drift_report import DriftReport, compare
from otel_mlmon.report.features import FeatureReport, Finding

__all__ = ["DriftReport", "FeatureReport", "Finding", "compare"]
