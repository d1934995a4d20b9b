"""Live model monitoring in your own Prometheus or OpenTelemetry back end: health, data quality and drift, from a decorator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_mlmon import drift as drift
    from otel_mlmon.feature import Feature
    from otel_mlmon.monitor import Monitor
    from otel_mlmon.reference import Batch, Metadata, Reference
    from otel_mlmon.schema import Schema
    from otel_mlmon.settings import PredictionLog, Settings, Threshold
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
    "PredictionLog",
    "Reference",
    "Schema",
    "Settings",
    "Threshold",
]

_HOMES = {
    **dict.fromkeys(("Batch", "Metadata", "Reference"), "reference"),
    **dict.fromkeys(("PredictionLog", "Settings", "Threshold"), "settings"),
    **dict.fromkeys(("FeatureSnapshot", "MonitorSnapshot"), "snapshot"),
    "Call": "watch",
    "Feature": "feature",
    "Monitor": "monitor",
    "Schema": "schema",
}
"""Module by name: loaded on use, since ``opentelemetry-instrument`` imports this package wherever Python starts."""


def __getattr__(name: str) -> Any:
    if name == "drift":
        return import_module("otel_mlmon.drift")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"otel_mlmon.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
