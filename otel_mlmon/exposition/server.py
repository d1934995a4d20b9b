"""A small HTTP or HTTPS server for ``/metrics``."""

import base64
import contextlib
import errno
import gzip
import hmac
import io
import itertools
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import choose_encoder, gzip_accepted

from otel_mlmon.exposition.prometheus import Collector, Source

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SILENT_CLIENT_SECONDS = 10.0
_CONNECTIONS = 256
"""At once. One more, and the oldest is let go: a scrape takes milliseconds, so that one hangs."""
_CLOSE_SECONDS = 0.1  # how often the server looks whether it was closed


class MetricsServer:
    """A running server; made by ``start_server``.

    Attributes:
        collector: What it shows: sources may come and go.
        address: The address it listens on.
        port: The port it listens on: the real one where 0 was asked for.
        url: Where a scrape finds the page.
    """

    def __init__(self, server: "_Server", collector: Collector, address: str, scheme: str) -> None:
        self._server = server
        self.collector = collector
        self.address = address
        self.port: int = server.server_address[1]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - listening there is the user's choice
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"
        self._thread = threading.Thread(
            target=server.serve_forever, args=(_CLOSE_SECONDS,), name=f"otel_mlmon-metrics-{self.port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Idempotent. In a forked child, where the thread is not, only let go of the parent's port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def start_server(
    sources: Sequence[Source],
    *,
    port: int,
    address: str = "127.0.0.1",
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    client_ca: str | os.PathLike[str] | None = None,
    username: str | None = None,
    password: str | None = None,
) -> MetricsServer:
    """Serve the series of all sources on every path of one port, from a daemon thread.

    Args:
        sources: ``monitor.collect`` of each monitor.
        port: Port; 0 for any free one.
        address: IPv4 or IPv6 address, or host name, to listen on. Only this machine unless told otherwise.
        certificate: PEM file with the certificate chain: HTTPS, TLS 1.2 or newer.
        key: PEM file with the private key, not encrypted, where ``certificate`` does not hold it.
        client_ca: PEM file with authorities; a client must then show a certificate of theirs.
        username: Ask for basic authentication. Without ``certificate`` the password crosses the network in the clear.
        password: The password that belongs to ``username``.

    Returns:
        The server, already listening.

    Raises:
        OSError: If the address cannot be listened on, or a file cannot be read.
        ValueError: If options contradict each other, a PEM file is not valid, or two sources hold the same series.

    >>> with start_server([], port=0) as server:
    ...     server.url == f"http://127.0.0.1:{server.port}/metrics"
    True
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"metrics server: port must be from 0 to 65535, got {port!r}")
    collector = Collector(*sources)
    application = _application(collector)
    if username is not None or password is not None:
        application = _authenticated(application, username, password)
    context = _tls(certificate, key, client_ca)
    try:
        family, *_, host = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        server = _Server(family, host, context)
    except OSError as error:
        hint = ""
        if error.errno == errno.EADDRINUSE:
            hint = "; one server can serve several monitors: exposition.server.start_server([first.collect, second.collect], ...)"
        raise OSError(error.errno, f"cannot serve metrics on {address!r}, port {port}: {error.strerror}{hint}") from error
    server.set_app(application)
    return MetricsServer(server, collector, address, "http" if context is None else "https")


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_CLIENT_SECONDS
    """A client that connects and never sends loses its thread after this time."""

    def setup(self) -> None:
        """As usual, but with a writer of our own."""
        super().setup()
        self.wfile = _Writer(self.connection)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """A scrape is not news."""


class _Writer(io.BufferedIOBase):
    """Sends what it is given. Where that fails or takes too long the client has gone, which wsgiref takes for no news."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise BrokenPipeError(*error.args) from error
        return memoryview(data).nbytes


