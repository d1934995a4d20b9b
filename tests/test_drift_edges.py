"""Drift where it is easily wrong, on real Prometheus over real monitors: the right numbers or no series, never a false alarm."""

import functools
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from scipy import stats

from otel_mlmon import Reference
from otel_mlmon.bundle.options import STATISTICS, RuleOptions, milliseconds
from otel_mlmon.bundle.rules import render
from tests import servers
from tests.fleet_models import Columns, Model
from tests.test_fleet import until

OPTIONS = RuleOptions(
    windows=("1h", "6h"),
    pairs=(("1h", "6h"),),
    interval="6s",
    drift_interval="6s",
    lookback="30s",
    delay="2s",
    time_scale=30,
    statistics=STATISTICS,
)
"""An hour of the rules lasts two minutes, six hours twelve: longer than the test, so that both hold every row."""

REPLICAS = 8
LETTERS = ("a", "b", "c")
SHARES = (0.5, 0.3, 0.2)


def _numbers(rows: int, seed: int, shift: float = 0.0) -> Columns:
    return {"x": (np.random.default_rng(seed).normal(size=rows) + shift).tolist()}


def _letters(rows: int, seed: int, letters: tuple[str, ...] = LETTERS, shares: tuple[float, ...] = SHARES) -> Columns:
    return {"c": np.random.default_rng(seed).choice(letters, p=shares, size=rows).tolist()}


def _learned(rows: Columns) -> Reference:
    return Reference.build({name: np.array(values) for name, values in rows.items()})


NUMBERS = _learned(_numbers(20_000, seed=1))
BOTH = {**_numbers(20_000, seed=1), **_letters(20_000, seed=2)}


def _scored(rows: int, seed: int) -> tuple[Columns, list[float]]:
    """Rows and scores that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    columns = {"x": x.tolist(), "y": rng.gamma(2.0, size=rows).tolist(), **_letters(rows, seed)}
    return columns, (1 / (1 + np.exp(-x - rng.normal(size=rows)))).tolist()


def _scored_reference() -> Reference:
    rows, scores = _scored(20_000, seed=3)
    columns = {name: np.array(values) for name, values in rows.items()}
    return Reference.build(columns, task="binary", predictions=np.array(scores))


@dataclass(frozen=True, repr=False)
class Edges:
    """What was fed to the models, and what a server has recorded of it.

    Attributes:
        recorded: Every recorded series once all rows were counted, as (sorted labels, value).
        ever: Every value that any of them ever had.
        alerts: (model, version, alert, feature) that were ever pending or firing.
        fired: Those that fired.
    """

    models: dict[str, Model]
    recorded: dict[tuple[tuple[str, str], ...], float]
    ever: dict[str, set[str]]
    alerts: set[tuple[str, ...]]
    fired: set[tuple[str, ...]]

    def series(self, model: str, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Recorded series of a version that have some labels: by their further labels."""
        one = self.models[model]
        wanted = {"model_name": one.name, "model_version": one.version, **labels}.items()
        return {
            tuple(label for label in series if label not in wanted): value
            for series, value in self.recorded.items()
            if wanted <= set(series)
        }

    def drift(self, model: str, feature: str) -> dict[str, float]:
        """Distances from the training data by statistic."""
        found = self.series(model, __name__="mlmon:feature_drift", feature=feature, baseline="training", window="6h")
        return {dict(labels)["statistic"]: value for labels, value in found.items()}

    def alerting(self, model: str) -> set[tuple[str, ...]]:
        """Alerts of a version with their features."""
        one = self.models[model]
        return {alert[2:] for alert in self.alerts if alert[:2] == (one.name, one.version)}


def _models() -> dict[str, Model]:
    constant = _learned({"x": [4.0] * 5_000})
    coarse = _learned({"x": (np.arange(5_000) % 3).astype(float).tolist()})
    scored = _scored_reference()
    return {
        "empty": Model("empty", NUMBERS),
        "unseen": Model("unseen", _learned(_letters(20_000, seed=2))),
        "idle": Model("idle", _learned(BOTH)),
        "constant": Model("constant", constant),
        "moved": Model("moved", constant),
        "tiny": Model("tiny", _learned(BOTH)),
        "restarted": Model("restarted", NUMBERS),
        "vanished": Model("vanished", NUMBERS, replicas=2),
        "fine": Model("versions", NUMBERS, version="fine"),
        "coarse": Model("versions", coarse, version="coarse"),
        "one": Model("one", scored),
        "eight": Model("eight", scored, replicas=REPLICAS),
    }


