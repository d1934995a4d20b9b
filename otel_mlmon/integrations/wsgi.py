"""Middleware for any WSGI application: Flask, Django, Bottle, Pyramid..."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_mlmon.integrations.exchange import (
    BODY_LIMIT,
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
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

    from otel_mlmon.monitor import Monitor


class WsgiMiddleware:
    """Counts the requests of an application and, with a reader, observes the predictions in them.

    Requests and responses pass through untouched, chunk by chunk; so do the application's exceptions. Without a reader no
    body is looked at. A file handed over by ``wsgi.file_wrapper`` is left to the server: it counts when handed over, unread.

    Args:
        app: The WSGI application.
        monitor: Counts the requests.
        reader: Gives features and prediction of an exchange, or None; called on the monitor's worker, for complete responses
            with a 2xx status.
        route: Gives the route template of an environment once the application has handled it; for Flask:
            ``lambda environ: getattr(environ["werkzeug.request"].url_rule, "rule", "")``. A template, never the path: each
            value is a series.
        exclude: Paths that are not counted; ``*`` stands for any characters.
        body_limit: Bytes of a body that are kept for the reader. An exchange with a longer one is not read, and counted as lost.

    Raises:
        ValueError: If a pattern of ``exclude`` or the limit is not valid.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        monitor: "Monitor",
        *,
        reader: Reader | None = None,
        route: "Callable[[WSGIEnvironment], str] | None" = None,
        exclude: Sequence[str] = EXCLUDE,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        self._app = app
        self._monitor = monitor
        self._reader = reader
        self._route = route
        self._excluded = excluded(exclude)
        self._new_body = Body.limited(body_limit)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The WSGI interface."""
        if self._excluded(_path(environ)):
            return self._app(environ, start_response)
        watch = _Watch(self, environ, start_response)
        try:
            response = self._app(environ, watch.start_response)
        except BaseException:
            watch.end(FAILED)
            raise
        file_wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(file_wrapper, type) and isinstance(response, file_wrapper):
            watch.end(watch.status)  # servers know it by its type, so it must not be wrapped
            return response
        return _SizedResponse(response, watch) if hasattr(response, "__len__") else _Response(response, watch)


class _Watch:
    """One request on its way."""

    def __init__(self, middleware: WsgiMiddleware, environ: "WSGIEnvironment", start_response: "StartResponse") -> None:
        self._middleware = middleware
        self._environ = environ
        self._start_response = start_response
        self._headers: list[tuple[str, str]] = []
        self._ended = False
        self.status = FAILED
        self.bodies: tuple[Body, Body] | None = None
        if middleware._reader is not None:
            self.bodies = middleware._new_body(), middleware._new_body()
            environ["wsgi.input"] = _Input(environ["wsgi.input"], self.bodies[0])
        self._request = middleware._monitor.request(environ["REQUEST_METHOD"])

    def start_response(
        self, status: str, response_headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
    ) -> Callable[[bytes], object]:
        arguments = (status, response_headers) if exc_info is None else (status, response_headers, exc_info)
        write = self._start_response(*arguments)
        self.status = int(status[:3]) if status[:3].isdigit() else FAILED
        self._headers = list(response_headers)
        if self.bodies is None:
            return write
        body = self.bodies[1]

        def tee(data: bytes) -> object:
            result = write(data)
            body.append(data)
            return result

        return tee

    def end(self, status: int, bodies: tuple[Body, Body] | None = None) -> None:
        """Count the request, once; with the bodies of a complete exchange, also have it read."""
        if self._ended:
            return
        self._ended = True
        middleware, environ = self._middleware, self._environ
        route = template(middleware._monitor, middleware._route, environ) if middleware._route is not None else ""
        self._request.end(route=route, status=status)
        if middleware._reader is not None and bodies is not None and 200 <= status < 300:
            # A server may use the environment again.
            kept = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_")) and value}
            exchange = partial(
                _exchange,
                environ["REQUEST_METHOD"],
                _path(environ),
                route,
                environ.get("QUERY_STRING", ""),
                kept,
                status,
                self._headers,
            )
            submit(middleware._monitor, middleware._reader, exchange, *bodies)


class _Response:
    """The application's iterable, chunk by chunk as it comes."""

    def __init__(self, iterable: Iterable[bytes], watch: _Watch) -> None:
        self._iterable = iterable
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        bodies = self._watch.bodies
        try:
            for chunk in self._iterable:
                yield chunk
                if bodies is not None:  # the server took the chunk, so it is well formed
                    bodies[1].append(chunk)
        except GeneratorExit:
            raise  # the server stopped early; it calls `close`
        except BaseException:
            self._watch.end(FAILED)
            raise
        self._watch.end(self._watch.status, bodies)

    def close(self) -> None:
        """What a server calls at the end, complete or not."""
        try:
            if hasattr(self._iterable, "close"):
                self._iterable.close()
        finally:
            self._watch.end(self._watch.status)


class _SizedResponse(_Response):
    """A list of chunks: servers take the length of one chunk for the content's."""

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]  # made only where there is a length


class _Input:
    """The request's body, copied as the application reads it: the four methods of PEP 3333."""

    def __init__(self, stream: "InputStream", body: Body) -> None:
        self._stream = stream
        self._body = body

    def read(self, *size: int) -> bytes:
        return self._saw(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._saw(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return list(map(self._saw, self._stream.readlines(*hint)))

    def __iter__(self) -> Iterator[bytes]:
        return map(self._saw, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _saw(self, data: bytes) -> bytes:
        self._body.append(data)
        return data


def _path(environ: "WSGIEnvironment") -> str:
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "replace")  # PEP 3333 carries bytes as latin-1


def _exchange(
    method: str,
    path: str,
    route: str,
    query: str,
    environ: Mapping[str, str],
    status: int,
    response_headers: list[tuple[str, str]],
    request_body: bytes,
    response_body: bytes,
) -> Exchange:
    return Exchange(
        method=method,
        path=path,
        route=route,
        query=query,
        request_headers=headers((name.removeprefix("HTTP_").replace("_", "-"), value) for name, value in environ.items()),
        request_body=request_body,
        status=status,
        response_headers=headers(response_headers),
        response_body=response_body,
    )
