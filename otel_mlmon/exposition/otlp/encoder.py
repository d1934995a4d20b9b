"""OTLP requests written straight from arrays: the bytes that do not change are laid out once, numpy fills in the others."""

import time
from collections.abc import Iterator

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_mlmon.catalog import MetricFamily
from otel_mlmon.exposition.otlp.encoder_points import Attributes, Numbers, Points, field, lay_out, prefix
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.portions import portions

_WORK_SECONDS = 0.0001
_LAY_OUT_SECONDS = 0.001
"""Work between two pauses; longer where series are laid out, which happens once, or a first export would take seconds."""

_PAUSE_SECONDS = 0.001

_DATA_FIELDS = {"gauge": 5, "counter": 7, "histogram": 9}
_DELTA, _CUMULATIVE = b"\x10\x01", b"\x10\x02"
_MONOTONIC = b"\x18\x01"


class Encoder:
    """Encodes exports for a receiver of OTLP over HTTP: what the SDK's encoder would say of the same points, in another order.

    It works in short slices with pauses between them, so that the thread of a model does not wait for the interpreter's lock.
    Not for several threads at once.

    Args:
        resource: What the process is.
        scope: Who counted.

    >>> from otel_mlmon.catalog import CALLS
    >>> from otel_mlmon.store import Series
    >>> encoder = Encoder(Resource({"service.name": "shop"}), InstrumentationScope("otel_mlmon"))
    >>> interval = Interval((Series(CALLS, ("m", "1", "ok"), 0),), np.array([7.0]), np.array([1]), 2)
    >>> [b"mlmon.calls" in request for request in encoder.requests(interval)]
    [True]

    Source:
        https://protobuf.dev/programming-guides/encoding/ and
        https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        empty = ScopeMetrics(scope, [], scope.schema_url or "")
        (head,) = encode_metrics(MetricsData([ResourceMetrics(resource, [empty], resource.schema_url)])).resource_metrics
        self._scope = head.scope_metrics.pop().SerializeToString()
        self._resource = head.SerializeToString()
        self._layout: _Layout | None = None

    def requests(self, interval: Interval) -> Iterator[bytes]:
        """Encode one export.

        Args:
            interval: What it says. A series whose first number is NaN has no point.

        Yields:
            A serialized ``ExportMetricsServiceRequest`` for each of ``portions(interval.series)``; empty where it has no points.
        """
        layout = self._layout
        if layout is None or not layout.shows(interval):
            layout = self._layout = _Layout(interval)
        numbers = Numbers(interval, layout.order)
        pause, seldom = _Pause(_WORK_SECONDS), _Pause(_LAY_OUT_SECONDS)
        for portion in range(len(layout)):
            parts: list[bytes | memoryview] = []
            for metric in layout.metrics(portion, seldom):
                parts += metric.encode(numbers, pause)
            request = self._request(parts)
            pause()
            yield request
            pause.begin()

    def _request(self, parts: list[bytes | memoryview]) -> bytes:
        if not parts:
            return b""
        size = len(self._scope) + sum(map(len, parts))
        head = self._resource + prefix(2, size) + self._scope
        return b"".join([prefix(1, len(head) - len(self._scope) + size), head, *parts])


class _Pause:
    """Lets other threads run whenever a slice of work is done."""

    def __init__(self, work: float) -> None:
        self._work = work
        self.begin()

    def begin(self) -> None:
        self._end = time.perf_counter() + self._work

    def __call__(self) -> None:
        if time.perf_counter() > self._end:
            time.sleep(_PAUSE_SECONDS)
            self.begin()


class _Metric:
    """One metric of a request."""

    def __init__(self, family: MetricFamily, points: list[Points], *, delta: bool) -> None:
        texts = ((1, family.name), (2, family.help), (3, family.unit))
        self._head = b"".join(field(number, text.encode()) for number, text in texts if text)
        self._data = _DATA_FIELDS[family.type]
        self._traits = b"" if family.type == "gauge" else _DELTA if delta else _CUMULATIVE
        self._traits += _MONOTONIC if family.type == "counter" else b""
        self._points = points

    def encode(self, numbers: Numbers, pause: _Pause) -> list[bytes | memoryview]:
        """Its bytes within a request; none if no series has a value."""
        parts: list[bytes | memoryview] = []
        for points in self._points:
            parts += points.encode(numbers)
            pause()
        if not parts:
            return []
        size = len(self._traits) + sum(map(len, parts))
        head = self._head + prefix(self._data, size)
        return [prefix(2, len(head) + size) + head + self._traits, *parts]


class _Layout:
    """The metrics of each request, laid out when they are first asked for."""

    def __init__(self, interval: Interval) -> None:
        self._series, self._delta = interval.series, interval.delta
        self._portions = portions(interval.series)
        self._metrics: list[list[_Metric]] = []
        self._attributes = Attributes()
        starts = np.array([one.index for one in interval.series], dtype=np.intp)
        self.order = np.argsort(starts), np.sort(starts)

    def __len__(self) -> int:
        return len(self._portions)

    def shows(self, interval: Interval) -> bool:
        """Whether it is laid out for just these series."""
        return self._series is interval.series and self._delta == interval.delta

    def metrics(self, portion: int, pause: _Pause) -> list[_Metric]:
        """Those of one request; requests are asked for in their order."""
        if portion == len(self._metrics):
            made = []
            for family, positions in self._portions[portion].items():
                points = list(lay_out(self._series, positions, self._attributes, pause))
                made.append(_Metric(family, points, delta=family.type in self._delta))
            self._metrics.append(made)
        return self._metrics[portion]
