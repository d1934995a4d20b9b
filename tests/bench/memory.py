"""Resident memory over ten million rows."""

from typing import Any

import numpy as np
import psutil

from tests.bench.rows import BATCH, FEATURES, monitor

ROWS = 10_000_000
_WARM = 200_000


def run() -> None:
    """Print resident memory after a warm-up and at the end."""
    rng = np.random.default_rng(2)
    rows, scores = rng.normal(size=(BATCH, FEATURES)), rng.random(BATCH)
    process = psutil.Process()
    with monitor() as watching:

        @watching.watch
        def predict(_: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return scores

        def feed(count: int) -> None:
            for place in range(count // BATCH):
                predict(rows)
                if place % 50 == 0:
                    watching.flush(60)
            watching.flush(60)

        feed(_WARM)
        start = process.memory_info().rss
        feed(ROWS)
        end = process.memory_info().rss
        counted = watching.snapshot().rows
    if counted != ROWS + _WARM:
        raise RuntimeError(f"{ROWS + _WARM} rows were fed, {counted:.0f} counted")
    print(f"resident memory over {ROWS:,} rows of {FEATURES} features")
    print(f"  start {start / 2**20:7.1f} MiB   end {end / 2**20:7.1f} MiB   {(end - start) / 2**20:+.1f} MiB")
