"""A schema, or a whole reference, learned from the first rows of this process."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from otel_mlmon.feature import Feature, Kind
from otel_mlmon.frames import listed, split
from otel_mlmon.outputs import Task, interpret, join
from otel_mlmon.records import Form, Record
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.values import is_missing, on_host

SCHEMA_ROWS = 100
"""Rows that a schema is inferred from where neither schema nor reference is given."""

Row = dict[str, Any]

_LOG = logging.getLogger("otel_mlmon")


@dataclass(frozen=True, slots=True)
class Learned:
    """What the first rows told: a schema, and a reference if one was asked for."""

    schema: Schema
    reference: Reference | None


class Learner:
    """Holds the first records until there are enough rows to learn from.

    Args:
        rows: How many rows are enough.
        schema: The schema if it is known already.
        task: What the model does.
        reference: Whether a reference is to be built, not only a schema.
    """

    def __init__(self, rows: int, *, schema: Schema | None, task: Task | None, reference: bool) -> None:
        self._wanted, self._schema, self._task, self._reference = rows, schema, task, reference
        self._records: list[Record] = []

    @property
    def rows(self) -> int:
        """Rows held."""
        return sum(record.rows for record in self._records)

    def add(self, records: Sequence[Record]) -> bool:
        """Hold the records that have rows. Returns whether there are enough rows now."""
        self._records.extend(record for record in records if record.form is not None and record.rows)
        return self.rows >= self._wanted

    def take(self) -> list[Record]:
        """Give back the records held, to be counted."""
        records, self._records = self._records, []
        return records

    def learn(self) -> Learned:
        """Learn from the records held: those that can be read, of calls that succeeded and predicted, as far as there are such.

        Returns:
            Schema and, if asked for, reference.

        Raises:
            ValueError: If the rows do not tell a schema.
        """
        names = self._schema.names if self._schema is not None else _positions(self._records)
        alone = self._schema is not None and names == self._schema.vectors[:1]
        read = [(record, rows) for record in self._records if (rows := read_rows(record, names, alone=alone))]
        read = [one for one in read if one[0].status == "ok"] or read
        schema = self._schema or _infer([row for _, rows in read for row in rows])
        if not self._reference:
            return Learned(schema, None)
        read = [one for one in read if _predicts(one[0], self._task)] or read
        rows = [row for _, rows in read for row in rows]
        reference = Reference.build(
            {name: [row.get(name) for row in rows] for name in schema.names},
            schema=schema,
            task=self._task,
            predictions=_predictions([record for record, _ in read], self._task),
            timestamps=[record.ended for record, _ in read for _ in range(record.rows)],
        )
        return Learned(schema, reference)


def new_learner(name: str, rows: int | None, *, schema: Schema | None, task: Task | None) -> Learner | None:
    """What a monitor without a reference learns from.

    Args:
        name: The monitor's, for the log.
        rows: First rows that a reference is learned from; None for a schema only.
        schema: The schema if it is known already.
        task: What the model does.

    Returns:
        The learner; None if there is nothing to be learned.
    """
    if rows is not None:
        return Learner(rows, schema=schema, task=task, reference=True)
    if schema is not None:
        return None
    _LOG.warning(
        "monitor %r has neither reference nor schema: features are named by the first %d rows, and drift is not watched",
        name,
        SCHEMA_ROWS,
    )
    return Learner(SCHEMA_ROWS, schema=None, task=task, reference=False)


def _positions(records: Sequence[Record]) -> tuple[str, ...]:
    """Names for rows by position: as many as most of them have values."""
    widths = Counter(len(row) for record in records if record.form in (Form.VECTOR, Form.MATRIX) for row in _vectors(record))
    return tuple(f"x{place}" for place in range(widths.most_common(1)[0][0])) if widths else ()


def read_rows(record: Record, names: Sequence[str], *, alone: bool) -> list[Row]:
    """The rows of a record; none where one of them cannot be read. ``alone``: one by position is the only feature, a vector."""
    if record.form == Form.MAPPING:
        return [record.features]
    if record.form == Form.MAPPINGS:
        return list(record.features)
    if record.form == Form.COLUMNS:
        try:
            raw = split(record.features)
        except ValueError:  # the worker counts it when it counts the rows
            return []
        return [dict(zip(raw, values, strict=True)) for values in zip(*map(listed, raw.values()), strict=True)]
    if record.form in (Form.VECTOR, Form.MATRIX):
        vectors = _vectors(record)
        if alone:
            return [{names[0]: vector} for vector in vectors]
        return [dict(zip(names, row, strict=True)) for row in vectors] if {len(names)} == set(map(len, vectors)) else []
    return []


def _vectors(record: Record) -> list[list[Any]]:
    rows = [record.features] if record.form == Form.VECTOR else record.features
    if not isinstance(rows, list):
        rows = on_host(rows)
    return [list(row) if isinstance(row, (list, tuple)) else list(on_host(row)) for row in rows]


def _infer(rows: Sequence[Row]) -> Schema:
    """Schema of rows, in which an odd value does not cost the others."""
    features: list[Feature] = []
    for name, values in split(rows).items():
        if all(map(is_missing, values)):
            continue
        try:
            features += Schema.infer({name: values})
        except ValueError:
            features += Schema.infer({name: values}, kinds={name: _majority(listed(values))})
    if not features:
        raise ValueError("learning: the first rows have no values that can be read")
    return Schema(tuple(features))


def _majority(values: Sequence[Any]) -> Kind:
    """What most values of several kinds are; the others are invalid then, and counted as such."""
    kinds: Counter[Kind] = Counter()
    for value in values:
        try:
            kinds[Schema.infer({"value": [value]})["value"].kind] += 1
        except ValueError:  # missing, or nested
            continue
    return kinds.most_common(1)[0][0] if kinds else "categorical"


def _predicts(record: Record, task: Task | None) -> bool:
    """Whether a record has predictions that can be read."""
    try:
        return record.prediction is not None and interpret(record.prediction, task, record.rows) is not None
    except Exception:  # noqa: BLE001 - any shape may come back from a model; it is counted when the rows are
        return False


def _predictions(records: Sequence[Record], task: Task | None) -> Any:
    """The predictions of all records together; None if there are none, or they do not go together."""
    if not all(_predicts(record, task) for record in records):
        return None
    rows = [record.rows for record in records]
    try:
        joined = join([record.prediction for record in records], rows)
        interpret(joined, task, sum(rows))
    except ValueError:
        return None
    return joined
