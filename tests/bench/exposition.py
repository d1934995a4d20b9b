"""Cost of showing the numbers: a scrape, an export over OTLP, and what a model notices of exports."""

import gc
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from unittest import mock

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from otel_mlmon.catalog import FEATURE_BIN, FEATURE_VALUE, REFERENCE_BIN_WEIGHT
from otel_mlmon.exposition.otlp import start_export
from otel_mlmon.exposition.otlp.encoder import Encoder
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.otlp.points import metrics_data
from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.store import SeriesStore
from tests.bench.timing import processor_seconds

BOUNDS = tuple(np.linspace(-2.0, 2.0, 10).tolist())
HISTOGRAMS = 20_000
CALL_SECONDS, PERIOD = 0.0011, 0.002
EXPORT_SECONDS = 0.5
BLOCK_SECONDS, ROUNDS = 1.0, 16

_SINK = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 65536)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def run() -> None:
    """Print the three tables."""
    _scrapes()
    with _sink() as endpoint, mock.patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint}):
        _exports()
        _tail()


def _scrapes() -> None:
    store = SeriesStore()
    rng = np.random.default_rng(5)
    bins = [
        ("bench", "1", f"feature_{number}", f"{place:02} [{place}, {place + 1})") for number in range(500) for place in range(10)
    ]
    store.put(store.allocate(FEATURE_BIN, bins), rng.integers(0, 10**6, 5_000).astype(float))
    store.put(store.allocate(REFERENCE_BIN_WEIGHT, bins[:2_400]), rng.random(2_400))
    _put_histograms(store, 200)
    collector = Collector(store.snapshot)
    same = CollectorRegistry()
    same.register(_Given(list(collector.collect())))
    page: Callable[[CollectorRegistry], bytes] = generate_openmetrics  # prometheus_client leaves it untyped
    spent = processor_seconds(
        {
            "otel_mlmon, text": lambda: len(collector.render()) and 1,
            "otel_mlmon, OpenMetrics": lambda: len(collector.render(openmetrics=True)) and 1,
            "prometheus_client, text": lambda: len(generate_latest(same)) and 1,
            "prometheus_client, OpenMetrics": lambda: len(page(same)) and 1,
        }
    )
    print(f"a page of {store.samples:,} samples, milliseconds of processor time (median)")
    _table(spent, "otel_mlmon, OpenMetrics")
    print("  asked of prometheus_client, OpenMetrics: at least 15 x")


class _Given:
    """Metrics made before, so that only their writing is timed."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _put_histograms(store: SeriesStore, number: int) -> None:
    rng = np.random.default_rng(6)
    start = store.allocate(FEATURE_VALUE, [("bench", "1", f"feature_{each}") for each in range(number)], bounds=BOUNDS)
    store.put(start, rng.integers(0, 10**4, number * (len(BOUNDS) + 2)).astype(float))


def _table(spent: dict[str, float], ours: str) -> None:
    for name, seconds in spent.items():
        print(f"  {name:<50} {seconds * 1e3:8.1f}   {seconds / spent[ours]:6.1f} x")


@contextmanager
def _sink() -> Iterator[str]:
    """A receiver in a process of its own that takes everything."""
    with subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/metrics"
        finally:
            process.terminate()


@contextmanager
def _exporters() -> Iterator[tuple[dict[str, Callable[[], int]], Interval]]:
    """Our export and the SDK's of the same points, each ready to be done, and these points."""
    store = SeriesStore()
    _put_histograms(store, HISTOGRAMS)
    snapshot = store.snapshot()
    interval = Interval(snapshot.series, snapshot.values, np.full(HISTOGRAMS, time.time_ns()), time.time_ns())
    data = list(metrics_data(interval, _RESOURCE, _SCOPE))
    theirs = OTLPMetricExporter()
    ours = start_export([store.snapshot], interval=3_600, resource=_RESOURCE)

    def export_ours() -> int:
        if not ours.flush(60):
            raise RuntimeError("the export failed")
        return 1

    def export_theirs() -> int:
        if any(theirs.export(each) is not MetricExportResult.SUCCESS for each in data):
            raise RuntimeError("the export failed")
        return 1

    try:
        yield {"otel_mlmon, export": export_ours, "OpenTelemetry SDK, encoder and exporter": export_theirs}, interval
    finally:
        ours.close()
        theirs.shutdown()


