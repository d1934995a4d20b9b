"""Real processes that share a folder: forked, spawned, killed at any instant."""

import mmap
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.exposition.multiprocess import files, sharing, view
from otel_mlmon.settings import Settings
from otel_mlmon.store import Snapshot
from tests.concurrency import ended, fork, in_child, interruptions
from tests.sharing import MODEL, Process, page

SCHEMA = Schema((Feature("x"),))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)
CALLS = ("mlmon.calls", (*MODEL, "ok"))
CALLS_OK = catalog.CALLS, (*MODEL, "ok")
PROCESSES = ("mlmon.processes", MODEL)
DURATION = ("mlmon.call.duration", MODEL)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path / "shared"))
    return tmp_path / "shared"


def new_monitor() -> Monitor:
    """A monitor that reads the environment now."""
    return Monitor("m", version="1", schema=SCHEMA, settings=SETTINGS)


def predict(monitor: Monitor, times: int) -> None:
    """Make calls, and wait until they are counted and published."""

    @monitor.watch
    def watched(features: dict[str, float]) -> float:
        return features["x"] / 2

    for number in range(times):
        watched({"x": float(number)})
    assert monitor.flush(20)


def shown(snapshot: Snapshot) -> tuple[float, float, float]:
    """Calls, their durations' count, and processes."""
    numbers = page(snapshot)
    return numbers[CALLS][0], sum(numbers[DURATION][:-1]), numbers[PROCESSES][0]


def test_a_parent_that_has_counted_and_its_forked_child_are_two_processes(folder: Path) -> None:
    """As under gunicorn's preload; the child that just ends leaves what it has counted."""
    with new_monitor() as monitor:
        predict(monitor, 2)

        def work() -> None:
            assert shown(monitor.collect()) == (2.0, 2.0, 2.0)
            predict(monitor, 3)
            assert shown(monitor.collect()) == (5.0, 5.0, 2.0)
            in_child(lambda: predict(monitor, 4))
            assert shown(monitor.collect()) == (9.0, 9.0, 2.0)

        in_child(work)
        assert shown(monitor.collect()) == (9.0, 9.0, 1.0)
        assert monitor.snapshot().rows == 2.0


def count_in_child(calls: int) -> None:
    """Make calls, and end without waiting for anything."""
    monitor = new_monitor()
    for number in range(calls):
        monitor.observe({"x": float(number)})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_multiprocessing_leaves_all_that_it_counted(folder: Path, method: str) -> None:
    """It ends by os._exit, without exit handlers, long before the next drain."""
    with new_monitor() as monitor:
        context: Any = multiprocessing.get_context(method)
        child = context.Process(target=count_in_child, args=(3,))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert page(monitor.collect())[CALLS] == [3.0]


def test_a_parent_that_only_forks_is_no_process_of_the_page(folder: Path) -> None:
    """Nor is a child that does nothing with the monitor."""
    with new_monitor() as monitor:
        in_child(lambda: None)

        def work() -> None:
            predict(monitor, 3)
            assert shown(monitor.collect()) == (3.0, 3.0, 1.0)

        in_child(work)
        assert list(folder.rglob("*.keys"))
        assert len(list(folder.rglob("*.keys"))) == 1


def test_a_child_that_outlives_its_parent_does_not_keep_it_alive(folder: Path) -> None:
    """It inherited the descriptor, and with it the lock."""
    ready, go = os.pipe(), os.pipe()

    def parent() -> None:
        monitor = new_monitor()
        predict(monitor, 2)
        if not os.fork():
            os.close(go[1])
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(0)

    with new_monitor() as monitor:
        assert ended(fork(parent)) == 0
        os.read(ready[0], 1)
        assert shown(monitor.collect()) == (2.0, 2.0, 1.0)
        os.close(go[1])


def test_a_fork_in_between_leaves_two_processes_that_work(tmp_path: Path) -> None:
    """While the file is made, grows and is written, while others are read: with whatever is open and locked then."""
    for number, interrupted in enumerate(interruptions([files, sharing, view])):
        process = Process(tmp_path / f"{number}")
        if number % 2:  # else the file is new
            process.store.allocate(catalog.FEATURE_MISSING, [(*MODEL, "x")])
            process.page()
        process.store.allocate(catalog.FEATURE_VALUE, [(*MODEL, "x")], bounds=tuple(map(float, range(2000))))

        def child(process: Process = process) -> None:
            process.store.reset()
            process.shared.reset()
            process.count(*CALLS_OK)
            assert process.page()[CALLS][0] >= 1.0
            assert not process.errors

        process.count(*CALLS_OK)
        with interrupted(lambda child=child: in_child(child) if number % 16 < 2 else None):  # type: ignore[misc]  # noqa: B023
            process.page()  # at every line would take long, and each lock is held for several
        shown = process.page()
        assert 1.0 <= shown[CALLS][0] <= 2.0
        assert len(shown) == 2 + number % 2
        assert not process.errors
        process.shared.close()
    assert number > 60


