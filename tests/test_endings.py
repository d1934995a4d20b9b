"""How a process begins and ends around its calls: exit, signals, threads that do not start, close: nothing is lost uncounted."""

import gc
import signal
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog, records, sink, vitals, worker
from otel_mlmon import watch as calls_of_ours
from otel_mlmon.settings import Settings
from tests.concurrency import interruptions, no_new_threads
from tests.readings import counted, reading

GOOD = {"a": 1.0, "b": 2.0}
SCHEMA = Schema((Feature("a"), Feature("b")))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=SCHEMA, task="regression", settings=SETTINGS) as one:
        yield one


HEAD = """
import atexit, sys, threading
monitors = []
atexit.register(lambda: print([one.snapshot().rows for one in monitors], flush=True))  # before ours, so it runs after ours
from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.settings import Settings
schema = Schema((Feature("a"), Feature("b")))
def monitor_of(name, **settings):
    monitors.append(Monitor(name, schema=schema, settings=Settings(system_seconds=0, drain_seconds=30, **settings)))
    return monitors[-1]
"""


def output_of(script: str) -> list[str]:
    """Lines that a script prints in an interpreter of its own, where warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_rows_queued_at_interpreter_exit_are_counted() -> None:
    lines = output_of("""
first, second = monitor_of("first"), monitor_of("second")
for _ in range(100):
    first.observe([1.0, 2.0], 0.5)
second.watch(lambda row: 0.5)([1.0, 2.0])
threading.Thread(target=lambda: second.observe([1.0, 2.0], 0.5)).start()
""")
    assert lines == ["[100.0, 2.0]"]


def test_rows_queued_when_the_script_raises_are_counted() -> None:
    script = HEAD + "monitor_of('m').observe([1.0, 2.0], 0.5)\nraise SystemExit(3)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "[1.0]\n", "")


def test_a_call_from_an_exit_callback_is_harmless() -> None:
    """It comes when no thread may start any more, or after the monitor closed: counted or dropped, never in the way."""
    lines = output_of("""
late = monitor_of("late")
predict = late.watch(lambda row: 0.5)
atexit.register(lambda: print(predict([1.0, 2.0]), flush=True))
""")
    assert lines == ["0.5", "[1.0]"]


@pytest.mark.parametrize("outer", ["predict", "broken"])
@pytest.mark.parametrize("inner", ["predict", "broken"])
def test_a_signal_handler_may_call_what_it_interrupts(outer: str, inner: str) -> None:
    """Before every line in turn; with a lock that is not reentrant this waits for ever."""
    with Monitor("m", schema=SCHEMA, settings=Settings(queue_rows=1500, system_seconds=0, drain_seconds=30)) as monitor:
        calls = Counter[str]()
        functions: dict[str, Callable[[Any], Any]] = {
            "predict": monitor.watch(lambda rows: np.zeros(len(rows))),
            "broken": monitor.watch(features=lambda call: call.kwargs["none"])(lambda rows: 0.5),
        }

        def record(name: str) -> None:
            calls[name] += 1
            functions[name](np.ones((90, 2)))  # the queue wakes the worker now and then, and refuses some

        usual = signal.signal(signal.SIGUSR1, lambda *_: record(inner))
        try:
            for interrupted in interruptions([calls_of_ours, sink, worker, vitals, records]):
                with interrupted(lambda: signal.raise_signal(signal.SIGUSR1)):
                    record(outer)
        finally:
            signal.signal(signal.SIGUSR1, usual)
        assert sum(calls.values()) > 50
        assert monitor.flush(20)
        snapshot = monitor.snapshot()
        assert snapshot.errors.get("extractor", 0) == calls["broken"]
        without_rows = snapshot.calls["ok"] - snapshot.rows / 90  # each weighs one row in the queue
        assert snapshot.rows + without_rows + snapshot.dropped["queue_full"] == 90 * calls["predict"] + calls["broken"]
        assert reading(monitor, catalog.CALLS_ACTIVE) == 0


def test_without_a_thread_nothing_is_lost(monitor: Monitor) -> None:
    """Where no thread can start (a limit, an interpreter that ends), rows wait and the next one who can starts it."""
    with no_new_threads():
        monitor.watch(lambda row: 0.5)(GOOD)
        assert monitor.snapshot().rows == 0
        monitor.watch(lambda row: 0.5)(GOOD)
        assert counted(monitor) == (2, 0, 0)
        monitor.watch(lambda row: 0.5)(GOOD)
    assert counted(monitor) == (3, 0, 0)


def test_calls_after_close_are_dropped_and_counted(monitor: Monitor) -> None:
    predict: Callable[[Any], Any] = monitor.watch(lambda rows: np.zeros(len(rows)))
    predict(np.ones((5, 2)))
    monitor.close()
    assert len(predict(np.ones((7, 2)))) == 7
    monitor.observe(GOOD, 0.5)
    monitor.request("GET").end(route="/", status=200)
    monitor.close()
    assert monitor.flush()
    snapshot = monitor.snapshot()
    assert snapshot.rows == 5
    assert snapshot.dropped["queue_full"] == 7 + 1 + 1


def test_flush_gives_up_when_its_time_is_over(monitor: Monitor) -> None:
    inside, release = threading.Event(), threading.Event()

    def slow() -> Any:
        inside.set()
        assert release.wait(20)

    monitor.observe_lazy(slow, weight=1)
    assert not monitor.flush(timeout=0.01)
    assert inside.wait(20)
    assert not monitor.flush(timeout=0.01)
    release.set()
    assert monitor.flush(timeout=20)


def test_a_closed_monitor_leaves_no_thread_and_no_object_behind() -> None:
    threads = threading.active_count()
    monitor = Monitor("leaving", schema=SCHEMA, settings=Settings(system_seconds=5, drain_seconds=30))
    predict: Callable[[Any], Any] = monitor.watch(lambda row: 0.5)
    predict(GOOD)
    monitor.serve(port=0)
    monitor.collect()
    assert threading.active_count() > threads
    monitor.close()
    assert threading.active_count() == threads
    gone: list[weakref.ref[Any]] = [weakref.ref(one) for one in (monitor, monitor._worker, monitor._store)]
    del monitor, predict
    gc.collect()
    assert [one() for one in gone] == [None] * 3


def test_an_unused_monitor_leaves_nothing_behind() -> None:
    gone = weakref.ref(Monitor("unused", schema=SCHEMA, settings=SETTINGS))
    gc.collect()
    assert gone() is None
