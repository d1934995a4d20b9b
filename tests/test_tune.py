"""``otel-mlmon tune`` against a real Prometheus with four days of history, and against servers that answer badly."""

import ast
import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from otel_mlmon import Threshold
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import RECORDING_FILE, render
from otel_mlmon.cli import main
from otel_mlmon.demo.stack import Series
from otel_mlmon.prometheus_api import PrometheusApi
from tests import servers
from tests.promql import promtool as ptool
from tests.promql.fleet import Replica

STEP = 300
HOUR = 3600 // STEP
DAYS = 4
STEPS = DAYS * 24 * HOUR
AHEAD = 6
"""Steps of history behind now, so that the end of the span is recorded however long the server takes to start."""

Floats = npt.NDArray[np.float64]
WINDOWS = ("1h", "6h", "1d")


@dataclass(frozen=True)
class Tuned:
    """A server with a history, and the programs of its release."""

    prometheus: servers.Server
    promtool: Path


def _peaks(*peaks: tuple[float, float, float], calm: float = 0.02) -> Floats:
    """A calm signal with peaks (hour at which it begins, hours, height)."""
    values = np.full(STEPS + AHEAD, calm)
    for begin, hours, height in peaks:
        first = round(begin * HOUR)
        values[first : first + max(1, round(hours * HOUR))] = height
    return values


def _history() -> Iterator[tuple[str, Mapping[str, str], Floats]]:
    """What the rules would have recorded of the models `m`, up for four days, and `young`, up for two."""
    always = np.ones(STEPS + AHEAD)
    m = {"model_name": "m", "model_version": "1"}
    young = {"model_name": "young"}
    yield "mlmon:model:known", m, always
    yield "mlmon:model:known", {"model_name": "m", "model_version": "0"}, np.where(np.arange(STEPS + AHEAD) < HOUR, 1, np.nan)
    yield "mlmon:model:known", young, np.where(np.arange(STEPS + AHEAD) >= 2 * 24 * HOUR, 1, np.nan)
    for statistic, warning, critical in (("wasserstein", 0.1, 0.5), ("psi", 0.1, 0.25)):
        yield "mlmon:threshold:model", {**m, "statistic": statistic, "severity": "warning"}, warning * always
        yield "mlmon:threshold:model", {**m, "statistic": statistic, "severity": "critical"}, critical * always
    set_in_code = {**m, "statistic": "psi", "severity": "warning", "feature": "colour"}
    yield "mlmon:threshold:feature", set_in_code, 0.5 * always
    for feature, statistic, by_window in (
        ("x", "wasserstein", _X),
        ("colour", "psi", dict.fromkeys(WINDOWS, _peaks((4, 1, 0.152), (40, 1, 0.3)))),
        ("calm", "wasserstein", dict.fromkeys(WINDOWS, _peaks())),
        ("steady", "wasserstein", dict.fromkeys(WINDOWS, _peaks(calm=0.247))),
    ):
        for window, values in by_window.items():
            where = {**m, "feature": feature, "window": window, "statistic": statistic}
            yield "mlmon:feature_drift", {**where, "baseline": "training"}, values
            yield "mlmon:feature_drift:noise", where, 0.03 * always
            enough = np.where(np.arange(STEPS + AHEAD) < STEPS - 24 * HOUR, 1.0, np.nan) if feature == "colour" else always
            yield "mlmon:feature_drift:believable", where, 1_000 * enough
            if feature == "x":  # with all that must not be mistaken for it
                yield "mlmon:feature_drift:normal", where, (1.5 if window == "1d" else 0.05) * always
                yield "mlmon:feature_drift", {**where, "baseline": "previous"}, 0.001 * always
                yield "mlmon:feature_drift", {**where, "baseline": "training", "statistic": "psi"}, 9 * always


