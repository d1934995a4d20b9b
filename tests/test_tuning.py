"""Alerts replayed on recorded values: as Prometheus fires them."""

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import ALERTS_FILE, render
from otel_mlmon.commands import tune
from otel_mlmon.demo.stack import Series
from otel_mlmon.tuning import Waits, episodes, firing, propose
from tests import servers

STEP = 5
STEPS = 240
WAITS = Waits(hold=2, keep=12)


def _walk(seed: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Values that cross 0.5 for spells around both waiting times."""
    rng = np.random.default_rng(seed)
    spells = rng.choice([1, 2, 3, 4, 11, 12, 13, 14, 20], size=STEPS)
    levels = np.tile([0.2, 0.8], STEPS // 2)
    return np.repeat(levels, spells)[:STEPS]


@pytest.mark.parametrize("series", servers.SERIES)
def test_an_alert_fires_when_promtool_says(series: Series, tmp_path: Path) -> None:
    """At each of 240 evaluations of four random alerts, with spells on both sides of ``for`` and ``keep_firing_for``."""
    promtool = servers.require("promtool", series)
    walks = {f"w{seed}": _walk(seed) for seed in range(4)}
    rule = {"alert": "A", "expr": "x > 0.5", "for": f"{WAITS.hold * STEP}m", "keep_firing_for": f"{WAITS.keep * STEP}m"}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}), encoding="utf-8")
    expected = {name: firing(values > 0.5, WAITS) for name, values in walks.items()}
    assert all(0 < fires.sum() < STEPS for fires in expected.values())
    cases = [
        {
            "expr": 'count by (walk) (ALERTS{alertstate="firing"})',
            "eval_time": f"{STEP * step}m",
            "exp_samples": [{"labels": f'{{walk="{name}"}}', "value": 1} for name, fires in expected.items() if fires[step]],
        }
        for step in range(STEPS)
    ]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{STEP}m",
        "tests": [
            {
                "interval": f"{STEP}m",
                "input_series": [
                    {"series": f'x{{walk="{name}"}}', "values": " ".join(map(str, values))} for name, values in walks.items()
                ],
                "promql_expr_test": cases,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    ran = subprocess.run([promtool, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2_000:]


def test_the_waiting_times_are_those_of_the_drift_alerts() -> None:
    """As the shipped file has them."""
    groups = yaml.safe_load(render(RuleOptions())[ALERTS_FILE])["groups"]
    rules = [rule for group in groups for rule in group["rules"] if rule["alert"] in ("MlmonFeatureDrift", "MlmonPredictionDrift")]
    assert {(rule["for"], rule["keep_firing_for"]) for rule in rules} == {(tune.WAIT, tune.KEEP)}


def test_episodes_are_counted_by_their_beginnings() -> None:
    """One that is there at the first step counts, and one that never ends is one."""
    assert episodes(np.ones(5, dtype=bool), Waits(0, 0)) == 1
    assert episodes(np.ones(5, dtype=bool), Waits(5, 0)) == 0
    assert episodes(np.array([1, 0, 1, 0, 0, 1], dtype=bool), Waits(0, 1)) == 2
    assert episodes(np.zeros(0, dtype=bool), Waits(0, 0)) == 0


@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_proposal_is_the_lowest_above_which_all_are_quiet_enough(seed: int, most: int) -> None:
    """Found again by trying every hundredth."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(-1.5, 0.3, 500)).clip(0.1, 0.99)
    values[rng.integers(0, 500, 20)] = np.nan
    waits = Waits(hold=1, keep=3)
    known = np.nan_to_num(values)
    grid = [number / 100 for number in range(10, 101)]
    quiet = [episodes(known > threshold, waits) <= most for threshold in grid]
    good = [threshold for number, threshold in enumerate(grid) if all(quiet[number:])]
    found = propose(values, waits, most=most, least=0.1)
    assert found == pytest.approx(good[0])


def test_a_threshold_that_never_lets_go_is_not_proposed() -> None:
    """At 0.1 the alert fires once, all the time; that is what the default is, and why it is not enough to count episodes there."""
    values = 0.3 + 0.1 * np.tile([0.0, 1.0], 300)
    waits = Waits(hold=0, keep=0)
    assert episodes(values > 0.1, waits) == 1
    assert propose(values, waits, most=1, least=0.1) == 0.4


def test_the_least_is_kept_as_it_is() -> None:
    """A default of many digits stays what it is, and nothing to see needs no more."""
    assert propose(np.full(3, np.nan), Waits(0, 0), most=0, least=0.123) == 0.123
    assert propose(np.array([0.12, 0.124]), Waits(0, 0), most=1, least=0.123) == 0.123


@pytest.mark.parametrize("greatest", [*itertools.chain((0.33, 0.1 + 0.2, 1.0, 9.95, 12.0, 0.0123, 99.9)), np.nextafter(0.33, 1)])
def test_no_alarm_is_possible_even_at_the_very_greatest(greatest: float) -> None:
    """Rounding goes upwards, on numbers that two digits say exactly, too."""
    found = propose(np.array([greatest]), Waits(0, 0), most=0, least=0.01)
    assert greatest <= found <= greatest * 1.1
