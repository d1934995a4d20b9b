"""OTLP: series pushed to any OpenTelemetry receiver, from a thread of its own."""

import errno
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otel_mlmon.exposition.joint import JoinedServer, join_server
from otel_mlmon.exposition.otlp import environment
from otel_mlmon.exposition.otlp.export import Export, Reported
from otel_mlmon.exposition.otlp.receivers import HttpReceiver, Receiver, console, given, grpc
from otel_mlmon.exposition.otlp.resource import Origin
from otel_mlmon.exposition.prometheus import Source

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource

    from otel_mlmon.exposition.multiprocess import Shared

__all__ = ["Export", "Reported", "start_export"]


def start_export(
    sources: Sequence[Source],
    *,
    exporter: "MetricExporter | None" = None,
    interval: float | None = None,
    resource: "Resource | None" = None,
    reported: Reported | None = None,
    shared: "Shared | None" = None,
) -> Export:
    """Push the series of all sources, from a daemon thread.

    Args:
        sources: ``monitor.collect`` of each monitor.
        exporter: Any exporter of OpenTelemetry's SDK; None for those that OTEL_METRICS_EXPORTER names.
        interval: Seconds between exports; None for OTEL_METRIC_EXPORT_INTERVAL.
        resource: What the series describe; None for that of the application's MeterProvider, its TracerProvider or the environment.
        reported: Told of each export.
        shared: The folder that the process shares with others: the one that leads exports for all.

    Returns:
        The export, running. Where OTEL_SDK_DISABLED or OTEL_METRICS_EXPORTER say so, it never exports.

    Raises:
        ValueError: If the environment or ``interval`` says something that is not known.
        OSError: If the page cannot be served that the exporter ``prometheus`` stands for.

    >>> import io
    >>> from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
    >>> from otel_mlmon.catalog import PREDICTIONS
    >>> from otel_mlmon.store import SeriesStore
    >>> store, out = SeriesStore(), io.StringIO()
    >>> start = store.allocate(PREDICTIONS, [("m", "1")])
    >>> export = start_export([store.snapshot], exporter=ConsoleMetricExporter(out))
    >>> export.flush()
    True
    >>> export.close()
    >>> "mlmon.predictions" in out.getvalue()
    True
    """
    off = environment.disabled()
    names = environment.exporters() if exporter is None and not off else ()
    receivers: list[Receiver] = [] if exporter is None or off else [given(exporter)]
    if "otlp" in names:
        receivers.append(_otlp())
    if "console" in names:
        receivers.append(console())
    seconds = environment.interval() if interval is None else interval
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"OTLP export: interval must be a number of seconds above 0, got {interval!r}")
    timeout = environment.export_timeout()
    pages = _pages(sources, shared) if "prometheus" in names else []
    export = Export(
        sources,
        receivers,
        interval=seconds,
        timeout=timeout,
        origin=Origin(resource, None if shared is None else shared.instance),
        reported=reported,
        shared=shared,
        pages=pages,
    )
    export.start()
    return export


def _otlp() -> Receiver:
    if environment.protocol() == "grpc":
        environment.timeout()  # the SDK's exporter would complain only when it is made, on the thread
        return grpc(environment.delta(), environment.compression())
    return HttpReceiver(environment.endpoint(), environment.delta())


def _pages(sources: Sequence[Source], shared: "Shared | None") -> list[JoinedServer]:
    host, port = environment.prometheus_address()
    try:
        return [join_server(source, address=host, port=port) for source in sources]
    except OSError as error:
        if shared is None or error.errno != errno.EADDRINUSE:
            raise
        return []  # another of the processes that share the folder serves for all
