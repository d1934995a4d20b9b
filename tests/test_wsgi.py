"""The WSGI middleware under wsgiref, between two of its validators, and under gunicorn."""

import contextlib
import http.client
import io
import json
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
import requests
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.feature import Feature
from otel_mlmon.integrations.exchange import Exchange
from otel_mlmon.integrations.wsgi import WsgiMiddleware
from otel_mlmon.monitor import Monitor
from otel_mlmon.schema import Schema

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

JSON = (("Content-Type", "application/json"),)
TEXT = (("Content-Type", "text/plain"),)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", version="1", schema=Schema((Feature("x"),))) as made:
        yield made


def value(monitor: Monitor, name: str, **labels: str) -> float | None:
    """One number of the page, once everything so far is counted."""
    assert monitor.flush()
    registry = CollectorRegistry()
    registry.register(Collector(monitor.collect))
    return registry.get_sample_value(name, {"model_name": "m", "model_version": "1", **labels})


def requests_counted(monitor: Monitor) -> dict[tuple[str, str, str], float]:
    """Requests by route, method and status class."""
    assert monitor.flush()
    return {
        (sample.labels["http_route"], sample.labels["http_request_method"], sample.labels["status_class"]): sample.value
        for metric in Collector(monitor.collect).collect()
        for sample in metric.samples
        if sample.name == "mlmon_http_requests_total"
    }


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Nothing."""


@contextlib.contextmanager
def serving(app: "WSGIApplication") -> Iterator[str]:
    """The app under wsgiref; when this ends, so has every request."""
    with make_server("127.0.0.1", 0, app, handler_class=QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def call(app: "WSGIApplication", **environ: Any) -> tuple[str, list[bytes]]:
    """One request without a server: status and chunks."""
    made: dict[str, Any] = dict(environ)
    setup_testing_defaults(made)
    statuses: list[str] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return written.append

    response = app(made, start_response)
    try:
        chunks = list(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    return statuses[-1], written + chunks


def text(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    start_response("404 Not Found" if environ["PATH_INFO"] == "/none" else "200 OK", list(TEXT))
    return [b"one", b"two"]


def generator(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
    start_response("201 Created", list(TEXT))
    yield b"one"
    yield b"two"


def predict(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    rows = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [*JSON, ("X-Twice", "1"), ("X-Twice", "2")])
    return [json.dumps({"score": sum(rows["x"])}).encode()]


@pytest.mark.parametrize("reader", [None, lambda exchange: None], ids=["without reader", "with reader"])
@pytest.mark.parametrize(("app", "status"), [(text, 200), (generator, 201)])
def test_the_middleware_keeps_to_wsgi_on_both_sides(monitor: Monitor, app: "WSGIApplication", status: int, reader: Any) -> None:
    """wsgiref's validators watch what we do to the server and to the application; an offence becomes a 500."""
    with serving(validator(WsgiMiddleware(validator(app), monitor, reader=reader))) as url:
        answer = requests.get(f"{url}/x", timeout=10)
    assert (answer.status_code, answer.content) == (status, b"onetwo")
    assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}


def test_requests_are_counted_by_the_users_template_method_and_status_class(monitor: Monitor) -> None:
    """WSGI knows no routes."""
    app = WsgiMiddleware(text, monitor, route=lambda environ: "/template" if environ["PATH_INFO"] == "/x" else "")
    with serving(app) as url:
        for method, path in [("GET", "x"), ("GET", "x"), ("POST", "x"), ("GET", "none")]:
            requests.request(method, f"{url}/{path}", timeout=10)
    assert requests_counted(monitor) == {
        ("/template", "GET", "2xx"): 2,
        ("/template", "POST", "2xx"): 1,
        ("__other__", "GET", "4xx"): 1,
    }


def test_a_route_callable_that_fails_is_counted_and_harms_nobody(monitor: Monitor) -> None:
    """It is the user's code, on the server's path."""
    assert call(WsgiMiddleware(text, monitor, route=lambda environ: environ["nothing"])) == ("200 OK", [b"one", b"two"])
    assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}
    assert value(monitor, "mlmon_internal_errors_total", where="reader") == 1


def test_the_length_of_a_response_stays_known(monitor: Monitor) -> None:
    """wsgiref sets Content-Length for a list of one chunk, and only for that."""

    def one(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        return [b"one"]

    with serving(WsgiMiddleware(one, monitor)) as url:
        assert requests.get(url, timeout=10).headers["Content-Length"] == "3"
    with serving(WsgiMiddleware(generator, monitor)) as url:
        assert "Content-Length" not in requests.get(url, timeout=10).headers


def test_chunks_stay_as_they_are_and_the_request_is_active_until_the_last(monitor: Monitor) -> None:
    """None is joined, split or held back."""
    made: dict[str, Any] = {}
    setup_testing_defaults(made)
    response = WsgiMiddleware(generator, monitor, reader=lambda _: None)(made, lambda *_: lambda _: None)
    assert response  # as a generator is; one that only pretends to have a length would raise
    chunks = iter(response)
    assert next(chunks) == b"one"
    assert value(monitor, "mlmon_http_requests_active") == 1
    assert next(chunks) == b"two"
    assert next(chunks, None) is None
    assert value(monitor, "mlmon_http_requests_active") == 0
    assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}