def act(pipe: Connection) -> None:
    """An actor as Ray starts them: a number asks for as many predictions, ``page`` for the page, None for the end."""
    monitor = new_monitor()
    while (asked := pipe.recv()) is not None:
        if asked == "page":
            pipe.send(shown(monitor.collect()))
        else:
            predict(monitor, asked)
            pipe.send(True)


@contextmanager
def actor(method: str) -> Iterator[tuple[BaseProcess, Any]]:
    """Another process, and how to ask it."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=act, args=(theirs,))  # type: ignore[attr-defined]  # every context has it
    process.start()

    def ask(what: Any) -> Any:
        ours.send(what)
        assert ours.poll(60)
        return ours.recv()

    try:
        yield process, ask
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_actors_show_one_page(folder: Path, method: str) -> None:
    """Whichever is asked, also when one was killed and another took its place."""
    with actor(method) as (_, first):
        with actor(method) as (process, second):
            assert first(3)
            assert second(5)
            assert first("page") == second("page") == (8.0, 8.0, 2.0)
            process.kill()
            process.join()
            assert first("page") == (8.0, 8.0, 1.0)
        with actor(method) as (_, third):
            assert third(2)
            assert third("page") == first("page") == (10.0, 10.0, 2.0)


def test_pages_never_show_less_while_processes_are_killed(tmp_path: Path) -> None:
    """Thirty processes count, scrape and fold as fast as they can and are killed; two others watch."""
    told = np.frombuffer(mmap.mmap(-1, 8 * 30), dtype=np.float64)  # what each has certainly published

    def work(number: int) -> None:
        process = Process(tmp_path, clock=iter(range(10**9)).__next__)
        slot = process.store.allocate(catalog.CALLS, [(*MODEL, "ok")])
        process.store.allocate(catalog.CALL_DURATION, [MODEL], bounds=(1.0, 2.0))
        while True:
            process.store.add([(slot, np.array([1.0, 0.0, 1.0, 0.0, 0.5]))])
            process.page()
            told[number] += 1.0

    watchers = [Process(tmp_path, clock=iter(range(10**9)).__next__) for _ in range(2)]
    rng = np.random.default_rng(7)
    children: list[int] = []
    last = 0.0
    for number in range(30):
        children.append(fork(lambda number=number: work(number)))  # type: ignore[misc]  # bound at once
        while not told[number]:
            last = look(watchers, last)
        if len(children) > 2:
            os.kill(killed := children.pop(rng.integers(0, 3)), signal.SIGKILL)
            os.waitpid(killed, 0)
            last = look(watchers, last)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for _ in range(2):
        last = look(watchers, last)
    assert told.sum() <= last <= told.sum() + 30
    assert [error for watcher in watchers for error in watcher.errors] == []
    assert len(list(tmp_path.glob("*.keys"))) == 2


def look(watchers: list[Process], last: float) -> float:
    """Ask each once. Returns what the last one showed."""
    for watcher in watchers:
        numbers = watcher.page()
        calls, duration = numbers.get(CALLS, [0.0])[0], numbers.get(DURATION, [0.0] * 4)
        assert calls >= last
        assert duration == [0.0, calls, 0.0, calls / 2]
        last = calls
    return last


def test_one_process_leads_until_it_is_killed(tmp_path: Path) -> None:
    """Then another does; a forked child does not inherit it, nor does the parent lose it by the child's end."""
    ready = os.pipe()

    def lead() -> None:
        leader = Process(tmp_path)
        assert leader.shared.leads()
        assert leader.shared.leads()
        leader_in_child = leader.shared

        def child() -> None:
            leader_in_child.reset()
            assert not leader_in_child.leads()

        in_child(child)
        assert leader.shared.leads()
        os.write(ready[1], b"x")
        signal.pause()

    child = fork(lead)
    os.read(ready[0], 1)
    first, second = Process(tmp_path), Process(tmp_path)
    assert not first.shared.leads()
    assert not second.shared.leads()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert second.shared.leads()
    assert not first.shared.leads()
    second.shared.close()
    assert not second.shared.leads()
    assert first.shared.leads()


def test_a_signal_handler_may_close_what_it_interrupts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers collect on the main thread, where handlers run: before any line of it. One that waited for itself would hang."""
    monkeypatch.setattr(sharing, "_CLOSE_SECONDS", 0.001)

    def work() -> None:
        for number, interrupted in enumerate(interruptions([sharing])):
            process = Process(tmp_path / f"{number}")
            process.count(*CALLS_OK)
            with interrupted(process.shared.close):
                process.page()
            process.shared.close()
            assert not process.errors

    in_child(work)
