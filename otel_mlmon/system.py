"""Health of the process and of the machine, read under OpenTelemetry's semantic-convention names: with psutil, GPUs apart."""

import gc
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.gpu import Gpus, Reading
from otel_mlmon.store import SeriesStore

_MAX_DEVICES = 16
_VIRTUAL_INTERFACES = ("lo", "veth", "docker", "br-", "virbr", "cali", "cni", "flannel", "tap", "vnet", "dummy", "ifb")
_INTERFACES = Path("/sys/class/net")
_BLOCK_DEVICES = Path("/sys/block")
_VIRTUAL_DISKS = ("loop", "ram", "zram", "sr", "fd")

# What a platform, a container or a sandbox answers instead of a number; a Warning where warnings are errors.
_REFUSED = (psutil.Error, OSError, RuntimeError, AttributeError, ValueError, LookupError, Warning)

# cpu.mode -> psutil's fields. Its `guest` and `guest_nice` are part of `user` and `nice` already.
_CPU_MODES = {
    "user": ("user",),
    "nice": ("nice",),
    "system": ("system",),
    "idle": ("idle",),
    "iowait": ("iowait",),
    "interrupt": ("irq", "softirq"),
    "steal": ("steal",),
}


class SystemHealth:
    """Writes the ``process_*``, ``system_*``, ``cpython_gc_*`` and ``hw_*`` series of one monitor.

    A series exists from its first successful reading on. What cannot be read disturbs nothing else: a gauge has no value
    then, a counter keeps its last one. Disks and network interfaces are chosen at the first reading, at most 16 of each.

    Args:
        model_labels: Name and version of the model.
        store: Where the series live.

    Source:
        https://opentelemetry.io/docs/specs/semconv/system/

    >>> store = SeriesStore()
    >>> SystemHealth(("m", "1"), store).read(1_700_000_000.0)
    >>> "process.memory.usage" in {series.family.name for series in store.snapshot().series}
    True
    """

    def __init__(self, model_labels: tuple[str, str], store: SeriesStore) -> None:
        self._model = model_labels
        self._store = store
        self._slots: dict[tuple[MetricFamily, tuple[str, ...]], int] = {}
        self._gauges: set[int] = set()
        self._read: set[int] = set()
        self._readings: tuple[Callable[[float], Iterable[Reading]], ...] = (
            self._process_cpu,
            self._process_memory,
            self._process_io,
            self._process_threads,
            self._process_files,
            self._process_files_limit,
            self._process_switches,
            self._process_uptime,
            self._garbage,
            self._cpu,
            self._memory,
            self._disks,
            self._filesystems,
            self._network,
            self._uptime,
            self._gpu,
        )
        self.reset()

    def reset(self) -> None:
        """Begin anew in a forked child, which is another process."""
        self._process = psutil.Process()
        self._gpus = Gpus()
        self._process_last: tuple[float, dict[str, float]] | None = None
        self._cpu_last: dict[str, float] = {}
        self._disk_names: tuple[str, ...] = ()
        self._interface_names: tuple[str, ...] = ()
        self._mounts = _mounts()

    def read(self, now: float) -> None:
        """Read everything once. Never raises because of what a platform or a container refuses.

        Args:
            now: Unix time, seconds.
        """
        self._read = set()
        with self._process.oneshot():
            for reading in self._readings:
                self._write(reading, now)
        for slot in self._gauges - self._read:  # what could be read before, perhaps by the process that this one was forked from
            self._store.set(slot, np.nan)

    def _write(self, reading: Callable[[float], Iterable[Reading]], now: float) -> None:
        try:
            for family, value, labels in reading(now):
                key = family, (*self._model, *labels)
                slot = self._slots.get(key)
                if slot is None:
                    slot = self._slots[key] = self._store.index(*key)
                if family.type == "gauge":
                    self._gauges.add(slot)
                    self._read.add(slot)
                self._store.set(slot, float(value))
        except _REFUSED:
            return  # a series without a value is how a refusal shows

    def _process_cpu(self, now: float) -> Iterator[Reading]:
        times = self._process.cpu_times()
        current = {"user": times.user, "system": times.system}
        for mode, seconds in current.items():
            yield catalog.PROCESS_CPU_TIME, seconds, (mode,)
        last, self._process_last = self._process_last, (now, current)
        if last is not None and now > last[0]:
            for mode, seconds in current.items():
                share = (seconds - last[1][mode]) / (now - last[0]) / _processors()
                yield catalog.PROCESS_CPU_UTILIZATION, min(max(share, 0.0), 1.0), (mode,)

    def _process_memory(self, now: float) -> Iterator[Reading]:
        memory = self._process.memory_info()
        yield catalog.PROCESS_MEMORY_USAGE, memory.rss, ()
        yield catalog.PROCESS_MEMORY_VIRTUAL, memory.vms, ()

    def _process_io(self, now: float) -> Iterator[Reading]:
        moved = self._process.io_counters()
        yield catalog.PROCESS_DISK_IO, moved.read_bytes, ("read",)
        yield catalog.PROCESS_DISK_IO, moved.write_bytes, ("write",)

    def _process_threads(self, now: float) -> Iterator[Reading]:
        yield catalog.PROCESS_THREADS, self._process.num_threads(), ()

    def _process_files(self, now: float) -> Iterator[Reading]:
        yield catalog.PROCESS_OPEN_FILES, self._process.num_fds(), ()

    def _process_files_limit(self, now: float) -> Iterator[Reading]:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY:
            yield catalog.PROCESS_OPEN_FILES_LIMIT, limit, ()

    def _process_switches(self, now: float) -> Iterator[Reading]:
        # psutil's num_ctx_switches knows the main thread only.
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield catalog.PROCESS_CONTEXT_SWITCHES, usage.ru_nvcsw, ("voluntary",)
        yield catalog.PROCESS_CONTEXT_SWITCHES, usage.ru_nivcsw, ("involuntary",)

    def _process_uptime(self, now: float) -> Iterator[Reading]:
        yield catalog.PROCESS_UPTIME, max(0.0, now - self._process.create_time()), ()

    def _garbage(self, now: float) -> Iterator[Reading]:
        for generation, counts in enumerate(gc.get_stats()):
            yield catalog.GC_COLLECTIONS, counts["collections"], (str(generation),)
            yield catalog.GC_COLLECTED, counts["collected"], (str(generation),)
            yield catalog.GC_UNCOLLECTABLE, counts["uncollectable"], (str(generation),)

    def _cpu(self, now: float) -> Iterator[Reading]:
        yield catalog.SYSTEM_CPU_LOGICAL, psutil.cpu_count() or os.cpu_count() or 1, ()
        times = psutil.cpu_times()
        last = self._cpu_last
        current: dict[str, float] = {}
        for mode, fields in _CPU_MODES.items():
            if hasattr(times, fields[0]):
                # Linux's idle and iowait may step back a little; a counter must not.
                current[mode] = max(sum(getattr(times, field, 0.0) for field in fields), last.get(mode, 0.0))
        self._cpu_last = current
        for mode, seconds in current.items():
            yield catalog.SYSTEM_CPU_TIME, seconds, (mode,)
        elapsed = sum(current.values()) - sum(last.values())
        if last and elapsed > 0:
            for mode, seconds in current.items():
                yield catalog.SYSTEM_CPU_UTILIZATION, (seconds - last.get(mode, 0.0)) / elapsed, (mode,)

    def _memory(self, now: float) -> Iterator[Reading]:
        memory = psutil.virtual_memory()
        states = {
            "free": memory.free,
            **{state: getattr(memory, state) for state in ("cached", "buffers") if hasattr(memory, state)},
        }
        yield catalog.SYSTEM_MEMORY_LIMIT, memory.total, ()
        # psutil's `used` is total - available and overlaps the other states; these add up to the total.
        yield catalog.SYSTEM_MEMORY_USAGE, max(0, memory.total - sum(states.values())), ("used",)
        for state, size in states.items():
            yield catalog.SYSTEM_MEMORY_USAGE, size, (state,)

    def _disks(self, now: float) -> Iterator[Reading]:
        # nowrap=True would keep one global lock, which a fork can leave locked.
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        self._disk_names = self._disk_names or _choose(disks, _BLOCK_DEVICES, _VIRTUAL_DISKS)
        for name in self._disk_names:
            if name in disks:
                yield catalog.SYSTEM_DISK_IO, disks[name].read_bytes, (name, "read")
                yield catalog.SYSTEM_DISK_IO, disks[name].write_bytes, (name, "write")
                yield catalog.SYSTEM_DISK_OPERATIONS, disks[name].read_count, (name, "read")
                yield catalog.SYSTEM_DISK_OPERATIONS, disks[name].write_count, (name, "write")

    def _filesystems(self, now: float) -> Iterator[Reading]:
        for mount in self._mounts:
            usage = psutil.disk_usage(mount)
            yield catalog.SYSTEM_FILESYSTEM_USAGE, usage.used, (mount, "used")
            yield catalog.SYSTEM_FILESYSTEM_USAGE, usage.free, (mount, "free")
            yield catalog.SYSTEM_FILESYSTEM_USAGE, max(0, usage.total - usage.used - usage.free), (mount, "reserved")
            if usage.used + usage.free > 0:
                # As df shows it: what is reserved is not to be had.
                yield catalog.SYSTEM_FILESYSTEM_UTILIZATION, usage.used / (usage.used + usage.free), (mount,)

    def _network(self, now: float) -> Iterator[Reading]:
        interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
        self._interface_names = self._interface_names or _choose(interfaces, _INTERFACES, _VIRTUAL_INTERFACES)
        for name in self._interface_names:
            if name in interfaces:
                traffic = interfaces[name]
                yield catalog.SYSTEM_NETWORK_IO, traffic.bytes_recv, (name, "receive")
                yield catalog.SYSTEM_NETWORK_IO, traffic.bytes_sent, (name, "transmit")
                yield catalog.SYSTEM_NETWORK_ERRORS, traffic.errin, (name, "receive")
                yield catalog.SYSTEM_NETWORK_ERRORS, traffic.errout, (name, "transmit")
                yield catalog.SYSTEM_NETWORK_DROPPED, traffic.dropin, (name, "receive")
                yield catalog.SYSTEM_NETWORK_DROPPED, traffic.dropout, (name, "transmit")

    def _uptime(self, now: float) -> Iterator[Reading]:
        yield catalog.SYSTEM_UPTIME, max(0.0, now - psutil.boot_time()), ()

    def _gpu(self, now: float) -> Iterable[Reading]:
        return self._gpus.read()


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _mounts() -> tuple[str, ...]:
    """Mount points of the root and of the working directory."""
    try:
        path = Path.cwd()
    except OSError:  # the directory was removed
        return ("/",)
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return tuple(dict.fromkeys(("/", str(path))))


def _choose(names: Iterable[str], folder: Path, virtual: tuple[str, ...]) -> tuple[str, ...]:
    """The devices worth a series: with hardware behind them first, at most 16; virtual ones only where there are no others.

    Args:
        names: Device names.
        folder: Where Linux lists whole devices; a partition is not there, and one with hardware has a ``device`` link.
        virtual: Beginnings of names of devices that only mirror others.
    """
    listed = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()

    def rank(name: str) -> int:
        if name.startswith(virtual) or (listed and name not in listed):
            return 2
        return 0 if (folder / name / "device").exists() else 1

    ranked = sorted((rank(name), name) for name in names)
    real = [name for place, name in ranked if place < 2]
    return tuple((real or [name for _, name in ranked])[:_MAX_DEVICES])
