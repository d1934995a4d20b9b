"""Vectors arrive in any shape and are counted; what is none is counted as such, and costs nobody else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from otel_mlmon import catalog
from otel_mlmon.feature import Feature
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from tests.concurrency import in_child
from tests.counts import QUIET, Call, assert_same, counted, counts_of, one, series
from tests.tensors import Tensor

WIDTH = 6
RNG = np.random.default_rng(2)
TRAINING = RNG.normal(size=(800, WIDTH)) * np.arange(WIDTH, 0, -1)
VECTORS = RNG.normal(size=(9, WIDTH))
NUMBERS = RNG.normal(size=9)
LISTS: list[list[float]] = VECTORS.tolist()
ALONE = Reference.build(TRAINING, schema=Schema((Feature("e", kind="vector", width=WIDTH),)))
BOTH = Reference.build({"e": TRAINING, "x": RNG.normal(size=800)})
TOWERS = Reference.build({"query": TRAINING, "document": TRAINING[::-1].copy()})


def objects(rows: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(rows), dtype=object)
    for place, row in enumerate(rows):
        array[place] = row
    return array


BY_NAME: dict[str, Callable[[], list[Any]]] = {
    "dicts": lambda: [{"e": list(row), "x": x} for row, x in zip(LISTS, NUMBERS, strict=True)],
    "dicts, vector last": lambda: [{"x": x, "e": row} for row, x in zip(VECTORS, NUMBERS, strict=True)],
    "dicts of tensors": lambda: [{"x": x, "e": Tensor(row)} for row, x in zip(VECTORS, NUMBERS, strict=True)],
    "list of dicts": lambda: [[{"e": row, "x": x} for row, x in zip(VECTORS, NUMBERS, strict=True)]],
    "columns, matrix": lambda: [{"e": VECTORS, "x": NUMBERS}],
    "columns, matrix last": lambda: [{"x": NUMBERS, "e": VECTORS}],
    "columns, lists": lambda: [{"e": LISTS, "x": NUMBERS.tolist()}],
    "columns, objects": lambda: [{"e": objects(VECTORS), "x": NUMBERS}],
    "columns, tensors": lambda: [{"e": Tensor(VECTORS), "x": Tensor(NUMBERS)}],
    "pandas": lambda: [pd.DataFrame({"e": list(VECTORS), "x": NUMBERS})],
    "polars lists": lambda: [pl.DataFrame({"e": LISTS, "x": NUMBERS})],
    "polars arrays": lambda: [pl.DataFrame({"e": VECTORS, "x": NUMBERS})],
    "mixed": lambda: [{"e": LISTS[0], "x": NUMBERS[0]}, pd.DataFrame({"e": list(VECTORS[1:]), "x": NUMBERS[1:]})],
}
BY_POSITION: dict[str, Callable[[], list[Any]]] = {
    "matrix": lambda: [VECTORS],
    "half precision, exact": lambda: [VECTORS],
    "lists": lambda: [LISTS],
    "one list a row": lambda: LISTS,
    "one array a row": lambda: list(VECTORS),
    "one tensor a row": lambda: [Tensor(row) for row in VECTORS],
    "tensor": lambda: [Tensor(VECTORS)],
    "list of tensors": lambda: [[Tensor(row) for row in VECTORS]],
    "dicts of one vector": lambda: [{"e": row} for row in LISTS],
    "dicts of one array": lambda: [{"e": row} for row in VECTORS],
    "dicts of one tensor": lambda: [{"e": Tensor(row)} for row in VECTORS],
    "dict of a matrix": lambda: [{"e": VECTORS}],
    "dict of lists": lambda: [{"e": LISTS}],
    "dict of arrays": lambda: [{"e": objects(VECTORS)}],
}


def plain(reference: Reference) -> list[Call]:
    """The same rows, one at a time."""
    if reference is ALONE:
        return [(VECTORS[place : place + 1], None) for place in range(9)]
    return [({"x": NUMBERS[place], "e": VECTORS[place]}, None) for place in range(9)]


@pytest.mark.parametrize("form", BY_NAME)
def test_vectors_count_the_same_in_every_shape_by_name(form: str) -> None:
    found = counted([(rows, None) for rows in BY_NAME[form]()], BOTH)
    assert_same(found, counted(plain(BOTH), BOTH), form)
    assert sum(series(found, catalog.FEATURE_BIN, "e").values()) == sum(series(found, catalog.FEATURE_BIN, "e/pc3").values()) == 9
    assert one(found, catalog.PREDICTIONS) == 9


@pytest.mark.parametrize("form", BY_POSITION)
def test_vectors_that_are_the_only_feature_count_the_same_in_every_shape(form: str) -> None:
    found = counted([(rows, None) for rows in BY_POSITION[form]()], ALONE)
    assert_same(found, counted(plain(ALONE), ALONE), form)
    assert one(found, catalog.PREDICTIONS) == 9


def test_a_function_that_takes_vectors_is_given_one_row_a_call() -> None:
    with Monitor("m", reference=TOWERS, settings=QUIET, task="regression") as monitor:

        @monitor.watch
        def similarity(query: Any, document: Any) -> float:
            return float(np.dot(query, document))

        for row in VECTORS:
            similarity(row, document=row[::-1])
        counts = counts_of(monitor)
    assert one(counts, catalog.PREDICTIONS) == 9
    assert {sum(series(counts, catalog.FEATURE_BIN, name).values()) for name in ("query", "document", "query/pc1")} == {9}
    assert not [key for key in counts if key[0] in (catalog.FEATURE_INVALID.name, catalog.INTERNAL_ERRORS.name)]


def test_a_dict_of_long_vectors_is_one_row_however_long_they_are() -> None:
    """Longer than what is split off a batch."""
    wide = np.random.default_rng(0).normal(size=(60, 1_500))
    reference = Reference.build({"a": wide, "b": wide})
    counts = counted([({"a": row.tolist(), "b": row}, 0.5) for row in wide[:7]], reference, task="regression")
    assert one(counts, catalog.PREDICTIONS) == 7
    assert sum(series(counts, catalog.FEATURE_BIN, "a").values()) == sum(series(counts, catalog.FEATURE_BIN, "b").values()) == 7


# ---------------------------------------------------------------- what is no vector
GARBAGE: list[Any] = [
    *(None, float("nan"), "vector", b"", 5, [], [1.0], [1.0] * (WIDTH + 1), ["1"] * WIDTH, [[1.0] * WIDTH], {"a": 1}, {1, 2}),
    *(object(), [None] * WIDTH, [float("inf")] * WIDTH, [1e308] * WIDTH, np.zeros((WIDTH, WIDTH)), np.zeros(WIDTH, dtype="M8[s]")),
    *([1 + 2j] * WIDTH, [10**400] * WIDTH, range(WIDTH), np.array(["a"] * WIDTH), [[1.0], [1.0, 2.0]], pd.NA),
]


@pytest.mark.parametrize("batch", [False, True], ids=["row", "frame"])
def test_garbage_in_place_of_vectors_is_counted_and_costs_nobody_else(batch: bool) -> None:
    good = [{"x": 1.0, "e": row} for row in VECTORS]
    rows = [{"x": 1.0, "e": value} for value in GARBAGE]
    calls: list[Call] = (
        [(pd.DataFrame({"x": [1.0] * len(GARBAGE), "e": objects(GARBAGE)}), None)] if batch else [(row, None) for row in rows]
    )
    found = counted([*calls, *[(row, None) for row in good]], BOTH)
    assert not [key for key in found if key[0] in (catalog.INTERNAL_ERRORS.name, catalog.ROWS_DROPPED.name)]
    valid = sum(series(found, catalog.FEATURE_BIN, "e").values())
    invalid = series(found, catalog.FEATURE_INVALID, "e")
    assert set(invalid) == {"type", "format", "infinite"}
    assert valid == 9
    assert one(found, catalog.FEATURE_MISSING, "e") == 3
    assert valid + 3 + sum(invalid.values()) == len(GARBAGE) + 9
    assert sum(series(found, catalog.FEATURE_BIN, "x").values()) == len(GARBAGE) + 9


def test_rows_of_a_wrong_width_are_invalid_and_no_rows_are_no_counts() -> None:
    found = counted([(np.zeros((3, WIDTH + 1)), None), (np.zeros((0, WIDTH)), None), ([], None), ([1.0, 2.0], None)], ALONE)
    assert series(found, catalog.FEATURE_INVALID, "e") == {"format": 4}
    assert series(found, catalog.FEATURE_BIN, "e") == {}


def test_without_a_reference_vectors_are_read_and_have_no_bins() -> None:
    found = counted([(VECTORS, None), ([[1.0], VECTORS[0], []], None)], ALONE.schema)
    assert series(found, catalog.FEATURE_BIN, "e") == {}
    assert series(found, catalog.FEATURE_INVALID, "e") == {"format": 2}


def test_a_null_vector_breaks_a_schema_that_allows_none() -> None:
    schema = Schema((Feature("e", kind="vector", width=2, nullable=False), Feature("x")))
    found = counted([({"x": 1.0, "e": [1.0, 2.0]}, None), ({"x": 1.0, "e": None}, None), ({"x": 1.0}, None)], schema)
    assert series(found, catalog.SCHEMA_VIOLATIONS) == {"null": 1, "missing_column": 1}


def test_a_learned_reference_has_them_too() -> None:
    rows = [{"x": float(x), "e": row} for x, row in zip(RNG.normal(size=300), TRAINING, strict=False)]
    with Monitor("m", learn_rows=250, settings=QUIET) as monitor:
        for row in rows:
            monitor.observe(row)
        counts = counts_of(monitor)
        assert monitor.reference is not None
        assert [profile.feature for profile in monitor.reference.profiles] == ["x", "e", "e/pc1", "e/pc2", "e/pc3"]
    assert sum(series(counts, catalog.FEATURE_BIN, "e/pc1").values()) == 300


def test_a_dict_of_a_vector_is_one_row_once_that_is_learned() -> None:
    with Monitor("m", learn_rows=200, settings=QUIET) as monitor:
        monitor.observe([{"e": row} for row in np.random.default_rng(0).normal(size=(200, WIDTH)).tolist()])
        assert monitor.flush()
        before = monitor.snapshot()
        monitor.observe({"e": LISTS[0]})
        assert monitor.flush()
        found = (monitor.snapshot() - before).features["e"]
        assert (found.samples, found.rows) == (1, 1)


def test_a_reference_of_one_vector_is_learned_from_positions() -> None:
    with Monitor("m", learn_rows=250, schema=ALONE.schema, settings=QUIET) as monitor:
        monitor.observe(TRAINING[:300])
        counts = counts_of(monitor)
    assert sum(series(counts, catalog.FEATURE_BIN, "e").values()) == 300


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_derives_for_itself() -> None:
    def count(monitor: Monitor) -> None:
        monitor.observe(VECTORS)
        assert sum(series(counts_of(monitor), catalog.FEATURE_BIN, "e").values()) == 9

    with Monitor("m", reference=ALONE, settings=QUIET) as monitor:
        monitor.observe(TRAINING)
        assert monitor.flush()
        in_child(lambda: count(monitor))
        assert sum(series(counts_of(monitor), catalog.FEATURE_BIN, "e").values()) == 800