@pytest.mark.parametrize("late", [False, True])
def test_an_applications_exception_passes_and_counts_as_500(monitor: Monitor, late: bool) -> None:
    """Before the response and in the middle of it."""

    def failing(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"one"
        raise RuntimeError("the application's own")

    def refusing(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        raise RuntimeError("the application's own")

    with pytest.raises(RuntimeError, match="the application's own"):
        call(WsgiMiddleware(failing if late else refusing, monitor))
    assert requests_counted(monitor) == {("__other__", "GET", "5xx"): 1}


def test_a_status_replaced_by_an_error_counts(monitor: Monitor) -> None:
    """``start_response`` may be called again with ``exc_info``."""

    def replacing(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        try:
            raise ValueError
        except ValueError:
            start_response("503 Service Unavailable", list(TEXT), sys.exc_info())
        return [b"sorry"]

    with serving(validator(WsgiMiddleware(validator(replacing), monitor))) as url:
        assert requests.get(url, timeout=10).status_code == 503
    assert requests_counted(monitor) == {("__other__", "GET", "5xx"): 1}


def test_the_applications_iterable_is_closed_even_if_the_client_leaves(monitor: Monitor) -> None:
    """A server closes what it did not read to the end. The request counts with the status that was sent, unread."""
    closed: list[bool] = []
    seen: list[Exchange] = []

    class Closing:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one", b"two"])

        def close(self) -> None:
            closed.append(True)

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        return Closing()

    made: dict[str, Any] = {}
    setup_testing_defaults(made)
    response: Any = WsgiMiddleware(app, monitor, reader=seen.append)(made, lambda *_: lambda _: None)
    assert next(iter(response)) == b"one"
    response.close()
    assert closed == [True]
    assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}
    assert seen == []


def test_a_file_wrapper_reaches_the_server_as_it_is(monitor: Monitor) -> None:
    """Servers know it by its type and send the file by themselves."""

    def sending(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"file"))
        return wrapped

    made: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(made)
    response = WsgiMiddleware(sending, monitor, reader=lambda _: None)(made, lambda *_: lambda _: None)
    assert type(response) is FileWrapper
    assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}


def test_probes_are_not_touched(monitor: Monitor) -> None:
    """The response is the application's own object."""
    own = [b"ok"]
    made: dict[str, Any] = {"PATH_INFO": "/healthz"}
    setup_testing_defaults(made)
    assert WsgiMiddleware(lambda *_: own, monitor)(made, lambda *_: lambda _: None) is own
    assert requests_counted(monitor) == {}


