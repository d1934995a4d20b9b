"""One process's numbers in a folder: written by it alone, read by all, whole at any instant.

Two files a process. ``NAME.keys``: JSON lines; the first says who writes, each further one names a series and its slots; lines
are appended before their slots are counted. ``NAME.values``, memory-mapped: a header, then two buffers. Publication ``n`` goes
into buffer ``n % 2``, and only then the header names ``n``: who dies in the middle leaves the publication before it whole. A
larger pair of buffers goes behind a pair that is full. As long as the writer lives, it holds a lock on its keys.
"""

import fcntl
import json
import mmap
import os
import secrets
import sys
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import CATALOG
from otel_mlmon.forks import in_each_child
from otel_mlmon.store import Series, Snapshot

Floats = npt.NDArray[np.float64]

FORMAT = 1
"""Version of the files' format; what another one wrote is left alone."""

KEYS, VALUES, UNFINISHED = ".keys", ".values", ".new"
"""How the files' names end; never in ``.db``, which prometheus_client reads as its own."""

FAMILIES = {family.name: family for family in CATALOG}
"""Every family by its OpenTelemetry name."""

_WORD = 8  # bytes
_HEADER = 8  # words; the first: the publication, the second: slots of a buffer of the first pair
_PAIR_BITS = 8  # of the first word, the lowest: which pair of buffers; above them the number of the publication
_PAIR_MASK = (1 << _PAIR_BITS) - 1
_LEAST_SLOTS = 1024
_NOTHING: Floats = np.zeros(0)


