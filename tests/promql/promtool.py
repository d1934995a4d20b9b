"""Runs ``promtool test rules`` on cases built in Python."""

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from otel_mlmon.bundle.names import selector
from tests.promql.fleet import Replica
from tests.promql.needed import Group, needed, parsed


def expectation(expression: str, minute: int, samples: Mapping[str, float]) -> dict[str, Any]:
    """An instant query at a minute gives exactly these samples ({labels: value})."""
    expected = [{"labels": labels, "value": float(value)} for labels, value in samples.items()]
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected}


def close(expression: str, oracle: float, minute: int, labels: str, tolerance: float = 1e-12) -> dict[str, Any]:
    """An expression gives this one number; promtool of 2.42 knows only equality."""
    return expectation(f"abs(({expression}) - ({float(oracle)!r})) < bool {float(tolerance)!r}", minute, {labels: 1})


def firing(minute: int, model: str, alerts: Iterable[tuple[str, str, int]], **of: str) -> dict[str, Any]:
    """Exactly these alerts (name, severity, how many) of a model fire at a minute: of all, or of those with some labels.

    Labels are written as ``names.selector`` reads them.
    """
    samples = {f'{{alertname="{name}", severity="{severity}"}}': float(times) for name, severity, times in alerts}
    own = selector("ALERTS", alertstate="firing", model_name=model, **of)
    return expectation(f"count by (alertname, severity) ({own})", minute, samples)


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


def run(
    promtool: Path,
    folder: Path,
    rules: Mapping[str, str],
    replicas: Sequence[Replica],
    expectations: Sequence[dict[str, Any]],
    alerts: Sequence[dict[str, Any]] = (),
    without: str = "",
    every: str = "1m",
    foreign: Sequence[dict[str, str]] = (),
) -> str:
    """What promtool says of the expectations that are not met; empty if all are.

    Args:
        promtool: The program.
        folder: To write into.
        rules: Rule files: text by name. What neither an expectation nor an alert reads is left out: it takes time, no more.
        replicas: What they expose.
        expectations: Of queries.
        alerts: Expectations of alerts.
        without: A group that is left out all the same.
        every: Time between evaluations, whatever the groups say.
        foreign: Series that are not ours.
    """
    questions = [*(one["expr"] for one in expectations), *(f'ALERTS{{alertname="{one["alertname"]}"}}' for one in alerts)]
    groups = [group for text in rules.values() for group in parsed(text) if group["name"] != without]
    tests = {
        "interval": "1m",
        "input_series": [*(series for replica in replicas for series in replica.series), *foreign],
        "promql_expr_test": list(expectations),
        "alert_rule_test": list(alerts),
    }
    left = needed(groups, questions)
    for group in left:
        # An increment since the previous evaluation would be counted more than once, or less.
        paced = [rule["record"] for rule in group["rules"] if rule.get("record", "").endswith(":inc")]
        assert not paced or group["interval"] == every, (
            f"{group['name']} is evaluated each {group['interval']}, not {every}: {paced}"
        )
    return ask(promtool, folder, left, tests, every=every)


def ask(promtool: Path, folder: Path, groups: Sequence[Group], tests: Mapping[str, Any], *, every: str = "") -> str:
    """What promtool says of tests; empty if all are met. Unless told otherwise, their interval is the evaluations', too."""
    case = {
        "rule_files": ["rules.yml"],
        "group_eval_order": [group["name"] for group in groups],
        "evaluation_interval": every or tests["interval"],
        "tests": [tests],
    }
    for name, content in (("rules.yml", {"groups": groups}), ("case.yml", case)):
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")  # which is YAML, and written in no time
    command: list[str | Path] = [promtool, "test", "rules", "case.yml"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    said = ran.stdout + ran.stderr
    assert (ran.returncode == 0) == ("FAILED" not in said), said
    return said if ran.returncode else ""
