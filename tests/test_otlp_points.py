"""Exports as the SDK's data: the protobuf that the SDK's encoder makes of them holds every number and label of the store."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_mlmon import catalog
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.points import metrics_data
from otel_mlmon.exposition.otlp.readings import Readings
from otel_mlmon.store import Exemplar, SeriesStore
from tests.collectors import metrics, points

RESOURCE = Resource({"service.name": "shop"}, "https://opentelemetry.io/schemas/1.30.0")
SCOPE = InstrumentationScope("otel_mlmon", "1.2.3")

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)
COUNTS = st.integers(0, 2**40).map(float)
STARTED = 1_700_000_000.5


@st.composite
def stores(draw: st.DrawFn) -> SeriesStore:
    store = SeriesStore()
    names = draw(st.lists(TEXTS.map(lambda text: text.encode("utf-8", "replace").decode()), min_size=1, max_size=4, unique=True))
    store.set(store.allocate(catalog.START_TIME, [("m", "1")]), STARTED)
    for name in names:
        labels = ("m", "1", name)
        for family in draw(st.sets(st.sampled_from([catalog.CALLS, catalog.FEATURE_MIN, catalog.FEATURE_VALUE]))):
            bounds = tuple(draw(st.lists(st.floats(-1e9, 1e9), max_size=4, unique=True).map(sorted)))
            if family.type == "histogram":
                counts = draw(st.lists(COUNTS, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
                start = store.allocate(family, [labels], bounds=bounds)
                store.put(start, np.array([*counts, draw(st.floats(-1e12, 1e12))]))
            else:
                store.put(store.allocate(family, [labels]), np.array([draw(COUNTS | st.just(math.nan))]))
    return store


@given(stores())
def test_each_number_and_label_is_there_once(store: SeriesStore) -> None:
    interval = Readings([store.snapshot]).read()
    found = {}
    for name, labels, point in points(encode_metrics(data) for data in metrics_data(interval, RESOURCE, SCOPE)):
        assert point.time_unix_nano == interval.time
        numbers = (
            (*point.bucket_counts, point.sum, *point.explicit_bounds) if hasattr(point, "bucket_counts") else (point.as_double,)
        )
        assert (name, labels) not in found
        found[name, labels] = numbers, point.start_time_unix_nano
    expected = {}
    for one in interval.series:
        numbers = tuple(interval.values[one.index : one.index + one.width].tolist())
        if not math.isnan(numbers[0]):
            labels = frozenset(zip(one.family.labels, one.labels, strict=True))
            start = 0 if one.family.type == "gauge" else int(STARTED * 1e9)
            expected[one.family.name, labels] = (*numbers, *one.bounds), start
    assert found == expected


def one_of_each() -> SeriesStore:
    store = SeriesStore()
    store.set(store.allocate(catalog.START_TIME, [("m", "1")]), STARTED)
    store.put(store.allocate(catalog.CALLS, [("m", "1", "ok")]), np.array([3.0]))
    store.put(store.allocate(catalog.CALL_DURATION, [("m", "1")], bounds=(0.5,)), np.array([2.0, 1.0, 4.0]))
    store.allocate(catalog.LAST_CALL_TIME, [("m", "1")])
    return store


def test_a_metric_says_what_the_catalogue_says_of_it() -> None:
    (request,) = (encode_metrics(data) for data in metrics_data(Readings([one_of_each().snapshot]).read(), RESOURCE, SCOPE))
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    assert (resource.schema_url, scope.scope.name, scope.scope.version) == (RESOURCE.schema_url, "otel_mlmon", "1.2.3")
    found = {metric.name: metric for metric in metrics([request])}
    assert found.keys() == {family.name for family in (catalog.START_TIME, catalog.CALLS, catalog.CALL_DURATION)}
    duration, calls = found[catalog.CALL_DURATION.name], found[catalog.CALLS.name]
    assert (duration.unit, duration.description) == (catalog.CALL_DURATION.unit, catalog.CALL_DURATION.help)
    assert calls.sum.is_monotonic
    (point,) = duration.histogram.data_points
    assert (point.count, point.HasField("min"), point.HasField("max")) == (3, False, False)


@pytest.mark.parametrize("delta", [frozenset(), frozenset({"counter"}), frozenset({"counter", "histogram"})])
def test_temporality_is_that_of_the_interval(delta: frozenset[catalog.MetricType]) -> None:
    read = Readings([one_of_each().snapshot]).read()
    interval = Interval(read.series, read.values, read.starts, read.time, delta)
    found = {metric.name: metric for metric in metrics(encode_metrics(data) for data in metrics_data(interval, RESOURCE, SCOPE))}
    expected = {
        kind: "AGGREGATION_TEMPORALITY_" + ("DELTA" if kind in delta else "CUMULATIVE") for kind in ("counter", "histogram")
    }
    name = AggregationTemporality.Name
    assert name(found[catalog.CALLS.name].sum.aggregation_temporality) == expected["counter"]
    assert name(found[catalog.CALL_DURATION.name].histogram.aggregation_temporality) == expected["histogram"]


def test_exemplars_are_those_of_the_points_slots() -> None:
    store = one_of_each()
    calls, duration = (
        next(one.index for one in store.snapshot().series if one.family is family)
        for family in (catalog.CALLS, catalog.CALL_DURATION)
    )
    store.add([], {calls: Exemplar(1.0, 12.5, 7, 8), duration + 1: Exemplar(3.0, 13.5, 2**127, 2**63)})
    interval = Readings([store.snapshot]).read()
    found = {
        name: point.exemplars for name, _, point in points(encode_metrics(one) for one in metrics_data(interval, RESOURCE, SCOPE))
    }
    (first,), (second,) = found[catalog.CALLS.name], found[catalog.CALL_DURATION.name]
    assert (first.as_double, first.time_unix_nano, first.trace_id, first.span_id) == (
        1.0,
        12_500_000_000,
        (7).to_bytes(16, "big"),
        (8).to_bytes(8, "big"),
    )
    assert (second.as_double, second.trace_id) == (3.0, (2**127).to_bytes(16, "big"))
    assert not found[catalog.START_TIME.name]


def test_a_large_export_is_split() -> None:
    """4,001 histograms are one too many for a request; gauges go with the second one."""
    store = SeriesStore()
    store.allocate(catalog.FEATURE_VALUE, [("m", "1", str(number)) for number in range(4_001)], bounds=(1.0,))
    store.set(store.allocate(catalog.LAST_CALL_TIME, [("m", "1")]), 1.0)
    sizes = [
        [len(metric.data.data_points) for metric in data.resource_metrics[0].scope_metrics[0].metrics]
        for data in metrics_data(Readings([store.snapshot]).read(), RESOURCE, SCOPE)
    ]
    assert sizes == [[4_000], [1, 1]]


def test_several_sources_are_one_export() -> None:
    """One view that two sources share is read as one; others lie side by side, each with its own start."""
    first, second = one_of_each(), SeriesStore()
    second.set(second.allocate(catalog.START_TIME, [("other", "1")]), STARTED + 100)
    second.add([(second.allocate(catalog.CALLS, [("other", "1", "ok")]), np.array([9.0]))], {1: Exemplar(1.0, 12.5, 7, 8)})
    readings = Readings([first.snapshot, first.snapshot, second.snapshot])
    interval = readings.read()
    assert readings.read().series is interval.series
    found = {
        (one.labels, one.family.name): (interval.values[one.index], start, one.index in interval.exemplars)
        for one, start in zip(interval.series, interval.starts.tolist(), strict=True)
    }
    assert len(found) == len(interval.series) == len(first.snapshot().series) + 2
    assert found[("m", "1", "ok"), "mlmon.calls"] == (3.0, int(STARTED * 1e9), False)
    assert found[("other", "1", "ok"), "mlmon.calls"] == (9.0, int((STARTED + 100) * 1e9), True)


def test_counters_without_a_start_time_count_since_the_export_began() -> None:
    store = SeriesStore()
    store.allocate(catalog.CALLS, [("m", "1", "ok")])
    readings = Readings([store.snapshot])
    first, second = readings.read(), readings.read()
    assert 0 < first.starts[0] == second.starts[0] <= first.time


def test_no_counter_begins_after_its_own_point() -> None:
    """As a clock that was set back would have it."""
    store = SeriesStore()
    store.set(store.allocate(catalog.START_TIME, [("m", "1")]), 4e9)
    store.allocate(catalog.CALLS, [("m", "1", "ok")])
    interval = Readings([store.snapshot]).read()
    assert interval.starts.tolist() == [0, interval.time]
