"""One replica of a fleet: a process of its own that watches a model, serves `/metrics` and feeds rows when told to.

Run as ``python -m tests.fleet_replica reference.json SEED ROWS``. Prints its port; reads a line; feeds its rows; prints by feature
what it counted, bins and moments, as JSON; ends when its standard input does.
"""

import json
import sys

import numpy as np

from otel_mlmon import Monitor, Settings

CHUNK = 100


def rows(seed: int, count: int) -> list[dict[str, object]]:
    """Rows in which ``shifted`` and ``changed`` have moved since training, and ``calm`` and ``steady`` have not."""
    rng = np.random.default_rng(seed)
    return [
        {"calm": calm, "shifted": shifted + 1.0, "steady": steady, "changed": changed}
        for calm, shifted, steady, changed in zip(
            rng.normal(size=count).tolist(),
            rng.normal(size=count).tolist(),
            rng.choice(["a", "b", "c"], p=[0.5, 0.3, 0.2], size=count).tolist(),
            rng.choice(["a", "b", "c"], p=[0.2, 0.3, 0.5], size=count).tolist(),
            strict=True,
        )
    ]


def main(reference: str, seed: int, count: int) -> None:
    """Be a replica."""
    with Monitor("fleet", version="1", reference=reference, settings=Settings(drain_seconds=0.1)) as monitor:
        print(monitor.serve(port=0).port, flush=True)
        sys.stdin.readline()

        @monitor.watch
        def predict(batch: list[dict[str, object]]) -> list[int]:
            return [0] * len(batch)

        some = rows(seed, count)
        for start in range(0, count, CHUNK):
            predict(some[start : start + CHUNK])
        if not monitor.flush():
            raise RuntimeError("the rows were not counted in time")
        features = monitor.snapshot().features
        print(json.dumps({name: {**feature.counts, **feature.moments} for name, feature in features.items()}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
