"""One raw value: is it missing, which number, instant, category or vector is it."""

import numbers
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    *("CATEGORY_LENGTH", "Reason", "category", "is_missing", "is_real", "number"),
    *("on_host", "plain", "seconds", "text", "vector"),
]

Reason = Literal["type", "infinite", "range", "category", "format"]
"""Why a value is invalid: the label ``reason`` of the catalogue's FEATURE_INVALID."""

CATEGORY_LENGTH = 128
"""A category is cut to this many characters, the last of them an ellipsis: it becomes a metric label."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d+))?([Zz]|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII)


def plain(value: Any) -> Any:
    """The scalar inside an enum member or a zero-dimensional array (NumPy, torch, JAX); anything else as it is."""
    if isinstance(value, Enum):
        return plain(value.value)
    if not isinstance(value, np.generic) and getattr(value, "ndim", None) == 0 and hasattr(value, "__array__"):
        return None if value is np.ma.masked else np.asarray(value)[()]
    return value


def is_missing(value: Any) -> bool:
    """True for None, NaN of any real type, NaT and pandas' NA.

    >>> [is_missing(value) for value in (None, float("nan"), 0, "")]
    [True, True, False, False]
    """
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)  # only NaN differs from itself
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    if isinstance(value, Decimal):
        return value.is_nan()
    return type(value).__name__ in ("NAType", "NaTType")


def is_real(kind: type) -> bool:
    """Whether the values of a type are real numbers: truth values and decimals are, NumPy's durations are not."""
    return issubclass(kind, (numbers.Real, Decimal, np.bool_)) and not issubclass(kind, np.timedelta64)


def number(value: Any) -> float | Reason | None:
    """The finite number that ``value`` is; a string is never parsed.

    Returns:
        The number; None if missing; ``"infinite"`` for an infinity or what no float can hold; ``"type"`` for all else.

    >>> number(2), number(None), number("2"), number(10**400)
    (2.0, None, 'type', 'infinite')
    """
    value = plain(value)
    if is_missing(value):
        return None
    if not is_real(type(value)):
        return "type"
    try:
        result = float(value)
    except OverflowError:
        return "infinite"
    return result if abs(result) < np.inf else "infinite"


def seconds(value: Any) -> float | Reason | None:
    """Unix time of a datetime, date, ``np.datetime64``, ISO 8601 string or number of seconds since 1970.

    Without a time zone it is UTC. Of ISO 8601 the RFC 3339 forms are read, with or without time, seconds and zone.

    Returns:
        Seconds; None if missing; ``"format"`` for a string that is no such time, ``"type"`` or ``"infinite"`` as in `number`.

    Source:
        RFC 3339, section 5.6.

    >>> seconds("1970-01-02T00:00:00Z"), seconds("yesterday")
    (86400.0, 'format')
    """
    value = plain(value)
    if is_missing(value):
        return None
    if isinstance(value, np.datetime64):
        return float((value - np.datetime64(0, "s")) / np.timedelta64(1, "s"))
    if isinstance(value, str):
        return _parse(value)
    if isinstance(value, date):
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
        elif value.tzinfo is None:
            value = value.replace(tzinfo=timezone.utc)
        return float((value - _EPOCH) / timedelta(seconds=1))
    return "type" if isinstance(value, (bool, np.bool_)) else number(value)


def on_host(tensor: Any) -> npt.NDArray[Any]:
    """Anything with ``__array__`` as an array, brought from the accelerator where it lies there."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach()
    return np.asarray(tensor.cpu() if hasattr(tensor, "cpu") else tensor)


def vector(value: Any) -> npt.NDArray[np.float64] | Reason | None:
    """The numbers of a list, tuple, one-dimensional array or tensor.

    Returns:
        Shape ``(width,)``; None if missing; ``"infinite"`` if one of the numbers is infinite or NaN, ``"type"`` for all else.

    >>> vector([3, 4]), vector(None), vector([1.0, float("nan")]), vector("34")
    (array([3., 4.]), None, 'infinite', 'type')
    """
    value = plain(value)
    if is_missing(value):
        return None
    if isinstance(value, Mapping) or not (isinstance(value, (list, tuple)) or hasattr(value, "__array__")):
        return "type"
    try:
        array = np.where(np.ma.getmaskarray(value), np.array(None), value.data) if np.ma.isMaskedArray(value) else on_host(value)
    except (TypeError, ValueError):  # lists of several lengths, or a type that NumPy does not know
        return "type"
    if array.ndim != 1 or array.dtype.kind not in "fiubO":
        return "type"
    if array.dtype.kind == "O":
        read = [number(item) for item in array.tolist()]
        if "type" in read:
            return "type"
        array = np.array([np.inf if item == "infinite" else item for item in read], dtype=np.float64)
    result = array.astype(np.float64)
    return result if np.isfinite(result).all() else "infinite"


def _parse(value: str) -> float | Reason:
    """Unix time of an RFC 3339 string; Python 3.10's ``fromisoformat`` reads fewer forms than 3.11's."""
    match = _INSTANT.fullmatch(value)
    if match is None:
        return "format"
    day, minute, second, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z", "z") else f"{zone[:3]}:{zone[-2:] if len(zone) > 3 else '00'}"
    try:
        instant = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}.{(fraction or '')[:6]:0<6}{zone}")
    except ValueError:
        return "format"
    return (instant - _EPOCH) / timedelta(seconds=1)


def text(value: Any) -> str | None:
    """A category's normal form before it is cut: see `category`."""
    value = plain(value)
    if is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (complex, np.complexfloating)) and value.imag == 0:
        value = value.real  # equal values hash alike, so they must read alike
    if is_real(type(value)):
        return _digits(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    # A lone surrogate cannot be sent as UTF-8, and would spoil the whole page of metrics.
    return str(value).encode("utf-8", "replace").decode()


def _digits(value: Any) -> str:
    """Decimal text of a real number, the same for equal numbers of all types."""
    approximate = number(value)
    if not isinstance(approximate, float):
        return "inf" if value > 0 else "-inf"  # or more than any float: its digits would help nobody
    whole = int(value)
    return str(whole) if whole == value else repr(approximate)


def category(value: Any) -> str | None:
    """The one normal form of a category: equal values of different types read alike.

    True becomes ``"true"``; 3, 3.0 and ``np.int64(3)`` become ``"3"``; -0.0 is ``"0"``; bytes are decoded; an enum member is its
    value; anything else is ``str(value)``, cut to `CATEGORY_LENGTH` characters.

    Returns:
        The text; None if the value is missing (None, NaN, NaT, pandas' NA).

    >>> category(3.0), category(True), category(b"JFK"), category(float("nan"))
    ('3', 'true', 'JFK', None)
    """
    result = text(value)
    if result is None or len(result) <= CATEGORY_LENGTH:
        return result
    return result[: CATEGORY_LENGTH - 1] + "…"
