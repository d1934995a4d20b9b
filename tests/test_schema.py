"""Schemas: loud when declared wrongly, inferred from data, exact through JSON, faithful to pydantic and JSON Schema."""

import json
import math
from dataclasses import FrozenInstanceError, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon.columns import CategoryEncoder, numeric
from otel_mlmon.schema import Feature, Kind, Schema


# ---------------------------------------------------------------- Feature
@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"name": ""}, "feature '': .*empty, got ''"),
        ({"name": 5}, "feature 5: .*string"),
        ({"name": "@x"}, "feature '@x': .*reserved, got '@x'"),
        ({"kind": "ordinal"}, "feature 'x': kind must be one of .*got 'ordinal'"),
        ({"dtype": 5}, "feature 'x': dtype must be a string, got 5"),
        ({"required": 1}, "feature 'x': required must be true or false, got 1"),
        ({"nullable": None}, "feature 'x': nullable must be true or false, got None"),
        ({"minimum": 2, "maximum": 1}, r"feature 'x': minimum must not exceed maximum, got \(2.0, 1.0\)"),
        ({"minimum": math.nan}, "feature 'x': minimum must be a finite number, got nan"),
        ({"maximum": math.inf}, "feature 'x': maximum must be a finite number, got inf"),
        ({"maximum": 10**400}, "feature 'x': maximum must be a finite number, got 10000"),
        ({"minimum": "1"}, "feature 'x': minimum must be a finite number, got '1'"),
        ({"minimum": True}, "feature 'x': minimum must be a finite number, got True"),
        ({"minimum": 1, "kind": "categorical"}, "feature 'x': minimum is for numeric and timestamp features, got 1"),
        ({"maximum": 1, "kind": "text"}, "feature 'x': maximum is for numeric and timestamp features, got 1"),
        ({"categories": ("a",)}, r"feature 'x': categories are for categorical features, got \('a',\)"),
        ({"categories": ("true",), "kind": "boolean"}, "feature 'x': categories are for categorical features"),
        ({"categories": "abc", "kind": "categorical"}, "feature 'x': categories must be a list of strings, got 'abc'"),
        ({"categories": (1,), "kind": "categorical"}, "feature 'x': a category is a string .*, got 1"),
        ({"categories": ("a" * 129,), "kind": "categorical"}, "feature 'x': a category is a string of at most 128"),
        ({"categories": ("a", "a"), "kind": "categorical"}, "feature 'x': categories must be distinct"),
        ({"format": "a"}, "feature 'x': format is for categorical and text features, got 'a'"),
        ({"format": "a", "kind": "timestamp"}, "feature 'x': format is for categorical and text features, got 'a'"),
        ({"format": "(", "kind": "text"}, r"feature 'x': format must be a regular expression .*, got '\('"),
        ({"format": 5, "kind": "categorical"}, "feature 'x': format must be a regular expression .*, got 5"),
        ({"kind": "vector"}, "feature 'x': width of a vector must be from 1 to 65536, got 0"),
        ({"kind": "vector", "width": 65_537}, "feature 'x': width of a vector must be from 1 to 65536, got 65537"),
        ({"kind": "vector", "width": True}, "feature 'x': width must be a whole number, got True"),
        ({"width": 3}, "feature 'x': width is for vector features, got 3"),
        ({"kind": "vector", "width": 3, "minimum": 0}, "feature 'x': minimum is for numeric and timestamp features, got 0"),
    ],
)
def test_a_contradictory_feature_is_refused(declared: dict[str, Any], message: str) -> None:
    """The message names the feature, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        Feature(**({"name": "x"} | declared))


@pytest.mark.parametrize(
    ("kind", "expected"), [("numeric", True), ("text", True), ("timestamp", True), ("categorical", False), ("boolean", False)]
)
def test_numeric_says_which_kinds_become_numbers(kind: Kind, expected: bool) -> None:
    """Values, lengths and ages."""
    assert Feature("x", kind=kind).numeric is expected


def test_bounds_become_plain_floats() -> None:
    """Whatever number type they came in; JSON knows one."""
    feature = Feature("x", minimum=np.int64(1), maximum=Decimal("2.5"))  # type: ignore[arg-type]  # at run time any number will do
    assert (type(feature.minimum), feature.minimum, type(feature.maximum), feature.maximum) == (float, 1.0, float, 2.5)


def test_a_feature_cannot_change() -> None:
    """Encoders and profiles rely on it."""
    with pytest.raises(FrozenInstanceError):
        Feature("x").name = "y"  # type: ignore[misc]  # the point of the test


# ---------------------------------------------------------------- Schema
def test_a_schema_knows_its_features_by_order_and_name() -> None:
    """Order is the position in array rows."""
    schema = Schema((Feature("b"), Feature("a", kind="text")))
    assert (schema.names, len(schema), [feature.name for feature in schema], schema["a"].kind) == (
        ("b", "a"),
        2,
        ["b", "a"],
        "text",
    )
    with pytest.raises(KeyError, match="c"):
        schema["c"]


@pytest.mark.parametrize("names", [("a", "b", "a"), ("a", "@score")])
def test_names_are_distinct_and_not_reserved(names: tuple[str, ...]) -> None:
    """``@score`` is a feature only of the machinery, never of a schema."""
    with pytest.raises(ValueError, match=f"feature {names[-1]!r}"):
        Schema(tuple(map(Feature, names)))


def test_model_outputs_are_features_outside_a_schema() -> None:
    """They pass through the same machinery under the catalogue's reserved names."""
    assert [Feature(name).name for name in ("@prediction", "@score", "@label")] == ["@prediction", "@score", "@label"]


