"""One HTTP request with its response, as a reader is given it."""

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_mlmon.monitor import Monitor

BODY_LIMIT = 1_048_576
"""Bytes of a request or a response that are kept for a reader."""

EXCLUDE = ("/metrics", "/health", "/healthz", "/livez", "/readyz")
"""Paths of probes and scrapes: they are not traffic of the model."""

DISCONNECTED = 499
"""Status under which a request is counted whose client left before the response was complete (nginx's number)."""

FAILED = 500
"""Status under which a request is counted whose application raised or gave no complete response."""

_BYTES_PER_ROW = 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its response. Bodies are as on the wire at the middleware's place: inside of one that compresses, plain.

    Attributes:
        method: ``GET``, ``POST``...
        path: Path, percent-decoded.
        route: Route template, or ``""`` where it is not known.
        query: Query string as sent, without ``?``.
        request_headers: Values by lower-case name; repeated ones joined by a comma and a space.
        request_body: What the application read of the request's body.
        status: Status code of the response.
        response_headers: As ``request_headers``.
        response_body: The whole body, chunks joined.

    >>> exchange = Exchange("POST", "/predict", "/predict", "", {}, b'{"x": 1}', 200, {}, b'{"score": 0.5}')
    >>> exchange.request_json()["x"], exchange.response_json()["score"]
    (1, 0.5)
    """

    method: str
    path: str
    route: str
    query: str
    request_headers: Mapping[str, str]
    request_body: bytes
    status: int
    response_headers: Mapping[str, str]
    response_body: bytes

    def request_json(self) -> Any:
        """The request's body, read as JSON.

        Raises:
            ValueError: If it is not JSON.
        """
        return json.loads(self.request_body)

    def response_json(self) -> Any:
        """The response's body, read as JSON.

        Raises:
            ValueError: If it is not JSON.
        """
        return json.loads(self.response_body)


Reader = Callable[[Exchange], "tuple[Any, Any] | None"]
"""Gives features and prediction of an exchange, or None where it holds no prediction. Runs on the monitor's worker."""


class Body:
    """Copy of a body that passes by, up to a limit.

    Attributes:
        kept: Bytes held.
        overflowed: Whether more passed by than fits.
    """

    __slots__ = ("_chunks", "_limit", "kept", "overflowed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self.kept = 0
        self.overflowed = False

    @classmethod
    def limited(cls, limit: int) -> "Callable[[], Body]":
        """A maker of bodies.

        Raises:
            ValueError: If the limit is not positive.
        """
        if limit < 1:
            raise ValueError(f"body_limit: must be at least 1 byte, got {limit!r}")
        return partial(cls, limit)

    def append(self, chunk: bytes) -> None:
        """Keep a chunk; past the limit let go of everything."""
        if self.overflowed or self.kept + len(chunk) > self._limit:
            self.overflowed = True
            self._chunks.clear()
            self.kept = 0
        elif chunk:
            self._chunks.append(bytes(chunk))
            self.kept += len(chunk)

    def join(self) -> bytes:
        """Everything that passed by."""
        return b"".join(self._chunks)


def submit(monitor: "Monitor", reader: Reader, exchange: Callable[[bytes, bytes], Exchange], request: Body, response: Body) -> None:
    """Have an exchange read on the monitor's worker.

    Args:
        monitor: Observes what the reader gives.
        reader: The user's.
        exchange: Makes the exchange of the two joined bodies.
        request: The request's body.
        response: The response's body.
    """

    def read() -> tuple[Any, Any] | None:
        if request.overflowed or response.overflowed:
            raise ValueError("a body is longer than the middleware's body_limit")  # counted like a reader that raises
        return reader(exchange(request.join(), response.join()))

    # What the bodies hold is not known yet, so bytes count against the queue.
    monitor.observe_lazy(read, weight=1 + (request.kept + response.kept) // _BYTES_PER_ROW)


def template(monitor: "Monitor", route: Callable[[Any], str], request: Any) -> str:
    """Route template of a handled request; ``""`` where there is none or ``route`` fails, which the monitor counts.

    Args:
        monitor: Counts a failure.
        route: The user's, or a framework's.
        request: What it reads: a scope or an environment.
    """
    try:
        found = route(request)
    except Exception as raised:  # noqa: BLE001 - the user's code on the server's path: the response goes on
        error = raised

        def fail() -> None:
            raise error  # where the monitor counts what a reader raises

        monitor.observe_lazy(fail, weight=1)
        return ""
    return found if isinstance(found, str) else ""


def headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name."""
    merged: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return merged


def excluded(patterns: Sequence[str]) -> Callable[[str], object]:
    """A test for paths that are not counted.

    Args:
        patterns: Paths; ``*`` stands for any characters.

    Raises:
        ValueError: If a pattern does not begin with a slash or a star.
    """
    for pattern in patterns:
        if not pattern.startswith(("/", "*")):
            raise ValueError(f"exclude: a path pattern begins with '/' or '*', got {pattern!r}")
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match
