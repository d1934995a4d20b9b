"""The bounded queue: nothing waits on the caller's thread, nothing is lost uncounted."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from otel_mlmon import worker as worker_module
from otel_mlmon.worker import Worker
from tests.concurrency import in_threads, interruptions, no_new_threads


class Desk:
    """What a worker hands its items to: remembers them, and waits at a gate that is open at first."""

    def __init__(self, *, capacity: int = 100_000, seconds: float = 30.0) -> None:
        self.handled: list[Any] = []
        self.failures: list[tuple[str, int]] = []
        self.ticks = 0
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.worker = Worker(
            self.handle,
            self.tick,
            lambda place, rows: self.failures.append((place, rows)),
            capacity=capacity,
            seconds=seconds,
            name="desk",
        )

    def handle(self, items: list[Any]) -> None:
        self.entered.set()
        assert self.gate.wait(20)
        for item in items:
            if isinstance(item, BaseException):
                raise item
            if callable(item):
                item()
        self.handled += items

    def tick(self) -> None:
        self.ticks += 1

    def block(self) -> None:
        """Leave the worker in the middle of a batch: one item taken, which waits at the gate."""
        self.gate.clear()
        self.entered.clear()
        assert self.worker.submit("blocked", 1)
        self.worker._wake.put(None)
        assert self.entered.wait(20)


class Panic(BaseException):
    """As pyo3 raises it, from polars for one: no ``Exception``."""


def test_items_are_handled_once_and_in_order() -> None:
    desk = Desk()
    for number in range(5000):
        assert desk.worker.submit(number, 1)
    assert desk.worker.flush(20)
    assert desk.handled == list(range(5000))
    assert desk.worker.close()


def test_the_thread_starts_with_the_first_item() -> None:
    before = threading.active_count()
    desk = Desk()
    assert threading.active_count() == before
    desk.worker.submit("a", 1)
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "desk"] == [True]
    assert desk.worker.close()
    assert threading.active_count() == before


def test_rows_beyond_the_capacity_are_refused_and_counted() -> None:
    desk = Desk(capacity=10)
    desk.block()
    taken = [desk.worker.submit(number, 3) for number in range(5)]
    assert taken == [True, True, True, False, False]
    assert desk.worker.queued_rows == 10
    assert (desk.worker.take_dropped(), desk.worker.take_dropped()) == (6, 0)
    desk.gate.set()
    assert desk.worker.flush(20)
    assert desk.handled == ["blocked", 0, 1, 2]
    assert desk.worker.queued_rows == 0
    assert desk.worker.close()


def test_dropped_and_handled_are_what_was_submitted_by_many_threads() -> None:
    desk = Desk(capacity=64)
    refused = [0] * 8

    def submit(number: int) -> None:
        refused[number] = sum(not desk.worker.submit(item, 1) for item in range(4000))

    in_threads(8, submit)
    assert desk.worker.close()
    assert desk.worker.take_dropped() == sum(refused) > 0
    assert len(desk.handled) + sum(refused) == 8 * 4000


def test_an_eighth_of_the_queue_wakes_the_worker() -> None:
    """Drains are half a minute apart here: only the early wake can have handled the item."""
    desk = Desk(capacity=20_000)
    assert desk.worker.submit("large", 2501)
    assert desk.worker.submit("next", 1)
    assert desk.entered.wait(20)
    assert desk.worker.close()


def test_flush_waits_for_what_came_during_a_drain() -> None:
    desk = Desk()
    desk.block()
    desk.worker.submit("later", 1)
    assert not desk.worker.flush(0.01)
    desk.gate.set()
    assert desk.worker.flush(20)
    assert desk.handled == ["blocked", "later"]
    assert desk.worker.close()


def test_flush_covers_ones_own_items_whatever_other_threads_do() -> None:
    desk = Desk()

    def work(number: int) -> None:
        for turn in range(100):
            desk.worker.submit((number, turn), 1)
            assert desk.worker.flush(20)
            assert (number, turn) in desk.handled[-2000:]

    in_threads(6, work)
    assert desk.worker.close()


def test_flush_counts_only_drains_that_begin_after_it() -> None:
    """A drain may have handled its items and not have said so yet: what came in between is the next one's."""
    desk = Desk()
    ticked = threading.Event()
    desk.worker._tick = ticked.set
    desk.worker.start()
    with desk.worker._done:  # the drain cannot say that it ended; flush waits on this condition and so lets it
        desk.worker._wake.put(None)
        assert ticked.wait(20)
        with desk.worker._busy:
            desk.gate.clear()
            desk.worker.submit("late", 1)
        assert not desk.worker.flush(0.05)  # the first drain has ended by now, the second one stands at the gate
        desk.gate.set()
        assert desk.worker.flush(20)
        assert desk.handled == ["late"]
    assert desk.worker.close()


