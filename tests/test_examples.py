"""The examples run as their first lines say."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests import servers

ROOT = Path(__file__).parent.parent


def test_the_service_predicts_and_is_scraped() -> None:
    """A request through a real uvicorn shows in the page that Prometheus reads."""
    ports = [_free_port(), _free_port()]
    environment = {**os.environ, "METRICS_PORT": str(ports[1])}
    command = [sys.executable, "-m", "uvicorn", "examples.asgi_service:app", "--port", str(ports[0]), "--log-level", "warning"]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            answer = json.loads(_ask(f"http://127.0.0.1:{ports[0]}/predict", b'{"distance": 900.0, "hour": 8}', process))
            assert 0 < answer["probability"] < 1
            # The row was counted by the time a second or so has passed: ask until it shows.
            deadline = time.monotonic() + 20
            while (rows := _sample(ports[1], "mlmon_predictions_total", process)) != 1.0:
                assert time.monotonic() < deadline, rows
                time.sleep(0.1)
            assert _sample(ports[1], "mlmon_http_requests_total", process) == 1.0
        finally:
            process.terminate()


def test_the_configuration_is_valid() -> None:
    """promtool reads it, the rule files it names included."""
    promtool = servers.require("promtool")
    checked = subprocess.run(
        [promtool, "check", "config", "examples/prometheus.yml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 rule files found" in checked.stdout


def _ask(url: str, body: bytes | None, process: subprocess.Popen[bytes]) -> str:
    """The answer of a server that may still be starting."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, body, timeout=10) as answer:  # noqa: S310 - loopback
                return str(answer.read().decode())
        except urllib.error.URLError:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service does not answer"
            time.sleep(0.1)


def _sample(port: int, name: str, process: subprocess.Popen[bytes]) -> float:
    page = _ask(f"http://127.0.0.1:{port}/metrics", None, process)
    return sum(sample.value for family in text_string_to_metric_families(page) for sample in family.samples if sample.name == name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
