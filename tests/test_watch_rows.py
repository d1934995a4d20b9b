"""What a watched call is read as: rows of every shape, parameters that are features, extractors."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest

from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.settings import Settings
from tests.readings import counted, value

A = Schema((Feature("a"),))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)
ROW = {"a": 1.0}


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=A, settings=SETTINGS) as one:
        yield one


@pytest.fixture
def pair() -> Iterator[Monitor]:
    """Two features and a regression: calls with several arguments, predictions that are numbers."""
    with Monitor("m", schema=Schema((Feature("a"), Feature("b"))), task="regression", settings=SETTINGS) as one:
        yield one


def violations(monitor: Monitor) -> float:
    assert monitor.flush()
    one = monitor.snapshot()
    return sum(one.violations.values()) + sum(one.errors.values())


# ---------------------------------------------------------------- rows


@dataclass
class Flight:
    a: float
    b: float


class Pair(NamedTuple):
    a: float
    b: float


class Strict(pydantic.BaseModel):
    a: float
    b: float


class Tensor:
    """All that torch, JAX and TensorFlow have in common."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.shape = self.values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


@pytest.mark.parametrize(
    ("row", "rows"),
    [
        ({"a": 1, "b": 2}, 1),
        (Flight(1, 2), 1),
        (Pair(1, 2), 1),
        (Strict(a=1, b=2), 1),
        (np.array([1, 2]), 1),
        ([1, 2], 1),
        ((1, 2), 1),
        (pd.Series({"a": 1, "b": 2}), 1),
        (Tensor([1, 2]), 1),
        (np.array([[1, 2], [1, 2]]), 2),
        ([[1, 2], [1, 2]], 2),
        ([np.array([1, 2]), np.array([1, 2])], 2),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], 2),
        ([Flight(1, 2), Flight(1, 2)], 2),
        ([Pair(1, 2), Pair(1, 2)], 2),
        (pd.DataFrame({"b": [2, 2], "a": [1, 1]}), 2),
        (pl.DataFrame({"b": [2, 2], "a": [1, 1]}), 2),
        ({"b": [2, 2], "a": [1, 1]}, 2),
        ({"b": np.array([2, 2]), "a": np.array([1, 1])}, 2),
        (np.array([(1, 2), (1, 2)], dtype=[("a", "f8"), ("b", "f8")]), 2),
        (Tensor([[1, 2], [1, 2]]), 2),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, int) else str(one),
)
def test_every_shape_of_rows_is_read(pair: Monitor, row: Any, rows: int) -> None:
    pair.watch(lambda given: [0.5] * rows)(row)
    assert (value(pair, "a"), value(pair, "b")) == (1.0, 2.0)
    assert (pair.snapshot().rows, violations(pair)) == (rows, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda function: function(1.0, 2.0),
        lambda function: function(1.0, b=2.0),
        lambda function: function(b=2.0, a=1.0),
    ],
    ids=["positions", "mixed", "names"],
)
@pytest.mark.parametrize(
    "function",
    [lambda a, b: 0.5, lambda a, b=2.0: 0.5, functools.partial(lambda scale, a, b: 0.5, 9.0)],
    ids=["required", "default", "partial"],
)
def test_several_parameters_that_are_all_features_are_one_row(pair: Monitor, function: Any, call: Callable[[Any], Any]) -> None:
    call(pair.watch(function))
    assert (value(pair, "a"), value(pair, "b")) == (1.0, 2.0)
    assert (pair.snapshot().rows, violations(pair)) == (1, 0)


def test_a_feature_that_is_left_to_its_default_has_the_default(pair: Monitor) -> None:
    @pair.watch
    def predict(a: float, b: float = 2.0) -> float:
        return 0.5

    predict(1.0)
    assert (value(pair, "a"), value(pair, "b")) == (1.0, 2.0)
    assert violations(pair) == 0


def test_keywords_are_one_row_where_a_function_takes_nothing_else(pair: Monitor) -> None:
    class Model:
        @pair.watch
        def predict(self, **row: float) -> float:
            return row["a"]

    predict: Any = pair.watch(lambda **row: row["a"])
    row = {"a": 1.0, "b": 2.0}
    assert Model().predict(**row) == predict(**row) == 1.0
    assert (value(pair, "a"), value(pair, "b"), violations(pair)) == (1.0, 2.0, 0)


def test_a_parameter_that_is_no_feature_makes_the_first_one_the_row(pair: Monitor) -> None:
    @pair.watch
    def predict(rows: Any, model: str) -> float:
        return 0.5

    predict({"a": 1.0, "b": 2.0}, "x")
    predict(model="x", rows={"a": 1.0, "b": 2.0})
    assert (value(pair, "a"), value(pair, "b"), violations(pair)) == (1.0, 2.0, 0)


# ---------------------------------------------------------------- extractors


def test_extractors_see_arguments_and_result(pair: Monitor) -> None:
    seen = []

    def features(call: Any) -> Any:
        seen.append((call.args, call.kwargs, call.result))
        return call.args[1]

    @pair.watch(features=features, prediction=lambda call: call.result["score"])
    def handler(request: str, body: Any, *, tag: str) -> Any:
        return {"score": 9.0, "tag": tag}

    body = {"a": 1.0, "b": 2.0}
    handler("request", body, tag="t")
    assert seen == [(("request", body), {"tag": "t"}, {"score": 9.0, "tag": "t"})]
    assert (value(pair, "a"), value(pair, "b"), value(pair, "@prediction"), violations(pair)) == (1.0, 2.0, 9.0, 0)


def test_extractors_of_a_method_do_not_see_its_object(pair: Monitor) -> None:
    class Model:
        @pair.watch(features=lambda call: call.args[0])
        def predict(self, body: Any) -> float:
            return 9.0

    Model().predict({"a": 1.0, "b": 2.0})
    assert (value(pair, "b"), value(pair, "@prediction"), violations(pair)) == (2.0, 9.0, 0)


def test_a_failed_call_is_not_the_extractors_failure(monitor: Monitor) -> None:
    """There is no result to read from: that is no error of the monitoring."""

    @monitor.watch(features=lambda call: call.result["row"], prediction=lambda call: call.result["score"])
    def failing(row: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        failing(ROW)
    assert counted(monitor) == (0, 1, 0)
    assert violations(monitor) == 0