def test_a_schema_holds_features_only() -> None:
    """Not their names."""
    with pytest.raises(ValueError, match="got 'a'"):
        Schema(("a",))  # type: ignore[arg-type]  # the point of the test


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: not name.startswith("@"))
BOUNDS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def features(draw: st.DrawFn) -> Feature:
    """Any valid feature."""
    kind: Kind = draw(st.sampled_from(["numeric", "categorical", "boolean", "text", "timestamp", "vector"]))
    low, high = draw(BOUNDS), draw(BOUNDS)
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    bounded = kind in ("numeric", "timestamp")
    texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), unique=True, max_size=4)
    return Feature(
        draw(NAMES),
        kind=kind,
        dtype=draw(st.sampled_from(["", "integer", "int64"])),
        required=draw(st.booleans()),
        nullable=draw(st.booleans()),
        minimum=low if bounded else None,
        maximum=high if bounded else None,
        categories=tuple(draw(texts)) if kind == "categorical" else (),
        format=draw(st.none() | st.just("[a-z]+")) if kind in ("categorical", "text") else None,
        width=draw(st.integers(1, 65_536)) if kind == "vector" else 0,
    )


@given(st.lists(features(), unique_by=lambda feature: feature.name, max_size=5))
def test_json_keeps_a_schema_exactly(declared: list[Feature]) -> None:
    """Through the text, not only the objects."""
    schema = Schema(tuple(declared))
    assert Schema.from_json(json.loads(json.dumps(schema.to_json(), allow_nan=False))) == schema


def test_a_saved_schema_loads(tmp_path: Path) -> None:
    """The file is JSON for people: UTF-8, indented."""
    schema = Schema((Feature("größe", minimum=0.1), Feature("c", kind="categorical", categories=("é",))))
    schema.save(tmp_path / "schema.json")
    assert Schema.load(str(tmp_path / "schema.json")) == schema
    assert json.loads((tmp_path / "schema.json").read_text(encoding="utf-8"))["format"] == "otel_mlmon.schema/1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "otel_mlmon.schema/2"}, "format must be 'otel_mlmon.schema/1', got 'otel_mlmon.schema/2'"),
        ({"format": None}, "format must be .* got None"),
        ({"extra": 1}, r"keys must be 'format' and 'features', got \['extra'\]"),
        ({"features": None}, "features must be a list, got None"),
        ({"features": ["a"]}, "must be an object with a name, got 'a'"),
        ({"features": [{"kind": "text"}]}, "must be an object with a name"),
        ({"features": [{"name": "a", "size": 1}]}, r"feature 'a': keys must be fields of Feature, got \['size'\]"),
        ({"features": [{"name": "a", "minimum": "0"}]}, "feature 'a': minimum must be a finite number, got '0'"),
        ({"features": [{"name": "a", "kind": ["text"]}]}, r"feature 'a': kind must be one of .*got \['text'\]"),
        ({"features": [{"name": "a", "kind": "categorical", "categories": {"b": 1}}]}, "feature 'a': categories must be a list"),
        ({"features": [{"name": "a"}, {"name": "a"}]}, "feature 'a': names must be distinct"),
    ],
)
def test_loading_checks_everything(change: dict[str, Any], message: str) -> None:
    """Error messages name the feature and the value."""
    with pytest.raises(ValueError, match=message):
        Schema.from_json(Schema((Feature("a"),)).to_json() | change)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"3", b""])
