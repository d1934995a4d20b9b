"""Process and system health, held to what the kernel says elsewhere."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from otel_mlmon import catalog
from otel_mlmon.catalog import CATALOG, MetricFamily
from otel_mlmon.store import SeriesStore
from otel_mlmon.system import SystemHealth

NOW = 1_800_000_000.0
MODEL = ("m", "1")


class Health:
    """A SystemHealth with its own store, and the values in it by family and labels."""

    def __init__(self) -> None:
        self.store = SeriesStore()
        self.health = SystemHealth(MODEL, self.store)

    def read(self, now: float = NOW) -> "Health":
        self.health.read(now)
        return self

    def values(self, family: MetricFamily) -> dict[tuple[str, ...], float]:
        snapshot = self.store.snapshot()
        return {
            series.labels[2:]: float(snapshot.values[series.index])
            for series in snapshot.series
            if series.family == family and not np.isnan(snapshot.values[series.index])
        }


def refuse(error: Exception) -> Callable[..., None]:
    def refused(*_: object, **__: object) -> None:
        raise error

    return refused


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="what psutil reads elsewhere differs by platform")
def test_every_family_of_the_area_has_a_value_after_two_readings() -> None:
    """The catalogue promises them; shares need an earlier reading."""
    health = Health().read()
    before = psutil.cpu_times()
    while psutil.cpu_times() == before:  # the kernel counts in steps of some milliseconds
        pass
    health.read(NOW + 5)
    refused = set() if psutil.disk_io_counters() else {catalog.SYSTEM_DISK_IO, catalog.SYSTEM_DISK_OPERATIONS}
    assert {family for family in CATALOG if family.area == "system"} - refused == {
        series.family for series in health.store.snapshot().series
    }


def test_memory_states_add_up_to_the_limit() -> None:
    """So a stacked panel shows the machine."""
    health = Health().read()
    total = sum(health.values(catalog.SYSTEM_MEMORY_USAGE).values())
    assert total == health.values(catalog.SYSTEM_MEMORY_LIMIT)[()] == psutil.virtual_memory().total


def test_file_system_states_add_up_to_the_size_of_the_root() -> None:
    """The standard library is the oracle."""
    usage = Health().read().values(catalog.SYSTEM_FILESYSTEM_USAGE)
    assert sum(value for (mount, _), value in usage.items() if mount == "/") == shutil.disk_usage("/").total


def test_shares_of_the_machines_time_add_up_to_one() -> None:
    """Shares since the last reading, none counted twice."""
    health = Health().read()
    before = psutil.cpu_times()
    while psutil.cpu_times() == before:
        pass
    shares = health.read(NOW + 5).values(catalog.SYSTEM_CPU_UTILIZATION)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= 0


def test_process_utilization_is_cpu_time_over_elapsed_time_and_processors() -> None:
    """Worked from the counter that is exposed beside it."""
    health = Health().read(NOW)
    first = health.values(catalog.PROCESS_CPU_TIME)[("user",)]
    while psutil.Process().cpu_times().user <= first:
        pass
    health.read(NOW + 10)
    used = health.values(catalog.PROCESS_CPU_TIME)[("user",)] - first
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert used > 0
    assert health.values(catalog.PROCESS_CPU_UTILIZATION)[("user",)] == pytest.approx(used / 10 / processors)


def test_open_files_follow_what_the_process_opens() -> None:
    """One more descriptor is one more."""
    health = Health().read()
    before = health.values(catalog.PROCESS_OPEN_FILES)[()]
    with Path(__file__).open():
        assert health.read().values(catalog.PROCESS_OPEN_FILES)[()] == before + 1


def test_uptime_is_the_time_since_the_process_started() -> None:
    """``now`` is an argument, so the clock is ours."""
    started = psutil.Process().create_time()
    assert Health().read(started + 60).values(catalog.PROCESS_UPTIME)[()] == pytest.approx(60)


@pytest.mark.parametrize(
    ("attribute", "family"),
    [
        ("virtual_memory", catalog.SYSTEM_MEMORY_USAGE),
        ("disk_io_counters", catalog.SYSTEM_DISK_IO),
        ("net_io_counters", catalog.SYSTEM_NETWORK_IO),
        ("disk_usage", catalog.SYSTEM_FILESYSTEM_USAGE),
        ("boot_time", catalog.SYSTEM_UPTIME),
        ("cpu_times", catalog.SYSTEM_CPU_TIME),
    ],
)
@pytest.mark.parametrize(
    "error",
    [psutil.AccessDenied(), FileNotFoundError("/proc"), NotImplementedError(), AttributeError(), RuntimeWarning()],
    ids=repr,
)
def test_a_refused_reading_leaves_its_series_out_and_the_others_in(
    monkeypatch: pytest.MonkeyPatch, attribute: str, family: MetricFamily, error: Exception
) -> None:
    """Containers and sandboxes refuse a lot; that is not the model's trouble."""
    monkeypatch.setattr(psutil, attribute, refuse(error))
    health = Health().read()
    assert health.values(family) == {}
    assert health.values(catalog.PROCESS_MEMORY_USAGE)[()] > 0
    assert health.values(catalog.PROCESS_UPTIME)