class _Server(ThreadingMixIn, WSGIServer):
    """One daemon thread a connection; the TLS handshake happens there too, so that no client can hold up the others."""

    daemon_threads = True
    request_queue_size = _CONNECTIONS

    def __init__(self, family: socket.AddressFamily, host: Any, context: ssl.SSLContext | None) -> None:
        self.address_family = family
        self._context = context
        self._open: dict[socket.socket, None] = {}  # the oldest first
        self._opening = threading.Lock()
        super().__init__(host, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the DNS for this machine's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle one more connection; when there are too many, let the oldest go."""
        with self._opening:
            self._open[request] = None
            if len(self._open) > _CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with contextlib.suppress(OSError):  # it may have ended by itself
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)  # a TLS socket's own would not stop its thread
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._opening:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that vanish, stay silent or speak no TLS are theirs to mend; anything else is printed, as usual."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Pages:
    """Pages for many clients at once: those who wait while one is rendered share the next. No page is older than its request."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._lock = threading.Lock()
        self._clock = itertools.count()
        self._last: dict[tuple[bool, bool], tuple[int, bytes]] = {}

    def page(self, *, openmetrics: bool, packed: bool) -> bytes:
        """The page, in one of two formats, as it is or by gzip."""
        asked = next(self._clock)
        with self._lock:
            began, page = self._last.get((openmetrics, packed), (-1, b""))
            if began < asked:
                began = next(self._clock)
                page = self._collector.render(openmetrics=openmetrics)
                page = gzip.compress(page, compresslevel=1) if packed else page
                self._last[openmetrics, packed] = began, page
        return page


def _application(collector: Collector) -> "WSGIApplication":
    """Prometheus_client's WSGI app; only the usual page comes from the faster ``render``."""
    registry = CollectorRegistry()
    registry.register(collector)
    rest: WSGIApplication = make_wsgi_app(registry)
    pages = _Pages(collector)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))[1]
        escaped = "escaping=dots" in content_type or "escaping=values" in content_type
        reads = environ["REQUEST_METHOD"] in {"GET", "HEAD"}
        if not reads or environ.get("QUERY_STRING") or environ["PATH_INFO"] == "/favicon.ico" or escaped:
            return rest(environ, start_response)
        packed = gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", ""))
        page = pages.page(openmetrics=content_type.startswith("application/openmetrics-text"), packed=packed)
        headers = [("Content-Type", content_type), ("Content-Length", str(len(page)))]
        if packed:
            headers.append(("Content-Encoding", "gzip"))
        start_response("200 OK", headers)
        return [page] if environ["REQUEST_METHOD"] == "GET" else []

    return application


def _authenticated(application: "WSGIApplication", username: str | None, password: str | None) -> "WSGIApplication":
    """Basic authentication, RFC 7617."""
    if not username or not password:
        raise ValueError("metrics server: basic authentication needs both username and password, neither of them empty")
    if ":" in username:
        raise ValueError(f"metrics server: a username of basic authentication holds no colon, got {username!r}")
    expected = base64.b64encode(f"{username}:{password}".encode())

    def authenticated(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "basic" and hmac.compare_digest(token.strip().encode("latin-1"), expected):
            return application(environ, start_response)
        headers = [("Content-Type", "text/plain"), ("WWW-Authenticate", 'Basic realm="metrics", charset="UTF-8"')]
        start_response("401 Unauthorized", headers)
        return [b"unauthorized\n"]

    return authenticated


def _tls(
    certificate: str | os.PathLike[str] | None, key: str | os.PathLike[str] | None, client_ca: str | os.PathLike[str] | None
) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None or client_ca is not None:
            raise ValueError("metrics server: key and client_ca need a certificate")
        return None
    for name, path in (("certificate", certificate), ("key", key), ("client_ca", client_ca)):
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(errno.ENOENT, f"metrics server: no such {name} file", os.fspath(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The empty password makes an encrypted key an error: OpenSSL would ask for it on the terminal and wait.
        context.load_cert_chain(certificate, key, password="")
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise ValueError(
            f"metrics server: certificate {str(certificate)!r}, key {str(key)!r}, client_ca {str(client_ca)!r}: {error}"
        ) from error
    return context
