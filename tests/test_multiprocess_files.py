"""One process's file: whole at any instant, whatever its writer or the disk does."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from otel_mlmon import catalog
from otel_mlmon.exposition.multiprocess.files import Reader, Writer
from otel_mlmon.store import Series, SeriesStore, Snapshot
from tests.concurrency import ended, fork
from tests.sharing import MODEL, Process


def feature(number: int) -> tuple[str, ...]:
    """Labels of a series of its own."""
    return (*MODEL, f"feature {number}")


def stored(slots: int) -> SeriesStore:
    """A store whose counters say their own numbers."""
    store = SeriesStore()
    store.put(store.allocate(catalog.FEATURE_MISSING, [feature(number) for number in range(slots)]), np.arange(slots, dtype=float))
    return store


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """Every kind of series, odd labels and bounds included, and every number to the last bit."""
    store = SeriesStore()
    store.put(store.allocate(catalog.CALLS, [('é\n"\\\ud800', "", "ok"), (*MODEL, "error")]), np.array([0.1, 1e300]))
    store.allocate(catalog.CALL_DURATION, [MODEL], bounds=(-0.1, 1e-300, 5e-324))
    store.allocate(catalog.FEATURE_VALUE, [feature(1)], bounds=())
    store.set(store.allocate(catalog.CALLS_ACTIVE, [MODEL, ("other", "")]), -0.0)
    writer = Writer(tmp_path, 0, boot="b", began=12.5)
    writer.publish(store.snapshot())
    reader = Reader(tmp_path, writer.name)
    values = reader.read()
    snapshot = store.snapshot()
    assert (tuple(reader.series), reader.boot, reader.began) == (snapshot.series, "b", 12.5)
    assert values.tobytes() == snapshot.values.tobytes()
    writer.close()


def test_a_file_grows_with_its_series(tmp_path: Path) -> None:
    """By any step; a reader that was there before sees each."""
    store = SeriesStore()
    writer = Writer(tmp_path, 0, boot="", began=0.0)
    reader = Reader(tmp_path, writer.name)
    assert len(reader.read()) == 0
    for step in (1, 1000, 23, 1, 4000, 1):
        start = len(store.snapshot().series)
        first = store.allocate(catalog.FEATURE_MISSING, [feature(start + number) for number in range(step)])
        for _ in range(3):
            store.add([(first, np.arange(step, dtype=float))])
            writer.publish(store.snapshot())
            assert reader.read().tolist() == store.snapshot().values.tolist()
        assert tuple(reader.series) == store.snapshot().series
    writer.close()


def test_a_file_that_says_what_it_said_is_not_written_to(tmp_path: Path) -> None:
    """A disk need not take the same page every second."""
    store = stored(3)
    writer = Writer(tmp_path, 0, boot="", began=0.0)
    writer.publish(store.snapshot())
    before = (tmp_path / f"{writer.name}.values").read_bytes()
    writer.publish(store.snapshot())
    assert (tmp_path / f"{writer.name}.values").read_bytes() == before
    writer.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_writer_killed_at_any_instant_leaves_a_publication_whole(tmp_path: Path) -> None:
    """Sixty times: it adds 1 to each of many numbers, and whoever reads finds all alike, also while it lives."""
    series = (Series(catalog.FEATURE_VALUE, feature(1), 0, tuple(map(float, range(8_000)))),)
    rng = np.random.default_rng(7)
    for _ in range(60):
        child = fork(lambda: publish_for_ever(tmp_path, series))
        while not (keys := list(tmp_path.glob("*.keys"))):
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        reader = Reader(tmp_path, keys[0].stem)
        while not (seen := same(reader.read())):
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        for _ in range(rng.integers(0, 20)):
            seen = max(seen, same(reader.read()))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert reader.ended()
        assert same(reader.read()) >= seen
        for path in tmp_path.iterdir():
            path.unlink()


def publish_for_ever(folder: Path, series: tuple[Series, ...]) -> None:
    """Publish 1, 2, 3... in all slots."""
    writer = Writer(folder, 0, boot="", began=0.0)
    values = np.zeros(series[0].width)
    while True:
        values += 1.0
        writer.publish(Snapshot(series, values))


def same(values: "np.typing.NDArray[np.float64]") -> float:
    """The number that all are; 0 before the first publication."""
    if not len(values):
        return 0.0
    assert values.min() == values.max()
    return float(values[0])


def test_a_copy_taken_in_the_middle_of_a_publication_shows_the_one_before(tmp_path: Path) -> None:
    """The numbers of the next one lie in the file already; the header does not name them yet."""
    store = stored(3)
    writer = Writer(tmp_path, 0, boot="", began=0.0)
    writer.publish(store.snapshot())
    values = tmp_path / f"{writer.name}.values"
    header = values.read_bytes()[:64]
    store.add([(0, np.ones(3))])
    writer.publish(store.snapshot())
    torn = tmp_path / "torn.values"
    torn.write_bytes(header + values.read_bytes()[64:])
    shutil.copy(tmp_path / f"{writer.name}.keys", tmp_path / "torn.keys")
    assert Reader(tmp_path, "torn").read().tolist() == [0.0, 1.0, 2.0]
    writer.close()


def test_a_line_that_is_half_written_is_not_read(tmp_path: Path) -> None:
    """Its slots are not counted; the next publication finds it whole."""
    store = stored(2)
    writer = Writer(tmp_path, 0, boot="", began=0.0)
    writer.publish(store.snapshot())
    writer.close()
    keys = tmp_path / f"{writer.name}.keys"
    keys.write_bytes(keys.read_bytes() + b'["mlmon.fea')
    reader = Reader(tmp_path, writer.name)
    assert (reader.read().tolist(), len(reader.series)) == ([0.0, 1.0], 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda keys, values: keys.write_text(keys.read_text().replace('"format": 1', '"format": 2')),
        lambda keys, values: keys.write_bytes(b""),
        lambda keys, values: keys.write_bytes(b"[]\n"),
        lambda keys, values: keys.write_bytes(keys.read_bytes()[:-9]),
        lambda keys, values: values.write_bytes(b""),
        lambda keys, values: os.truncate(values, 100),
    ],
    ids=["another format", "no keys", "no head", "fewer keys", "no values", "fewer values"],
)
def test_a_damaged_file_is_left_out_and_reported_once(tmp_path: Path, damage: object) -> None:
    """The others' numbers are on the page."""
    assert callable(damage)
    broken, reader = Process(tmp_path), Process(tmp_path)
    for process in (broken, reader):
        process.count(catalog.CALLS, (*MODEL, "ok"))
    broken.shared.close()
    (keys,), (values,) = tmp_path.glob("*.keys"), tmp_path.glob("*.values")
    damage(keys, values)
    for _ in range(3):
        assert reader.page()["mlmon.calls", (*MODEL, "ok")] == [1.0]
    assert len(reader.errors) == 1
    assert keys.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_a_damaged_file_of_the_ended_is_put_aside(tmp_path: Path, content: bytes) -> None:
    """What it held is lost, as by a loss of power; those who end from then on are folded again."""
    gone, reader = Process(tmp_path), Process(tmp_path)
    for process in (gone, reader):
        process.count(catalog.CALLS, (*MODEL, "ok"))
    gone.shared.close()
    (tmp_path / "folded").write_bytes(content)
    for _ in range(2):
        assert reader.page()["mlmon.calls", (*MODEL, "ok")] == [2.0]
    assert (tmp_path / "folded.damaged").read_bytes() == content
    assert len(list(tmp_path.glob("*.keys"))) == 1
    assert reader.page()["mlmon.calls", (*MODEL, "ok")] == [2.0]
    assert len(reader.errors) == 1


