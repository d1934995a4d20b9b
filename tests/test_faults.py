"""What may go wrong around a call: nothing reaches the caller, nothing is miscounted, everything lost is counted."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.settings import Settings
from tests.concurrency import in_threads
from tests.readings import counted, reading, readings, value

SCHEMA = Schema((Feature("a"), Feature("b")))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=SCHEMA, task="regression", settings=SETTINGS) as one:
        yield one


# ---------------------------------------------------------------- load


def test_an_overflowing_queue_drops_what_it_counts() -> None:
    """Rows counted and rows dropped are the rows submitted, exactly, while eight threads submit more than the queue holds."""
    with Monitor("m", schema=SCHEMA, settings=Settings(queue_rows=256, system_seconds=0, drain_seconds=30)) as monitor:
        predict: Callable[[Any], Any] = monitor.watch(lambda rows: np.zeros(len(rows)))
        sizes = (1, 7, 64)

        def work(number: int) -> None:
            for turn in range(600):
                predict(np.ones((sizes[(number + turn) % 3], 2)))

        in_threads(8, work)
        assert monitor.flush(20)
        snapshot = monitor.snapshot()
        assert snapshot.dropped["queue_full"] > 0
        assert snapshot.rows + snapshot.dropped["queue_full"] == 8 * 200 * sum(sizes)


def test_calls_of_many_threads_are_all_counted(monitor: Monitor) -> None:
    @monitor.watch
    def predict(a: float, b: float) -> float:
        if b % 4 == 3:
            raise ValueError
        return a

    def work(number: int) -> None:
        for turn in range(1000):
            try:
                predict(float(number), float(turn))
            except ValueError:
                assert turn % 4 == 3

    in_threads(8, work)
    assert counted(monitor) == (6000, 2000, 0)
    assert readings(monitor, catalog.CALL_ERRORS) == {("ValueError",): 2000}
    snapshot = monitor.snapshot()
    assert (snapshot.rows, sum(snapshot.dropped.values()), sum(snapshot.errors.values())) == (6000, 0, 0)
    assert (snapshot.features["a"].minimum, snapshot.features["a"].maximum) == (0, 7)
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0


def test_flush_from_many_threads_covers_each_ones_calls(monitor: Monitor) -> None:
    done = [0] * 6

    def work(number: int) -> None:
        for turn in range(30):
            monitor.observe({"a": 1.0, "b": 2.0}, 0.5)
            done[number] = turn + 1
            expected = sum(done)
            assert monitor.flush(20)
            assert monitor.snapshot().calls["ok"] >= expected - 6 + 1  # a call may be noted as done a moment before it is

    in_threads(6, work)
    assert counted(monitor) == (180, 0, 0)


# ---------------------------------------------------------------- rows that bite


class Biting:
    """Raises when it is read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def _bite(self, *_: Any, **__: Any) -> Any:
        raise self.error

    __float__ = __str__ = __repr__ = __len__ = __iter__ = __bool__ = __lt__ = __array__ = _bite


class LaterBiting(Biting):
    """A tensor whose device is gone when the worker comes for it."""

    shape = (3, 2)

    def detach(self) -> "LaterBiting":
        return self

    clone = detach


GOOD = {"a": 1.0, "b": 2.0}


def test_a_batch_that_cannot_be_read_costs_its_rows_only(monitor: Monitor) -> None:
    predict: Callable[[Any], Any] = monitor.watch(lambda rows: [0.5] * (3 if isinstance(rows, Biting) else 1))
    for rows in (GOOD, LaterBiting(RuntimeError("device lost")), GOOD):
        predict(rows)
    assert counted(monitor) == (3, 0, 0)
    snapshot = monitor.snapshot()
    assert (snapshot.errors["rows"], sum(snapshot.errors.values())) == (1, 1)
    assert snapshot.dropped["error"] == 3
    assert (value(monitor, "a"), value(monitor, "b")) == (1, 2)
    assert snapshot.features["a"].moments.get("n", 2) == 2


