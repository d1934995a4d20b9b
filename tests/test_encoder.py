"""The encoder, held to the SDK's own on the same points."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_mlmon.catalog import CALL_DURATION, CALLS, CATALOG, FEATURE_MIN, FEATURE_VALUE, LAST_CALL_TIME, MetricFamily, MetricType
from otel_mlmon.exposition.otlp import encoder as encoder_module
from otel_mlmon.exposition.otlp import portions as portions_module
from otel_mlmon.exposition.otlp.encoder import Encoder
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.points import metrics_data
from otel_mlmon.exposition.otlp.portions import portions
from otel_mlmon.store import Exemplar, Series

RESOURCE = Resource(
    {"service.name": "shöp", "replicas": 3, "canary": True, "share": 0.5, "zones": ("a", "b")}, "https://schema.test/1"
)
SCOPE = InstrumentationScope("otel_mlmon", "1.2", "https://schema.test/2", {"commit": "4f2a91c"})

FAMILIES = (
    *(MetricFamily("plain", kind, "", "", (), "t") for kind in ("counter", "gauge", "histogram")),
    *(
        MetricFamily(f"long.{kind}", kind, "{µ}", "Hëlp. " * 40, ("a.b", "c" * 130), "t")
        for kind in ("counter", "gauge", "histogram")
    ),
    CALLS,
    FEATURE_MIN,
    CALL_DURATION,
)


@pytest.fixture(autouse=True, scope="module")
def no_pauses() -> Iterator[None]:
    """They are for others' sake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "_PAUSE_SECONDS", 0.0)
        yield


def content(requests: Iterator[bytes]) -> list[ExportMetricsServiceRequest]:
    """What requests say, whatever the order of the points."""
    parsed = [ExportMetricsServiceRequest.FromString(request) for request in list(requests)]
    for request in parsed:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    getattr(metric, metric.WhichOneof("data")).data_points.sort(key=lambda point: point.SerializeToString())
    return parsed


def same(encoder: Encoder, interval: Interval) -> bool:
    """Whether both encoders say the same."""
    theirs = (encode_metrics(data).SerializeToString() for data in metrics_data(interval, RESOURCE, SCOPE))
    return content(encoder.requests(interval)) == content(theirs)


def series_of(family: MetricFamily, labels: list[tuple[str, ...]], bounds: tuple[float, ...] = ()) -> tuple[Series, ...]:
    width = Series(family, (), 0, bounds).width
    return tuple(Series(family, values, width * place, bounds) for place, values in enumerate(labels))


