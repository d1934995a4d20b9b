"""A model behind several processes, watched; any of them answers /metrics for all.

``OTEL_MLMON_MULTIPROC_DIR=/tmp/flights gunicorn --workers 4 examples.gunicorn_app:app``, then
``curl -d '{"distance": 900, "hour": 8}' localhost:8000/predict`` and ``curl localhost:8000/metrics``.
"""

import json
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.integrations.wsgi import WsgiMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SCHEMA = Schema((Feature("distance", minimum=0.0), Feature("hour", dtype="integer", minimum=0, maximum=23)))

monitor = Monitor("flight-delay", version="1", task="binary", schema=SCHEMA)
collector = monitor.collector()


@monitor.watch
def predict(row: dict[str, Any]) -> float:
    """Stand-in for a model: later in the day, later in the air."""
    return 1.0 / (1.0 + math.exp(2.0 - 0.1 * row["hour"] - row["distance"] / 10_000))


def service(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """The application: one route, JSON in, JSON out, and the metrics."""
    if environ["PATH_INFO"] == "/metrics":
        start_response("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
        return [collector.render()]
    row = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [("Content-Type", "application/json"), ("Worker", str(os.getpid()))])
    return [json.dumps({"probability": predict(row)}).encode()]


app = WsgiMiddleware(service, monitor, route=lambda environ: "/predict" if environ["PATH_INFO"] == "/predict" else "")
