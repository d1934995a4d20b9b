"""Features read from data, or from a JSON Schema."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from otel_mlmon.feature import Feature, Kind
from otel_mlmon.frames import RawColumn, dtypes, listed, split
from otel_mlmon.values import category, is_missing, is_real, plain, vector

__all__ = ["infer", "read_json_schema"]

TEXT_LENGTH = 20
TEXT_DISTINCT_RATIO = 0.9
"""Strings are text if their median length exceeds TEXT_LENGTH characters and more than this share of them is distinct."""

_ARRAY_KINDS: Mapping[str, Kind] = {"b": "boolean", "i": "numeric", "u": "numeric", "f": "numeric", "M": "timestamp"}
_JSON_KINDS: Mapping[str, Kind] = {"number": "numeric", "integer": "numeric", "string": "categorical", "boolean": "boolean"}


def infer(data: Any, kinds: Mapping[str, Kind]) -> tuple[Feature, ...]:
    """Features of the columns of ``data``, in their order.

    Truth values are boolean, numbers numeric, times and dates timestamps, pandas' and polars' category types categorical, equally
    long lists or arrays of at least two numbers vectors. Strings are categorical, or text if they are long (median over 20
    characters) and nearly all distinct (over 90 %).
    A feature is nullable if the data had missing values, and always required. Ranges, categories and formats are for people
    to declare: what the data happened to hold is the reference's business.

    Args:
        data: What `split` reads without names.
        kinds: Kinds by name, where the rules would mislead.

    Raises:
        ValueError: If ``kinds`` names no column, a column has no value, or its values suggest no kind.
    """
    columns = split(data)
    declared = dtypes(data)
    unknown = sorted(set(kinds) - set(columns))
    if unknown:
        raise ValueError(f"kinds: must name columns of the data, {list(columns)!r}, got {unknown!r}")
    return tuple(_infer(name, values, declared.get(name, ""), kinds.get(name)) for name, values in columns.items())


def _infer(name: str, values: RawColumn, dtype: str, kind: Kind | None) -> Feature:
    """Feature of one column; ``dtype`` as its frame declares it, ``kind`` as the user does."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biufM" and not np.ma.isMaskedArray(values):
        missing = int(
            np.isnan(values).sum() if values.dtype.kind == "f" else np.isnat(values).sum() if values.dtype.kind == "M" else 0
        )
        dtype = dtype or str(values.dtype)
        guess: Kind | None = _ARRAY_KINDS[values.dtype.kind]
        empty = missing == len(values)
    elif isinstance(values, np.ndarray) and values.ndim == 2:
        missing, empty, guess = 0, False, "vector" if values.dtype.kind in "fiu" and values.shape[1] else None
        dtype = dtype or str(values.dtype)
    else:
        present = [value for value in map(plain, listed(values)) if not is_missing(value)]
        missing = len(values) - len(present)
        empty = not present
        guess = _kind(present)
        dtype = dtype or "/".join(sorted({type(value).__name__ for value in present}))
    if kind is None and empty:
        raise ValueError(
            f"feature {name!r}: must have values to infer its kind from, got {len(values)} missing; "
            "declare it in kinds, or leave it out"
        )
    if kind is None and dtype.startswith(("category", "Categorical", "Enum")):
        kind = "categorical"
    if kind is None and guess is None:
        raise ValueError(f"feature {name!r}: values must be of one kind, got {dtype}; declare it in kinds")
    kind = kind or guess or "numeric"
    return Feature(name, kind=kind, dtype=dtype, nullable=missing > 0, width=_width(values) if kind == "vector" else 0)


