"""Raw columns of anything tabular: frames, arrays, dicts of columns, lists of rows."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from otel_mlmon.values import on_host

__all__ = ["RawColumn", "dtypes", "joined", "listed", "split", "taken"]

RawColumn = Sequence[Any] | np.ndarray[Any, Any]
"""Values of one feature as they came, one per row; of vectors, also an array of shape ``(rows, width)``."""


def split(data: Any, names: Sequence[str] | None = None) -> dict[str, RawColumn]:
    """Columns of ``data``, by name.

    Args:
        data: pandas or polars frame, mapping of equally long columns, structured array, 2-D array, or list of rows: mappings
            (an absent key becomes None), named tuples, or sequences.
        names: Names of the columns, in order; needed for a 2-D array and for rows that are sequences. Of data that
            has names it selects these.

    Returns:
        Arrays where the data holds arrays (views, not copies, where possible), else lists. Times with a zone become UTC.

    Raises:
        ValueError: If lengths or widths differ, a name comes twice, or the data is none of these.

    >>> split([{"a": 1}, {"a": 2, "b": "x"}])
    {'a': [1, 2], 'b': [None, 'x']}
    """
    if hasattr(data, "get_columns"):  # polars
        return _select(_named((series.name, _polars(series)) for series in data.get_columns()), names)
    if hasattr(data, "columns") and hasattr(data, "dtypes") and hasattr(data, "items"):  # pandas
        return _select(_named((name, _pandas(series)) for name, series in data.items()), names)
    if isinstance(data, Mapping):
        return _select(_equally_long(_named((name, _column(name, values)) for name, values in data.items())), names)
    if isinstance(data, (list, tuple)):
        return _rows(data, names)
    if hasattr(data, "__array__"):
        return _array(data if isinstance(data, np.ndarray) else on_host(data), names)
    raise ValueError(f"data: must be a frame, an array, a mapping of columns or a list of rows, got {type(data).__name__}")


def dtypes(data: Any) -> dict[str, str]:
    """Names of the column types that pandas or polars declares, ``{"hour": "category"}``; empty for other data."""
    if hasattr(data, "get_columns"):
        data = {series.name: series for series in data.get_columns()}
    elif not hasattr(data, "items"):
        return {}
    columns = {
        str(name): values for name, values in data.items() if hasattr(values, "dtype") and not isinstance(values, np.ndarray)
    }
    return {name: str(values.dtype).split("(")[0] for name, values in columns.items()}


def listed(column: RawColumn) -> Sequence[Any]:
    """The values one by one: Python's own where NumPy has such, ``np.datetime64`` (a nanosecond is not lost), None where masked."""
    if not isinstance(column, np.ndarray):
        return column
    data = np.asarray(column)
    values = list(data) if data.dtype.kind in "Mm" else data.tolist()
    if np.ma.isMaskedArray(column) and column.ndim == 1:
        values = [None if masked else value for value, masked in zip(values, np.ma.getmaskarray(column), strict=True)]
    return values


def joined(parts: Sequence[RawColumn]) -> RawColumn:
    """The values of some columns one after the other: an array where all are arrays of one type, else a list."""
    if len(parts) == 1:
        return parts[0]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({(part.dtype, part.shape[1:]) for part in arrays}) == 1:
        return np.concatenate(arrays)
    return [
        value
        for part in parts
        for value in (part.tolist() if isinstance(part, np.ndarray) and part.dtype.kind in "fiub" and part.ndim == 1 else part)
    ]


def taken(column: RawColumn, rows: np.ndarray[Any, np.dtype[np.intp]]) -> RawColumn:
    """Some rows of a column."""
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows.tolist()]


def _named(columns: Any) -> dict[str, RawColumn]:
    """Dict of the columns; a name that comes twice raises."""
    result: dict[str, RawColumn] = {}
    for name, column in columns:
        if str(name) in result:
            raise ValueError(f"data: column names must be distinct, got {str(name)!r} twice")
        result[str(name)] = column
    return result


def _select(columns: dict[str, RawColumn], names: Sequence[str] | None) -> dict[str, RawColumn]:
    if names is None:
        return columns
    absent = [name for name in names if name not in columns]
    if absent:
        raise ValueError(f"data: must have the columns {list(names)!r}, got none named {absent!r}")
    return {name: columns[name] for name in names}


