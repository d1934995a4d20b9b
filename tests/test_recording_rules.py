"""Recorded sums and statistics in real promtool: numpy's counts over a faulty fleet, SciPy's statistics on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from otel_mlmon import catalog
from otel_mlmon.bundle.rules import RuleOptions, render
from tests.promql import cases
from tests.promql.fleet import Replica
from tests.promql.promtool import close, expectation, run
from tests.servers import SERIES, require


def _fleet(minutes: int) -> tuple[list[Replica], dict[str, Any]]:
    """Two versions with different bins; replicas that restart, vanish, come late and miss scrapes; and their true increments."""
    rng = np.random.default_rng(5)
    three = ("00 (-inf, 0)", "01 [0, 9)", "02 [9, inf)")
    truth: dict[str, Any] = {
        "1": np.zeros((minutes, 4)),
        "2": np.zeros((minutes, 3)),
        "c": np.zeros((minutes, 3)),
        "calls": np.zeros(minutes),
    }
    lives: list[dict[str, Any]] = [
        {},
        {"restarts": (20, 47)},
        {"end": 33},
        {"begin": 25},
        {"failed": (12, 13, 31, 50)},
        {"failed": (0, 21, 22), "restarts": (21,)},
    ]
    replicas = []
    for number, life in enumerate([*lives, {}]):
        version = "2" if number == len(lives) else "1"
        replica = Replica(minutes, version=version, instance=f"r{number}", **life)
        alive = np.zeros((minutes, 1))
        alive[life.get("begin", 0) : life.get("end", minutes)] = 1
        bins, weights = (three, (1.5, 0.5)) if version == "2" else (cases.BINS, (0.7, 0.9, 1.3))
        rows = rng.integers(0, 30, (minutes, len(bins))) * np.linspace(1, 3, minutes)[:, None].round()
        replica.feature(
            "x",
            dict(zip(bins, (300, 200, 100, 50), strict=False)),
            rows,
            weights=weights,
            mean_shift=0.9 if version == "2" else 0.25,
        )
        calls = rng.integers(0, 9, minutes)
        replica.traffic(calls)
        truth[version] += rows * alive
        if version == "1":
            colours = rng.integers(0, 5, (minutes, 3)) * [1, 1, 0]
            replica.feature("c", {"blue": 70, "red": 30, catalog.UNSEEN: 0}, colours)
            replica.feature("idle", {"blue": 70, catalog.UNSEEN: 0}, [0, 0])
            truth["c"] += colours * alive
            truth["calls"] += calls * alive[:, 0]
        replicas.append(replica)
    return replicas, truth


def _psi(reference: Any, current: Any) -> float:
    p, q = ((np.asarray(counts) + 0.5) / (np.asarray(counts) + 0.5).sum() for counts in (current, reference))
    return float(stats.entropy(p, q) + stats.entropy(q, p))


def _wasserstein(reference: Any, current: Any, weights: Any) -> float:
    places = np.concatenate([[0.0], np.cumsum(weights)])
    return float(stats.wasserstein_distance(places, places, current, reference))


@pytest.mark.parametrize("series", SERIES)
def test_fleet_sums_and_statistics_are_exact(series: str, tmp_path: Path) -> None:
    """Restart, vanished and late replica, failed scrapes, two versions' bins: the counts of numpy, the statistics of SciPy."""
    minutes = 66
    replicas, truth = _fleet(minutes)
    options = RuleOptions(windows=("5m", "1h"), pairs=(("5m", "1h"),), previous="20m")
    model = 'model_name="m", model_version="{}", feature="{}"'
    every = '{__name__=~"mlmon:.*"}'
    identity = "__name__, model_name, model_version, instance, feature, bin, moment, window, statistic, baseline, severity, status"
    expectations = [expectation(f"{every} unless on ({identity}) ({every} > -Inf < +Inf)", 65, {})]  # NaN is not above -Inf
    last = 65  # an evaluation sees the scrape of the minute before
    sums = {window: slice(last - length, last) for window, length in (("5m", 5), ("1h", 60))}
    for window, span in sums.items():
        before = slice(max(span.start - 20, 0), span.stop - 20)
        for version, feature, key, reference, weights in (
            ("1", "x", "1", (300, 200, 100, 50), (0.7, 0.9, 1.3)),
            ("2", "x", "2", (300, 200, 100), (1.5, 0.5)),
            ("1", "c", "c", (70, 30, 0), ()),
        ):
            who = model.format(version, feature)
            current, previous = truth[key][span].sum(axis=0), truth[key][before].sum(axis=0)
            total = f'mlmon:feature:count{{{who}, window="{window}"}}'
            expectations.append(expectation(total, last, {total: current.sum()}))
            for baseline, counts in (("training", reference), ("previous", previous)):
                labels = f'{who}, window="{window}", baseline="{baseline}", statistic="{{}}"'
                psi = "{" + labels.format("psi") + "}"
                expectations.append(close("mlmon:feature_drift" + psi, _psi(counts, current), last, psi))
                if weights:
                    distance = _wasserstein(counts, current, weights)
                    if baseline == "training":
                        distance = max(distance, 0.9 if version == "2" else 0.25)
                    w = "{" + labels.format("wasserstein") + "}"
                    expectations.append(close("mlmon:feature_drift" + w, distance, last, w))
                both = 1 / current.sum() + 1 / np.sum(counts)
                chance = "{" + labels.format("wasserstein" if weights else "psi") + "}"
                floor = 1.9 * both**0.5 if weights else 15 * both
                expectations.append(close("mlmon:feature_drift:noise" + chance, floor, last, chance))
        idle = "{" + model.format("1", "idle") + f', window="{window}"}}'
        expectations.append(expectation("mlmon:feature_drift" + idle, last, {}))
        expectations.append(expectation("mlmon:feature:count" + idle, last, {"mlmon:feature:count" + idle: 0}))
    calls = truth["calls"][sums["1h"]].sum()
    expectations.append(expectation('sum(sum_over_time(mlmon:calls:inc{model_version="1"}[3570s]))', last, {"{}": calls}))
    said = run(require("promtool", series), tmp_path, render(options), replicas, expectations)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_a_reference_with_more_bins_than_covered_alarms_on_psi(series: str, tmp_path: Path) -> None:
    """Part of a Wasserstein distance would be too small, and the alert asleep."""
    replica = Replica(45)
    replica.traffic(60)
    replica.feature("x", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS)
    options = RuleOptions(max_bins=3, windows=("1h", "6h", "1d"))
    statistic = 'count by (statistic) (ALERTS{alertname="MlmonFeatureDrift", severity="warning", alertstate="firing"})'
    expectations = [expectation(statistic, 44, {'{statistic="psi"}': 1})]
    said = run(require("promtool", series), tmp_path, render(options), [replica], expectations)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_reference_and_thresholds_outlive_a_gap_but_not_the_model(series: str, tmp_path: Path) -> None:
    """All replicas gone for ten minutes: the threshold set in code still holds. An hour later nothing of the model is left."""
    replica = Replica(100, end=40)
    replica.traffic(60)
    replica.feature("x", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS)
    replica.threshold("wasserstein", 0.7)
    kept = "mlmon:feature_drift:threshold"
    labels = '{model_name="m", model_version="1", feature="x", statistic="wasserstein", window="1h", severity="warning"}'
    expectations = [
        expectation(f'{kept}{{severity="warning", window="1h"}}', 50, {kept + labels: 0.7}),
        expectation('count({__name__=~"mlmon:(reference|threshold|model:known|feature_drift:(believable|threshold)).*"})', 110, {}),
    ]
    expectations.append(expectation("mlmon:reference_bin:count", 105, {}))
    said = run(require("promtool", series), tmp_path, render(RuleOptions()), [replica], expectations)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_a_restart_within_the_longest_gap_loses_nothing(series: str, tmp_path: Path) -> None:
    """Restarted, then five scrapes that fail: the first one that succeeds brings all rows since the restart."""
    replica = Replica(40, restarts=(20,), failed=range(20, 25))
    replica.traffic(10)
    rows = 'sum(sum_over_time(mlmon:predictions:inc{model_name="m"}[18m30s]))'
    # Those of minutes 20 to 38, each seen by the evaluation of the minute after.
    said = run(require("promtool", series), tmp_path, render(RuleOptions()), [replica], [expectation(rows, 39, {"{}": 190})])
    assert not said, said
