"""Records of the queue to tables of typed rows, by schema."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from otel_mlmon import columns
from otel_mlmon.aggregate import REASONS, Table, Watched
from otel_mlmon.catalog import PREDICTION, SCORE
from otel_mlmon.columns import CategoryEncoder
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.feature import Feature
from otel_mlmon.frames import joined
from otel_mlmon.outputs import Outputs
from otel_mlmon.records import Form, Record
from otel_mlmon.schema import Schema
from otel_mlmon.values import is_missing, on_host, plain

Check = Literal["missing_column", "extra_column", "width", "null", "unreadable"]
CHECKS: tuple[Check, ...] = ("missing_column", "extra_column", "width", "null", "unreadable")

Layout = Literal["position", "name", "columns", "unreadable"]
LAYOUTS: dict[str, Layout] = {
    Form.VECTOR: "position",
    Form.MATRIX: "position",
    Form.MAPPING: "name",
    Form.MAPPINGS: "name",
    Form.COLUMNS: "columns",
    Form.UNREADABLE: "unreadable",
}
"""Records of one layout are typed together."""

RawColumn = Sequence[Any] | npt.NDArray[Any]
_PLAIN = "fiub"


class Tabulator:
    """Types rows of one schema; holds nothing but the encoders' memories of categories.

    Args:
        schema: The features, in the order of positional rows.
        watched: What is counted: the schema's features in order, what is derived from them, outputs.
        derivation: How it is derived; of the vectors of the schema too.
    """

    def __init__(self, schema: Schema, watched: Sequence[Watched], derivation: Derivation) -> None:
        self._schema = schema
        self._names = tuple(schema.names)
        self._known = frozenset(self._names)
        self._getters = {name: itemgetter(name) for name in self._names}
        self._watched = tuple(watched)
        self._features = {one.name: schema[one.name] if one.name in self._known else _output(one) for one in watched}
        self._encoders = {one.name: _encoder(self._features[one.name], one) for one in watched if not one.numeric}
        inputs = [schema[name] for name in self._names]
        self._plain = [_plain(feature) for feature in inputs]
        self._clocked = any(feature.kind == "timestamp" for feature in inputs)
        # True alone is "true", beside 2.0 it would become 1.0: where values are spelled, arrays of several types stay apart.
        self._spelled = any(feature.kind != "numeric" for feature in inputs)
        self._strict = [feature for feature in inputs if not feature.nullable]
        self._derivation = derivation
        self._vectors = frozenset(derivation.vectors)
        self._derives = bool(derivation.names or derivation.vectors)
        self._alone = self._names == schema.vectors[:1]

    @np.errstate(over="ignore", invalid="ignore")  # values near the end of the floats, and beyond, are data, too
    def __call__(self, layout: Layout, records: Sequence[Record], outputs: Outputs | None) -> tuple[Table, Counter[Check]]:
        """Type the rows of some records.

        Args:
            layout: Their common layout.
            records: The records.
            outputs: Their predictions, one per row of all records together; None without.

        Returns:
            The table, and the rows that break the schema by check.
        """
        rows = sum(record.rows for record in records)
        violations: Counter[Check] = Counter()
        raw: Mapping[str, RawColumn] = {}
        absent: dict[str, npt.NDArray[np.bool_]] = {}
        kept: npt.NDArray[np.bool_] | None = None
        if layout == "position" and self._alone:
            raw = {self._names[0]: _vectors(records)}
        elif layout == "position":
            raw, kept = self._positions(records, violations)
        elif layout == "name":
            raw, absent = self._mappings(records, violations)
        elif layout == "columns":
            raw, absent = self._frames(records, violations)
        else:
            violations["unreadable"] += rows
        builder = _Builder(self._watched, rows)
        if raw and rows:
            at: npt.NDArray[np.float64] | float = 0.0
            if self._clocked:
                seen = np.repeat([record.ended for record in records], [record.rows for record in records])
                at = seen if kept is None else seen[kept]
            for name, column in raw.items():
                if name not in self._vectors:
                    self._type(builder, name, column, at, kept)
            if self._derives:
                for name, derived in self._derivation(raw, builder.numeric(kept), builder.coded(), sampled=True):
                    builder.numbers(name, derived.values, derived.missing, derived.invalid, kept)
            self._nulls(builder, raw, absent, violations)
        if outputs is not None:
            self._outputs(builder, outputs)
        return builder.table(), violations

    def broken(
        self, layout: Layout, records: Sequence[Record], outputs: Outputs | None
    ) -> tuple[list[Check], dict[str, list[str]]]:
        """What breaks the schema in some records: checks, and features by the reason for which they are invalid."""
        table, violations = self(layout, records, outputs)
        names = [one.name for one in self._watched]
        invalid: dict[str, list[str]] = {}
        for place, reason in np.argwhere(table.invalid):
            invalid.setdefault(REASONS[reason], []).append(names[place])
        return [check for check in CHECKS if violations[check]], invalid

    def _type(self, builder: "_Builder", name: str, column: RawColumn, at: Any, kept: npt.NDArray[np.bool_] | None) -> None:
        feature = self._features[name]
        encoder = self._encoders.get(name)
        if encoder is None:
            if isinstance(column, np.ndarray) and column.dtype.kind in _PLAIN and self._plain[self._names.index(name)]:
                builder.plain(name, column, kept)
            else:
                typed = columns.numeric(column, feature, at=at)
                builder.numbers(name, typed.values, typed.missing, typed.invalid, kept)
        else:
            coded = encoder(column)
            builder.codes(name, coded.codes, coded.missing, coded.invalid, kept)

    def _outputs(self, builder: "_Builder", outputs: Outputs) -> None:
        for name, values in ((PREDICTION, outputs.prediction), (SCORE, outputs.score)):
            if values is None or name not in self._features:
                continue
            if name in self._encoders:
                coded = self._encoders[name](values)
                builder.codes(name, coded.codes, coded.missing, coded.invalid, None)
            else:
                typed = columns.numeric(values, self._features[name], at=0.0)
                builder.numbers(name, typed.values, typed.missing, typed.invalid, None)

    def _positions(
        self, records: Sequence[Record], violations: Counter[Check]
    ) -> tuple[dict[str, RawColumn], npt.NDArray[np.bool_] | None]:
        """Columns by position; rows of a wrong width are left out, since none of their positions can be trusted."""
        width = len(self._names)
        if records[0].form == Form.VECTOR:
            rows_only = [record.features for record in records]
            if {np.ndarray}.issuperset(map(type, rows_only)) and {width}.issuperset(map(len, rows_only)):
                return self._turned(_stacked(rows_only, spelled=self._spelled)), None
        parts: list[npt.NDArray[Any]] = []
        kept: list[npt.NDArray[np.bool_]] = []
        vectors: list[Any] = []
        for record in records:
            payload = _host(record.features)
            if record.form == Form.VECTOR:
                rows: Iterable[Any] = (payload,)
            elif isinstance(payload, np.ndarray):
                kept.append(np.full(len(payload), payload.shape[1] == width))
                if payload.shape[1] == width:
                    parts.extend(_stacked(vectors, spelled=self._spelled))
                    vectors = []
                    parts.append(payload)
                continue
            else:
                rows = payload
            fits = []
            for row in map(_host, rows):
                fits.append(len(row) == width)
                if fits[-1]:
                    vectors.append(row)
            kept.append(np.array(fits, dtype=bool))
        parts.extend(_stacked(vectors, spelled=self._spelled))
        mask = np.concatenate(kept) if kept else np.zeros(0, dtype=bool)
        violations["width"] += int((~mask).sum())
        return (self._turned(parts) if parts else {}), None if mask.all() else mask

    def _turned(self, parts: list[npt.NDArray[Any]]) -> dict[str, RawColumn]:
        kinds = {part.dtype.kind for part in parts}
        if len(kinds) > 1 and (self._spelled or not kinds.issubset(_PLAIN)):
            parts = [part.astype(object) for part in parts]
        matrix = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return dict(zip(self._names, np.ascontiguousarray(matrix.T), strict=True))

    def _mappings(
        self, records: Sequence[Record], violations: Counter[Check]
    ) -> tuple[dict[str, RawColumn], dict[str, npt.NDArray[np.bool_]]]:
        rows: list[dict[str, Any]] = []
        for record in records:
            if record.form == Form.MAPPING:
                rows.append(record.features)
            else:
                rows.extend(record.features)
        raw: dict[str, RawColumn] = {}
        absent: dict[str, npt.NDArray[np.bool_]] = {}
        for name, getter in self._getters.items():
            try:
                raw[name] = list(map(getter, rows))
            except KeyError:
                raw[name] = [row.get(name) for row in rows]
                absent[name] = np.array([name not in row for row in rows])
        self._lacking(absent, len(rows), violations)
        if absent or set(map(len, rows)) != {len(self._names)}:
            violations["extra_column"] += sum(not self._known.issuperset(row) for row in rows)
        return raw, absent

    def _frames(
        self, records: Sequence[Record], violations: Counter[Check]
    ) -> tuple[dict[str, RawColumn], dict[str, npt.NDArray[np.bool_]]]:
        parts: dict[str, list[RawColumn]] = {name: [] for name in self._names}
        lacks: dict[str, list[npt.NDArray[np.bool_]]] = {name: [] for name in self._names}
        for record in records:
            split = columns.split(record.features)
            if not self._known.issuperset(split):
                violations["extra_column"] += record.rows
            for name in self._names:
                parts[name].append(split[name] if name in split else [None] * record.rows)
                lacks[name].append(np.full(record.rows, name not in split))
        absent = {name: mask for name, masks in lacks.items() if (mask := np.concatenate(masks)).any()}
        self._lacking(absent, sum(record.rows for record in records), violations)
        return {name: joined(some) for name, some in parts.items()}, absent

    def _lacking(self, absent: Mapping[str, npt.NDArray[np.bool_]], rows: int, violations: Counter[Check]) -> None:
        lacking = np.zeros(rows, dtype=bool)
        for name, mask in absent.items():
            if self._schema[name].required:
                lacking |= mask
        violations["missing_column"] += int(lacking.sum())

    def _nulls(
        self,
        builder: "_Builder",
        raw: Mapping[str, RawColumn],
        absent: Mapping[str, npt.NDArray[np.bool_]],
        violations: Counter[Check],
    ) -> None:
        """Rows with a null in a feature that allows none; an absent column is another matter."""
        null: npt.NDArray[np.bool_] | None = None
        for feature in self._strict:
            if not builder.missing(feature.name):
                continue
            mask = _null(raw[feature.name])
            if mask is not None:
                mask = mask & ~absent[feature.name] if feature.name in absent else mask
                null = mask if null is None else null | mask
        if null is not None:
            violations["null"] += int(null.sum())


class _Builder:
    """A table while its columns come in; what does not come stays missing from the rows, and uncounted."""

    def __init__(self, watched: Sequence[Watched], rows: int) -> None:
        self._rows = rows
        numeric = [one.name for one in watched if one.numeric]
        coded = [one.name for one in watched if not one.numeric]
        self._numeric = np.full((len(numeric), rows), np.nan)
        self._codes = [np.full(0, -1, dtype=np.intp) for _ in coded]
        self._row = {name: row for row, name in enumerate(numeric)}
        self._code = {name: row for row, name in enumerate(coded)}
        self._place = {one.name: place for place, one in enumerate(watched)}
        self._missing = np.zeros(len(watched))
        self._invalid = np.zeros((len(watched), len(REASONS)))

    def plain(self, name: str, column: npt.NDArray[Any], kept: npt.NDArray[np.bool_] | None) -> None:
        """Numbers without rules of their own: NaN is missing, infinity invalid."""
        target = self._numeric[self._row[name]]
        if kept is None:
            target[:] = column
        else:
            target[kept] = column
        if math.isfinite(column.sum()):  # one pass tells that there is neither, as there mostly is
            return
        missing = int(np.isnan(column).sum()) if column.dtype.kind == "f" else 0
        self._missing[self._place[name]] = missing
        infinite = np.isinf(target)
        if infinite.any():
            target[infinite] = np.nan
            self._invalid[self._place[name], REASONS.index("infinite")] = infinite.sum()

    def numbers(
        self,
        name: str,
        values: npt.NDArray[np.float64],
        missing: int,
        invalid: Mapping[Any, int],
        kept: npt.NDArray[np.bool_] | None,
    ) -> None:
        self._numeric[self._row[name], slice(None) if kept is None else kept] = values
        self._count(name, missing, invalid)

    def codes(
        self, name: str, codes: npt.NDArray[np.intp], missing: int, invalid: Mapping[Any, int], kept: npt.NDArray[np.bool_] | None
    ) -> None:
        del kept  # bins do not care which rows they came from
        self._codes[self._code[name]] = codes
        self._count(name, missing, invalid)

    def numeric(self, kept: npt.NDArray[np.bool_] | None) -> dict[str, npt.NDArray[np.float64]]:
        """The numbers so far, of the rows that were not left out."""
        columns = self._numeric if kept is None else self._numeric[:, kept]
        return {name: columns[row] for name, row in self._row.items()}

    def coded(self) -> dict[str, npt.NDArray[np.intp]]:
        """The bin numbers so far."""
        return {name: self._codes[row] for name, row in self._code.items()}

    def missing(self, name: str) -> float:
        return float(self._missing[self._place[name]])

    def table(self) -> Table:
        return Table(self._rows, self._numeric, self._codes, self._missing, self._invalid)

    def _count(self, name: str, missing: int, invalid: Mapping[Any, int]) -> None:
        place = self._place[name]
        self._missing[place] = missing
        for reason, count in invalid.items():
            self._invalid[place, REASONS.index(reason)] = count


def _plain(feature: Feature) -> bool:
    return feature.kind == "numeric" and feature.minimum is None and feature.maximum is None and feature.dtype != "integer"


def _output(one: Watched) -> Feature:
    """The rules for an output: any number, or any class."""
    return Feature(one.name[1:], kind="numeric" if one.numeric else "categorical")


def _encoder(feature: Feature, one: Watched) -> CategoryEncoder:
    if one.profile is None:
        return CategoryEncoder(feature, {}, 0)
    return CategoryEncoder(feature, one.profile.codes, one.profile.unseen)


def _host(payload: Any) -> Any:
    """Bring a tensor to the host, here on the worker."""
    if isinstance(payload, (np.ndarray, list, tuple)):
        return payload
    return on_host(payload)


def _stacked(rows: list[Any], *, spelled: bool) -> list[npt.NDArray[Any]]:
    """Equally wide rows as one matrix: of numbers where all are, else of objects."""
    if not rows:
        return []
    alike = not spelled or len({getattr(row, "dtype", None) for row in rows}) == 1
    if alike and {np.ndarray}.issuperset(map(type, rows)):
        stacked = np.array(rows)
        if stacked.dtype.kind in _PLAIN:
            return [stacked]
    matrix = np.empty((len(rows), len(rows[0])), dtype=object)
    for place, row in enumerate(rows):
        matrix[place] = row if not isinstance(row, np.ndarray) else list(row)
    return [matrix]


def _vectors(records: Sequence[Record]) -> RawColumn:
    """One vector a row, where positions are numbers of a vector."""
    parts: list[RawColumn] = []
    for record in records:
        payload = _host(record.features)
        parts.append([payload] if record.form == Form.VECTOR else payload if isinstance(payload, np.ndarray) else list(payload))
    return joined(parts)


def _null(column: RawColumn) -> npt.NDArray[np.bool_] | None:
    """Which values are null; None if none can be."""
    if isinstance(column, np.ndarray):
        if column.ndim > 1:
            return None
        if column.dtype.kind == "f":
            return np.isnan(column)
        if column.dtype.kind in "iub":
            return None
    return np.array([is_missing(plain(value)) for value in column], dtype=bool)
