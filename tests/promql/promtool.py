"""Runs ``promtool test rules`` on cases built in Python."""

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    return expectation(f"abs(({expression}) - ({float(oracle)!r})) < bool {float(tolerance)!r}", minute, {labels: 1})


def firing(minute: int, model: str, alerts: Iterable[tuple[str, str, int]]) -> dict[str, Any]:
    """Exactly these alerts (name, severity, how many) of a model fire at a minute."""
    samples = {f'{{alertname="{name}", severity="{severity}"}}': float(times) for name, severity, times in alerts}
    return expectation(f'count by (alertname, severity) (ALERTS{{alertstate="firing", model_name="{model}"}})', minute, samples)


def failures(said: str, of: Callable[[str], bool]) -> str:
    """What promtool says of some expectations; everything if it says more: of rules that cannot be read or evaluated.

    Args:
        said: By ``run``.
        of: Tells from an expectation's expression whether it is one of them.
    """
    first, *parts = said.split("expr: ")
    if set(first.split()) - {"Unit", "Testing:", "case.yml", "FAILED:"}:
        return said
    return "".join(part for part in parts if of(part.partition(", time:")[0]))


def without(files: Mapping[str, str], group: str) -> dict[str, str]:
    """Rule files without a group: promtool evaluates every group each minute, however seldom it is evaluated otherwise."""
    parsed = {name: yaml.safe_load(text) for name, text in files.items()}
    kept = {name: {"groups": [each for each in file["groups"] if each["name"] != group]} for name, file in parsed.items()}
    return {name: yaml.safe_dump(file, width=10**6) for name, file in kept.items()}


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
