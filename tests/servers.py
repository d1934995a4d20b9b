"""Real servers for tests; the code is the demo's, and what only tests start is added here."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_mlmon.demo.stack import Server, Webhook, alertmanager, find_binary, prometheus, run, webhook

__all__ = [
    "SERIES",
    "Server",
    "Webhook",
    "alertmanager",
    "find_binary",
    "prometheus",
    "require",
    "victoriametrics",
    "vmagent",
    "vmalert",
    "webhook",
]

SERIES = (pytest.param("old", id="old"), pytest.param("new", id="new", marks=pytest.mark.optional))
"""For ``parametrize("series", SERIES)``: this machine's release, and a newer suite, which not every machine can read."""

_NAMING = "-opentelemetry.usePrometheusNaming"


def require(name: str, series: str = "old") -> Path:
    """The program, or a skip that says how to get it."""
    found = find_binary(name, "new" if series == "new" else "old")
    if found is None:
        pytest.skip(f"{name} ({series} series) is not at hand: .ci/servers.sh unpacks it where Debian's packages can be read")
    return found


@contextlib.contextmanager
def victoriametrics(folder: Path, *further: str) -> Iterator[Server]:
    """VictoriaMetrics as the README sets it up; OTLP at ``/opentelemetry/v1/metrics``, Prometheus's API beside it."""
    flags = [_NAMING, f"-storageDataPath={folder / 'victoria-metrics'}", "-memory.allowedBytes=64MiB", "-loggerLevel=WARN"]
    # Queries leave out the last 30 s otherwise.
    flags += ["-search.latencyOffset=0s", *further]
    program = require("victoria-metrics", "new")
    with run("victoria-metrics", program, folder, lambda port: [*flags, f"-httpListenAddr=127.0.0.1:{port}"]) as server:
        yield server


@contextlib.contextmanager
def vmagent(folder: Path, receiver: Server) -> Iterator[Server]:
    """vmagent as the README sets it up: OTLP at ``/opentelemetry/v1/metrics``, on to a Prometheus by remote write."""
    flags = [_NAMING, f"-remoteWrite.url={receiver.url}/api/v1/write", "-remoteWrite.forcePromProto"]
    flags += [f"-remoteWrite.tmpDataPath={folder / 'vmagent'}", "-remoteWrite.flushInterval=100ms", "-loggerLevel=WARN"]
    program = require("vmagent", "new")
    with run("vmagent", program, folder, lambda port: [*flags, f"-httpListenAddr=127.0.0.1:{port}"]) as server:
        yield server


@contextlib.contextmanager
def vmalert(folder: Path, rules: Path, storage: Server) -> Iterator[Server]:
    """vmalert as the README sets it up, but flushing at once: rules from a VictoriaMetrics, results back to it."""
    flags = [f"-rule={rules}/*.yml", f"-datasource.url={storage.url}", f"-remoteWrite.url={storage.url}", "-notifier.blackhole"]
    flags += ["-remoteWrite.flushInterval=20ms", "-loggerLevel=WARN"]
    program = require("vmalert", "new")
    with run("vmalert", program, folder, lambda port: [*flags, f"-httpListenAddr=127.0.0.1:{port}"]) as server:
        yield server
