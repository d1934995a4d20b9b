"""Many processes, one page: whichever answers shows them all, and no counter ever shows less."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_mlmon import catalog
from otel_mlmon.exposition.multiprocess import files, folding
from otel_mlmon.store import Exemplar
from tests.concurrency import ended, fork
from tests.sharing import BOOT, MODEL, Clock, Process

CALLS = ("mlmon.calls", (*MODEL, "ok"))
ACTIVE = ("mlmon.calls_active", MODEL)
BOUNDS = (0.1, 1.0)


def call(process: Process, times: int = 1) -> None:
    """Count calls, each with its duration."""
    for _ in range(times):
        process.count(catalog.CALLS, (*MODEL, "ok"))
        process.observe(catalog.CALL_DURATION, MODEL, BOUNDS, 1, 0.5)


def test_every_process_shows_all(tmp_path: Path) -> None:
    """Counters, histograms and gauges of those that live are added up, whoever is asked."""
    first, second = Process(tmp_path), Process(tmp_path)
    for process, times in ((first, 2), (second, 3)):
        call(process, times)
        process.gauge(catalog.CALLS_ACTIVE, MODEL, times)
        process.shared.publish()
    assert first.page() == second.page() == {CALLS: [5.0], ("mlmon.call.duration", MODEL): [0.0, 5.0, 0.0, 2.5], ACTIVE: [5.0]}


def test_what_a_process_has_not_published_is_on_no_page(tmp_path: Path) -> None:
    """The page that it answers itself publishes it."""
    first, second = Process(tmp_path), Process(tmp_path)
    call(first)
    assert second.page() == {}
    assert first.page()[CALLS] == second.page()[CALLS] == [1.0]


@pytest.mark.parametrize("end", [Process.kill, lambda process: process.shared.close()], ids=["killed", "closed"])
def test_counters_of_the_ended_stay_and_their_gauges_go(tmp_path: Path, end: Callable[[Process], None]) -> None:
    """Before and after they are folded, and again when the next one has ended."""
    clock = Clock()
    reader = Process(tmp_path, clock=clock)
    for number in range(1, 4):
        process = Process(tmp_path)
        call(process)
        process.gauge(catalog.CALLS_ACTIVE, MODEL, 7.0)
        process.shared.publish()
        assert reader.page()[ACTIVE] == [7.0]
        end(process)
        for _ in range(3):
            clock.now += 2.0
            assert reader.page() == {CALLS: [number], ("mlmon.call.duration", MODEL): [0.0, number, 0.0, number / 2]}
    assert len(list(tmp_path.glob("*.keys"))) == 1


def test_the_oldest_and_the_newest_of_the_ended_stay(tmp_path: Path) -> None:
    """The page's counters began with the first process, also when that is gone."""
    clock = Clock()
    reader = Process(tmp_path, clock=clock)
    for start, last in ((100.0, 900.0), (200.0, 300.0)):
        process = Process(tmp_path)
        process.gauge(catalog.START_TIME, MODEL, start)
        process.gauge(catalog.LAST_CALL_TIME, MODEL, last)
        process.shared.close()
    for _ in range(3):
        clock.now += 2.0
        assert reader.page() == {("mlmon.start_time", MODEL): [100.0], ("mlmon.last_call_time", MODEL): [900.0]}


def test_counts_of_the_machine_are_the_greatest_and_end_with_its_next_start(tmp_path: Path) -> None:
    """Everyone reads the same machine; a machine that has started anew counts from 0."""
    cpu = ("system.cpu.time", (*MODEL, "user"))
    clock = Clock()
    for boot, seconds in (("first", 50.0), ("first", 40.0), ("second", 3.0)):
        process = Process(tmp_path, boot=boot, clock=clock)
        process.count(catalog.SYSTEM_CPU_TIME, cpu[1], seconds)
        call(process)
        process.page()
        process.shared.close()
    for _ in range(3):
        clock.now += 2.0
        same, next_start = Process(tmp_path, boot="first", clock=clock), Process(tmp_path, boot="second", clock=clock)
        assert next_start.page()[cpu] == [3.0]
        assert same.page()[CALLS] == next_start.page()[CALLS] == [3.0]
        same.kill()
        next_start.kill()


