"""The far end of OTLP: real receivers over HTTP and gRPC that keep what they get, and refuse, hang or stay silent when told to."""

import gzip
import socket
import ssl
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

_UNPACK: dict[str | None, Callable[[bytes], bytes]] = {None: bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}


@dataclass(frozen=True)
class Answer:
    """What a receiver answers to one request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    silent: bool = False  # until it is closed


def partial(rejected: int, message: str) -> Answer:
    """It takes the request, but not all points."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = rejected
    response.partial_success.error_message = message
    return Answer(body=response.SerializeToString(), headers={"Content-Type": "application/x-protobuf"})


class HttpCollector:
    """A receiver of OTLP over HTTP, on a port of its own.

    Args:
        port: 0 for any free one.
        context: Makes it HTTPS.
    """

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[Message] = []
        self.paths: list[str] = []
        self.answers: deque[Answer] = deque()
        """What it answers to the next requests; then 200."""
        self.closed = threading.Event()
        self._came = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.collector = self
        self._server.context = context
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def came(self, path: str, headers: Message, body: bytes) -> Answer:
        """Keep a request. Returns what to answer."""
        with self._came:
            self.paths.append(path)
            self.headers.append(headers)
            answer = self.answers.popleft() if self.answers else Answer()
            if 200 <= answer.status < 300 and not answer.silent and not self.closed.is_set():
                self.requests.append(ExportMetricsServiceRequest.FromString(_UNPACK[headers["Content-Encoding"]](body)))
            self._came.notify_all()
        return answer

    def wait(self, count: int) -> None:
        """Until so many requests have come in all, taken or not."""
        self.until(lambda: len(self.paths) >= count)

    def until(self, true: Callable[[], object]) -> None:
        """Until something holds; asked when a request has come."""
        with self._came:
            assert self._came.wait_for(lambda: bool(true()), 20), f"{len(self.paths)} requests came, and no more"

    @property
    def connections(self) -> list[socket.socket]:
        """All that were ever opened."""
        return self._server.connections

    def close(self) -> None:
        """End as if killed: connections are cut."""
        self.closed.set()
        self._server.shutdown()
        self._thread.join(20)
        self._server.server_close()
        for connection in self._server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "HttpCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    collector: HttpCollector
    context: ssl.SSLContext | None
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*arguments)

    def get_request(self) -> tuple[Any, Any]:
        connection, client = super().get_request()
        self.connections.append(connection)
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that vanish or show no certificate are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector = self.server.collector
        answer = collector.came(self.path, self.headers, body)
        if answer.silent:
            collector.closed.wait(30)
        if collector.closed.is_set():
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """A request is not news."""


class GrpcCollector(MetricsServiceServicer):
    """A receiver of OTLP over gRPC."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.codes: deque[Any] = deque()
        """Status codes that it answers to the next requests; then OK."""

    def Export(self, request: ExportMetricsServiceRequest, context: Any) -> ExportMetricsServiceResponse:  # noqa: N802 - gRPC's
        """Keep a request."""
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        if self.codes:
            context.abort(self.codes.popleft(), "as told")
        self.requests.append(request)
        return ExportMetricsServiceResponse()


@contextmanager
def grpc_collector() -> Iterator[tuple[GrpcCollector, str]]:
    """A receiver over gRPC, and its URL."""
    collector = GrpcCollector()
    server = grpc.server(ThreadPoolExecutor(2))
    add_MetricsServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # grpcio ships no types
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def metrics(requests: Iterable[ExportMetricsServiceRequest]) -> Iterator[Metric]:
    """All metrics of some requests."""
    for request in requests:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                yield from scope.metrics


Labels = frozenset[tuple[str, str]]


def points(requests: Iterable[ExportMetricsServiceRequest]) -> Iterator[tuple[str, Labels, Any]]:
    """Name, labels and data point of everything in some requests."""
    for metric in metrics(requests):
        for point in getattr(metric, metric.WhichOneof("data") or "").data_points:
            yield metric.name, frozenset((one.key, one.value.string_value) for one in point.attributes), point


def attributes(request: ExportMetricsServiceRequest) -> dict[str, str]:
    """The resource of a request."""
    (resource,) = request.resource_metrics
    return {one.key: one.value.string_value for one in resource.resource.attributes}
