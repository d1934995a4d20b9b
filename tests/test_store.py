"""The counters: each change and each reading is one instant, and a fork leaves a sound store behind."""

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otel_mlmon.catalog import CALL_DURATION, CALL_ERRORS, CALLS, LAST_CALL_TIME, QUEUE_ROWS
from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.store import SeriesStore, Snapshot
from tests.concurrency import ended, fork, in_child, in_threads

MODEL = ("m", "1")
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def shown(snapshot: Snapshot) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(one.family.name, one.labels): float(snapshot.values[one.index]) for one in snapshot.series}


def test_series_of_one_allocation_are_consecutive() -> None:
    store = SeriesStore()
    first = store.allocate(CALL_DURATION, [("a", "1"), ("b", "1")], bounds=(0.1, 1.0))
    assert [(one.labels, one.index, one.width, one.bounds) for one in store.snapshot().series] == [
        (("a", "1"), first, 4, (0.1, 1.0)),
        (("b", "1"), first + 4, 4, (0.1, 1.0)),
    ]
    assert store.allocate(QUEUE_ROWS, [MODEL]) == first + 8


def test_counters_begin_at_0_and_gauges_without_a_value() -> None:
    store = SeriesStore()
    store.allocate(CALLS, [(*MODEL, "ok")])
    store.allocate(CALL_DURATION, [MODEL], bounds=(1.0,))
    store.allocate(QUEUE_ROWS, [MODEL])
    np.testing.assert_array_equal(store.snapshot().values, [0, 0, 0, 0, np.nan])


def test_add_adds_and_set_and_put_replace() -> None:
    store = SeriesStore()
    calls = store.allocate(CALLS, [(*MODEL, status) for status in ("ok", "error", "cancelled")])
    rows = store.allocate(QUEUE_ROWS, [MODEL])
    for _ in range(3):
        store.add([(calls, np.array([1.0, 2.0])), (calls + 2, np.array([5.0]))])
        store.set(rows, 7.0)
    assert store.snapshot().values.tolist() == [3, 6, 15, 7]
    store.put(calls + 1, np.array([10.0, 11.0, 12.0]))
    assert store.snapshot().values.tolist() == [3, 10, 11, 12]


def test_a_snapshot_is_a_copy_and_its_series_are_the_same_object_until_one_is_added() -> None:
    store = SeriesStore()
    start = store.allocate(CALLS, [(*MODEL, "ok")])
    before = store.snapshot()
    store.add([(start, np.ones(1))])
    after = store.snapshot()
    assert before.series is after.series
    assert (before.values[start], after.values[start]) == (0, 1)
    store.index(CALLS, (*MODEL, "error"))
    assert len(store.snapshot().series) == 2
    assert len(before.series) == 1


def test_the_array_grows_and_keeps_its_values() -> None:
    store = SeriesStore()
    for number in range(3000):
        store.add([(store.index(CALL_ERRORS, (*MODEL, str(number))), np.array([float(number)]))])
    assert store.snapshot().values.tolist() == list(range(3000))
    many = store.allocate(CALL_ERRORS, [(*MODEL, f"more-{number}") for number in range(5000)])
    assert store.snapshot().values[many:].tolist() == [0.0] * 5000


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([(*MODEL, "new"), (*MODEL, "ok")], "exists already"),
        ([(*MODEL, "new"), (*MODEL, "new")], "exists already"),
        ([(*MODEL, "new"), MODEL], "labels are"),
    ],
)
def test_a_wrong_series_is_refused_and_changes_nothing(labels: list[tuple[str, ...]], message: str) -> None:
    store = SeriesStore()
    store.allocate(CALLS, [(*MODEL, "ok")])
    with pytest.raises(ValueError, match=message):
        store.allocate(CALLS, labels)
    assert shown(store.snapshot()) == {("mlmon.calls", (*MODEL, "ok")): 0}
    assert store.allocate(CALLS, [(*MODEL, "new")]) == 1


def test_one_series_however_many_threads_ask_for_it(quick_switches: None) -> None:
    store = SeriesStore()
    found: list[list[int]] = [[] for _ in range(8)]

    def work(number: int) -> None:
        found[number] = [store.index(CALL_ERRORS, (*MODEL, str(one))) for one in range(200)]

    in_threads(8, work)
    assert all(one == found[0] for one in found)
    assert len(store.snapshot().series) == len(set(found[0])) == 200


