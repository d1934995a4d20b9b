"""A bounded queue and the one thread that empties it. Knows nothing of models."""

import atexit
import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from otel_mlmon.forks import at_child_exit

MAX_ITEM_ROWS = 1024
"""Larger batches are split before they queue, so that one drain stays small in memory."""

_WAKE_SHARE = 8  # an early drain once an eighth of the queue is full


class Worker:
    """Hands queued items to ``handle``, some at a time, on one daemon thread that starts with the first item.

    Submitting appends to a deque: no lock, no signal, no allocation that could wait. The row count behind the bound is a
    plain sum; where two threads race on it (free-threaded builds) it errs by some rows, and each empty queue corrects it.

    Args:
        handle: Called on the thread with the items in order; its exceptions are given to ``failed``.
        tick: Called on the thread after each drain, at least every ``seconds``.
        failed: Called with the place (``handle`` or ``tick``) and the number of rows that an exception lost.
        capacity: Rows that may wait.
        seconds: Time between drains.
        name: Name of the thread.
    """

    def __init__(
        self,
        handle: Callable[[list[Any]], None],
        tick: Callable[[], None],
        failed: Callable[[str, int], None],
        *,
        capacity: int,
        seconds: float,
        name: str,
    ) -> None:
        self._handle, self._tick, self._failed = handle, tick, failed
        self._capacity, self._seconds, self._name = capacity, seconds, name
        self._wake_rows = max(MAX_ITEM_ROWS, capacity // _WAKE_SHARE)
        self._begin()
        _WORKERS.add(self)

    def _begin(self) -> None:
        self._queue: deque[tuple[Any, int]] = deque()
        self._submitted = 0
        self._handled = 0
        self._dropped = 0
        self._drops = threading.RLock()  # reentrant: a signal handler may call a watched function
        self._starting = threading.Lock()
        self._busy = threading.Lock()  # held while items are handled
        self._drainer = 0  # the thread that holds it
        self._wake: SimpleQueue[None] = SimpleQueue()  # an Event's set() is not reentrant: a signal handler would wait for itself
        self._done = threading.Condition()
        self._begun = self._ended = 0  # drains
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, item: Any, rows: int) -> bool:
        """Queue an item, or refuse and count it. Never blocks or raises.

        Args:
            item: Anything ``handle`` understands.
            rows: Its weight against the capacity.

        Returns:
            Whether it was taken.
        """
        waiting = self._submitted - self._handled + rows
        if waiting > self._capacity or self._closed:
            self._drop(rows)
            return False
        self._submitted += rows
        self._queue.append((item, rows))
        if self._thread is None:
            self.start()
        elif waiting > self._wake_rows and self._wake.empty():
            self._wake.put(None)
        return True

    def start(self) -> None:
        """Start the thread where it does not run yet; what cannot start (interpreter exit) is left to ``close``."""
        if self._thread is not None or self._closed or not self._starting.acquire(blocking=False):
            return  # it runs, it must not, or someone starts it right now: another thread, or what a signal handler interrupted
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
                settle_at_exit()
                at_child_exit(_settle_all, first=True)
        except RuntimeError:
            pass
        finally:
            self._starting.release()

    @property
    def queued_rows(self) -> int:
        """Rows that wait now."""
        return max(0, self._submitted - self._handled)

    def take_dropped(self) -> int:
        """Rows refused since the last call."""
        with self._drops:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def flush(self, timeout: float) -> bool:
        """Wait until everything submitted before this call is handled.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it was handled in time.
        """
        if self._drainer == threading.get_ident():  # asked by what is being handled: it would wait for itself
            return False
        self.start()
        thread = self._thread
        deadline = time.monotonic() + timeout
        with self._done:
            target = self._begun + 1  # a drain that begins from now on takes all that was queued before
            while thread is not None and thread.is_alive() and self._ended < target:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._wake.empty():
                    self._wake.put(None)
                self._done.wait(min(0.05, left))
            if self._ended >= target:
                return True
        return self._drain(deadline - time.monotonic())

    def wake(self) -> None:
        """Drain soon, without waiting for it."""
        self._wake.put(None)

    def end(self) -> None:
        """Begin to close, without waiting for it: several may end at a time."""
        self._closed = True
        self.wake()

    def close(self, timeout: float = 5.0) -> bool:
        """Handle what is queued, end the thread and refuse further items. Idempotent.

        Returns:
            Whether everything was handled in time.
        """
        self.end()
        thread = self._thread
        if self._drainer == threading.get_ident() or thread is threading.current_thread():
            return False  # closed by what is being handled: the thread ends by itself, after what is queued
        deadline = time.monotonic() + timeout
        if thread is not None and thread.is_alive():
            thread.join(timeout)
            if thread.is_alive():
                return False
        return self._drain(deadline - time.monotonic())

    def reset(self) -> None:
        """Begin anew in a forked child: the parent's items are the parent's, and its thread is not here."""
        closed = self._closed
        self._begin()
        self._closed = closed

    def _run(self) -> None:
        wake = self._wake  # a fork replaces it; this thread does not exist in the child
        closed = False
        while not closed:
            with contextlib.suppress(Empty):
                wake.get(timeout=self._seconds)
            while not wake.empty():
                wake.get()
            closed = self._closed  # read before the last drain: whoever closes may have given up waiting for it
            self._drain()

    def _drain(self, timeout: float | None = None) -> bool:
        """Handle what is queued. Returns whether it could begin in time."""
        busy = self._busy
        if not busy.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return False
        try:
            self._drainer = threading.get_ident()
            self._begun = begun = self._begun + 1
            items: list[Any] = []
            rows = 0
            for _ in range(len(self._queue)):  # what comes meanwhile is the next drain's: this one ends
                item, weight = self._queue.popleft()
                items.append(item)
                rows += weight
                if rows >= MAX_ITEM_ROWS:  # what is handled at a time fits a processor's cache
                    rows = self._give(items, rows)
                    items = []
            self._give(items, rows)
            if not self._queue:
                self._submitted = self._handled
            self._guard(self._tick, "tick", 0)
        finally:
            self._drainer = 0
            busy.release()
        with self._done:
            self._ended = max(self._ended, begun)
            self._done.notify_all()
        return True

    def _give(self, items: list[Any], rows: int) -> int:
        if items:
            try:
                self._guard(lambda: self._handle(items), "handle", rows)
            finally:
                self._handled += rows
        return 0

    def _guard(self, action: Callable[[], None], place: str, rows: int) -> None:
        try:
            action()
        except BaseException as error:  # the thread outlives any batch, a panic in a Rust extension too; its rows are counted
            self._failed(place, rows)
            if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                raise  # Ctrl-C, while the caller of flush() or close() handles the rest

    def _drop(self, rows: int) -> None:
        with self._drops:
            self._dropped += rows


_WORKERS: "weakref.WeakSet[Worker]" = weakref.WeakSet()
"""Hooks cannot be unregistered, so they must not keep a worker alive."""


_EXIT_SECONDS = 5.0  # for all workers together: a model that is stuck holds up none but itself


def _close_all() -> None:
    workers, deadline = list(_WORKERS), time.monotonic() + _EXIT_SECONDS
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.close(max(0.0, deadline - time.monotonic()))


atexit.register(_close_all)


def settle_at_exit() -> None:
    """Handle what is queued before the exit handlers of now run: some of them close the pipelines that spans and logs go to."""
    atexit.unregister(_settle_all)
    atexit.register(_settle_all)


def _settle_all() -> None:
    workers, deadline = [worker for worker in list(_WORKERS) if worker.queued_rows], time.monotonic() + _EXIT_SECONDS
    for worker in workers:
        worker.wake()
    for worker in workers:
        worker.flush(max(0.0, deadline - time.monotonic()))
