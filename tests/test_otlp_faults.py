"""Exports when things go wrong: calls go on, nothing is said twice, and what failed is counted."""

import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest

from otel_mlmon import Monitor
from otel_mlmon.catalog import CALLS, EXPORTS
from otel_mlmon.exposition.otlp import Export
from otel_mlmon.settings import Settings
from tests.collectors import Answer, HttpCollector, attributes, points
from tests.concurrency import ended, fork, in_child, no_new_threads
from tests.readings import reading
from tests.test_server import certificate

SETTINGS = Settings(system_seconds=0, drain_seconds=30)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")  # shorter than the least wait before a second try


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpCollector]:
    with HttpCollector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", version="1", settings=SETTINGS) as one:
        yield one


def predict(monitor: Monitor, calls: int = 1) -> None:
    """Calls that end and are counted, whatever an export does meanwhile."""
    watched: Callable[[object], float] = monitor.watch(lambda row: 0.5)
    for _ in range(calls):
        assert watched({"a": 1.0}) == 0.5
    assert monitor.flush()


def calls(collector: HttpCollector) -> list[float]:
    """Calls that succeeded, as each request says."""
    return [
        point.as_double
        for name, labels, point in points(collector.requests)
        if name == CALLS.name and ("status", "ok") in labels and ("model.name", "m") in labels
    ]


def exports(monitor: Monitor) -> tuple[float, float]:
    return reading(monitor, EXPORTS, "ok"), reading(monitor, EXPORTS, "failed")


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_receiver_may_come_late_and_go_and_come_back(monitor: Monitor, monkeypatch: pytest.MonkeyPatch, temporality: str) -> None:
    with HttpCollector() as gone:
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)
    export = monitor.export_otlp()
    predict(monitor)
    assert not export.flush()
    with HttpCollector(gone.port) as first:
        predict(monitor)
        assert export.flush()
    predict(monitor)
    assert not export.flush()
    with HttpCollector(gone.port) as second:
        predict(monitor)
        assert export.flush()
    assert (calls(first), calls(second)) == (([2], [4]) if temporality == "cumulative" else ([2], [2]))
    assert exports(monitor) == (2, 2)


def test_a_silent_receiver_costs_nothing_but_its_export(collector: HttpCollector, monitor: Monitor) -> None:
    collector.answers.append(Answer(silent=True))
    export = monitor.export_otlp()
    flushing = threading.Thread(target=export.flush)
    flushing.start()
    collector.wait(1)
    predict(monitor, 3)
    assert "mlmon.calls" in {one.family.name for one in monitor.collect().series}
    flushing.join(20)
    assert export.flush()
    assert calls(collector) == [3]
    assert exports(monitor) == (1, 1)