@pytest.mark.parametrize("place", ["value", "row", "rows", "prediction", "predictions"])
def test_objects_that_raise_wherever_they_are_touched_cost_no_call(monitor: Monitor, place: str) -> None:
    biting = Biting(RuntimeError("touched"))
    rows, result = {
        "value": ({"a": biting, "b": 2.0}, 0.5),
        "row": (biting, 0.5),
        "rows": ([GOOD, biting], [0.5, 0.5]),
        "prediction": (GOOD, biting),
        "predictions": ([GOOD, GOOD], [0.5, biting]),
    }[place]
    assert monitor.watch(lambda _: result)(rows) is result
    monitor.watch(lambda _: 0.5)(GOOD)
    assert counted(monitor) == (2, 0, 0)
    assert value(monitor, "b") == 2
    snapshot = monitor.snapshot()
    assert {where for where, count in snapshot.errors.items() if count} <= {"extractor", "rows", "prediction"}


def test_a_worker_batch_that_raises_is_counted_and_the_next_one_counts(monitor: Monitor) -> None:
    """A lazy reader is user code on the worker; what is no ``Exception`` gets through to the thread itself."""

    class Panic(BaseException):
        pass

    def panic() -> Any:
        raise Panic

    def fails() -> Any:
        raise OSError("truncated")

    monitor.observe_lazy(fails, weight=1)
    monitor.observe_lazy(lambda: (GOOD, 0.5), weight=1)
    assert counted(monitor) == (1, 0, 0)
    assert (monitor.snapshot().errors["reader"], sum(monitor.snapshot().errors.values())) == (1, 1)
    monitor.observe_lazy(panic, weight=4)
    assert monitor.flush()
    monitor.observe(GOOD, 0.5)
    assert counted(monitor) == (2, 0, 0)
    assert sum(monitor.snapshot().errors.values()) == 2
    assert monitor.snapshot().dropped["error"] == 4


@pytest.mark.parametrize("given", [GOOD, (GOOD,), (GOOD, 0.5, 1.0), 7, (Biting(RuntimeError("closed")), 0.5)])
def test_a_reader_that_gives_no_features_and_prediction_costs_itself_only(monitor: Monitor, given: Any) -> None:
    monitor.observe(GOOD, 0.5)
    monitor.observe_lazy(lambda: given, weight=1)
    assert counted(monitor) == (1, 0, 0)
    snapshot = monitor.snapshot()
    assert (snapshot.errors["reader"], sum(snapshot.dropped.values())) == (1, 0)


# ---------------------------------------------------------------- what callers do with their data


def frame_set(frame: Any) -> None:
    frame.loc[:, "a"] = 99.0


MUTABLE: list[tuple[Callable[[], Any], Callable[[Any], None]]] = [
    (lambda: {"a": 1.0, "b": 2.0}, lambda one: one.update(a=99.0)),
    (lambda: np.array([1.0, 2.0]), lambda one: one.fill(99.0)),
    (lambda: np.array([[1.0, 2.0], [1.0, 2.0]]), lambda one: one.fill(99.0)),
    (lambda: [1.0, 2.0], lambda one: one.clear()),
    (lambda: [[1.0, 2.0], [1.0, 2.0]], lambda one: one[1].reverse()),
    (lambda: [np.array([1.0, 2.0])], lambda one: one[0].fill(99.0)),
    (lambda: [{"a": 1.0, "b": 2.0}] * 2, lambda one: one[1].clear()),
    (lambda: {"a": [1.0, 1.0], "b": [2.0, 2.0]}, lambda one: one["a"].clear()),
    (lambda: {"a": np.ones(2), "b": np.full(2, 2.0)}, lambda one: one["a"].fill(99.0)),
    (lambda: np.array([(1.0, 2.0)], dtype=[("a", "f8"), ("b", "f8")]), lambda one: one["a"].fill(99.0)),
    (lambda: pd.DataFrame({"a": [1.0, 1.0], "b": [2.0, 2.0]}), frame_set),
    (lambda: pd.Series({"a": 1.0, "b": 2.0}), lambda one: one.update(pd.Series({"a": 99.0}))),
]
NAMES = ["dict", "array", "matrix", "list", "lists", "arrays", "dicts", "columns", "array-columns", "structured", "frame", "series"]