def _width(values: RawColumn) -> int:
    """How many numbers most of some vectors have; 0 if there are none."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return int(values.shape[1])
    widths = Counter(len(found) for value in values if isinstance(found := vector(value), np.ndarray))
    return widths.most_common(1)[0][0] if widths else 0


def _kind(present: list[Any]) -> Kind | None:
    """Kind of values that are not missing; None if they are of several kinds, or of none that is known."""
    types = set(map(type, present))
    if all(issubclass(t, (bool, np.bool_)) for t in types):
        return "boolean"
    if all(map(is_real, types)):
        return "numeric"
    if all(issubclass(t, (date, np.datetime64)) for t in types):
        return "timestamp"
    if all(issubclass(t, (list, tuple)) or (hasattr(t, "__array__") and not issubclass(t, np.generic)) for t in types):
        read = list(map(vector, present))
        widths = {len(one) for one in read if isinstance(one, np.ndarray)}
        nested = any(isinstance(one, str) and one == "type" for one in read)
        return "vector" if not nested and len(widths) == 1 and min(widths) > 1 else None
    if not all(issubclass(t, (str, bytes)) for t in types):
        return None
    long = types <= {str, np.str_} and statistics.median(map(len, present)) > TEXT_LENGTH
    return "text" if long and len(set(present)) > TEXT_DISTINCT_RATIO * len(present) else "categorical"


def read_json_schema(document: Mapping[str, Any]) -> tuple[Feature, ...]:
    """Features of the properties of a JSON Schema object, in their order.

    Taken over: ``type`` (``integer`` is enforced), null in it or beside it, ``required``, ``minimum``, ``maximum``, arrays of
    numbers with ``minItems`` equal to ``maxItems`` (vector), ``enum`` and
    ``const`` (any make the feature categorical), ``pattern``, ``minLength``, ``maxLength``, ``format`` date and date-time
    (timestamp), local ``$ref``, ``anyOf``, ``oneOf`` and ``allOf`` where one type remains. A string is categorical. An
    exclusive bound becomes the next integer, or the next float64, which is the same set of values. Other keywords are not
    checked on live values.

    Raises:
        ValueError: If it is not the schema of an object, or a property is no single value; the message names the property.

    Source:
        JSON Schema Validation 2020-12, sections 6.1 to 6.3 and 7.3.
    """
    root = _resolve("schema", document, document, 0)
    properties = root.get("properties")
    if not isinstance(properties, Mapping):
        raise ValueError(f"schema: a JSON Schema must have an object of properties, got {properties!r:.80}")
    required = root.get("required", [])
    if not isinstance(required, list):
        raise ValueError(f"schema: required must be a list of properties, got {required!r:.80}")
    unknown = sorted(set(required) - set(properties))
    if unknown:
        raise ValueError(f"schema: required must name properties, got {unknown!r}")
    return tuple(_property(name, value, document, name in required) for name, value in properties.items())


def _resolve(name: str, schema: Any, document: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The schema with its references followed, what stands beside a reference included."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"feature {name!r}: must have a JSON Schema object, got {schema!r:.80}")
    merged = dict(schema)
    inner = [{"$ref": merged.pop("$ref")}] if "$ref" in merged and len(merged) > 1 else []
    inner += merged.pop("allOf", [])
    if "$ref" in merged:
        if depth > 20:
            raise ValueError(f"feature {name!r}: references must end, got {merged['$ref']!r}")
        return _resolve(name, _lookup(name, merged["$ref"], document), document, depth + 1)
    for part in inner:
        merged = _both(name, _resolve(name, part, document, depth), merged)
    return merged


def _both(name: str, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The schema of what satisfies both; they may not limit the same thing differently."""
    shared = (set(first) & set(second)) - {"title", "description", "default", "examples"}
    clash = sorted(key for key in shared if first[key] != second[key])
    if clash:
        raise ValueError(f"feature {name!r}: schemas that hold together must agree where both speak, got two of {clash!r}")
    return first | second


def _lookup(name: str, reference: Any, document: Mapping[str, Any]) -> Any:
    """What a reference into the same document points to (JSON Pointer, RFC 6901)."""
    target: Any = document
    head, *path = str(reference).split("/")
    for step in path:
        key = step.replace("~1", "/").replace("~0", "~")
        target = target.get(key) if isinstance(target, Mapping) else None
    if head != "#" or target is None:
        raise ValueError(f"feature {name!r}: a reference must point into the same document, got {reference!r}")
    return target


def _property(name: str, schema: Any, document: Mapping[str, Any], required: bool) -> Feature:
    """Feature of one property."""
    schema, nullable = _single(name, schema, document)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        present = [value for value in values if value is not None]
        if not present or any(isinstance(value, (dict, list)) for value in present):
            raise ValueError(f"feature {name!r}: enum must have values, none of them an array or an object, got {values!r:.80}")
        categories = tuple(dict.fromkeys(str(category(value)) for value in present))
        return Feature(name, kind="categorical", categories=categories, required=required, nullable=nullable)
    declared = schema.get("type")
    if declared == "array":
        width = _items(name, schema, document)
        return Feature(name, kind="vector", dtype="array", required=required, nullable=nullable, width=width)
    if not isinstance(declared, str) or declared not in _JSON_KINDS:
        raise ValueError(f"feature {name!r}: type must be one of {sorted(_JSON_KINDS)} or null, got {declared!r:.80}")
    kind = _JSON_KINDS[declared]
    pattern: str | None = None
    if declared == "string":
        kind = "timestamp" if schema.get("format") in ("date-time", "date") else kind
        pattern = _format(name, schema) if kind == "categorical" else None
    low, high = _bounds(name, schema, declared) if kind == "numeric" else (None, None)
    return Feature(name, kind=kind, dtype=declared, required=required, nullable=nullable, minimum=low, maximum=high, format=pattern)


