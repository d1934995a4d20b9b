"""What the worker does with records: type them, count them, add the counts to the store."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from otel_mlmon import catalog
from otel_mlmon.aggregate import Aggregator, Watched
from otel_mlmon.calls import CallCounter, RequestRecord
from otel_mlmon.catalog import PREDICTION, SCORE
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.extremes import Extremes
from otel_mlmon.outputs import Outputs, Task, interpret, join
from otel_mlmon.records import Record, capture, settle
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Settings
from otel_mlmon.store import SeriesStore
from otel_mlmon.tabulate import CHECKS, LAYOUTS, Check, Layout, Tabulator
from otel_mlmon.tracing import Origin
from otel_mlmon.worker import MAX_ITEM_ROWS

Read = Callable[[], "tuple[Any, Any] | None"]

LOOKS = 512
"""Looks a drain, of some 0.2 ms each, for the calls whose spans are told that their rows break the schema."""


@dataclass(frozen=True, slots=True)
class LazyRecord:
    """A call whose rows are still to be read from a protocol's bytes, which ``read`` does on the worker; its trace, if any."""

    read: Read
    ended: float
    origin: Origin | None = None


@dataclass(slots=True)
class _Rows:
    """How the rows of one schema are counted."""

    tabulator: Tabulator
    aggregator: Aggregator
    starts: list[tuple[int, int, int]]  # first slot in the store, first and last place in the vector
    extremes: Extremes
    least: int
    greatest: int


