"""Middleware for any ASGI application: Starlette, FastAPI, Litestar, Quart..."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_mlmon.integrations.exchange import (
    BODY_LIMIT,
    DISCONNECTED,
    EXCLUDE,
    FAILED,
    Body,
    Exchange,
    Reader,
    excluded,
    headers,
    submit,
    template,
)

if TYPE_CHECKING:
    from otel_mlmon.monitor import Monitor

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiMiddleware:
    """Counts the HTTP requests of an application and, with a reader, observes the predictions in them.

    Requests and responses pass through untouched, chunk by chunk; so do the application's exceptions and cancellation. Without
    a reader no body is looked at. WebSockets are not touched at all. When the application shuts down (lifespan), what is queued is
    counted and exported first: uvicorn ends by the signal that it got, without Python's exit handlers.

    Args:
        app: The ASGI application.
        monitor: Counts the requests.
        reader: Gives features and prediction of an exchange, or None; called on the monitor's worker, for complete responses
            with a 2xx status.
        route: Gives the route template of a scope once the application has handled it. Left out, it is what Starlette or
            FastAPI matched. A template, never the path: each value is a series.
        exclude: Paths that are not counted; ``*`` stands for any characters.
        body_limit: Bytes of a body that are kept for the reader. An exchange with a longer one is not read, and counted as lost.

    Raises:
        ValueError: If a pattern of ``exclude`` or the limit is not valid.
    """

    def __init__(
        self,
        app: Application,
        monitor: "Monitor",
        *,
        reader: Reader | None = None,
        route: Callable[[Scope], str] | None = None,
        exclude: Sequence[str] = EXCLUDE,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        self._app = app
        self._monitor = monitor
        self._reader = reader
        self._route = matched_route if route is None else route
        self._excluded = excluded(exclude)
        self._new_body = Body.limited(body_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, partial(self._ending, send))
            return
        if scope["type"] != "http" or self._excluded(scope["path"]):
            await self._app(scope, receive, send)
            return
        watch = _Watch(self, scope, receive, send)
        try:
            await self._app(scope, watch.receive, watch.send)
        except BaseException as error:
            # Cancellation is no Exception, whichever event loop it comes from: the server gave the request up.
            watch.end(FAILED if isinstance(error, Exception) and not watch.disconnected else DISCONNECTED)
            raise
        watch.end(DISCONNECTED if watch.disconnected else FAILED)

    async def _ending(self, send: Send, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            self._monitor.flush()
            self._monitor.flush_exports()
        await send(message)


class _Watch:
    """One request on its way."""

    def __init__(self, middleware: AsgiMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._middleware = middleware
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = FAILED
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._bodies = (middleware._new_body(), middleware._new_body()) if middleware._reader is not None else None
        self._ended = False
        self.disconnected = False
        self._request = middleware._monitor.request(scope["method"])

    async def receive(self) -> Message:
        message = await self._receive()
        kind = message["type"]
        if kind == "http.disconnect":
            self.disconnected = True
        elif kind == "http.request" and self._bodies is not None:
            self._bodies[0].append(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # how a server tells that the client left, since ASGI 2.4
            self.disconnected = True
            raise
        # The server took the message, so it is well formed.
        kind = message["type"]
        if kind == "http.response.start":
            self._status, self._headers = message["status"], message.get("headers", ())
        elif kind == "http.response.body":
            if self._bodies is not None:
                self._bodies[1].append(message.get("body", b""))
            if not message.get("more_body", False):
                self.end(self._status, self._bodies)
        elif kind == "http.response.pathsend":  # the server sends a file by itself
            self.end(self._status)

    def end(self, status: int, bodies: tuple[Body, Body] | None = None) -> None:
        """Count the request, once; with the bodies of a complete exchange, also have it read."""
        if self._ended:
            return
        self._ended = True
        middleware, scope = self._middleware, self._scope
        route = template(middleware._monitor, middleware._route, scope)
        self._request.end(route=route, status=status)
        if middleware._reader is not None and bodies is not None and 200 <= status < 300:
            exchange = partial(_exchange, scope["method"], scope["path"], route, scope, status, self._headers)
            submit(middleware._monitor, middleware._reader, exchange, *bodies)


def matched_route(scope: Scope) -> str:
    """Template of the route that Starlette or FastAPI matched, mount points included.

    Args:
        scope: The scope of a request that was handled.

    Returns:
        ``"/items/{item}"``; ``""`` where nothing matched or the framework leaves nothing in the scope.
    """
    route = scope.get("route")
    path = getattr(route, "path", None)
    if not isinstance(path, str):
        return ""
    # A mount leaves the concrete path in the scope, and its template nowhere: put the parameters' names back.
    mounted = scope["root_path"][len(scope["app_root_path"]) :] if "app_root_path" in scope else ""
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    prefix = "/".join(names.get(segment, segment) for segment in mounted.split("/"))
    return prefix if hasattr(route, "routes") else prefix + path


def _exchange(
    method: str,
    path: str,
    route: str,
    scope: Scope,
    status: int,
    response_headers: Iterable[tuple[bytes, bytes]],
    request_body: bytes,
    response_body: bytes,
) -> Exchange:
    return Exchange(
        method=method,
        path=path,
        route=route,
        query=scope.get("query_string", b"").decode("latin-1"),
        request_headers=headers(_decoded(scope["headers"])),
        request_body=request_body,
        status=status,
        response_headers=headers(_decoded(response_headers)),
        response_body=response_body,
    )


def _decoded(pairs: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in pairs)
