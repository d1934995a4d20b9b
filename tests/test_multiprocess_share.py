"""How a monitor takes part in a folder: what it asks of the folder, and what two monitors of one process make of it."""

import os
import stat
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.settings import Settings
from tests.concurrency import in_threads
from tests.sharing import page

SETTINGS = Settings(system_seconds=0, drain_seconds=30)


def monitor(name: str = "m", version: str = "1") -> Monitor:
    """A monitor that reads the environment now."""
    return Monitor(name, version=version, schema=Schema((Feature("x"),)), settings=SETTINGS)


def call(one: Monitor, times: int = 1) -> None:
    """Make calls, and wait until they are counted."""
    for _ in range(times):
        one.observe({"x": 1.0}, 0.5)
    assert one.flush(20)


def calls(collector: Collector) -> dict[str, float]:
    """Successful calls on a page, by version."""
    families = text_string_to_metric_families(collector.render().decode())
    totals = [one for family in families for one in family.samples if one.name == "mlmon_calls_total"]
    return {one.labels["model_version"]: one.value for one in totals if one.labels["status"] == "ok"}


@pytest.mark.parametrize("variable", ["OTEL_MLMON_MULTIPROC_DIR", "PROMETHEUS_MULTIPROC_DIR"])
def test_either_variable_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """It is created where it is missing; prometheus_client, which may use the same one, finds nothing of ours in it."""
    monkeypatch.setenv(variable, str(tmp_path / "new" / "shared"))
    with monitor() as one:
        call(one)
        assert len(list((tmp_path / "new" / "shared").rglob("*.keys"))) == 1
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(tmp_path / "new" / "shared"))  # type: ignore[no-untyped-call]  # it has no types
        assert generate_latest(registry) == b""
        assert not list(tmp_path.rglob("*.db"))


def test_a_directory_that_cannot_be_used_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up is loud: the message names directory and variables."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"OTEL_MLMON_MULTIPROC_DIR.*/file"):
        monitor()


def test_the_folder_is_for_those_whose_directory_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that loads the application as root works as another user."""
    tmp_path.chmod(0o770)
    if os.geteuid() == 0:
        os.chown(tmp_path, 12, 34)
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path))
    with monitor():
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o770
        assert (folder.stat().st_uid, folder.stat().st_gid) == (tmp_path.stat().st_uid, tmp_path.stat().st_gid)


def test_names_that_look_alike_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a folder of its own, whatever characters it is made of."""
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path))
    with monitor("a/b") as first, monitor("a.b") as second, monitor("../é" * 100) as third:
        for times, one in enumerate((first, second, third), 1):
            call(one, times)
        for times, one in enumerate((first, second, third), 1):
            assert page(one.collect())["mlmon.calls", (one.name, "1", "ok")] == [times]
    assert len(list(tmp_path.iterdir())) == 3


def test_two_versions_in_one_process_are_one_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either shows both, and as the same object, so that a page of both reads it once; also after one has new series."""
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path))
    with monitor(version="1") as first, monitor(version="2") as second:
        call(first, 2)
        call(second, 3)
        assert calls(first.collector()) == calls(second.collector()) == {"1": 2.0, "2": 3.0}
        second.observe({"x": 1.0}, error=ValueError())
        assert second.flush(20)
        assert first.collect().series is second.collect().series
        assert first._outlets._shared is not None
        assert second._outlets._shared is not None
        assert first._outlets._shared.instance == second._outlets._shared.instance
        assert first._outlets._shared.leads()
        assert not second._outlets._shared.leads()
    assert calls(first.collector()) == {"1": 2.0, "2": 3.0}


def test_scrapes_by_many_threads_while_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None shows less than the one before it in its thread, and all end."""
    monkeypatch.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path))
    with monitor() as one:

        def scrape(number: int) -> None:
            last = 0.0
            for _ in range(20):
                if number == 0:
                    call(one)
                shown = page(one.collect())["mlmon.calls", ("m", "1", "ok")][0]
                assert shown >= last
                last = shown

        in_threads(10, scrape)
        assert page(one.collect())["mlmon.calls", ("m", "1", "ok")] == [20.0]
