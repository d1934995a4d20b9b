"""Holds ``peers.evidently`` to the package: ``python -m tests.eval.against_evidently`` where evidently 0.7 can be imported.

It needs pandas 2, so it has no place in this project's environment; an empty one with ``evidently 'pandas<3'`` will do.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tests.eval.columns import Column
from tests.eval.peers import evidently

REFERENCES = (120, 442, 1_000, 1_001, 5_000)
SIZES = (50, 200, 1_000, 3_000)
REPEATS = 6

_Draw = Callable[[np.random.Generator, int, float], Any]

KINDS: Mapping[str, _Draw] = {
    "normal": lambda rng, size, shift: rng.normal(shift, 1, size),
    "skew": lambda rng, size, shift: rng.gamma(2, 1, size) + shift,
    "counts": lambda rng, size, shift: rng.poisson(3 + 3 * shift, size).astype(float),
    "four numbers": lambda rng, size, shift: rng.integers(0, 4, size) * (rng.random(size) < 0.8 - shift).astype(float),
    "two numbers": lambda rng, size, shift: rng.integers(0, 2, size).astype(float),
    "seven categories": lambda rng, size, shift: rng.choice(list("abcdefg"), size),
    "two categories": lambda rng, size, shift: np.where(rng.random(size) < 0.3 + shift / 3, "x", "y"),
    "one category": lambda rng, size, shift: np.full(size, "c"),
}
"""Kind of column -> ``(rng, rows, shift)`` to values."""


def disagreements() -> Iterator[str]:
    """Columns on which the package and the formula give different verdicts; nothing is left out.

    Raises:
        ImportError: Without evidently.
    """
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType

    rng = np.random.default_rng(0)
    for kind, draw in KINDS.items():
        for rows in REFERENCES:
            for size in SIZES:
                for repeat in range(REPEATS):
                    before, after = pd.Series(draw(rng, rows, 0.0)), pd.Series(draw(rng, size, repeat % 3 * 0.1))
                    column = Column.of("x", pd.concat((before, after), ignore_index=True))
                    kind_of_column = ColumnType.Numerical if column.numeric else ColumnType.Categorical
                    test = get_stattest(before, after, kind_of_column, None)
                    theirs = test(before, after, kind_of_column, None)
                    ours = evidently(column, column.histogram(slice(rows)), column.histogram(slice(rows, None))[None])[0]
                    if bool(theirs.drifted) != bool(ours):
                        yield f"{kind}, {rows} and {size} rows: {test.name} {theirs.drift_score}, {theirs.drifted}; here {ours}"


if __name__ == "__main__":
    found = list(disagreements())
    print("\n".join(found) or f"the same verdict on {len(KINDS) * len(REFERENCES) * len(SIZES) * REPEATS} columns")
    raise SystemExit(bool(found))
