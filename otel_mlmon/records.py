"""What crosses the queue: a copy of a call's rows, taken cheaply on the caller's thread."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from numbers import Number
from typing import Any, Final

import numpy as np

from otel_mlmon.tracing import Origin
from otel_mlmon.worker import MAX_ITEM_ROWS

_CACHED_TYPES = 256


class Form:
    """How the rows of a record are laid out. Plain strings: an Enum hashes in Python, once a record."""

    MAPPING: Final = "mapping"  # one row: a dict by feature name
    MAPPINGS: Final = "mappings"  # several rows: a list of dicts
    VECTOR: Final = "vector"  # one row by position: a 1-D array, a sequence or a lone value
    MATRIX: Final = "matrix"  # several rows by position: a 2-D array or a sequence of sequences
    COLUMNS: Final = "columns"  # several rows by column: a frame, a structured array or a dict of columns
    UNREADABLE: Final = "unreadable"  # rows of no known shape; only their number is kept


Captured = tuple[str | None, Any, int]
"""Form, copied rows, number of rows."""

NOTHING: Captured = (None, None, 0)
"""What a call without rows leaves."""


class Record:
    """One call, or one part of a large call: what the worker needs to know of it.

    Attributes:
        form: Layout of ``features``, one of ``Form``; None if the call's rows are not watched.
        features: Copied rows.
        rows: Number of rows.
        prediction: What the model returned for them, copied; None if nothing.
        status: How the call ended: ``ok``, ``error`` or ``cancelled``.
        error: Class name of the exception; empty without one.
        duration: Seconds that the call took; NaN if not known.
        ended: Unix time at which it ended.
        first: Whether the call is counted with this record; not so for the further parts of a large one.
        origin: Its trace, its span and its prediction ids; None where it has none of them.
    """

    __slots__ = ("duration", "ended", "error", "features", "first", "form", "origin", "prediction", "rows", "status")

    def __init__(
        self,
        captured: Captured,
        prediction: Any,
        status: str,
        error: str,
        duration: float,
        ended: float,
        *,
        origin: Origin | None = None,
    ) -> None:
        self.form: str | None
        self.features: Any
        self.form, self.features, self.rows = captured
        self.prediction = prediction
        self.status = status
        self.error = error
        self.duration = duration
        self.ended = ended
        self.first = True
        self.origin = origin

    def split(self) -> "list[Record]":
        """Parts of at most ``MAX_ITEM_ROWS`` rows; the first carries the call. Predictions are split where they fit the rows.

        Those that do not fit must not seem to fit one of the parts: the first gets something that no task can read.
        """
        parts = []
        fits = self._fits()
        for start in range(0, self.rows, MAX_ITEM_ROWS):
            misfit = MISFIT if self.prediction is not None and not start else None
            part = self._part(start, min(start + MAX_ITEM_ROWS, self.rows), misfit, fits=fits)
            part.first = start == 0
            parts.append(part)
        return parts

    def row(self, place: int) -> "Record":
        """A record of one row alone."""
        return self if self.rows == 1 else self._part(place, place + 1, None, fits=self._fits())

    def _fits(self) -> bool:
        """Whether there is one prediction per row."""
        return self.prediction is not None and _sized(self.prediction, self.rows)

    def _part(self, start: int, stop: int, misfit: Any, *, fits: bool) -> "Record":
        form = self.form if self.form is not None else Form.UNREADABLE
        captured = (form, _slice(form, self.features, start, stop), stop - start)
        prediction = _part(self.prediction, start, stop) if fits else misfit
        origin = self.origin.part(start, stop, ends=stop == self.rows) if self.origin is not None else None
        return Record(captured, prediction, self.status, self.error, self.duration, self.ended, origin=origin)


def settle(record: Record, vectors: Iterable[str]) -> None:
    """Make a dict of columns one row, where a vector feature has numbers in place of vectors.

    Args:
        record: Any record, not split yet.
        vectors: Names of the vector features.
    """
    if record.form != Form.COLUMNS or not isinstance(record.features, dict):
        return
    if any(name in record.features and _of_numbers(record.features[name]) for name in vectors):
        record.form, record.rows = Form.MAPPING, 1


def _of_numbers(column: Any) -> bool:
    """Whether a copied column of a dict is one vector rather than a column of them."""
    if isinstance(column, list) or getattr(column, "dtype", None) == np.dtype(object):
        first = next((value for value in column if value is not None), None)
        return first is not None and _is_value(first)
    return len(getattr(column, "shape", ())) == 1 and not hasattr(column, "to_numpy")


MISFIT = object()
"""Stands for the predictions of a large call that are not one per row."""


def capture(features: Any) -> Captured:
    """Copy the rows that a call was given, so that what the caller does next changes nothing.

    Args:
        features: Any shape of the documentation: dict, dataclass, NamedTuple, pydantic model, 1-D or 2-D array, list, list of
            dicts, dict of columns, pandas or polars frame, anything with ``__array__``, or a lone value.

    Returns:
        Form, copy and number of rows. A shape that is not known comes back as ``UNREADABLE``.
    """
    kind = type(features)
    found = _CAPTURE.get(kind)
    if found is None:
        found = _choose(features)
        if len(_CAPTURE) < _CACHED_TYPES:
            _CAPTURE[kind] = found
    return found(features)


def capture_prediction(result: Any) -> Any:
    """Copy what a call returned, where the caller could change it; None for what can be no prediction."""
    kind = type(result)
    if kind in _IMMUTABLE:
        return result
    if kind is np.ndarray:
        return result.copy()
    if isinstance(result, Mapping):
        if not OUTPUT_KEYS.issuperset(result):
            return dict.fromkeys(result)  # no task reads it, and it may be a document of any size: its keys tell what is wrong
        return {key: capture_prediction(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        if not result or type(result[0]) in _IMMUTABLE:
            return list(result)
        return None if isinstance(result[0], Mapping) else [capture_prediction(item) for item in result]
    if isinstance(result, (Number, np.generic, Enum)):
        return result
    return _copied(result) if hasattr(result, "__array__") or hasattr(result, "get_columns") else None


def capture_ids(ids: Any, rows: int) -> Any:
    """Copy prediction ids.

    Args:
        ids: One of the whole call, or one per row: a list, tuple, array or series.
        rows: Number of rows.

    Returns:
        One, or a list of one per row; None for none.

    Raises:
        ValueError: If there are others than one per row.
    """
    found = ids.tolist() if hasattr(ids, "tolist") else ids  # of an array without dimensions it is no list
    if isinstance(found, (str, bytes)) or not hasattr(found, "__len__"):
        return found
    if len(found) != rows:
        raise ValueError(f"prediction_id: expected one for each of {rows} rows, got {len(found)}")
    return list(found)


OUTPUT_KEYS = frozenset({"prediction", "score"})
"""Keys of a mapping that names its predictions."""

_IMMUTABLE = frozenset({type(None), bool, int, float, str, bytes, np.float64, np.float32, np.int64, np.int32, np.bool_, np.str_})


def _choose(features: Any) -> Callable[[Any], Captured]:
    """Pick the way to copy a type of rows; duck typing keeps every optional library out."""
    if isinstance(features, Mapping):
        return _capture_mapping
    if isinstance(features, np.ma.MaskedArray):
        return _capture_masked
    if isinstance(features, np.ndarray):
        return _capture_array
    if isinstance(features, tuple) and hasattr(features, "_asdict"):
        return lambda row: (Form.MAPPING, row._asdict(), 1)
    if isinstance(features, (list, tuple)):
        return _capture_sequence
    if hasattr(features, "iloc") and hasattr(features, "columns"):  # pandas
        return lambda frame: (Form.COLUMNS, frame.copy(), len(frame))
    if hasattr(features, "iloc"):
        return _capture_series
    if hasattr(features, "get_columns"):  # polars
        return lambda frame: (Form.COLUMNS, frame.clone(), frame.height)
    if dataclasses.is_dataclass(features):
        names = [field.name for field in dataclasses.fields(features)]
        return lambda row: (Form.MAPPING, {name: getattr(row, name) for name in names}, 1)
    if hasattr(type(features), "model_fields"):  # pydantic
        return lambda row: (Form.MAPPING, {**row.__dict__, **(getattr(row, "__pydantic_extra__", None) or {})}, 1)
    if isinstance(features, np.void) and features.dtype.names:
        return lambda row: (Form.MAPPING, {name: row[name] for name in row.dtype.names}, 1)
    if isinstance(features, _VALUES):
        return lambda value: (Form.VECTOR, (value,), 1)
    if hasattr(features, "__array__"):
        return _capture_tensor
    return lambda _: (Form.UNREADABLE, None, 1)


def _capture_mapping(row: Any) -> Captured:
    for value in row.values():
        if type(value) not in _IMMUTABLE and _is_column(value):
            return _capture_columns(row)
        break
    return Form.MAPPING, row.copy() if type(row) is dict else dict(row), 1


def _capture_columns(columns: Mapping[Any, Any]) -> Captured:
    """A dict of equally long columns; where the lengths differ it is one row with nested values."""
    lengths = {_length(value) if _is_column(value) else -1 for value in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        return Form.MAPPING, dict(columns), 1
    copied = {name: list(value) if isinstance(value, (list, tuple)) else _copied(value) for name, value in columns.items()}
    return Form.COLUMNS, copied, lengths.pop()


def _is_column(value: Any) -> bool:
    """Whether it may be a column: of values, or of vectors."""
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) in (1, 2)


def _length(column: Any) -> int:
    return len(column) if isinstance(column, (list, tuple)) else int(column.shape[0])


def _capture_series(row: Any) -> Captured:
    """A pandas Series is a row: by its index, or by position if that only counts."""
    named = row.to_dict()
    if any(isinstance(name, str) for name in named):
        return Form.MAPPING, named, 1
    return Form.VECTOR, row.tolist(), 1


def _capture_masked(rows: Any) -> Captured:
    """What is masked is missing; a plain copy would take it for a value."""
    return _capture_array(rows.data if rows.dtype.names else np.where(np.ma.getmaskarray(rows), None, rows.data))


def _capture_array(array: Any) -> Captured:
    if array.dtype.names:
        return Form.COLUMNS, array.flatten(), array.size
    if array.ndim == 1:
        if array.dtype.kind == "O" and len(array) and not _is_value(array[0]):
            return _capture_sequence(array.tolist())
        return Form.VECTOR, array.copy(), 1
    if array.ndim == 2:
        return Form.MATRIX, array.copy(), len(array)
    if array.ndim == 0:
        return Form.VECTOR, array.reshape(1).copy(), 1
    return Form.UNREADABLE, None, len(array)  # images and the like: no copy of megabytes


def _capture_sequence(rows: Sequence[Any]) -> Captured:
    if not len(rows):
        return Form.MATRIX, [], 0
    first = rows[0]
    if _is_value(first):
        return Form.VECTOR, list(rows), 1
    form = Form.MAPPING if isinstance(first, Mapping) else capture(first)[0]
    if form is Form.MAPPING:
        return Form.MAPPINGS, [_mapping(row) for row in rows], len(rows)
    if form is Form.VECTOR:
        return Form.MATRIX, [_vector(row) for row in rows], len(rows)
    if form is Form.UNREADABLE and not hasattr(first, "__len__"):  # some object that is no row itself: the first value of one
        return Form.VECTOR, list(rows), 1
    return Form.UNREADABLE, None, len(rows)


def _mapping(row: Any) -> dict[str, Any]:
    """One row by name, its values nested or not; what is none has no columns."""
    if type(row) is dict:
        return row.copy()
    form, values, _ = (Form.MAPPING, dict(row), 1) if isinstance(row, Mapping) else capture(row)
    return values if form is Form.MAPPING else {}


def _vector(row: Any) -> Any:
    """One row by position; what is none has no values and so the wrong width."""
    form, values, _ = capture(row)
    return values if form == Form.VECTOR else ()


def _capture_tensor(tensor: Any) -> Captured:
    """A torch, JAX or TensorFlow tensor: cloned where it lies; the worker brings it to the host."""
    shape = getattr(tensor, "shape", None)
    if shape is None:
        return _capture_array(np.asarray(tensor))
    if len(shape) > 2:
        return Form.UNREADABLE, None, int(shape[0])
    copied = _copied(tensor)
    if len(shape) == 2:
        return Form.MATRIX, copied, int(shape[0])
    if len(shape) == 1:
        return Form.VECTOR, copied, 1
    return Form.VECTOR, copied.reshape(1) if hasattr(copied, "reshape") else (copied,), 1


_VALUES = (type(None), str, bytes, Number, np.generic, date, Enum)


def _is_value(value: Any) -> bool:
    """Whether it is one value rather than a row of them."""
    if isinstance(value, _VALUES):
        return not isinstance(value, np.void)
    return hasattr(value, "__array__") and len(getattr(value, "shape", (0,))) == 0


def _copied(value: Any) -> Any:
    """A copy of an array, series, frame or tensor; anything else as it is."""
    if not hasattr(value, "__array__"):
        return value
    if hasattr(value, "detach"):
        value = value.detach()
    for method in ("clone", "copy"):
        if hasattr(value, method):
            return getattr(value, method)()
    return np.array(value)


def _sized(prediction: Any, rows: int) -> bool:
    if isinstance(prediction, Mapping):
        return all(_sized(value, rows) for value in prediction.values())
    if isinstance(prediction, (str, bytes)) or getattr(prediction, "ndim", 1) == 0:  # an array without dimensions has no length
        return False
    return hasattr(prediction, "__len__") and len(prediction) == rows


def _part(prediction: Any, start: int, stop: int) -> Any:
    if isinstance(prediction, Mapping):
        return {key: _part(value, start, stop) for key, value in prediction.items()}
    if hasattr(prediction, "iloc"):
        return prediction.iloc[start:stop]
    return prediction[start:stop]


def _slice(form: str, rows: Any, start: int, stop: int) -> Any:
    if form == Form.UNREADABLE or rows is None:
        return None
    if isinstance(rows, dict):
        return {name: _part(column, start, stop) for name, column in rows.items()}
    return _part(rows, start, stop)


_CAPTURE: dict[type, Callable[[Any], Captured]] = {dict: _capture_mapping, np.ndarray: _capture_array, list: _capture_sequence}
