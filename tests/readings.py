"""What a monitor's series say, by family and labels."""

import math

from otel_mlmon import Monitor
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.store import Snapshot


def reading(source: Monitor | Snapshot, family: MetricFamily, *labels: str) -> float:
    """Value of one counter or gauge, by its labels behind the model's; NaN for a gauge without a value or an unknown series."""
    return readings(source, family).get(labels, float("nan"))


def readings(source: Monitor | Snapshot, family: MetricFamily) -> dict[tuple[str, ...], float]:
    """Values of a counter or gauge family by the labels behind the model's."""
    snapshot = source.collect() if isinstance(source, Monitor) else source
    return {one.labels[2:]: float(snapshot.values[one.index]) for one in snapshot.series if one.family is family}


def buckets(source: Monitor | Snapshot, family: MetricFamily, *labels: str) -> list[float]:
    """Counts per bucket of one histogram, not cumulative, and behind them the sum."""
    snapshot = source.collect() if isinstance(source, Monitor) else source
    (found,) = (one for one in snapshot.series if one.family is family and one.labels[2:] == labels)
    values: list[float] = snapshot.values[found.index : found.index + found.width].tolist()
    return values


def counted(monitor: Monitor) -> tuple[float, float, float]:
    """Calls up to now that succeeded, raised, or were cancelled."""
    assert monitor.flush()
    calls = monitor.snapshot().calls
    return calls["ok"], calls["error"], calls["cancelled"]


def value(monitor: Monitor, feature: str = "a") -> float:
    """The one value of a feature that was seen; NaN for none."""
    assert monitor.flush()
    one = monitor.snapshot().features[feature]
    assert one.minimum == one.maximum or math.isnan(one.minimum)
    return one.minimum