_X = {
    # 1h and 6h together: 0.2 for an hour (one warning), 0.33 twice within four hours (one more: kept firing for six), 0.61
    # (a third), 0.9 for less than ten minutes (none).
    "1h": _peaks((4, 1, 0.2), (16, 1, 0.33), (20, 1, 0.35), (34, 3, 0.61), (46, 1 / 12, 0.9), (56, 3, 0.99)),
    # The peak at 56 is the fast window's alone; that at 70 the slow ones', which normal operation over 1d explains.
    "6h": _peaks((4, 2, 0.25), (16, 6, 0.33), (34, 3, 0.7), (46, 1, 0.9), (70, 6, 1.2)),
    "1d": _peaks((70, 6, 1.2)),
}


@pytest.fixture(scope="module", params=servers.SERIES)
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    """History backfilled by promtool, and Prometheus on it."""
    series: Series = request.param
    promtool = servers.require("promtool", series)
    folder = tmp_path_factory.mktemp("tune")
    start = time.time() // STEP * STEP - (STEPS - 1) * STEP
    lines = []
    for name, labels, values in _history():
        selector = ",".join(f'{label}="{value}"' for label, value in labels.items())
        lines += [f"{name}{{{selector}}} {value:g} {start + n * STEP:.0f}" for n, value in enumerate(values) if value == value]
    (folder / "history").write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    command: list[str | Path] = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", folder / "history"]
    subprocess.run([*command, folder / "prometheus"], check=True, capture_output=True)
    with servers.prometheus(folder, series=series) as prometheus:
        yield Tuned(prometheus, promtool)


def _tune(tuned: Tuned, capsys: pytest.CaptureFixture[str], *options: str, model: str = "m") -> str:
    assert main(["tune", "--prometheus", tuned.prometheus.url, "--model", model, "--days", str(DAYS), *options]) == 0
    return capsys.readouterr().out


def _features(text: str) -> dict[str, Any]:
    return {one["feature"]: one for one in json.loads(text)["features"]}


