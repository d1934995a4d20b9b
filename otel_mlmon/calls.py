"""Calls and requests: how many, how long, how they ended."""

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from opentelemetry.trace import SpanContext

from otel_mlmon import catalog
from otel_mlmon.records import Record
from otel_mlmon.settings import Settings
from otel_mlmon.store import Exemplar, SeriesStore

Increments = tuple[int, npt.NDArray[np.float64]]

DURATION_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the duration buckets, seconds."""

STATUSES = ("ok", "error", "cancelled")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY"})


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One HTTP request that ended.

    Attributes:
        route: Route template.
        method: ``GET``, ``POST``...
        status: Status code; 0 if none was sent.
        duration: Seconds.
        ended: Unix time at which it ended.
        context: Of the span that was current when it began; None outside of a trace.
    """

    route: str
    method: str
    status: int
    duration: float
    ended: float
    context: SpanContext | None


class HttpRequest:
    """One HTTP request in flight, as a middleware reports it."""

    __slots__ = ("_context", "_ended", "_method", "_started")

    def __init__(self, ended: Callable[[RequestRecord], None], method: str, context: SpanContext | None) -> None:
        self._ended: Callable[[RequestRecord], None] | None = ended
        self._method, self._context = method, context
        self._started = time.perf_counter()

    def end(self, *, route: str, status: int) -> None:
        """Count the request; further calls do nothing.

        Args:
            route: Template of its path, such as ``/items/{id}``; empty if unknown. Never the path itself.
            status: Status code sent; 0 if none was.
        """
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(RequestRecord(route, self._method, status, time.perf_counter() - self._started, time.time(), self._context))


class CallCounter:
    """Turns ended calls and requests into increments.

    Args:
        store: Where the series live.
        model: Name and version, the first labels of every series.
        settings: The bounds on label values.
    """

    def __init__(self, store: SeriesStore, model: tuple[str, str], settings: Settings) -> None:
        self._store, self._model, self._settings = store, model, settings
        self._calls = store.allocate(catalog.CALLS, [(*model, status) for status in STATUSES])
        self._duration = store.allocate(catalog.CALL_DURATION, [model], bounds=DURATION_BOUNDS)
        self._predictions = store.allocate(catalog.PREDICTIONS, [model])
        self._last_call = store.allocate(catalog.LAST_CALL_TIME, [model])
        self._errors: set[str] = set()
        self._routes: set[str] = set()

    def calls(self, records: Iterable[Record]) -> list[Increments]:
        """Increments for the calls among some records; further parts of a split call count rows only."""
        calls = [record for record in records if record.first]
        if not calls:
            return []
        statuses = Counter([record.status for record in calls])
        durations = np.array([record.duration for record in calls])
        blocks = [
            (self._calls, np.array([float(statuses[status]) for status in STATUSES])),
            (self._duration, _histogram(durations)),
        ]
        raised = [record.error for record in calls if record.error] if statuses["error"] else []
        for error, count in Counter(raised).items():
            blocks.append((self._error_slot(error), np.array([float(count)])))
        self._store.set(self._last_call, max([record.ended for record in calls]))
        return blocks

    def reset(self) -> None:
        """Begin anew in a forked child, which has had no call yet."""
        self._store.set(self._last_call, float("nan"))

    def predictions(self, rows: int) -> Increments:
        """Increment for rows predicted by calls that succeeded."""
        return self._predictions, np.array([float(rows)])

    def exemplars(self, records: Sequence[Record], requests: Sequence[RequestRecord]) -> dict[int, Exemplar]:
        """The last exemplar of each bucket and of each counter of errors; after their increments, which create the series."""
        found: dict[int, Exemplar] = {}
        for record in reversed(records):
            if record.origin is not None and record.origin.sampled and record.first:
                context = record.origin.context
                _note(found, _bucket(self._duration, record.duration), record.duration, record.ended, context)
                for slot in self._error_slots(record):
                    _note(found, slot, 1.0, record.ended, context)
        for request in reversed(requests):
            if request.context is not None and request.context.trace_flags.sampled:
                bucket = _bucket(self._request_duration(request), request.duration)
                _note(found, bucket, request.duration, request.ended, request.context)
        return found

    def _error_slots(self, record: Record) -> Iterator[int]:
        if record.status != "ok":
            yield self._calls + STATUSES.index(record.status)
        if record.error:
            yield self._error_slot(record.error)

    def _error_slot(self, error: str) -> int:
        label = _bounded(error, self._errors, self._settings.max_error_types)
        return self._store.index(catalog.CALL_ERRORS, (*self._model, label))

    def requests(self, requests: Sequence[RequestRecord]) -> list[Increments]:
        """Increments for some HTTP requests."""
        blocks = []
        for request in requests:
            route, method = self._endpoint(request)
            status = f"{request.status // 100}xx" if 100 <= request.status < 600 else catalog.OTHER
            count = self._store.index(catalog.HTTP_REQUESTS, (*self._model, route, method, status))
            blocks.append((count, np.ones(1)))
            blocks.append((self._request_duration(request), _histogram(np.array([request.duration]))))
        return blocks

    def _endpoint(self, request: RequestRecord) -> tuple[str, str]:
        """Labels of a request's route and method."""
        method = request.method if request.method in _METHODS else "_OTHER"  # semconv: http.request.method
        return _bounded(request.route, self._routes, self._settings.max_routes), method

    def _request_duration(self, request: RequestRecord) -> int:
        labels = (*self._model, *self._endpoint(request))
        return self._store.index(catalog.HTTP_REQUEST_DURATION, labels, bounds=DURATION_BOUNDS)


def _bounded(label: str, seen: set[str], most: int) -> str:
    """The label itself while there are few, then ``__other__``: user input never makes series without end."""
    if not label:
        return catalog.OTHER
    if label not in seen:
        if len(seen) >= most:
            return catalog.OTHER
        seen.add(label)
    return label


def _histogram(durations: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Counts per bucket (``le``), then the sum; without what is no duration, or the sum would fall or stay infinite."""
    durations = durations[np.isfinite(durations) & (durations >= 0)]
    buckets = np.bincount(np.searchsorted(DURATION_BOUNDS, durations, side="left"), minlength=len(DURATION_BOUNDS) + 1)
    return np.append(buckets.astype(np.float64), durations.sum())


def _bucket(start: int, duration: float) -> int | None:
    """Slot of the bucket that a duration counts in; None for what is no duration."""
    return start + bisect_left(DURATION_BOUNDS, duration) if math.isfinite(duration) and duration >= 0 else None


def _note(found: dict[int, Exemplar], slot: int | None, value: float, ended: float, context: SpanContext | None) -> None:
    """Keep an exemplar where there is none yet: they come last first."""
    if slot is not None and slot not in found and context is not None:
        found[slot] = Exemplar(value, ended, context.trace_id, context.span_id)
