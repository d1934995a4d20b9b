"""The monitor: wires queue, counting and exposition together for one version of one model."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from otel_mlmon import gauges
from otel_mlmon.arguments import check_arguments
from otel_mlmon.calls import HttpRequest
from otel_mlmon.forks import in_each_child
from otel_mlmon.intake import Read
from otel_mlmon.learning import new_learner
from otel_mlmon.outlets import Outlets
from otel_mlmon.outputs import Task
from otel_mlmon.pipeline import Pipeline
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import History, PredictionLog, Settings, Threshold
from otel_mlmon.sink import RequestSink, Sink
from otel_mlmon.snapshot import MonitorSnapshot
from otel_mlmon.store import SeriesStore, Snapshot
from otel_mlmon.tracing import Tracing
from otel_mlmon.vitals import Vitals
from otel_mlmon.watch import Extractor, Plan, watch
from otel_mlmon.worker import Worker

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource

    from otel_mlmon.exposition.otlp import Export
    from otel_mlmon.exposition.prometheus import Collector
    from otel_mlmon.exposition.server import MetricsServer

F = TypeVar("F", bound=Callable[..., Any])

_LOG = logging.getLogger("otel_mlmon")


class Monitor:
    """Watches one version of one model.

    Args:
        name: Name of the model, the label ``model_name``.
        version: Its version, the label ``model_version``; another reference needs another version.
        task: ``binary``, ``multiclass``, ``regression`` or ``ranking``: how predictions are read; the reference's if not given.
        reference: Profile of the training data, or the path of its file.
        schema: The features; the reference's if not given.
        learn_rows: Without a reference: learn one from this many first rows of this process. Without this and without a schema,
            a schema is inferred from the first 100 rows, and there is no drift to see.
        thresholds: Alert thresholds, exported as series.
        learn_normal: ``14d`` or ``28d``: the rules learn from so much recorded history how much drift is normal; what drifts slowly
            is learned, too. By default the reference's timestamps tell, if it has any.
        expose_reference: Whether the reference is exported; one replica of many is enough.
        feature_histograms: Whether ``mlmon_feature_value`` is exported: for eyes, not for drift.
        cohorts: Categorical or boolean features by which traffic is told apart: in spans and prediction logs; there are no
            series by cohort yet. Values that neither reference nor schema know are ``__other__``.
        trace: Whether each call is a span of the application's OpenTelemetry traces. Without this, too, buckets of durations and
            counters of errors bear the span that was current as their exemplar.
        prediction_log: Which predictions go to the application's OpenTelemetry logs; None for none.
        settings: How the monitor works inside.

    Raises:
        ValueError: If a name is empty, a length of history is unknown, or task, schema, thresholds, cohorts, fields of the log and
            reference contradict each other.
        OSError: If the reference cannot be read.

    >>> from otel_mlmon import Feature, Schema
    >>> monitor = Monitor("flight-delay", version="2026.11", schema=Schema((Feature("distance"),)))
    >>> @monitor.watch
    ... def predict(features):
    ...     return 0.5
    >>> predict({"distance": 1400.0})
    0.5
    >>> monitor.flush()
    True
    >>> monitor.snapshot().rows
    1.0
    >>> monitor.close()
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "",
        task: Task | None = None,
        reference: Reference | str | Path | None = None,
        schema: Schema | None = None,
        learn_rows: int | None = None,
        thresholds: Sequence[Threshold] = (),
        learn_normal: History | None = None,
        expose_reference: bool = True,
        feature_histograms: bool = True,
        cohorts: Sequence[str] = (),
        trace: bool = False,
        prediction_log: PredictionLog | None = None,
        settings: Settings | None = None,
    ) -> None:
        if isinstance(reference, (str, Path)):
            reference = Reference.load(reference)
        self.name, self.version = name, version
        if reference is not None:
            schema = reference.schema if schema is None else schema
        self.reference, self.schema = reference, schema
        self.task = task or (reference.task if reference is not None else None)
        check_arguments(
            name,
            task=self.task,
            reference=reference,
            schema=schema,
            learn_rows=learn_rows,
            thresholds=thresholds,
            learn_normal=learn_normal,
            cohorts=cohorts,
            prediction_log=prediction_log,
        )
        self.settings = settings or Settings()
        self._model, library = (name, version), installed_version("otel-mlmon")
        self._expose_reference, self._thresholds = expose_reference, tuple(thresholds)
        self._store = SeriesStore()
        self._vitals = Vitals(self._store, self._model)
        self._collecting = threading.Lock()
        self._pipeline = Pipeline(
            self._model,
            self.task,
            self._store,
            self._vitals,
            learner=new_learner(name, learn_rows, schema=schema, task=self.task) if reference is None else None,
            learned=self._watch_rows,
            settings=self.settings,
            histograms=feature_histograms,
            cohorts=cohorts,
            prediction_log=prediction_log,
            version=library,
        )
        self._worker = Worker(
            self._pipeline.handle,
            self._tick,
            self._pipeline.failed,
            capacity=self.settings.queue_rows,
            seconds=self.settings.drain_seconds,
            name=f"mlmon-{name}",
        )
        self._sink, self._requests = Sink(self._worker, self._vitals.failed), RequestSink(self._worker)
        self._sink.vectors = schema.vectors if schema is not None else ()
        self._tracing = Tracing(self._model, library, spans=trace, failed=self._vitals.failed)
        self._look_for_traces()
        gauges.expose_info(self._store, self._model, self.task, library, reference)
        gauges.expose_thresholds(self._store, self._model, thresholds, learn_normal)
        if schema is not None and self._pipeline.learner is None:
            self._watch_rows(schema, reference)
        self._outlets = Outlets(name, self._own, self._vitals)
        _LOG.info("monitor %r: %d series", name, self._store.samples)
        in_each_child(self._after_fork)

    @overload
    def watch(self, function: F, /) -> F: ...

    @overload
    def watch(
        self,
        function: None = None,
        /,
        *,
        features: Extractor | None = None,
        prediction: Extractor | None = None,
        prediction_id: Extractor | None = None,
    ) -> Callable[[F], F]: ...

    def watch(
        self,
        function: Any = None,
        /,
        *,
        features: Extractor | None = None,
        prediction: Extractor | None = None,
        prediction_id: Extractor | None = None,
    ) -> Any:
        """Decorate an inference function; bare or with extractors.

        Bare, the rows are the first argument (or, where every required parameter is a feature of the schema, or the function
        takes ``**keywords`` only, all arguments together are one row), copied before the call, and the predictions are the result.
        Extractors run when the call has ended, so they may read ``call.result``.

        Args:
            function: Function, method, classmethod, partial or callable object; plain, coroutine, generator or asynchronous
                generator. A stream is one call, which ends when the stream ends.
            features: Gives the rows of a ``Call`` (``args``, ``kwargs``, ``result``), in any shape that is understood bare.
            prediction: Gives the predictions of a ``Call``: one per row, or ``{"prediction": ..., "score": ...}``. A stream has
                none without this; ``call.result`` is then the list of its first 1,024 items.
            prediction_id: Gives the prediction id of a ``Call``, or a list with one per row: by it spans and prediction logs tell
                the call. One of more than 256 characters is left out.

        Returns:
            The function as its callers know it.

        Raises:
            ValueError: If it is a class or not callable.
        """
        if function is None:
            return partial(self.watch, features=features, prediction=prediction, prediction_id=prediction_id)
        names = frozenset(self.schema.names) if self.schema is not None else None
        return watch(function, Plan(function, names, features, prediction, self._sink, prediction_id=prediction_id))

    def observe(
        self,
        features: Any,
        prediction: Any = None,
        *,
        prediction_id: Any = None,
        duration: float | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Count a call that was not decorated. Never raises or blocks.

        Args:
            features: Its rows, in any shape that ``watch`` understands.
            prediction: Its predictions, one per row; None if it had none.
            prediction_id: Its prediction id, or a list with one per row; None for none.
            duration: How long it took, seconds; None if not known.
            error: What it raised; None if it succeeded.
        """
        self._sink.observe(features, prediction, prediction_id, duration, error)

    def observe_lazy(self, read: Read, *, weight: int) -> None:
        """Count a call whose rows are read on the worker, from the bytes of a protocol. Never raises or blocks.

        Args:
            read: Gives features and predictions, or None if there are none.
            weight: What it weighs against ``Settings.queue_rows``; about a row a KiB that it holds.
        """
        self._requests.read_later(read, weight)

    def request(self, method: str) -> HttpRequest:
        """An HTTP request begins; the middleware calls ``end`` on what it gets."""
        return self._requests.begin(method)

    def collect(self) -> Snapshot:
        """All series at one instant: what exposition reads. Gauges of this moment are written first.

        Of this process; where OTEL_MLMON_MULTIPROC_DIR or PROMETHEUS_MULTIPROC_DIR name a folder, of all processes that share it.
        """
        self._worker.start()
        return self._outlets.collect()

    def _own(self) -> Snapshot:
        """All series of this process at one instant."""
        with self._collecting:
            self._vitals.refresh(
                active=self._sink.active,
                requests_active=self._requests.active,
                queued=self._worker.queued_rows,
                dropped=self._worker.take_dropped(),
            )
            return self._store.snapshot()

    def snapshot(self) -> MonitorSnapshot:
        """Frozen view of this process: rows, data quality and drift by feature, since it started.

        Subtract an earlier one to see what came between.
        """
        self._worker.start()
        return MonitorSnapshot.of(self._own(), self.reference, self._thresholds)

    def collector(self) -> "Collector":
        """A collector for any prometheus_client registry, where the application serves its own ``/metrics``."""
        from otel_mlmon.exposition.prometheus import Collector  # upward, and only where it is asked for

        return Collector(self.collect)

    def serve(
        self,
        port: int = 9464,
        address: str = "127.0.0.1",
        *,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        client_ca: str | Path | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> "MetricsServer":
        """Serve ``/metrics`` on a thread of its own, until ``close``.

        Args:
            port: TCP port; 0 for any free one.
            address: Address to listen on; this machine only, unless told otherwise.
            certificate: PEM file; makes it HTTPS.
            key: PEM file of the certificate's key.
            client_ca: PEM file; clients must show a certificate that it signed.
            username: Asks for basic authentication.
            password: Its password.

        Returns:
            The server, with ``url``, ``port`` and ``close()``.

        Raises:
            OSError: If the port is taken.
            ValueError: If only half of a certificate or of credentials is given.
        """
        from otel_mlmon.exposition.server import start_server

        self._worker.start()
        server = start_server(
            [self.collect],
            port=port,
            address=address,
            certificate=certificate,
            key=key,
            client_ca=client_ca,
            username=username,
            password=password,
        )
        return self._outlets.keep(server)

    def export_otlp(
        self, exporter: "MetricExporter | None" = None, *, interval: float | None = None, resource: "Resource | None" = None
    ) -> "Export":
        """Push the series over OTLP from a thread of its own, until ``close``: as the OTEL_* environment says.

        Args:
            exporter: Any exporter of OpenTelemetry's SDK; None for those that OTEL_METRICS_EXPORTER names.
            interval: Seconds between exports; None for OTEL_METRIC_EXPORT_INTERVAL.
            resource: What the series describe; None for that of the application's MeterProvider, or the environment's.

        Returns:
            The export, with ``flush()`` and ``close()``.

        Raises:
            ValueError: If the environment names an exporter, protocol or number that is not known.
        """
        self._worker.start()
        return self._outlets.export_otlp(self.collect, exporter, interval=interval, resource=resource)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until every call before this one is counted.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it was in time.
        """
        return self._worker.flush(timeout)

    def flush_exports(self, timeout: float = 5.0) -> bool:
        """Export over OTLP now what is counted.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all of it was delivered in time. Of the processes that share a folder only one delivers.
        """
        return self._outlets.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Count what is queued, export a last time, end threads and servers. Idempotent; later calls are not counted."""
        self._worker.close(timeout)
        self._pipeline.give_up()
        self._outlets.close(timeout)

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _watch_rows(self, schema: Schema, reference: Reference | None) -> None:
        """Watch rows of a schema from now on: the one that was given, or learned."""
        self.schema, self.reference = schema, reference
        self._sink.vectors = schema.vectors
        self._pipeline.watch(schema, reference)
        if reference is not None and self._expose_reference:
            gauges.expose_reference(self._store, self._model, reference)

    def _look_for_traces(self) -> None:
        """Read the trace of calls where the application traces, so that elsewhere no call pays for it."""
        self._sink.tracing = self._requests.tracing = self._tracing if self._tracing.wanted() else None

    def _tick(self) -> None:
        began = time.thread_time()
        self._pipeline.tick()
        self._look_for_traces()
        self._outlets.tick()
        self._vitals.worked(time.thread_time() - began)

    def _after_fork(self) -> None:
        """In a forked child: new locks, counters at 0, no thread yet; the parent's rows are the parent's."""
        for part in (self._store, self._worker, self._sink, self._requests, self._pipeline, self._tracing, self._outlets):
            part.reset()
        self._collecting = threading.Lock()
        self._vitals.begin()