def test_a_child_forked_while_a_file_is_made_does_not_keep_it_alive(tmp_path: Path) -> None:
    """Another thread may fork before anybody but the file itself knows of it."""
    runs, hold = os.pipe(), os.pipe()
    writer = Writer(tmp_path, 0, boot="", began=0.0)

    def wait() -> None:
        os.close(hold[1])
        os.write(runs[1], b"x")
        os.read(hold[0], 1)

    child = fork(wait)
    os.read(runs[0], 1)
    reader = Reader(tmp_path, writer.name)
    assert not reader.ended()
    writer.close()
    assert reader.ended()
    os.close(hold[1])
    assert ended(child) == 0


def test_a_file_that_someone_removes_is_written_anew(tmp_path: Path) -> None:
    """A script that empties the folder while the server runs costs nothing but what the ended have left."""
    process = Process(folder := tmp_path / "shared")
    process.count(catalog.CALLS, (*MODEL, "ok"))
    assert process.page() == {("mlmon.calls", (*MODEL, "ok")): [1.0]}
    assert process.shared.leads()
    shutil.rmtree(folder)
    assert process.page() == {("mlmon.calls", (*MODEL, "ok")): [1.0]}
    assert process.errors == []
    other = Process(folder)
    assert process.shared.leads()
    assert not other.shared.leads()


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let the kernel refuse what would make a file larger (Python ignores the signal that goes with it)."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("size", [0, 40, 5_000, 16_464, 20_000, 40_000, 100_000])
def test_what_does_not_fit_comes_when_there_is_room(tmp_path: Path, size: int) -> None:
    """Meanwhile those series that fit go on, on everyone's page, and the refusal is reported once."""
    own, other = Process(tmp_path), Process(tmp_path)
    slots = 0
    with files_end_at(size):
        for step in (10, 500, 5_000):
            start = own.store.allocate(catalog.FEATURE_MISSING, [feature(slots + number) for number in range(step)])
            own.store.add([(start, np.ones(step))])
            own.store.add([(0, np.ones(1))])
            slots += step
            shown = own.page()
            assert shown == other.page()
            assert all(value == [1.0] for key, value in list(shown.items())[1:])
        assert {path.stat().st_size for path in tmp_path.glob("*.values")} <= {16_464}  # what was refused is given back
        if shown:
            assert next(iter(shown.values())) == [4.0]
    assert len(shown) < 5_510
    assert [error.errno for error in own.errors if isinstance(error, OSError)] == [errno.EFBIG]
    assert len(own.page()) == len(other.page()) == 5_510
    assert len(list(tmp_path.glob("*.values"))) == 2  # a refused one leaves nothing behind


