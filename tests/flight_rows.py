"""Rows of a model of flights: training data of six weeks, and later ones that may have moved."""

import json
from typing import Any

import numpy as np
import pandas as pd

INPUTS = ["distance", "carrier", "temperature"]
ROLES = ["--timestamps", "seen_at", "--labels", "late", "--scores", "score"]


def rows_of(rows: int, seed: int, *, shift: float = 0.0) -> pd.DataFrame:
    """One row in two minutes: inputs of which the temperature may be higher, a score, a label and the time."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "seen_at": pd.date_range("2026-01-01", periods=rows, freq="2min", tz="UTC").astype(str),
            "distance": rng.gamma(2.0, 500.0, rows).round(3),
            "carrier": rng.choice(["AA", "B6", "DL"], rows),
            "temperature": rng.normal(10.0 + shift, 4.0, rows).round(3),
            "score": rng.random(rows).round(6),
            "late": rng.integers(0, 2, rows),
        }
    )


TRAINING = rows_of(30_000, 1)


def read(text: str) -> Any:
    """The document, numbers to nine digits: the order of sums differs."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_float=lambda digits: f"{float(digits):.9g}", parse_constant=refuse)