@pytest.mark.parametrize("answer", [Answer(400), Answer(401), Answer(500, {"Retry-After": "1"}), Answer(503)])
def test_a_receiver_that_refuses_is_counted_and_named_once(
    collector: HttpCollector, monitor: Monitor, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    collector.answers.extend([answer] * 2)
    export = monitor.export_otlp()
    assert [export.flush(), export.flush(), export.flush()] == [False, False, True]
    assert exports(monitor) == (1, 2)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING" and "OTLP" in record.getMessage()]
    assert len(warnings) == 1
    assert f"OTLP export, http: status {answer.status}" in warnings[0]


def test_deltas_add_up_over_exports_that_fail(collector: HttpCollector, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    collector.answers.extend([Answer(), Answer(400), Answer(400), Answer(), Answer(413), Answer()])
    export = monitor.export_otlp()
    flushed = []
    for more in (1, 2, 3, 4, 5, 6):
        predict(monitor, more)
        flushed.append(export.flush())
    assert flushed == [True, False, False, True, False, True]
    assert calls(collector) == [1, 2 + 3 + 4, 5 + 6]
    times = [
        (point.start_time_unix_nano, point.time_unix_nano)
        for name, labels, point in points(collector.requests)
        if name == CALLS.name and ("status", "ok") in labels
    ]
    assert times[1][0] == times[0][1]
    assert times[2][0] == times[1][1]


def test_closing_does_not_wait_for_the_next_try(collector: HttpCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver asked to wait for an hour and a half, and there would be time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "9000")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_TIMEOUT", "9000000")
    collector.answers.append(Answer(503, {"Retry-After": "5400"}))
    with Monitor("m", settings=SETTINGS) as monitor:
        export = monitor.export_otlp(interval=0.01)
        collector.wait(1)
        export.close(timeout=20)
        assert "otel_mlmon-otlp" not in {thread.name for thread in threading.enumerate()}


def test_an_exporter_that_hangs_does_not_hang_who_closes(collector: HttpCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
    collector.answers.append(Answer(silent=True))
    with Monitor("m", settings=SETTINGS) as monitor:
        export = monitor.export_otlp()
        assert not export.flush(timeout=0.05)
        export.close(timeout=0.05)
        predict(monitor)


def test_without_a_thread_who_asks_exports_himself(collector: HttpCollector, monitor: Monitor) -> None:
    """As at the end of the interpreter, when no thread begins any more; here in a child, which has none yet."""
    export = monitor.export_otlp()

    def work() -> None:
        with no_new_threads():
            predict(monitor)
            assert export.flush()
            predict(monitor)
            monitor.close()

    in_child(work)
    assert calls(collector) == [1, 2]


def test_a_closed_export_says_no_more(collector: HttpCollector, monitor: Monitor) -> None:
    export = monitor.export_otlp()
    export.close()
    export.close()
    export.start()
    assert not export.flush()
    assert len(collector.paths) == 1


def count_in_child(monitor: Monitor, export: Export) -> None:
    """A child's thread begins with its first drain, or with ``flush``."""
    predict(monitor, 3)
    assert export.flush()


def test_a_forked_child_exports_its_own_counts(collector: HttpCollector, monitor: Monitor) -> None:
    """As another instance; the parent goes on."""
    export = monitor.export_otlp()
    predict(monitor)
    assert export.flush()
    in_child(lambda: count_in_child(monitor, export))
    predict(monitor)
    assert export.flush()
    assert calls(collector) == [1, 3, 2]
    first, child, second = (attributes(request)["service.instance.id"] for request in collector.requests)
    assert first == second != child


def test_a_child_exports_by_itself_once_it_works(collector: HttpCollector) -> None:
    """Nobody calls flush there: the worker's ticks begin it."""
    with Monitor("m", version="1", settings=Settings(system_seconds=0, drain_seconds=0.01)) as monitor:
        export = monitor.export_otlp(interval=0.01)

        def work() -> None:
            predict(monitor)
            signal.pause()

        child = fork(work)
        export.close()
        collector.until(lambda: 1 in calls(collector))
        os.kill(child, signal.SIGKILL)
        ended(child)


def test_a_fork_during_an_export_leaves_a_child_that_works(
    collector: HttpCollector, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
    collector.answers.append(Answer(silent=True))
    export = monitor.export_otlp()
    predict(monitor)
    flushing = threading.Thread(target=export.flush)
    flushing.start()
    collector.wait(1)
    in_child(lambda: count_in_child(monitor, export))
    assert calls(collector) == [3]
    collector.close()
    export.close(timeout=20)
    flushing.join(20)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate made for the test, which is its own authority."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("variables", "delivered"),
    [
        ({"CERTIFICATE": "certificate", "CLIENT_CERTIFICATE": "certificate", "CLIENT_KEY": "key"}, True),
        ({"CLIENT_CERTIFICATE": "certificate", "CLIENT_KEY": "key"}, False),
        ({"CERTIFICATE": "certificate"}, False),
    ],
)
def test_both_sides_show_their_certificate(
    files: dict[str, Path], monitor: Monitor, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], delivered: bool
) -> None:
    """REQUESTS_CA_BUNDLE, which many images set, does not replace the authority that is asked for."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["key"])
    context.load_verify_locations(files["certificate"])
    context.verify_mode = ssl.CERT_REQUIRED
    if delivered:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10")
    for name, file in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(files[file]))
    with HttpCollector(context=context) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        export = monitor.export_otlp()
        assert export.flush() is delivered
        export.close()
    assert bool(collector.requests) is delivered


SERVED = """
import os, signal
from otel_mlmon import Monitor
from otel_mlmon.integrations.asgi import AsgiMiddleware
monitor = Monitor("m", version="1")
monitor.export_otlp()

async def application(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    monitor.observe({"a": 1.0}, 0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

app = AsgiMiddleware(application, monitor)
"""


def test_a_server_that_is_told_to_end_exports_its_last_calls(
    collector: HttpCollector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kubernetes ends it so; uvicorn then raises the signal again, and no exit handler runs."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10")
    (tmp_path / "served.py").write_text(SERVED, encoding="utf-8")
    command = [sys.executable, "-m", "uvicorn", "served:app", "--port", "0", "--app-dir", str(tmp_path), "--log-level", "critical"]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGTERM
    assert calls(collector) == [1.0]
