"""Runs ``promtool test rules`` on cases built in Python."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.promql.fleet import Replica


def expectation(expression: str, minute: int, samples: Mapping[str, float]) -> dict[str, Any]:
    """An instant query at a minute gives exactly these samples ({labels: value})."""
    expected = [{"labels": labels, "value": float(value)} for labels, value in samples.items()]
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected}


def close(expression: str, oracle: float, minute: int, labels: str, tolerance: float = 1e-12) -> dict[str, Any]:
    """An expression gives this one number; promtool of 2.42 knows only equality."""
    return expectation(f"abs(({expression}) - ({float(oracle)!r})) < bool {tolerance!r}", minute, {labels: 1})


def firing(minute: int, model: str, alerts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Exactly these alerts (name, severity) of a model fire at a minute."""
    samples = {f'{{alertname="{name}", severity="{severity}"}}': 1.0 for name, severity in alerts}
    return expectation(f'count by (alertname, severity) (ALERTS{{alertstate="firing", model_name="{model}"}})', minute, samples)


def run(
    promtool: Path,
    folder: Path,
    rules: Mapping[str, str],
    replicas: Sequence[Replica],
    expectations: Sequence[dict[str, Any]],
    alerts: Sequence[dict[str, Any]] = (),
) -> str:
    """What promtool says of the expectations that are not met; empty if all are."""
    for name, text in rules.items():
        (folder / name).write_text(text, encoding="utf-8")
    case = {
        "rule_files": list(rules),
        "group_eval_order": [group["name"] for text in rules.values() for group in yaml.safe_load(text)["groups"]],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [series for replica in replicas for series in replica.series],
                "promql_expr_test": list(expectations),
                "alert_rule_test": list(alerts),
            }
        ],
    }
    path = folder / "case.yml"
    path.write_text(yaml.safe_dump(case, width=10**6), encoding="utf-8")
    command: list[str | Path] = [promtool, "test", "rules", path.name]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    said = ran.stdout + ran.stderr
    assert (ran.returncode == 0) == ("FAILED" not in said), said
    return said if ran.returncode else ""
