"""Data points as rows of bytes: those of one length lie one behind the other, as an array with a column for each number."""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import MetricType
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.store import Exemplar, Series

ROWS = 2048
"""Points filled in at a time: enough that numpy lets go of the interpreter's lock, few enough for the caches."""

_NUMBERS: dict[MetricType, tuple[tuple[int, str, str], ...]] = {
    "gauge": ((3, "time", "<i8"), (4, "value", "<f8")),
    "counter": ((2, "start", "<i8"), (3, "time", "<i8"), (4, "value", "<f8")),
    "histogram": ((2, "start", "<i8"), (3, "time", "<i8"), (4, "count", "<i8"), (5, "value", "<f8")),
}
"""Fields of a point that hold one number of 8 bytes: their number in the protocol, our name and the format."""

_BUCKETS, _BOUNDS = 6, 7
_ATTRIBUTES: dict[MetricType, int] = {"gauge": 7, "counter": 7, "histogram": 9}
_EXEMPLARS: dict[MetricType, int] = {"gauge": 5, "counter": 5, "histogram": 8}

Slots = npt.NDArray[np.intp]


@lru_cache(maxsize=1024)
def prefix(number: int, size: int) -> bytes:
    """What stands before a field of ``size`` bytes: its number, at most 15, and the size."""
    made = bytearray((number << 3 | 2,))
    while size > 127:
        made.append(size & 127 | 128)
        size >>= 7
    made.append(size)
    return bytes(made)


