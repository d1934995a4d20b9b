"""vmalert and VictoriaMetrics with the staged rules, beside Prometheus with the plain ones: the same numbers, the same alerts."""

import contextlib
import json
import math
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import Monitor, Reference, Settings
from otel_mlmon.bundle.deploy import vmalert
from otel_mlmon.bundle.rules import RuleOptions, render
from tests import servers

OPTIONS = RuleOptions(
    interval="2s",
    drift_interval="2s",
    lookback="10s",
    delay="1s",
    time_scale=360,
    windows=("6h", "1d"),
    pairs=(("6h", "1d"),),
    previous="7d",
)
"""A window of 6h lasts a minute: what came within some seconds stays in it while the two are compared."""

JUDGED = '{__name__=~"mlmon:(feature_drift|feature_drift:threshold|feature_bin:count|model:drifted_features_ratio)"}'


@contextlib.contextmanager
def visible_at_once(storage: servers.Server) -> Iterator[None]:
    """VictoriaMetrics shows what it was sent up to two seconds later; here a stage lasts less."""
    ended = threading.Event()

    def flush() -> None:
        while not ended.wait(0.03):
            with urllib.request.urlopen(f"{storage.url}/internal/force_flush", timeout=10) as answer:  # noqa: S310  loopback
                answer.read()

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def firing(server: servers.Server) -> set[tuple[str, ...]]:
    """The drift alerts that fire."""
    alerts = [each for each in server.get("/api/v1/alerts")["data"]["alerts"] if each["state"] == "firing"]
    keys = ("alertname", "severity", "model_name", "model_version", "feature", "statistic")
    return {tuple(each["labels"].get(key, "") for key in keys) for each in alerts if each["labels"]["layer"] == "drift"}


def recorded(storage: servers.Server, expression: str) -> dict[Any, float]:
    """An instant query of VictoriaMetrics that sees the last seconds."""
    answer = storage.get("/api/v1/query", {"query": expression, "latency_offset": "1ms"})
    return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in answer["data"]["result"]}


def same(ours: dict[Any, float], theirs: dict[Any, float]) -> bool:
    """The same series, and the same values but for the 12 digits that VictoriaMetrics keeps."""
    return ours.keys() == theirs.keys() and all(math.isclose(value, theirs[key], rel_tol=1e-9) for key, value in ours.items())


@pytest.mark.optional
def test_vmalert_says_what_prometheus_says(tmp_path: Path) -> None:
    """Both scrape one replica whose traffic drifts; within a few evaluations all that is recorded and all that fires agree."""
    servers.require("vmalert", "new")
    for folder, texts in (("plain", render(OPTIONS)), ("staged", vmalert.render(OPTIONS, least="50ms"))):
        (tmp_path / folder).mkdir()
        for name, text in texts.items():
            (tmp_path / folder / name).write_text(text, encoding="utf-8")
    rng = np.random.default_rng(0)
    reference = Reference.build({"x": rng.normal(0, 1, 5_000), "c": rng.choice(list("abc"), 5_000)})
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(Monitor("m", version="1", reference=reference, settings=Settings(system_seconds=0)))
        target = f"127.0.0.1:{stack.enter_context(monitor.serve(port=0)).port}"
        scraped = {"job_name": "mlmon", "static_configs": [{"targets": [target]}]}
        scraping = tmp_path / "scrape.json"
        document = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scraped]}
        scraping.write_text(json.dumps(document), encoding="utf-8")
        # The default again: the rules have to ask for the last 30 s by themselves.
        flags = (f"-promscrape.config={scraping}", "-search.latencyOffset=30s")
        storage = stack.enter_context(servers.victoriametrics(tmp_path, *flags))
        stack.enter_context(visible_at_once(storage))
        alerting = stack.enter_context(servers.vmalert(tmp_path, tmp_path / "staged", storage))
        plain = sorted((tmp_path / "plain").iterdir())
        prometheus = stack.enter_context(servers.prometheus(tmp_path, plain, [target], series="new"))
        deadline = time.monotonic() + 60
        while not (prometheus.query("mlmon:replica:counted") and recorded(storage, "mlmon:replica:counted")):
            assert time.monotonic() < deadline, "the replica is not known"
            time.sleep(0.1)
        monitor.observe({"x": rng.normal(1, 1, 600), "c": rng.choice(list("aab"), 600)})
        while True:
            ours, theirs, alerts = prometheus.query(JUDGED), recorded(storage, JUDGED), (firing(prometheus), firing(alerting))
            if len(ours) > 50 and len(alerts[0]) >= 6 and same(ours, theirs) and alerts[0] == alerts[1]:
                return
            differing = [key for key in ours.keys() | theirs.keys() if not same({0: ours.get(key, -1)}, {0: theirs.get(key, -1)})]
            assert time.monotonic() < deadline, (differing[:5], alerts, len(ours), alerting.log.read_text()[-1000:])
            time.sleep(0.5)
