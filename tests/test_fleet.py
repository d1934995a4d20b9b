"""A fleet end to end: replicas, scrapes, recording rules and an alert, all real."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import Reference, drift
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import render
from otel_mlmon.catalog import RECONSTRUCTION_ERROR
from tests import servers

REPLICAS = 3
ROWS = 1_000
OPTIONS = RuleOptions(
    windows=("1h", "6h"), pairs=(("1h", "6h"),), interval="1s", drift_interval="1s", lookback="5s", delay="1s", time_scale=120
)
"""An hour of the rules lasts 30 s, six hours three minutes: longer than the test."""

ROUTING = {
    "route": {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"},
    "receivers": [{"name": "test", "webhook_configs": [{"url": ""}]}],
}


@dataclass(frozen=True)
class Fleet:
    """What the running fleet shows."""

    prometheus: servers.Server
    webhook: servers.Webhook
    reference: Reference
    counts: dict[str, Counter[str]]
    """What the replicas counted, added up: by feature, then bin or moment."""


@pytest.fixture(scope="module")
def reference() -> Reference:
    """What the replicas' model was trained on."""
    rng = np.random.default_rng(11)
    letters = ["a", "b", "c"]
    return Reference.build(
        {
            "calm": rng.normal(size=20_000),
            "shifted": rng.normal(size=20_000),
            "steady": rng.choice(letters, p=[0.5, 0.3, 0.2], size=20_000),
            "changed": rng.choice(letters, p=[0.5, 0.3, 0.2], size=20_000),
        },
        predictions=np.zeros(20_000, dtype=int),
    )


@pytest.fixture(scope="module", params=servers.SERIES)
def fleet(request: pytest.FixtureRequest, reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas that have counted their rows, under Prometheus, Alertmanager and a webhook."""
    series = request.param
    for name in ("prometheus", "alertmanager"):
        servers.require(name, series)
    folder = tmp_path_factory.mktemp("fleet")
    reference.save(folder / "reference.json")
    rules = []
    for name, text in render(OPTIONS).items():
        rules.append(folder / name)
        rules[-1].write_text(text, encoding="utf-8")
    with ExitStack() as opened:
        replicas = [opened.enter_context(replica(folder / "reference.json", seed)) for seed in range(REPLICAS)]
        targets = [f"127.0.0.1:{json.loads(_line(process))}" for process in replicas]
        webhook = opened.enter_context(servers.webhook())
        routing = json.loads(json.dumps(ROUTING))
        routing["receivers"][0]["webhook_configs"][0]["url"] = webhook.url
        alertmanager = opened.enter_context(servers.alertmanager(folder, routing, series=series))
        prometheus = opened.enter_context(
            servers.prometheus(folder, rules, targets, interval="1s", alertmanager=alertmanager.url, series=series)
        )
        # Of a replica that is old when it is first seen the rules count what comes after the evaluation that follows.
        until(lambda: len(prometheus.query("mlmon:replica:counted")) == 2 * REPLICAS, "both groups of rules know all replicas")
        counts: dict[str, Counter[str]] = {}
        for process in replicas:
            _tell(process)
        for process in replicas:
            for feature, bins in json.loads(_line(process)).items():
                counts.setdefault(feature, Counter()).update(bins)
        yield Fleet(prometheus, webhook, reference, counts)


@contextmanager
def replica(reference: Path, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A replica's process, ended with the block."""
    command = [sys.executable, "-m", "tests.fleet_replica", str(reference), str(seed), str(ROWS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(20)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"replica ended with status {process.poll()}"
    return line


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def until(condition: Callable[[], bool], what: str, patience: float = 60.0) -> None:
    """Ask a real server again and again until it shows what is waited for."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.1)


def _recorded(fleet: Fleet, statistic: str) -> dict[str, float]:
    """A recorded statistic by feature, once the rules have seen every row."""
    labels = 'model_name="fleet",window="6h"'

    def complete() -> bool:
        seen = fleet.prometheus.query(f"sum by (feature) (mlmon:feature_bin:count{{{labels}}})")
        return len(seen) == len(fleet.counts) and set(seen.values()) == {float(REPLICAS * ROWS)}

    until(complete, "the rules have seen every row")
    # The statistics are recorded behind the counts in the same evaluation: the next one is complete in any case.
    expression = f'mlmon:feature_drift{{{labels},baseline="training",statistic="{statistic}"}}'
    seen_at = max(fleet.prometheus.query("timestamp(mlmon:feature_bin:count)").values())

    def followed() -> bool:
        return min(fleet.prometheus.query(f"timestamp({expression})").values(), default=0.0) > seen_at

    until(followed, "a whole evaluation has followed")
    return {dict(series)["feature"]: value for series, value in fleet.prometheus.query(expression).items()}


def _pooled(fleet: Fleet, feature: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    profile = fleet.reference[feature]
    return np.array(profile.counts), np.array([fleet.counts[feature][label] for label in profile.bins])


def test_recorded_psi_is_that_of_the_pooled_counts(fleet: Fleet) -> None:
    """Rules over three replicas, and Python over their counts added up, give one number."""
    recorded = _recorded(fleet, "psi")
    expected = {feature: drift.psi(*_pooled(fleet, feature)) for feature in fleet.counts}
    assert recorded == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_recorded_wasserstein_is_that_of_the_pooled_counts(fleet: Fleet) -> None:
    """From the bins, and from the moments where the shift of the mean is larger."""
    expected = {}
    for feature in ("calm", "shifted", RECONSTRUCTION_ERROR):
        counts, weights = fleet.counts[feature], fleet.reference[feature].weights
        expected[feature] = drift.wasserstein(*_pooled(fleet, feature), weights=weights, mean_shift=counts["f"] / counts["n"] - 8)
    assert _recorded(fleet, "wasserstein") == pytest.approx(expected, rel=1e-9)


def test_only_what_has_moved_alerts_at_the_webhook(fleet: Fleet) -> None:
    """The shifted number and the changed category arrive through Alertmanager; the calm ones stay silent while those fire."""

    def drifted() -> set[str]:
        return {alert["labels"]["feature"] for alert in fleet.webhook.alerts if alert["labels"]["alertname"] == "MlmonFeatureDrift"}

    assert fleet.webhook.wait(lambda _: drifted() >= {"shifted", "changed"}, 90), fleet.webhook.alerts
    pending = {dict(series)["feature"] for series in fleet.prometheus.query('ALERTS{alertname=~"Mlmon(Feature|Prediction)Drift"}')}
    assert pending == {"shifted", "changed"}
    assert drifted() == {"shifted", "changed"}


def test_a_fleet_of_moved_inputs_raises_nothing_else(fleet: Fleet) -> None:
    """Two of four inputs have moved, so the model has; errors, latency, missing values, schema and lost rows are in order."""
    assert fleet.webhook.wait(lambda news: bool(news), 90)
    names = {dict(series)["alertname"] for series in fleet.prometheus.query("ALERTS")}
    assert {"MlmonFeatureDrift"} <= names <= {"MlmonFeatureDrift", "MlmonModelDrift", "MlmonRetrainingDue", "MlmonWatchdog"}