def _feed(models: dict[str, Model]) -> None:
    """What is fed while every replica is up."""
    models["empty"].feed({"x": [0.01] * 400})
    models["unseen"].feed(_letters(600, 5, (*LETTERS, "d", "e"), (0.4, 0.25, 0.15, 0.1, 0.1)))
    models["idle"].feed({**_letters(600, 6), "x": [None] * 600})
    models["constant"].feed({"x": [4.0] * 600})
    models["moved"].feed({"x": [4.0] * 300 + [9.0] * 300})
    models["tiny"].feed({"x": [50.0, 60.0], "c": ["z", "z"]})
    models["restarted"].feed(_numbers(500, seed=17))
    models["vanished"].feed(_numbers(500, seed=8), number=0)
    models["vanished"].feed(_numbers(500, seed=9), number=1)
    models["fine"].feed(_numbers(600, seed=10))
    models["coarse"].feed({"x": (np.arange(600) % 3).astype(float).tolist()})
    rows, scores = _scored(1_600, seed=11)
    models["one"].feed(rows, scores)
    for number in range(REPLICAS):
        part = slice(number, None, REPLICAS)
        models["eight"].feed({name: values[part] for name, values in rows.items()}, scores[part], number=number)


def _counted(prometheus: servers.Server, models: dict[str, Model]) -> bool:
    """Whether the rules have seen every value of every model."""
    seen = prometheus.query('sum by (model_name, model_version) (mlmon:feature:count{window="6h", feature=~"[a-z]"})')
    fed = {
        (one.name, one.version): float(sum(len(one.values(name)) for name in one.reference.schema.names)) for one in models.values()
    }
    return {(dict(labels)["model_name"], dict(labels)["model_version"]): value for labels, value in seen.items()} == fed


def _evaluated(prometheus: servers.Server, since: float) -> bool:
    """Whether every group but the rare one of the history has been evaluated since a time, in full."""
    groups = prometheus.get("/api/v1/rules")["data"]["groups"]
    often = [group for group in groups if group["interval"] <= milliseconds(OPTIONS.pace) / 1000]
    assert len(often) > 2
    return all(datetime.fromisoformat(group["lastEvaluation"][:19] + "+00:00").timestamp() > since for group in often)


@pytest.fixture(scope="module", params=servers.SERIES)
def edges(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Edges:
    """Every model fed, one restarted, one of two replicas gone; all rows counted, and whole evaluations behind them."""
    series = request.param
    servers.require("prometheus", series)
    folder = tmp_path_factory.mktemp("edges")
    rules = []
    for name, text in render(OPTIONS).items():
        rules.append(folder / name)
        rules[-1].write_text(text, encoding="utf-8")
    models = _models()
    targets = [target for model in models.values() for target in model.targets]
    with ExitStack() as opened:
        for model in models.values():
            opened.callback(model.stop)
            model.start()
        prometheus = opened.enter_context(servers.prometheus(folder, rules, targets, interval=OPTIONS.interval, series=series))
        known = 'mlmon:replica:counted{group="drift"}'
        until(lambda: len(prometheus.query(known)) == len(targets), "the rules know all replicas")
        _feed(models)
        until(lambda: _counted(prometheus, models), "the rules have seen the rows")
        models["restarted"].stop()
        models["restarted"].start()
        models["restarted"].feed(_numbers(400, seed=12))
        models["vanished"].stop(1)
        models["vanished"].feed(_numbers(300, seed=13))
        until(lambda: _counted(prometheus, models), "the rules have seen the rows after that")
        for what in ("all groups have followed", "what they recorded is held"):
            last = prometheus.query("vector(time())")[()] + milliseconds(OPTIONS.interval) / 1000
            until(functools.partial(_evaluated, prometheus, last), what)
        recorded = prometheus.query('{__name__=~"mlmon:.+"}')
        history = prometheus.get("/api/v1/query", {"query": '{__name__=~"mlmon:.+"}[10m]'})["data"]["result"]
        by = "model_name, model_version, alertname, feature"
        alerts = prometheus.query(f'count by ({by}) (count_over_time(ALERTS{{layer!="lifecycle"}}[10m]))')
        firing = prometheus.query(f'count by ({by}) (count_over_time(ALERTS{{layer!="lifecycle", alertstate="firing"}}[10m]))')
    ever: dict[str, set[str]] = {}
    for each in history:
        ever.setdefault(each["metric"]["__name__"], set()).update(value for _, value in each["values"])
    names = ("model_name", "model_version", "alertname", "feature")
    raised, fired = ({tuple(dict(labels).get(name, "") for name in names) for labels in found} for found in (alerts, firing))
    return Edges(models, recorded, ever, raised, fired)


def _psi(reference: Any, current: Any) -> float:
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (current, reference))
    return float(stats.entropy(p, q) + stats.entropy(q, p))


