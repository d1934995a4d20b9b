"""Typed columns of raw ones: numbers or bin codes, with what was missing or invalid counted apart."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.feature import MAX_WIDTH, Feature
from otel_mlmon.frames import RawColumn, listed, split
from otel_mlmon.values import CATEGORY_LENGTH, Reason, category, is_missing, number, plain, seconds, text, vector

__all__ = ["CategoryColumn", "CategoryEncoder", "NumericColumn", "RawColumn", "Reason", "category", "matrix", "numeric", "split"]

MEMO_ENTRIES = 4096
"""Raw values that an encoder remembers; further ones are worked out each time."""

_PLAIN_TYPES = frozenset({float, int, bool, np.bool_, *(np.dtype(code).type for code in "efdbhilqBHILQ")})
"""Types whose values NumPy turns into float64 by itself, none of them from text."""
_EPOCH_TYPES = (_PLAIN_TYPES | {type(None)}) - {bool, np.bool_}
_TRUTH_TYPES = frozenset({bool, np.bool_, type(None)})
_HASHED_TYPES = frozenset({str, np.str_, int, float, np.int64, np.float64, type(None)})
"""Types whose equal values are the same category, so that a dict may know them. True equals 1, but is another."""

_MISSING, _TYPE, _CATEGORY, _FORMAT = -1, -2, -3, -4
_REASONS: tuple[tuple[int, Reason], ...] = ((_TYPE, "type"), (_CATEGORY, "category"), (_FORMAT, "format"))
_CONTAINERS = (Mapping, list, tuple, set, frozenset, np.ndarray)
_REFUSED = object()
"""Stands for a value that is no category at all."""


_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Numbers of one feature.

    Args:
        values: Shape ``(rows,)``; NaN where missing or invalid. May be the array that came in: do not write to it.
        missing: Values that were null, NaN or absent.
        invalid: Values that break the feature's declaration, by reason; only reasons that occurred.
    """

    values: npt.NDArray[np.float64]
    missing: int
    invalid: Mapping[Reason, int]


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """Bin numbers of one feature.

    Args:
        codes: Shape ``(rows,)``; -1 where missing or invalid.
        missing: Values that were null, NaN or absent.
        invalid: Values that break the feature's declaration, by reason; only reasons that occurred.
    """

    codes: npt.NDArray[np.intp]
    missing: int
    invalid: Mapping[Reason, int]


def numeric(values: RawColumn, feature: Feature, *, at: float | npt.NDArray[np.float64]) -> NumericColumn:
    """Numbers of a raw column.

    A numeric value is itself, a text its length in characters, a timestamp its age in seconds. A missing value is counted as
    such and not as invalid; so each row is at most one of the two.

    Args:
        values: One value a row.
        feature: Of kind numeric, text or timestamp.
        at: Unix time at which the rows were seen, one for all or shape ``(rows,)``; only a timestamp needs it.

    Returns:
        The numbers. Invalid are: ``type`` (no number, text or time; for dtype ``integer`` also a fraction), ``infinite``,
        ``format`` (the text does not match, the string is no ISO 8601 time), ``range``.

    Raises:
        ValueError: If the feature is categorical or boolean.
    """
    if not feature.numeric or feature.kind == "vector":
        raise ValueError(f"feature {feature.name!r}: kind must be numeric, text or timestamp, got {feature.kind!r}")
    invalid: dict[Reason, int] = {}
    if feature.kind == "numeric":
        array, missing = _numbers(values, invalid)
        if feature.dtype == "integer":
            array = _without(array, array != np.floor(array), "type", invalid)
    elif feature.kind == "text":
        array, missing = _lengths(values, feature.format, invalid)
    else:
        array, missing = _times(values, invalid)
        array = at - array
    if feature.minimum is not None:
        array = _without(array, array < feature.minimum, "range", invalid)
    if feature.maximum is not None:
        array = _without(array, array > feature.maximum, "range", invalid)
    return NumericColumn(array, missing, invalid)


def _without(array: _Floats, wrong: npt.NDArray[np.bool_], reason: Reason, invalid: dict[Reason, int]) -> _Floats:
    """The array with NaN where it is ``wrong``, which is counted; a NaN is missing or invalid already."""
    count = int(np.count_nonzero(wrong & ~np.isnan(array)))
    if not count:
        return array
    invalid[reason] = invalid.get(reason, 0) + count
    return np.where(wrong, np.nan, array)


