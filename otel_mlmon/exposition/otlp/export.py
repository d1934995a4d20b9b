"""The thread that exports, period by period."""

import atexit
import contextlib
import logging
import math
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol

# The SDK's reader takes the same keys; there are no public ones.
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    attach,
    detach,
    get_current,
    set_value,
)
from opentelemetry.sdk.resources import Resource

from otel_mlmon.exposition.otlp.delivered import Delivered
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.portions import portions
from otel_mlmon.exposition.otlp.readings import Readings
from otel_mlmon.exposition.otlp.receivers import Receiver
from otel_mlmon.exposition.otlp.resource import Origin
from otel_mlmon.exposition.prometheus import Source
from otel_mlmon.forks import at_child_exit
from otel_mlmon.store import Series
from otel_mlmon.worker import settle_at_exit

if TYPE_CHECKING:
    from otel_mlmon.exposition.joint import JoinedServer
    from otel_mlmon.exposition.multiprocess import Shared

_LOG = logging.getLogger("otel_mlmon")

_EXIT_SECONDS = 5.0
_PATIENCE_SECONDS = 1.0
"""A receiver that takes longer for a request that fails is not asked again in the same period."""


class Reported(Protocol):
    """Told of each export."""

    def __call__(self, *, ok: bool, rejected: float = 0.0, seconds: float = 0.0) -> None: ...


