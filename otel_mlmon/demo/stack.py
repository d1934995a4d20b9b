"""A Prometheus and an Alertmanager of one's own on this machine, for demos and tests: started, waited for, stopped."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

SERVERS = Path(".cache/servers").absolute()
"""Where ``.ci/servers.sh`` unpacks the programs, seen from a clone's root."""

Series = Literal["old", "new"]

_DEBIAN_NAMES = {"alertmanager": "prometheus-alertmanager"}
_PATIENCE = 60.0  # seconds until a server must be ready: two shared cores under load


def find_binary(name: str, series: Series = "old", *, servers: Path = SERVERS) -> Path | None:
    """One of ``prometheus``, ``promtool``, ``alertmanager``, ``amtool``; of the newer suite also ``victoria-metrics``, ``vmagent``.

    Args:
        name: The program.
        series: ``old``: of this machine's own release, else any on the search path; ``new``: of a newer suite.
        servers: Where they were unpacked.

    Returns:
        Its path, or None if it is not at hand: ``.ci/servers.sh`` unpacks it.
    """
    program = _DEBIAN_NAMES.get(name, name)
    unpacked = servers.absolute() / series / "usr" / "bin" / program
    if unpacked.is_file():
        return unpacked
    if series == "new":
        return None
    found = shutil.which(program) or shutil.which(name)
    return Path(found) if found else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """A started server that answered its readiness check.

    Attributes:
        url: Its address, without a slash at the end.
        log: File with what it printed.
    """

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.log = log
        self._process = process

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The JSON document under a path of this server."""
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        with urllib.request.urlopen(self.url + path + query, timeout=10) as answer:  # noqa: S310  loopback
            return json.load(answer)

    def query(self, expression: str, at: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """Prometheus only: an instant query, as {sorted labels: value}."""
        parameters = {"query": expression} | ({} if at is None else {"time": repr(at)})
        result = self.get("/api/v1/query", parameters)["data"]["result"]
        return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in result}


@contextlib.contextmanager
def prometheus(
    folder: Path,
    rules: Sequence[Path] = (),
    targets: Sequence[str] = (),
    *,
    interval: str = "1s",
    alertmanager: str = "",
    series: Series = "old",
    configuration: Mapping[str, Any] | None = None,
    flags: Sequence[str] = (),
    servers: Path = SERVERS,
) -> Iterator[Server]:
    """Run Prometheus until the block ends.

    Args:
        folder: For its data, its configuration and its log; must exist.
        rules: Rule files.
        targets: ``host:port`` of what to scrape at ``/metrics``.
        interval: Between scrapes, and between evaluations of groups that set none.
        alertmanager: Address of an Alertmanager (``http://...``); empty for none.
        series: Which Prometheus.
        configuration: Further top-level keys of its configuration, JSON values.
        flags: Further words of its command line.
        servers: Where the programs were unpacked.

    Yields:
        The running server.

    Raises:
        FileNotFoundError: If the program is not at hand.
        RuntimeError: If it ends or stays unready; the end of its log is in the message.
    """
    document = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [{"job_name": "mlmon", "static_configs": [{"targets": list(targets)}]}],
    }
    if alertmanager:
        document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]}
    document |= configuration or {}
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    arguments = [f"--config.file={path}", f"--storage.tsdb.path={folder / 'prometheus'}", "--log.level=warn"]
    # Alertmanagers become known only some seconds after the start: what was sent before must not wait a minute for its repetition.
    arguments.append(f"--rules.alert.resend-delay={interval}")
    with run(
        "prometheus",
        find_binary("prometheus", series, servers=servers),
        folder,
        lambda port: [*arguments, *flags, f"--web.listen-address=127.0.0.1:{port}"],
    ) as server:
        yield server


@contextlib.contextmanager
def alertmanager(
    folder: Path, configuration: Path | Mapping[str, Any], *, series: Series = "old", servers: Path = SERVERS
) -> Iterator[Server]:
    """Run Alertmanager until the block ends.

    Args:
        folder: For its data and its log; must exist.
        configuration: Its configuration file, or what to put into one (JSON values).
        series: Which Alertmanager.
        servers: Where the programs were unpacked.

    Yields:
        The running server.

    Raises:
        FileNotFoundError: If the program is not at hand.
        RuntimeError: If it ends or stays unready; the end of its log is in the message.
    """
    if isinstance(configuration, Mapping):
        path = folder / "alertmanager.yml"
        path.write_text(json.dumps(configuration), encoding="utf-8")
    else:
        path = configuration.resolve()
    arguments = [
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with run(
        "alertmanager",
        find_binary("alertmanager", series, servers=servers),
        folder,
        lambda port: [*arguments, f"--web.listen-address=127.0.0.1:{port}"],
    ) as server:
        yield server


class Webhook:
    """Receives Alertmanager's notifications.

    Attributes:
        url: To put into a ``webhook_configs`` entry.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._news = threading.Condition()
        self._received: list[dict[str, Any]] = []

    @property
    def received(self) -> list[dict[str, Any]]:
        """Notifications so far, as sent: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""
        with self._news:
            return list(self._received)

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts in them, in order of arrival; one alert may arrive several times."""
        return [alert for notification in self.received for alert in notification["alerts"]]

    def put(self, notification: dict[str, Any]) -> None:
        """Add a notification."""
        with self._news:
            self._received.append(notification)
            self._news.notify_all()

    def wait(self, condition: Callable[[list[dict[str, Any]]], bool], timeout: float) -> bool:
        """Wait until a condition on the notifications holds: ``timeout`` seconds at most; True if it holds."""
        with self._news:
            return self._news.wait_for(lambda: condition(self._received), timeout)


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """Run a receiver of notifications until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.put(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the terminal is the demo's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Webhook(f"http://127.0.0.1:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def run(name: str, program: Path | None, folder: Path, arguments: Callable[[int], list[str]]) -> Iterator[Server]:
    """Run any server that has a page ``/-/ready``, until the block ends.

    Args:
        name: What to call it.
        program: Its program; None if that is not at hand.
        folder: For its log; must exist.
        arguments: Gives its command line for the port of 127.0.0.1 that it is to listen on.

    Yields:
        The running server.

    Raises:
        FileNotFoundError: If the program is not at hand.
        RuntimeError: If it ends or stays unready; the end of its log is in the message.
    """
    if program is None:
        raise FileNotFoundError(f"{name} is not at hand; .ci/servers.sh unpacks it below .cache/servers")
    port = free_port()
    log = folder / f"{name}.log"
    # Alertmanager finds its templates relative to the unpacked tree: see .ci/servers.sh. The server gets a process group of
    # its own, so that Ctrl-C in a terminal reaches only the demo, which then stops it in order.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program.absolute(), *arguments(port)],
            cwd=program.absolute().parents[2],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Server(f"http://127.0.0.1:{port}", process, log)
        _wait_until_ready(server, process, name)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], name: str) -> None:
    """Poll the readiness page; between polls wait for the process to end, which is the other news there can be."""
    limit = time.monotonic() + _PATIENCE
    while time.monotonic() < limit:
        if _ready(server.url):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    ended = f"ended with status {process.returncode}" if process.returncode is not None else f"was not ready after {_PATIENCE:g} s"
    tail = "\n".join(server.log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
    raise RuntimeError(f"{name} {ended}:\n{tail}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/-/ready", timeout=5) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except OSError:  # refused, reset, 503 (HTTPError is an OSError)
        return False