def _finite(array: _Floats, invalid: dict[Reason, int]) -> tuple[_Floats, int]:
    """The array with NaN for infinities, which are counted; and how many were NaN before."""
    finite = np.isfinite(array)
    if finite.all():
        return array, 0
    missing = int(np.count_nonzero(np.isnan(array)))
    infinite = len(array) - int(np.count_nonzero(finite)) - missing
    if infinite:
        invalid["infinite"] = invalid.get("infinite", 0) + infinite
        array = np.where(finite, array, np.nan)
    return array, missing


def _numbers(values: RawColumn, invalid: dict[Reason, int]) -> tuple[_Floats, int]:
    """Numbers, and how many values are missing."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and not np.ma.isMaskedArray(values) and values.dtype.kind in "fiub":
        if values.dtype.itemsize <= 8:
            return _finite(values.astype(np.float64, copy=False), invalid)
        with np.errstate(over="ignore"):
            return _finite(values.astype(np.float64), invalid)
    values = listed(values)
    types = _types(values)
    refused = 0
    cleaned = values
    if not types <= _PLAIN_TYPES | {type(None)}:
        cleaned = list(values)
        for index, value in enumerate(values):
            if type(value) not in _PLAIN_TYPES:
                result = number(value)
                if isinstance(result, str):
                    invalid[result] = invalid.get(result, 0) + 1
                    refused += 1
                cleaned[index] = None if isinstance(result, str) else result
    try:
        if types <= _PLAIN_TYPES:
            return _finite(np.fromiter(cleaned, np.float64, len(cleaned)), invalid)
        array, missing = _finite(np.array(cleaned, np.float64), invalid)  # None becomes NaN
        return array, missing - refused
    except OverflowError:  # an int that no float holds
        invalid.clear()
        return _convert(number, values, invalid)


def _types(values: Sequence[Any]) -> set[type]:
    """The types of the values; quick if there is one."""
    types = list(map(type, values))
    return {types[0]} if types and types.count(types[0]) == len(types) else set(types)


def _times(values: RawColumn, invalid: dict[Reason, int]) -> tuple[_Floats, int]:
    """Unix times, and how many values are missing."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and not np.ma.isMaskedArray(values):
        if values.dtype.kind == "M":
            array: _Floats = (values - np.datetime64(0, "s")) / np.timedelta64(1, "s")
            return array, int(np.count_nonzero(np.isnan(array)))
        if values.dtype.kind in "fiu":
            return _numbers(values, invalid)
    values = listed(values)
    return _numbers(values, invalid) if _types(values) <= _EPOCH_TYPES else _convert(seconds, values, invalid)


def _lengths(values: RawColumn, pattern: str | None, invalid: dict[Reason, int]) -> tuple[_Floats, int]:
    """Lengths in characters, and how many values are missing."""
    values = listed(values)
    if pattern is None and _types(values) <= {str, np.str_}:
        return np.fromiter(map(len, values), np.float64, len(values)), 0
    match = re.compile(pattern or "(?s:.*)").fullmatch

    def length(value: Any) -> float | Reason | None:
        value = plain(value)
        if is_missing(value):
            return None
        if not isinstance(value, str):
            return "type"
        return float(len(value)) if match(value) else "format"

    return _convert(length, values, invalid)


def _convert(
    read: Callable[[Any], float | Reason | None], values: Sequence[Any], invalid: dict[Reason, int]
) -> tuple[_Floats, int]:
    """Values one by one, whatever they are."""
    missing = 0
    array = np.full(len(values), np.nan)
    for index, value in enumerate(values):
        result = read(value)
        if result is None:
            missing += 1
        elif isinstance(result, str):
            invalid[result] = invalid.get(result, 0) + 1
        else:
            array[index] = result
    return array, missing


def matrix(values: RawColumn, width: int) -> tuple[_Floats, int, Mapping[Reason, int]]:
    """Numbers of a raw column of vectors.

    Args:
        values: One vector a row.
        width: How many numbers each must have.

    Returns:
        Shape ``(rows, width)``, NaN where missing or invalid; how many are missing; how many invalid, by reason: ``type`` (no
        vector of numbers), ``format`` (another width), ``infinite`` (with a number that is infinite or NaN).
    """
    block = _block(values, width)
    if block is not None and np.isfinite(block).all():
        return block, 0, {}
    missing = 0
    invalid: dict[Reason, int] = {}
    block = np.full((len(values), width), np.nan)
    for row, value in enumerate(values):
        # A list as long as no vector is: to read it to its end would keep the worker from other rows.
        found = "format" if isinstance(value, (list, tuple)) and len(value) > MAX_WIDTH else vector(value)
        if found is None:
            missing += 1
        elif isinstance(found, str) or len(found) != width:
            reason: Reason = found if isinstance(found, str) else "format"
            invalid[reason] = invalid.get(reason, 0) + 1
        else:
            block[row] = found
    return block, missing, invalid