def test_a_gauge_that_cannot_be_read_any_more_has_no_value() -> None:
    """A stale number would look like a reading."""
    with pytest.MonkeyPatch.context() as patch:
        health = Health().read()
        patch.setattr(psutil, "virtual_memory", refuse(psutil.AccessDenied()))
        assert health.read().values(catalog.SYSTEM_MEMORY_USAGE) == {}
    assert health.read().values(catalog.SYSTEM_MEMORY_USAGE)


def test_the_processors_counters_never_step_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux's idle time may; a counter that does looks like a restart."""
    health = Health()
    for idle in (100.0, 99.0):
        monkeypatch.setattr(psutil, "cpu_times", lambda idle=idle: SimpleNamespace(user=1.0, system=1.0, idle=idle))
        health.read()
    assert health.values(catalog.SYSTEM_CPU_TIME) == {("user",): 1.0, ("system",): 1.0, ("idle",): 100.0}


def test_no_processor_time_is_counted_twice_or_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux counts the guests' time in user and nice already; both kinds of interrupt are one mode."""
    fields = {
        "user": 1,
        "nice": 2,
        "system": 4,
        "idle": 8,
        "iowait": 16,
        "irq": 32,
        "softirq": 64,
        "steal": 128,
        "guest": 1,
        "guest_nice": 2,
    }
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**fields))
    shown = {mode: value for (mode,), value in Health().read().values(catalog.SYSTEM_CPU_TIME).items()}
    assert shown == {"user": 1, "nice": 2, "system": 4, "idle": 8, "iowait": 16, "interrupt": 96, "steal": 128}


def test_disks_are_read_in_both_directions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loop devices only mirror other disks."""
    monkeypatch.setattr("otel_mlmon.system._BLOCK_DEVICES", tmp_path / "none")
    moved = SimpleNamespace(read_bytes=1, write_bytes=2, read_count=3, write_count=4)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: {"vda": moved, "loop0": moved})
    health = Health().read()
    assert health.values(catalog.SYSTEM_DISK_IO) == {("vda", "read"): 1, ("vda", "write"): 2}
    assert health.values(catalog.SYSTEM_DISK_OPERATIONS) == {("vda", "read"): 3, ("vda", "write"): 4}


def test_a_file_system_is_full_when_nothing_is_left_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """As df counts: 10 of 100 bytes are reserved, 30 of the other 90 are used."""
    monkeypatch.setattr(psutil, "disk_usage", lambda _: SimpleNamespace(total=100, used=30, free=60))
    health = Health().read()
    assert health.values(catalog.SYSTEM_FILESYSTEM_UTILIZATION)[("/",)] == pytest.approx(1 / 3)
    assert health.values(catalog.SYSTEM_FILESYSTEM_USAGE)["/", "reserved"] == 10


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["lo", "veth1", "docker0", "eth7"], {"eth7"}),
        (["lo"], {"lo"}),
        ([f"eth{number:03d}" for number in range(40)] + ["lo"], {f"eth{number:03d}" for number in range(16)}),
    ],
)
def test_interfaces_are_bounded_and_virtual_ones_stand_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: list[str], kept: set[str]
) -> None:
    """Each interface is six series; a host of containers has hundreds."""
    monkeypatch.setattr("otel_mlmon.system._INTERFACES", tmp_path / "none")  # this machine's own are not these
    traffic = SimpleNamespace(bytes_recv=1, bytes_sent=2, errin=3, errout=4, dropin=5, dropout=6)
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: dict.fromkeys(names, traffic))
    health = Health().read()
    assert {name for name, _ in health.values(catalog.SYSTEM_NETWORK_IO)} == kept
    name = min(kept)
    assert [health.values(catalog.SYSTEM_NETWORK_DROPPED)[name, way] for way in ("receive", "transmit")] == [5, 6]


def test_a_forked_child_reads_its_own_process() -> None:
    """The parent's process object would go on reporting the parent."""
    health = Health().read()
    parent = health.read().values(catalog.PROCESS_UPTIME)[()]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        health.store.reset()
        health.health.reset()
        created = NOW - health.read().values(catalog.PROCESS_UPTIME)[()]
        own = created == pytest.approx(psutil.Process(os.getpid()).create_time()) and health.health._process.pid == os.getpid()
        os.write(writer, b"y" if own else b"n")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"y"
    assert health.read().values(catalog.PROCESS_UPTIME)[()] == parent
