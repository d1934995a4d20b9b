"""Prediction logs: some rows, and of these only what was asked for, as records for the application's log pipeline."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from otel_mlmon import catalog
from otel_mlmon.catalog import PREDICTION, SCORE
from otel_mlmon.identity import Identity, Row
from otel_mlmon.outputs import Task, interpret
from otel_mlmon.records import Record
from otel_mlmon.schema import Schema
from otel_mlmon.settings import LOGGED_OUTPUTS, PredictionLog
from otel_mlmon.store import SeriesStore
from otel_mlmon.tracing import SCOPE
from otel_mlmon.values import is_missing, is_real, number, plain, text, vector
from otel_mlmon.worker import settle_at_exit

EVENT = "mlmon.prediction"
"""Name of the event that a record is."""

STATUSES = ("emitted", "limited", "failed")
"""Values of the label ``status`` of ``mlmon_prediction_logs_total``."""

_LOG = logging.getLogger("otel_mlmon")


class PredictionLogger:
    """Logs rows through the application's ``LoggerProvider``; on the worker.

    Args:
        log: Which rows, and what of them.
        model: Name and version.
        task: How predictions are read.
        identity: Reads rows, and what tells them apart.
        store: Where the counter of the records lives.
        version: Version of this package.
        failed: Called with the place of an error that was caught, and the error.
        clock: Seconds, monotonic.
        seed: Of the generator that samples rows without a prediction id; None for chance.
    """

    def __init__(
        self,
        log: PredictionLog,
        model: tuple[str, str],
        task: Task | None,
        identity: Identity,
        store: SeriesStore,
        *,
        version: str,
        failed: Callable[[str, BaseException], None],
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self._log, self._task, self._identity, self._store, self._failed = log, task, identity, store, failed
        self._model = {"model.name": model[0], "model.version": model[1]}
        self._logger = get_logger(SCOPE, version)
        self._slots = store.allocate(catalog.PREDICTION_LOGS, [(*model, status) for status in STATUSES])
        self._clock, self._seed = clock, seed
        self.reset()

    def reset(self) -> None:
        """Begin anew in a forked child, which samples by itself."""
        self._random = np.random.default_rng(self._seed)
        self._allowed, self._filled = max(1.0, self._log.per_second), self._clock()

    def watch(self, schema: Schema) -> None:
        """Log rows of a schema from now on."""
        for name in self._log.fields:
            if name not in (*schema.names, *LOGGED_OUTPUTS):  # a schema that was learned
                _LOG.warning("prediction log: field %r is left out: the schema that was learned has no such feature", name)

    def log(self, records: Sequence[Record]) -> None:
        """Log the sampled rows of calls that succeeded. Never raises."""
        settle_at_exit()  # each time: the application may have set its provider since, which ends at exit, too
        counts = dict.fromkeys(STATUSES, 0)
        for record, place in self._sampled([record for record in records if record.status == "ok" and record.rows]):
            counts[self._emit(record, place) if self._allow() else "limited"] += 1
        if any(counts.values()):
            self._store.add([(self._slots, np.array([float(counts[status]) for status in STATUSES]))])

    def _sampled(self, records: Sequence[Record]) -> Iterator[tuple[Record, int]]:
        """Records and places of the rows that are logged."""
        if not records:
            return
        chances = self._random.random(sum([record.rows for record in records])) < self._log.sample
        start = 0
        for record in records:
            stop = start + record.rows
            ids = record.origin.ids if record.origin is not None else None
            places: Iterable[int]
            if isinstance(ids, list):
                places = [
                    place
                    for place, (one, chance) in enumerate(zip(ids, chances[start:stop], strict=True))
                    if (chance if is_missing(one) else self._picks(one))
                ]
            elif not is_missing(ids):
                places = range(record.rows) if self._picks(ids) else ()
            else:
                places = np.flatnonzero(chances[start:stop]).tolist()
            for place in places:
                yield record, place
            start = stop

    def _picks(self, identifier: Any) -> bool:
        try:
            return sampled(text(identifier) or "", self._log.sample)
        except Exception as error:  # noqa: BLE001 - an id is the user's object, whatever its text does
            self._failed("prediction_log", error)
            return False

    def _allow(self) -> bool:
        """Whether one more fits the rate: a bucket of tokens that holds those of a second."""
        now, most = self._clock(), max(1.0, self._log.per_second)
        self._allowed = min(most, self._allowed + (now - self._filled) * self._log.per_second)
        self._filled = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _emit(self, record: Record, place: int) -> str:
        """Log one row. Returns what became of it, one of ``STATUSES``."""
        try:
            one = record.row(place)
            row = self._identity.row(one)
            attributes = {**self._model, **self._identity.attributes(one, row), **self._shown(one, row)}
            context = record.origin.context if record.origin is not None else None
            self._logger.emit(
                LogRecord(
                    timestamp=int(record.ended * 1e9),
                    context=trace.set_span_in_context(trace.NonRecordingSpan(context or trace.INVALID_SPAN_CONTEXT), Context()),
                    severity_number=SeverityNumber.INFO,
                    attributes=attributes,
                    event_name=EVENT,
                )
            )
        except Exception as error:  # noqa: BLE001 - odd rows, and the user's log pipeline: it is counted
            self._failed("prediction_log", error)
            return "failed"
        return "emitted"

    def _shown(self, record: Record, row: Row) -> dict[str, AttributeValue]:
        """Attributes of the fields that were asked for; what is missing has none."""
        values = {f"mlmon.feature.{name}": row.get(name) for name in self._log.fields if name not in LOGGED_OUTPUTS}
        if len(values) < len(self._log.fields) and record.prediction is not None:
            outputs = interpret(record.prediction, self._task, 1)
            for name, column in ((PREDICTION, outputs.prediction), (SCORE, outputs.score)):
                if name in self._log.fields and column is not None:
                    values[f"mlmon.{name[1:]}"] = column[0]
        shown = {name: _attribute(value) for name, value in values.items()}
        return {name: value for name, value in shown.items() if value is not None}


def sampled(identifier: str, share: float) -> bool:
    """Whether a prediction id is sampled: the same everywhere, and more of them with a greater share.

    Source:
        The first eight bytes of its BLAKE2b hash (RFC 7693) are below the share of their range.

    >>> sampled("a1", 0.05), sampled("a1", 1.0)
    (False, True)
    """
    digest = hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _attribute(value: Any) -> AttributeValue | None:
    """A raw value as OpenTelemetry can carry it; None if it is missing."""
    value = plain(value)
    if is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)) and is_real(type(value)) and abs(int(value)) < 2**63:
        return int(value)
    real = number(value)
    if isinstance(real, float):
        return real
    numbers = vector(value)
    return tuple(numbers.tolist()) if isinstance(numbers, np.ndarray) else text(value)
