"""Recorded series and evaluation time of the rules, in a real Prometheus that scrapes a fleet with a day of history."""

import contextlib
import math
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
from otel_mlmon.bundle.rules import render
from otel_mlmon.catalog import MetricFamily
from tests.servers import Server, find_binary, prometheus

FEATURES = 50
BINS = 12
BOUNDS = ("-2.34", "-1.62", "-0.666", "0.0", "0.686", "1.63", "2.31", "+Inf")
GOAL = 20
"""Models, of 50 features and with 10 replicas each, whose rules may take two seconds a minute."""

_VALUE, _BAD = "\1", "\2"
"""What stands for counters on a page: one of values in a bin, one of bad values."""

_MOMENTS = {"n": "\3", "f": "\4", "ff": "\5", "y": "\4", "yy": "\5", "fy": "\6"}
"""Of ``BINS`` bins: z + 8 is added up, of what has a mean of 0, a variance of 1 and a correlation of 0.1, as in the reference."""

_RATES = {_VALUE: 1.0, _BAD: 0.01} | {
    _MOMENTS[moment]: BINS * size for moment, size in {"n": 1, "f": 8, "ff": 65, "fy": 64.1}.items()
}
"""By how much they grow while a counter of values in a bin grows by 1: nothing has drifted."""


def options(models: int) -> RuleOptions:
    """As shipped, but several times as fast: the same number of samples in every window. A big fleet takes longer to scrape."""
    if models > 2:
        return RuleOptions(interval="15s", lookback="75s", delay="5s", time_scale=4)
    return RuleOptions(interval="5s", lookback="25s", delay="1500ms", time_scale=12)


@dataclass(frozen=True)
class Load:
    """A fleet.

    Args:
        models, replicas: How many, and how many replicas of each model.
        light: One exporter of the reference for the fleet, no histograms and no correlations: what a big fleet saves.
        features: Of each model.
    """

    models: int
    replicas: int
    light: bool = False
    features: int = FEATURES


LOADS = (Load(1, 10), Load(1, 100), Load(2, 10))


def run(loads: tuple[Load, ...] = LOADS, series: Any = "old") -> None:
    """Print the table of recorded series and seconds that the rules take."""
    print(f"rules, {FEATURES} features x {BINS} bins x {len(RuleOptions().windows)} windows x 2 baselines")
    print("  models  replicas   scraped  recorded  rule seconds a minute: all, by group")
    taken = {}
    for load in loads:
        with tempfile.TemporaryDirectory() as folder:
            taken[load] = _measure(load, Path(folder), series)
    usual = [load for load in taken if load.replicas == 10 and not load.light]
    if usual:
        most = max(usual, key=lambda load: load.models)
        print(f"  {GOAL} models x 10 replicas: {taken[most] * GOAL / most.models:.2f} rule seconds a minute, by {most.models}")


def _measure(load: Load, folder: Path, series: Any) -> float:
    """Rule seconds a minute of a fleet; prints its line."""
    pages, chosen = [_page(load, model) for model in range(load.models)], options(load.models)
    with watched(load, chosen, folder, series) as server:
        least = _least(server, chosen)
        recorded = sum(value for name, value in _metrics(server).items() if name.startswith(_SAMPLES))
    scraped = sum(each.count(b"\n") for each in pages)
    shares = {name.removeprefix("mlmon-"): share for name, share in least.items() if share >= 0.005}
    groups = "  ".join(f"{name} {share:.2f}" for name, share in shares.items())
    print(f"  {load.models:6} {load.replicas:9} {scraped:9,} {recorded:9,.0f} {sum(least.values()):7.2f}    {groups}", flush=True)
    return sum(least.values())


_SAMPLES = "prometheus_rule_group_last_evaluation_samples{"


def _metrics(server: Server) -> dict[str, float]:
    """What the server says of itself."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=60) as found:  # noqa: S310  loopback
        lines = found.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if not name.startswith("#")}


def _least(server: Server, chosen: RuleOptions) -> dict[str, float]:
    """Seconds a minute that each group takes, had it the shipped interval: of its evaluations that found all, the least."""
    taken: dict[str, dict[str, float]] = {}
    intervals: dict[str, float] = {}
    late = milliseconds(chosen.pace) / 1000
    until = time.monotonic() + 3.5 * late
    while time.monotonic() < until:
        time.sleep(milliseconds(chosen.interval) / 1000)
        for group in server.get("/api/v1/rules")["data"]["groups"]:
            taken.setdefault(group["name"], {})[group["lastEvaluation"]] = sum(rule["evaluationTime"] for rule in group["rules"])
            intervals[group["name"]] = group["interval"] * chosen.time_scale
    # What comes first finds no reference yet.
    whole = {name: [times[at] for at in sorted(times)][len(times) // 2 :] for name, times in taken.items()}
    return {name: min(times) * 60 / intervals[name] for name, times in whole.items()}


@contextlib.contextmanager
def watched(load: Load, chosen: RuleOptions, folder: Path, series: Any) -> Iterator[Server]:
    """A Prometheus that scrapes a fleet and evaluates the rules, with a day of history."""
    pages, began = [_page(load, model) for model in range(load.models)], time.time()
    _backfill(load, chosen, folder, began)
    files = []
    for name, text in render(chosen).items():
        files.append(folder / name)
        files[-1].write_text(text, encoding="utf-8")
    with _exporter(pages, began) as targets, _scraping(folder, files, targets, chosen.interval, series) as server:
        yield server


@contextlib.contextmanager
def _scraping(folder: Path, rules: list[Path], targets: list[str], interval: str, series: Any) -> Iterator[Server]:
    addresses = [
        {"targets": [target.partition("/")[0]], "labels": {"__metrics_path__": "/" + target.partition("/")[2]}}
        for target in targets
    ]
    scrape = {"job_name": "mlmon", "honor_labels": True, "static_configs": addresses}
    with prometheus(folder, rules, interval=interval, configuration={"scrape_configs": [scrape]}, series=series) as server:
        yield server


@contextlib.contextmanager
def _exporter(pages: list[bytes], began: float) -> Iterator[list[str]]:
    """Serves each page with counters that grow."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[int(self.path[1:])]
            for letter, rate in _RATES.items():
                body = body.replace(letter.encode(), b"%d" % (rate * (1_000 + 7 * (time.time() - began))))
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