def test_warnings_now_and_proposed_are_those_of_the_history(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    """7 in 28 days are one in four days: all numbers below were read off the peaks by hand."""
    text = _tune(tuned, capsys, "--alarms-per-month", "7", "--format", "json")
    assert json.loads(text)["warnings_accepted"] == 1
    found = _features(text)
    assert {name: (one["statistic"], one["present"]["warning"], one["present_warnings"]) for name, one in found.items()} == {
        "x": ("wasserstein", 0.1, 3),
        "colour": ("psi", 0.5, 0),
        "calm": ("wasserstein", 0.1, 0),
        "steady": ("wasserstein", 0.1, 1),
    }
    assert {name: (one["proposed"]["warning"], one["proposed_warnings"]) for name, one in found.items()} == {
        "x": (0.33, 1),
        "colour": (0.16, 1),
        "calm": (0.1, 0),
        "steady": (0.1, 1),
    }
    assert found["x"]["proposed"]["critical"] == 0.5  # 1.5 x 0.33 is below what ships
    assert found["x"]["days"] == pytest.approx(4, abs=0.1)
    assert found["colour"]["days"] == pytest.approx(3, abs=0.1)


def test_no_warning_at_all_is_the_highest_peak_of_both_windows(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    """One in 28 days is none in four; and what is always above the default is taken for normal."""
    found = _features(_tune(tuned, capsys, "--alarms-per-month", "1", "--format", "json"))
    assert {name: one["proposed"]["warning"] for name, one in found.items()} == {
        "x": 0.61,
        "colour": 0.3,
        "calm": 0.1,
        "steady": 0.25,
    }


def test_below_the_default_only_when_asked(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    """What is never above chance could alarm at any threshold: the least that is tried."""
    found = _features(_tune(tuned, capsys, "--below-default", "--format", "json"))
    assert found["calm"]["proposed"] == {"warning": 0.01, "critical": 0.015}
    assert found["steady"]["proposed"]["warning"] == 0.25


def test_the_history_is_labelled_as_the_rules_label_it() -> None:
    """Or the tests around would be about series that nobody records."""
    labels: dict[str, set[str]] = {}
    for group in yaml.safe_load(render(RuleOptions(drift_interval="4m"))[RECORDING_FILE])["groups"]:
        for rule in group["rules"]:
            labels.setdefault(rule["record"], set()).update(rule.get("labels", {}))
    for name, where, _ in _history():
        assert labels[name] <= where.keys(), name
        assert ("baseline" in where) == ("baseline" in labels[name]), name


def test_other_pairs_of_windows_are_looked_at_alone(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    """6h and 1d: normal operation over 1d is above all that x ever did."""
    found = _features(_tune(tuned, capsys, "--pairs", "6h:1d", "--format", "json"))
    assert (found["x"]["present_warnings"], found["x"]["proposed"]["warning"]) == (0, 0.1)


def test_code_is_python_that_a_monitor_takes(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    """A comment says what each was and will be; features that keep their threshold have no line."""
    text = _tune(tuned, capsys, "--alarms-per-month", "7")
    assert ast.parse(text)
    names: dict[str, Any] = {"Threshold": Threshold}
    exec(text, names)  # noqa: S102 - our own output
    assert names["thresholds"] == [
        Threshold("psi", 0.16, feature="colour"),
        Threshold("psi", 0.25, "critical", feature="colour"),
        Threshold("wasserstein", 0.33, feature="x"),
        Threshold("wasserstein", 0.5, "critical", feature="x"),
    ]
    line = next(line for line in text.splitlines() if line.startswith("# x "))
    assert line.split() == ["#", "x", "wasserstein", "4.0", "0.1", "3", "0.33", "1"]


def test_options_are_those_that_rules_takes(tuned: Tuned, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One threshold for all: the greatest that one feature needs."""
    command = _tune(tuned, capsys, "--format", "options").splitlines()[-1].split()
    assert command[:2] == ["otel-mlmon", "rules"]
    assert main([*command[1:], "--out", str(tmp_path)]) == 0
    thresholds = {("wasserstein", "warning"): 0.61, ("wasserstein", "critical"): 0.915}
    thresholds |= {("psi", "warning"): 0.3, ("psi", "critical"): 0.45}
    for name, expected in render(RuleOptions(thresholds=thresholds)).items():
        assert (tmp_path / name).read_text(encoding="utf-8") == expected


def test_the_rule_file_is_picked_up_by_the_shipped_rules(tuned: Tuned, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A fleet whose x is at 0.4 warns without it, and does not with its 0.61; promtool finds nothing wrong with it."""
    text = _tune(tuned, capsys, "--format", "rules")
    (tmp_path / "tuned.yml").write_text(text, encoding="utf-8")
    subprocess.run([tuned.promtool, "check", "rules", tmp_path / "tuned.yml"], check=True, capture_output=True)
    bins = {"00 (-inf, 1)": 250, "01 [1, 2)": 250, "02 [2, 3)": 250, "03 [3, inf)": 250}
    replica = Replica(60)
    replica.traffic(120)
    replica.feature("x", bins, [21.0, 21, 27, 51], weights=(1.0, 1.0, 1.0))
    rules = render(RuleOptions(windows=("1h", "6h", "1d"), statistics=(), time_scale=12, drift_interval="1m"))
    alarmed = {("MlmonFeatureDrift", "warning")}
    only_drift = 'count by (alertname, severity) (ALERTS{alertstate="firing", alertname="MlmonFeatureDrift"})'

    def expected(firing: set[tuple[str, str]]) -> dict[str, Any]:
        return ptool.expectation(only_drift, 50, {f'{{alertname="{name}", severity="{severity}"}}': 1 for name, severity in firing})

    assert ptool.run(tuned.promtool, tmp_path, rules, [replica], [expected(alarmed)]) == ""
    assert ptool.run(tuned.promtool, tmp_path, {**rules, "tuned.yml": text}, [replica], [expected(set())]) == ""


def test_nothing_to_change_is_a_rule_file_all_the_same(tuned: Tuned, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Pipelines write it each time."""
    text = _tune(tuned, capsys, "--pairs", "6h:1d", "--alarms-per-month", "99", "--format", "rules")
    (tmp_path / "tuned.yml").write_text(text, encoding="utf-8")
    subprocess.run([tuned.promtool, "check", "rules", tmp_path / "tuned.yml"], check=True, capture_output=True)
    assert {rule["labels"]["feature"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"] or ()} == {"colour"}


def test_more_steps_than_a_prometheus_gives_at_once_come_in_parts(tuned: Tuned) -> None:
    """Each value at its step; where there is none, none."""
    api = PrometheusApi(tuned.prometheus.url)
    steps = 12_000
    (values,) = api.query_range("vector(time()) > 1800000000", 1_799_999_700.0, steps=steps, step=300.0).values()
    expected = 1_799_999_700.0 + 300.0 * np.arange(steps)
    expected[:2] = np.nan
    assert np.array_equal(values, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "other"], "no model 'other' is recorded, only 'm' version '0', 'm' version '1', 'young'"),
        (["--model", "m", "--version", "7"], "no model 'm' version '7' is recorded, only 'm' version '0'"),
        (["--model", "young"], "2.0 days are recorded, --days asks for 4"),
        (["--model", "m", "--version", "0"], "0.0 days are recorded, --days asks for 4"),
        (["--model", "m", "--days", "5"], "4.0 days are recorded, --days asks for 5"),
        (["--model", "m", "--days", "nan"], "--days must be finite"),
        (["--model", "m", "--alarms-per-month", "-1"], "--alarms-per-month must be finite"),
        (["--model", "m", "--header", "broken"], "--header must be NAME=VALUE, got 'broken'"),
    ],
)
def test_what_is_not_there_is_named(options: list[str], message: str, tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error, nothing on standard output, status 1."""
    assert main(["tune", "--prometheus", tuned.prometheus.url, "--days", "4", *options]) == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)


# ---------------------------------------------------------------- servers that answer badly

Answer = tuple[int, str, bytes]


@contextmanager
def _server(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, location, body = answer(self)
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _complaint(url: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["tune", "--prometheus", url, "--model", "m", *options]) == 1
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    return shown.err


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"<html>\n  sorry</html>", "answered 500 Internal Server Error: <html> sorry</html>"),
        (422, b'{"status": "error", "error": "query timed out"}', "answered 422 Unprocessable Entity: query timed out"),
        (200, b"<html>hello</html>", "answered with no vector of a Prometheus: <html>hello</html>"),
        (200, b'{"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}', "answered with no vector"),
        (200, b"[]", "answered with no vector"),
        (200, b"", "answered with no vector of a Prometheus: nothing"),
    ],
)
def test_a_bad_answer_is_one_clear_line(status: int, body: bytes, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the server said is in it."""
    with _server(lambda _: (status, "", body)) as url:
        assert message in _complaint(url, capsys)


def test_a_server_that_cannot_be_reached_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The port was free a moment ago."""
    with _server(lambda _: (200, "", b"")) as url:
        pass
    assert f"{url}: cannot be reached: [Errno 111] Connection refused" in _complaint(url, capsys)
    for address in ("file:///etc/passwd", "ftp://localhost/x", "http://user:word@localhost:9090", "localhost:9090"):
        assert "address must be http://" in _complaint(address, capsys)


def test_credentials_are_sent_to_the_server_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, and any header; not on to where it redirects."""
    seen: list[tuple[str, str | None, str | None]] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        seen.append((request.path.partition("?")[0], request.headers["Authorization"], request.headers["X-Scope-OrgID"]))
        return (200, "", b"no") if "elsewhere" in request.path else (302, "/elsewhere", b"")

    with _server(answer) as url:
        monkeypatch.setenv("PROMETHEUS_USERNAME", "reader")
        monkeypatch.setenv("PROMETHEUS_PASSWORD", "pass:word")
        _complaint(f"{url}/prometheus/", capsys, "--header", "X-Scope-OrgID=a=b")
        basic = "Basic " + base64.b64encode(b"reader:pass:word").decode()
        assert seen == [("/prometheus/api/v1/query", basic, "a=b"), ("/elsewhere", None, None)]
        seen.clear()
        monkeypatch.setenv("PROMETHEUS_TOKEN", "t0ken")
        _complaint(url, capsys)
        assert seen[0][1] == "Bearer t0ken"
