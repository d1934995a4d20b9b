"""The metrics server, asked by real clients: requests, http.client, raw sockets and TLS."""

import contextlib
import gzip
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_mlmon.catalog import CALLS, LAST_CALL_TIME, PREDICTIONS
from otel_mlmon.exposition import server as server_module
from otel_mlmon.exposition.server import MetricsServer, _Handler, start_server
from otel_mlmon.store import SeriesStore, Snapshot

CREDENTIALS = {"username": "prométheus", "password": "pass:wörd"}
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def store(name: str = "m") -> SeriesStore:
    made = SeriesStore()
    made.set(made.allocate(LAST_CALL_TIME, [(name, "1")]), 12.0)
    made.allocate(PREDICTIONS, [(name, "1")])
    return made


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with start_server([store().snapshot], port=0) as running:
        yield running


def get(url: str, **options: object) -> requests.Response:
    return requests.get(url, timeout=10, **options)  # type: ignore[arg-type]  # options of requests, by name


def test_the_page_is_text_unless_openmetrics_is_asked_for(server: MetricsServer) -> None:
    """Content negotiation by ``Accept``, with what Prometheus sends."""
    text = get(server.url)
    openmetrics = get(server.url, headers={"Accept": OPENMETRICS})
    assert text.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {metric.name for metric in parse_text(text.text)}
    parse_openmetrics: Callable[[str], Iterator[Metric]] = text_string_to_metric_families  # prometheus_client leaves it untyped
    assert names == {metric.name for metric in parse_openmetrics(openmetrics.text)}
    assert names == {"mlmon_last_call_time_seconds", "mlmon_predictions"}


def test_the_page_is_compressed_where_the_client_takes_it(server: MetricsServer) -> None:
    """Raw bytes: the client must not undo it for us."""
    packed = get(server.url, headers={"Accept-Encoding": "gzip"}, stream=True)
    plain = get(server.url, headers={"Accept-Encoding": "identity"}, stream=True)
    assert gzip.decompress(packed.raw.read()) == plain.raw.read()
    assert (packed.headers["Content-Encoding"], plain.headers.get("Content-Encoding")) == ("gzip", None)


def test_a_scrape_may_ask_for_names(server: MetricsServer) -> None:
    """``name[]`` is prometheus_client's filter."""
    page = get(server.url, params={"name[]": "mlmon_predictions_total"}).text
    assert [metric.name for metric in parse_text(page)] == ["mlmon_predictions"]


def test_only_reading_is_allowed(server: MetricsServer) -> None:
    """There is nothing to write here."""
    assert requests.post(server.url, timeout=10).status_code == 405


def test_several_monitors_share_one_port() -> None:
    """The page holds both; each family once."""
    with start_server([store("a").snapshot, store("b").snapshot], port=0) as running:
        page = get(running.url).text
    assert page.count("# TYPE mlmon_predictions_total counter") == 1
    assert 'model_name="a"' in page
    assert 'model_name="b"' in page


def test_it_listens_on_this_machine_only_unless_told_otherwise(server: MetricsServer) -> None:
    """The default must be safe."""
    assert server.address == "127.0.0.1"
    assert server._server.socket.getsockname() == ("127.0.0.1", server.port)


def test_ipv6_works() -> None:
    """The address is bracketed in the URL."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with start_server([store().snapshot], port=0, address="::1") as running:
        assert running.url == f"http://[::1]:{running.port}/metrics"
        assert get(running.url).ok


def test_a_taken_port_is_named() -> None:
    """And the hint says what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"'127\.0\.0\.1', port {port}: .*one server can serve several monitors"):
            start_server([], port=port)


def test_an_address_that_is_not_ours_is_named() -> None:
    """192.0.2.0/24 is for documentation: no machine has it."""
    with pytest.raises(OSError, match=r"'192\.0\.2\.1', port 9464"):
        start_server([], port=9464, address="192.0.2.1")


def test_the_port_is_free_after_close() -> None:
    """A restart in the same process must work."""
    first = start_server([], port=0)
    first.close()
    first.close()
    with start_server([], port=first.port) as second:
        assert second.port == first.port


@pytest.mark.parametrize("tls", [False, True])
def test_a_silent_client_holds_up_nobody(tls: bool, tmp_path: Path) -> None:
    """It connects, sends nothing, and stays; with TLS it stays in the middle of the handshake."""
    options = certificate(tmp_path) if tls else {}
    with (
        start_server([store().snapshot], port=0, **options) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent,
    ):
        assert get(running.url, verify=str(options["certificate"]) if tls else None).ok
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)  # still connected


