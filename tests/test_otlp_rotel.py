"""A receiver that others wrote: rotel takes what we send over HTTP and gRPC, reads it, and passes it on to the test's collector."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import rotel  # type: ignore[import-untyped]  # it ships no types

from otel_mlmon import Monitor
from otel_mlmon.catalog import CALL_DURATION, LAST_CALL_TIME
from otel_mlmon.settings import Settings
from tests.collectors import HttpCollector, points
from tests.readings import reading

SETTINGS = Settings(system_seconds=0, drain_seconds=30)
AGENT = Path(rotel.__file__).parent / "rotel-agent"


@pytest.fixture(scope="module")
def passed_on() -> Iterator[tuple[HttpCollector, dict[str, str]]]:
    """What rotel passes on, and where it listens by protocol."""
    with ExitStack() as stack:
        collector = stack.enter_context(HttpCollector())
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        over_grpc, over_http = (f"127.0.0.1:{one.getsockname()[1]}" for one in found)
        for one in found:
            one.close()
        command = [str(AGENT), "start", "--otlp-grpc-endpoint", over_grpc, "--otlp-http-endpoint", over_http, "--exporter", "otlp"]
        command += ["--otlp-exporter-endpoint", collector.url, "--otlp-exporter-protocol", "http", "--batch-timeout", "10ms"]
        agent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield collector, {"grpc": f"http://{over_grpc}", "http/protobuf": f"http://{over_http}"}
        agent.kill()
        agent.wait(20)


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_rotel_reads_what_we_send(
    passed_on: tuple[HttpCollector, dict[str, str]], monkeypatch: pytest.MonkeyPatch, protocol: str, compression: str
) -> None:
    collector, urls = passed_on
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", urls[protocol])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    name = f"{protocol} {compression}"
    with Monitor(name, version="1", settings=SETTINGS) as monitor:
        export = monitor.export_otlp()
        monitor.watch(lambda row: 0.5)({"a": 1.0})
        assert monitor.flush()
        assert any(export.flush() for _ in range(20))  # rotel may still be starting
        collector.until(lambda: received(collector, name))
    found = received(collector, name)
    assert (found[CALL_DURATION.name].count, found[CALL_DURATION.name].sum > 0) == (1, True)
    assert found[LAST_CALL_TIME.name].as_double == reading(monitor, LAST_CALL_TIME)


def received(collector: HttpCollector, model: str) -> dict[str, Any]:
    """The points of one model by family, of those with one series."""
    return {family: point for family, labels, point in points(collector.requests) if ("model.name", model) in labels}
