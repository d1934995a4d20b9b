"""Whole series into a Prometheus at once, by its remote write protocol."""

import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.servers import Server

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

STALE = np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)[0]
"""The NaN by which Prometheus knows that a series has ended."""

_REQUEST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class History:
    """One series with its samples.

    Attributes:
        labels: With ``__name__``.
        times: Milliseconds since the epoch, increasing, all from 2005 to 2109 (they take equally many bytes).
        values: One a time.
    """

    labels: Mapping[str, str]
    times: Times
    values: Floats


def write(server: Server, histories: Iterable[History]) -> int:
    """Send series, each with all its samples.

    Args:
        server: A Prometheus with ``--web.enable-remote-write-receiver``.
        histories: The series; samples of one series that it has already must be older.

    Returns:
        How many samples were sent.

    Raises:
        urllib.error.HTTPError: If the server refuses them.

    Source:
        https://prometheus.io/docs/specs/prw/remote_write_spec/ (version 1.0)
    """
    parts, size, samples = [], 0, 0
    for history in histories:
        parts.append(_series(history))
        size, samples = size + len(parts[-1]), samples + len(history.times)
        if size > _REQUEST_BYTES:
            _send(server, b"".join(parts))
            parts, size = [], 0
    if parts:
        _send(server, b"".join(parts))
    return samples


def _send(server: Server, body: bytes) -> None:
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    request = urllib.request.Request(server.url + "/api/v1/write", _snappy(body), headers)  # noqa: S310  loopback
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310  loopback
        answer.read()


def _snappy(body: bytes) -> bytes:
    """Snappy's block format, one literal: https://github.com/google/snappy/blob/main/format_description.txt."""
    return _varint(len(body)) + bytes([63 << 2]) + (len(body) - 1).to_bytes(4, "little") + body


def _series(history: History) -> bytes:
    labels = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(history.labels.items())
    )
    return _field(1, labels + _samples(history.times, history.values))


def _samples(times: Times, values: Floats) -> bytes:
    """Messages Sample{double value = 1; int64 timestamp = 2} as field 2 of TimeSeries, 18 bytes each."""
    block = np.empty((len(times), 18), dtype=np.uint8)
    block[:, 0], block[:, 1], block[:, 2], block[:, 11] = 0x12, 16, 0x09, 0x10
    block[:, 3:11] = np.ascontiguousarray(values, dtype="<f8").view(np.uint8).reshape(-1, 8)
    for position in range(6):
        block[:, 12 + position] = (times >> (7 * position) & 0x7F) | (0x80 if position < 5 else 0)
    return block.tobytes()


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups: Sequence[int] = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
