"""Training data for tests of the reference."""

import numpy as np
import pandas as pd


def frame(rows: int = 2_000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(50, 10, rows)
    return pd.DataFrame(
        {
            "x": np.where(rng.random(rows) < 0.05, np.nan, x),
            "zeros": np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(size=rows)),
            "plan": rng.choice(["free", "team", "firm"], rows, p=[0.6, 0.3, 0.1]),
            "active": rng.random(rows) < 0.3,
            "constant": np.full(rows, 7),
        }
    )
