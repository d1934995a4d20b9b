"""Training data of any shape as chunks of raw columns that can be read several times."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import LABEL, PREDICTION, SCORE
from otel_mlmon.columns import NumericColumn, numeric
from otel_mlmon.feature import Feature
from otel_mlmon.frames import RawColumn, split
from otel_mlmon.outputs import Task, interpret, per_row
from otel_mlmon.schema import Schema
from otel_mlmon.values import on_host, seconds

__all__ = ["Batch", "Chunk", "Source", "reopen", "unix_times"]

CHUNK_ROWS = 65_536
_OUTPUTS = ("predictions", "scores", "labels", "timestamps")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of training data, with what belongs to them: what ``Reference.build`` takes, in parts.

    Attributes:
        data: Frame, dict of columns, array or list of rows.
        predictions, scores, labels, timestamps: One entry per row, or None.

    >>> Batch({"age": [20, 30]}, labels=[0, 1]).labels
    [0, 1]
    """

    data: Any
    predictions: Any = None
    scores: Any = None
    labels: Any = None
    timestamps: Any = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 65,536 rows.

    Attributes:
        columns: Raw values by feature, ``@prediction``, ``@score`` and ``@label`` among them, each of ``rows`` entries.
        at: Unix time of each row, or None.
        rows: How many.
        typed: Columns of numbers that are typed already, derived ones among them, likewise.
    """

    columns: Mapping[str, RawColumn]
    at: npt.NDArray[np.float64] | None
    rows: int
    typed: Mapping[str, NumericColumn] = field(default_factory=dict)

    def numbers(self, feature: Feature) -> NumericColumn:
        """The typed column of a numeric feature."""
        found = self.typed.get(feature.name)
        return found or numeric(self.columns[feature.name], feature, at=math.nan if self.at is None else self.at)


class Source:
    """Training data, chunk by chunk, as often as asked.

    Args:
        data: As ``Reference.build``.
        outputs: Predictions, scores, labels and timestamps that go with data that is not in batches.
        names: Of the columns of an array.
        schema: Of the features; inferred (from the first batch) if None.
        task: What the model does.

    Raises:
        ValueError: If the data cannot be read twice, has no rows, or its parts do not fit together.
    """

    def __init__(
        self, data: Any, outputs: Mapping[str, Any], *, names: Sequence[str] | None, schema: Schema | None, task: Task | None
    ) -> None:
        self._names, self._task = names, task
        self._chunks: list[Chunk] | None = None
        self._open = reopen(data)
        given = [name for name in _OUTPUTS if outputs[name] is not None]
        if self._open is not None and given:
            raise ValueError(f"data comes in batches, so {', '.join(given)} must come in each Batch")
        first, columns = self._first(data, outputs, schema)
        self.schema = schema or Schema.infer(columns)
        self.whole = self._open is None
        example = self._read(first, "data")
        self.timed = example.at is not None
        aged = [feature.name for feature in self.schema if feature.kind == "timestamp"]
        if aged and not self.timed:
            raise ValueError(f"feature {aged[0]!r}: an age needs timestamps=, the times at which the rows were seen, got None")
        self.outputs = tuple(
            self._output(name, example.columns[name]) for name in (PREDICTION, SCORE, LABEL) if name in example.columns
        )
        if self.whole:
            self._chunks = list(_cut(example))

    def __iter__(self) -> Iterator[Chunk]:
        if self._chunks is not None:
            yield from self._chunks
            return
        known = {feature.name for feature in self.outputs}
        for number, batch in enumerate(self._batches()):
            read = self._read(batch, f"batch {number}")
            found = set(read.columns) - set(self.schema.names)
            if read.rows and (found != known or (read.at is not None) != self.timed):
                raise ValueError(
                    f"batch {number}: must have the outputs of the first, {sorted(known)}, and timestamps like it ({self.timed}), "
                    f"got {sorted(found)}, {read.at is not None}"
                )
            yield from _cut(read)

    def _first(self, data: Any, outputs: Mapping[str, Any], schema: Schema | None) -> tuple[Batch, dict[str, RawColumn]]:
        """The first batch that has rows, and its columns."""
        for batch in (Batch(data, **outputs),) if self._open is None else self._batches():
            columns = self._split(batch.data, schema)
            if columns and len(next(iter(columns.values()))):
                return batch, columns
        raise ValueError("data: there must be rows to build a reference from, got none")

    def _batches(self) -> Iterator[Batch]:
        assert self._open is not None  # noqa: S101 - only data in batches comes here
        for batch in self._open():
            yield batch if isinstance(batch, Batch) else Batch(batch)

    def _split(self, data: Any, schema: Schema | None) -> dict[str, RawColumn]:
        array = hasattr(data, "__array__") and getattr(data, "ndim", 0) == 2 and not hasattr(data, "columns")
        if array and schema is not None and schema.names == schema.vectors[:1]:
            return {schema.names[0]: on_host(data)}
        names = self._names if self._names is not None or schema is None or not array else schema.names
        return split(data, names)

    def _read(self, batch: Batch, where: str) -> Chunk:
        """One batch, not cut."""
        found = self._split(batch.data, self.schema)
        rows = len(next(iter(found.values()), ()))
        absent = [feature.name for feature in self.schema if feature.required and feature.name not in found]
        if absent and rows:
            raise ValueError(f"{where}: must have the schema's features, got none named {absent!r}, only {list(found)!r}")
        columns: dict[str, RawColumn] = {name: found[name] if name in found else [None] * rows for name in self.schema.names}
        if batch.predictions is not None:
            read = interpret(_array(batch.predictions, "predictions"), self._task, rows)
            columns |= {name: values for name, values in ((PREDICTION, read.prediction), (SCORE, read.score)) if values is not None}
        if batch.scores is not None:
            columns[SCORE] = per_row(_array(batch.scores, "scores"), rows)
        if batch.labels is not None:
            columns[LABEL] = per_row(_array(batch.labels, "labels"), rows)
        at = None if batch.timestamps is None else unix_times(_array(batch.timestamps, "timestamps"))
        for name, values in (*columns.items(), *(() if at is None else (("timestamps", at),))):
            if len(values) != rows or getattr(values, "ndim", 1) not in ((1, 2) if name in self.schema.vectors else (1,)):
                raise ValueError(f"{where}: {name} must have one entry for each of {rows} rows, got shape {np.shape(values)}")
        return Chunk(columns, at, rows)

    def _output(self, name: str, values: RawColumn) -> Feature:
        """How an output is binned: numbers, or classes."""
        floats = isinstance(values, np.ndarray) and values.dtype.kind == "f"
        value = (
            name == SCORE
            or self._task == "regression"
            or (self._task == "ranking" and name == LABEL)
            or (self._task is None and floats)
        )
        return Feature(name, kind="numeric" if value else "categorical")


def reopen(data: Any) -> Callable[[], Iterable[Any]] | None:
    """How to go through the batches once more; None if the data is not in batches."""
    if hasattr(data, "__array__") or hasattr(data, "columns") or isinstance(data, Mapping):
        return None
    if isinstance(data, (list, tuple)):
        parts = bool(data) and (isinstance(data[0], Batch) or hasattr(data[0], "columns") or getattr(data[0], "ndim", 0) == 2)
        return (lambda: data) if parts else None
    if callable(data):
        return data  # type: ignore[no-any-return]  # its batches are checked as they come
    if isinstance(data, Iterator):
        raise ValueError(
            f"data is read twice, so it must be a callable that returns a new iterator each time, got {type(data).__name__}, "
            "which can be read once"
        )
    return (lambda: data) if isinstance(data, Iterable) and not isinstance(data, (str, bytes)) else None


def _cut(read: Chunk) -> Iterator[Chunk]:
    for start in range(0, read.rows, CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        columns = {name: column[part] for name, column in read.columns.items()}
        yield Chunk(columns, None if read.at is None else read.at[part], min(CHUNK_ROWS, read.rows - start))


def _array(values: Any, name: str) -> Any:
    """A column of a frame as an array; anything else as it is."""
    return split({name: values})[name] if hasattr(values, "to_numpy") and getattr(values, "ndim", 1) == 1 else values


def unix_times(values: Any) -> npt.NDArray[np.float64]:
    """Unix times of epoch seconds, datetimes or ISO 8601 strings.

    Raises:
        ValueError: If one is none of these, or missing.
    """
    array = np.asarray(values)
    if array.dtype.kind == "M":
        times = np.where(np.isnat(array), np.nan, array.astype("M8[us]").astype(np.int64) / 1e6)
    elif array.dtype.kind in "fiu":
        times = array.astype(np.float64)
    else:
        read = [seconds(value) for value in array.ravel().tolist()]
        times = np.array([value if isinstance(value, float) else np.nan for value in read]).reshape(array.shape)
    wrong = np.flatnonzero(~np.isfinite(times))
    if len(wrong):
        raise ValueError(
            f"timestamps must be Unix seconds, datetimes or ISO 8601 texts, got {array.ravel()[wrong[0]]!r} in row {wrong[0]}"
        )
    return times