def _distances(model: Model, feature: str) -> dict[str, float]:
    """SciPy on the counts of all replicas together."""
    reference, current = model.pooled(feature)
    p, q = current / current.sum(), reference / reference.sum()
    found = {"psi": _psi(reference, current), "total_variation": np.abs(p - q).sum() / 2, "l_infinity": np.abs(p - q).max()}
    profile = model.reference[feature]
    if profile.weights:
        places = np.concatenate(([0.0], np.cumsum(profile.weights)))
        z = np.clip((np.array(model.values(feature)) - profile.mean) / profile.std, -8, 8)
        found["wasserstein"] = max(stats.wasserstein_distance(places, places, current, reference), abs(z.mean()))
        found["ks"] = np.abs(np.cumsum(p - q)).max()
    return found


def _assert_right(edges: Edges, model: str, feature: str) -> None:
    recorded, expected = edges.drift(model, feature), _distances(edges.models[model], feature)
    assert {name: recorded.get(name) for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_nothing_recorded_is_ever_nan_or_infinite(edges: Edges) -> None:
    """At no evaluation: before the first row, while replicas come and go, with empty bins and features."""
    assert len(edges.ever) > 30
    assert not {name: values for name, values in edges.ever.items() if values & {"NaN", "+Inf", "-Inf"}}


def test_empty_bins(edges: Edges) -> None:
    """All values in one bin of ten."""
    _assert_right(edges, "empty", "x")
    assert ("MlmonFeatureDrift", "x") in edges.alerting("empty")


def test_unseen_categories(edges: Edges) -> None:
    """They are one bin, which the reference has empty."""
    _assert_right(edges, "unseen", "c")
    fed = edges.models["unseen"].values("c")
    share = edges.series("unseen", __name__="mlmon:feature_unseen:ratio", feature="c", window="6h")
    assert share == {(): pytest.approx(sum(value in "de" for value in fed) / len(fed))}
    assert {alert for alert, _ in edges.alerting("unseen")} == {"MlmonFeatureDrift", "MlmonNewCategory"}


def test_a_feature_without_traffic_has_no_drift(edges: Edges) -> None:
    """It is null where none is allowed, that is all; its neighbour is as before."""
    assert edges.drift("idle", "x") == {}
    _assert_right(edges, "idle", "c")
    assert edges.alerting("idle") == {("MlmonFeatureMissing", "x"), ("MlmonSchemaViolations", "")}


def test_a_constant_feature_that_stays_constant(edges: Edges) -> None:
    """Its deviation is 0, its weights are none, its distance is what half a count a bin makes of it."""
    _assert_right(edges, "constant", "x")
    assert not edges.alerting("constant")


def test_a_constant_feature_that_moves(edges: Edges) -> None:
    """Half of its values are elsewhere."""
    _assert_right(edges, "moved", "x")
    assert edges.alerting("moved") == {("MlmonFeatureDrift", "x"), ("MlmonFeatureOutOfRange", "x")}


def test_a_handful_of_rows_alarms_nobody(edges: Edges) -> None:
    """However far away they are."""
    _assert_right(edges, "tiny", "x")
    _assert_right(edges, "tiny", "c")
    assert edges.drift("tiny", "x")["wasserstein"] > 1
    assert not edges.alerting("tiny")


def test_a_restart_loses_nothing_and_alarms_nobody(edges: Edges) -> None:
    """The rows of both lives count."""
    _assert_right(edges, "restarted", "x")
    assert not edges.alerting("restarted")


def test_a_vanished_replica_leaves_its_rows(edges: Edges) -> None:
    """What it had counted stays in the windows."""
    _assert_right(edges, "vanished", "x")
    assert not edges.alerting("vanished")


def test_versions_with_different_bins_stay_apart(edges: Edges) -> None:
    """One feature of one name: quantiles in one version, three values in the other."""
    assert len(edges.models["fine"].reference["x"].bins) != len(edges.models["coarse"].reference["x"].bins)
    for version in ("fine", "coarse"):
        _assert_right(edges, version, "x")
        assert not edges.alerting(version)


def test_the_same_rows_over_eight_replicas_give_the_same_statistics(edges: Edges) -> None:
    """Fleet-wide means it: each recorded series of one replica, with its value."""
    # They depend on when replicas started, on how fast, and on rows a call.
    of_time = {"mlmon:model:covered_ratio", "mlmon:call_duration:p99", "mlmon:calls:count", "mlmon:calls:inc"}
    one, eight = (
        {
            labels: value
            for labels, value in edges.series(model).items()
            if dict(labels)["__name__"] not in of_time and "instance" not in dict(labels)
        }
        for model in ("one", "eight")
    )
    assert {"mlmon:feature_drift", "mlmon:feature:statistic", "mlmon:feature_correlation"} <= {dict(key)["__name__"] for key in one}
    assert eight.keys() ^ one.keys() == set()
    assert eight == pytest.approx(one, rel=1e-9, abs=1e-9)
    # Between the scrapes of two replicas an evaluation sees some of the rows: of one in nine such parts the score has drifted.
    assert not edges.alerting("one")
    assert "eight" not in {model for model, *_ in edges.fired}
