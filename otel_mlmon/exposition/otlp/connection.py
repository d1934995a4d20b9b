"""The connection to a receiver of OTLP over HTTP: TLS, and the proxy that the environment names."""

import base64
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from importlib.metadata import version
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from otel_mlmon.exposition.otlp.environment import Endpoint

_ANSWER_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered.

    Attributes:
        status: Its status code.
        reason: The words behind that.
        headers: Its headers.
        body: Its beginning; what matters is short.
    """

    status: int
    reason: str
    headers: Message
    body: bytes


class Connection:
    """Posts requests to one receiver, one at a time. An HTTP library would hold the interpreter's lock for longer.

    Args:
        endpoint: The receiver.

    Raises:
        ValueError: If a certificate cannot be used.

    Attributes:
        host: The receiver's name and port.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        url = urlsplit(endpoint.url)
        self.host = url.netloc.rpartition("@")[2]
        self._secure = url.scheme == "https"
        self._context = _context(endpoint) if self._secure else None
        self._target = quote(url.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{url.query}" if url.query else "")
        self._url, self._proxy, self._proxy_headers = url, None, dict[str, str]()
        headers = {"user-agent": f"otel-mlmon/{version('otel-mlmon')}", "content-type": "application/x-protobuf"}
        if endpoint.compression != "none":
            headers["content-encoding"] = endpoint.compression
        headers.update(_credentials("authorization", url))
        proxy = getproxies().get(url.scheme)
        if proxy and not proxy_bypass(self.host):
            self._proxy = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
            self._proxy_headers = _credentials("proxy-authorization", self._proxy)
            if not self._secure:
                self._target = f"http://{self.host}{self._target}"
                headers.update(self._proxy_headers)
        # As UTF-8: http.client knows only Latin-1.
        self._headers: Mapping[str, bytes] = {name: value.encode() for name, value in {**headers, **endpoint.headers}.items()}
        self._open: HTTPConnection | None = None

    def post(self, body: bytes, deadline: float) -> Answer:
        """Send one request.

        Args:
            body: What it says, compressed as its headers claim.
            deadline: ``time.monotonic()`` at which the answer must have come.

        Returns:
            The answer, whatever it is; a redirect, too.

        Raises:
            OSError: If there is no connection, or no answer in time.
            HTTPException: If the answer is not HTTP.
        """
        left = max(0.001, deadline - time.monotonic())
        connection = self._open
        if connection is None:
            connection = self._open = self._connection(left)
        elif connection.sock is not None:
            connection.sock.settimeout(left)
        try:
            connection.request("POST", self._target, body, self._headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.reason, response.headers, _read(response, deadline))
        except BaseException:
            self.close()
            raise
        if not response.isclosed():
            self.close()  # the rest of a long answer is in the way
        return answer

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def reset(self) -> None:
        """Let go of it in a forked child, without a word to the receiver: it is the parent's."""
        socket = self._open.sock if self._open is not None else None
        if socket is not None:
            os.close(socket.detach())  # to close it would wait for the lock of a thread that reads from it, and is not here
        self._open = None

    def _connection(self, timeout: float) -> HTTPConnection:
        near = self._proxy or self._url
        host, port = near.hostname or "", near.port
        if self._context is None:
            return HTTPConnection(host, port, timeout=timeout)
        made = HTTPSConnection(host, port or (80 if self._proxy else 443), timeout=timeout, context=self._context)
        if self._proxy is not None:
            made.set_tunnel(self._url.hostname or "", self._url.port or 443, self._proxy_headers)
        return made


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    bundle = endpoint.certificate or os.environ.get("REQUESTS_CA_BUNDLE") or None  # the SDK's exporter honours it, too
    try:
        context = ssl.create_default_context(cafile=bundle)
        if bundle is None:
            context.load_verify_locations(certifi.where())  # as the SDK's exporter: small images have no others
        if endpoint.client_certificate is not None:
            # The empty password makes an encrypted key an error: OpenSSL would ask for it on the terminal and wait.
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key, password="")
    except ssl.SSLError as error:
        files = bundle, endpoint.client_certificate, endpoint.client_key
        raise ValueError(f"OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY: {files!r}: {error}") from error
    return context


def _credentials(header: str, url: SplitResult) -> dict[str, str]:
    """Those in a URL, as a header."""
    if url.username is None:
        return {}
    text = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {header: "Basic " + base64.b64encode(text.encode()).decode()}


def _read(response: HTTPResponse, deadline: float) -> bytes:
    body = b""
    try:
        while len(body) < _ANSWER_BYTES and time.monotonic() < deadline and (piece := response.read1(4096)):
            body += piece
    except (OSError, HTTPException):
        pass  # the status has come, and the status decides
    if response.length == 0:
        response.close()  # read1 does not see the end by itself
    return body
