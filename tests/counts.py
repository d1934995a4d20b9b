"""What a monitor counted, as a plain dict: the common ground of the tests about rows."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Settings

Counts = dict[tuple[str, ...], tuple[float, ...]]
"""Family name and labels behind the model's -> value; of a histogram, its buckets and sum."""

Call = tuple[Any, Any]
"""Features and prediction of one call."""

QUIET = Settings(system_seconds=0)

ROWS = tuple(
    family
    for family in catalog.CATALOG
    if family.area in ("distribution", "moments", "statistics", "data quality")
    or family in (catalog.PREDICTIONS, catalog.INTERNAL_ERRORS, catalog.ROWS_DROPPED)
)
"""The families that depend on rows alone, not on time or on how the rows came."""


def counts_of(monitor: Monitor, families: Iterable[MetricFamily] = ROWS) -> Counts:
    """All series of some families once everything is counted, but those that are 0 or have no value."""
    assert monitor.flush(timeout=30)
    snapshot = monitor.collect()
    wanted = set(families)
    found = {
        (series.family.name, *series.labels[2:]): tuple(snapshot.values[series.index : series.index + series.width].tolist())
        for series in snapshot.series
        if series.family in wanted
    }
    return {key: values for key, values in found.items() if any(value and not math.isnan(value) for value in values)}


def counted(calls: Iterable[Call], source: Reference | Schema, **options: Any) -> Counts:
    """What a monitor counts of some calls."""
    known: dict[str, Any] = {"reference": source} if isinstance(source, Reference) else {"schema": source}
    with Monitor("model", version="1", settings=QUIET, **known, **options) as monitor:
        for features, prediction in calls:
            monitor.observe(features, prediction)
        return counts_of(monitor)


def assert_same(one: Counts, other: Counts, message: str = "") -> None:
    """The same series with the same numbers; sums of floats may differ by their rounding."""
    assert one.keys() == other.keys(), f"{message}: {sorted(one.keys() ^ other.keys())}"
    for key, values in one.items():
        np.testing.assert_allclose(values, other[key], rtol=1e-9, atol=1e-9, err_msg=f"{message}: {key}")


def one(counts: Counts, family: MetricFamily, *labels: str) -> float:
    """A single counter's value; 0 if there is none."""
    return counts.get((family.name, *labels), (0.0,))[0]


def series(counts: Counts, family: MetricFamily, *labels: str) -> dict[str, float]:
    """Values by last label, of a family's series with the given first labels."""
    start = (family.name, *labels)
    return {key[-1]: values[0] for key, values in counts.items() if key[: len(start)] == start}