def test_a_silent_client_is_let_go_in_the_end(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread must not stay for ever; the test only shortens the time."""
    assert 0 < _Handler.timeout <= 60
    monkeypatch.setattr(_Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def large_store() -> SeriesStore:
    """Its page, some 10 MB, is more than the kernel keeps for a client that does not read."""
    made = SeriesStore()
    made.allocate(CALLS, [("m", "1", f"{number}" * 1_000_000) for number in range(10)])
    return made


def ask(running: MetricsServer, method: str = "GET") -> socket.socket:
    """A connection that has sent a request."""
    client = socket.create_connection(("127.0.0.1", running.port), timeout=30)
    client.sendall(f"{method} /metrics HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return client


def answer(client: socket.socket) -> tuple[str, bytes]:
    """The head and the body of what it is sent, until the server closes."""
    with client, client.makefile("rb") as received:
        head, _, body = received.read().partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def settled(running: MetricsServer, connections: int = 0) -> bool:
    """Whether the server has so many connections in the end."""
    deadline = time.monotonic() + 30
    while len(running._server._open) != connections and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(running._server._open) == connections


def test_two_hundred_scrapes_at_once_are_all_answered() -> None:
    """With whole pages that are no older than their requests; those who wait share what is rendered next."""
    source, begun, asked, shown = store(), threading.Event(), threading.Event(), []

    def collect() -> Snapshot:
        shown.append(source.snapshot())
        begun.set()
        asked.wait(30)
        return shown[-1]

    with start_server([], port=0) as running:
        running.collector._sources = (collect,)  # `add` would wait for it
        clients = [ask(running) for _ in range(100)]
        assert begun.wait(30)
        source.add([(1, np.array([5.0]))])
        clients += [ask(running) for _ in range(100)]
        assert settled(running, 200)
        asked.set()
        pages = [answer(client) for client in clients]
    assert {head.splitlines()[0] for head, _ in pages} == {"HTTP/1.0 200 OK"}
    assert all(f"Content-Length: {len(body)}" in head.splitlines() for head, body in pages)
    assert all(b'mlmon_predictions_total{model_name="m",model_version="1"} 5.0\n' in body for _, body in pages[100:])
    assert len(shown) < 100


def test_a_client_that_never_reads_is_let_go(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It holds up nobody, and its page is not kept for ever; without a word. The test only shortens the time."""
    monkeypatch.setattr(_Handler, "timeout", 0.3)
    with start_server([large_store().snapshot], port=0) as running, ask(running):
        assert get(running.url, headers={"Accept-Encoding": "gzip"}).ok
        assert settled(running)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("tls", [False, True])
def test_of_too_many_connections_the_oldest_is_let_go(tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hangs, silent or not reading, cannot keep a scrape out. The test only lowers their number."""
    monkeypatch.setattr(server_module, "_CONNECTIONS", 3)
    options = certificate(tmp_path) if tls else {}
    with start_server([large_store().snapshot], port=0, **options) as running:
        hanging = [ask(running) for _ in range(3)]
        assert get(running.url, verify=str(options["certificate"]) if tls else None).ok
        assert len(running._server._open) <= 3
        hanging[0].settimeout(10)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := hanging[0].recv(1 << 20):
                received += len(piece)
        assert received < 10_000_000
        for client in hanging:
            client.close()
        assert settled(running)


def test_head_is_get_without_the_page(server: MetricsServer) -> None:
    """RFC 9110: the same header fields, and no content."""
    got, page = answer(ask(server))
    head, nothing = answer(ask(server, "HEAD"))
    assert [line for line in head.splitlines() if "Date" not in line] == [line for line in got.splitlines() if "Date" not in line]
    assert (len(page) > 0, nothing) == (True, b"")


def test_clients_that_go_away_are_no_news(server: MetricsServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a scrape, nor a reset connection, nor one that speaks TLS to HTTP writes a line."""
    get(server.url)
    for sent in (b"", b"GET /metrics HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # close by reset
            client.sendall(sent)
    get(server.url)
    server.close()
    assert capfd.readouterr().err == ""


class TestBasicAuthentication:
    """RFC 7617."""

    @pytest.fixture
    def url(self) -> Iterator[str]:
        with start_server([store().snapshot], port=0, **CREDENTIALS) as running:
            yield running.url

    def test_the_right_credentials_open(self, url: str) -> None:
        """UTF-8, as the challenge says."""
        assert get(url, auth=tuple(value.encode() for value in CREDENTIALS.values())).ok

    @pytest.mark.parametrize(
        "header", [None, "", "Basic", "Basic !!", "Basic cHJvbTpwYXNz", "Bearer cHJvbTpwYXNz", "Basic \xff"], ids=repr
    )
    def test_anything_else_is_challenged(self, url: str, header: str | None) -> None:
        """Nothing of the page is shown."""
        answer = get(url, headers={} if header is None else {"Authorization": header.encode("latin-1")})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert "mlmon" not in answer.text

    @pytest.mark.parametrize("given", [{"username": "u"}, {"password": "p"}, {"username": "u", "password": ""}])
    def test_half_of_the_credentials_is_an_error(self, given: dict[str, str]) -> None:
        """A server without a password must not come up by mistake."""
        with pytest.raises(ValueError, match="both username and password"):
            start_server([], port=0, **given)

    def test_a_colon_in_the_username_is_an_error(self) -> None:
        """It could never match."""
        with pytest.raises(ValueError, match="no colon"):
            start_server([], port=0, **{**CREDENTIALS, "username": "a:b"})


def certificate(folder: Path) -> dict[str, Any]:
    """A self-signed certificate for 127.0.0.1, made by openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here")
    made = {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", made["key"], "-out", made["certificate"]], check=True, capture_output=True, timeout=60)
    return made


class TestTls:
    """HTTPS with a certificate made for the test."""

    def test_the_page_is_served_by_https(self, tmp_path: Path) -> None:
        """The client checks the certificate."""
        files = certificate(tmp_path)
        with start_server([store().snapshot], port=0, **files) as running:
            assert running.url.startswith("https://")
            assert "mlmon_predictions_total" in get(running.url, verify=str(files["certificate"])).text

    def test_old_tls_is_refused(self, tmp_path: Path) -> None:
        """TLS 1.1 was withdrawn by RFC 8996."""
        with start_server([], port=0, **certificate(tmp_path)) as running:
            assert running._server._context is not None
            assert running._server._context.minimum_version == ssl.TLSVersion.TLSv1_2

    def test_plain_http_is_refused(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """Without a word on the terminal."""
        with start_server([], port=0, **certificate(tmp_path)) as running, pytest.raises(requests.ConnectionError):
            get(running.url.replace("https", "http"))
        assert capfd.readouterr().err == ""

    def test_clients_must_show_a_certificate_where_an_authority_is_given(self, tmp_path: Path) -> None:
        """The certificate is self-signed, so it is its own authority."""
        files = certificate(tmp_path)
        pair = (str(files["certificate"]), str(files["key"]))
        with start_server([store().snapshot], port=0, **files, client_ca=files["certificate"]) as running:
            assert get(running.url, verify=pair[0], cert=pair).ok
            with pytest.raises(requests.RequestException):
                get(running.url, verify=pair[0])

    @pytest.mark.parametrize("option", ["certificate", "key", "client_ca"])
    def test_a_missing_file_is_named(self, tmp_path: Path, option: str) -> None:
        """OpenSSL's own message says neither which file nor which option."""
        files = {**certificate(tmp_path), option: tmp_path / "missing.pem"}
        with pytest.raises(FileNotFoundError, match=f"no such {option} file.*missing.pem"):
            start_server([], port=0, **files)

    def test_a_key_of_another_certificate_is_an_error(self, tmp_path: Path) -> None:
        """Before the first client finds out."""
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(ValueError, match="key"):
            start_server([], port=0, certificate=certificate(tmp_path)["certificate"], key=certificate(other)["key"])

    @pytest.mark.parametrize("option", ["key", "client_ca"])
    def test_a_key_without_a_certificate_is_an_error(self, tmp_path: Path, option: str) -> None:
        """It would be served in the clear."""
        with pytest.raises(ValueError, match="need a certificate"):
            start_server([], port=0, **{option: tmp_path})  # type: ignore[arg-type]  # by name


def test_a_forked_child_lets_go_of_the_port() -> None:
    """The child has no serving thread; waiting for one to end would hang it."""
    running = start_server([store().snapshot], port=0)
    child = os.fork()
    if child == 0:
        running.close()
        os._exit(0 if running._server.socket.fileno() == -1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert get(running.url).ok
    running.close()