def test_of_gauges_that_stand_still_the_newest_process_holds(tmp_path: Path) -> None:
    """While a server reloads, old and new thresholds do not take turns, however often each publishes."""
    clock = Clock()
    old = Process(tmp_path, clock=clock)
    old.gauge(catalog.THRESHOLD, (*MODEL, "psi", "warning", ""), 0.1)
    old.shared.publish()
    clock.now += 1.0
    new = Process(tmp_path, clock=clock)
    new.gauge(catalog.THRESHOLD, (*MODEL, "psi", "warning", ""), 0.2)
    new.shared.publish()
    for process in (new, old, new, old):
        call(process)
        assert process.page()["mlmon.threshold", (*MODEL, "psi", "warning", "")] == [0.2]
    new.kill()
    assert old.page()["mlmon.threshold", (*MODEL, "psi", "warning", "")] == [0.1]


def test_a_histogram_cut_at_two_bounds_is_that_of_the_newest_process(tmp_path: Path) -> None:
    """Counts in different buckets do not add up; it is reported once, not with every page."""
    clock = Clock()
    old = Process(tmp_path, clock=clock)
    old.observe(catalog.CALL_DURATION, MODEL, (1.0, 2.0, 3.0), 0, 0.5)
    old.shared.publish()
    clock.now += 1.0
    new = Process(tmp_path, clock=clock)
    call(new)
    for _ in range(3):
        call(old)
        assert new.page()["mlmon.call.duration", MODEL] == old.page()["mlmon.call.duration", MODEL] == [0.0, 1.0, 0.0, 0.5]
    assert [type(error) for error in new.errors] == [ValueError]


def test_series_stay_the_same_object_while_processes_come_and_go(tmp_path: Path) -> None:
    """Readers lay out a page anew when it is another."""
    clock = Clock()
    reader = Process(tmp_path, clock=clock)
    call(reader)
    reader.gauge(catalog.CALLS_ACTIVE, MODEL, 1.0)
    before = reader.shared.collect().series
    for _ in range(3):
        other = Process(tmp_path)
        other.gauge(catalog.CALLS_ACTIVE, MODEL, 1.0)
        call(other)
        other.shared.publish()
        assert reader.shared.collect().series is before
        other.kill()
        clock.now += 2.0
        assert reader.shared.collect().series is before
    reader.count(catalog.PREDICTIONS, MODEL)
    after = reader.shared.collect().series
    assert [(one.family, one.labels) for one in after[: len(before)]] == [(one.family, one.labels) for one in before]


def test_exemplars_of_this_process_lie_where_their_series_do(tmp_path: Path) -> None:
    """In the merged array, behind a series that only another process has."""
    clock = Clock()
    other = Process(tmp_path, clock=clock)
    other.count(catalog.PREDICTIONS, MODEL, 5.0)
    other.shared.publish()
    clock.now += 1.0
    own = Process(tmp_path, clock=clock)
    call(own)
    slot = own.store.index(catalog.CALL_DURATION, MODEL, bounds=BOUNDS) + 1
    exemplar = Exemplar(0.5, 1.0, 2, 3)
    own.store.add([], {slot: exemplar})
    snapshot = own.shared.collect()
    (duration,) = [series for series in snapshot.series if series.family is catalog.CALL_DURATION]
    assert snapshot.exemplars == {duration.index + 1: exemplar}
    assert duration.index + 1 != slot


def test_a_version_goes_an_hour_after_its_last_process(tmp_path: Path) -> None:
    """For everyone at once; a version of which one lives stays, however long ago another of its processes ended."""
    clock = Clock()
    reader, old = Process(tmp_path, clock=clock), Process(tmp_path)
    call(reader)
    old.count(catalog.CALLS, ("m", "0", "ok"))
    call(old)
    old.shared.close()
    for age, versions in ((0.0, {"0", "1"}), (3590.0, {"0", "1"}), (3610.0, {"0", "1"}), (3612.0, {"1"})):
        clock.now = 1_700_000_000.0 + age
        assert {labels[1] for name, labels in reader.page() if name == "mlmon.calls"} == versions
    assert reader.page()[CALLS] == [2.0]
    assert Process(tmp_path, clock=clock).page()[CALLS] == [2.0]


@pytest.mark.parametrize("stop", ["_replace", "_clean"])
def test_a_fold_that_dies_in_the_middle_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    """Before the folded file is written, and before what is in it is removed."""
    clock = Clock()
    first, second, ended = Process(tmp_path, clock=clock), Process(tmp_path, clock=clock), Process(tmp_path)
    call(first)
    call(ended, 2)
    ended.shared.close()

    class Killed(BaseException):
        """The process ends here."""

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(folding, stop, die)
        with pytest.raises(Killed):
            first.page()
    for process in (second, first, second):
        clock.now += 2.0
        assert process.page()[CALLS] == [3.0]
    assert len(list(tmp_path.glob("*.keys"))) == 2


