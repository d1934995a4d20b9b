"""The example of gunicorn as an ASGI application, its page by prometheus_client: for servers with processes."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, make_asgi_app

from examples.gunicorn_app import monitor, predict

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


registry = CollectorRegistry()
registry.register(monitor.collector())
metrics = make_asgi_app(registry)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Two routes; at the end, what was counted since the last drain: uvicorn ends by its signal, without exit handlers."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        monitor.flush()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/metrics":
        await metrics(scope, receive, send)
        return
    await receive()
    predict({"distance": 900.0, "hour": 8})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"worker", str(os.getpid()).encode())]})
    await send({"type": "http.response.body", "body": b"{}"})
