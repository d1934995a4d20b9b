"""The ASGI middleware around Starlette under uvicorn; single messages only where a server cannot be made to send them."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import requests
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.feature import Feature
from otel_mlmon.integrations.asgi import Application, AsgiMiddleware, Message, Receive, Scope, Send
from otel_mlmon.integrations.exchange import Body, Exchange
from otel_mlmon.monitor import Monitor
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Settings


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


@contextlib.contextmanager
def serving(app: Application, *, lifespan: str = "off") -> Iterator[str]:
    """The app under uvicorn; when this ends, so has every request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan=lifespan, ws="none", log_level="critical")  # type: ignore[arg-type]  # a literal
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


async def item(request: Request) -> Response:
    return JSONResponse(request.path_params)


async def predict(request: Request) -> Response:
    rows = await request.json()
    return JSONResponse({"score": sum(rows["x"])}, headers={"X-Twice": "1"})


async def fail(_: Request) -> Response:
    raise RuntimeError("the application's own")


async def stream(_: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"{number}".encode()

    return StreamingResponse(chunks())


def application(*more: Route) -> Starlette:
    routes = [
        Route("/items/{item:int}", item, methods=["GET", "PUT"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/fail", fail),
        Route("/stream", stream),
        Route("/health", item),
        Mount("/{tenant}/api", routes=[Route("/things/{thing}", item)]),
        *more,
    ]
    return Starlette(routes=routes)


def test_requests_are_counted_by_template_method_and_status_class(monitor: Monitor) -> None:
    """Never by path: /items/1 and /items/2 are one series. What no route matched has no template."""
    with serving(AsgiMiddleware(application(), monitor)) as url:
        for method, path in [("GET", "items/1"), ("GET", "items/2"), ("PUT", "items/1"), ("DELETE", "items/1"), ("GET", "none/7")]:
            requests.request(method, f"{url}/{path}", timeout=10)
    assert requests_counted(monitor) == {
        ("/items/{item:int}", "GET", "2xx"): 2,
        ("/items/{item:int}", "PUT", "2xx"): 1,
        ("/items/{item:int}", "DELETE", "4xx"): 1,
        ("__other__", "GET", "4xx"): 1,
    }


def test_the_template_of_a_mounted_route_holds_the_mounts(monitor: Monitor) -> None:
    """Two mounted applications may have the same inner routes; the mount's parameter is a parameter."""
    with serving(AsgiMiddleware(application(), monitor)) as url:
        assert requests.get(f"{url}/acme/api/things/5", timeout=10).json() == {"tenant": "acme", "thing": "5"}
        requests.get(f"{url}/acme/api/nothing", timeout=10)
    assert requests_counted(monitor) == {("/{tenant}/api/things/{thing}", "GET", "2xx"): 1, ("/{tenant}/api", "GET", "4xx"): 1}


def test_the_users_route_comes_first(monitor: Monitor) -> None:
    """For frameworks that leave nothing in the scope."""
    with serving(AsgiMiddleware(application(), monitor, route=lambda scope: "/mine")) as url:
        requests.get(f"{url}/items/1", timeout=10)
    assert requests_counted(monitor) == {("/mine", "GET", "2xx"): 1}


def test_a_route_callable_that_fails_is_counted_and_harms_nobody(monitor: Monitor) -> None:
    """It is the user's code, on the server's path."""
    with serving(AsgiMiddleware(application(), monitor, route=lambda scope: scope["nothing"])) as url:
        assert requests.get(f"{url}/items/1", timeout=10).ok
    assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}
    assert value(monitor, "mlmon_internal_errors_total", where="reader") == 1


def test_an_applications_exception_passes_and_counts_as_500(monitor: Monitor) -> None:
    """Without Starlette's own error middleware, which would answer first."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the application's own")

    with serving(AsgiMiddleware(failing, monitor)) as url:
        assert requests.get(f"{url}/x", timeout=10).status_code == 500
    assert requests_counted(monitor) == {("__other__", "GET", "5xx"): 1}
    with pytest.raises(RuntimeError, match="the application's own"):
        asyncio.run(call(AsgiMiddleware(failing, monitor)))


def test_an_exception_in_mid_stream_counts_as_500(monitor: Monitor) -> None:
    """The 200 was sent already, but no client has a whole response."""

    async def broken(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"
            raise RuntimeError("half way")

        return StreamingResponse(chunks())

    with serving(AsgiMiddleware(application(Route("/broken", broken)), monitor)) as url:
        with pytest.raises(requests.RequestException):
            requests.get(f"{url}/broken", timeout=10)
        assert requests.get(f"{url}/fail", timeout=10).status_code == 500
    assert requests_counted(monitor) == {("/broken", "GET", "5xx"): 1, ("/fail", "GET", "5xx"): 1}


def test_a_stream_passes_chunk_by_chunk_and_is_active_until_its_end(monitor: Monitor) -> None:
    """The second chunk is made only when the client has the first, so nothing of ours may hold one back."""
    seen: list[float | None] = []
    received = threading.Event()

    async def slow(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.to_thread(received.wait, 10)
            seen.append(value(monitor, "mlmon_http_requests_active"))
            yield b"second"

        return StreamingResponse(chunks())

    with (
        serving(AsgiMiddleware(application(Route("/slow", slow)), monitor, reader=lambda _: None)) as url,
        requests.get(f"{url}/slow", stream=True, timeout=10) as response,
    ):
        chunks = response.iter_content(None)
        assert next(chunks) == b"first"
        received.set()
        assert next(chunks) == b"second"
    assert seen == [1]
    assert value(monitor, "mlmon_http_requests_active") == 0


def test_the_duration_ends_with_the_body_not_with_background_tasks(monitor: Monitor) -> None:
    """A client waits for the body only."""
    counted: list[dict[tuple[str, str, str], float]] = []

    async def task() -> None:
        counted.append(requests_counted(monitor))

    async def background(_: Request) -> Response:
        return PlainTextResponse("x", background=BackgroundTask(task))

    with serving(AsgiMiddleware(application(Route("/background", background)), monitor)) as url:
        requests.get(f"{url}/background", timeout=10)
    assert counted == [{("/background", "GET", "2xx"): 1}]


def test_a_client_that_leaves_is_counted_as_such(monitor: Monitor) -> None:
    """nginx's 499: neither the model's success nor its fault."""

    async def endless(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(chunks())

    with (
        serving(AsgiMiddleware(application(Route("/endless", endless)), monitor)) as url,
        requests.get(f"{url}/endless", stream=True, timeout=10) as response,
    ):
        assert next(response.iter_content(None)) == b"first"
    assert requests_counted(monitor) == {("/endless", "GET", "4xx"): 1}


async def call(app: Application, messages: "list[Message] | None" = None, scope: "dict[str, Any] | None" = None) -> list[Message]:
    """One request without a server."""
    waiting = messages if messages is not None else [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    made = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b"", "root_path": ""}
    await app(made if scope is None else scope, receive, send)
    return sent


def test_cancellation_passes_and_is_counted(monitor: Monitor) -> None:
    """A server that gives a request up cancels its task."""

    async def cancelled() -> None:
        started = asyncio.Event()

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(call(AsgiMiddleware(waiting, monitor)))
        await started.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert requests_counted(monitor) == {("__other__", "GET", "4xx"): 1}
    assert value(monitor, "mlmon_http_requests_active") == 0


def test_a_server_that_reports_the_disconnect_on_sending_is_understood(monitor: Monitor) -> None:
    """ASGI 2.4: ``send`` raises OSError. The application sees it as ever."""

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def gone(message: Message) -> None:
        raise ConnectionResetError

    async def receive() -> Message:
        raise AssertionError

    with pytest.raises(ConnectionResetError):
        asyncio.run(
            AsgiMiddleware(streaming, monitor)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, gone)
        )
    assert requests_counted(monitor) == {("__other__", "GET", "4xx"): 1}


def test_an_application_that_answers_nothing_counts_as_500(monitor: Monitor) -> None:
    """So the servers see it."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with serving(AsgiMiddleware(silent, monitor)) as url:
        assert requests.get(f"{url}/x", timeout=10).status_code == 500
    assert requests_counted(monitor) == {("__other__", "GET", "5xx"): 1}


def test_web_sockets_are_not_touched(monitor: Monitor) -> None:
    """Not even wrapped."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope, receive, send))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope = {"type": "websocket", "path": "/x"}
    asyncio.run(AsgiMiddleware(app, monitor)(scope, receive, send))
    assert seen == [scope, receive, send]
    assert requests_counted(monitor) == {}


def test_lifespan_reaches_the_application(monitor: Monitor) -> None:
    """Models are loaded there."""
    events = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        events.append("start")
        yield
        events.append("stop")

    with serving(AsgiMiddleware(Starlette(lifespan=lifespan), monitor), lifespan="on"):
        pass
    assert events == ["start", "stop"]


def test_what_is_queued_is_counted_before_the_server_ends() -> None:
    """Uvicorn ends its workers by a signal: nothing runs behind the end of the lifespan."""
    counted = []
    slow = Monitor("m", schema=Schema((Feature("x"),)), settings=Settings(drain_seconds=3600.0))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})
        slow.observe({"x": 1.0})
        await send({"type": "lifespan.shutdown.complete"})

    async def send(message: Message) -> None:
        counted.append(slow.snapshot().rows)

    async def receive() -> Message:
        raise AssertionError

    with slow:
        asyncio.run(AsgiMiddleware(app, slow)({"type": "lifespan"}, receive, send))
    assert counted == [0, 1]


def test_probes_are_not_counted(monitor: Monitor) -> None:
    """They would drown the model's traffic; a pattern may be added."""
    with serving(AsgiMiddleware(application(), monitor, exclude=("/health", "/items/*"))) as url:
        assert [requests.get(url + path, timeout=10).status_code for path in ("/health", "/items/1", "/healthier")] == [
            200,
            200,
            404,
        ]
    assert requests_counted(monitor) == {("__other__", "GET", "4xx"): 1}


@pytest.mark.parametrize("options", [{"exclude": ("health",)}, {"body_limit": 0}])
def test_wrong_options_are_errors_at_set_up(monitor: Monitor, options: dict[str, Any]) -> None:
    """A pattern that can never match would count the probes in silence."""
    with pytest.raises(ValueError, match=r"exclude|body_limit"):
        AsgiMiddleware(application(), monitor, **options)


class TestReader:
    """Rows and predictions out of bodies, through the user's reader."""

    def test_an_exchange_holds_what_was_sent(self, monitor: Monitor) -> None:
        """A chunked request with repeated headers; the application and the client see what they see without us."""
        seen: list[Exchange] = []
        body = json.dumps({"x": [1.0, 2.0]}).encode()
        with serving(AsgiMiddleware(application(), monitor, reader=seen.append)) as url:
            answer = requests.post(
                f"{url}/predict?a=1&b=%20", data=iter([body[:5], body[5:]]), headers={"X-Trace": "7"}, timeout=10
            )
        assert monitor.flush()
        (exchange,) = seen
        assert answer.json() == exchange.response_json() == {"score": 3.0}
        assert exchange.request_body == body
        assert (exchange.method, exchange.path, exchange.route, exchange.status) == ("POST", "/predict", "/predict", 200)
        assert exchange.query == "a=1&b=%20"
        assert (exchange.request_headers["x-trace"], exchange.response_headers["x-twice"]) == ("7", "1")

    def test_what_the_reader_gives_is_observed(self, monitor: Monitor) -> None:
        """Two rows in one request; an exchange without a prediction gives None."""

        def read(exchange: Exchange) -> "tuple[Any, Any] | None":
            return (exchange.request_json(), [0.1, 0.2]) if exchange.route == "/predict" else None

        with serving(AsgiMiddleware(application(), monitor, reader=read)) as url:
            requests.post(f"{url}/predict", json={"x": [1.5, 9.0]}, timeout=10)
            requests.get(f"{url}/items/1", timeout=10)
        assert value(monitor, "mlmon_predictions_total") == 2
        assert value(monitor, "mlmon_feature_max", feature="x") == 9.0

    def test_responses_that_failed_are_not_read(self, monitor: Monitor) -> None:
        """There is no prediction in an error."""
        seen: list[Exchange] = []
        with serving(AsgiMiddleware(application(), monitor, reader=seen.append)) as url:
            requests.get(f"{url}/none/1", timeout=10)
            requests.get(f"{url}/fail", timeout=10)
        assert monitor.flush()
        assert seen == []

    def test_a_stream_is_read_as_a_whole(self, monitor: Monitor) -> None:
        """The reader sees the chunks joined."""
        seen: list[Exchange] = []
        with serving(AsgiMiddleware(application(), monitor, reader=seen.append)) as url:
            assert requests.get(f"{url}/stream", timeout=10).content == b"012"
        assert monitor.flush()
        assert [exchange.response_body for exchange in seen] == [b"012"]

    @pytest.mark.parametrize("size", [100, 101])
    def test_a_body_over_the_limit_passes_but_is_not_read(self, monitor: Monitor, size: int) -> None:
        """The client gets all of it; the loss is counted."""

        async def echo(request: Request) -> Response:
            return Response(await request.body())

        seen: list[Exchange] = []
        app = AsgiMiddleware(application(Route("/echo", echo, methods=["POST"])), monitor, reader=seen.append, body_limit=100)
        with serving(app) as url:
            assert requests.post(f"{url}/echo", data=b"x" * size, timeout=10).content == b"x" * size
        assert (value(monitor, "mlmon_internal_errors_total", where="reader") or 0) == size - 100
        assert len(seen) == 101 - size

    def test_a_body_over_the_limit_holds_no_memory(self) -> None:
        """A download of gigabytes must not cost the server its memory, nor come back once it is small again."""
        body = Body(4)
        for chunk in (b"abc", b"de", b"f"):
            body.append(chunk)
        assert (body.overflowed, body.kept, body.join()) == (True, 0, b"")

    def test_a_reader_that_fails_harms_nobody(self, monitor: Monitor) -> None:
        """It runs on the worker, after the response."""
        with serving(AsgiMiddleware(application(), monitor, reader=lambda exchange: exchange.request_json()["y"])) as url:
            assert requests.post(f"{url}/predict", json={"x": [1.0]}, timeout=10).ok
        assert value(monitor, "mlmon_internal_errors_total", where="reader") == 1
        assert requests_counted(monitor) == {("/predict", "POST", "2xx"): 1}

    def test_a_file_that_the_server_sends_is_counted(self, monitor: Monitor) -> None:
        """uvicorn has no pathsend, so the message comes from here; a file is no prediction."""
        seen: list[Exchange] = []

        async def send_file(scope: Scope, receive: Receive, send: Send) -> None:
            await FileResponse(__file__)(scope, receive, send)

        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "extensions": {"http.response.pathsend": {}}}
        sent = asyncio.run(call(AsgiMiddleware(send_file, monitor, reader=seen.append), scope=scope))
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.pathsend"]
        assert requests_counted(monitor) == {("__other__", "GET", "2xx"): 1}
        assert seen == []