def test_no_process_folds_while_another_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would add up the same files a second time."""
    clock = Clock()
    first, second, ended = Process(tmp_path, clock=clock), Process(tmp_path, clock=clock), Process(tmp_path)
    call(ended)
    ended.shared.close()
    replace, folded = folding._replace, []

    def replace_and_look(*arguments: object) -> None:
        assert second.page()[CALLS] == [1.0]
        folded.append(list(tmp_path.glob("folded*")))
        replace(*arguments)  # type: ignore[arg-type]  # passed on as they come

    monkeypatch.setattr(folding, "_replace", replace_and_look)
    assert first.page()[CALLS] == first.page()[CALLS] == [1.0]
    assert folded == [[]]


def test_a_process_that_was_stopped_for_hours_folds_nothing_twice(tmp_path: Path) -> None:
    """What it found before was folded meanwhile, and so long ago that the name is not listed any more."""
    ended = Process(tmp_path)
    call(ended, 2)
    ended.shared.close()
    (keys,) = tmp_path.glob("*.keys")
    found = files.Reader(tmp_path, keys.stem)
    clock = Clock()
    for ended_files, later in (([found], 0.0), ([], 4000.0), ([found], 4001.0)):
        folding.fold(tmp_path, ended_files, {MODEL}, boot=BOOT, now=clock.now + later)
    assert folding.FoldedFile(tmp_path).read().names == {}
    assert Process(tmp_path, clock=clock).page()[CALLS] == [2.0]


def test_families_of_another_version_of_the_library_are_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server is rolled over: what this one does not know, it neither shows nor folds away."""
    clock = Clock()
    newer = Process(tmp_path)
    unknown = catalog.MetricFamily("mlmon.of_tomorrow", "counter", "", "Not known today.", catalog.MODEL, "health")
    newer.count(unknown, MODEL, 4.0)
    call(newer)
    newer.shared.close()
    for _ in range(2):
        clock.now += 2.0
        assert Process(tmp_path, clock=clock).page()[CALLS] == [1.0]
    monkeypatch.setitem(files.FAMILIES, unknown.name, unknown)
    for _ in range(2):
        clock.now += 2.0
        assert Process(tmp_path, clock=clock).page()[unknown.name, MODEL] == [4.0]
    monkeypatch.delitem(files.FAMILIES, unknown.name)
    call(ended := Process(tmp_path))
    ended.shared.close()
    clock.now += 2.0
    assert Process(tmp_path, clock=clock).page()[CALLS] == [2.0]
    assert unknown.name in (tmp_path / "folded").read_text(encoding="utf-8")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["call", "publish", "page", "kill", "close", "wait"]), st.integers(0, 2)), max_size=40))
def test_no_counter_ever_shows_less(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whichever order, every page shows what was published, to the last call."""
    folder, clock = tmp_path_factory.mktemp("shared"), Clock()
    processes = [Process(folder, clock=clock) for _ in range(3)]
    counted, published, gone = [0, 0, 0], [0, 0, 0], 0
    for step, number in steps:
        process = processes[number]
        if step == "call":
            call(process)
            counted[number] += 1
        elif step == "publish":
            process.shared.publish()
            published[number] = counted[number]
        elif step == "page":
            published[number] = counted[number]
            shown = process.page()
            total = gone + sum(published)
            assert shown.get(CALLS, [0.0]) == [total]
            assert shown.get(("mlmon.call.duration", MODEL), [0.0, 0.0, 0.0, 0.0]) == [0.0, total, 0.0, total / 2]
        elif step == "wait":
            clock.now += 0.7
        else:
            process.kill() if step == "kill" else process.shared.close()
            gone += published[number] if step == "kill" else counted[number]
            counted[number] = published[number] = 0
            processes[number] = Process(folder, clock=clock)


def test_who_begins_folds_what_the_ended_left(tmp_path: Path) -> None:
    """Also where nobody ever reads: a server that restarts its workers would fill the disk."""
    for _ in range(5):
        process = Process(tmp_path)
        call(process)
        process.shared.publish()
        process.kill()
    assert len(list(tmp_path.glob("*.keys"))) == 1
    assert Process(tmp_path).page()[CALLS] == [5.0]


def test_a_child_forked_while_it_folds_does_not_keep_others_from_folding(tmp_path: Path) -> None:
    """It holds all that was open at that moment, the lock too, for as long as it lives."""
    wait, end = os.pipe()

    def child() -> None:
        os.close(end)
        os.read(wait, 1)

    with folding._alone(tmp_path) as alone:
        assert alone
        pid = fork(child)
    with folding._alone(tmp_path) as alone:
        assert alone
    os.close(end)
    assert ended(pid) == 0
    os.close(wait)
