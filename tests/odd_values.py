"""Awkward raw values for tests of columns, categories and frames."""

import math
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

MISSING = st.sampled_from(
    [
        *(None, math.nan, np.nan, float("nan"), np.float32("nan"), np.array(np.nan), Decimal("NaN"), Decimal("sNaN")),
        *(pd.NA, pd.NaT, np.datetime64("NaT", "s"), np.timedelta64("NaT", "s"), np.ma.masked),
    ]
)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 3


class Opaque:
    """Text of its own it has none."""


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    """Object array, one element a value, whatever the values are."""
    result = np.empty(len(values), object)
    for index, value in enumerate(values):
        result[index] = value
    return result
