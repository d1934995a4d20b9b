"""Receives the retraining webhook of ``alert_rules/alertmanager.yml`` and starts a command for each model version that asks for it.

``python -m examples.retrain_webhook --token-file retrain_token ./retrain.sh``: the command finds ``MODEL_NAME``, ``MODEL_VERSION``
and ``CAUSE`` (``age`` or ``drift``) in its environment; one runs at a time.

Alertmanager delivers at least once, and repeats what still fires: what this has started, it does not start again, unless the
command failed. It remembers that in memory only: after a restart of its own, the next repetition starts the command once more.
"""

import argparse
import hmac
import json
import os
import queue
import subprocess
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LARGEST = 1 << 20
"""Bytes of a notification that is read."""

REMEMBERED = 10_000
"""Deliveries that are known again; the oldest are forgotten first."""


@dataclass(frozen=True)
class Retraining:
    """What an alert asks for."""

    model_name: str
    model_version: str
    cause: str
    delivery: tuple[str, str]
    """Group and start of the alert: the same in each repetition."""

    @property
    def model(self) -> tuple[str, str]:
        """Name and version."""
        return self.model_name, self.model_version


def retrainings(notification: dict[str, object]) -> list[Retraining]:
    """What a notification asks for.

    Args:
        notification: As Alertmanager sends it: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.

    Returns:
        One retraining for each alert that fires.

    Raises:
        KeyError: If it is no such notification.
        TypeError: The same.
    """
    group, alerts = notification["groupKey"], notification["alerts"]
    if not isinstance(group, str) or not isinstance(alerts, list):
        raise TypeError("groupKey must be a string, alerts a list")
    return [
        Retraining(
            alert["labels"]["model_name"],
            alert["labels"].get("model_version", ""),  # Prometheus drops an empty label
            alert["labels"].get("cause", ""),
            (group, alert["startsAt"]),
        )
        for alert in alerts
        if alert["status"] == "firing"
    ]


class Retrainer:
    """Runs the command, for one model version after the other."""

    def __init__(self, command: Sequence[str], waiting: int = 100) -> None:
        self._command = list(command)
        self._queue: queue.Queue[Retraining] = queue.Queue(waiting)
        self._lock = threading.Lock()
        self._at_work: set[tuple[str, str]] = set()
        self._started: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()  # delivery: model
        threading.Thread(target=self._run, daemon=True).start()

    def ask(self, wanted: Retraining) -> bool:
        """Queue a retraining, unless it was started before or its version waits or runs already.

        Returns:
            False if the queue is full: nothing was noted, so that a repetition is heard.
        """
        with self._lock:
            if wanted.delivery in self._started:
                return True
            if wanted.model not in self._at_work:
                try:
                    self._queue.put_nowait(wanted)
                except queue.Full:
                    return False
                self._at_work.add(wanted.model)
            self._started[wanted.delivery] = wanted.model
            if len(self._started) > REMEMBERED:
                self._started.popitem(last=False)
            return True

    def _run(self) -> None:
        while True:
            wanted = self._queue.get()
            own = {"MODEL_NAME": wanted.model_name, "MODEL_VERSION": wanted.model_version, "CAUSE": wanted.cause}
            print(f"retraining {wanted.model_name} {wanted.model_version} ({wanted.cause})", flush=True)
            try:
                # In the environment, not in the command line: a name is data, whatever stands in it.
                status = subprocess.run(self._command, env={**os.environ, **own}, check=False).returncode
            except (OSError, ValueError) as error:
                print(error, flush=True)
                status = -1
            print(f"retraining {wanted.model_name} {wanted.model_version} ended with {status}", flush=True)
            with self._lock:
                self._at_work.discard(wanted.model)
                if status:
                    for delivery in [each for each, model in self._started.items() if model == wanted.model]:
                        del self._started[delivery]


def server(address: tuple[str, int], token: str, retrainer: Retrainer) -> ThreadingHTTPServer:
    """The webhook's server, listening.

    Args:
        address: Host and port.
        token: What the sender must know.
        retrainer: Does what is asked for.

    Returns:
        The server; ``serve_forever()`` answers.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds: nobody holds a thread for longer

        def do_POST(self) -> None:
            self._answer(self._status())

        def _status(self) -> int:
            """Alertmanager tries again after 5xx only."""
            given = self.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {token}".encode()):
                return 401
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > LARGEST:
                return 413
            try:
                wanted = retrainings(json.loads(self.rfile.read(int(length))))
            except (ValueError, KeyError, TypeError, AttributeError):
                return 400
            full = [each for each in wanted if not retrainer.ask(each)]
            return 503 if full else 202

        def _answer(self, status: int) -> None:
            # What was not read would be taken for the next request.
            self.close_connection = True
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Only retrainings are told."""

    return ThreadingHTTPServer(address, Handler)


def main() -> None:
    """Answer until Ctrl-C.

    Raises:
        SystemExit: If the token's file is empty: everybody would be let in.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=9095, help="%(default)s")
    parser.add_argument("--token-file", type=Path, required=True, help="holds what Alertmanager's credentials_file holds")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="starts a retraining")
    options = parser.parse_args()
    token = options.token_file.read_text(encoding="utf-8").strip()
    if not token:
        raise SystemExit(f"{options.token_file} must hold a token, and is empty")
    if not options.command:
        parser.error("a command is needed")
    with server((options.host, options.port), token, Retrainer(options.command)) as answering:
        print(f"listening on {options.host}:{answering.server_address[1]}", flush=True)
        try:
            answering.serve_forever()
        except KeyboardInterrupt:
            print("stopped", flush=True)


if __name__ == "__main__":
    main()