def _block(values: RawColumn, width: int) -> _Floats | None:
    """Vectors that are plainly alike, all at once; None if they are not."""
    if np.ma.isMaskedArray(values):
        return None
    if not isinstance(values, np.ndarray) or values.ndim == 1:
        types = _types(values if isinstance(values, list) else list(values))
        if types == {np.ndarray}:
            if {(value.shape, value.dtype) for value in values} != {((width,), values[0].dtype)}:
                return None
        elif not types or not types <= {list, tuple} or {len(value) for value in values} != {width}:
            return None
        try:
            values = np.array(list(values))
        except ValueError:  # something nested among the numbers
            return None
    if values.ndim != 2 or values.shape[1] != width or values.dtype.kind not in "fiub":
        return None
    return values.astype(np.float64)


class CategoryEncoder:
    """Bin numbers of the raw values of one categorical or boolean feature.

    Args:
        feature: Of kind categorical or boolean. A boolean's categories are ``"false"`` and ``"true"``, of truth values, 0 and 1.
        codes: Bin number by category, as `category` writes it.
        unseen: Bin number of any other valid category.

    Raises:
        ValueError: If the feature is of another kind.

    >>> CategoryEncoder(Feature("carrier", kind="categorical"), {"UA": 0, "DL": 1}, unseen=2)(["DL", None, "XX"]).codes.tolist()
    [1, -1, 2]
    """

    def __init__(self, feature: Feature, codes: Mapping[str, int], unseen: int) -> None:
        if feature.numeric:
            raise ValueError(f"feature {feature.name!r}: kind must be categorical or boolean, got {feature.kind!r}")
        self._codes = dict(codes)
        self._unseen = unseen
        self._boolean = feature.kind == "boolean"
        self._allowed = frozenset(feature.categories)
        self._match = re.compile(feature.format).fullmatch if feature.format is not None else None
        self._memo = _Memo(self._code)
        # NaN finds itself in a dict only by identity; these two are the ones in circulation.
        self._memo.update({None: _MISSING, math.nan: _MISSING, np.nan: _MISSING, _REFUSED: _TYPE})
        self._truth = {None: _MISSING, True: self._code(self._normal(True)), False: self._code(self._normal(False))}

    def __call__(self, values: RawColumn) -> CategoryColumn:
        """Bin numbers of ``values``, one a row."""
        values = listed(values)
        types = _types(values)
        memo: dict[Any, int] = self._truth if types <= _TRUTH_TYPES else self._memo
        if memo is self._memo and not types <= _HASHED_TYPES:
            values = [value if type(value) in _HASHED_TYPES else self._normal(value) for value in values]
        codes = np.fromiter(map(memo.__getitem__, values), np.intp, len(values))
        if not codes.size or codes.min() >= 0:
            return CategoryColumn(codes, 0, {})
        counts = np.bincount(-codes[codes < 0], minlength=-_FORMAT + 1)
        invalid = {reason: int(counts[-code]) for code, reason in _REASONS if counts[-code]}
        return CategoryColumn(np.maximum(codes, -1), int(counts[-_MISSING]), invalid)

    def _normal(self, value: Any) -> Any:
        """A value of one of _HASHED_TYPES that is the same category, or _REFUSED."""
        value = plain(value)
        if self._boolean:
            result = number(value)
            return _REFUSED if isinstance(result, str) else result
        kind: Any = type(value)
        # What has no text of its own would become a category for each object.
        mute = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
        return _REFUSED if mute or isinstance(value, _CONTAINERS) else text(value)

    def _code(self, value: Any) -> int:
        """Bin number of a value of one of _HASHED_TYPES, or the negative number of what is wrong with it."""
        if is_missing(value):
            return _MISSING
        if self._boolean:
            if value not in (0, 1):
                return _TYPE
            return self._codes.get("true" if value else "false", self._unseen)
        if self._match is not None and not self._match(text(value) or ""):
            return _FORMAT
        name = category(value) or ""
        if self._allowed and name not in self._allowed:
            return _CATEGORY
        return self._codes.get(name, self._unseen)


class _Memo(dict[Any, int]):
    """Codes by value, worked out once; bounded in entries and in the length of a string."""

    __slots__ = ("_work_out",)

    def __init__(self, work_out: Callable[[Any], int]) -> None:
        self._work_out = work_out

    def __missing__(self, value: Any) -> int:
        code = self._work_out(value)
        if len(self) < MEMO_ENTRIES and value == value and (not isinstance(value, str) or len(value) <= CATEGORY_LENGTH):
            self[value] = code
        return code
