"""Processes that share a folder: one exports for all, and another takes over where it ends, without saying anything twice."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from otel_mlmon import Monitor
from otel_mlmon.catalog import FEATURE_VALUE
from otel_mlmon.exposition.multiprocess import share
from otel_mlmon.exposition.otlp import start_export
from otel_mlmon.settings import Settings
from otel_mlmon.store import SeriesStore
from tests.collectors import HttpCollector, attributes, points
from tests.concurrency import ended, fork
from tests.test_multiprocess_files import files_end_at
from tests.test_otlp_faults import calls, exports, predict

SETTINGS = Settings(system_seconds=0, drain_seconds=30)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HttpCollector]:
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path))
    with HttpCollector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_another_process_takes_over_where_the_leader_was_killed(
    collector: HttpCollector, monkeypatch: pytest.MonkeyPatch, temporality: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)
    with Monitor("m", version="1", settings=SETTINGS) as monitor:
        export = monitor.export_otlp()
        read, written = os.pipe()

        def lead() -> None:
            predict(monitor, 3)
            assert export.flush()
            os.write(written, b"delivered")
            signal.pause()

        child = fork(lead)
        os.close(written)
        assert os.read(read, 9) == b"delivered"
        predict(monitor, 2)
        assert not export.flush()  # the child leads
        os.kill(child, signal.SIGKILL)
        ended(child)
        assert export.flush()
    assert calls(collector) == ([3, 5, 5] if temporality == "cumulative" else [3, 2, 0])
    assert len({attributes(request)["service.instance.id"] for request in collector.requests}) == 1


def test_a_record_that_cannot_be_read_costs_one_export(
    collector: HttpCollector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    with Monitor("m", version="1", settings=SETTINGS) as monitor:
        export = monitor.export_otlp()
        (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
        (folder / "otlp-http.delivered").write_bytes(b"[[")
        predict(monitor)
        assert [export.flush(), export.flush()] == [False, True]
        assert exports(monitor) == (1, 1)
    assert calls(collector) == [1, 0]


def test_a_folder_that_refuses_the_record_costs_no_counts(
    collector: HttpCollector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both requests are delivered, and this process knows; only a successor would not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    store = SeriesStore()
    start = store.allocate(FEATURE_VALUE, [("m", "1", str(number)) for number in range(4_001)], bounds=(1.0,))
    store.add([(start, np.ones(3 * 4_001))])
    shared = share(tmp_path, "m", store.snapshot, failed=lambda place, error: None)
    told: list[bool] = []
    export = start_export([shared.collect], shared=shared, reported=lambda *, ok, rejected=0.0, seconds=0.0: told.append(ok))
    shared.collect()
    with files_end_at(1):
        assert [export.flush(), export.flush()] == [False, False]
    assert not list(shared.folder.glob("*.new"))
    export.close()
    shared.close()
    assert told == [False, False, True]
    counted = [sum(point.count for _, _, point in points([request])) for request in collector.requests]
    assert counted == [8_000, 2, 0, 0, 0, 0]
