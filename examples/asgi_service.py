"""A model behind HTTP, watched.

``uvicorn examples.asgi_service:app``, then ``curl -d '{"distance": 900, "hour": 8}' localhost:8000/predict``.

Serves its metrics at http://127.0.0.1:9464/metrics; Prometheus needs ``examples/prometheus.yml`` and the rules of ``alert_rules/``.
"""

import json
import math
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.integrations.asgi import AsgiMiddleware

SCHEMA = Schema((Feature("distance", minimum=0.0), Feature("hour", dtype="integer", minimum=0, maximum=23)))

monitor = Monitor("flight-delay", version="1", task="binary", schema=SCHEMA)


@monitor.watch
def predict(row: dict[str, Any]) -> float:
    """Stand-in for a model: later in the day, later in the air."""
    return 1.0 / (1.0 + math.exp(2.0 - 0.1 * row["hour"] - row["distance"] / 10_000))


async def service(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """The application: one route, JSON in, JSON out."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = json.dumps({"probability": predict(json.loads(body))}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer})


def route(scope: MutableMapping[str, Any]) -> str:
    """There is one route; anything else is nobody's."""
    return "/predict" if scope["path"] == "/predict" else ""


app = AsgiMiddleware(service, monitor, route=route)
monitor.serve(port=int(os.environ.get("METRICS_PORT", "9464")))
