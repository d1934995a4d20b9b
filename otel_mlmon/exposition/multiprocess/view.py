"""The folder as one process sees it: all files in it, merged."""

import errno
import os
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

from otel_mlmon.exposition.multiprocess.files import KEYS, Reader
from otel_mlmon.exposition.multiprocess.folding import NOTHING, DamagedError, Folded, FoldedFile, Version, fold, set_aside
from otel_mlmon.exposition.multiprocess.merging import Floats, Layout, Part

Report = Callable[[str, BaseException], None]
"""Told of what went wrong: of which cause, and how it showed."""

_FOLD_SECONDS = 1.0  # between two attempts of one process
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What this process has not enough of, descriptors or memory, for files that are all there."""


@dataclass(frozen=True, slots=True)
class Merged:
    """All processes at one instant.

    Attributes:
        layout: Whose the numbers are.
        values: The numbers, shape ``(slots,)``.
        parts: Position in the layout of each file, by its name.
    """

    layout: Layout
    values: Floats
    parts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Read:
    """What one file said."""

    reader: Reader
    ended: bool
    values: Floats


class View:
    """Reads the folder; one object a folder and process, so that what is cached is cached once.

    Args:
        folder: Where the files lie.
        boot: Identity of the machine's last start.
        clock: Gives the Unix time.
    """

    def __init__(self, folder: Path, *, boot: str, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.boot, self.clock = folder, boot, clock
        self.reset()

    def reset(self) -> None:
        """Begin anew in a forked child: another thread of the parent may have been reading."""
        self._lock = threading.Lock()
        self._readers: dict[str, Reader] = {}
        self._folded = FoldedFile(self.folder)
        self._parts: dict[Hashable, Part] = {}
        self._layout = Layout(())
        self._folding = 0.0  # time of the last attempt

    def read(self, report: Report) -> Merged:
        """Merge what all processes have published; fold what the ended left, once in a while.

        Args:
            report: Told of files that cannot be read, and of those that contradict each other.

        Raises:
            OSError: If this process may not open one more file: without a part, counters would show less than they have shown.
        """
        with self._lock:
            files = self._files(report)
            # The folded file last: who finds a file no more finds its numbers there, and it tells which files are in it.
            try:
                folded, readable = self._folded.read(), True
            except (OSError, ValueError, LookupError, TypeError) as error:
                _raise_scarcity(error)
                report("folded", error)
                folded, readable = NOTHING, False
                if isinstance(error, DamagedError):
                    self._set_aside(report)
            merged = self._merge(folded, [one for one in files if one.reader.name not in folded.names], report)
            now = self.clock()
            if readable and not 0 <= now - self._folding < _FOLD_SECONDS:
                self._fold(folded, files, now, report)
            return merged

    def _files(self, report: Report) -> list[_Read]:
        """Every process's file, that of the oldest first."""
        files: list[_Read] = []
        readers, self._readers = self._readers, {}
        try:
            names = _names(self.folder)
        except OSError as error:
            _raise_scarcity(error)
            report("reading", error)
            names = []
        for name in names:
            try:
                reader = readers.get(name) or Reader(self.folder, name)
                files.append(_Read(reader, reader.ended(), reader.read()))  # in this order: the last word of one that has ended
                self._readers[name] = reader
            except FileNotFoundError:
                continue  # folded meanwhile
            except (OSError, ValueError, LookupError, TypeError) as error:
                _raise_scarcity(error)
                report("reading", error)
        return sorted(files, key=lambda one: (one.reader.began, one.reader.name))

    def _merge(self, folded: Folded, files: list[_Read], report: Report) -> Merged:
        parts: dict[Hashable, Part] = {}  # the same object as long as it has the same series to say
        parts[folded] = self._parts.get(folded) or Part(folded.series, ended=True, past=folded.boot != self.boot)
        for one in files:
            reader = one.reader
            state = reader, one.ended, len(reader.series)
            parts[state] = self._parts.get(state) or Part(reader.series, ended=one.ended, past=reader.boot != self.boot)
        if parts != self._parts:
            self._parts, self._layout = parts, Layout(tuple(parts.values()), self._layout)
            for name in self._layout.conflicts:
                report(name, ValueError(f"histogram {name!r}: processes cut it at different bounds"))
        values = self._layout.merge([folded.values, *(one.values for one in files)])
        return Merged(self._layout, values, {one.reader.name: position for position, one in enumerate(files, 1)})

    def _fold(self, folded: Folded, files: list[_Read], now: float, report: Report) -> None:
        # What this version of the library does not know, a newer one will know how to add up.
        ended = [one.reader for one in files if one.ended and not one.reader.strange]
        living = set[Version]().union(*(one.reader.versions for one in files if not one.ended))
        if not ended and not folded.outlived(living, now):
            return
        self._folding = now
        try:
            fold(self.folder, ended, living, boot=self.boot, now=now)
        except (OSError, ValueError) as error:
            report("folding", error)

    def _set_aside(self, report: Report) -> None:
        try:
            set_aside(self.folder)
        except OSError as error:
            report("folding", error)


def _raise_scarcity(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in _SCARCE:
        raise error


def _names(folder: Path) -> list[str]:
    try:
        return [name.removesuffix(KEYS) for name in os.listdir(folder) if name.endswith(KEYS)]
    except FileNotFoundError:
        return []
