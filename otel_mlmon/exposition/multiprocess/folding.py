"""What processes that have ended leave behind: their counters, added up in one file."""

import contextlib
import fcntl
import json
import mmap
import os
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from otel_mlmon.exposition.multiprocess.files import FAMILIES, FORMAT, KEYS, UNFINISHED, VALUES, Reader, known
from otel_mlmon.exposition.multiprocess.merging import combination
from otel_mlmon.store import Series

Floats = npt.NDArray[np.float64]

KEPT_SECONDS = 3600.0
"""How long the name of a folded file stays listed, and how long the counters of a version of which no process lives."""

_FILE, _LOCK = "folded", "folding.lock"

Version = tuple[str, ...]
"""Name and version of a model."""

Entry = tuple[str, tuple[str, ...], tuple[float, ...] | None]
"""Family name, labels and bounds of a series; the family need not be one that this version of the library knows."""


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """The file at one instant.

    Attributes:
        names: Of the files that are in it, with the Unix time at which they were folded.
        ended: When the last process of a version was folded, Unix time.
        boot: Identity of the machine's last start when it was written.
        entries: All numbers.
        series: Those that this version of the library knows, as they lie in ``values``.
        values: Shape ``(slots,)``.
    """

    names: Mapping[str, float] = field(default_factory=dict)
    ended: Mapping[Version, float] = field(default_factory=dict)
    boot: str = ""
    entries: Mapping[Entry, Floats] = field(default_factory=dict)
    series: Sequence[Series] = ()
    values: Floats = field(default_factory=lambda: np.zeros(0))

    def outlived(self, living: Collection[Version], now: float) -> set[Version]:
        """Versions to drop: none of their processes lives, and the last was folded long ago."""
        return {version for version, ended in self.ended.items() if now - ended > KEPT_SECONDS and version not in living}


NOTHING = Folded()


class DamagedError(ValueError):
    """What lies in the place of the file was not written as one."""


class FoldedFile:
    """The file, parsed again only when another has taken its place.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._mapped: mmap.mmap | None = None  # as long as it is mapped, no other file gets its number
        self._number = 0
        self._folded = NOTHING

    def read(self) -> Folded:
        """What it holds now; the same object as long as that is the same.

        Raises:
            OSError: If it cannot be read.
            DamagedError: If it is none.
            ValueError: If it is of another format.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not status.st_size:
                    raise DamagedError(f"{_FILE}: the file is empty")
                if self._mapped is None or status.st_ino != self._number:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    self._folded = _parsed(mapped[:])
                    self._mapped, self._number = mapped, status.st_ino
        except FileNotFoundError:
            self._mapped, self._folded = None, NOTHING
        return self._folded


def set_aside(folder: Path) -> None:
    """Put a damaged file away, unless another process is at it: its counters are lost, those of the next to end need not be.

    Args:
        folder: Where the files lie.

    Raises:
        OSError: If it cannot be renamed.
    """
    with _alone(folder) as alone:
        if alone:
            try:
                FoldedFile(folder).read()
            except DamagedError:
                (folder / _FILE).replace(folder / (_FILE + ".damaged"))


def fold(folder: Path, ended: Sequence[Reader], living: Collection[Version], *, boot: str, now: float) -> None:
    """Add the counters of ended processes to the file and remove their own, unless another process is at it.

    Whoever dies in the middle leaves either the file as it was, or names in it whose own files the next one removes: the file
    tells which ones not to read.

    Args:
        folder: Where the files lie.
        ended: Files of processes that have ended.
        living: Versions of which a process lives.
        boot: Identity of the machine's last start.
        now: Unix time.

    Raises:
        OSError: If the file cannot be written; everything is as it was.
        ValueError: If the file is damaged, or of another format.
    """
    with _alone(folder) as alone:
        if not alone:
            return
        folded = FoldedFile(folder).read()
        dropped = folded.outlived(living, now)
        entries = {
            entry: values
            for entry, values in folded.entries.items()
            if entry[1][:2] not in dropped and (folded.boot == boot or not _of_machine(entry))
        }
        names = dict(folded.names)
        versions = {version: time for version, time in folded.ended.items() if version not in dropped}
        there = {path.stem for path in folder.glob("*" + KEYS)}
        for reader in ended:
            if reader.name in names or reader.name not in there:
                continue
            with contextlib.suppress(FileNotFoundError):
                values = reader.read()
                _add(entries, reader, values, past=reader.boot != boot)
                names[reader.name] = now
                versions.update(dict.fromkeys(reader.versions, now))
        kept = {name: time for name, time in names.items() if name in there or now - time <= KEPT_SECONDS}
        if kept != folded.names or dropped:
            _replace(folder / _FILE, Folded(kept, versions, boot, entries))
        _clean(folder, kept, now)


def _add(entries: dict[Entry, Floats], reader: Reader, values: Floats, *, past: bool) -> None:
    for one in reader.series:
        combine = combination(one.family, ended=True, past=past)
        if combine is not None:
            entry = one.family.name, one.labels, one.bounds if one.family.type == "histogram" else None
            own = values[one.index : one.index + one.width]
            entries[entry] = combine(entries[entry], own) if entry in entries else own


def _of_machine(entry: Entry) -> bool:
    """Whether it is a count of the machine, which begins anew when that starts."""
    family = FAMILIES.get(entry[0])
    return family is not None and combination(family, ended=True) is not None and combination(family, ended=True, past=True) is None


def _clean(folder: Path, folded: Collection[str], now: float) -> None:
    """Remove the files that were folded, and what died before it was finished."""
    for path in folder.iterdir():
        if path.suffix not in {KEYS, VALUES, UNFINISHED}:
            continue
        with contextlib.suppress(FileNotFoundError):
            finished = path.with_suffix(KEYS).exists()
            if path.stem in folded or (not finished and now - path.stat().st_mtime > KEPT_SECONDS):
                path.unlink()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing would not do: a child forked meanwhile holds it open
    finally:
        os.close(descriptor)


def _replace(path: Path, folded: Folded) -> None:
    document = {
        "format": FORMAT,
        "boot": folded.boot,
        "names": folded.names,
        "ended": [[*version, time] for version, time in folded.ended.items()],
        "series": [[*entry, values.tolist()] for entry, values in folded.entries.items()],
    }
    unfinished = path.with_name(f"{path.name}-{secrets.token_hex(8)}{UNFINISHED}")
    try:
        with unfinished.open("x", encoding="ascii") as file:
            file.write(json.dumps(document))
            file.flush()
            os.fsync(file.fileno())  # or a loss of power may leave the name without the numbers
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _parsed(text: bytes) -> Folded:
    try:
        document = json.loads(text)
        version = document["format"]
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"{_FILE}: the file is damaged: {error}") from error
    if version != FORMAT:
        raise ValueError(f"{_FILE}: format must be {FORMAT}, got {version!r}")
    entries: dict[Entry, Floats] = {}
    series: list[Series] = []
    numbers: list[float] = []
    for name, labels, bounds, values in document["series"]:
        entries[name, tuple(labels), None if bounds is None else tuple(bounds)] = np.array(values, dtype=np.float64)
        one = known(name, labels, bounds, len(numbers))
        if one is not None:
            series.append(one)
            numbers += values
    return Folded(
        names=document["names"],
        ended={tuple(version): time for *version, time in document["ended"]},
        boot=document["boot"],
        entries=entries,
        series=tuple(series),
        values=np.array(numbers, dtype=np.float64),
    )
