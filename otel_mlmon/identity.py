"""What tells a row from the others in spans and prediction logs: its prediction id and its cohorts."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.util.types import AttributeValue

from otel_mlmon.catalog import OTHER, UNSEEN
from otel_mlmon.learning import read_rows
from otel_mlmon.records import Record
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.values import category, text

Row = dict[str, Any]

_BOOLEAN = {"0": "false", "1": "true", "false": "false", "true": "true"}

ID_CHARACTERS = 256
"""A longer prediction id is left out: it is no id, but perhaps a row in words."""

_LOG = logging.getLogger("otel_mlmon")


class Identity:
    """Reads rows that are to be told apart; on the worker.

    Args:
        cohorts: Names of the features whose values are cohorts.
    """

    def __init__(self, cohorts: Sequence[str]) -> None:
        self._cohorts = tuple(cohorts)
        self._names: tuple[str, ...] = ()
        self._alone = False
        self._known: dict[str, Mapping[str, str]] = {}

    def watch(self, schema: Schema, reference: Reference | None) -> None:
        """Read rows of a schema from now on."""
        self._names, self._alone = schema.names, schema.names == schema.vectors[:1]
        for name in self._cohorts:
            if problem := cohort_problem(name, schema):  # a schema that was learned
                _LOG.warning("cohort %r is left out: %s", name, problem)
                continue
            if schema[name].kind == "boolean":
                self._known[name] = _BOOLEAN
            else:
                bins = reference[name].bins if reference is not None and name in reference else ()
                self._known[name] = {label: label for label in {*schema[name].categories, *bins} - {OTHER, UNSEEN}}

    def row(self, record: Record) -> Row:
        """The values of a record of one row, by feature; empty if they cannot be read."""
        rows = read_rows(record, self._names, alone=self._alone) if record.form is not None else []
        return rows[0] if rows else {}

    def attributes(self, record: Record, row: Row) -> dict[str, AttributeValue]:
        """Attributes that tell one row.

        Args:
            record: A record of this row alone.
            row: Its values.

        Returns:
            Prediction id and cohorts, as far as it has them. The values of a cohort are bounded: those that reference or schema
            know, else ``__other__``.
        """
        found: dict[str, AttributeValue] = {}
        identifier = prediction_id(record)
        if identifier is not None:
            found["mlmon.prediction_id"] = identifier
        for name, known in self._known.items():
            label = category(row.get(name))
            if label is not None:
                found[f"mlmon.cohort.{name}"] = known.get(label, OTHER)
        return found

    def of_call(self, record: Record) -> dict[str, AttributeValue]:
        """Attributes that tell a call, by the last of its records: of a call of one row those of the row."""
        if record.first and record.rows == 1:
            return self.attributes(record, self.row(record))
        ids = record.origin.ids if record.origin is not None else None
        identifier = None if isinstance(ids, list) else _identifier(ids)
        return {} if identifier is None else {"mlmon.prediction_id": identifier}


def prediction_id(record: Record) -> str | None:
    """The prediction id of a record of one row, if it has one."""
    ids = record.origin.ids if record.origin is not None else None
    return _identifier(ids[0] if isinstance(ids, list) else ids)


def _identifier(value: Any) -> str | None:
    found = text(value)
    return found if found is None or len(found) <= ID_CHARACTERS else None


def cohort_problem(name: str, schema: Schema) -> str:
    """What is wrong with a feature as a cohort; empty if nothing."""
    if name not in schema.names:
        return f"cohorts must be features of the schema, got {name!r}"
    kind = schema[name].kind
    return "" if kind in ("categorical", "boolean") else f"cohorts must be categorical or boolean features, {name!r} is {kind}"
