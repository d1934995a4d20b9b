"""The monitor: wires queue, counting and exposition together for one version of one model."""

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from otel_mlmon import gauges
from otel_mlmon.arguments import check_arguments
from otel_mlmon.calls import HttpRequest, RequestRecord
from otel_mlmon.intake import Intake, LazyRecord, Read
from otel_mlmon.learning import Learner, new_learner
from otel_mlmon.outputs import Task
from otel_mlmon.records import NOTHING, Record, capture, capture_prediction
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import History, Settings, Threshold
from otel_mlmon.snapshot import MonitorSnapshot
from otel_mlmon.store import SeriesStore, Snapshot
from otel_mlmon.system import SystemHealth
from otel_mlmon.vitals import Vitals
from otel_mlmon.watch import Extractor, Plan, Sink, ending, watch
from otel_mlmon.worker import Worker

if TYPE_CHECKING:
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
        settings: How the monitor works inside.

    Raises:
        ValueError: If a name is empty, a length of history is unknown, or task, schema, thresholds and reference contradict each
            other.
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
        )
        self.settings = settings or Settings()
        self._model = (name, version)
        self._expose_reference, self._thresholds = expose_reference, tuple(thresholds)
        self._store = SeriesStore()
        self._vitals = Vitals(self._store, self._model)
        self._collecting = threading.Lock()
        self._next_system = 0.0
        self._worker = Worker(
            self._handle,
            self._tick,
            self._worker_failed,
            capacity=self.settings.queue_rows,
            seconds=self.settings.drain_seconds,
            name=f"mlmon-{name}",
        )
        self._sink = Sink(self._worker, self._vitals.failed)
        self._sink.vectors = self.schema.vectors if self.schema is not None else ()
        self._requests = Sink(self._worker, self._vitals.failed)
        self._learner = new_learner(name, learn_rows, schema=self.schema, task=self.task) if reference is None else None
        self._intake = Intake(
            self._store, self._model, self.task, settings=self.settings, histograms=feature_histograms, failed=self._vitals.failed
        )
        self._system = SystemHealth(self._model, self._store) if self.settings.system_seconds else None
        gauges.expose_info(self._store, self._model, self.task, installed_version("otel-mlmon"), reference)
        gauges.expose_thresholds(self._store, self._model, thresholds, learn_normal)
        if self.schema is not None and self._learner is None:
            self._watch_rows(self.schema, reference)
        self._servers: list[MetricsServer] = []
        _LOG.info("monitor %r: %d series", name, self._store.samples)
        _MONITORS.add(self)

    # ---------------------------------------------------------------- watching

    @overload
    def watch(self, function: F, /) -> F: ...

    @overload
    def watch(
        self, function: None = None, /, *, features: Extractor | None = None, prediction: Extractor | None = None
    ) -> Callable[[F], F]: ...

    def watch(self, function: Any = None, /, *, features: Extractor | None = None, prediction: Extractor | None = None) -> Any:
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

        Returns:
            The function as its callers know it.

        Raises:
            ValueError: If it is a class or not callable.
        """
        if function is None:
            return lambda some: self._watch(some, features, prediction)
        return self._watch(function, features, prediction)

    def _watch(self, function: F, features: Extractor | None, prediction: Extractor | None) -> F:
        names = frozenset(self.schema.names) if self.schema is not None else None
        watched: F = watch(function, Plan(function, names, features, prediction, self._sink))
        return watched

    def observe(
        self, features: Any, prediction: Any = None, *, duration: float | None = None, error: BaseException | None = None
    ) -> None:
        """Count a call that was not decorated. Never raises or blocks.

        Args:
            features: Its rows, in any shape that ``watch`` understands.
            prediction: Its predictions, one per row; None if it had none.
            duration: How long it took, seconds; None if not known.
            error: What it raised; None if it succeeded.
        """
        captured, returned, seconds = NOTHING, None, float("nan")
        try:
            captured = capture(features)
            returned = capture_prediction(prediction)
            seconds = float("nan") if duration is None else float(duration)
        except BaseException as unexpected:  # noqa: BLE001 - the caller's thread: whatever their row does when copied, their call counts
            self._sink.caught(unexpected)
        status, name = ("ok", "") if error is None else ending(error)
        self._sink.put(Record(captured, returned, status, name, seconds, time.time()))

    def observe_lazy(self, read: Read, *, weight: int) -> None:
        """Count a call whose rows are read on the worker, from the bytes of a protocol. Never raises or blocks.

        Args:
            read: Gives features and predictions, or None if there are none.
            weight: What it weighs against ``Settings.queue_rows``; about a row a KiB that it holds.
        """
        self._worker.submit(LazyRecord(read, time.time()), max(1, weight))

    def request(self, method: str) -> HttpRequest:
        """An HTTP request begins; the middleware calls ``end`` on what it gets."""
        self._requests.begun.add()
        return HttpRequest(self._end_request, method)

    def _end_request(self, record: RequestRecord) -> None:
        self._requests.ended.add()
        self._worker.submit(record, 1)

    # ---------------------------------------------------------------- reading

    def collect(self) -> Snapshot:
        """All series at one instant: what exposition reads. Gauges of this moment are written first."""
        self._worker.start()
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
        return MonitorSnapshot.of(self.collect(), self.reference, self._thresholds)

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
        self._servers.append(server)
        return server

    # ---------------------------------------------------------------- end

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until every call before this one is counted.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it was in time.
        """
        return self._worker.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Count what is queued, end the thread, stop the servers. Idempotent; later calls of watched functions are not counted."""
        self._worker.close(timeout)
        self._stop_servers()
        if self._learner is not None:
            self._give_up()

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---------------------------------------------------------------- on the worker

    def _handle(self, items: list[Any]) -> None:
        began = time.thread_time()
        records = self._intake.records(items)
        requests = [item for item in items if isinstance(item, RequestRecord)]
        rows = records if self._learner is None else self._held(self._learner, records)
        self._intake.count(records, requests, rows)
        self._vitals.worked(time.thread_time() - began)

    def _held(self, learner: Learner, records: list[Record]) -> list[Record]:
        """Hold records back until there is enough to learn from. Returns what is to be counted now."""
        if not learner.add(records):
            return []
        try:
            learned = learner.learn()
        except Exception as error:  # noqa: BLE001 - any rows may come; what cannot be learned from is counted
            _LOG.warning("monitor %r: features are not watched: %s", self.name, error)
            self._vitals.failed("learning", error)
            self._give_up()
            return []
        self._learner = None
        self.schema, self.reference = learned.schema, learned.reference
        self._watch_rows(learned.schema, learned.reference)
        return learner.take()

    def _give_up(self) -> None:
        """Rows that were held to learn from are lost, and counted as such."""
        learner, self._learner = self._learner, None
        if learner is not None:
            self._vitals.lost("learning", float(sum(record.rows for record in learner.take())))

    def _watch_rows(self, schema: Schema, reference: Reference | None) -> None:
        self._sink.vectors = schema.vectors
        self._intake.watch(schema, reference)
        if reference is not None and self._expose_reference:
            gauges.expose_reference(self._store, self._model, reference)

    def _tick(self) -> None:
        began, now = time.thread_time(), time.monotonic()
        self._intake.refresh()
        if self._system is not None and now >= self._next_system:
            self._next_system = now + self.settings.system_seconds
            self._system.read(time.time())
        self._vitals.worked(time.thread_time() - began)

    def _worker_failed(self, place: str, rows: int) -> None:
        self._vitals.failed("worker", sys.exc_info()[1])
        if rows:
            self._vitals.lost("error", float(rows))
        _LOG.debug("monitor %r: %s failed", self.name, place, exc_info=True)

    def _after_fork(self) -> None:
        """In a forked child: new locks, counters at 0, no thread yet; the parent's rows are the parent's."""
        self._stop_servers()  # their threads are the parent's, and so is the port
        for part in (self._store, self._worker, self._sink, self._requests, self._intake):
            part.reset()
        if self._system is not None:
            self._system.reset()
        if self._learner is not None:
            self._learner.take()
        self._collecting = threading.Lock()
        self._next_system = 0.0
        self._vitals.begin()


_MONITORS: "weakref.WeakSet[Monitor]" = weakref.WeakSet()
"""A fork hook cannot be unregistered, so it must not keep a monitor alive."""


def _after_fork() -> None:
    for monitor in list(_MONITORS):
        monitor._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
