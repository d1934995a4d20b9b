"""A model with traffic of its own, to look at: ``python -m examples.stack.service``.

Answers ``POST /predict`` and ``GET /healthz`` on port 8000, and exports its series as the ``OTEL_*`` environment says. After
``DRIFT_AFTER_MINUTES`` (10) the flights of its traffic are longer than those that it was trained on.
"""

import json
import math
import os
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from otel_mlmon import Monitor, Reference

TRAINED_ON = {"median": 700.0, "drifted": 1100.0}
"""Median distance of a flight, in miles."""

CARRIERS = ("AA", "B6", "DL", "UA")


def flight(random_numbers: random.Random, median: float) -> dict[str, Any]:
    """One row of traffic."""
    return {
        "distance": None if random_numbers.random() < 0.01 else random_numbers.lognormvariate(math.log(median), 0.5),
        "hour": min(23, max(5, round(random_numbers.gauss(13, 4)))),
        "carrier": random_numbers.choices(CARRIERS, (4, 3, 2, 1))[0],
    }


def score(row: dict[str, Any]) -> float:
    """Stand-in for a model: later in the day, later in the air."""
    return 1.0 / (1.0 + math.exp(2.0 - 0.1 * row["hour"] - (row["distance"] or TRAINED_ON["median"]) / 10_000))


def reference() -> Reference:
    """Of a training set like the first minutes of the traffic."""
    numbers = random.Random(1)
    rows = [flight(numbers, TRAINED_ON["median"]) for _ in range(5_000)]
    columns = {name: np.array([row[name] for row in rows], dtype=None if name != "distance" else float) for name in rows[0]}
    return Reference.build(columns, task="binary", predictions=np.array([score(row) for row in rows]))


monitor = Monitor("flight-delay", version="1", task="binary", reference=reference())


@monitor.watch
def predict(row: dict[str, Any]) -> float:
    """What is watched."""
    time.sleep(0.002)
    return score(row)


def traffic(rows_per_second: float, drift_after: float) -> None:
    """Ask the model, for ever."""
    numbers = random.Random()
    start = time.monotonic()
    while True:
        drifted = time.monotonic() - start > drift_after
        predict(flight(numbers, TRAINED_ON["drifted" if drifted else "median"]))
        time.sleep(numbers.expovariate(rows_per_second))


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    def do_GET(self) -> None:
        """Whether it lives."""
        self._answer(200 if self.path == "/healthz" else 404, {})

    def do_POST(self) -> None:
        """A prediction."""
        if self.path != "/predict":
            self._answer(404, {})
            return
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, {"probability": predict(row)})

    def _answer(self, status: int, document: dict[str, float]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the series tell."""


def main() -> None:
    """Serve, with traffic."""
    monitor.export_otlp()
    rate, drift_after = (
        float(os.environ.get(name, value)) for name, value in (("ROWS_PER_SECOND", "20"), ("DRIFT_AFTER_MINUTES", "10"))
    )
    threading.Thread(target=traffic, args=(rate, 60 * drift_after), daemon=True).start()
    with ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