class TestReader:
    """Rows and predictions out of bodies, through the user's reader."""

    def test_an_exchange_holds_what_was_sent(self, monitor: Monitor) -> None:
        """The application and the client see what they see without us."""
        seen: list[Exchange] = []
        body = json.dumps({"x": [1.0, 2.0]}).encode()
        with serving(validator(WsgiMiddleware(validator(predict), monitor, reader=seen.append, route=lambda _: "/p"))) as url:
            answer = requests.post(f"{url}/préd?a=1&b=%20", data=body, headers={"X-Trace": "7", **dict(JSON)}, timeout=10)
        assert monitor.flush()
        (exchange,) = seen
        assert answer.json() == exchange.response_json() == {"score": 3.0}
        assert exchange.request_body == body
        assert (exchange.method, exchange.path, exchange.route, exchange.status) == ("POST", "/préd", "/p", 200)
        assert exchange.query == "a=1&b=%20"
        assert exchange.request_headers["x-trace"] == "7"
        assert exchange.request_headers["content-type"] == "application/json"
        assert exchange.request_headers["content-length"] == str(len(body))
        assert exchange.response_headers["x-twice"] == "1, 2"

    def test_what_the_reader_gives_is_observed(self, monitor: Monitor) -> None:
        """Two rows in one request."""
        app = WsgiMiddleware(predict, monitor, reader=lambda exchange: (exchange.request_json(), [0.1, 0.2]))
        with serving(app) as url:
            requests.post(url, json={"x": [1.5, 9.0]}, timeout=10)
        assert value(monitor, "mlmon_predictions_total") == 2
        assert value(monitor, "mlmon_feature_max", feature="x") == 9.0

    @pytest.mark.parametrize(
        "read",
        [
            lambda stream: stream.read(),
            lambda stream: stream.read(4) + stream.read(),
            lambda stream: b"".join(iter(stream.readline, b"")),
            lambda stream: stream.readline(2) + b"".join(stream.readlines()),
            lambda stream: b"".join(stream),
        ],
    )
    def test_every_way_of_reading_the_input_is_seen(self, monitor: Monitor, read: Callable[[Any], bytes]) -> None:
        """The four methods of PEP 3333."""
        seen: list[Exchange] = []
        body = b"first\nsecond\n\nlast"

        def echo(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            start_response("200 OK", list(TEXT))
            return [read(environ["wsgi.input"])]

        app = WsgiMiddleware(echo, monitor, reader=seen.append)
        assert call(app, **{"wsgi.input": io.BytesIO(body)}) == ("200 OK", [body])
        assert monitor.flush()
        assert seen[0].request_body == body

    def test_an_application_that_reads_nothing_has_the_input_left(self, monitor: Monitor) -> None:
        """Reading it for ourselves could block the server."""
        seen: list[Exchange] = []
        stream = io.BytesIO(b"unread")
        call(WsgiMiddleware(text, monitor, reader=seen.append), **{"wsgi.input": stream})
        assert stream.read() == b"unread"
        assert monitor.flush()
        assert seen[0].request_body == b""

    def test_what_is_written_is_part_of_the_response(self, monitor: Monitor) -> None:
        """The old ``write`` callable comes before the chunks."""
        seen: list[Exchange] = []

        def writing(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            start_response("200 OK", list(TEXT))(b"zero")
            return [b"one"]

        assert call(WsgiMiddleware(writing, monitor, reader=seen.append)) == ("200 OK", [b"zero", b"one"])
        assert monitor.flush()
        assert seen[0].response_body == b"zeroone"

    def test_responses_that_failed_are_not_read(self, monitor: Monitor) -> None:
        """There is no prediction in an error."""
        seen: list[Exchange] = []
        call(WsgiMiddleware(text, monitor, reader=seen.append), PATH_INFO="/none")
        assert monitor.flush()
        assert seen == []

    @pytest.mark.parametrize("size", [6, 5])
    def test_a_body_over_the_limit_passes_but_is_not_read(self, monitor: Monitor, size: int) -> None:
        """The client gets all six bytes; the loss is counted."""
        seen: list[Exchange] = []
        assert call(WsgiMiddleware(text, monitor, reader=seen.append, body_limit=size)) == ("200 OK", [b"one", b"two"])
        assert (value(monitor, "mlmon_internal_errors_total", where="reader") or 0) == 6 - size
        assert len(seen) == size - 5


GUNICORN_APP = """
import json, os
from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.feature import Feature
from otel_mlmon.integrations.wsgi import WsgiMiddleware
from otel_mlmon.monitor import Monitor
from otel_mlmon.schema import Schema

monitor = Monitor("m", version="1", schema=Schema((Feature("x"),)))


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/metrics":
        assert monitor.flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [Collector(monitor.collect).render()]
    if path == "/fail":
        raise RuntimeError("the application's own")
    if path == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (bytes([byte]) for byte in body)


def read(exchange):
    return (exchange.request_json(), [0.5] * len(exchange.response_json()["x"])) if exchange.route == "/echo" else None


application = WsgiMiddleware(app, monitor, reader=read, route=lambda environ: environ["PATH_INFO"])
"""


@contextlib.contextmanager
def gunicorn(folder: Path) -> Iterator[str]:
    """One gunicorn worker of the app above; the listening socket is ours, so nobody waits for it."""
    (folder / "served.py").write_text(textwrap.dedent(GUNICORN_APP))
    root = Path(__file__).parent.parent
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--chdir", str(folder)]
        command += ["--pythonpath", str(root), "--log-level", "critical", "--no-control-socket", "served:application"]
        with subprocess.Popen(command, pass_fds=[listener.fileno()], cwd=folder) as process:
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                process.terminate()
                process.wait(20)


def test_under_gunicorn(tmp_path: Path) -> None:
    """A chunked request, a streamed response, a file and an error, read off the page of the worker process."""
    body = json.dumps({"x": [1.5, 9.0, 2.0]}).encode()
    with gunicorn(tmp_path) as url:
        echoed = requests.post(f"{url}/echo", data=iter([body[:4], body[4:]]), timeout=30)
        sent = requests.get(f"{url}/file", timeout=30)
        failed = requests.get(f"{url}/fail", timeout=30)
        page = requests.get(f"{url}/metrics", timeout=30).text
    assert (echoed.content, failed.status_code) == (body, 500)
    assert sent.content == (tmp_path / "served.py").read_bytes()
    samples = {
        (sample.name, sample.labels.get("http_route"), sample.labels.get("status_class")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["mlmon_http_requests_total", "/echo", "2xx"] == 1
    assert samples["mlmon_http_requests_total", "/file", "2xx"] == 1
    assert samples["mlmon_http_requests_total", "/fail", "5xx"] == 1
    assert ("mlmon_http_requests_total", "/metrics", "2xx") not in samples
    assert samples["mlmon_predictions_total", None, None] == 3


def test_a_client_that_leaves_gunicorn_is_counted(tmp_path: Path) -> None:
    """The connection is reset before the response is read."""
    with gunicorn(tmp_path) as url:
        host = url.removeprefix("http://")
        client = http.client.HTTPConnection(host, timeout=30)
        client.request("POST", "/echo", body=b"{}")
        assert client.sock is not None
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()
        page = requests.get(f"{url}/metrics", timeout=30).text
    assert 'http_requests_total{model_name="m",model_version="1",http_route="/echo",http_request_method="POST"' in page
    assert 'mlmon_http_requests_active{model_name="m",model_version="1"} 0.0' in page