def test_a_file_that_is_no_schema_is_refused(tmp_path: Path, content: bytes) -> None:
    """Broken JSON, broken UTF-8, JSON of something else."""
    (tmp_path / "schema.json").write_bytes(content)
    with pytest.raises(ValueError, match="schema"):
        Schema.load(tmp_path / "schema.json")


# ---------------------------------------------------------------- infer
LONG = [f"a comment of some length, number {index}" for index in range(10)]
COLUMNS: dict[str, tuple[Any, Kind, bool]] = {
    "floats": (np.array([1.0, 2.0]), "numeric", False),
    "floats with NaN": (np.array([1.0, np.nan]), "numeric", True),
    "uint8": (np.array([1, 2], np.uint8), "numeric", False),
    "bools": (np.array([True, False]), "boolean", False),
    "list of bool and None": ([True, None], "boolean", True),
    "list of bool and int": ([True, 2], "numeric", False),
    "numbers and None": (np.array([1, 2.5, None, Decimal(1)], object), "numeric", True),
    "numpy scalars": ([np.float32(1), np.int8(2), np.bool_(True)], "numeric", False),
    "masked": (np.ma.array([1.0, 2.0], mask=[True, False]), "numeric", True),
    "datetime64": (np.array(["2026-01-01", "NaT"], "M8[s]"), "timestamp", True),
    "dates": ([date(2026, 1, 1), datetime(2026, 1, 1), np.datetime64("2026-01-01")], "timestamp", False),  # noqa: DTZ001 - naive is a case
    "timestamps": ([pd.Timestamp(0), pd.NaT], "timestamp", True),
    "strings": (["UA", "DL", "UA"], "categorical", False),
    "numpy strings": (np.array(["UA", "DL"]), "categorical", False),
    "bytes": ([b"UA", b"DL"], "categorical", False),
    "enum members": ([Enum("Colour", {"RED": "red"}).RED], "categorical", False),  # type: ignore[attr-defined]  # made on the spot
    "distinct but short": ([str(index) for index in range(10)], "categorical", False),
    "long but repeated": (LONG[:5] * 2, "categorical", False),
    "long and distinct": (LONG, "text", False),
    "long and distinct bytes": ([text.encode() for text in LONG], "categorical", False),
    "pandas category": (pd.Series([1, 2, None]).astype("category"), "categorical", True),
    "pandas Int64": (pd.array([1, None], "Int64"), "numeric", True),
    "pandas boolean": (pd.array([True, None], "boolean"), "boolean", True),
    "pandas string": (pd.array(["a", None], "string"), "categorical", True),
    "pandas zone": (pd.Series(pd.to_datetime(["2026-01-01", "NaT"])).dt.tz_localize("UTC"), "timestamp", True),
    "polars category": (pl.Series(["a", None], dtype=pl.Categorical), "categorical", True),
    "polars integers": (pl.Series([1, None]), "numeric", True),
    "polars boolean": (pl.Series([True, None]), "boolean", True),
    "polars date": (pl.Series([date(2026, 1, 1), None]), "timestamp", True),
}


@pytest.mark.parametrize(("values", "kind", "nullable"), COLUMNS.values(), ids=COLUMNS)
def test_kind_and_nulls_are_inferred_and_nothing_else(values: Any, kind: Kind, nullable: bool) -> None:
    """Ranges and categories are never: what the data happened to hold is no rule."""
    columns: Any = {"x": values}
    package = type(values).__module__.split(".")[0]
    frames = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
    for data in (columns, frames.get(package, dict)(columns)):
        (feature,) = Schema.infer(data)
        assert replace(feature, dtype="") == Feature("x", kind=kind, nullable=nullable)
        assert feature.dtype not in ("", "integer")


