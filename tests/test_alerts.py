"""Each alert in real promtool: it fires for its reason, and any one guard that is not met keeps it silent."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from otel_mlmon import catalog
from otel_mlmon.bundle.rules import ALERTS_FILE, RuleOptions, render
from tests.promql import cases, drift_cases, quality_cases, serving_cases
from tests.promql.fleet import Replica
from tests.promql.promtool import expectation, failures, firing, run
from tests.servers import SERIES, require

COMMITTED = Path(__file__).parent.parent / "alert_rules"
SCALED = RuleOptions(windows=("1h", "6h", "1d"), time_scale=cases.TIME_SCALE, max_bins=len(cases.BINS), statistics=())
REAL = RuleOptions(statistics=())
"""Of the committed files, but for the statistics for eyes, on which promtool spends half of its time."""
SCALED_CASES = (*drift_cases.SCALED, *quality_cases.SCALED, *serving_cases.SCALED)
REAL_TIME_CASES = (*drift_cases.REAL, *quality_cases.REAL, *serving_cases.REAL)
SHORT = 60
"""Minutes in which most cases end: promtool runs them apart from the others."""


def _verdict(case: cases.Case, which: str, series: str, factory: pytest.TempPathFactory) -> str:
    """What promtool says about one case."""
    length = "short" if case.last <= SHORT else "long"
    said = _said(which, length, series, factory.getbasetemp() / f"{which}-{length}-{series}")
    own = (f'model_name=\\"{case.name}\\"', f'model_name="{case.name}"')
    return failures(said, lambda expression: any(each in expression for each in own))


@functools.cache
def _said(which: str, length: str, series: str, folder: Path) -> str:
    """What promtool says about cases of one kind, each a model of its own."""
    options, minutes, some = {
        "scaled": (SCALED, cases.SCALED_MINUTES, SCALED_CASES),
        "real": (REAL, cases.MINUTES, REAL_TIME_CASES),
    }[which]
    replicas, expectations = [], []
    for case in some:
        if (case.last <= SHORT) == (length == "short"):
            replica = Replica(minutes, model=case.name, **case.life)
            case.build(replica)
            replicas.append(replica)
            expectations += [firing(minute, case.name, alerts) for minute, alerts in case.expected.items()]
            for minute, condition in case.holds:
                expectations.append(expectation(f"count({condition.replace('{model}', case.name)})", minute, {"{}": 1}))
    folder.mkdir()
    # Nothing is learned in less than eight days.
    return run(require("promtool", series), folder, render(options), replicas, expectations, without="mlmon-history.rules")


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("case", SCALED_CASES, ids=lambda case: case.name)
def test_alerts_fire_in_time_lapse(case: cases.Case, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Drift needs effect, normal operation, chance, rows and persistence: any one missing keeps it silent."""
    assert not _verdict(case, "scaled", series, tmp_path_factory)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("case", REAL_TIME_CASES, ids=lambda case: case.name)
