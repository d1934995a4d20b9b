"""Real servers with several processes: whichever answers, its page shows every request, and never less than before."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent
GUNICORN = ("-m", "gunicorn", "--workers", "2", "--log-level", "warning", "--graceful-timeout", "5")
UVICORN_WORKER = ("-k", "uvicorn.workers.UvicornWorker", "tests.forked_asgi:app")
WSGI = "examples.gunicorn_app:app"
SERVERS = {
    "gunicorn, sync, preloaded, short-lived": (*GUNICORN, "--preload", "--max-requests", "7", WSGI),
    "gunicorn, gthread": (*GUNICORN, "-k", "gthread", "--threads", "2", WSGI),
    "gunicorn, uvicorn, preloaded": (*GUNICORN, "--preload", *UVICORN_WORKER),
    "uvicorn": ("-m", "uvicorn", "--workers", "2", "--log-level", "warning", "tests.forked_asgi:app"),
}
PATIENCE = 30.0


@dataclass
class Server:
    """A server that runs, and what was seen of it."""

    port: int
    process: subprocess.Popen[bytes]
    sent: int = 0
    unanswered: int = 0  # taken by a process that was just told to end: counted or not
    shown: float = 0.0

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[str, int]:
        """An answer, and the process that gave it; on a connection of its own, so that any process may take it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            return answer.read().decode(), int(answer.headers.get("Worker", 0))
        finally:
            connection.close()

    def predict(self) -> int:
        """One request that is answered. Returns the process that took it."""
        for attempt in range(5):
            with suppress(ConnectionError):
                worker = self.ask("POST", "/predict", b'{"distance": 900.0, "hour": 8}')[1]
                self.sent += 1
                self.unanswered += attempt
                return worker
        raise ConnectionError("the server does not answer")

    def page(self) -> str:
        """What a process shows that was not just told to end."""
        for _ in range(5):
            with suppress(ConnectionError):
                return self.ask("GET", "/metrics")[0]
        raise ConnectionError("the server does not answer")

    def processes(self) -> float:
        """Scrape once: no counter shows less than before, none more than was sent. Returns how many processes it shows."""
        page = text_string_to_metric_families(self.page())
        samples = (sample for family in page for sample in family.samples)
        numbers = {sample.name: sample.value for sample in samples if sample.labels.get("status", "ok") == "ok"}
        assert self.shown <= numbers["mlmon_calls_total"] <= self.sent + self.unanswered
        assert numbers["mlmon_call_duration_seconds_count"] == numbers["mlmon_calls_total"]
        self.shown = numbers["mlmon_calls_total"]
        return numbers["mlmon_processes"]

    def complete(self) -> None:
        """Scrape until the page shows all requests; each of a few scrapes more shows them, too."""
        self.until(lambda: self.processes() and self.shown >= self.sent)
        for _ in range(5):
            self.processes()
            assert self.shown >= self.sent

    def until(self, holds: Callable[[], object]) -> None:
        """Ask until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, f"{self.shown} of {self.sent} requests shown"
            time.sleep(0.05)

    def two_work(self, *, but: frozenset[int] = frozenset()) -> frozenset[int]:
        """Send requests until two processes, none of these, have taken some, and no other is left. Returns which."""
        seen: set[int] = set()

        def work() -> bool:
            seen.add(self.predict())
            return len(seen - but) >= 2 and self.processes() == 2

        self.until(work)
        return frozenset(seen - but)

    def kill(self) -> int:
        """Kill a process all of whose requests were shown; one that lives shortly may be gone before."""
        while True:
            worker = self.predict()
            self.complete()
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                return worker


@contextmanager
def running(arguments: tuple[str, ...], folder: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bind = ("--bind", f"127.0.0.1:{port}") if "gunicorn" in arguments else ("--port", str(port))
    environment = {**os.environ, "OTEL_MLMON_MULTIPROC_DIR": str(folder)}
    with subprocess.Popen([sys.executable, *arguments, *bind], cwd=ROOT, env=environment) as process:
        try:
            server = Server(port, process)
            server.until(lambda: _listens(port))
            yield server
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("arguments", SERVERS.values(), ids=SERVERS)
def test_every_page_shows_every_request(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Also when a process was killed, and when the server has started all of them anew."""
    with running(arguments, tmp_path) as server:
        workers = server.two_work()
        server.complete()
        server.two_work(but=frozenset({server.kill()}))
        server.complete()
        server.process.send_signal(signal.SIGHUP)
        assert server.two_work(but=workers).isdisjoint(workers)
        server.complete()
