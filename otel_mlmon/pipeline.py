"""What the worker does between queue and store: learn or count, log predictions, end spans, read the machine's health."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from otel_mlmon.calls import RequestRecord
from otel_mlmon.identity import Identity
from otel_mlmon.intake import Intake
from otel_mlmon.learning import Learner
from otel_mlmon.outputs import Task
from otel_mlmon.prediction_log import PredictionLogger
from otel_mlmon.records import Record
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import PredictionLog, Settings
from otel_mlmon.store import SeriesStore
from otel_mlmon.system import SystemHealth
from otel_mlmon.vitals import Vitals

_LOG = logging.getLogger("otel_mlmon")


class Pipeline:
    """The way of a record from the queue to the store; on the worker only, apart from construction.

    Args:
        model: Name and version, the first labels of every series.
        task: What the model does.
        store: Where the series live.
        vitals: Where what goes wrong is counted.
        learner: Holds records until there is enough to learn from; None if nothing is to be learned.
        learned: Called with what was learned, before rows are counted: it is to call ``watch``.
        settings: Bounds and spans.
        histograms: Whether ``mlmon_feature_value`` is counted.
        cohorts: Names of the features whose values are cohorts.
        prediction_log: What is logged; None for nothing.
        version: Version of this package.

    Attributes:
        learner: None once it has learned.
    """

    def __init__(
        self,
        model: tuple[str, str],
        task: Task | None,
        store: SeriesStore,
        vitals: Vitals,
        *,
        learner: Learner | None,
        learned: Callable[[Schema, Reference | None], None],
        settings: Settings,
        histograms: bool,
        cohorts: Sequence[str],
        prediction_log: PredictionLog | None,
        version: str,
    ) -> None:
        self._name, self._vitals, self.learner, self._learned = model[0], vitals, learner, learned
        self._intake = Intake(store, model, task, settings=settings, histograms=histograms, failed=vitals.failed)
        self._settings, self._next_system = settings, 0.0
        self._system = SystemHealth(model, store) if settings.system_seconds else None
        self._identity = Identity(cohorts)
        self._prediction_log: PredictionLogger | None = None
        if prediction_log is not None:
            self._prediction_log = PredictionLogger(
                prediction_log, model, task, self._identity, store, version=version, failed=vitals.failed
            )

    def watch(self, schema: Schema, reference: Reference | None) -> None:
        """Watch rows of a schema from now on."""
        self._intake.watch(schema, reference)
        self._identity.watch(schema, reference)
        if self._prediction_log is not None:
            self._prediction_log.watch(schema)

    def handle(self, items: list[Any]) -> None:
        """Work off some items of the queue."""
        began = time.thread_time()
        try:
            records = self._intake.records(items)
            requests = [item for item in items if isinstance(item, RequestRecord)]
            rows = records if self.learner is None else self._held(self.learner, records)
            self._intake.count(records, requests, rows)
            if self._prediction_log is not None:
                self._prediction_log.log(rows)
        finally:
            self._end_spans(items)
        self._vitals.worked(time.thread_time() - began)

    def tick(self) -> None:
        """After each drain: write the gauges of what has gone by recently, and now and then those of process and machine."""
        self._intake.refresh()
        now = time.monotonic()
        if self._system is not None and now >= self._next_system:
            self._next_system = now + self._settings.system_seconds
            self._system.read(time.time())

    def failed(self, place: str, rows: int) -> None:
        """The worker has caught an error, which cost some rows."""
        self._vitals.failed("worker", sys.exc_info()[1])
        if rows:
            self._vitals.lost("error", float(rows))
        _LOG.debug("monitor %r: %s failed", self._name, place, exc_info=True)

    def give_up(self) -> None:
        """Rows that were held to learn from are lost, and counted as such."""
        learner, self.learner = self.learner, None
        if learner is not None:
            self._vitals.lost("learning", float(sum(record.rows for record in learner.take())))

    def reset(self) -> None:
        """Begin anew in a forked child: the parent's rows are the parent's."""
        if self.learner is not None:
            self.learner.take()
        if self._prediction_log is not None:
            self._prediction_log.reset()
        if self._system is not None:
            self._system.reset()
        self._next_system = 0.0
        self._intake.reset()

    def _held(self, learner: Learner, records: list[Record]) -> list[Record]:
        """Hold records back until there is enough to learn from. Returns what is to be counted now."""
        if not learner.add(records):
            return []
        try:
            learned = learner.learn()
        except Exception as error:  # noqa: BLE001 - any rows may come; what cannot be learned from is counted
            _LOG.warning("monitor %r: features are not watched: %s", self._name, error)
            self._vitals.failed("learning", error)
            self.give_up()
            return []
        self.learner = None
        self._learned(learned.schema, learned.reference)
        return learner.take()

    def _end_spans(self, items: list[Any]) -> None:
        """End the spans of the calls that have been worked off, counted or not."""
        for item in items:
            if type(item) is RequestRecord or item.origin is None or item.origin.span is None:
                continue
            span = item.origin.span
            span.count(item.rows)
            if item.origin.ends:
                try:
                    attributes = self._identity.of_call(item) if item.origin.recording else {}
                except Exception as error:  # noqa: BLE001 - ids and rows are the user's objects, whatever their text does
                    self._vitals.failed("trace", error)
                    attributes = {}
                span.end(attributes)
