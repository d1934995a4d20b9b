"""Process, machine and GPU of a replica in simulated time: the only series of the pictures that are made up, from its traffic."""

import math

from otel_mlmon import Monitor, catalog
from otel_mlmon.catalog import MetricFamily

_GIB = 2.0**30


class Machine:
    """Writes what ``otel_mlmon.system`` and ``otel_mlmon.gpu`` would read, as smooth functions of the calls.

    Args:
        monitor: Whose store it writes to.
        number: Of the replica; no two are alike.
        started: Unix time at which the process began.
        gpu: Whether it has one.
    """

    def __init__(self, monitor: Monitor, number: int, started: float, *, gpu: bool = False) -> None:
        self._store, self._model = monitor._store, (monitor.name, monitor.version)
        self._number, self._started, self._gpu = number, started, gpu
        self._totals: dict[tuple[MetricFamily, tuple[str, ...]], float] = {}
        self._last = started

    def read(self, now: float, calls: int, busy: float) -> None:
        """Write everything once.

        Args:
            now: Unix time.
            calls: Since the last reading.
            busy: Seconds that they took.
        """
        elapsed, self._last = max(now - self._last, 1.0), now
        wave = math.sin(now / 2_700 + self._number)
        rate, age = calls / elapsed, now - self._started
        user = min(0.9, 0.01 + 0.6 * busy / elapsed + 0.03 * rate + 0.004 * wave)
        system = 0.25 * user
        self._process(elapsed, user, system, rate, age, wave)
        self._system(elapsed, user, system, rate, now, wave)
        if self._gpu:
            self._card(min(0.95, 0.05 + 4 * user), wave)

    def _process(self, elapsed: float, user: float, system: float, rate: float, age: float, wave: float) -> None:
        for mode, share in (("user", user), ("system", system)):
            self._count(catalog.PROCESS_CPU_TIME, 4 * share * elapsed, mode)
            self._set(catalog.PROCESS_CPU_UTILIZATION, share, mode)
        grown = 0.06 * (1 - math.exp(-age / 40_000))
        self._set(catalog.PROCESS_MEMORY_USAGE, (0.31 + grown + 0.004 * wave) * _GIB)
        self._set(catalog.PROCESS_MEMORY_VIRTUAL, 1.9 * _GIB)
        self._count(catalog.PROCESS_DISK_IO, 2_000 * elapsed * (1 + rate), "write")
        self._count(catalog.PROCESS_DISK_IO, 150 * elapsed, "read")
        self._set(catalog.PROCESS_THREADS, 14 + round(2 * rate))
        self._set(catalog.PROCESS_OPEN_FILES, 38 + round(6 * rate + wave))
        self._set(catalog.PROCESS_OPEN_FILES_LIMIT, 1_048_576)
        self._count(catalog.PROCESS_CONTEXT_SWITCHES, elapsed * (20 + 60 * rate), "voluntary")
        self._count(catalog.PROCESS_CONTEXT_SWITCHES, elapsed * 3, "involuntary")
        self._set(catalog.PROCESS_UPTIME, age)
        for generation, share in (("0", 0.4), ("1", 0.04), ("2", 0.002)):
            self._count(catalog.GC_COLLECTIONS, elapsed * rate * share, generation)
            self._count(catalog.GC_COLLECTED, elapsed * rate * share * 90, generation)
            self._count(catalog.GC_UNCOLLECTABLE, 0.0, generation)

    def _system(self, elapsed: float, user: float, system: float, rate: float, now: float, wave: float) -> None:
        shares = {"user": 0.08 + user, "system": 0.03 + system, "iowait": 0.01, "nice": 0.0, "interrupt": 0.004, "steal": 0.002}
        shares["idle"] = 1 - sum(shares.values())
        for mode, share in shares.items():
            self._count(catalog.SYSTEM_CPU_TIME, 4 * share * elapsed, mode)
            self._set(catalog.SYSTEM_CPU_UTILIZATION, share, mode)
        self._set(catalog.SYSTEM_CPU_LOGICAL, 4)
        self._set(catalog.SYSTEM_MEMORY_LIMIT, 16 * _GIB)
        used = 5.2 + 0.3 * wave
        for state, size in (("used", used), ("cached", 4.1), ("buffers", 0.4), ("free", 11.5 - used)):
            self._set(catalog.SYSTEM_MEMORY_USAGE, size * _GIB, state)
        for direction, size in (("read", 9_000), ("write", 42_000)):
            self._count(catalog.SYSTEM_DISK_IO, size * elapsed * (1 + rate), "nvme0n1", direction)
            self._count(catalog.SYSTEM_DISK_OPERATIONS, size / 16_000 * elapsed * (1 + rate), "nvme0n1", direction)
        full = 0.46 + 0.012 * (now % 604_800) / 86_400
        for state, share in (("used", full), ("free", 0.95 - full), ("reserved", 0.05)):
            self._set(catalog.SYSTEM_FILESYSTEM_USAGE, 100 * _GIB * share, "/", state)
        self._set(catalog.SYSTEM_FILESYSTEM_UTILIZATION, full / 0.95, "/")
        for direction, size in (("receive", 1_100), ("transmit", 640)):
            self._count(catalog.SYSTEM_NETWORK_IO, elapsed * (3_000 + size * rate), "eth0", direction)
            self._count(catalog.SYSTEM_NETWORK_ERRORS, 0.0, "eth0", direction)
            self._count(catalog.SYSTEM_NETWORK_DROPPED, 0.0, "eth0", direction)
        self._set(catalog.SYSTEM_UPTIME, now % 2_592_000 + 864_000)

    def _card(self, load: float, wave: float) -> None:
        card = (f"GPU-{self._number:08d}", "NVIDIA L4")
        self._set(catalog.GPU_UTILIZATION, load, *card, "general")
        self._set(catalog.GPU_MEMORY_LIMIT, 24 * _GIB, *card)
        self._set(catalog.GPU_MEMORY_USAGE, (7.2 + 0.2 * wave) * _GIB, *card)
        self._set(catalog.GPU_MEMORY_UTILIZATION, (7.2 + 0.2 * wave) / 24, *card)
        self._set(catalog.GPU_TEMPERATURE, 41 + 20 * load, *card, "core")
        self._set(catalog.GPU_POWER, 17 + 45 * load, *card, "gpu")

    def _set(self, family: MetricFamily, value: float, *labels: str) -> None:
        self._store.set(self._store.index(family, (*self._model, *labels)), float(value))

    def _count(self, family: MetricFamily, increment: float, *labels: str) -> None:
        key = family, (*self._model, *labels)
        self._totals[key] = self._totals.get(key, 0.0) + max(0.0, increment)
        self._store.set(self._store.index(*key), self._totals[key])
