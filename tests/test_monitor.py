"""The monitor as a whole: what it refuses at set-up, what its pages say, and that each page is one instant."""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otel_mlmon import Feature, Monitor, Reference, Schema, Threshold, aggregate, catalog, intake, pipeline, vitals, worker
from otel_mlmon import monitor as monitor_module
from otel_mlmon.settings import Settings
from otel_mlmon.snapshot import MonitorSnapshot
from tests.concurrency import between_lines, in_child, no_new_threads
from tests.readings import counted, reading, readings

SCHEMA = Schema((Feature("a"), Feature("b", kind="categorical")))
QUIET = Settings(system_seconds=0, drain_seconds=30)


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(1)
    return Reference.build(
        {"a": rng.normal(size=500), "b": rng.choice(["x", "y", "z"], size=500)}, task="binary", scores=rng.uniform(size=500)
    )


def lines_of(monitor: Monitor) -> int:
    """Samples on a page as prometheus_client writes and reads it."""
    registry = CollectorRegistry()
    registry.register(monitor.collector())
    return sum(len(family.samples) for family in text_string_to_metric_families(generate_latest(registry).decode()))


# ---------------------------------------------------------------- set-up


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"task": "clustering"}, "task must be one of"),
        ({"learn_rows": 0}, "learn_rows must be positive"),
        ({"learn_normal": "7d"}, r"monitor 'm': learn_normal must be one of \('14d', '28d'\) or None, got '7d'"),
        ({"schema": SCHEMA, "thresholds": [Threshold("psi", 0.2, feature="c")]}, "feature must be one of .*got 'c'"),
        ({"schema": SCHEMA, "thresholds": [Threshold("psi", 0.2), Threshold("psi", 0.3)]}, "one for each statistic"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Monitor(**{"name": "m", **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "regression"}, "was built for task 'binary'"),
        ({"schema": Schema((Feature("other"),))}, "schema must be the reference's"),
        ({"learn_rows": 10}, "learn_rows is for a monitor without a reference"),
    ],
)
def test_what_contradicts_the_reference_is_refused(reference: Reference, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Monitor("m", reference=reference, **arguments)


def test_a_reference_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Monitor("m", reference=tmp_path / "absent.json")


@pytest.mark.parametrize("name", ["queue_rows", "drain_seconds", "extremes_seconds", "max_error_types", "max_routes"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_setting_without_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"setting '{name}'"):
        Settings(**{name: value})  # type: ignore[arg-type]  # that is the point


def test_system_health_can_be_turned_off() -> None:
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        assert monitor.flush()
        assert not readings(monitor, catalog.PROCESS_CPU_TIME)
    with Monitor("m", schema=SCHEMA, settings=Settings(drain_seconds=30)) as monitor:
        assert monitor.flush()
        assert readings(monitor, catalog.PROCESS_MEMORY_USAGE)[()] > 1e6


@pytest.mark.parametrize("arguments", [{"value": -1.0}, {"value": math.nan}, {"statistic": "mood"}, {"severity": "mild"}])
def test_a_threshold_without_sense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Threshold(**{"statistic": "psi", "value": 0.2, **arguments})


# ---------------------------------------------------------------- what stands on the page


def test_the_page_says_what_the_model_is(reference: Reference) -> None:
    with Monitor("m", version="7", reference=reference, settings=QUIET) as monitor:
        ((labels, value),) = readings(monitor, catalog.MODEL_INFO).items()
        assert value == 1
        assert labels[0] == "binary"
        assert reference.digest in labels
        assert {one.labels[:2] for one in monitor.collect().series} == {("m", "7")}


def test_a_references_file_is_the_reference(reference: Reference, tmp_path: Path) -> None:
    reference.save(tmp_path / "reference.json")
    with Monitor("m", reference=str(tmp_path / "reference.json"), settings=QUIET) as monitor:
        assert monitor.reference is not None
        assert monitor.reference.digest == reference.digest
        assert (monitor.task, monitor.schema) == ("binary", reference.schema)


def test_every_bin_stands_at_0_from_the_start(reference: Reference) -> None:
    with Monitor("m", reference=reference, settings=QUIET) as monitor:
        bins = readings(monitor, catalog.FEATURE_BIN)
        expected = {(profile.feature, label) for profile in reference.profiles for label in profile.bins}
        assert set(bins) == expected
        assert set(bins.values()) == {0.0}


def test_the_reference_and_the_histograms_can_be_left_out(reference: Reference) -> None:
    families = {}
    for expose, histograms in [(True, True), (False, False)]:
        with Monitor("m", reference=reference, expose_reference=expose, feature_histograms=histograms, settings=QUIET) as monitor:
            families[expose] = {one.family for one in monitor.collect().series}
    gone = {family.name for family in families[True] - families[False]}
    assert "mlmon.feature.value" in gone
    assert {name for name in gone if not name.startswith("mlmon.reference.")} == {"mlmon.feature.value"}
    assert "mlmon.reference.bin.count" in gone


def test_thresholds_are_gauges() -> None:
    thresholds = [Threshold("psi", 0.3, "critical", "a"), Threshold("min_samples", 100)]
    with Monitor("m", schema=SCHEMA, thresholds=thresholds, settings=QUIET) as monitor:
        assert readings(monitor, catalog.THRESHOLD) == {("psi", "critical", "a"): 0.3, ("min_samples", "warning", ""): 100}


def test_the_start_time_is_when_the_counters_began() -> None:
    before = time.time()
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        after = time.time()
        starts = {reading(monitor, catalog.START_TIME) for _ in range(2)}
        monitor.observe({"a": 1.0})
        assert monitor.flush()
        assert starts == {reading(monitor, catalog.START_TIME)}
        assert before <= starts.pop() <= after


def test_series_is_the_number_of_samples_of_a_page(reference: Reference) -> None:
    """At first, after the first values of some gauges, and after the first label of its kind."""
    with Monitor("m", reference=reference, settings=Settings(drain_seconds=30)) as monitor:
        assert reading(monitor, catalog.SERIES) == lines_of(monitor)
        before = lines_of(monitor)
        monitor.observe({"a": 1.0, "b": "x"}, 0.5, error=KeyError("first of its kind"))
        monitor.request("GET").end(route="/", status=200)
        assert monitor.flush()
        assert reading(monitor, catalog.SERIES) == lines_of(monitor) > before


def test_rows_wait_visibly() -> None:
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        inside, release = threading.Event(), threading.Event()

        def slow() -> None:
            inside.set()
            assert release.wait(20)

        monitor.observe_lazy(slow, weight=1)
        assert not monitor.flush(timeout=0.01)
        assert inside.wait(20)
        monitor.observe([[1.0, "x"]] * 5)
        assert reading(monitor, catalog.QUEUE_ROWS) == 6
        release.set()
        assert monitor.flush(20)
        assert reading(monitor, catalog.QUEUE_ROWS) == 0


def test_the_workers_time_is_counted() -> None:
    """It is processor time, so it stays below the clock's."""
    began = time.perf_counter()
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe({"a": np.ones(200_000), "b": np.full(200_000, "x")})
        assert monitor.flush(20)
        assert 0 < reading(monitor, catalog.WORKER_TIME) <= time.perf_counter() - began


def test_losses_and_errors_stand_at_zero_before_the_first_one() -> None:
    """A rate does not see a counter's step from nothing to one."""
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        assert readings(monitor, catalog.ROWS_DROPPED) == {(reason,): 0 for reason in ("queue_full", "error", "learning")}
        places = ["extractor", "reader", "prediction", "rows", "worker", "learning"]
        places += ["export", "multiprocess", "system", "trace", "prediction_log"]
        assert readings(monitor, catalog.INTERNAL_ERRORS) == {(place,): 0 for place in places}


# ---------------------------------------------------------------- one page, one instant


def test_every_snapshot_is_one_instant(reference: Reference) -> None:
    """While rows stream in: calls, rows, bins, missing values and moments agree in each snapshot that a reader takes."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with Monitor("m", reference=reference, settings=Settings(system_seconds=0, drain_seconds=0.001)) as monitor:
            rng = np.random.default_rng(2)
            rows = [
                {"a": float(value) if value < 1 else None, "b": "xyzw"[number % 4]}
                for number, value in enumerate(rng.normal(size=50))
            ]
            enough = threading.Event()
            written = [0]

            def write() -> None:
                while not enough.is_set():
                    for row in rows:
                        monitor.observe(row, 0.5, duration=0.001)
                    written[0] += len(rows)
                    assert monitor.flush(20)

            writer = threading.Thread(target=write)
            writer.start()
            try:
                seen = {0.0}
                deadline = time.monotonic() + 20
                while len(seen) < 20 and time.monotonic() < deadline:
                    snapshot = monitor.snapshot()
                    seen.add(snapshot.rows)
                    a, b, score = (snapshot.features[name] for name in ("a", "b", "@score"))
                    assert snapshot.rows == snapshot.calls["ok"] == a.samples + a.missing == b.samples == score.samples
                    assert a.moments["n"] == a.samples
            finally:
                enough.set()
                writer.join(20)
            assert len(seen) == 20
            assert monitor.flush(20)
            snapshot = monitor.snapshot()
            assert snapshot.rows + snapshot.dropped["queue_full"] == written[0]
    finally:
        sys.setswitchinterval(usual)


def test_between_any_two_lines_the_store_shows_one_instant(reference: Reference) -> None:
    """The drain runs on this thread, and the store is read before each of its lines."""
    with Monitor("m", reference=reference, settings=QUIET) as monitor:
        seen = set()

        def read() -> None:
            snapshot = MonitorSnapshot.of(monitor._store.snapshot(), reference)
            a, score = snapshot.features["a"], snapshot.features["@score"]
            seen.add((snapshot.rows, snapshot.calls["ok"], a.samples + a.missing, a.moments["n"], score.samples))

        with no_new_threads():
            for value in (1.0, None, 3.0):
                monitor.observe({"a": value, "b": "x"}, 0.5)
            with between_lines([intake, monitor_module, pipeline, vitals, worker, aggregate], read):
                assert monitor.flush(20)
        assert seen == {(0, 0, 0, 0, 0), (3, 3, 3, 2, 3)}


def test_the_difference_of_two_snapshots_is_what_came_between() -> None:
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe({"a": 1.0, "b": "x"}, 0.5)
        assert monitor.flush()
        before = monitor.snapshot()
        monitor.observe({"a": None, "b": "x"}, 0.5)
        monitor.observe({"a": 1.0, "b": "x"}, error=KeyError())
        assert monitor.flush()
        between = monitor.snapshot() - before
        assert (between.calls, between.rows) == ({"ok": 1, "error": 1, "cancelled": 0}, 1)
        assert (between.features["a"].missing, between.features["b"].missing) == (1, 0)


# ---------------------------------------------------------------- learning


def test_rows_learned_from_are_counted_too() -> None:
    rng = np.random.default_rng(4)
    with Monitor("m", learn_rows=200, settings=QUIET) as monitor:
        for value in rng.normal(size=199):
            monitor.observe({"a": value}, 0.5)
        assert monitor.flush()
        assert not readings(monitor, catalog.FEATURE_BIN)
        assert monitor.snapshot().calls["ok"] == 199
        monitor.observe({"a": 0.0}, 0.5)
        assert monitor.flush()
        assert monitor.reference is not None
        assert monitor.reference.rows == 200
        assert monitor.snapshot().features["a"].samples == 200
        monitor.observe({"a": 0.0}, 0.5)
        assert monitor.flush()
        assert monitor.snapshot().features["a"].samples == 201
        assert reading(monitor, catalog.SERIES) == lines_of(monitor)


def test_rows_held_when_the_monitor_closes_are_counted_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "otel_mlmon"), Monitor("m", settings=QUIET) as monitor:
        monitor.observe({"a": 1.0}, 0.5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # neither schema nor reference: said once
    snapshot = monitor.snapshot()
    assert (snapshot.rows, snapshot.dropped["learning"]) == (1, 1)


@pytest.mark.parametrize(
    "rows", [object(), np.ones((2, 2, 2)), [[[1]]], {"a": object()}, {1: 2}, {"@a": 1.0}], ids=lambda one: str(type(one))
)
def test_rows_that_tell_nothing_are_given_up_once(rows: Any) -> None:
    """Calls go on being counted, nothing is held for ever."""
    with Monitor("m", learn_rows=3, settings=QUIET) as monitor:
        for _ in range(10):
            monitor.observe(rows, 0.5)
            assert monitor.flush()
        assert counted(monitor) == (10, 0, 0)
        assert monitor._pipeline.learner is None
        assert sum(monitor.snapshot().errors.values()) <= 1


def test_calls_without_rows_are_not_held_while_learning() -> None:
    with Monitor("m", learn_rows=100, settings=QUIET) as monitor:
        ping: Callable[[], float] = monitor.watch(lambda: 0.5)
        for _ in range(1000):
            ping()
            monitor.observe(np.empty((0, 3)), [])
        assert counted(monitor) == (2000, 0, 0)
        assert monitor._pipeline.learner is not None
        assert monitor._pipeline.learner._records == []


# ---------------------------------------------------------------- the end


def test_a_monitor_may_be_closed_twice_and_read_afterwards() -> None:
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe({"a": 1.0}, 0.5)
        monitor.close()
    assert (monitor.snapshot().rows, monitor.flush()) == (1, True)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_can_close_a_monitor_that_serves() -> None:
    """The server's thread is the parent's: a child that waited for its end would wait for ever."""
    with Monitor("m", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.serve(port=0)
        in_child(monitor.close)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before