def test_alerts_fire_for_their_reason_only(case: cases.Case, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the windows and waiting times of the committed files."""
    assert not _verdict(case, "real", series, tmp_path_factory)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """The cases cover what the files hold, each severity of it."""
    rules = [rule for group in yaml.safe_load((COMMITTED / ALERTS_FILE).read_text())["groups"] for rule in group["rules"]]
    expected = [alerts for case in (*SCALED_CASES, *REAL_TIME_CASES) for alerts in case.expected.values()]
    for name, severity in {(rule["alert"], rule["labels"]["severity"]) for rule in rules}:
        fires = [any(alert[:2] == (name, severity) for alert in alerts) for alerts in expected]
        assert any(fires), f"{name}/{severity} never fires"
        assert not all(fires), f"{name}/{severity} always fires"


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
    expectations = [
        firing(minute, "office", cases.NONE, layer="serving") for minute in (day + 50, day + 60, 2 * day + 10, 2 * day + 22)
    ]
    expectations.append(firing(2 * day + 38, "office", cases.alerts("MlmonNoTraffic", cases.WARNING), layer="serving"))
    options = RuleOptions(windows=("1h", "6h", "1d"), time_scale=20)
    assert not run(require("promtool", series), tmp_path, render(options), [replica], expectations)


TEXTS = RuleOptions(time_scale=5)
"""All that the committed files hold, five times as fast."""


def _troubled() -> Replica:
    """Everything goes wrong at once."""
    replica = Replica(34, model="m m")
    replica.traffic([100.0] * 14 + [0.0] * 20, failed=50, durations={"0.5": 10, "9.5": 10, "+Inf": 0})
    for name in ("a b", catalog.SCORE, catalog.LABEL, catalog.RECONSTRUCTION_ERROR):
        bad = 120.0 if name == "a b" else 0.0
        replica.feature(name, cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS, missing=bad)
    replica.counter(catalog.FEATURE_OUT_OF_RANGE, 30, feature="a b")
    replica.feature("c", cases.COLOURS, [30, 30, 20, 10, 30])
    replica.counter(catalog.FEATURE_INVALID, 120, feature="c", reason="category")
    drift_cases.correlate(replica, "a b", 0, rows=120.0)
    replica.counter(catalog.SCHEMA_VIOLATIONS, 25, check="width")
    replica.counter(catalog.ROWS_DROPPED, 100, reason="queue_full")
    return replica


_WHO = "m m 1"
_DISTANCE = (
    "Its distance from the training data ({statistic}) is {value} over 6h (and still the last 1h) or 1d (and still the last 6h): "
    "more than the {{severity}} threshold, normal operation and chance explain."
)
_MOVED = _DISTANCE.format(statistic="wasserstein", value="0.800")
_COLOURED = _DISTANCE.format(statistic="psi", value="1.767")


def _of(layer: str, feature: str = "", **labels: str) -> dict[str, str]:
    return {"layer": layer, **({"feature": feature} if feature else {}), **labels}


_TEXTS: tuple[tuple[str, int, dict[str, str], str, str], ...] = (
    ("MlmonFeatureDrift", 24, _of("drift", "a b", statistic="wasserstein"), f"Feature a b of {_WHO} has drifted.", _MOVED),
    ("MlmonFeatureDrift", 24, _of("drift", "c", statistic="psi"), f"Feature c of {_WHO} has drifted.", _COLOURED),
    (
        "MlmonPredictionDrift",
        24,
        _of("drift", catalog.SCORE, statistic="wasserstein"),
        f"Outputs (@score) of {_WHO} have drifted.",
        _MOVED,
    ),
    ("MlmonLabelDrift", 24, _of("drift", catalog.LABEL, statistic="wasserstein"), f"Labels of {_WHO} have drifted.", _MOVED),
    (
        "MlmonMultivariateDrift",
        24,
        _of("drift", catalog.RECONSTRUCTION_ERROR, statistic="wasserstein"),
        f"Inputs of {_WHO} no longer vary together as in training.",
        _MOVED,
    ),
    (
        "MlmonModelDrift",
        24,
        _of("drift"),
        f"Many features of {_WHO} have drifted.",
        "A share of 1.000 of those that may alarm is over the {severity} threshold in 6h (and still the last 1h) or 1d (and still "
        "the last 6h).",
    ),
    (
        "MlmonConceptDrift",
        24,
        _of("drift", "a b", target=catalog.SCORE),
        f"Feature a b of {_WHO} is related to @score otherwise than in training.",
        "Their correlation has shifted by 0.549 (Fisher's z) over 6h (and still the last 1h) or 1d (and still the last 6h): more "
        "than the {severity} threshold, normal operation and chance explain.",
    ),
    (
        "MlmonFeatureMissing",
        24,
        _of("data_quality", "a b"),
        f"Feature a b of {_WHO} is missing more often than in training.",
        "Over 6h 0.500 more of its values are missing than in training, and still in the last 1h.",
    ),
    (
        "MlmonFeatureInvalid",
        24,
        _of("data_quality", "c"),
        f"Values of feature c of {_WHO} break the schema.",
        "Over 6h a share of 0.500 of its values has a wrong type or is not allowed, and still in the last 1h.",
    ),
    (
        "MlmonFeatureOutOfRange",
        24,
        _of("data_quality", "a b"),
        f"Feature a b of {_WHO} leaves the range of its training data.",
        "Over 6h a share of 0.250 of its values is outside what training had, and still in the last 1h.",
    ),
    (
        "MlmonNewCategory",
        24,
        _of("data_quality", "c"),
        f"Feature c of {_WHO} has more new categories than its training data lets expect.",
        "Over 6h 0.250 more of its values are in categories that training did not have, and still in the last 1h.",
    ),
    (
        "MlmonSchemaViolations",
        12,
        _of("data_quality", check="width"),
        f"Rows sent to {_WHO} break its schema (width).",
        "A share of 0.250 of the rows of the last 1h fails the check width.",
    ),
    (
        "MlmonRowsDropped",
        12,
        _of("meta", reason="queue_full"),
        f"Rows of {_WHO} go uncounted (queue_full).",
        "A share of 0.500 of the rows of the last 1h was dropped before it was counted: statistics rest on the remainder.",
    ),
    (
        "MlmonErrorRatioHigh",
        12,
        _of("serving"),
        f"Calls of {_WHO} fail.",
        "A share of 0.333 of the calls of the last 1h raised, and the last 5m is no better.",
    ),
    (
        "MlmonLatencyHigh",
        12,
        _of("serving"),
        f"{_WHO} answers slowly.",
        "The 99th percentile of its calls' duration is 9.320 s over 5m.",
    ),
    (
        "MlmonNoTraffic",
        32,
        _of("serving"),
        f"{_WHO} is up but predicts nothing.",
        "No row was predicted in the last 1h, after 3000 calls in the last 1d.",
    ),
)
"""Alert, minute, further labels, summary, description."""


def _annotated(name: str, labels: dict[str, str], severity: str, summary: str, description: str) -> dict[str, Any]:
    board = "drift" if labels["layer"] == "drift" else "overview"
    query = "var-model_name=m+m&var-model_version=1"
    if "feature" in labels:
        query += "&var-feature=" + labels["feature"].replace(" ", "+").replace("@", "%40")
    shown = {"model_name": "m m", "model_version": "1", "severity": severity, **labels}
    if labels["layer"] == "drift" and severity == "critical":
        shown["action"] = "retrain"
    annotations = {
        "summary": summary,
        "description": description.format(severity=severity),
        "runbook_url": f"https://github.com/otel-mlmon/otel-mlmon/blob/main/alert_rules/runbooks.md#{name.lower()}",
        "dashboard_url": f"https://grafana.example.org/d/mlmon-{board}?{query}",
    }
    return {"exp_labels": shown, "exp_annotations": annotations}


@pytest.mark.parametrize("series", SERIES)
def test_annotations_read_well(series: str, tmp_path: Path) -> None:
    """Each alert's text in full, templates expanded."""
    expected: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for name, minute, labels, summary, description in _TEXTS:
        for severity in cases.WARNING if name == "MlmonNoTraffic" else cases.BOTH:
            expected.setdefault((name, minute), []).append(_annotated(name, labels, severity, summary, description))
    alerts = [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": annotated} for (name, minute), annotated in expected.items()
    ]
    said = run(require("promtool", series), tmp_path, render(TEXTS), [_troubled()], [], alerts)
    assert not said, said


def test_every_alert_has_its_text_tested() -> None:
    """A new alert must be read once before it is sent to anyone."""
    groups = yaml.safe_load((COMMITTED / ALERTS_FILE).read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == {text[0] for text in _TEXTS}