@pytest.mark.parametrize("when", ["during", "after"])
@pytest.mark.parametrize(("make", "change"), MUTABLE, ids=NAMES)
def test_rows_count_as_they_were_when_the_call_began(monitor: Monitor, make: Any, change: Callable[[Any], None], when: str) -> None:
    rows = make()
    monitor.watch(lambda given: change(given) if when == "during" else None)(rows)
    if when == "after":
        change(rows)
    assert (value(monitor, "a"), value(monitor, "b")) == (1, 2)
    assert sum(monitor.snapshot().violations.values()) == 0


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: np.full(2, 5.0), lambda one: one.fill(99.0)),
        (lambda: [5.0, 5.0], lambda one: one.__setitem__(0, 99.0)),
        (lambda: [[5.0], [5.0]], lambda one: one[0].__setitem__(0, 99.0)),
        (lambda: [np.array([5.0]), np.array([5.0])], lambda one: one[1].fill(99.0)),
        (lambda: {"prediction": np.full(2, 5.0)}, lambda one: one["prediction"].fill(99.0)),
        (lambda: {"prediction": [5.0, 5.0]}, lambda one: one.clear()),
        (lambda: pd.Series([5.0, 5.0]), lambda one: one.update(pd.Series([99.0]))),
        (lambda: pd.DataFrame({"p": [5.0, 5.0]}), lambda one: one.__setitem__("p", 99.0)),
        (lambda: np.full((2, 1), 5.0), lambda one: one.fill(99.0)),
    ],
    ids=["array", "list", "lists", "arrays", "dict-array", "dict-list", "series", "frame", "matrix"],
)
def test_predictions_count_as_they_were_returned(monitor: Monitor, make: Callable[[], Any], change: Callable[[Any], None]) -> None:
    result = make()
    change(monitor.watch(lambda rows: result)(np.ones((2, 2))))
    assert value(monitor, "@prediction") == 5
    assert sum(monitor.snapshot().errors.values()) == 0


# ---------------------------------------------------------------- asyncio


def test_cancellation_passes_and_is_counted_as_such(monitor: Monitor) -> None:
    cleaned = []

    @monitor.watch
    async def predict(row: Any, started: asyncio.Event) -> float:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(row)
        return 0.5

    async def run() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(predict(GOOD, started))
        await started.wait()
        assert reading(monitor, catalog.CALLS_ACTIVE) == 1
        task.cancel("enough")
        said = "enough" if sys.version_info >= (3, 11) else None  # 3.10 loses it by itself
        with pytest.raises(asyncio.CancelledError, match=said):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(predict(GOOD, started), timeout=0.001)

    asyncio.run(run())
    assert cleaned == [GOOD, GOOD]
    assert counted(monitor) == (0, 0, 2)
    assert readings(monitor, catalog.CALL_ERRORS) == {}
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0


def test_a_coroutine_that_survives_its_cancellation_is_ok(monitor: Monitor) -> None:
    @monitor.watch
    async def predict(row: Any, started: asyncio.Event) -> float:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 0.5
        return 1.0

    async def run() -> float:
        started = asyncio.Event()
        task = asyncio.create_task(predict(GOOD, started))
        await started.wait()
        task.cancel()
        return await task

    assert asyncio.run(run()) == 0.5
    assert counted(monitor) == (1, 0, 0)


def test_the_first_error_of_a_place_is_logged_without_its_text(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    """Once a place, by its class: the text of an exception may hold a row."""

    def secret(_: object) -> object:
        raise KeyError("4111 1111 1111 1111")

    @monitor.watch(features=secret)
    def predict(row: dict[str, float]) -> float:
        return row["a"]

    for _ in range(3):
        predict({"a": 1.0, "b": 2.0})
        assert monitor.flush()
        monitor.collect()
    logged = [record.getMessage() for record in caplog.records if "extractor" in record.getMessage()]
    assert len(logged) == 1
    assert "KeyError" in logged[0]
    assert "4111" not in caplog.text