def interval_of(series: tuple[Series, ...], values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Interval:
    return Interval(series, values, np.arange(len(series)) + 10**18, 2 * 10**18)


TEXTS = st.text(max_size=4) | st.sampled_from(["", "\ud800", "ä" * 70, "x" * 3_000]) | st.integers(90, 150).map("y".__mul__)
BOUNDS = st.sampled_from([(), (0.5,), (-2.0, 0.0, 1e-7), tuple(map(float, range(20)))])
DELTAS: tuple[frozenset[MetricType], ...] = (frozenset(), frozenset({"counter"}), frozenset({"counter", "histogram"}))
NUMBERS = st.floats(allow_nan=False)
COUNTS = st.integers(0, 2**48).map(float)  # their sum, too, is a float that is whole


@st.composite
def all_series(draw: st.DrawFn) -> tuple[Series, ...]:
    """Series of a few families, in any order in the tuple and in the array."""
    made, slot = [], 1
    for family, bounds in draw(st.lists(st.tuples(st.sampled_from(FAMILIES), BOUNDS), max_size=12)):
        labels = tuple(draw(TEXTS) for _ in family.labels)
        made.append(Series(family, labels, slot, bounds if family.type == "histogram" else ()))
        slot += made[-1].width + draw(st.integers(0, 1))
    return tuple(draw(st.permutations(made)))


@st.composite
def intervals(draw: st.DrawFn, series: tuple[Series, ...]) -> Interval:
    """Numbers and exemplars for some series; gauges, and now and then others, without a value."""
    values = np.zeros(max((one.index + one.width for one in series), default=0) + 1)
    exemplars: dict[int, Exemplar] = {}
    some = st.builds(Exemplar, NUMBERS, st.floats(0, 9e9), st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
    for one in series:
        if one.family.type == "histogram":
            values[one.index : one.index + one.width] = [*(draw(COUNTS) for _ in range(one.width - 1)), draw(NUMBERS)]
        else:
            values[one.index] = draw(NUMBERS)
        if draw(st.integers(0, 3)) == 0:
            values[one.index] = np.nan
        slots = st.integers(one.index, one.index + one.width - 1)  # a histogram's sum, too, which has none
        exemplars |= draw(st.dictionaries(slots, some, max_size=2))
    starts = np.array(draw(st.lists(st.integers(0, 2**62), min_size=len(series), max_size=len(series))), dtype=np.int64)
    delta = draw(st.sampled_from(DELTAS))
    return Interval(series, values, starts, draw(st.integers(0, 2**62)), delta, exemplars)


@settings(max_examples=60)
@given(st.data())
def test_it_says_what_the_sdk_says(data: st.DataObject) -> None:
    """Several exports of some series, then of others, from one encoder: what was laid out for one must fit the next."""
    encoder = Encoder(RESOURCE, SCOPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions_module, "CAPACITY", data.draw(st.sampled_from([9, 16_000])))
        for _ in range(2):
            series = data.draw(all_series())
            for _ in range(2):
                assert same(encoder, data.draw(intervals(series)))


@pytest.mark.parametrize("length", [*range(100, 132), *range(16_344, 16_384, 3)])
@pytest.mark.parametrize("family", FAMILIES[3:6], ids=lambda family: family.type)
def test_lengths_of_every_width_are_written(family: MetricFamily, length: int) -> None:
    """The length of a point, an attribute or a value takes a second byte from 128 on, and a third from 16,384 on."""
    series = series_of(family, [("a" * length, ""), ("b" * length, "c")], (0.0, 1.0) if family.type == "histogram" else ())
    assert same(Encoder(RESOURCE, SCOPE), interval_of(series, np.arange(1.0, 9.0)))


def test_every_family_is_written() -> None:
    """The catalogue, with its names, units and help texts."""
    made, slot = [], 0
    for family in CATALOG:
        made.append(Series(family, tuple(family.labels), slot, (1.0, 2.0) if family.type == "histogram" else ()))
        slot += made[-1].width
    interval = interval_of(tuple(made), np.arange(1.0, slot + 1))
    assert same(Encoder(RESOURCE, SCOPE), interval)
    (request,) = content(Encoder(RESOURCE, SCOPE).requests(interval))
    assert len(request.resource_metrics[0].scope_metrics[0].metrics) == len(CATALOG)


def test_requests_are_split() -> None:
    """At 4,000 histograms or 16,000 others, wherever the metric stands; each request says the rest of the metric."""
    histograms = series_of(FEATURE_VALUE, [("m", "1", f"{number}") for number in range(5_000)])
    counters = tuple(Series(CALLS, ("m", "1", f"{number}"), 10_000 + number) for number in range(14_000))
    interval = interval_of(histograms + counters, np.ones(24_000))
    sizes = [{family.name: len(positions) for family, positions in portion.items()} for portion in portions(interval.series)]
    assert sizes == [{"mlmon.feature.value": 4_000}, {"mlmon.feature.value": 1_000, "mlmon.calls": 12_000}, {"mlmon.calls": 2_000}]
    said = [
        {metric.name: len(getattr(metric, metric.WhichOneof("data")).data_points) for metric in scope.metrics}
        for request in content(Encoder(RESOURCE, SCOPE).requests(interval))
        for scope in request.resource_metrics[0].scope_metrics
    ]
    assert said == sizes
    assert {one for portion in portions(interval.series) for positions in portion.values() for one in positions} == set(
        range(19_000)
    )


def test_there_are_as_many_requests_as_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who sends them knows what each one says; nothing to say is an empty request."""
    monkeypatch.setattr(portions_module, "CAPACITY", 10)
    series = series_of(LAST_CALL_TIME, [("m", f"number {number}") for number in range(11)])
    values = np.full(11, np.nan)
    values[-1] = 3.0
    nothing, something = Encoder(RESOURCE, SCOPE).requests(interval_of(series, values))
    assert nothing == b""
    assert b"number 10" in something
    assert list(Encoder(RESOURCE, SCOPE).requests(interval_of((), np.zeros(0)))) == []


def test_series_that_changed_are_laid_out_anew() -> None:
    """As many as before, but others."""
    encoder = Encoder(RESOURCE, SCOPE)
    assert same(encoder, interval_of(series_of(CALLS, [("m", "1", "ok")]), np.ones(1)))
    assert same(encoder, interval_of(series_of(CALLS, [("m", "1", "no")]), np.ones(1)))


def test_an_export_that_was_given_up_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the receiver does not answer, the rest of the requests is not asked for."""
    monkeypatch.setattr(portions_module, "CAPACITY", 10)
    interval = interval_of(series_of(LAST_CALL_TIME, [("m", f"{number}") for number in range(25)]), np.ones(25))
    encoder = Encoder(RESOURCE, SCOPE)
    next(encoder.requests(interval))
    assert same(encoder, interval)


def test_thousands_of_families_are_written() -> None:
    """Nothing limits their number but the request."""
    families = [MetricFamily(f"family_{number}", "gauge", "", "", ("a",), "t") for number in range(2_000)]
    series = tuple(Series(family, ("b",), place) for place, family in enumerate(families))
    assert same(Encoder(RESOURCE, SCOPE), interval_of(series, np.arange(2_000.0)))
