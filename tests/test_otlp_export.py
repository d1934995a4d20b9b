"""Exporting as a user sees it: a monitor, the environment, and a real receiver."""

import io
import math
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import pytest
import requests
import wrapt
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource

from otel_mlmon import Monitor
from otel_mlmon.catalog import CALLS, EXPORT_POINTS_REJECTED, EXPORT_TIME, EXPORTS, FEATURE_VALUE, LAST_CALL_TIME
from otel_mlmon.exposition.otlp import Export, start_export
from otel_mlmon.exposition.otlp.readings import Readings
from otel_mlmon.exposition.otlp.receivers import ExporterReceiver
from otel_mlmon.settings import Settings
from otel_mlmon.store import SeriesStore
from tests.collectors import HttpCollector, grpc_collector, metrics, partial, points
from tests.concurrency import in_child, no_new_threads
from tests.readings import reading

SETTINGS = Settings(system_seconds=0, drain_seconds=30)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpCollector]:
    with HttpCollector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", version="1", settings=SETTINGS) as one:
        yield one


def count(requests: Sequence[Any]) -> float:
    """Calls that succeeded, as the last of some cumulative requests says."""
    return next(
        float(point.as_double)
        for name, labels, point in reversed(list(points(requests)))
        if name == CALLS.name and ("status", "ok") in labels
    )


def test_a_monitor_exports_what_it_counts(collector: HttpCollector, monitor: Monitor) -> None:
    export = monitor.export_otlp()
    monitor.watch(lambda row: 0.5)({"a": 1.0})
    assert monitor.flush()
    assert export.flush()
    assert count(collector.requests) == 1
    assert reading(monitor, EXPORTS, "ok") == 1
    assert reading(monitor, EXPORTS, "failed") == 0
    assert reading(monitor, EXPORT_TIME) > 0


def test_it_exports_by_itself(collector: HttpCollector, monitor: Monitor) -> None:
    monitor.export_otlp(interval=0.01)
    collector.wait(3)


def test_no_connection_is_kept_between_exports(collector: HttpCollector, monitor: Monitor) -> None:
    """A receiver closes idle ones, and might do so just when we send again."""
    export = monitor.export_otlp()
    assert export.flush()
    assert export.flush()
    assert len(collector.connections) == 2


