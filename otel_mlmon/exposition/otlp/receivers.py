"""Ways to hand an export over: OTLP over HTTP with our own encoder, and any exporter of OpenTelemetry's SDK."""

import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Protocol

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, ConsoleMetricExporter, MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_mlmon.catalog import MetricType
from otel_mlmon.exposition.otlp.encoder import Encoder
from otel_mlmon.exposition.otlp.environment import Endpoint
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.points import metrics_data
from otel_mlmon.exposition.otlp.transport import Delivery, Pause, Transport

_SCOPE = InstrumentationScope("otel_mlmon", version("otel-mlmon"))
_NOTHING = Delivery(ok=True)
_PAUSE_SECONDS = 0.002
"""After each request, for the threads of the models."""


class Receiver(Protocol):
    """Takes exports.

    Attributes:
        name: For logs and files.
        delta: Types of the families whose counts it wants since the last export.
    """

    name: str
    delta: frozenset[MetricType]

    def send(self, interval: Interval, resource: Resource, deadline: float, pause: Pause) -> Iterator[Delivery]:
        """Hand one export over.

        Args:
            interval: What it says.
            resource: What the process is; the same until ``reset``.
            deadline: ``time.monotonic()`` at which it must have ended.
            pause: Waits some seconds; true when there is no time to wait any more.

        Yields:
            What became of each of ``portions(interval.series)``.
        """

    def reset(self) -> None:
        """Begin anew in a forked child."""

    def close(self, timeout: float) -> None:
        """Let go of the connection, within some seconds."""


class HttpReceiver:
    """A receiver of OTLP over HTTP.

    Args:
        endpoint: Where it is.
        delta: Types of the families whose counts it wants since the last export.
    """

    def __init__(self, endpoint: Endpoint, delta: frozenset[MetricType]) -> None:
        self.name, self.delta = "http", delta
        self._transport = Transport(endpoint)
        self._encoder: Encoder | None = None

    def send(self, interval: Interval, resource: Resource, deadline: float, pause: Pause) -> Iterator[Delivery]:
        """See ``Receiver``."""
        if self._encoder is None:
            self._encoder = Encoder(resource, _SCOPE)
        try:
            for body in self._encoder.requests(interval):
                yield self._transport.send(body, deadline, pause) if body else _NOTHING
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._transport.close()  # until the next export the receiver would have closed it, just when we ask again

    def reset(self) -> None:
        """See ``Receiver``."""
        self._transport.reset()
        self._encoder = None

    def close(self, timeout: float) -> None:
        """See ``Receiver``."""
        self._transport.close()


class ExporterReceiver:
    """An exporter of OpenTelemetry's SDK.

    Args:
        make: Makes it when it is first needed, on the thread that exports; again in a forked child, where that must have its own.
        name: For logs and files.
        delta: Types of the families whose counts it wants since the last export.
    """

    def __init__(self, make: Callable[[], MetricExporter], name: str, delta: frozenset[MetricType] = frozenset()) -> None:
        self._make, self.name, self.delta = make, name, delta
        self._exporter: MetricExporter | None = None
        self._parents: MetricExporter | None = None

    def send(self, interval: Interval, resource: Resource, deadline: float, pause: Pause) -> Iterator[Delivery]:
        """See ``Receiver``."""
        if self._exporter is None:
            self._exporter = self._make()
        for data in metrics_data(interval, resource, _SCOPE):
            left = max(0.0, deadline - time.monotonic())
            if not data.resource_metrics:
                yield _NOTHING
            elif not left or self._exporter.export(data, timeout_millis=1000 * left) is MetricExportResult.FAILURE:
                yield Delivery(ok=False, cause="failed")
            else:
                yield _NOTHING

    def reset(self) -> None:
        """See ``Receiver``."""
        # Kept, since a child that drops a gRPC channel closes it, and may wait for the parent's threads.
        self._parents, self._exporter = self._exporter or self._parents, None

    def close(self, timeout: float) -> None:
        """See ``Receiver``."""
        if self._exporter is not None:
            self._exporter.shutdown(timeout_millis=1000 * timeout)


def given(exporter: MetricExporter) -> ExporterReceiver:
    """What the application brings, with the temporality that it prefers."""
    # As PeriodicExportingMetricReader reads it; there is no public way.
    preferred: Mapping[type, AggregationTemporality] = getattr(exporter, "_preferred_temporality", None) or {}
    types: tuple[tuple[type, MetricType], ...] = ((Counter, "counter"), (Histogram, "histogram"))
    delta = frozenset(name for kind, name in types if preferred.get(kind) is AggregationTemporality.DELTA)
    return ExporterReceiver(lambda: exporter, type(exporter).__name__, delta)


def console() -> ExporterReceiver:
    """Standard output."""
    return ExporterReceiver(ConsoleMetricExporter, "console")


def grpc(delta: frozenset[MetricType], compression: str) -> ExporterReceiver:
    """OTLP over gRPC, by the SDK's exporter, which reads the environment itself.

    Args:
        delta: Types of the families whose counts it wants since the last export.
        compression: One of ``environment.COMPRESSIONS``, of which the exporter itself would understand ``gzip`` only.
    """

    def make() -> MetricExporter:
        from grpc import Compression  # type: ignore[import-untyped]  # grpcio ships no types
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # slow to import

        known = {"none": Compression.NoCompression, "gzip": Compression.Gzip, "deflate": Compression.Deflate}
        return OTLPMetricExporter(compression=known[compression])

    return ExporterReceiver(make, "grpc", delta)
