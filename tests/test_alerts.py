"""Each alert in real promtool: it fires for its reason, and any one guard that is not met keeps it silent."""

import functools
from pathlib import Path

import numpy as np
import pytest
import yaml

from otel_mlmon import catalog
from otel_mlmon.bundle.rules import ALERTS_FILE, RECORDING_FILE, RuleOptions, render
from tests.promql import cases
from tests.promql.fleet import Replica
from tests.promql.promtool import expectation, firing, run
from tests.servers import SERIES, require

COMMITTED = Path(__file__).parent.parent / "alert_rules"
SCALED = RuleOptions(windows=("1h", "6h", "1d"), time_scale=cases.TIME_SCALE, max_bins=len(cases.BINS))


@functools.cache
def _verdict(series: str, folder: Path, which: str) -> str:
    """All cases of one kind in one run of promtool, each a model of its own."""
    scaled = which == "scaled"
    files = (
        render(SCALED)
        if scaled
        else {name: (COMMITTED / name).read_text(encoding="utf-8") for name in (RECORDING_FILE, ALERTS_FILE)}
    )
    replicas, expectations = [], []
    for case in cases.SCALED_CASES if scaled else cases.REAL_TIME_CASES:
        replica = Replica(cases.SCALED_MINUTES if scaled else cases.MINUTES, model=case.name, **case.life)
        case.build(replica)
        replicas.append(replica)
        expectations += [firing(minute, case.name, alerts) for minute, alerts in case.expected.items()]
        for minute, condition in case.holds:
            expectations.append(expectation(f"count({condition.replace('{model}', case.name)})", minute, {"{}": 1}))
    folder.mkdir()
    return run(require("promtool", series), folder, files, replicas, expectations)


def _failures(said: str, model: str) -> str:
    parts = said.split("expr: ")[1:]
    return "".join(part for part in parts if f'model_name=\\"{model}\\"' in part or f'model_name="{model}"' in part)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("case", cases.SCALED_CASES, ids=lambda case: case.name)