def test_the_interval_is_the_environments(collector: HttpCollector, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
    monitor.export_otlp()
    collector.wait(3)


def test_closing_exports_a_last_time(collector: HttpCollector) -> None:
    """What was queued, too; and no thread is left."""
    with Monitor("m", settings=SETTINGS) as monitor:
        export = monitor.export_otlp()
        monitor.watch(lambda row: 0.5)({"a": 1.0})
    export.close()
    assert count(collector.requests) == 1
    assert not export.flush()
    assert "otel_mlmon-otlp" not in {thread.name for thread in threading.enumerate()}


def test_closing_ends_all_exports_at_a_time(monitor: Monitor) -> None:
    """Else several receivers that do not answer would each take all of the time, one after another."""
    meeting = threading.Barrier(2)

    class Meeting(ConsoleMetricExporter):
        def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
            meeting.wait(5)
            return MetricExportResult.SUCCESS

    for _ in range(2):
        monitor.export_otlp(Meeting())
    monitor.close(20)
    assert not meeting.broken
    assert reading(monitor, EXPORTS, "ok") == 2


SCRIPT = """
from otel_mlmon import Monitor
monitor = Monitor("m", version="1")
export = monitor.export_otlp()
monitor.watch(lambda row: 0.5)({"a": 1.0})
"""


def test_the_end_of_the_interpreter_exports_a_last_time(collector: HttpCollector) -> None:
    """What was queued, too, though nothing was closed."""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr
    assert count(collector.requests) == 1


@pytest.mark.parametrize(("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_METRICS_EXPORTER", "none")])
def test_the_environment_can_turn_it_off(
    collector: HttpCollector, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    before = threading.active_count()
    export = monitor.export_otlp(interval=0.01)
    assert threading.active_count() <= before + 1  # the monitor's own
    assert export.flush()
    export.close()
    assert collector.paths == []


def test_a_disabled_sdk_gives_nothing_to_a_given_exporter_either(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    out = io.StringIO()
    monitor.export_otlp(ConsoleMetricExporter(out)).flush()
    assert out.getvalue() == ""


def test_the_environment_may_name_several(collector: HttpCollector, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for Prometheus, standard output and OTLP at once, until it is closed."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus,console,otlp")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    with HttpCollector() as free:
        pass
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(free.port))
    out = io.StringIO()
    monkeypatch.setattr(
        ConsoleMetricExporter.__init__, "__defaults__", (out, *(ConsoleMetricExporter.__init__.__defaults__ or ())[1:])
    )
    export = monitor.export_otlp()
    assert export.flush()
    assert CALLS.name in out.getvalue()
    assert count(collector.requests) == 0
    page = f"http://127.0.0.1:{free.port}/metrics"
    assert "mlmon_calls_total" in requests.get(page, timeout=10).text
    export.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(page, timeout=10)


class TestGrpc:
    """The SDK's exporter, on a real gRPC server."""

    def test_it_reads_the_environment(self, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
        with grpc_collector() as (collector, url):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            collector.codes.append(grpc.StatusCode.INVALID_ARGUMENT)
            export = monitor.export_otlp()
            monitor.watch(lambda row: 0.5)({"a": 1.0})
            assert monitor.flush()
            assert not export.flush()
            assert export.flush()
            export.close()
        assert collector.metadata[0]["api-key"] == "secret"
        assert sum(point.as_double for name, _, point in points(collector.requests) if name == CALLS.name) == 1
        (sums,) = {metric.sum.aggregation_temporality for metric in metrics(collector.requests) if metric.HasField("sum")}
        assert sums == 1  # delta


class Exporter(MetricExporter):
    """An application's exporter, which keeps what it gets, and fails when told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.got: list[MetricsData] = []
        self.results: list[MetricExportResult | Exception] = []
        self.shut = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        assert 0 < timeout_millis <= 30_000
        result = self.results.pop(0) if self.results else MetricExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        if result is MetricExportResult.SUCCESS:
            self.got.append(metrics_data)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.shut += 1

    def numbers(self, position: int = -1) -> dict[str, list[float]]:
        """Values, or counts, of one request by metric."""
        (resource,) = self.got[position].resource_metrics
        return {
            metric.name: [float(getattr(point, "value", 0) + getattr(point, "count", 0)) for point in metric.data.data_points]
            for metric in resource.scope_metrics[0].metrics
        }


def test_a_failed_request_is_sent_with_the_next_export() -> None:
    """Of two requests the second fails: only its series are told again, with what came meanwhile."""
    store = SeriesStore()
    start = store.allocate(FEATURE_VALUE, [("m", "1", str(number)) for number in range(4_001)], bounds=(1.0,))
    last = start + 3 * 4_000
    exporter = Exporter(preferred_temporality={Histogram: AggregationTemporality.DELTA})
    export = start_export([store.snapshot], exporter=exporter)
    ones = store.snapshot().values * 0 + 1.0
    exporter.results = [MetricExportResult.SUCCESS, MetricExportResult.FAILURE]
    store.add([(start, ones)])
    assert not export.flush()
    store.add([(last, ones[:3])])
    assert export.flush()
    export.close()
    assert exporter.numbers(0)[FEATURE_VALUE.name] == [2] * 4_000
    assert exporter.numbers(1)[FEATURE_VALUE.name] == [0] * 4_000
    assert exporter.numbers(2)[FEATURE_VALUE.name] == [4]
    assert exporter.shut == 1


def test_the_exporter_says_which_temporality_it_wants(monitor: Monitor) -> None:
    exporter = Exporter(preferred_temporality={Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.CUMULATIVE})
    export = monitor.export_otlp(exporter)
    monitor.watch(lambda row: 0.5)({"a": 1.0})
    assert monitor.flush()
    assert export.flush()
    assert sum(exporter.numbers()["mlmon.calls"]) == sum(exporter.numbers()["mlmon.call.duration"]) == 1
    assert export.flush()
    assert (sum(exporter.numbers()["mlmon.calls"]), sum(exporter.numbers()["mlmon.call.duration"])) == (0, 1)


def test_a_child_has_an_exporter_of_its_own_where_the_environment_names_it() -> None:
    """The parent's is kept: a child that drops a gRPC channel would close it."""
    made: list[Exporter] = []
    parents: list[weakref.ref[Exporter]] = []

    def make() -> MetricExporter:
        made.append(Exporter())
        parents.append(weakref.ref(made[-1]))
        return made[-1]

    receiver, interval = ExporterReceiver(make, "grpc"), Readings([SeriesStore().snapshot]).read()
    for _ in range(2):
        list(receiver.send(interval, Resource({}), math.inf, lambda seconds: False))
        receiver.reset()
        made.clear()
    assert len(parents) == 2
    assert parents[1]() is not None


def test_an_exporter_that_raises_is_counted_and_named_once(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    exporter.results = [OSError("a row"), OSError("a row")]
    export = monitor.export_otlp(exporter)
    assert [export.flush(), export.flush(), export.flush()] == [False, False, True]
    assert (reading(monitor, EXPORTS, "failed"), reading(monitor, EXPORTS, "ok")) == (2, 1)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == ["OTLP export, Exporter: OSError"]


def test_a_source_that_raises_costs_its_export(caplog: pytest.LogCaptureFixture) -> None:
    store, broken = SeriesStore(), [True, False]
    store.set(store.allocate(LAST_CALL_TIME, [("m", "1")]), 1.0)

    def source() -> Any:
        if broken.pop(0):
            raise OSError("disk full")
        return store.snapshot()

    told: list[bool] = []
    exporter = Exporter()
    export = start_export([source], exporter=exporter, reported=lambda *, ok, rejected=0.0, seconds=0.0: told.append(ok))
    assert [export.flush(), export.flush()] == [False, True]
    broken.append(False)
    export.close()
    assert told == [False, True, True]


def test_points_that_were_not_taken_are_counted(collector: HttpCollector, monitor: Monitor) -> None:
    collector.answers.append(partial(3, "too old"))
    assert monitor.export_otlp().flush()
    assert reading(monitor, EXPORT_POINTS_REJECTED) == 3


def test_our_requests_are_not_traced(collector: HttpCollector, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instrumented as OpenTelemetry's instrumentations of HTTP clients do it, which ask this very function."""
    traced: list[str] = []

    def request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if is_http_instrumentation_enabled():
            traced.append(args[1])
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(HTTPConnection, "request", wrapt.FunctionWrapper(HTTPConnection.request, request))
    export = monitor.export_otlp()
    assert export.flush()
    with closing(HTTPConnection("127.0.0.1", collector.port)) as other:
        other.request("GET", "/ours/not")
    assert traced == ["/ours/not"]
    in_child(lambda: flush_here(export))


def flush_here(export: Export) -> None:
    """Without a thread of its own: the caller's context is the caller's again afterwards."""
    with no_new_threads():
        assert export.flush()
    assert is_http_instrumentation_enabled()
