"""An export as data of OpenTelemetry's SDK, which every exporter understands."""

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_mlmon.catalog import MetricFamily
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.portions import portions
from otel_mlmon.store import Series

_EXEMPLAR = getattr(metrics, "Exemplar", None)  # since 1.28; before, data points have none


def metrics_data(interval: Interval, resource: Resource, scope: InstrumentationScope) -> Iterator[MetricsData]:
    """Write one export as the SDK would have collected it.

    Args:
        interval: What it says. A series whose first number is NaN has no point.
        resource: What the process is.
        scope: Who counted.

    Yields:
        The data of each of ``portions(interval.series)``; without a metric where it has no points.

    Source:
        https://opentelemetry.io/docs/specs/otel/metrics/data-model/
    """
    values = interval.values.tolist()
    starts = interval.starts.tolist()
    for portion in portions(interval.series):
        found = [
            metric
            for family, positions in portion.items()
            if (metric := _metric(interval, family, [(interval.series[one], starts[one]) for one in positions], values))
        ]
        scopes = [ScopeMetrics(scope, found, scope.schema_url or "")]
        yield MetricsData([ResourceMetrics(resource, scopes, resource.schema_url)] if found else [])


def _metric(interval: Interval, family: MetricFamily, series: Iterable[tuple[Series, int]], values: list[float]) -> Metric | None:
    series = [(one, start) for one, start in series if values[one.index] == values[one.index]]  # NaN differs from itself
    if not series:
        return None
    delta = family.type in interval.delta
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    data: Gauge | Histogram | Sum
    if family.type == "histogram":
        data = Histogram([_histogram_point(interval, one, start, values) for one, start in series], temporality)
    else:
        numbers = [_number_point(interval, one, start, values) for one, start in series]
        data = Gauge(numbers) if family.type == "gauge" else Sum(numbers, temporality, is_monotonic=True)
    return Metric(family.name, family.help, family.unit, data)


def _number_point(interval: Interval, series: Series, start: int, values: list[float]) -> NumberDataPoint:
    slot = series.index
    return NumberDataPoint(_attributes(series), start, interval.time, values[slot], **_exemplars(interval, range(slot, slot + 1)))


def _histogram_point(interval: Interval, series: Series, start: int, values: list[float]) -> HistogramDataPoint:
    last = series.index + len(series.bounds) + 1  # the sum's slot
    counts = [int(count) for count in values[series.index : last]]
    return HistogramDataPoint(
        attributes=_attributes(series),
        start_time_unix_nano=start,
        time_unix_nano=interval.time,
        count=sum(counts),
        sum=values[last],
        bucket_counts=counts,
        explicit_bounds=series.bounds,
        min=None,  # type: ignore[arg-type]  # both are optional in OTLP, and the store does not know them
        max=None,  # type: ignore[arg-type]
        **_exemplars(interval, range(series.index, last)),
    )


def _attributes(series: Series) -> dict[str, str]:
    # A lone surrogate, as JSON may bring one into a column's name, has no form in UTF-8.
    texts = (text.encode("utf-8", "replace").decode() for text in series.labels)
    return dict(zip(series.family.labels, texts, strict=True))


def _exemplars(interval: Interval, slots: range) -> dict[str, Any]:
    if _EXEMPLAR is None or not interval.exemplars:
        return {}
    found = [interval.exemplars[slot] for slot in slots if slot in interval.exemplars]
    made = [
        _EXEMPLAR(
            filtered_attributes={},
            value=float(one.value),
            time_unix_nano=int(one.time * 1e9),
            span_id=one.span_id,
            trace_id=one.trace_id,
        )
        for one in found
    ]
    return {"exemplars": made} if made else {}