def _items(name: str, schema: Mapping[str, Any], document: Mapping[str, Any]) -> int:
    """How many numbers an array has."""
    width, inner = schema.get("minItems"), schema.get("items")
    item = _single(name, inner, document)[0].get("type") if isinstance(inner, Mapping) else None
    if item not in ("number", "integer") or not isinstance(width, int) or width != schema.get("maxItems") or width < 1:
        raise ValueError(
            f"feature {name!r}: an array must have numbers, minItems of them and as many as maxItems, got {dict(schema)!r:.200}"
        )
    return width


def _single(name: str, schema: Any, document: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema of the values that are not null, and whether null is one."""
    schema = _resolve(name, schema, document, 0)
    nullable = False
    for keyword in ("anyOf", "oneOf"):
        if keyword not in schema:
            continue
        options = [_single(name, option, document) for option in schema.pop(keyword)]
        rest = [option for option, _ in options if option.get("type") != "null" or "enum" in option]
        nullable = nullable or len(rest) < len(options) or any(null for _, null in options)
        if len(rest) != 1:
            raise ValueError(f"feature {name!r}: {keyword} must leave one type beside null, got {rest!r:.200}")
        schema = _both(name, rest[0], schema)
    declared = schema.get("type")
    if isinstance(declared, list):
        types = [item for item in declared if item != "null"]
        nullable = nullable or (len(types) < len(declared) and None in schema.get("enum", [None]))
        types = ["number"] if set(types) == {"number", "integer"} else types
        schema = schema | {"type": types[0] if len(types) == 1 else types}
    elif declared is None and None in schema.get("enum", ()):
        nullable = True
    return schema, nullable


def _bounds(name: str, schema: Mapping[str, Any], declared: str) -> tuple[float | None, float | None]:
    """Inclusive bounds; an exclusive one becomes the next value that exists."""
    found: dict[str, float | None] = {}
    for side, direction, stricter in (("inimum", 1, max), ("aximum", -1, min)):
        inclusive, exclusive = schema.get(f"m{side}"), schema.get(f"exclusiveM{side}")
        for bound in (inclusive, exclusive):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, float))):
                raise ValueError(f"feature {name!r}: m{side} must be a number, got {bound!r}")
        if exclusive is not None and declared == "integer":
            exclusive = math.floor(exclusive) + 1 if direction > 0 else math.ceil(exclusive) - 1
        elif exclusive is not None:
            exclusive = math.nextafter(exclusive, direction * math.inf)
        given = [bound for bound in (inclusive, exclusive) if bound is not None]
        found[side] = stricter(given) if given else None
    return found["inimum"], found["aximum"]


def _format(name: str, schema: Mapping[str, Any]) -> str | None:
    """Full-match expression of ``pattern``, which JSON Schema searches for unanchored, and of the lengths."""
    pattern, least, most = schema.get("pattern"), schema.get("minLength"), schema.get("maxLength")
    if pattern is None and least is None and most is None:
        return None
    length = f"(?s:.{{{least or 0},{'' if most is None else most}}})"
    if pattern is None:
        return length
    if not isinstance(pattern, str):
        raise ValueError(f"feature {name!r}: pattern must be a string, got {pattern!r}")
    search = rf"(?s:.*)(?a:{_dollars(pattern)})(?s:.*)"
    return search if least is None and most is None else rf"(?={length}\Z){search}"


def _dollars(pattern: str) -> str:
    r"""The pattern with ``\Z`` for each ``$``: Python's also matches before a last line feed, ECMA 262's does not."""
    result, in_class, escaped = [], False, False
    for character in pattern:
        result.append(r"\Z" if character == "$" and not in_class and not escaped else character)
        in_class = (not escaped and (character == "[" or (in_class and character != "]"))) or (in_class and escaped)
        escaped = character == "\\" and not escaped
    return "".join(result)
