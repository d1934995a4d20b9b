"""OTLP over HTTP: one request with its retries."""

import gzip
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from otel_mlmon.exposition.otlp.connection import Connection
from otel_mlmon.exposition.otlp.environment import Endpoint

Pause = Callable[[float], bool]

_RETRIED = frozenset({429, 502, 503, 504})
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 600.0  # whatever Retry-After says
_QUOTED = 200

_PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda body: gzip.compress(body, compresslevel=1),
    "deflate": zlib.compress,
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one request.

    Attributes:
        ok: Whether the receiver has it.
        rejected: Data points of it that the receiver did not take.
        cause: Why it failed, or points were rejected; the same text for the same cause.
        detail: What the receiver said about it.
    """

    ok: bool
    rejected: int = 0
    cause: str = ""
    detail: str = ""


class Transport:
    """Sends requests to one receiver, one at a time. Redirects are not followed: the headers are for this receiver.

    Args:
        endpoint: The receiver.

    Raises:
        ValueError: If a certificate cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection = Connection(endpoint)
        self._silent_until = 0.0  # the receiver has asked not to be asked before

    def reset(self) -> None:
        """Begin anew in a forked child: the connection is the parent's."""
        self._connection.reset()

    def send(self, body: bytes, deadline: float, pause: Pause) -> Delivery:
        """Send one request, again where that may help: no connection, 429, 502, 503 and 504.

        Args:
            body: The request, serialized.
            deadline: ``time.monotonic()`` at which it must have ended.
            pause: Waits some seconds; true when there is no time to wait any more.

        Returns:
            What became of it.

        Source:
            https://opentelemetry.io/docs/specs/otlp/#otlphttp
        """
        deadline = min(deadline, time.monotonic() + self._endpoint.timeout)
        packed = _PACK[self._endpoint.compression](body)
        longest = _FIRST_WAIT_SECONDS
        delivery = Delivery(ok=False, cause="the receiver asked to wait")
        wait = self._silent_until - time.monotonic()
        while time.monotonic() + wait < deadline:
            if wait > 0 and pause(wait):
                break
            delivery, asked = self._try(packed, deadline)
            if asked is None:
                break
            self._silent_until = time.monotonic() + asked
            wait = max(asked, longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the retries of many processes
            longest *= 2
        return delivery

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _try(self, body: bytes, deadline: float) -> tuple[Delivery, float | None]:
        """Send it once. Returns also the least wait before it may help to send it again, None for never."""
        try:
            answer = self._connection.post(body, deadline)
        except (OSError, HTTPException) as error:
            return Delivery(ok=False, cause=type(error).__name__, detail=self._connection.host), 0.0
        if 200 <= answer.status < 300:
            return _delivered(answer.body), None
        detail = f"{answer.reason} {answer.body[:_QUOTED].decode('utf-8', 'replace')!r}"
        failed = Delivery(ok=False, cause=f"status {answer.status}", detail=detail)
        return failed, _retry_after(answer.headers.get("Retry-After", "")) if answer.status in _RETRIED else None


def _delivered(answer: bytes) -> Delivery:
    response = ExportMetricsServiceResponse()
    try:
        response.ParseFromString(answer)
    except DecodeError:  # it answered with another format, but it took the request
        return Delivery(ok=True)
    partial = response.partial_success
    rejected = max(0, partial.rejected_data_points)
    return Delivery(ok=True, rejected=rejected, cause="points rejected" if rejected else "", detail=partial.error_message[:_QUOTED])


def _retry_after(text: str) -> float:
    """Seconds that the receiver asks to wait, itself or by a time of day; 0 where it does not say."""
    text = text.strip()
    if text.isdecimal():
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):  # TypeError: Python 3.10 and older say so of a text that is no date
            seconds = 0.0
    return min(max(0.0, seconds), _LONGEST_WAIT_SECONDS)
