"""Live model monitoring in your own Prometheus or OpenTelemetry back end: health, data quality and drift, from a decorator."""

from otel_mlmon.feature import Feature
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Batch, Metadata, Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Settings, Threshold
from otel_mlmon.snapshot import FeatureSnapshot, MonitorSnapshot
from otel_mlmon.watch import Call

__all__ = [
    "Batch",
    "Call",
    "Feature",
    "FeatureSnapshot",
    "Metadata",
    "Monitor",
    "MonitorSnapshot",
    "Reference",
    "Schema",
    "Settings",
    "Threshold",
]
