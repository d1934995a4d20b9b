"""Several monitors on one port, real sockets and a real fork."""

import os
import socket

import pytest
import requests
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import REGISTRY, start_http_server

from otel_mlmon.catalog import PREDICTIONS
from otel_mlmon.exposition.joint import _JOINTS, join_server
from otel_mlmon.store import SeriesStore
from tests.concurrency import in_child


def store(name: str) -> SeriesStore:
    made = SeriesStore()
    made.allocate(PREDICTIONS, [(name, "1")])
    return made


def models(url: str) -> set[str]:
    """Whose series a page shows."""
    page = requests.get(url, timeout=10).text
    return {line.split('"')[1] for line in page.splitlines() if line.startswith("mlmon_predictions_total{")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def test_a_server_is_shared_until_the_last_one_closes() -> None:
    """Each brings its series and takes them away; then the port is free."""
    port = free_port()
    first = join_server(store("a").snapshot, port=port)
    second = join_server(store("b").snapshot, port=port)
    assert (first.url, first.port) == (second.url, port)
    assert models(first.url) == {"a", "b"}
    first.close()
    first.close()
    assert models(second.url) == {"b"}
    second.close()
    with socket.create_server(("127.0.0.1", port)):
        pass
    with_new = join_server(store("c").snapshot, port=port)
    assert models(with_new.url) == {"c"}
    with_new.close()


def test_two_of_one_identity_do_not_share_a_page() -> None:
    """Set-up is loud, and the page stays whole."""
    first = join_server(store("a").snapshot, port=0)
    with pytest.raises(ValueError, match="give each monitor its own name or version"):
        join_server(store("a").snapshot, port=0)
    assert models(first.url) == {"a"}
    first.close()


def test_a_port_that_another_has_is_an_error() -> None:
    """Also when it is a server of ours that is not to be shared."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="cannot serve metrics"):
        join_server(store("a").snapshot, port=taken.getsockname()[1])


def test_a_forked_child_has_servers_of_its_own() -> None:
    """Even if another thread was joining at the fork; the parent's stays as it is."""
    place = join_server(store("a").snapshot, port=0)
    with _JOINTS[os.getpid()].lock:
        child = os.fork()
        if child == 0:
            place.close()
            own = join_server(store("b").snapshot, port=0)
            os._exit(0 if own.port != place.port and models(own.url) == {"b"} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert models(place.url) == {"a"}
    place.close()


def test_where_the_sdks_reader_has_the_port_its_page_shows_us() -> None:
    """Under ``opentelemetry-instrument``; a forked child may close while the registry is locked by a thread it does not have."""
    server, thread = start_http_server(0, addr="127.0.0.1")
    reader = PrometheusMetricReader()
    try:
        place = join_server(store("a").snapshot, port=server.server_port)
        assert models(place.url) == {"a"}
        with REGISTRY._lock:
            in_child(place.close)
        assert models(place.url) == {"a"}
        place.close()
        place.close()
        assert models(place.url) == set()
    finally:
        reader.shutdown()
        server.shutdown()
        server.server_close()
        thread.join(20)
