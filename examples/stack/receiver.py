"""Prints the notifications that are posted to it, one line an alert: ``python -m examples.stack.receiver``.

Stands for Slack, the dead-man switch and the retraining webhook of ``alert_rules/alertmanager.yml``, by path, on port 9095.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGEST = 1 << 20
"""Bytes of a notification that is read."""


def lines(path: str, notification: dict[str, Any]) -> list[str]:
    """What to print of a notification of Alertmanager, or of a message to Slack."""
    if "alerts" in notification:
        return [f"{path} {alert['status']} {json.dumps(alert['labels'], sort_keys=True)}" for alert in notification["alerts"]]
    return [f"{path} {message.get('title', message)}" for message in notification.get("attachments", [notification])]


class Handler(BaseHTTPRequestHandler):
    """Takes what comes."""

    timeout = 10

    def do_GET(self) -> None:
        """Whether it lives."""
        self._answer(200)

    def do_POST(self) -> None:
        """A notification."""
        length = int(self.headers.get("Content-Length", "0"))
        if length > LARGEST:
            self._answer(413)
            return
        for line in lines(self.path, json.loads(self.rfile.read(length))):
            print(line, flush=True)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Only alerts are told."""


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9095"))), Handler) as server:
        server.serve_forever()
