"""Three ways to a store, one result: scraped, pushed over OTLP to VictoriaMetrics, pushed to vmagent and on to a Prometheus."""

import contextlib
import json
import math
import re
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from otel_mlmon import Monitor, Reference, Settings, catalog
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import render
from otel_mlmon.catalog import CATALOG, MetricFamily
from otel_mlmon.exposition.otlp import start_export
from otel_mlmon.exposition.server import start_server
from otel_mlmon.store import SeriesStore
from tests import servers

ROWS = 500
OPTIONS = RuleOptions(
    windows=("1h", "1d"), pairs=(("1h", "1d"),), interval="1s", drift_interval="1s", lookback="5s", delay="1s", time_scale=240
)
"""A day of the rules lasts six minutes: longer than the test. An hour is so short that every group is evaluated each second."""

ODD = ("plain", "", "Größe 東京 😀", 'quote " back \\ slash', "two\nlines", "03 [12.5, 30)", " space ", "1.0", "\udcff")
NUMBERS = (0.0, 1.0, 0.1, 1e-9, 123456789.125, 1e22, 1.7e9, 2.0**53)
BOUNDS = (1e-7, 0.005, 1.0, 2.5, 1e6, 1e16, 1e22)
BELOW_ZERO = (-2.5, -1.0, 0.0, 3.0)

ADDED = {
    "scraped": {"instance", "job"},
    "pushed": {"scope_name", "scope_version", "service_name", "service_instance_id", "deployment_environment_name"}
    | {"telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version"},
}
"""Labels of the target, or of the resource and the scope: not ours."""

MOVING = {catalog.WORKER_TIME, catalog.EXPORTS, catalog.EXPORT_TIME}
"""Families that the exports themselves move on."""

Samples = dict[frozenset[tuple[str, str | float]], float]