def test_alerts_fire_in_time_lapse(case: cases.Case, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Drift needs effect, normal operation, chance, rows and persistence: any one missing keeps it silent."""
    assert not _failures(_verdict(series, tmp_path_factory.getbasetemp() / f"drift-{series}", "scaled"), case.name)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("case", cases.REAL_TIME_CASES, ids=lambda case: case.name)
def test_alerts_fire_for_their_reason_only(case: cases.Case, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The committed files, each case a model of its own."""
    assert not _failures(_verdict(series, tmp_path_factory.getbasetemp() / f"real-{series}", "real"), case.name)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """The cases cover what the files hold, each severity of it."""
    rules = [rule for group in yaml.safe_load((COMMITTED / ALERTS_FILE).read_text())["groups"] for rule in group["rules"]]
    expected = [alerts for case in (*cases.SCALED_CASES, *cases.REAL_TIME_CASES) for alerts in case.expected.values()]
    for name, severity in {(rule["alert"], rule["labels"]["severity"]) for rule in rules}:
        assert any((name, severity) in alerts for alerts in expected), f"{name}/{severity} never fires"
        assert any((name, severity) not in alerts for alerts in expected), f"{name}/{severity} always fires"


@pytest.mark.parametrize("series", SERIES)
def test_a_model_of_office_hours_may_sleep(series: str, tmp_path: Path) -> None:
    """From the second night on silence is usual then, and so is a late morning; silence at noon is not."""
    day = 72  # minutes of the case, of which 24 are office hours
    open_at = [20 <= minute % day < 44 for minute in range(3 * day)]
    rows = np.where(open_at, 60.0, 0.0)
    rows[2 * day + 20 : 2 * day + 22] = 0  # two thirds of an hour late
    rows[2 * day + 32 :] = 0
    replica = Replica(3 * day, model="office")
    replica.traffic(rows)
    expectations = [firing(minute, "office", cases.NONE) for minute in (day + 50, day + 60, 2 * day + 10, 2 * day + 22)]
    expectations.append(firing(2 * day + 38, "office", cases.alerts("MlmonNoTraffic", cases.WARNING)))
    options = RuleOptions(windows=("1h", "6h", "1d"), time_scale=20)
    assert not run(require("promtool", series), tmp_path, render(options), [replica], expectations)


@pytest.mark.parametrize("series", SERIES)
def test_annotations_read_well(series: str, tmp_path: Path) -> None:
    """Everything goes wrong at once: each text in full, templates expanded."""
    replica = Replica(115, model="m m")
    replica.traffic([20.0] * 40 + [0.0] * 75, failed=10, durations={"0.5": 10, "9.5": 10, "+Inf": 0})
    replica.feature("a b", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS, missing=120)
    replica.feature(catalog.SCORE, cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS)
    replica.counter(catalog.SCHEMA_VIOLATIONS, 5, check="width")
    replica.counter(catalog.ROWS_DROPPED, 20, reason="queue_full")
    who = "m m 1"
    spans = "over 6h and still the last 1h or 1d and still the last 6h"
    distance = (
        "Its distance from the training data (wasserstein) is 0.800 {spans}: "
        "more than the {severity} threshold, normal operation and chance explain."
    )
    drift = {"statistic": "wasserstein", "layer": "drift"}
    texts: dict[str, tuple[int, dict[str, str], str, str]] = {
        "MlmonFeatureDrift": (60, drift | {"feature": "a b"}, f"Feature a b of {who} has drifted.", distance),
        "MlmonPredictionDrift": (60, drift | {"feature": catalog.SCORE}, f"Outputs (@score) of {who} have drifted.", distance),
        "MlmonFeatureMissing": (
            60,
            {"feature": "a b", "layer": "data_quality"},
            f"Feature a b of {who} is missing more often than in training.",
            "Over 6h 0.500 more of its values are missing than in training, and still in the last 1h.",
        ),
        "MlmonSchemaViolations": (
            30,
            {"check": "width", "layer": "data_quality"},
            f"Rows sent to {who} break its schema (width).",
            "A share of 0.250 of the rows of the last 1h fails the check width.",
        ),
        "MlmonRowsDropped": (
            30,
            {"reason": "queue_full", "layer": "meta"},
            f"Rows of {who} go uncounted (queue_full).",
            "A share of 0.500 of the rows of the last 1h was dropped before it was counted: statistics rest on the remainder.",
        ),
        "MlmonErrorRatioHigh": (
            30,
            {"layer": "serving"},
            f"Calls of {who} fail.",
            "A share of 0.333 of the calls of the last 1h raised, and the last 5m is no better.",
        ),
        "MlmonLatencyHigh": (
            30,
            {"layer": "serving"},
            f"{who} answers slowly.",
            "The 99th percentile of its calls' duration is 9.320 s over 5m.",
        ),
        "MlmonNoTraffic": (
            110,
            {"layer": "serving"},
            f"{who} is up but predicts nothing.",
            "No row was predicted in the last 1h, after 1900 calls in the last 1d.",
        ),
    }
    alerts = []
    for name, (minute, labels, summary, description) in texts.items():
        expected = []
        for severity in cases.WARNING if name == "MlmonNoTraffic" else cases.BOTH:
            board = "drift" if labels["layer"] == "drift" else "overview"
            query = "var-model_name=m+m&var-model_version=1"
            if "feature" in labels:
                query += "&var-feature=" + labels["feature"].replace(" ", "+").replace("@", "%40")
            annotations = {
                "summary": summary,
                "description": description.format(spans=spans, severity=severity),
                "runbook_url": f"https://github.com/otel-mlmon/otel-mlmon/blob/main/alert_rules/runbooks.md#{name.lower()}",
                "dashboard_url": f"https://grafana.example.org/d/mlmon-{board}?{query}",
            }
            shown = {"model_name": "m m", "model_version": "1", "severity": severity, **labels}
            if labels["layer"] == "drift" and severity == "critical":
                shown["action"] = "retrain"
            expected.append({"exp_labels": shown, "exp_annotations": annotations})
        alerts.append({"eval_time": f"{minute}m", "alertname": name, "exp_alerts": expected})
    said = run(require("promtool", series), tmp_path, render(RuleOptions()), [replica], [], alerts)
    assert not said, said
