"""The evaluation's alerts are Prometheus's: real flights, hour by hour, through the rules: which feature fires when."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import catalog
from otel_mlmon.bundle.rules import RuleOptions, render
from otel_mlmon.thresholds import SEVERITIES
from tests.eval import traffic
from tests.eval.columns import Floats
from tests.eval.ours import Heard, Watch, firing, model_drift, watches
from tests.eval.peers import Bools
from tests.promql.fleet import Replica
from tests.promql.promtool import expectation, run
from tests.servers import SERIES, require

OPTIONS = RuleOptions(windows=("1h", "6h", "1d"), time_scale=60, statistics=())
"""An hour of flights is a minute: one evaluation. Statistics for eyes are left out, for speed."""

KEEP = 6
"""Evaluations in ``keep_firing_for`` at that pace; ``for`` is less than one."""

FEATURES = ("hour", "carrier", "temp", "precip")
DAYS = (200, 201, 38)
"""Days of the year that are served: two of summer, the model new, then one of a week held back: the blizzard of 8 February."""

MODELS = {"timestamps": True, "plain": False}
"""Model -> whether its reference is calibrated."""


@dataclass(frozen=True)
class Served:
    """A model and what it served.

    Attributes:
        watching: Its features.
        counted: Per feature the counts by hour and bin, and the sums of standardised values by hour.
        rows: By hour.
    """

    watching: list[Watch]
    counted: list[tuple[Floats, Floats]]
    rows: Floats

    @property
    def hours(self) -> int:
        return len(self.rows)

    def heard(self) -> dict[str, Heard]:
        """What the evaluation says, by feature."""
        return {
            watch.profile.feature: watch.hear(one, 0, self.hours) for watch, one in zip(self.watching, self.counted, strict=True)
        }


@pytest.fixture(scope="module")
def served() -> dict[str, Served]:
    """Against a reference of the other weeks."""
    year = traffic.Year.load()
    train = np.zeros(10_000, dtype=bool)
    train[: traffic.WINTER_HOURS] = True
    train[35 * 24 : 42 * 24] = False
    reference = year.reference(train)
    hours = np.concatenate([np.arange(day * 24, (day + 1) * 24) for day in DAYS])
    chosen = [
        (column, groups[hours]) for column, groups in zip(year.population, year.groups, strict=True) if column.name in FEATURES
    ]
    rows = np.bincount(year.hours, minlength=len(year.groups[0]))[hours].astype(np.float64)
    found = {}
    for model, calibrated in MODELS.items():
        watching = watches(reference, [column for column, _ in chosen], calibrated=calibrated)
        counted = [watch.counted(groups) for watch, (_, groups) in zip(watching, chosen, strict=True)]
        found[model] = Served(watching, counted, rows)
    return found


def _replica(model: str, served: Served) -> Replica:
    """What an exporter would show, an hour a minute, and one minute more: an evaluation sees the minute before."""
    replica = Replica(served.hours + 1, model=model)
    replica.traffic(np.append(served.rows, 0))
    for watch, (counts, sums) in zip(served.watching, served.counted, strict=True):
        profile, grows = watch.profile, np.pad(counts, ((0, 1), (0, 0)))
        levels = {(statistic, window): level for statistic, by in profile.thresholds.items() for window, level in by.items()}
        replica.feature(
            profile.feature, dict(zip(profile.bins, profile.counts, strict=True)), grows, noise=profile.noise, levels=levels
        )
        for label, weight in zip(profile.bins, profile.weights, strict=False):
            replica.gauge(catalog.REFERENCE_BIN_WEIGHT, weight, feature=profile.feature, bin=label)
        if profile.weights:
            where = {"feature": profile.feature, "target": "", "space": "z"}
            replica.counter(catalog.FEATURE_MOMENT, grows.sum(axis=1), moment="n", **where)
            replica.counter(catalog.FEATURE_MOMENT, np.append(sums, 0) + 8 * grows.sum(axis=1), moment="f", **where)
    return replica


def _states(holds: Bools, hour: int) -> Iterator[str]:
    fires = firing(holds, wait=1, keep=KEEP)[hour]
    yield from (state for state, one in (("firing", fires), ("pending", holds[hour] and not fires)) if one)


def _expectations(model: str, heard: dict[str, Heard], hour: int) -> Iterator[dict[str, Any]]:
    """What the evaluation a minute later must show: of each feature, and of the model."""
    features = {
        f'{{alertstate="{state}", feature="{name}", severity="{severity}"}}': 1.0
        for name, one in heard.items()
        for severity, holds in one.holds.items()
        for state in _states(holds, hour)
    }
    query = 'count by (alertstate, feature, severity) (ALERTS{{alertname="MlmonFeatureDrift", model_name="{}"}})'
    yield expectation(query.format(model), hour + 1, features)
    models = {
        f'{{alertstate="{state}", severity="{severity}"}}': 1.0
        for severity in SEVERITIES
        for state in _states(
            model_drift([one.holds[severity] for one in heard.values()], [one.could for one in heard.values()], severity=severity),
            hour,
        )
    }
    query = 'count by (alertstate, severity) (ALERTS{{alertname="MlmonModelDrift", model_name="{}"}})'
    yield expectation(query.format(model), hour + 1, models)


@pytest.mark.parametrize("series", SERIES)
def test_python_says_what_prometheus_fires(served: dict[str, Served], series: str, tmp_path: Path) -> None:
    """Each feature, severity and state at every minute, with timestamps and without."""
    heard = {model: one.heard() for model, one in served.items()}
    holding = {model: {name for name, said in some.items() if said.holds["warning"].any()} for model, some in heard.items()}
    assert "temp" in holding["timestamps"] < holding["plain"] < set(FEATURES)
    expectations = [
        expected
        for model, some in heard.items()
        for hour in range(served[model].hours)
        for expected in _expectations(model, some, hour)
    ]
    replicas = [_replica(model, one) for model, one in served.items()]
    said = run(require("promtool", series), tmp_path, render(OPTIONS), replicas, expectations)
    assert not said, said
