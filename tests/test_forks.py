"""A forked child begins at 0 and works, whatever the parent was at; the parent's numbers are untouched."""

import gc
import math
import multiprocessing
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.settings import Settings
from tests.concurrency import in_child
from tests.readings import counted, reading, value

SCHEMA = Schema((Feature("a"), Feature("b")))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)
GOOD = {"a": 1.0, "b": 2.0}
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=SCHEMA, task="regression", settings=SETTINGS) as one:
        yield one


def count_in_child(monitor: Monitor, *, parents_start: float) -> None:
    """What a child sees of a monitor: nothing at first, then its own calls only."""
    assert monitor.snapshot().calls == {"ok": 0, "error": 0, "cancelled": 0}
    assert sum(monitor.snapshot().dropped.values()) == sum(monitor.snapshot().errors.values()) == 0
    assert math.isnan(monitor.snapshot().features["a"].minimum)
    assert math.isnan(reading(monitor, catalog.LAST_CALL_TIME))
    assert reading(monitor, catalog.CALLS_ACTIVE) == reading(monitor, catalog.QUEUE_ROWS) == 0
    assert parents_start < reading(monitor, catalog.START_TIME) <= time.time()
    monitor.watch(lambda row: 0.5)({"a": 3.0, "b": 4.0})
    assert counted(monitor) == (1, 0, 0)
    assert monitor.snapshot().rows == 1
    assert value(monitor) == 3


def test_a_forked_child_counts_its_own_calls_from_0(monitor: Monitor) -> None:
    """Some calls are counted, some are queued, one is in flight, one was refused, one extractor failed."""
    monitor.watch(lambda row: 0.5)(GOOD)
    monitor.watch(features=lambda call: call.kwargs["none"])(lambda row: 0.5)(GOOD)
    assert monitor.flush()
    stream = monitor.watch(lambda row: (yield 1))(GOOD)
    next(stream)
    monitor.observe(GOOD, 0.5)
    before = monitor.snapshot()
    start = reading(monitor, catalog.START_TIME)
    in_child(lambda: count_in_child(monitor, parents_start=start))
    assert monitor.snapshot().rows == before.rows
    stream.close()
    assert counted(monitor) == (3, 0, 1)
    assert value(monitor) == 1
    assert reading(monitor, catalog.START_TIME) == start


def test_a_child_of_multiprocessing_counts_its_own_calls_from_0(monitor: Monitor) -> None:
    monitor.watch(lambda row: 0.5)(GOOD)
    assert monitor.flush()
    start = reading(monitor, catalog.START_TIME)
    child = multiprocessing.get_context("fork").Process(target=count_in_child, args=(monitor,), kwargs={"parents_start": start})
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert counted(monitor) == (1, 0, 0)


def locks_of(owner: Any) -> Iterator[Any]:
    """Every lock and condition of an object of ours, and of the objects it holds."""
    found = {id(owner): owner}
    waiting = [owner]
    while waiting:
        for one in gc.get_referents(waiting.pop()):
            if id(one) not in found and (
                hasattr(one, "acquire") or type(one).__module__.startswith("otel_mlmon") or type(one) is dict
            ):
                found[id(one)] = one
                waiting += [] if hasattr(one, "acquire") else [one]
    yield from (one for one in found.values() if hasattr(one, "acquire"))


def test_a_fork_while_every_lock_is_held_leaves_a_child_that_works(monitor: Monitor) -> None:
    monitor.watch(lambda row: 0.5)(GOOD)
    assert monitor.flush()
    start = reading(monitor, catalog.START_TIME)
    held, release = threading.Event(), threading.Event()
    locks = list(locks_of(monitor))
    assert len(locks) >= 4

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        held.set()
        assert release.wait(20)
        for lock in locks:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    in_child(lambda: count_in_child(monitor, parents_start=start))
    release.set()
    holder.join(20)
    monitor.watch(lambda row: 0.5)(GOOD)
    assert counted(monitor) == (2, 0, 0)


def test_a_fork_in_the_middle_of_a_drain_leaves_a_child_that_works(monitor: Monitor) -> None:
    inside, release = threading.Event(), threading.Event()
    start = reading(monitor, catalog.START_TIME)

    def slow() -> Any:
        inside.set()
        assert release.wait(20)
        return GOOD, 0.5

    monitor.observe_lazy(slow, weight=1)
    flusher = threading.Thread(target=monitor.flush)
    flusher.start()
    assert inside.wait(20)
    in_child(lambda: count_in_child(monitor, parents_start=start))
    release.set()
    flusher.join(20)
    assert counted(monitor) == (1, 0, 0)


def test_a_grandchild_counts_from_0_too(monitor: Monitor) -> None:
    start = reading(monitor, catalog.START_TIME)

    def child() -> None:
        count_in_child(monitor, parents_start=start)
        later = reading(monitor, catalog.START_TIME)
        in_child(lambda: count_in_child(monitor, parents_start=later))

    in_child(child)


def test_a_fork_hook_leaves_a_dead_monitor_alone() -> None:
    monitor = Monitor("dead", schema=SCHEMA, settings=SETTINGS)
    monitor.close()
    del monitor
    in_child(lambda: None)
