"""Recorded series and evaluation time of the rules, in a real Prometheus that scrapes a fleet with a day of history."""

import contextlib
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions, milliseconds
from otel_mlmon.bundle.rules import RECORDING_FILE, render
from otel_mlmon.catalog import MetricFamily
from tests.servers import Server, find_binary, prometheus

FEATURES = 50
BINS = 12
BOUNDS = ("-2.34", "-1.62", "-0.666", "0.0", "0.686", "1.63", "2.31", "+Inf")
OPTIONS = RuleOptions(interval="15s", lookback="75s", delay="5s", time_scale=4)
"""As shipped, four times as fast: the same number of samples in every window."""
SELDOM = 3
"""Intervals between evaluations of what may come late."""
INTERVALS = 4 * SELDOM
"""While processor time is taken."""

_VALUE = "\0"
_LABELS = [f"{number:02d} [{number}, {number + 1})" for number in range(BINS)]


@dataclass(frozen=True)
class Load:
    """A fleet.

    Args:
        models, replicas: How many, and how many replicas of each model.
        light: One exporter of the reference for the fleet, no histograms and no correlations: what a big fleet saves.
    """

    models: int
    replicas: int
    light: bool = False


LOADS = (Load(1, 10), Load(1, 100), Load(2, 10))


def run(loads: tuple[Load, ...] = LOADS, series: Any = "old") -> None:
    """Print the table of recorded series and processor seconds."""
    print(f"rules, {FEATURES} features x {BINS} bins x {len(OPTIONS.windows)} windows x 2 baselines")
    print("  models  replicas   scraped  recorded  processor s/min: scrapes, rules    evaluation, s: group, least")
    for load in loads:
        with tempfile.TemporaryDirectory() as folder:
            _measure(load, Path(folder), series)


def _measure(load: Load, folder: Path, series: Any) -> None:
    pages = [_page(load, model) for model in range(load.models)]
    began = time.time()
    _backfill(load, folder, began)
    rules = folder / RECORDING_FILE
    rules.write_text(render(OPTIONS)[RECORDING_FILE], encoding="utf-8")
    with _exporter(pages, began) as targets:
        with _scraping(folder, [], targets, series) as server:
            idle = _processor_seconds(server)
        with _scraping(folder, [rules], targets, series) as server:
            busy = _processor_seconds(server)
            least = _least(server)
            recorded = sum(value for name, value in _metrics(server).items() if name.startswith(_SAMPLES))
    scraped = sum(page.count(b"\n") for page in pages)
    groups = "  ".join(f"{group.removeprefix('mlmon-').removesuffix('.rules')} {seconds:.2f}" for group, seconds in least.items())
    print(f"  {load.models:6} {load.replicas:9} {scraped:9,} {recorded:9,.0f} {idle:25.2f} {busy - idle:6.2f}    {groups}")


_SAMPLES = "prometheus_rule_group_last_evaluation_samples{"


def _metrics(server: Server) -> dict[str, float]:
    """What the server says of itself."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=60) as page:  # noqa: S310  loopback
        lines = page.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if not name.startswith("#")}


def _processor_seconds(server: Server) -> float:
    """Processor seconds of the server in an interval."""
    interval = milliseconds(OPTIONS.interval) / 1000
    time.sleep(2 * SELDOM * interval)  # until every group has begun
    spent = _metrics(server)["process_cpu_seconds_total"]
    time.sleep(INTERVALS * interval)
    return (_metrics(server)["process_cpu_seconds_total"] - spent) / INTERVALS


def _least(server: Server) -> dict[str, float]:
    """Seconds that each group's last evaluation took: of some, the least."""
    taken: dict[str, list[float]] = {}
    for _ in range(SELDOM):
        for group in server.get("/api/v1/rules")["data"]["groups"]:
            taken.setdefault(group["name"], []).append(sum(rule["evaluationTime"] for rule in group["rules"]))
        time.sleep(milliseconds(OPTIONS.interval) / 1000)
    return {name: min(times) for name, times in taken.items()}


@contextlib.contextmanager
def _scraping(folder: Path, rules: list[Path], targets: list[str], series: Any) -> Iterator[Server]:
    addresses = [
        {"targets": [target.partition("/")[0]], "labels": {"__metrics_path__": "/" + target.partition("/")[2]}}
        for target in targets
    ]
    scrape = {"job_name": "mlmon", "honor_labels": True, "static_configs": addresses}
    with prometheus(folder, rules, interval=OPTIONS.interval, configuration={"scrape_configs": [scrape]}, series=series) as server:
        yield server