def test_flush_keeps_its_timeout() -> None:
    desk = Desk()
    desk.block()
    assert not desk.worker.flush(0.0)
    assert not desk.worker.flush(0.02)
    desk.gate.set()
    assert desk.worker.close()


@pytest.mark.parametrize("error", [ValueError("a bad batch"), Panic("in Rust"), SystemExit(1)], ids=lambda one: type(one).__name__)
def test_the_thread_outlives_a_batch_that_raises(error: BaseException) -> None:
    desk = Desk()
    desk.worker.submit(error, 7)
    assert desk.worker.flush(20)
    assert desk.failures == [("handle", 7)]
    desk.worker.submit("next", 1)
    assert desk.worker.flush(20)
    assert desk.handled == ["next"]
    assert desk.worker.queued_rows == 0
    assert desk.worker.close()


def test_the_thread_outlives_a_tick_that_raises() -> None:
    desk = Desk()

    def tick() -> None:
        raise OSError("no /proc today")

    desk.worker._tick = tick
    desk.worker.submit("a", 1)
    assert desk.worker.flush(20)
    assert desk.worker.flush(20)
    assert desk.failures == [("tick", 0)] * 2
    assert desk.worker.close()


def test_ticks_come_without_items() -> None:
    desk = Desk(seconds=0.001)
    ticked = threading.Event()
    desk.worker._tick = ticked.set
    desk.worker.start()
    assert ticked.wait(20)
    assert desk.worker.close()


def test_close_handles_the_rest_and_refuses_what_comes_later() -> None:
    desk = Desk()
    for number in range(100):
        desk.worker.submit(number, 1)
    assert desk.worker.close()
    assert desk.worker.close()
    assert desk.handled == list(range(100))
    assert not desk.worker.submit("late", 3)
    assert desk.worker.take_dropped() == 3
    assert desk.worker.flush(20)
    desk.worker.start()
    assert "desk" not in [thread.name for thread in threading.enumerate()]


def test_what_was_queued_is_handled_although_close_gave_up_waiting() -> None:
    desk = Desk()
    desk.block()
    desk.worker.submit("queued", 1)
    thread = desk.worker._thread
    assert thread is not None
    assert not desk.worker.close(timeout=0.01)
    desk.gate.set()
    thread.join(20)
    assert desk.handled == ["blocked", "queued"]


@pytest.mark.parametrize("threads", [nullcontext, no_new_threads], ids=["thread", "no thread"])
@pytest.mark.parametrize("ask", [lambda worker: worker.flush(20), lambda worker: worker.close(20)], ids=["flush", "close"])
def test_what_is_being_handled_does_not_wait_for_itself(
    ask: Callable[[Worker], bool], threads: Callable[[], AbstractContextManager[None]]
) -> None:
    """User code runs on the worker (lazy readers, finalizers, log handlers), and may know the monitor."""
    desk = Desk()
    answers: list[bool] = []
    with threads():
        desk.worker.submit(lambda: answers.append(ask(desk.worker)), 1)
        began = time.monotonic()
        desk.worker.flush(20)
        assert answers == [False]
        assert time.monotonic() - began < 10  # it has not waited at all
        assert desk.worker.close()