class Writer:
    """This process's file.

    Args:
        folder: Where it lies.
        slots: For how many it has room at first.
        boot: Identity of the machine's last start.
        began: Unix time at which this process began to publish.

    Attributes:
        name: Its name, which no other process bears before or after.

    Raises:
        OSError: If it cannot be created.
    """

    def __init__(self, folder: Path, slots: int, *, boot: str, began: float) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._first = max(_LEAST_SLOTS, 1 << max(0, slots - 1).bit_length())
        self._pair = self._publication = 0
        self._encoded = self._named = self._slots = 0  # series whose lines are written or wait; their slots; those of the written
        self._waiting = json.dumps({"format": FORMAT, "boot": boot, "began": began}).encode() + b"\n"
        unfinished, keys, values = (folder / (self.name + suffix) for suffix in (KEYS + UNFINISHED, KEYS, VALUES))
        # The lock is on the keys: Python's mmap keeps a descriptor of its file, which in a forked child may outlive close().
        self._keys = self._values = -1
        in_each_child(self.close)  # another thread may fork at any time, and a lock is held as long as any child has it open
        try:
            self._values = os.open(values, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            self._reserve(0, _size(self._first, 0))
            self._buffers = _Buffers(self._values, mmap.ACCESS_WRITE)
            self._buffers.header[1] = self._first
            self._keys = os.open(unfinished, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            fcntl.flock(self._keys, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._name(())
            unfinished.rename(keys)
        except BaseException:
            self.close()
            for path in (unfinished, values):
                path.unlink(missing_ok=True)
            raise

    @property
    def lost(self) -> bool:
        """Whether someone has removed the file."""
        return os.fstat(self._keys).st_nlink == 0

    def publish(self, snapshot: Snapshot) -> None:
        """Show all numbers to the others, in one instant.

        Args:
            snapshot: The numbers; its series only ever grow.

        Raises:
            OSError: If there is no room for new series; the others are shown nevertheless.
        """
        try:
            self._extend(snapshot.series)
        finally:
            self._write(snapshot.values[: self._slots])

    def close(self) -> None:
        """Let go of the file: for the others, this process has ended. A forked child leaves it to its parent. Idempotent."""
        descriptors, self._keys, self._values = (self._keys, self._values), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    def _extend(self, series: tuple[Series, ...]) -> None:
        """Give new series their room and their lines."""
        self._name(())  # what could not be written the last time
        new = series[self._encoded :]
        if not new:
            return
        try:
            self._grow(_stop(new[-1]))
        finally:
            self._name(new[: bisect_right(new, self._first << self._pair, key=_stop)])

    def _grow(self, slots: int) -> None:
        pair = self._pair
        while self._first << pair < slots:
            pair += 1
        if pair > self._pair:
            self._reserve(_size(self._first, self._pair), _size(self._first, pair))
            self._buffers = _Buffers(self._values, mmap.ACCESS_WRITE)
            self._pair = pair

    def _reserve(self, start: int, stop: int) -> None:
        """Give the file its blocks: a page without one, touched when the disk is full, kills the process (SIGBUS)."""
        zeros, position = bytes(stop - start), start
        try:
            while position < stop:
                position += os.pwrite(self._values, zeros[position - start :], position)
        except OSError:
            os.ftruncate(self._values, start)
            raise

    def _name(self, series: Sequence[Series]) -> None:
        if series:
            self._waiting += b"".join(map(_line, series))
            self._encoded += len(series)
            self._named = _stop(series[-1])
        while self._waiting:
            self._waiting = self._waiting[os.write(self._keys, self._waiting) :]
        self._slots = self._named

    def _write(self, values: Floats) -> None:
        header = self._buffers.header
        if header[0] and np.array_equal(self._buffers.at(int(header[0])).view(np.uint64), values.view(np.uint64)):
            return  # a page that is not written to need not go to the disk
        self._publication += 1
        word = self._publication << _PAIR_BITS | self._pair
        self._buffers.fence()  # a reader that sees this writing sees the publication before it, too
        self._buffers.put(word, values)
        self._buffers.fence()  # a reader that sees the publication sees all its numbers
        header[0] = word


class Reader:
    """A process's file as the others see it; the writer's own process, too.

    Args:
        folder: Where it lies.
        name: Its name.

    Attributes:
        name: Its name.
        boot: Identity of the machine's last start when it was written.
        began: Unix time at which its process began to publish.
        series: What ``read`` gives; only ever grows.
        versions: Name and version of each model that these are of.
        strange: Whether it holds series that this version of the library does not know; they are not in ``series``.

    Raises:
        FileNotFoundError: If it is not there any more.
        OSError: If it cannot be read.
        ValueError: If it is damaged, or of another format.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.series: list[Series] = []
        self.versions: set[tuple[str, ...]] = set()
        self.strange = False
        self._ended = False
        self._last: Floats | None = None  # once the writer has ended
        self._keys, self._values = folder / (name + KEYS), folder / (name + VALUES)
        with self._keys.open("rb") as keys:
            line = keys.readline()
        head = json.loads(line)
        if head["format"] != FORMAT:
            raise ValueError(f"{self._keys.name}: format must be {FORMAT}, got {head['format']!r}")
        self.boot, self.began = str(head["boot"]), float(head["began"])
        self._offset = len(line)  # in the keys
        self._slots = 0  # that the lines before it name
        self._map()

    def ended(self) -> bool:
        """Whether the writer's process has ended. Ask before ``read``: what is read then is its last word.

        Raises:
            FileNotFoundError: If the file is not there any more.
        """
        if not self._ended:
            with self._keys.open("rb") as keys:
                try:
                    fcntl.flock(keys, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    self._ended = True
                except BlockingIOError:
                    pass
        return self._ended

    def read(self) -> Floats:
        """The last publication, shape ``(slots,)``; empty before the first.

        Raises:
            FileNotFoundError: If the file is needed again, and is not there any more.
            ValueError: If it is damaged.
        """
        if self._last is not None:
            return self._last
        values = _NOTHING
        while word := int(self._buffers.header[0]):
            self._buffers.fence()
            if not self._buffers.hold(word):
                self._map(word)
            values = self._buffers.at(word).copy()
            self._buffers.fence()
            if int(self._buffers.header[0]) == word:  # else the buffer may have been written to meanwhile
                break
        if len(values) > self._slots:
            self._name(len(values))
        if self._ended:  # a mapping holds a descriptor, and hundreds may have ended since someone looked
            self._last = values
            del self._buffers
        return values

    def _map(self, word: int = 0) -> None:
        with self._values.open("rb") as values:
            self._buffers = _Buffers(values.fileno(), mmap.ACCESS_READ)
        if not self._buffers.hold(word):
            raise ValueError(f"{self._values.name}: the file is too short")

    def _name(self, slots: int) -> None:
        """Read the lines of so many slots; those behind them are not counted yet."""
        with self._keys.open("rb") as keys:
            keys.seek(self._offset)
            lines = keys.read().split(b"\n")[:-1]
        for line, key in zip(lines, json.loads(b"[" + b",".join(lines) + b"]"), strict=True):
            if self._slots >= slots:
                return
            name, labels, index, bounds = key
            series = known(name, labels, bounds, index)
            self._offset += len(line) + 1
            self._slots = index + (1 if bounds is None else len(bounds) + 2)
            if series is None:
                self.strange = True
            else:
                self.series.append(series)
                self.versions.add(series.labels[:2])
        if self._slots < slots:
            raise ValueError(f"{self._keys.name}: {slots} slots are counted, {self._slots} have a name")


class _Buffers:
    """A file of values, mapped."""

    def __init__(self, descriptor: int, access: int) -> None:
        mapped = mmap.mmap(descriptor, 0, access=access)
        self.header = np.frombuffer(mapped, dtype=np.uint64, count=_HEADER)
        self._words: Floats = np.frombuffer(mapped, dtype=np.float64, count=len(mapped) // _WORD)
        self._lock = threading.Lock()  # not one for all: a forked child may find that held, for ever

    def fence(self) -> None:
        """Keep what was written or read before apart from what comes after, on processors that reorder: ARM; x86 does not here.

        Nothing earlier moves behind the release of a lock, and nothing later before the next time that it is taken: within one
        pair, both could meet.
        """
        with self._lock:
            pass
        with self._lock:
            pass

    def hold(self, word: int) -> bool:
        """Whether the mapping reaches as far as a publication."""
        return bool(self.header[1]) and _size(int(self.header[1]), word & _PAIR_MASK) <= _WORD * len(self._words)

    def at(self, word: int) -> Floats:
        """The numbers of a publication, in place."""
        start = self._start(word)
        return self._words[start + 1 : start + 1 + int(self._words[start])]

    def put(self, word: int, values: Floats) -> None:
        """Write the numbers of a publication, which nobody reads yet."""
        start = self._start(word)
        self._words[start] = len(values)
        self._words[start + 1 : start + 1 + len(values)] = values

    def _start(self, word: int) -> int:
        first, pair = int(self.header[1]), word & _PAIR_MASK
        second = word >> _PAIR_BITS & 1
        return _size(first, pair) // _WORD - (2 - second) * ((first << pair) + 1)


def known(name: str, labels: Sequence[str], bounds: Sequence[float] | None, index: int) -> Series | None:
    """A series as it is written in a file; None of a family that this version of the library has not, or has otherwise."""
    family = FAMILIES.get(name)
    if family is None or len(labels) != len(family.labels) or (bounds is not None) != (family.type == "histogram"):
        return None
    return Series(family, tuple(map(sys.intern, labels)), index, tuple(bounds or ()))  # the same in every process


def _line(series: Series) -> bytes:
    bounds = series.bounds if series.family.type == "histogram" else None
    return json.dumps((series.family.name, series.labels, series.index, bounds)).encode() + b"\n"


def _stop(series: Series) -> int:
    return series.index + series.width


def _size(first: int, pair: int) -> int:
    """Bytes up to the end of a pair of buffers: each has twice the slots of the pair before it, and a word that counts them."""
    return _WORD * (_HEADER + 2 * (first * ((2 << pair) - 1) + pair + 1))