def _bins(number: int) -> list[str]:
    """Labels of one feature's bins: no two features have the same."""
    return [f"{place:02d} [{place + number / 100:g}, {place + 1 + number / 100:g})" for place in range(BINS)]


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
        for number in range(load.features):
            name, bins = f"feature_{number}", _bins(number)
            parts += [_line(catalog.FEATURE_BIN, who, _VALUE, feature=name, bin=label) for label in bins]
            parts += [
                _line(catalog.FEATURE_MOMENT, who, _MOMENTS[labels["moment"]], feature=name, **labels) for labels in _moments(load)
            ]
            parts += [
                _line(family, who, "0" if number % 3 else _BAD, feature=name)
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
                parts += _reference(who, name, bins, load)
    return "".join(parts).encode()


def _reference(who: str, name: str, bins: list[str], load: Load) -> list[str]:
    parts = [_line(catalog.REFERENCE_BIN_COUNT, who, "900", feature=name, bin=label) for label in bins]
    parts += [_line(catalog.REFERENCE_BIN_WEIGHT, who, "0.3", feature=name, bin=label) for label in bins[:-1]]
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


def _backfill(load: Load, chosen: RuleOptions, folder: Path, now: float) -> None:
    """A day of recorded increments, which the windows add up, and what the previous baseline is read from."""
    day = 86_400 / chosen.time_scale
    soon, late = (milliseconds(each) / 1000 for each in (chosen.interval, chosen.pace))
    path = folder / "history.txt"
    with path.open("w", encoding="utf-8") as file:

        def write(name: str, labels: dict[str, str], value: float, begin: float, end: float, step: float) -> None:
            text = ",".join(f'{label}="{text}"' for label, text in labels.items() if text)
            file.writelines(f"{name}{{{text}}} {value:g} {at:.3f}\n" for at in np.arange(now - begin, now - end, step))

        for model in range(load.models):
            who = {"model_name": f"model-{model}", "model_version": "1"}
            write(n.PREDICTION_INCREMENT, who, 7.0 * load.replicas * soon, 1.05 * day, 4 * soon, soon)
            for number in range(load.features):
                feature = {**who, "feature": f"feature_{number}"}
                for name, labels, rate in _recorded(load, _bins(number)):
                    write(name, {**feature, **labels}, 7.0 * load.replicas * late * rate, 1.05 * day, 4 * soon, late)
                for name, labels, value in _baseline(_bins(number)):
                    for window in chosen.described:
                        write(name, {**feature, "window": window, **labels}, value, day + 2 * late, day - 3 * late, late / 2)
        file.write("# EOF\n")
    promtool = find_binary("promtool")
    assert promtool is not None
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", path, folder / "prometheus"], check=True, capture_output=True
    )
    path.unlink()


def _recorded(load: Load, bins: list[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Increments: name, labels, rate."""
    yield from ((n.BIN_INCREMENT, {"bin": label}, _RATES[_VALUE]) for label in bins)
    for name in (n.MISSING_INCREMENT, n.OUTLIERS_INCREMENT, n.OUT_OF_RANGE_INCREMENT, n.INVALID_INCREMENT):
        yield name, {}, _RATES[_BAD]
    yield from ((n.MOMENT_INCREMENT, labels, _RATES[_MOMENTS[labels["moment"]]]) for labels in _moments(load))
    if not load.light:
        yield from ((n.VALUE_INCREMENT, {"le": bound}, _RATES[_VALUE]) for bound in BOUNDS)


def _baseline(bins: list[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """What the previous baseline is a copy of, under the names that the rules record it by: name, labels, value."""
    ratio = 1 / len(bins)
    for name, value in ((n.BIN_COUNT, 30.0), (n.BIN_RATIO, ratio), (n.BIN_SMOOTHED, ratio)):
        yield from ((name, {"bin": label}, value) for label in bins)
    yield from ((n.BIN_CUMULATIVE, {"bin": f"{place:02d}"}, (place + 1) * ratio) for place in range(len(bins) - 1))
    yield from (
        (name, {}, value)
        for name, value in ((n.late(n.COUNT), 30.0 * len(bins)), (n.late(n.MEAN_SHIFT), 0.0), (n.ENTROPY, math.log(ratio)))
    )


if __name__ == "__main__":
    import sys

    given = [tuple(map(int, each.split("x"))) for each in sys.argv[1:]]
    run(tuple(Load(models, replicas, bool(light)) for models, replicas, light in given) or LOADS)
