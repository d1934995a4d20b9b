"""Calls that are observed by hand, or read on the worker: counted as watched ones are."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.settings import Settings
from tests.readings import counted, readings

SCHEMA = Schema((Feature("a"), Feature("b", kind="categorical")))
QUIET = Settings(system_seconds=0, drain_seconds=30)


def test_observe_counts_like_a_watched_call() -> None:
    pages = []
    for way in ("watch", "observe"):
        with Monitor("m", schema=SCHEMA, task="regression", settings=QUIET) as monitor:
            for row in ({"a": 1.0, "b": "x"}, {"a": "bad", "b": None}, [{"a": 2.0}, {"a": 3.0, "b": "y", "c": 0}]):
                result = [0.5] * len(row) if isinstance(row, list) else 0.5
                if way == "watch":
                    monitor.watch(lambda _, result=result: result)(row)
                else:
                    monitor.observe(row, result)
            assert monitor.flush()
            snapshot = monitor.snapshot()
            pages.append((snapshot.calls, snapshot.rows, snapshot.violations, snapshot.errors, repr(snapshot.features)))
    assert pages[0] == pages[1]
    assert pages[0][1] == 4


def test_a_cancelled_call_is_no_error_whoever_tells_of_it() -> None:
    """A client that leaves must not raise the error share, decorated or not."""
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe({"a": 1.0}, error=asyncio.CancelledError())
        monitor.observe({"a": 1.0}, error=KeyError("a"))
        assert counted(monitor) == (0, 1, 1)
        assert readings(monitor, catalog.CALL_ERRORS) == {("KeyError",): 1}


class Panicking:
    """Raises what is no ``Exception`` when it is copied, as a panic of polars is none."""

    class Panic(BaseException):
        pass

    @property
    def shape(self) -> Any:
        raise self.Panic

    __array__ = shape


@pytest.mark.parametrize(("features", "prediction"), [(Panicking(), 0.5), ({"a": 1.0}, Panicking())], ids=["rows", "prediction"])
def test_a_panic_while_copying_does_not_reach_whoever_observes(features: Any, prediction: Any) -> None:
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe(features, prediction)
        assert counted(monitor) == (1, 0, 0)
        assert monitor.snapshot().errors["extractor"] == 1


@pytest.mark.parametrize("call", ["observed", "watched"])
def test_a_panic_while_telling_rows_from_vectors_costs_the_rows_and_not_the_call(call: str) -> None:
    """Columns of what may be vectors are looked into before they are queued."""
    with Monitor("m", schema=Schema((Feature("e", kind="vector", width=3),)), settings=QUIET) as monitor:
        if call == "observed":
            monitor.observe({"e": [Panicking()]}, 0.5)
        else:
            monitor.watch(lambda rows: 0.5)({"e": [Panicking()]})
        assert counted(monitor) == (1, 0, 0)
        assert monitor.snapshot().errors["extractor"] == 1


@pytest.mark.parametrize("duration", [None, "soon", object()])
def test_observe_never_raises(duration: Any) -> None:
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe({"a": 1.0}, threading.Lock(), duration=duration)
        monitor.observe(object(), 0.5)
        assert counted(monitor) == (2, 0, 0)


def test_a_lazy_reader_runs_on_the_worker() -> None:
    with Monitor("m", schema=SCHEMA, task="regression", settings=QUIET) as monitor:
        threads: list[str] = []

        def read() -> Any:
            threads.append(threading.current_thread().name)
            return np.array([[1.0, 2.0]] * 3000), np.zeros(3000)

        monitor.observe_lazy(read, weight=10)
        monitor.observe_lazy(lambda: None, weight=1)
        assert counted(monitor) == (1, 0, 0)
        assert (threads, monitor.snapshot().rows) == (["mlmon-m"], 3000)
        assert monitor.snapshot().features["a"].minimum == 1