def test_no_addition_is_lost_between_threads(quick_switches: None) -> None:
    """Series are added meanwhile, so the array moves under the writers."""
    store = SeriesStore()
    start = store.allocate(CALLS, [(*MODEL, "ok")])

    def work(number: int) -> None:
        for turn in range(500):
            store.add([(start, np.ones(1))])
            store.index(CALL_ERRORS, (*MODEL, f"{number}-{turn}"))

    in_threads(6, work)
    assert store.snapshot().values[start] == 3000


def test_a_reader_never_sees_half_of_an_addition(quick_switches: None) -> None:
    store = SeriesStore()
    blocks = [(store.allocate(CALL_ERRORS, [(*MODEL, f"{block}-{one}") for one in range(50)]), np.ones(50)) for block in range(20)]
    done = threading.Event()

    def write() -> None:
        for _ in range(1500):
            store.add(blocks)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        values = store.snapshot().values
        assert values.min() == values.max()
        seen.add(values[0])
    writer.join(20)
    assert len(seen) > 2  # the reader did come in between
    assert set(store.snapshot().values) == {1500}


def test_samples_is_the_number_of_lines_of_a_page() -> None:
    """prometheus_client's writer and parser are the oracle; a gauge without a value has no line."""
    store = SeriesStore()
    registry = CollectorRegistry()
    registry.register(Collector(store.snapshot))

    def lines() -> int:
        return sum(len(family.samples) for family in text_string_to_metric_families(generate_latest(registry).decode()))

    assert store.samples == lines() == 0
    store.allocate(CALL_DURATION, [MODEL], bounds=(0.1, 1.0))
    store.allocate(CALLS, [(*MODEL, "ok"), (*MODEL, "error")])
    last = store.allocate(LAST_CALL_TIME, [MODEL])
    assert store.samples == lines() == 7
    store.set(last, 12.0)
    assert store.samples == lines() == 8
    store.reset()
    assert store.samples == lines() == 8


def test_a_reset_sets_counters_to_0_and_keeps_gauges_and_series() -> None:
    store = SeriesStore()
    calls = store.allocate(CALLS, [(*MODEL, "ok")])
    duration = store.allocate(CALL_DURATION, [MODEL], bounds=(1.0,))
    rows = store.allocate(QUEUE_ROWS, [MODEL])
    store.add([(calls, np.ones(1)), (duration, np.ones(3))])
    store.set(rows, 5.0)
    series = store.snapshot().series
    store.reset()
    assert store.snapshot().values.tolist() == [0, 0, 0, 0, 5]
    assert store.snapshot().series is series


@FORKS
def test_a_child_forked_while_another_thread_holds_the_lock_can_count() -> None:
    store = SeriesStore()
    start = store.allocate(CALLS, [(*MODEL, "ok")])
    store.add([(start, np.ones(1))])
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            assert release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)

    def child() -> None:
        store.reset()
        store.add([(start, np.ones(1))])
        store.index(CALL_ERRORS, (*MODEL, "new"))
        assert store.snapshot().values.tolist() == [1, 0]

    in_child(child)
    release.set()
    holder.join(20)
    assert store.snapshot().values.tolist() == [1]


@FORKS
def test_a_child_forked_at_any_line_of_an_allocation_has_a_sound_store() -> None:
    """A thread that adds series is stopped before each of its lines, and the process forks there."""
    store = SeriesStore()
    store.allocate(CALLS, [(*MODEL, "ok")])
    names = [str(number) for number in range(1500)]  # the array must grow, too

    def child() -> None:
        store.reset()
        store.index(CALL_DURATION, MODEL, bounds=(1.0, 2.0))
        for name in ("0", "1499", "other"):
            store.add([(store.index(CALL_ERRORS, (*MODEL, name)), np.ones(1))])
        snapshot = store.snapshot()
        assert len({(one.family, one.labels) for one in snapshot.series}) == len(snapshot.series)
        slots = [slot for one in snapshot.series for slot in range(one.index, one.index + one.width)]
        assert sorted(slots) == list(range(len(snapshot.values)))
        assert snapshot.values.sum() == 3
        assert store.samples == sum(one.samples for one in snapshot.series)

    children = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_name in ("_allocate", "_reserve") and event == "line" and frame.f_lineno not in lines:
            lines.add(frame.f_lineno)
            children.append(fork(child))
        return trace

    lines: set[int] = set()
    usual = sys.gettrace()
    sys.settrace(trace)
    try:
        store.allocate(CALL_ERRORS, [(*MODEL, name) for name in names])
    finally:
        sys.settrace(usual)
    assert len(children) > 10
    assert {ended(pid) for pid in children} == {0}