def test_what_comes_during_a_drain_is_all_that_waits_after_it() -> None:
    desk = Desk()
    waiting: list[int] = []
    desk.worker._tick = lambda: waiting.append(desk.worker.queued_rows)
    desk.worker.submit(lambda: desk.worker.submit("next", 1), 500)
    assert desk.worker.flush(20)
    assert desk.worker.flush(20)
    assert waiting[:2] == [1, 0]
    assert desk.worker.close()


def test_a_submission_may_come_between_any_two_lines_of_another() -> None:
    """So it is when a signal handler, or a finalizer, calls a watched function."""
    lines = 0
    for interrupted in interruptions([worker_module, threading]):
        lines += 1
        desk = Desk(capacity=20_000)
        with interrupted(lambda worker=desk.worker: worker.submit(1, 1)):  # type: ignore[misc]  # the default binds the loop's
            desk.worker.submit(1, 1)  # starts the thread
            desk.worker.submit(5000, 5000)  # wakes it
        assert [thread.name for thread in threading.enumerate()].count("desk") == 1
        assert desk.worker.close()
        with interrupted(lambda worker=desk.worker: worker.submit(1, 1)):  # type: ignore[misc]  # the default binds the loop's
            desk.worker.submit(30_000, 30_000)  # is refused
        assert sum(desk.handled) + desk.worker.take_dropped() in (35_001, 35_002)
    assert lines > 50


def test_where_no_thread_starts_flush_and_close_do_its_work() -> None:
    desk = Desk()
    with no_new_threads():
        assert desk.worker.submit("a", 1)
        assert desk.handled == []
        assert desk.worker.flush(20)
        assert desk.handled == ["a"]
        desk.worker.submit("b", 1)
        assert desk.worker.close()
    assert desk.handled == ["a", "b"]


def test_a_thread_that_could_not_start_is_started_later() -> None:
    desk = Desk()
    with no_new_threads():
        desk.worker.submit("a", 1)
    desk.worker.submit("b", 1)
    assert "desk" in [thread.name for thread in threading.enumerate()]
    assert desk.worker.close()
    assert desk.handled == ["a", "b"]


def test_ctrl_c_reaches_the_caller_of_flush() -> None:
    """Without a thread, the caller's own thread handles the items."""
    desk = Desk()
    with no_new_threads():
        desk.worker.submit(KeyboardInterrupt(), 2)
        with pytest.raises(KeyboardInterrupt):
            desk.worker.flush(20)
        assert desk.failures == [("handle", 2)]
        assert desk.worker.flush(20)
        assert desk.worker.close()


def test_many_first_items_start_one_thread() -> None:
    for _ in range(20):
        desk = Desk()
        in_threads(8, lambda number, worker=desk.worker: worker.submit(number, 1))  # type: ignore[misc]  # the default binds the loop's
        assert [thread.name for thread in threading.enumerate()].count("desk") == 1
        assert desk.worker.close()


@pytest.mark.parametrize("leave", [worker_module._settle_all, worker_module._close_all])
def test_at_the_end_workers_do_not_wait_for_each_other(leave: Callable[[], None]) -> None:
    """Ten models that are stuck would else hold up the interpreter ten times as long."""
    both = threading.Barrier(2)
    desks = [Desk(), Desk()]
    for desk in desks:
        assert desk.worker.flush(20)
        assert desk.worker.submit(lambda: both.wait(2), 1)
    leave()
    assert [desk.failures for desk in desks] == [[], []]
    assert [len(desk.handled) for desk in desks] == [1, 1]


def test_a_closed_worker_is_freed() -> None:
    desk = Desk()
    desk.worker.submit("a", 1)
    assert desk.worker.close()
    gone = weakref.ref(desk.worker)
    del desk
    gc.collect()
    assert gone() is None
