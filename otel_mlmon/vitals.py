"""The monitor's own health: what is in flight, what waits, what was lost."""

import logging
import threading
import time
from collections import defaultdict

import numpy as np

from otel_mlmon import catalog
from otel_mlmon.store import SeriesStore

_LOG = logging.getLogger("otel_mlmon")

WHERE = (
    *("extractor", "reader", "prediction", "rows", "worker", "learning"),
    *("export", "multiprocess", "system", "trace", "prediction_log"),
)
"""Values of the label ``where`` of ``mlmon_internal_errors_total``."""

REASONS = ("queue_full", "error", "learning")
"""Values of the label ``reason`` of ``mlmon_rows_dropped_total``."""

EXPORT_STATUSES = ("ok", "failed")
"""Values of the label ``status`` of ``mlmon_exports_total``."""


class Vitals:
    """Writes the series by which the monitoring itself is watched.

    Args:
        store: Where the series live.
        model: Name and version, the first labels of every series.
    """

    def __init__(self, store: SeriesStore, model: tuple[str, str]) -> None:
        self._store, self._model = store, model
        self._start_time = store.allocate(catalog.START_TIME, [model])
        self._active = store.allocate(catalog.CALLS_ACTIVE, [model])
        self._requests_active = store.allocate(catalog.HTTP_REQUESTS_ACTIVE, [model])
        self._queued = store.allocate(catalog.QUEUE_ROWS, [model])
        self._series = store.allocate(catalog.SERIES, [model])
        self._processes = store.allocate(catalog.PROCESSES, [model])
        self._worker = store.allocate(catalog.WORKER_TIME, [model])
        # At 0 from the start: a rate misses the first step of a counter that begins at 1.
        self._dropped = store.allocate(catalog.ROWS_DROPPED, [(*model, reason) for reason in REASONS])
        store.allocate(catalog.INTERNAL_ERRORS, [(*model, where) for where in WHERE])
        self._exports: int | None = None
        self.begin()

    def begin(self) -> None:
        """Begin with the process, or anew in a forked child."""
        self._noting = threading.RLock()  # reentrant: a signal handler may call a watched function
        self._errors = defaultdict[str, int](int)  # its missing keys are made in C: no signal can come between
        self._first: dict[str, str] = {}
        self._logged: set[str] = set()
        self._store.set(self._start_time, time.time())
        self._store.set(self._processes, 1.0)
        self._store.set(self._series, 0.0)  # from now on it has a value, and counts itself

    def failed(self, where: str, error: BaseException | None = None) -> None:
        """Note an error that was caught, on any thread; it is counted, and the first of a place logged, at the next ``refresh``.

        Args:
            where: One of ``WHERE``.
            error: The error. Only its class is kept: its text may hold a row.
        """
        with self._noting:
            self._errors[where] += 1
            self._first.setdefault(where, type(error).__name__)

    def lost(self, reason: str, rows: float) -> None:
        """Count rows that could not be counted; ``reason`` is one of ``REASONS``."""
        self._add(self._store.index(catalog.ROWS_DROPPED, (*self._model, reason)), rows)

    def worked(self, seconds: float) -> None:
        """Count processor time of the worker."""
        self._add(self._worker, seconds)

    def exports(self) -> None:
        """Create the series of exports at 0: from now on there are some."""
        if self._exports is None:
            self._exports = self._store.allocate(catalog.EXPORTS, [(*self._model, status) for status in EXPORT_STATUSES])
            self._rejected = self._store.allocate(catalog.EXPORT_POINTS_REJECTED, [self._model])
            self._export_time = self._store.allocate(catalog.EXPORT_TIME, [self._model])

    def exported(self, *, ok: bool, rejected: float = 0.0, seconds: float = 0.0) -> None:
        """Count one export; after ``exports``.

        Args:
            ok: Whether everything was delivered.
            rejected: Data points that the receiver did not take from what was delivered.
            seconds: Processor time.
        """
        assert self._exports is not None  # noqa: S101 - for the type checker
        self._add(self._exports + (0 if ok else 1), 1.0)
        self._add(self._rejected, rejected)
        self._add(self._export_time, seconds)

    def refresh(self, *, active: int, requests_active: int, queued: int, dropped: int) -> None:
        """Write what holds at this moment.

        Args:
            active: Calls in flight.
            requests_active: HTTP requests in flight.
            queued: Rows that wait.
            dropped: Rows that the queue has refused since the last time.
        """
        with self._noting:
            errors, self._errors = self._errors, defaultdict[str, int](int)
        for where, count in errors.items():
            if where not in self._logged:
                self._logged.add(where)
                _LOG.warning("%s %s: first error at %r: %s", *self._model, where, self._first[where])
            self._add(self._store.index(catalog.INTERNAL_ERRORS, (*self._model, where)), float(count))
        self._add(self._dropped, float(dropped))
        self._store.set(self._active, float(active))
        self._store.set(self._requests_active, float(requests_active))
        self._store.set(self._queued, float(queued))
        self._store.set(self._series, float(self._store.samples))

    def _add(self, index: int, value: float) -> None:
        self._store.add([(index, np.array([value]))])
