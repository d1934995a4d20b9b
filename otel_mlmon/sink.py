"""Where records of calls go from the caller's thread: the queue, and the tallies of calls in flight."""

import math
import time
from asyncio import CancelledError
from collections.abc import Callable
from itertools import count
from typing import Any

from opentelemetry.trace import SpanContext

from otel_mlmon.calls import HttpRequest, RequestRecord
from otel_mlmon.intake import LazyRecord, Read
from otel_mlmon.records import NOTHING, Record, capture, capture_ids, capture_prediction, settle
from otel_mlmon.tracing import Origin, Tracing
from otel_mlmon.worker import MAX_ITEM_ROWS, Worker


class Tally:
    """A count that many threads raise without a lock: ``next`` on ``itertools.count`` is one step of the interpreter."""

    def __init__(self) -> None:
        self._count = count()
        self._read = 0
        self.add = self._count.__next__

    def value(self) -> int:
        """How often ``add`` was called; for one reader at a time."""
        self._read += 1
        return next(self._count) - self._read + 1


class Sink:
    """Takes records of calls.

    Args:
        worker: The queue.
        failed: Called with the place of an error that was caught, and the error.

    Attributes:
        vectors: Names of the vector features, as far as the schema is known.
        tracing: Tells the trace of a call; None where nothing is traced, so that a call then pays for this look only.
    """

    def __init__(self, worker: Worker, failed: Callable[[str, BaseException], None]) -> None:
        self.worker, self.failed = worker, failed
        self.vectors: tuple[str, ...] = ()
        self.tracing: Tracing | None = None
        self.begun, self.ended = Tally(), Tally()

    def put(self, record: Record) -> None:
        """Queue a record, in parts where it is large. Never raises."""
        try:
            settle(record, self.vectors)
            parts = [record] if record.rows <= MAX_ITEM_ROWS else record.split()
        except BaseException as error:  # noqa: BLE001 - the caller's thread: whatever their rows do when looked at, their call counts
            self.caught(error)
            record.form, record.features, record.rows = NOTHING
            parts = [record]
        for part in parts:
            if not self.worker.submit(part, part.rows or 1):
                refused(part)

    def observe(self, features: Any, prediction: Any, ids: Any, duration: float | None, error: BaseException | None) -> None:
        """Queue a call that was not watched; the arguments are those of ``Monitor.observe``. Never raises."""
        captured, returned, seconds, copied = NOTHING, None, math.nan, None
        try:
            captured = capture(features)
            returned = capture_prediction(prediction)
            seconds = math.nan if duration is None else float(duration)
            copied = None if ids is None else capture_ids(ids, captured[2])
        except BaseException as unexpected:  # noqa: BLE001 - the caller's thread: whatever their row does when copied, their call counts
            self.caught(unexpected)
        status, name = ("ok", "") if error is None else ending(error)
        origin = None
        if self.tracing is not None:
            lasted = int(seconds * 1e9) if 0 <= seconds < math.inf else 0
            origin = self.tracing.begin(max(0, time.time_ns() - lasted))
            if origin is not None and origin.span is not None:
                origin.span.leave(error if name else None)
        if copied is not None:
            origin = origin or Origin()
            origin.ids = copied
        self.put(Record(captured, returned, status, name, seconds, time.time(), origin=origin))

    def caught(self, error: BaseException) -> None:
        """Count what went wrong on the caller's thread, a panic of polars included; only what ends the process goes on."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        self.failed("extractor", error)

    @property
    def active(self) -> int:
        """Calls in flight."""
        return max(0, self.begun.value() - self.ended.value())

    def reset(self) -> None:
        """Begin anew in a forked child, where the parent's calls are not in flight."""
        self.begun, self.ended = Tally(), Tally()


class RequestSink:
    """Takes HTTP requests, and calls that are to be read from bytes of theirs.

    Args:
        worker: The queue.

    Attributes:
        tracing: As in ``Sink``.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.tracing: Tracing | None = None
        self.reset()

    def begin(self, method: str) -> HttpRequest:
        """A request begins."""
        self._begun.add()
        return HttpRequest(self._end, method, self._context())

    def read_later(self, read: Read, weight: int) -> None:
        """Queue a call that the worker will read; the arguments are those of ``Monitor.observe_lazy``."""
        context = self._context()
        self._worker.submit(LazyRecord(read, time.time(), None if context is None else Origin(context)), max(1, weight))

    @property
    def active(self) -> int:
        """Requests in flight."""
        return max(0, self._begun.value() - self._ended.value())

    def reset(self) -> None:
        """Begin anew in a forked child, where the parent's requests are not in flight."""
        self._begun, self._ended = Tally(), Tally()

    def _end(self, record: RequestRecord) -> None:
        self._ended.add()
        self._worker.submit(record, 1)

    def _context(self) -> SpanContext | None:
        return None if self.tracing is None else self.tracing.current()


def refused(record: Record) -> None:
    """The worker will not see a record: end its span here."""
    if record.origin is not None and record.origin.span is not None:
        record.origin.span.count(record.rows)
        if record.origin.ends:
            record.origin.span.end({})


def ending(error: BaseException) -> tuple[str, str]:
    """Status of a call that raised, and the exception's class name where it is an error."""
    return ("cancelled", "") if isinstance(error, (CancelledError, GeneratorExit)) else ("error", type(error).__name__)
