"""The same seven rows in every shape that works unannounced."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pydantic

from otel_mlmon.reference import Reference
from tests.tensors import Tensor

RNG = np.random.default_rng(1)
TRAINING = RNG.normal(size=(300, 2))
REFERENCE = Reference.build(TRAINING, names=["a", "b"], predictions=RNG.random(300), task="binary")
VALUES = np.where(RNG.random((7, 2)) < 0.2, np.nan, RNG.normal(size=(7, 2)))
ROWS: list[list[float]] = VALUES.tolist()
MASKED = np.ma.array(np.nan_to_num(VALUES, nan=99.0), mask=np.isnan(VALUES))
DICTS = [{"a": a, "b": b} for a, b in ROWS]
SCORES = RNG.random(7)


@dataclass
class Plain:
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Frozen:
    a: float
    b: float


class Named(NamedTuple):
    a: float
    b: float


class Model(pydantic.BaseModel):
    a: float
    b: float


class Open(pydantic.BaseModel, extra="allow"):
    a: float


class Arrays:
    """Only ``__array__``, as the protocol asks."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self._values.astype(dtype) if dtype is not None else self._values


class ReadOnlyMapping(dict[str, float]):
    """A mapping that is no plain dict."""


STRUCTURED = np.array([tuple(row) for row in ROWS], dtype=[("a", "f8"), ("b", "f8")])


def objects(rows: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(rows), dtype=object)
    for place, row in enumerate(rows):
        array[place] = row
    return array


SINGLE: dict[str, Callable[[], Any]] = {
    "array": lambda: list(VALUES),
    "array of objects": lambda: list(VALUES.astype(object)),
    "masked array": lambda: list(MASKED),
    "list": lambda: ROWS,
    "tuple": lambda: [tuple(row) for row in ROWS],
    "dict": lambda: DICTS,
    "mapping": lambda: [ReadOnlyMapping(row) for row in DICTS],
    "dataclass": lambda: [Plain(*row) for row in ROWS],
    "frozen dataclass with slots": lambda: [Frozen(*row) for row in ROWS],
    "NamedTuple": lambda: [Named(*row) for row in ROWS],
    "pydantic": lambda: [Model(a=a, b=b) for a, b in ROWS],
    "pydantic, extra allowed": lambda: [Open(a=a, b=b) for a, b in ROWS],  # type: ignore[call-arg]  # that is what extra means
    "structured row": lambda: list(STRUCTURED),
    "structured array without dimensions": lambda: [
        STRUCTURED[place].reshape(()) if False else np.array(STRUCTURED[place]) for place in range(7)
    ],
    "Series by name": lambda: [pd.Series(row) for row in DICTS],
    "Series by position": lambda: [pd.Series(row) for row in ROWS],
    "polars Series": lambda: [pl.Series(row) for row in ROWS],
    "frame of one row": lambda: [pd.DataFrame([row]) for row in DICTS],
    "matrix of one row": lambda: list(VALUES[:, None, :]),
    "tensor": lambda: [Tensor(row) for row in VALUES],
    "__array__": lambda: [Arrays(row) for row in VALUES],
}
BATCH: dict[str, Callable[[], Any]] = {
    "matrix": lambda: VALUES,
    "Fortran order": lambda: np.asfortranarray(VALUES),
    "matrix of objects": lambda: VALUES.astype(object),
    "masked matrix": lambda: MASKED,
    "list of lists": lambda: ROWS,
    "list of tuples": lambda: [tuple(row) for row in ROWS],
    "tuple of lists": lambda: tuple(ROWS),
    "list of arrays": lambda: list(VALUES),
    "list of dicts": lambda: DICTS,
    "list of dataclasses": lambda: [Frozen(*row) for row in ROWS],
    "list of NamedTuples": lambda: [Named(*row) for row in ROWS],
    "list of pydantic models": lambda: [Model(a=a, b=b) for a, b in ROWS],
    "list of structured rows": lambda: list(STRUCTURED),
    "list of Series": lambda: [pd.Series(row) for row in DICTS],
    "list of tensors": lambda: [Tensor(row) for row in VALUES],
    "array of dicts": lambda: objects(DICTS),
    "array of dataclasses": lambda: objects([Plain(*row) for row in ROWS]),
    "dict of lists": lambda: {"a": [a for a, _ in ROWS], "b": [b for _, b in ROWS]},
    "dict of tuples": lambda: {"a": tuple(a for a, _ in ROWS), "b": tuple(b for _, b in ROWS)},
    "dict of arrays": lambda: {"a": VALUES[:, 0], "b": VALUES[:, 1]},
    "dict of Series": lambda: {"a": pd.Series(VALUES[:, 0]), "b": pd.Series(VALUES[:, 1], index=np.arange(7) / 2)},
    "dict of polars Series": lambda: {"a": pl.Series(VALUES[:, 0]), "b": pl.Series(VALUES[:, 1])},
    "dict of tensors": lambda: {"a": Tensor(VALUES[:, 0]), "b": Tensor(VALUES[:, 1])},
    "structured array": lambda: STRUCTURED,
    "record array": lambda: STRUCTURED.view(np.recarray),
    "pandas": lambda: pd.DataFrame(VALUES, columns=["a", "b"]),
    "pandas, index of floats": lambda: pd.DataFrame(VALUES, columns=["a", "b"], index=np.arange(7) / 2),
    "pandas, other order": lambda: pd.DataFrame(VALUES[:, ::-1], columns=["b", "a"]),
    "pandas, nullable": lambda: pd.DataFrame(VALUES, columns=["a", "b"]).convert_dtypes(),
    "polars": lambda: pl.DataFrame({"a": VALUES[:, 0], "b": VALUES[:, 1]}),
    "polars with nulls": lambda: pl.DataFrame({"a": VALUES[:, 0], "b": VALUES[:, 1]}).fill_nan(None),
    "tensor": lambda: Tensor(VALUES),
    "__array__": lambda: Arrays(VALUES),
}