class Export:
    """A running export; made by ``start_export``.

    Args:
        sources: What is exported.
        receivers: What it is exported to.
        interval: Seconds between exports.
        timeout: Seconds that one may take.
        origin: Finds the resource.
        reported: Told of each export.
        shared: The folder that the process shares with others: only one of them exports.
        pages: What is served as long as this runs.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        receivers: Sequence[Receiver],
        *,
        interval: float,
        timeout: float,
        origin: Origin,
        reported: Reported | None,
        shared: "Shared | None",
        pages: "Sequence[JoinedServer]" = (),
    ) -> None:
        self._sources, self._receivers, self._interval, self._timeout = sources, receivers, interval, timeout
        self._origin, self._reported, self._shared = origin, reported, shared
        self._pages = pages
        self._closing = False
        self._begin()
        _EXPORTS.add(self)
        settle_at_exit()

    def _begin(self) -> None:
        self._change = threading.Condition()  # its lock is reentrant: a signal handler may close what it interrupted
        self._exporting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._asked = self._begun = self._ended = 0  # exports
        self._complete = False  # the last
        self._deadline = math.inf
        self._readings = Readings(self._sources)
        self._resource: Resource | None = None
        self._delivered: list[Delivered] = []
        self._split: tuple[tuple[Series, ...], list[list[int]]] = (), []
        self._logged: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Start the thread where it does not run; what cannot start (interpreter exit) is left to ``close``. Idempotent."""
        if self._closing or not self._receivers or (self._thread is not None and self._thread.is_alive()):
            return
        with self._change:
            thread = self._thread
            if thread is not None and (thread.ident is None or thread.is_alive()):
                return  # someone starts it right now: another thread, or what a signal handler interrupted
            self._wanted = True
            self._thread = threading.Thread(target=self._run, name="otel_mlmon-otlp", daemon=True)
            try:
                self._thread.start()
                at_child_exit(_close_all)
            except RuntimeError:
                self._thread = None

    def flush(self, timeout: float = 10.0) -> bool:
        """Export now.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all of it was delivered in time. Of the processes that share a folder only one delivers.
        """
        if not self._receivers:
            return True
        self.start()
        thread = self._thread
        if self._closing or thread is threading.current_thread():
            return False
        if thread is None:
            return self._export(time.monotonic() + timeout)
        with self._change:
            self._asked = target = self._begun + 1
            self._change.notify_all()
            return self._change.wait_for(lambda: self._ended >= target, timeout) and self._complete

    def close(self, timeout: float = 5.0) -> None:
        """Export a last time and end. Idempotent.

        Args:
            timeout: Seconds to wait at most.
        """
        self.end(timeout)
        for page in self._pages:
            page.close()
        thread = self._thread
        if thread is threading.current_thread():
            return  # closed by what it calls: it ends by itself
        if thread is not None:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        elif self._wanted:
            self._wanted = False
            self._export(self._deadline)
            self._let_go()

    def end(self, timeout: float) -> None:
        """Begin to close, without waiting for it: several may end at a time. The time for it runs from the first call."""
        with self._change:
            if not self._closing:
                self._closing, self._deadline = True, time.monotonic() + timeout
                self._change.notify_all()

    def reset(self) -> None:
        """Begin anew in a forked child: the thread and the connections are the parent's."""
        self._begin()
        for receiver in self._receivers:
            receiver.reset()
        for page in self._pages:
            page.close()

    def _pause(self, seconds: float) -> bool:
        """Wait; true if there is no time to wait any more."""
        with self._change:
            return self._change.wait_for(lambda: self._closing, seconds)

    # ---------------------------------------------------------------- on the thread

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._change:
                self._change.wait_for(lambda: self._closing or self._asked > self._begun, self._interval)
                closing = self._closing
                self._begun += 1
                number = self._begun
            complete = self._export(time.monotonic() + self._timeout)
            with self._change:
                self._ended, self._complete = number, complete
                self._change.notify_all()
        self._let_go()

    def _export(self, deadline: float) -> bool:
        """Export once. Returns whether all was delivered."""
        if not self._exporting.acquire(timeout=max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX))):
            return False
        try:
            with _not_instrumented():
                return self._export_alone(min(deadline, self._deadline))
        finally:
            self._exporting.release()

    def _export_alone(self, deadline: float) -> bool:
        began = time.thread_time()
        tally = _Tally()
        try:
            if self._shared is not None and not self._shared.leads():
                self._delivered = []  # whoever leads knows better
                return False
            self._send(self._readings.read(), deadline, tally)
        except Exception as error:  # noqa: BLE001 - sources, folder and resource are others'; the next period tries again
            self._note("all", tally, type(error).__name__)
        if self._reported is not None:
            self._reported(ok=tally.ok, rejected=float(tally.rejected), seconds=time.thread_time() - began)
        return tally.ok

    def _send(self, interval: Interval, deadline: float, tally: "_Tally") -> None:
        """Give an interval to all receivers."""
        if self._resource is None:
            self._resource = self._origin.find()
        if self._split[0] is not interval.series:
            self._split = interval.series, [list(chain.from_iterable(one.values())) for one in portions(interval.series)]
        if not self._delivered:
            self._delivered = [self._recall(receiver) for receiver in self._receivers]
        for receiver, delivered in zip(self._receivers, self._delivered, strict=True):
            try:
                deliveries = receiver.send(delivered.rest(interval), self._resource, deadline, self._pause)
                began = time.monotonic()
                for positions, delivery in zip(self._split[1], deliveries, strict=True):
                    tally.rejected += delivery.rejected
                    if delivery.cause:
                        self._note(receiver.name, tally, delivery.cause, delivery.detail, ok=delivery.ok)
                    if delivery.ok:
                        delivered.add(interval, positions)
                        self._keep(delivered, tally)
                    elif time.monotonic() - began > _PATIENCE_SECONDS:
                        break
                    began = time.monotonic()
            except Exception as error:  # noqa: BLE001 - any exporter may be given; the others get theirs all the same
                self._note(receiver.name, tally, type(error).__name__)

    def _recall(self, receiver: Receiver) -> Delivered:
        """What the receiver has; of processes that share a folder, from whichever exported before."""
        if self._shared is None:
            return Delivered(receiver.delta)
        path = self._shared.folder / f"otlp-{receiver.name}.delivered"
        try:
            return Delivered(receiver.delta, path)
        except (TypeError, ValueError):
            path.unlink()  # the next period begins anew
            raise

    def _keep(self, delivered: Delivered, tally: "_Tally") -> None:
        try:
            delivered.keep()
        except OSError as error:
            self._note("record for a successor", tally, type(error).__name__)

    def _note(self, place: str, tally: "_Tally", cause: str, detail: str = "", *, ok: bool = False) -> None:
        """Log once what went wrong. Of an error only its class: its text may hold a row."""
        tally.ok = tally.ok and ok
        if (place, cause) not in self._logged:
            self._logged.add((place, cause))
            _LOG.warning("OTLP export, %s: %s", place, f"{cause}: {detail}" if detail else cause)

    def _let_go(self) -> None:
        for receiver in self._receivers:
            try:
                receiver.close(max(0.0, self._deadline - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - any exporter may be given; the others are closed all the same
                self._note(receiver.name, _Tally(), type(error).__name__)


@dataclass(slots=True)
class _Tally:
    """What became of one export."""

    ok: bool = True
    rejected: int = 0


@contextlib.contextmanager
def _not_instrumented() -> Iterator[None]:
    """Our requests are no news to the application's traces."""
    context = get_current()
    for key in (_SUPPRESS_INSTRUMENTATION_KEY, _SUPPRESS_HTTP_INSTRUMENTATION_KEY, "suppress_instrumentation"):
        context = set_value(key, True, context)
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


_EXPORTS: "weakref.WeakSet[Export]" = weakref.WeakSet()
"""Hooks cannot be unregistered, so they must not keep an export alive."""


def _close_all() -> None:
    exports = list(_EXPORTS)
    for export in exports:
        export.end(_EXIT_SECONDS)
    for export in exports:
        export.close()


atexit.register(_close_all)