_RESOURCE = Resource.create({"service.name": "bench"})
_SCOPE = InstrumentationScope("otel_mlmon", version("otel-mlmon"))


def _exports() -> None:
    with _exporters() as (exporters, interval):
        encoder = Encoder(_RESOURCE, _SCOPE)
        data = list(metrics_data(interval, _RESOURCE, _SCOPE))
        encoders = {
            "otel_mlmon, encoder alone": lambda: sum(map(len, encoder.requests(interval))) and 1,
            "OpenTelemetry SDK, encoder alone": lambda: sum(len(encode_metrics(each).SerializeToString()) for each in data) and 1,
        }
        spent = processor_seconds(exporters | encoders)
    print(
        f"{HISTOGRAMS:,} histogram points with {len(BOUNDS) + 1} buckets, over OTLP/HTTP, milliseconds of processor time (median)"
    )
    for ours in ("otel_mlmon, export", "otel_mlmon, encoder alone"):
        theirs = {"otel_mlmon, export": "OpenTelemetry SDK, encoder and exporter"}.get(ours, "OpenTelemetry SDK, encoder alone")
        _table({name: spent[name] for name in (ours, theirs)}, ours)
    print("  asked of the SDK's encoder and exporter: at least 8 x")


def _tail() -> None:
    """The slowest calls beside exports, in short blocks in turn, so that what else the machine does disturbs all alike."""
    call = _call()
    with _exporters() as (exporters, _):
        gc.collect()
        gc.freeze()  # the SDK's data, which it would have made anew, must not burden the collector in all blocks
        kinds = {"idle": None, **exporters}
        taken: dict[str, list[list[float]]] = {name: [] for name in kinds}
        for number in range(ROUNDS):
            for name, export in list(kinds.items())[:: 1 if number % 2 else -1]:
                if export is None:
                    taken[name].append(_block(call))
                    continue
                with _repeated(export):
                    taken[name].append(_block(call))
        gc.unfreeze()
    calls = round(BLOCK_SECONDS / PERIOD)
    print(f"a call of {CALL_SECONDS * 1e3} ms, half of it pure Python and half of it numpy, {1 / PERIOD:.0f} times a second;")
    print(f"the same points exported every {EXPORT_SECONDS} s; percentiles of {calls} calls, medians of {ROUNDS} rounds")
    found = {name: np.array([np.quantile(times, [0.5, 0.99]) for times in blocks]) for name, blocks in taken.items()}
    for name, each in found.items():
        p50, p99 = np.median(each, axis=0) * 1e3
        ratio = np.median(each[:, 1] / found["idle"][:, 1])
        print(f"  {name:<40} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms   {ratio:6.2f} x")
    print("  asked of ours: at most 1.3 x")


def _call() -> Callable[[], None]:
    values, space = np.random.default_rng(1).normal(size=4_096), np.empty(4_096)

    def vectorised() -> None:
        np.tanh(values, out=space)

    def interpreted() -> None:
        sum(number * number for number in range(200))

    halves = [(step, _steps(step, CALL_SECONDS / 2)) for step in (vectorised, interpreted)]

    def call() -> None:
        for step, times in halves:
            for _ in range(times):
                step()

    return call


def _steps(step: Callable[[], None], seconds: float) -> int:
    """How many steps take about this long."""
    times = []
    for _ in range(300):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return max(1, round(seconds / statistics.median(times)))


def _block(call: Callable[[], None]) -> list[float]:
    """How long each call of one block took, seconds."""
    taken: list[float] = []
    began = time.perf_counter()
    for number in range(round(BLOCK_SECONDS / PERIOD)):
        wait = began + number * PERIOD - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


@contextmanager
def _repeated(work: Callable[[], int]) -> Iterator[None]:
    """Something done again and again on another thread."""
    done = threading.Event()

    def repeat() -> None:
        while not done.is_set():
            began = time.perf_counter()
            work()
            done.wait(max(0.0, EXPORT_SECONDS - (time.perf_counter() - began)))

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