@pytest.mark.parametrize(
    ("values", "nullable"),
    [
        ([[1.0, 2.0], (3, 4), np.zeros(2)], False),
        ([None, [1.0, 2.0], [np.inf, 0.0]], True),
        (np.zeros((3, 2), dtype="f4"), False),
        (pd.Series([np.zeros(2), None, [1, 2]]), True),
        (pl.Series([[1.0, 2.0], None]), True),
        (pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float32, 2)), False),
    ],
)
def test_equally_long_lists_of_numbers_are_vectors(values: Any, nullable: bool) -> None:
    (feature,) = Schema.infer({"x": values})
    assert replace(feature, dtype="") == Feature("x", kind="vector", width=2, nullable=nullable)


def test_a_vector_that_is_declared_has_the_width_of_most() -> None:
    assert Schema.infer({"x": [[1], [2], [3, 4], None, "x"]}, kinds={"x": "vector"})["x"].width == 1
    with pytest.raises(ValueError, match="width of a vector must be from 1"):
        Schema.infer({"x": ["a", "b"]}, kinds={"x": "vector"})


@pytest.mark.parametrize(
    ("lengths", "distinct", "kind"),
    [
        ([21] * 20, 20, "text"),
        ([20] * 20, 20, "categorical"),
        ([5] * 11 + [500] * 9, 20, "categorical"),
        ([5] * 9 + [500] * 11, 20, "text"),
        ([21] * 20, 19, "text"),
        ([21] * 20, 18, "categorical"),
    ],
)
def test_text_is_long_by_its_median_and_nearly_all_distinct(lengths: list[int], distinct: int, kind: Kind) -> None:
    """Over 20 characters, over 90 %."""
    values = [str(min(index, distinct - 1)).ljust(length, "x") for index, length in enumerate(lengths)]
    assert len(set(values)) == distinct
    assert Schema.infer({"x": values})["x"].kind == kind


def test_what_was_inferred_accepts_the_data() -> None:
    """Every value of the data it came from is valid under the schema."""
    for name, (values, kind, _) in COLUMNS.items():
        (feature,) = Schema.infer({"x": values}, kinds={"x": kind})
        raw = list(values)
        invalid = numeric(raw, feature, at=0).invalid if feature.numeric else CategoryEncoder(feature, {}, 0)(raw).invalid
        assert not invalid, name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, math.nan], "feature 'x': must have values .*got 2 missing; declare it"),
        (np.array([np.nan]), "feature 'x': must have values"),
        ([], "feature 'x': must have values"),
        ([1, "a"], "feature 'x': values must be of one kind, got int/str; declare it"),
        ([[1], [2]], "feature 'x': values must be of one kind, got list"),
        ([[1, 2], [3]], "feature 'x': values must be of one kind, got list"),
        ([["a", "b"], ["c", "d"]], "feature 'x': values must be of one kind, got list"),
        ([[1, 2], "a"], "feature 'x': values must be of one kind, got list/str"),
        (np.array([["a", "b"]]), "feature 'x': values must be of one kind, got <U1"),
        (np.array([1j]), "feature 'x': values must be of one kind, got complex"),
        (np.array([1], "m8[s]"), "feature 'x': values must be of one kind, got timedelta64"),
    ],
)
def test_a_column_that_suggests_no_kind_must_be_declared(values: Any, message: str) -> None:
    """And can be."""
    with pytest.raises(ValueError, match=message):
        Schema.infer({"x": values})
    assert Schema.infer({"x": values}, kinds={"x": "categorical"})["x"].kind == "categorical"


def test_declared_kinds_override_and_must_exist() -> None:
    """The hour of a day is a number only by accident."""
    schema = Schema.infer([{"hour": 3, "delay": 1.5}], kinds={"hour": "categorical"})
    assert [feature.kind for feature in schema] == ["categorical", "numeric"]
    with pytest.raises(ValueError, match=r"kinds: .*got \['our'\]"):
        Schema.infer({"hour": [1]}, kinds={"our": "categorical"})