@dataclass(frozen=True)
class Routes:
    """Three servers with the same series, each of which came another way."""

    scraped: servers.Server
    pushed: servers.Server
    forwarded: servers.Server
    monitor: Monitor
    reference: Reference
    fed: float
    """Unix time just before rows were fed."""

    @property
    def all(self) -> dict[str, servers.Server]:
        return {"scraped": self.scraped, "pushed": self.pushed, "forwarded": self.forwarded}

    def found(self, name: str, selector: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What one of them answers."""
        if name == "pushed":
            flush(self.pushed)
        return self.all[name].query(selector)

    def samples(self, name: str, selector: str) -> Samples:
        """What one of them answers, without the labels of its way; ``le`` as a number, since each way writes it differently."""
        added = ADDED["scraped" if name == "scraped" else "pushed"]
        found = self.found(name, selector)
        samples: Samples = {
            frozenset((label, float(text) if label == "le" else text) for label, text in labels if label not in added): value
            for labels, value in found.items()
        }
        assert len(samples) == len(found)
        return samples


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    """A page with every family, and a monitor that has seen drift."""
    for name, series in (("prometheus", "old"), ("prometheus", "new"), ("victoria-metrics", "new"), ("vmagent", "new")):
        servers.require(name, series)
    folder = tmp_path_factory.mktemp("parity")
    rules = []
    for file, text in render(OPTIONS).items():
        rules.append(folder / file)
        rules[-1].write_text(text, encoding="utf-8")
    rng = np.random.default_rng(3)
    reference = Reference.build({"x": rng.normal(size=5_000), "c": rng.choice(["a", "b", "c"], size=5_000)})
    with contextlib.ExitStack() as opened, pytest.MonkeyPatch.context() as environment:
        monitor = opened.enter_context(
            Monitor("drifting", version="1", reference=reference, settings=Settings(system_seconds=3600, drain_seconds=0.1))
        )
        store = every_family()
        page = opened.enter_context(start_server([store.snapshot], port=0))
        targets = [f"127.0.0.1:{port}" for port in (page.port, monitor.serve(port=0).port)]
        parts = [folder / part for part in ("scraped", "pushed", "forwarded", "agent")]
        for part in parts:
            part.mkdir()
        receiver = ["--web.enable-remote-write-receiver"]
        scraped = opened.enter_context(servers.prometheus(parts[0], rules, targets, interval="1s"))
        pushed = opened.enter_context(servers.victoriametrics(parts[1]))
        forwarded = opened.enter_context(servers.prometheus(parts[2], rules, interval="1s", series="new", flags=receiver))
        agent = opened.enter_context(servers.vmagent(parts[3], forwarded))
        environment.setenv("OTEL_SERVICE_NAME", "shop")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        for server in (pushed, agent):
            environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{server.url}/opentelemetry")
            opened.callback(start_export([store.snapshot], interval=0.5).close)
            monitor.export_otlp(interval=0.5)
        opened.callback(monitor.close)  # before the servers that it exports to
        known = 'mlmon:replica:steady{model_name="drifting", group="drift"}'
        until(lambda: all(prometheus.query(known) for prometheus in (scraped, forwarded)), "the rules know the monitor")
        fed = time.time()
        monitor.observe({"x": (rng.normal(size=ROWS) + 1.0).tolist(), "c": rng.choice(["a", "b"], size=ROWS).tolist()}, [0] * ROWS)
        assert monitor.flush()
        yield Routes(scraped, pushed, forwarded, monitor, reference, fed)


def every_family() -> SeriesStore:
    """Two series of every family in the catalogue, with odd labels and odd numbers."""
    store, count = SeriesStore(), 0
    for family in CATALOG:
        for version in ("1", "2"):
            count += 1
            texts = [ODD[(count + place) % len(ODD)] for place in range(len(family.labels) - 2)]
            labels = ("every", version, *texts)
            if family.type == "histogram":
                bounds = BOUNDS if version == "1" else BELOW_ZERO
                store.put(store.index(family, labels, bounds=bounds), np.array([*range(len(bounds) + 1), 12.25]))
            else:
                store.put(store.index(family, labels), np.array([NUMBERS[count % len(NUMBERS)]]))
        if family.type == "gauge":
            store.index(family, ("every", "without a value", *family.labels[2:]))
    return store


def until(condition: Callable[[], object], what: str, patience: float = 60.0) -> None:
    """Ask real servers again and again until they show what is waited for."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.2)


def flush(victoriametrics: servers.Server) -> None:
    """VictoriaMetrics shows new series only seconds later otherwise."""
    with urllib.request.urlopen(f"{victoriametrics.url}/internal/force_flush", timeout=10):  # noqa: S310  loopback
        pass


def differences(scraped: Samples, other: Samples, name: str) -> dict[str, Any]:
    """Samples that are not the same in both.

    VictoriaMetrics keeps numbers to 12 decimal digits or more. OpenMetrics, which Prometheus asks for when it scrapes, forbids sum
    and count of a histogram whose bounds begin below zero: those may be missing in the one that was scraped.
    """
    below_zero = {_without(key) for key in other if float(dict(key).get("le", 0.0)) < 0}
    forbidden = {key for key in other if key not in scraped and _without(key, "_(sum|count)$") in below_zero}
    wrong = (scraped.keys() | other.keys()) - forbidden
    if name == "pushed":
        wrong = {key for key in wrong if scraped.get(key) != pytest.approx(other.get(key, math.nan), rel=1e-11, abs=0)}
    else:
        wrong = {key for key in wrong if scraped.get(key) != other.get(key)}
    return {str(sorted(key)): (scraped.get(key), other.get(key)) for key in wrong}


def _without(key: frozenset[tuple[str, Any]], suffix: str = "_bucket$") -> frozenset[tuple[str, Any]]:
    """Name and labels of a histogram's sample, without what the histogram's other samples do not share."""
    return frozenset((label, re.sub(suffix, "", text) if label == "__name__" else text) for label, text in key if label != "le")


def _selector(model: str, without: Iterable[MetricFamily] = ()) -> str:
    """A model's series, but those of some families and those that rules have recorded."""
    return (
        f'{{model_name="{model}",__name__!~"{"|".join([".*:.*", "ALERTS.*", *(family.prometheus_name for family in without)])}"}}'
    )


@pytest.mark.parametrize("name", ["pushed", "forwarded"])
def test_every_family_has_the_same_names_labels_and_values(routes: Routes, name: str) -> None:
    """Whatever a label's value holds."""
    selector = _selector("every")
    until(lambda: routes.found("scraped", selector) and routes.found(name, selector), "all are there")
    scraped, other = routes.samples("scraped", selector), routes.samples(name, selector)
    assert differences(scraped, other, name) == {}
    names = {family.prometheus_name + ("_bucket" if family.type == "histogram" else "") for family in CATALOG}
    assert names - {dict(key)["__name__"] for key in scraped} == set()


@pytest.mark.parametrize("name", ["pushed", "forwarded"])
def test_a_monitor_shows_the_same_on_every_way(routes: Routes, name: str) -> None:
    """All of its series, as soon as each way has brought the last rows; only what the exports themselves move is left out."""
    selector = _selector("drifting", MOVING)

    def shown() -> dict[Any, Any]:
        return differences(routes.samples("scraped", selector), routes.samples(name, selector), name)

    rows = 'mlmon_predictions_total{model_name="drifting"}'
    until(lambda: all([*routes.found(way, rows).values()] == [ROWS] for way in ("scraped", name)), "both have the last rows")
    with contextlib.suppress(AssertionError):  # the last assertion says more
        until(lambda: not shown(), "the other series followed", patience=20)
    assert shown() == {}


@pytest.mark.parametrize("name", ["scraped", "pushed", "forwarded"])
def test_a_way_adds_labels_of_the_target_or_the_resource_only(routes: Routes, name: str) -> None:
    """The README names them."""
    (labels,) = routes.found(name, 'mlmon_predictions_total{model_name="drifting"}')
    assert dict(labels).keys() - {"__name__", "model_name", "model_version"} == ADDED["scraped" if name == "scraped" else "pushed"]


def test_the_rules_give_the_same_psi_on_every_way(routes: Routes) -> None:
    """Both Prometheus series evaluate the bundled rules; for VictoriaMetrics the test does, one after another."""
    expected = {}
    for feature, seen in routes.monitor.snapshot().features.items():
        profile = routes.reference[feature]
        counts = np.array([[seen.counts[text] for text in profile.bins], profile.counts]) + 0.5
        one, other = counts / counts.sum(axis=1, keepdims=True)
        expected[feature] = float(stats.entropy(one, other) + stats.entropy(other, one))
    psi = {name: _psi(server) for name, server in routes.all.items() if name != "pushed"} | {"pushed": _evaluated(routes)}
    assert psi == {name: pytest.approx(expected, rel=1e-9) for name in routes.all}
    assert min(expected.values()) > 0.1


PSI = 'mlmon:feature_drift{model_name="drifting",window="1d",statistic="psi",baseline="training"}'


def _psi(prometheus: servers.Server) -> dict[str, float]:
    """What a Prometheus has recorded once its rules have seen every row: in the evaluation that follows."""
    count = 'mlmon:feature:count{model_name="drifting",window="1d"}'
    until(lambda: set(prometheus.query(count).values()) == {float(ROWS)}, "the rules have seen every row")
    seen = max(prometheus.query(f"timestamp({count})").values())
    until(lambda: min(prometheus.query(f"timestamp({PSI})").values(), default=0.0) > seen, "an evaluation followed")
    return {dict(labels)["feature"]: value for labels, value in prometheus.query(PSI).items()}


def _evaluated(routes: Routes) -> dict[str, float]:
    """The PSI of the bundled rules: all that it needs evaluated through VictoriaMetrics's API and written back, each second."""
    rules = _needed("mlmon:feature_drift", {"statistic": "psi", "baseline": "training"})
    for at in range(int(routes.fed), int(routes.fed) + 5):
        for rule in rules:
            found = routes.pushed.query(rule["expr"], at=float(at))
            lines = [_line(rule["record"], dict(labels) | rule.get("labels", {}), value, at) for labels, value in found.items()]
            _write(routes.pushed, "\n".join(lines))
    return {dict(labels)["feature"]: value for labels, value in routes.pushed.query(PSI, at=float(at)).items()}


def _needed(record: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Some recording rules and those that they read, in the file's order."""
    document = yaml.safe_load(render(OPTIONS)["mlmon.rules.yml"])
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    rules = [rule for rule in rules if rule["record"] != record or labels.items() <= rule.get("labels", {}).items()]
    names, before = {record}, set[str]()
    while names != before:
        before = names
        names = before | set(re.findall(r"mlmon:\w+:?\w*", " ".join(rule["expr"] for rule in rules if rule["record"] in before)))
    return [rule for rule in rules if rule["record"] in names]


def _line(name: str, labels: Mapping[str, str], value: float, at: float) -> str:
    texts = ",".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels.items() if label != "__name__")
    return f"{name}{{{texts}}} {value!r} {at * 1000:.0f}"


def _write(victoriametrics: servers.Server, lines: str) -> None:
    request = urllib.request.Request(f"{victoriametrics.url}/api/v1/import/prometheus", lines.encode(), method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310  loopback
        flush(victoriametrics)