def _equally_long(columns: dict[str, RawColumn]) -> dict[str, RawColumn]:
    first = next(iter(columns), "")
    for name, column in columns.items():
        if len(column) != len(columns[first]):
            raise ValueError(
                f"data: columns must be equally long, got {len(columns[first])} values of {first!r} and {len(column)} of {name!r}"
            )
    return columns


def _column(name: object, values: Any) -> RawColumn:
    """One column of a mapping."""
    column: RawColumn
    if isinstance(values, (list, np.ndarray)):
        column = values
    elif hasattr(values, "to_numpy"):
        column = _polars(values) if hasattr(values, "to_physical") else _pandas(values)
    elif hasattr(values, "__array__"):
        column = on_host(values)
    elif isinstance(values, Sequence) and not isinstance(values, (str, bytes, bytearray)):
        column = list(values)
    else:
        raise ValueError(f"column {str(name)!r}: must be a sequence with one value a row, got {values!r:.80}")
    if isinstance(column, np.ndarray) and column.ndim == 0:
        raise ValueError(f"column {str(name)!r}: must be a sequence with one value a row, got {values!r:.80}")
    return column


def _pandas(series: Any) -> RawColumn:
    """Values of a pandas Series, Index or array: its own array where it has one."""
    dtype = series.dtype
    if getattr(dtype, "tz", None) is not None:
        series = getattr(series, "dt", series).tz_convert(None)  # what is left is UTC
    elif hasattr(dtype, "numpy_dtype") and np.dtype(dtype.numpy_dtype).kind in "biuf":  # nullable: pandas' own or Arrow's
        if not series.isna().any():
            return np.asarray(series.to_numpy(dtype=dtype.numpy_dtype))
        if np.dtype(dtype.numpy_dtype).kind != "b":
            return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(series.to_numpy())


def _polars(series: Any) -> RawColumn:
    """Values of a polars Series: an array where that loses nothing, else a list with None."""
    dtype = series.dtype
    if dtype.is_float() or dtype.is_temporal() or ((dtype.is_integer() or str(dtype) == "Boolean") and not series.null_count()):
        return np.asarray(series.to_numpy())
    values: list[Any] = series.to_list()
    return values


def _array(data: np.ndarray[Any, Any], names: Sequence[str] | None) -> dict[str, RawColumn]:
    if data.dtype.names:
        data = np.atleast_1d(data)
        return _select({name: data[name] for name in data.dtype.names or ()}, names)
    if data.ndim != 2:
        raise ValueError(f"data: an array must have 2 dimensions, rows and columns, got shape {data.shape!r}")
    names = _checked(names, data.shape[1], "a row of the array")
    return {name: data[:, index] for index, name in enumerate(names)}


def _checked(names: Sequence[str] | None, width: int, what: str) -> Sequence[str]:
    if names is None:
        raise ValueError(f"data: names must be given for data that has none, got None for {width} columns")
    if len(names) != width:
        raise ValueError(f"data: {what} must have as many values as there are names, {len(names)}, got {width}")
    if len(set(names)) < len(names):
        raise ValueError(f"data: names must be distinct, got {list(names)!r}")
    return names


def _rows(rows: Sequence[Any], names: Sequence[str] | None) -> dict[str, RawColumn]:
    """Columns of a list of rows, all of one shape."""
    if not rows:
        return {name: [] for name in names or ()}
    if all(isinstance(row, Mapping) for row in rows):
        keys = dict.fromkeys(chain.from_iterable(rows)) if names is None else names
        return _named((key, _values(rows, key)) for key in keys)
    for index, row in enumerate(rows):
        if isinstance(row, (str, bytes, Mapping)) or not hasattr(row, "__len__") or not hasattr(row, "__getitem__"):
            raise ValueError(f"row {index}: must be a mapping or a sequence like the other rows, got {row!r:.80}")
    fields = _checked(getattr(rows[0], "_fields", names), len(rows[0]), "row 0")
    for index, row in enumerate(rows):
        if len(row) != len(fields):
            _checked(fields, len(row), f"row {index}")
    return _select({name: list(values) for name, values in zip(fields, zip(*rows, strict=True), strict=True)}, names)


def _values(rows: Sequence[Mapping[Any, Any]], key: Any) -> list[Any]:
    try:
        return list(map(itemgetter(key), rows))
    except KeyError:
        return [row.get(key) for row in rows]