FULL_DISK = """
import sys
from pathlib import Path
import numpy as np
from otel_mlmon import catalog
from tests.sharing import MODEL, Process
folder = Path(sys.argv[1])
own, other = Process(folder), Process(folder)
own.count(catalog.CALLS, (*MODEL, "ok"))
assert len(own.page()) == len(other.page()) == 1
ballast = folder / "ballast"
with ballast.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        assert error.errno == 28, error
for step in range(3):
    own.count(catalog.CALLS, (*MODEL, "ok"))
    own.store.allocate(catalog.FEATURE_MISSING, [(*MODEL, f"{step} {number}") for number in range(2000)])
    assert own.page() == other.page()
    assert own.page()["mlmon.calls", (*MODEL, "ok")] == [step + 2.0]
late = Process(folder)
late.count(catalog.CALLS, (*MODEL, "ok"))
late.shared.close()
assert late.errors
assert not other.errors
assert [error.errno for error in own.errors] == [28], own.errors
ballast.unlink()
assert len(own.page()) == len(other.page()) == 6001
"""


@pytest.mark.optional
def test_a_full_disk_kills_no_process(tmp_path: Path) -> None:
    """On a real one: a small file system in memory, filled to the last block."""
    mount = f'mount -t tmpfs -o size=1m none "{tmp_path}" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", FULL_DISK, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip("no right to mount: test_what_does_not_fit_comes_when_there_is_room stands for it")
    assert ran.returncode == 0, ran.stderr


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Open files until the kernel refuses more."""
    usual, held = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, usual[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_a_process_that_can_open_no_file_shows_no_page_rather_than_less(tmp_path: Path) -> None:
    """A counter that goes back and returns would count as a reset: all of it once more."""
    ended, other, asked = Process(tmp_path), Process(tmp_path), Process(tmp_path)
    for process in (ended, other, asked):
        process.count(catalog.CALLS, (*MODEL, "ok"))
        process.shared.publish()
    ended.kill()
    whole = asked.page()
    with no_more_descriptors(), pytest.raises(OSError, match="Too many open files"):
        asked.page()
    assert asked.page() == whole


def test_the_file_of_a_process_that_has_ended_holds_no_descriptor(tmp_path: Path) -> None:
    """Hundreds may have ended since the last scrape, and who looks needs its descriptors for its work."""
    writer = Writer(tmp_path, 0, boot="", began=0.0)
    writer.publish(stored(3).snapshot())
    writer.close()
    before = len(os.listdir("/proc/self/fd"))
    reader = Reader(tmp_path, writer.name)
    assert reader.ended()
    assert reader.read().tolist() == [0.0, 1.0, 2.0]
    assert len(os.listdir("/proc/self/fd")) == before
    assert reader.read().tolist() == [0.0, 1.0, 2.0]


def test_a_folder_that_is_none_any_more_is_reported(tmp_path: Path) -> None:
    """Whoever reads gets an empty page, not the error."""
    process = Process(tmp_path / "shared")
    process.count(catalog.CALLS, (*MODEL, "ok"))
    assert process.page()
    shutil.rmtree(tmp_path / "shared")
    (tmp_path / "shared").write_text("")
    assert process.page() == process.page() == {}
    assert process.errors