@contextlib.contextmanager
def _exporter(pages: list[bytes], began: float) -> Iterator[list[str]]:
    """Serves each page with counters that grow by 7 a second."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = b"%d" % (1_000 + 7 * (time.time() - began))
            body = pages[int(self.path[1:])].replace(_VALUE.encode(), value)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield [f"127.0.0.1:{server.server_address[1]}/{number}" for number in range(len(pages))]
    finally:
        server.shutdown()
        server.server_close()


def _line(family: MetricFamily, who: str, value: str, *, suffix: str = "", **labels: str) -> str:
    more = "".join(f',{label}="{text}"' for label, text in labels.items() if text)
    return f"{family.prometheus_name}{suffix}{{{who}{more}}} {value}\n"


def _moments(load: Load) -> list[dict[str, str]]:
    own = [{"target": "", "space": "z", "moment": moment} for moment in ("n", "f", "ff")]
    pairs = [{"target": "@score", "space": s, "moment": m} for s in ("z", "u") for m in ("n", "f", "ff", "y", "yy", "fy")]
    return own if load.light else own + pairs


def _page(load: Load, model: int) -> bytes:
    """All series of one model's replicas."""
    parts = []
    start = f"{time.time() - 7200:.0f}"
    for replica in range(load.replicas):
        who = f'model_name="model-{model}",model_version="1",instance="replica-{replica}:9464"'
        parts.append(_line(catalog.START_TIME, who, start))
        parts.append(_line(catalog.PREDICTIONS, who, _VALUE))
        parts += [_line(catalog.CALLS, who, value, status=status) for status, value in (("ok", _VALUE), ("error", "0"))]
        for number in range(FEATURES):
            name = f"feature_{number}"
            parts += [_line(catalog.FEATURE_BIN, who, _VALUE, feature=name, bin=label) for label in _LABELS]
            parts += [_line(catalog.FEATURE_MOMENT, who, _VALUE, feature=name, **labels) for labels in _moments(load)]
            parts += [
                _line(family, who, "0", feature=name)
                for family in (catalog.FEATURE_MISSING, catalog.FEATURE_OUTLIERS, catalog.FEATURE_OUT_OF_RANGE)
            ]
            parts += [
                _line(family, who, value, feature=name)
                for family, value in ((catalog.FEATURE_MIN, "-1"), (catalog.FEATURE_MAX, "1"))
            ]
            parts += [_line(catalog.FEATURE_INVALID, who, "0", feature=name, reason=reason) for reason in ("type", "range")]
            if not load.light:
                parts += [_line(catalog.FEATURE_VALUE, who, _VALUE, suffix="_bucket", feature=name, le=bound) for bound in BOUNDS]
            if not (load.light and replica):
                parts += _reference(who, name, load)
    return "".join(parts).encode()


def _reference(who: str, name: str, load: Load) -> list[str]:
    parts = [_line(catalog.REFERENCE_BIN_COUNT, who, "900", feature=name, bin=label) for label in _LABELS]
    parts += [_line(catalog.REFERENCE_BIN_WEIGHT, who, "0.3", feature=name, bin=label) for label in _LABELS[:-1]]
    for statistic, floor in (("psi", "15"), ("wasserstein", "1.9")):
        parts.append(_line(catalog.REFERENCE_NOISE, who, floor, feature=name, statistic=statistic))
        parts += [
            _line(catalog.REFERENCE_THRESHOLD, who, "0.2", feature=name, statistic=statistic, window=window)
            for window in ("1h", "6h", "1d")
        ]
    parts += [
        _line(catalog.REFERENCE_STATISTIC, who, "1", feature=name, statistic=statistic)
        for statistic in ("mean", "std", "min", "max", "median")
    ]
    parts += [_line(family, who, "0.01", feature=name) for family in (catalog.REFERENCE_MISSING, catalog.REFERENCE_OUTLIERS)]
    if not load.light:
        for space in ("z", "u"):
            parts.append(_line(catalog.REFERENCE_CORRELATION, who, "0.1", feature=name, target="@score", space=space))
            parts.append(_line(catalog.REFERENCE_CORRELATION_SAMPLES, who, "9000", feature=name, target="@score", space=space))
    return parts


def _backfill(load: Load, folder: Path, now: float) -> None:
    """A day of recorded increments: what the windows add up."""
    step = milliseconds(OPTIONS.interval) / 1000
    ends = [f" {at:.3f}\n" for at in np.arange(now - 1.05 * 86_400 / OPTIONS.time_scale, now - 4 * step, step)]
    rng = np.random.default_rng(7)
    recorded: list[tuple[str, list[dict[str, str]]]] = [
        (n.BIN_INCREMENT, [{"bin": label} for label in _LABELS]),
        (n.MOMENT_INCREMENT, [{label: text for label, text in each.items() if text} for each in _moments(load)]),
        (n.MISSING_INCREMENT, [{}]),
    ]
    recorded += [(name, [{}]) for name in (n.OUTLIERS_INCREMENT, n.OUT_OF_RANGE_INCREMENT, n.INVALID_INCREMENT)]
    if not load.light:
        recorded.append((n.VALUE_INCREMENT, [{"le": bound} for bound in BOUNDS]))
    path = folder / "history.txt"
    with path.open("w", encoding="utf-8") as file:
        for model in range(load.models):
            who = f'model_name="model-{model}",model_version="1"'
            for number in range(FEATURES):
                for name, each in recorded:
                    for labels in each:
                        text = (
                            name
                            + "{"
                            + who
                            + f',feature="feature_{number}"'
                            + "".join(f',{k}="{v}"' for k, v in labels.items())
                            + "} "
                        )
                        values = rng.integers(0, 9, len(ends)).tolist()
                        file.write("".join([f"{text}{value}{end}" for value, end in zip(values, ends, strict=True)]))
        file.write("# EOF\n")
    promtool = find_binary("promtool")
    assert promtool is not None
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", path, folder / "prometheus"], check=True, capture_output=True
    )
    path.unlink()


if __name__ == "__main__":
    import sys

    given = [tuple(map(int, each.split("x"))) for each in sys.argv[1:]]
    run(tuple(Load(models, replicas, bool(light)) for models, replicas, light in given) or LOADS)
