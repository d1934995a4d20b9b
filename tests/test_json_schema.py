"""Features of a pydantic model or a JSON Schema; pydantic is the oracle."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from otel_mlmon.columns import CategoryEncoder, category, numeric
from otel_mlmon.schema import Feature, Schema


class Carrier(Enum):
    UNITED = "UA"
    DELTA = "DL"


class Flight(BaseModel):
    distance: float = Field(gt=0, le=5000, alias="dist")
    seats: int | None = Field(None, ge=1, lt=500)
    carrier: Carrier
    partner: Carrier | None = None
    stops: Literal[0, 1, 2] = 0
    origin: str = Field(pattern=r"^[A-Z$]{3}$")
    tail: str = Field(min_length=2, max_length=6)
    departure: datetime
    day: Annotated[date | None, Field(description="of departure")] = None
    late: bool


def test_a_pydantic_model_gives_its_schema() -> None:
    """Fields bear their own names, not aliases: rows are instances."""
    schema = Schema.from_pydantic(Flight)
    plain = [replace(feature, format=None) for feature in schema]
    assert plain == [
        Feature("distance", dtype="number", nullable=False, minimum=math.nextafter(0, 1), maximum=5000),
        Feature("seats", dtype="integer", required=False, minimum=1, maximum=499),
        Feature("carrier", kind="categorical", nullable=False, categories=("UA", "DL")),
        Feature("partner", kind="categorical", required=False, categories=("UA", "DL")),
        Feature("stops", kind="categorical", required=False, nullable=False, categories=("0", "1", "2")),
        Feature("origin", kind="categorical", dtype="string", nullable=False),
        Feature("tail", kind="categorical", dtype="string", nullable=False),
        Feature("departure", kind="timestamp", dtype="string", nullable=False),
        Feature("day", kind="timestamp", dtype="string", required=False),
        Feature("late", kind="boolean", dtype="boolean", nullable=False),
    ]
    assert [feature.name for feature in schema if feature.format] == ["origin", "tail"]


LIMITS = st.sampled_from([None, -2.5, -1.0, 0.0, 0.1, 1.0, 2.0])


@given(LIMITS, LIMITS, LIMITS, LIMITS, st.booleans(), st.lists(st.floats(-3, 3) | st.integers(-3, 3).map(float), min_size=1))
def test_bounds_mean_what_pydantic_means(
    ge: float | None, gt: float | None, le: float | None, lt: float | None, whole: bool, values: list[float]
) -> None:
    """pydantic is the oracle: each value is valid under both or under neither."""
    limits = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    if whole:  # pydantic refuses a fractional bound of an int
        limits = {key: value if value is None else round(value) for key, value in limits.items()}
    kind: Any = Annotated[int if whole else float, Field(**{key: value for key, value in limits.items() if value is not None})]  # type: ignore[call-overload]  # a dict
    adapter = TypeAdapter(kind)
    values += [float(bound) for bound in limits.values() if bound is not None]
    try:
        schema = Schema.from_json_schema({"properties": {"x": adapter.json_schema()}})
    except ValueError as error:
        assert "minimum must not exceed maximum" in str(error)  # noqa: PT017 - nothing is valid under such bounds
        assert not any(_accepts(adapter, value) for value in values)
        return
    column = numeric(values, schema["x"], at=0)
    assert [bool(valid) for valid in np.isfinite(column.values)] == [_accepts(adapter, value) for value in values]


def test_a_fractional_bound_of_an_integer_is_exclusive_or_not_alike() -> None:
    """No integer lies on it."""
    document = {"properties": {"x": {"type": "integer", "exclusiveMinimum": -1.5, "exclusiveMaximum": 2.5}}}
    schema = Schema.from_json_schema(document)
    assert (schema["x"].minimum, schema["x"].maximum) == (-1, 2)


def test_what_stands_beside_a_reference_holds_too() -> None:
    """A reference and ``allOf`` at once."""
    x = {"$ref": "#/$defs/n", "allOf": [{"minimum": 3}, {"maximum": 5}]}
    schema = Schema.from_json_schema({"properties": {"x": x}, "$defs": {"n": {"type": "number"}}})
    assert (schema["x"].minimum, schema["x"].maximum) == (3, 5)


def _accepts(adapter: TypeAdapter[Any], value: float) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("keywords", "good", "bad"),
    [
        ({"pattern": "b"}, ["b", "abc", "a\nb\n"], ["ac", ""]),
        ({"pattern": "^a|b$"}, ["ax", "xb"], ["xa", "bx", "xb\n"]),
        ({"pattern": "^[A-Z]{3}$"}, ["JFK"], ["jfk", "JFKX", "JFK\n"]),
        ({"pattern": r"[$\]$]\$$"}, ["$$", "x]$"], ["$x", "a$", "$$\n"]),
        ({"pattern": r"\[$"}, ["a["], ["a[\n"]),
        ({"pattern": r"\\$"}, ["a\\"], ["a\\\n"]),
        ({"pattern": r"^\d$"}, ["1"], ["\N{ARABIC-INDIC DIGIT ONE}"]),
        ({"minLength": 2}, ["ab", "a\n", "abc"], ["a", ""]),
        ({"maxLength": 2}, ["ab", ""], ["abc", "ab\n"]),
        ({"minLength": 2, "maxLength": 3, "pattern": "a"}, ["ba", "a\n", "bba"], ["a", "bb", "bbba"]),
    ],
    ids=str,
)
def test_patterns_are_searched_as_json_schema_does(keywords: dict[str, Any], good: list[str], bad: list[str]) -> None:
    """Unanchored; ``$`` only at the very end, digits only ASCII, as in ECMA 262."""
    feature = Schema.from_json_schema({"properties": {"x": {"type": "string"} | keywords}})["x"]
    assert (feature.kind, CategoryEncoder(feature, {}, 0)(good).invalid) == ("categorical", {})
    assert CategoryEncoder(feature, {}, 0)(bad).invalid == {"format": len(bad)}


@pytest.mark.parametrize(
    ("schema", "nullable"),
    [
        ({"type": "number"}, False),
        ({"type": ["number", "null"]}, True),
        ({"type": ["integer", "number", "null"]}, True),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, True),
        ({"oneOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}, True),
        ({"$ref": "#/$defs/n"}, False),
        ({"$ref": "#/$defs/a~1b~0", "description": "beside"}, True),
        ({"allOf": [{"$ref": "#/$defs/n"}]}, False),
    ],
    ids=str,
)
def test_null_may_stand_in_or_beside_the_type(schema: dict[str, Any], nullable: bool) -> None:
    """All of these are numbers."""
    definitions = {"n": {"type": "number"}, "a/b~": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}
    document = {"type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": definitions}
    assert Schema.from_json_schema(document)["x"] == Feature("x", dtype="number", nullable=nullable)


@pytest.mark.parametrize(
    ("schema", "categories", "nullable"),
    [
        ({"enum": ["a", "b"]}, ("a", "b"), False),
        ({"enum": ["a", None]}, ("a",), True),
        ({"type": "string", "enum": ["a", None]}, ("a",), False),
        ({"type": ["string", "null"], "enum": ["a", None]}, ("a",), True),
        ({"type": ["string", "null"], "enum": ["a"]}, ("a",), False),
        ({"anyOf": [{"const": "a"}, {"type": "null"}]}, ("a",), True),
        ({"type": "integer", "enum": [1, 2.0, True]}, ("1", "2", "true"), False),
        ({"const": 5}, ("5",), False),
    ],
    ids=str,
)
def test_enumerations_become_categories(schema: dict[str, Any], categories: tuple[str, ...], nullable: bool) -> None:
    """As `category` writes them; null is a value only if the type allows it."""
    feature = Schema.from_json_schema({"properties": {"x": schema}})["x"]
    assert feature == Feature("x", kind="categorical", required=False, categories=categories, nullable=nullable)
    assert all(category(name) == name for name in feature.categories)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array", "items": {"type": "number"}}, "an array must have numbers, minItems of them and as many as maxItems"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}, "an array must have numbers"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}, "an array must have numbers"),
        ({"type": "array", "minItems": 2, "maxItems": 2}, "an array must have numbers"),
        ({"type": "object", "properties": {}}, "type must be one of .*got 'object'"),
        ({"$ref": "#/$defs/inner"}, "type must be one of .*got 'object'"),
        ({}, "type must be one of .*got None"),
        (True, "must have a JSON Schema object, got True"),
        ({"type": ["number", "string"]}, "got "),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "anyOf must leave one type"),
        ({"anyOf": [{"type": "null"}]}, "anyOf must leave one type"),
        ({"$ref": "#/$defs/loop"}, "references must end"),
        ({"$ref": "#/$defs/none"}, "a reference must point into the same document, got '#/"),
        ({"$ref": "other.json"}, "a reference must point into the same document"),
        ({"allOf": [{"minimum": 1}], "type": "number", "minimum": 2}, r"got two of \['minimum'\]"),
        ({"type": "number", "minimum": "1"}, "minimum must be a number, got '1'"),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, "minimum must be a number, got True"),
        ({"enum": [[1]]}, "enum must have values"),
        ({"enum": [None]}, "enum must have values"),
        ({"type": "string", "pattern": "("}, "format must be a regular expression"),
        ({"type": "string", "pattern": 5}, "pattern must be a string, got 5"),
    ],
    ids=str,
)
def test_a_property_that_is_no_single_value_is_refused(schema: Any, message: str) -> None:
    """By its name."""
    definitions = {"inner": {"type": "object"}, "loop": {"$ref": "#/$defs/loop"}}
    with pytest.raises(ValueError, match=f"feature 'x': .*{message}"):
        Schema.from_json_schema({"properties": {"ok": {"type": "number"}, "x": schema}, "$defs": definitions})


@pytest.mark.parametrize("item", [{"type": "number"}, {"type": "integer"}, {"$ref": "#/$defs/number"}], ids=str)
def test_an_array_of_so_many_numbers_is_a_vector(item: Any) -> None:
    array = {"type": "array", "items": item, "minItems": 3, "maxItems": 3}
    document = {"properties": {"x": {"anyOf": [array, {"type": "null"}]}}, "$defs": {"number": {"type": "number"}}}
    (feature,) = Schema.from_json_schema(document)
    assert feature == Feature("x", kind="vector", width=3, dtype="array", required=False, nullable=True)


def test_a_pydantic_list_of_so_many_numbers_is_a_vector() -> None:
    class Document(BaseModel):
        embedding: list[float] = Field(min_length=4, max_length=4)

    assert Schema.from_pydantic(Document)["embedding"].width == 4


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"type": "array"}, "object of properties, got None"),
        ({"properties": {}, "required": ["x"]}, r"required must name properties, got \['x'\]"),
        ({"properties": {}, "required": True}, "required must be a list of properties, got True"),
    ],
)
def test_a_document_that_describes_no_row_is_refused(document: Mapping[str, Any], message: str) -> None:
    """Nor is anything but a model class a pydantic model."""
    with pytest.raises(ValueError, match=message):
        Schema.from_json_schema(document)
    with pytest.raises(ValueError, match=re.escape("pydantic model class, got 5")):
        Schema.from_pydantic(5)
