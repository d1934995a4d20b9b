"""What a receiver has already, so that under delta temporality each export says the rest.

Nothing is said never, and nothing twice; but who is killed when a request was answered and not yet written down leaves that
request to be said again by the process that takes over.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import MetricType
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.store import Series

Floats = npt.NDArray[np.float64]
_Key = tuple[str, tuple[str, ...], int]


class Delivered:
    """Numbers up to which a receiver has each series, and when it got them.

    A series that has become smaller has begun anew. A histogram's sum may become smaller by itself: its counts tell.

    Args:
        types: Types of the families that are exported as deltas.
        path: Where it is kept for a process that takes over, and read if there is something; None for nowhere.

    Raises:
        OSError: If what is kept cannot be read.
        ValueError: If it is not what this class keeps.

    >>> from otel_mlmon.catalog import CALLS
    >>> delivered, series = Delivered(frozenset({"counter"})), (Series(CALLS, ("m", "1", "ok"), 0),)
    >>> first, second = (Interval(series, np.array([count]), np.array([1]), 2) for count in (3.0, 5.0))
    >>> delivered.rest(first).values.tolist()
    [3.0]
    >>> delivered.add(first, [0])
    >>> delivered.rest(second).values.tolist()
    [2.0]
    """

    def __init__(self, types: frozenset[MetricType], path: Path | None = None) -> None:
        self._types, self._path = types, path
        self._layout = _Layout((), types)
        self._numbers: Floats = np.empty(0)
        self._times = np.empty(0, dtype=np.int64)
        self._kept = _read(path) if path is not None and path.exists() else {}

    def rest(self, interval: Interval) -> Interval:
        """What the receiver does not have yet.

        Args:
            interval: Counts since their process started.

        Returns:
            The same with counts since the last delivery of each series, and the time of that as their start.
        """
        if not self._types:
            return interval
        if self._layout.series is not interval.series:
            self._follow(interval.series)
        layout, values = self._layout, interval.values.copy()
        fewer = (values[layout.slots] < self._numbers) & layout.counts
        if fewer.any():
            anew = np.zeros(len(interval.series), dtype=bool)
            anew[layout.owners[fewer]] = True
            self._times[anew] = 0
            self._numbers[anew[layout.owners]] = 0.0
        values[layout.slots] -= self._numbers
        starts = np.where(self._times > 0, np.minimum(self._times, interval.time), interval.starts)
        return replace(interval, values=values, starts=starts, delta=self._types)

    def add(self, interval: Interval, positions: Sequence[int]) -> None:
        """The receiver has got some series of an interval.

        Args:
            interval: What ``rest`` was asked about.
            positions: Their positions.
        """
        if not self._types:
            return
        got = np.zeros(len(interval.series), dtype=bool)
        got[positions] = True
        got &= self._layout.deltas
        mine = got[self._layout.owners]
        self._numbers[mine] = interval.values[self._layout.slots[mine]]
        self._times[got] = interval.time

    def keep(self) -> None:
        """Write it down for a process that takes over.

        Raises:
            OSError: If the folder refuses it.
        """
        if self._types and self._path is not None:
            new = self._path.with_name(f"{self._path.name}-{secrets.token_hex(8)}.new")
            try:
                new.write_bytes(self._layout.head + self._numbers.tobytes() + self._times.tobytes())
                new.replace(self._path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise

    def _follow(self, series: tuple[Series, ...]) -> None:
        """Take along what is known to another layout."""
        kept = {**self._kept, **_split(self._layout.keys, self._numbers, self._times)}
        layout = self._layout = _Layout(series, self._types)
        self._kept = {}
        self._numbers, self._times = np.zeros(len(layout.slots)), np.zeros(len(series), dtype=np.int64)
        for position, key in enumerate(layout.keys):
            if (found := kept.get(key)) is not None:
                first = layout.firsts[position]
                self._numbers[first : first + len(found[0])], self._times[position] = found


class _Layout:
    """Which slots belong to which series.

    Attributes:
        keys: What a series is called, whatever the layout.
        firsts: Where its numbers begin, when all series' numbers lie one behind the other.
        slots: The slot of each of these numbers, and ``owners`` the position of its series.
        counts: Which of these numbers only grow.
        deltas: Which series are exported as deltas.
        head: The keys as one line of text.
    """

    def __init__(self, series: tuple[Series, ...], types: frozenset[MetricType]) -> None:
        self.series = series
        self.keys: list[_Key] = [(one.family.name, one.labels, one.width) for one in series]
        widths = np.array([one.width for one in series], dtype=np.intp)
        ends = np.cumsum(widths)
        self.firsts = ends - widths
        self.owners = np.repeat(np.arange(len(series)), widths)
        indices = np.array([one.index for one in series], dtype=np.intp)
        self.slots = np.repeat(indices - self.firsts, widths) + np.arange(len(self.owners))
        self.deltas = np.array([one.family.type in types for one in series], dtype=bool)
        self.counts = self.deltas[self.owners]
        histograms = np.array([one.family.type == "histogram" for one in series], dtype=bool)
        self.counts[ends[histograms] - 1] = False
        self.head = json.dumps(self.keys).encode() + b"\n"


def _split(keys: Sequence[_Key], numbers: Floats, times: npt.NDArray[np.int64]) -> dict[_Key, tuple[Floats, int]]:
    ends = np.cumsum([width for *_, width in keys])
    parts = (numbers[end - width : end] for (*_, width), end in zip(keys, ends.tolist(), strict=True))
    return {key: (part, time) for key, part, time in zip(keys, parts, times.tolist(), strict=True)}


def _read(path: Path) -> dict[_Key, tuple[Floats, int]]:
    with path.open("rb") as file:
        keys: list[_Key] = [(name, tuple(labels), width) for name, labels, width in json.loads(file.readline())]
        rest = file.read()
    size = 8 * sum(width for *_, width in keys)
    return _split(keys, np.frombuffer(rest[:size]), np.frombuffer(rest[size:], dtype=np.int64))
