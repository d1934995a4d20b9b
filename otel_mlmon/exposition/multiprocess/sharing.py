"""One monitor's part in the folder that the processes of a server share."""

import fcntl
import hashlib
import os
import re
import stat
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

from otel_mlmon.exposition.multiprocess.files import UNFINISHED, Writer
from otel_mlmon.exposition.multiprocess.view import View
from otel_mlmon.store import Exemplar, Snapshot

_INSTANCE, _LEADER = "instance", "leader.lock"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CLOSE_SECONDS = 1.0


class Shared:
    """The folder as one monitor sees it; made by ``share``.

    Args:
        place: The folder.
        own: Gives all series of this process at one instant.
        failed: Told once of each cause for which something could not be published, read or led.

    Attributes:
        folder: That of the monitor's name.
        instance: Identity of the folder, the same for all processes.
    """

    def __init__(self, place: "Place", own: Callable[[], Snapshot], failed: Callable[[str, BaseException], None]) -> None:
        self.folder, self.instance = place.view.folder, _instance(place.view.folder)
        self._place, self._own, self._failed = place, own, failed
        self._writer: Writer | None = None
        self._leader = -1
        self._exemplars: Mapping[int, Exemplar] = {}
        self._closed = False
        self._begin()
        place.members.append(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._reported: set[str] = set()

    def publish(self) -> None:
        """Show this process's numbers to the others. What the folder refuses is reported, and tried again the next time.

        Whoever begins to publish folds what the ended left: where nobody reads, their files would pile up.
        """
        with self._lock:
            if self._closed:
                return
            began = self._writer is None
            self._publish()
        if began:
            View(self.folder, boot=self._place.view.boot, clock=self._place.view.clock).read(self._report)

    def collect(self) -> Snapshot:
        """All series of all processes.

        This process's numbers are published first: a page shows no more of it than the others can see, so that no counter shows
        less where another process answers.

        Raises:
            OSError: If this process may not open one more file: without a part, counters would show less than they have shown.
        """
        members = tuple(self._place.members)
        for member in members:  # monitors of one name in one process show one page: none may add a series between two readings
            member.publish()
        merged = self._place.view.read(self._report)
        exemplars: dict[int, Exemplar] = {}
        for member in members:
            own, name = member._exemplars, member._name
            if own and name in merged.parts:
                targets = merged.layout.targets(merged.parts[name])
                exemplars.update((targets[slot], exemplar) for slot, exemplar in own.items() if slot in targets)
        return Snapshot(merged.layout.series, merged.values, exemplars)

    def leads(self) -> bool:
        """Whether this process is the one that exports for all: the first that asked, until it ends."""
        with self._lock:
            if self._closed:
                return False
            try:
                return self._lead()
            except OSError as error:
                self._report("leading", error)
                return False

    def reset(self) -> None:
        """Begin anew in a forked child: the parent's file is the parent's, and so is its lead."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._resign()
        self._exemplars = {}
        self._begin()
        self._place.view.reset()

    def close(self) -> None:
        """Publish a last time; for the others, this process has then ended. Idempotent.

        Where the lock is held by what a signal handler has interrupted, or the folder hangs, they see it when the process is gone.
        """
        if not self._lock.acquire(timeout=_CLOSE_SECONDS):
            return
        try:
            if self._closed:
                return
            self._publish()
            self._closed = True
            if self._writer is not None:
                self._writer.close()
            self._resign()
        finally:
            self._lock.release()
        self._place.members.remove(self)

    @property
    def _name(self) -> str:
        writer = self._writer
        return "" if writer is None else writer.name

    def _publish(self) -> None:
        snapshot = self._own()  # under the lock: an older instant must not be published after a newer one
        try:
            if self._writer is not None and self._writer.lost:
                self._writer.close()
                self._writer = None
            if self._writer is None:
                _make(self.folder)
                slots = len(snapshot.values)
                self._writer = Writer(self.folder, slots, boot=self._place.view.boot, began=self._place.view.clock())
            self._writer.publish(snapshot)
            self._reported.discard("publishing")
        except OSError as error:
            self._report("publishing", error)
        self._exemplars = snapshot.exemplars

    def _lead(self) -> bool:
        if self._leader >= 0 and os.fstat(self._leader).st_nlink == 0:  # removed: others cannot see the lock
            self._resign()
        if self._leader < 0:
            descriptor = os.open(self.folder / _LEADER, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._leader = descriptor
        return True

    def _resign(self) -> None:
        descriptor, self._leader = self._leader, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _report(self, cause: str, error: BaseException) -> None:
        if cause not in self._reported:
            self._reported.add(cause)
            self._failed("multiprocess", error)


class Place:
    """A folder, and the monitors of this process that take part in it.

    Args:
        view: Reads the folder.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.members: list[Shared] = []


_PLACES: "weakref.WeakValueDictionary[Path, Place]" = weakref.WeakValueDictionary()


def share(directory: Path, name: str, own: Callable[[], Snapshot], *, failed: Callable[[str, BaseException], None]) -> Shared:
    """Take part in the folder that all processes of a server share.

    Nothing is published yet, and no thread started: a process that only forks others stays out of their page.

    Args:
        directory: The folder; created where it is missing. Each name has its own below it.
        name: The monitor's name.
        own: Gives all series of this process at one instant.
        failed: Told once of each cause for which something could not be published or read: ``multiprocess``, and the error.

    Returns:
        The monitor's part in it.

    Raises:
        OSError: If the folder cannot be used.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:40]
    folder = directory.absolute() / f"{readable}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:12]}"
    try:
        _make(folder)
        with tempfile.TemporaryFile(dir=folder) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Shared(_PLACES.setdefault(folder, Place(View(folder, boot=_boot()))), own, failed)
    except OSError as error:
        raise OSError(
            error.errno,
            "the directory that OTEL_MLMON_MULTIPROC_DIR or PROMETHEUS_MULTIPROC_DIR names must be writable and know file locks, "
            f"got {str(directory)!r}: {error.strerror}",
        ) from error


def _make(folder: Path) -> None:
    """Create the folder, for those who may write to the directory: a server may load as one user and work as another."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    parent = folder.parent.stat()
    folder.chmod(stat.S_IMODE(parent.st_mode))
    if os.geteuid() == 0:
        os.chown(folder, parent.st_uid, parent.st_gid)


def _instance(folder: Path) -> str:
    """Read the identity of the folder; whoever comes first writes it."""
    path = folder / _INSTANCE
    if not path.exists():
        unfinished = folder / f"{uuid.uuid4()}{UNFINISHED}"
        unfinished.write_text(unfinished.stem, encoding="ascii")
        try:
            os.link(unfinished, path)
        except FileExistsError:
            pass  # another process was faster
        finally:
            unfinished.unlink()
    return path.read_text(encoding="ascii")


def _boot() -> str:
    """Identity of the machine's last start; empty where the system has none, and all starts are then one."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
