"""The pictures' own evaluation of rules does what Prometheus does."""

import json
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.pictures import evaluate
from tests.pictures.remote_write import STALE, History
from tests.servers import require

MINUTE = 60_000


@pytest.mark.parametrize(("hold", "keep"), [(0, 0), (3, 0), (0, 4), (3, 4)])
def test_an_alert_fires_when_prometheus_lets_it_fire(hold: int, keep: int, tmp_path: Path) -> None:
    """``for`` and ``keep_firing_for`` over an expression that comes and goes; promtool is the oracle."""
    rng = random.Random(hold * 10 + keep)
    on = [run % 2 == 0 for run in range(20) for _ in range(rng.randint(1, 8))][:60]
    held = [minute * MINUTE for minute, one in enumerate(on) if one]
    states = evaluate._states(held, MINUTE, hold * MINUTE, keep * MINUTE, 59 * MINUTE)
    firing = {now // MINUTE for now, _, state in states if state == "firing"}
    assert 0 < len(firing) < 60
    rule = {"alert": "A", "expr": "x > 0", "for": f"{hold}m", "keep_firing_for": f"{keep}m"}
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    cases = [
        {"eval_time": f"{minute}m", "alertname": "A", "exp_alerts": [{"exp_labels": {}}] if minute in firing else []}
        for minute in range(60)
    ]
    test = {"interval": "1m", "input_series": [{"series": "x", "values": " ".join(str(int(one)) for one in on)}]}
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test | {"alert_rule_test": cases}]}
    (tmp_path / "test.yml").write_text(json.dumps(document))
    told = subprocess.run(
        [require("promtool"), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_series_that_become_one_are_written_as_one() -> None:
    """``a or b`` gives a at some times and b at others; recorded, both are c. Then c has ended."""
    rule = evaluate.Rule("g", 1, {"record": "c", "expr": "a or b"})
    results = [
        History({"__name__": "a"}, np.array([12, 13]), np.array([2.0, 3.0])),
        History({"__name__": "b"}, np.array([10, 11, 15]), np.array([0.0, 1.0, 5.0])),
    ]
    (one,) = evaluate._records(rule, results, 16)
    assert one.labels == {"__name__": "c"}
    assert one.times.tolist() == [10, 11, 12, 13, 14, 15, 16]
    assert one.values.view(np.uint64)[[4, 6]].tolist() == [STALE.view(np.uint64)] * 2
    assert one.values[[0, 1, 2, 3, 5]].tolist() == [0, 1, 2, 3, 5]