def field(number: int, content: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return prefix(number, len(content)) + content


class Attributes:
    """Encodes label values as attributes; most values are those of many series."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], bytes] = {}

    def encode(self, series: Series) -> bytes:
        """The attributes of a series, as fields of its point."""
        number = _ATTRIBUTES[series.family.type]
        return b"".join([self._one(number, *pair) for pair in zip(series.family.labels, series.labels, strict=True)])

    def _one(self, number: int, name: str, text: str) -> bytes:
        known = self._known.get((number, name, text))
        if known is None:
            # A lone surrogate, as JSON may bring one into a column's name, has no form in UTF-8.
            value = field(1, text.encode("utf-8", "replace"))
            known = self._known[number, name, text] = field(number, field(1, name.encode()) + field(2, value))
        return known


class Numbers:
    """The numbers of one export, for points to take theirs.

    Args:
        interval: The export.
        order: The positions of the series by first slot, and these slots in ascending order.

    Attributes:
        marked: Which series have exemplars; None if none has.
    """

    def __init__(self, interval: Interval, order: tuple[Slots, Slots]) -> None:
        self.starts, self.time, self.exemplars = interval.starts, interval.time, interval.exemplars
        self._values = interval.values
        self._windows: dict[int, npt.NDArray[np.float64]] = {}
        self.marked: npt.NDArray[np.bool_] | None = None
        if self.exemplars:
            positions, slots = order
            self.marked = np.zeros(len(interval.series), dtype=bool)
            self.marked[positions[np.searchsorted(slots, list(self.exemplars), side="right") - 1]] = True

    def rows(self, slots: Slots, width: int) -> npt.NDArray[np.float64]:
        """The numbers from each slot on, shape ``(slots, width)``."""
        windows = self._windows.get(width)
        if windows is None:
            windows = self._windows[width] = np.lib.stride_tricks.sliding_window_view(self._values, width)
        return windows[slots]


class Points:
    """Some points of one metric, alike in length and in the number of their buckets.

    Args:
        series: Their series.
        positions: Where these are among all series.
        rows: Each point as a field of its metric, with any numbers.
        columns: Where the numbers stand in a row.
    """

    def __init__(
        self, series: Sequence[Series], positions: Sequence[int], rows: Sequence[bytes], columns: np.dtype[np.void]
    ) -> None:
        self._type, self._width = series[0].family.type, series[0].width
        self._positions = np.array(positions, dtype=np.intp)
        self._slots = np.array([one.index for one in series], dtype=np.intp)
        self._buffer = bytearray(b"".join(rows))
        self._bytes = np.frombuffer(self._buffer, dtype=np.uint8).reshape(len(rows), -1)
        self._columns = np.frombuffer(self._buffer, dtype=columns)

    def encode(self, numbers: Numbers) -> list[bytes | memoryview]:
        """The points of the series that have a value; valid until the next call."""
        values = numbers.rows(self._slots, self._width)
        shown = ~np.isnan(values[:, 0])
        self._columns["time"] = numbers.time
        if self._type != "gauge":
            self._columns["start"] = numbers.starts[self._positions]
        if self._type == "histogram":
            values[~shown] = 0.0  # NaN is no integer
            self._columns["counts"] = values[:, :-1]
            self._columns["count"] = values[:, :-1].sum(axis=1)
        self._columns["value"] = values[:, -1]
        parts: list[bytes | memoryview] = []
        if numbers.marked is not None:
            for row in np.flatnonzero(numbers.marked[self._positions] & shown).tolist():
                parts.append(self._with_exemplars(row, numbers.exemplars))
                shown[row] = False
        if shown.all():
            parts.append(memoryview(self._buffer))
        elif shown.any():
            parts.append(self._bytes[shown].tobytes())
        return parts

    def _with_exemplars(self, row: int, exemplars: Mapping[int, Exemplar]) -> bytes:
        slot, point = int(self._slots[row]), self._bytes[row].tobytes()
        found = [exemplars[each] for each in range(slot, slot + max(self._width - 1, 1)) if each in exemplars]
        number = _EXEMPLARS[self._type]
        return field(1, point[_lead(len(point)) :] + b"".join(field(number, _exemplar(one)) for one in found))


def lay_out(
    series: Sequence[Series], positions: Sequence[int], attributes: Attributes, pause: Callable[[], None]
) -> Iterator[Points]:
    """The points of one metric.

    Args:
        series: All series.
        positions: Those of the metric.
        attributes: Encodes the attributes.
        pause: Called after each small piece of work.
    """
    forms: dict[int, tuple[bytes, dict[str, tuple[str, int]]]] = {}
    alike: dict[tuple[int, int], list[tuple[int, bytes]]] = defaultdict(list)
    for position in positions:
        one = series[position]
        form = forms.get(len(one.bounds))
        if form is None:
            form = forms[len(one.bounds)] = _form(one)
        bounds = field(_BOUNDS, struct.pack(f"<{len(one.bounds)}d", *one.bounds)) if one.bounds else b""
        row = field(1, form[0] + bounds + attributes.encode(one))
        alike[len(one.bounds), len(row)].append((position, row))
        pause()
    for (bounds_count, length), found in alike.items():
        columns = _columns(forms[bounds_count][1], length)
        for first in range(0, len(found), ROWS):
            places, rows = zip(*found[first : first + ROWS], strict=True)
            yield Points([series[place] for place in places], places, rows, columns)
            pause()


def _form(series: Series) -> tuple[bytes, dict[str, tuple[str, int]]]:
    """The part of a point that holds numbers, all 0, and the format and place of each."""
    made, places = b"", {}
    for number, name, kind in _NUMBERS[series.family.type]:
        made += bytes((number << 3 | 1,))
        places[name] = kind, len(made)
        made += bytes(8)
    if series.family.type == "histogram":
        buckets = len(series.bounds) + 1
        made += prefix(_BUCKETS, 8 * buckets)
        places["counts"] = f"({buckets},)<i8", len(made)
        made += bytes(8 * buckets)
    return made, places


def _columns(places: Mapping[str, tuple[str, int]], length: int) -> np.dtype[np.void]:
    lead = _lead(length)
    return np.dtype(
        {
            "names": list(places),
            "formats": [kind for kind, _ in places.values()],
            "offsets": [lead + place for _, place in places.values()],
            "itemsize": length,
        }
    )


def _lead(length: int) -> int:
    """Bytes before the content of a field, whose length with them is ``length``."""
    return next(lead for lead in range(2, 7) if len(prefix(1, length - lead)) == lead)


def _exemplar(exemplar: Exemplar) -> bytes:
    numbers = struct.pack("<BqBd", 2 << 3 | 1, int(exemplar.time * 1e9), 3 << 3 | 1, exemplar.value)
    return numbers + field(4, exemplar.span_id.to_bytes(8, "big")) + field(5, exemplar.trace_id.to_bytes(16, "big"))