class Intake:
    """Counts what comes off the queue; runs on the worker only, apart from construction.

    Args:
        store: Where the counters live.
        model: Name and version, the first labels of every series.
        task: What the model does.
        settings: Bounds and spans.
        histograms: Whether ``mlmon_feature_value`` is counted.
        failed: Called with the place of each error that was caught, and the error.
    """

    def __init__(
        self,
        store: SeriesStore,
        model: tuple[str, str],
        task: Task | None,
        *,
        settings: Settings,
        histograms: bool,
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._store, self._model, self._task = store, model, task
        self._settings, self._histograms, self._failed = settings, histograms, failed
        self._calls = CallCounter(store, model, settings)
        self._violations = store.allocate(catalog.SCHEMA_VIOLATIONS, [(*model, check) for check in CHECKS])
        self._lost = store.index(catalog.ROWS_DROPPED, (*model, "error"))
        self._rows: _Rows | None = None
        self._vectors: tuple[str, ...] = ()
        self._looks = LOOKS

    def watch(self, schema: Schema, reference: Reference | None) -> None:
        """Count rows of a schema from now on; create their series at 0.

        Args:
            schema: The features.
            reference: Their reference; without one there are no bins.
        """
        watched = watched_features(schema, reference, self._task)
        target = next((name for name in (SCORE, PREDICTION) if any(one.name == name and one.numeric for one in watched)), "")
        aggregator = Aggregator(self._model, watched, target=target, histograms=self._histograms)
        starts = [
            (self._store.allocate(block.family, block.labels, bounds=block.bounds), block.start, block.stop)
            for block in aggregator.blocks
        ]
        numeric = [(*self._model, name) for name in aggregator.numeric_names]
        least = self._store.allocate(catalog.FEATURE_MIN, numeric)
        greatest = self._store.allocate(catalog.FEATURE_MAX, numeric)
        extremes = Extremes(len(numeric), self._settings.extremes_seconds)
        derivation = reference.derivation if reference is not None else Derivation.unfitted(schema)
        self._vectors = derivation.vectors
        self._rows = _Rows(Tabulator(schema, watched, derivation), aggregator, _merged(starts), extremes, least, greatest)

    def records(self, items: Sequence[Any]) -> list[Record]:
        """The records among some items of the queue, those included that are still to be read from bytes."""
        if not {LazyRecord, RequestRecord}.intersection(map(type, items)):
            return list(items)
        records = []
        for item in items:
            if isinstance(item, Record):
                records.append(item)
            elif isinstance(item, LazyRecord):
                records.extend(self._read(item))
        return records

    def count(self, calls: Sequence[Record], requests: Sequence[RequestRecord], rows: Sequence[Record]) -> None:
        """Count in one change of the store, so that a scrape sees all of it or none.

        Args:
            calls: Records whose calls count.
            requests: HTTP requests that ended.
            rows: Records whose rows count; while they are held back to be learned from, others than ``calls``.
        """
        blocks = self._calls.calls(calls)
        blocks += self._calls.requests(requests)
        blocks.append(self._calls.predictions(sum([record.rows for record in calls if record.status == "ok"])))
        if self._rows is not None:
            total = np.zeros(self._rows.aggregator.size)
            violations: Counter[Check] = Counter()
            lost = 0
            for layout, group, predicted in _groups(rows):
                lost += self._tabulate(layout, group, total, violations, predicted=predicted)
            blocks += [(start, total[first:last]) for start, first, last in self._rows.starts]
            blocks.append((self._violations, np.array([float(violations[check]) for check in CHECKS])))
            blocks.append((self._lost, np.array([float(lost)])))
        self._store.add(blocks, self._calls.exemplars(calls, requests))

    def reset(self) -> None:
        """Begin anew in a forked child."""
        self._calls.reset()
        if self._rows is not None:
            self._rows.extremes.reset()
            self.refresh()

    def refresh(self) -> None:
        """Write the gauges of recent extremes; begin another drain."""
        self._looks = LOOKS
        if self._rows is not None:
            least, greatest = self._rows.extremes.read(time.time())
            self._store.put(self._rows.least, least)
            self._store.put(self._rows.greatest, greatest)

    def _read(self, item: LazyRecord) -> list[Record]:
        try:
            found = item.read()
            if found is None:
                return []
            if not isinstance(found, tuple):  # two rows, or a dict of two, would unpack as well
                raise ValueError(f"reader: expected features and prediction, a tuple, got {type(found).__name__}")
            return record_rows(*found, ended=item.ended, vectors=self._vectors, origin=item.origin)
        except Exception as error:  # noqa: BLE001 - a reader is the user's code, whatever it gives; what could not be read is counted
            self._failed("reader", error)
            return []

    def _tabulate(
        self, layout: Layout, group: Sequence[Record], total: np.ndarray[Any, Any], violations: Counter[Check], *, predicted: bool
    ) -> int:
        """Count one group into ``total``. Returns the rows that could not be counted."""
        rows = self._rows
        assert rows is not None  # noqa: S101 - for the type checker: count() asks first
        outputs: Outputs | None = None
        if predicted:
            try:
                outputs = self._interpret(group)
            except Exception:  # noqa: BLE001 - any shape may come back from a model; the rows still count
                return self._apart(layout, group, total, violations)
        try:
            table, broken = rows.tabulator(layout, group, outputs)
            increments = rows.aggregator(table)
        except Exception as error:  # noqa: BLE001 - one odd record must not cost the others; what is lost is counted
            if len(group) > 1:
                return sum(self._tabulate(layout, [record], total, violations, predicted=predicted) for record in group)
            self._failed("rows", error)
            return group[0].rows
        total += increments
        violations.update(broken)
        if any(broken.values()) or table.invalid.any():
            self._tell(rows, layout, group, predicted=outputs is not None)
        if table.numeric.size:
            rows.extremes.add(table.numeric, time.time())
        return 0

    def _tell(self, rows: _Rows, layout: Layout, group: Sequence[Record], *, predicted: bool) -> None:
        """Tell the spans of the calls whose rows break the schema; the group shows that there are some."""
        traced = [record for record in group if record.origin is not None and record.origin.recording]
        try:
            self._search(rows, layout, traced, predicted=predicted)
        except Exception as error:  # noqa: BLE001 - odd rows may do other things alone than together; they are counted already
            self._failed("trace", error)

    def _search(self, rows: _Rows, layout: Layout, group: Sequence[Record], *, predicted: bool) -> None:
        """Find the records by halving, as far as the looks of this drain go: most groups have few."""
        if not group or not self._looks:
            return
        self._looks -= 1
        checks, invalid = rows.tabulator.broken(layout, group, self._interpret(group) if predicted else None)
        if len(group) == 1 and group[0].origin is not None and group[0].origin.span is not None:
            group[0].origin.span.violated(checks, invalid)
        elif checks or invalid:
            half = len(group) // 2
            self._search(rows, layout, group[:half], predicted=predicted)
            self._search(rows, layout, group[half:], predicted=predicted)

    def _apart(self, layout: Layout, group: Sequence[Record], total: np.ndarray[Any, Any], violations: Counter[Check]) -> int:
        """Count a group whose predictions could not be read together: one record at a time, without those that are at fault."""
        good, bad = [], []
        for record in group:
            try:
                self._interpret([record])
            except Exception as error:  # noqa: BLE001 - counted right here
                self._failed("prediction", error)
                bad.append(record)
            else:
                good.append(record)
        groups = [good] if bad else [[record] for record in good]  # nobody is at fault alone: they do not fit each other
        lost = self._tabulate(layout, bad, total, violations, predicted=False) if bad else 0
        return lost + sum(self._tabulate(layout, some, total, violations, predicted=True) for some in groups if some)

    def _interpret(self, group: Sequence[Record]) -> Outputs:
        rows = [record.rows for record in group]
        return interpret(join([record.prediction for record in group], rows), self._task, sum(rows))


def watched_features(schema: Schema, reference: Reference | None, task: Task | None) -> list[Watched]:
    """What is counted: the schema's features in order, what the reference derives, the outputs that it knows or the task has."""
    watched = [Watched(one.name, one.numeric, reference[one.name] if reference is not None else None) for one in schema]
    if reference is not None:
        watched += [Watched(name, True, reference[name], related=False) for name in reference.derivation.names]
    for name in (PREDICTION, SCORE):
        profile = reference[name] if reference is not None and name in reference else None
        if profile is not None:
            watched.append(Watched(name, profile.kind == "numeric", profile, related=False))
        elif name == SCORE and task in ("binary", "ranking"):
            watched.append(Watched(name, True, None, related=False))
        elif name == PREDICTION and task is not None and task != "ranking":
            watched.append(Watched(name, task == "regression", None, related=False))
    return watched


def record_rows(
    features: Any, prediction: Any, *, ended: float, vectors: Sequence[str] = (), origin: Origin | None = None
) -> list[Record]:
    """Records of one successful call that was read rather than watched, split as they would be."""
    record = Record(capture(features), prediction, "ok", "", float("nan"), ended, origin=origin)
    settle(record, vectors)
    return record.split() if record.rows > MAX_ITEM_ROWS else [record]


def _groups(records: Sequence[Record]) -> Iterator[tuple[Layout, list[Record], bool]]:
    """Records that can be typed together: one form, with or without predictions, some thousand rows at most."""
    groups: dict[tuple[str | None, bool], list[Record]] = {}
    if len({record.form for record in records}) == 1 and type(None) not in {type(record.prediction) for record in records}:
        groups[records[0].form, True] = list(records)
    else:
        for record in records:
            groups.setdefault((record.form, record.prediction is not None), []).append(record)
    for (form, predicted), group in groups.items():
        if form is not None:
            for some in _chunks(group):
                yield LAYOUTS[form], some, predicted


def _chunks(group: list[Record]) -> Iterator[list[Record]]:
    sizes = [record.rows for record in group]
    if sum(sizes) <= MAX_ITEM_ROWS:
        yield group
        return
    start = rows = 0
    for stop, size in enumerate(sizes):
        if rows and rows + size > MAX_ITEM_ROWS:
            yield group[start:stop]
            start, rows = stop, 0
        rows += size
    yield group[start:]


def _merged(starts: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Blocks that lie side by side in the store are added in one go."""
    merged: list[tuple[int, int, int]] = []
    for start, first, last in starts:
        if merged and merged[-1][0] + merged[-1][2] - merged[-1][1] == start and merged[-1][2] == first:
            merged[-1] = (merged[-1][0], merged[-1][1], last)
        else:
            merged.append((start, first, last))
    return merged
