"""What people read of each alert, in full: labels, texts and addresses, templates expanded by real promtool."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_mlmon import catalog
from otel_mlmon.bundle.names import selector
from otel_mlmon.bundle.rules import ALERTS_FILE, RuleOptions, render
from otel_mlmon.thresholds import BURN_RATES
from tests.promql import cases
from tests.promql.fleet import Replica
from tests.promql.needed import parsed
from tests.promql.promtool import run
from tests.promql.troubled import SCALE, foreign, troubled
from tests.servers import SERIES, require

_ALERTS = [rule for group in parsed(render(RuleOptions())[ALERTS_FILE]) for rule in group["rules"]]
_BOARDS = {"serving": "model", "data_quality": "data-quality", "drift": "drift", "lifecycle": "model", "meta": "meta"}
_WHO = "m m 1"
_DISTANCE = (
    "Its distance from the training data ({statistic}) is {value} over 6h (and still the last 1h) or 1d (and still the last 6h): "
    "more than the {{severity}} threshold, normal operation and chance explain."
)
_MOVED = _DISTANCE.format(statistic="wasserstein", value="0.800")
_COLOURED = _DISTANCE.format(statistic="psi", value="1.767")

Text = tuple[str, int, dict[str, str], str, str]
"""Alert, minute, labels beyond the severity, summary, description."""


def _of(layer: str, feature: str = "", model: str = "m m", version: str = "1", **labels: str) -> dict[str, str]:
    own = {"model_name": model, "model_version": version, "feature": feature, "layer": layer, **labels}
    return {label: value for label, value in own.items() if value}


_FEATURES: tuple[Text, ...] = (
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
    *(
        (
            "MlmonErrorBudgetBurn",
            12,
            _of("serving", model=model),
            f"Calls of {model} 1 fail: its error budget is running out.",
            f"It is spent {burn} times as fast as it may be over {{spans}}.",
        )
        for model, burn in (("m m", "33.3"), ("down", "99.0"))
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
    (
        "MlmonModelDown",
        12,
        _of("serving", model="down"),
        "down 1 is down: nearly every call fails.",
        "A share of 0.990 of the calls of the last 5m raised.",
    ),
)
_RULES = {"job": "prometheus", "instance": "p", "rule_group": "mlmon-drift.rules"}
_DRIFTS = [
    {"series": selector("ALERTS", alertstate="firing", alertname=name, **_of("drift", severity="critical")), "values": "1x39"}
    for name in ("MlmonFeatureDrift", "MlmonModelDrift")
]
_AGED = {"model": "old", "version": "1"}
_WIDE: tuple[Text, ...] = (
    (
        "MlmonFeatureFrozen",
        35,
        _of("data_quality", "f", model="still"),
        "Feature f of still 1 has stopped varying.",
        "All its values of the last 1h are the same; in 90% or more of the hours of the last days they were not.",
    ),
    ("MlmonModelStale", 10, _of("lifecycle", **_AGED), "old 1 was trained long ago.", "Its training ended 10d 0h 10m 0s ago."),
    (
        "MlmonReferenceStale",
        10,
        _of("lifecycle", model="old", version="2"),
        "old 2 is compared with an old reference.",
        "Its reference was built 10d 0h 10m 0s ago: drift is measured from what was usual then.",
    ),
    *(
        (
            "MlmonReferenceMissing",
            30,
            _of("lifecycle", model="old", version=version, severity="warning"),
            f"The reference of old {version} is missing.",
            "Nobody exports the reference's counts: drift is not measured, although this version, or another one of the last day, "
            "has a reference.",
        )
        for version in ("1", "2")
    ),
    (
        "MlmonReferenceMissing",
        30,
        _of("lifecycle", model="down", severity="info"),
        "down 1 has no reference.",
        "Nobody exports the reference's counts: drift is not measured.",
    ),
    (
        "MlmonVersionSkew",
        10,
        _of("lifecycle", model="old", version=""),
        "Several versions of old serve at the same time.",
        "2 of them have 5% or more of the rows of the last 1h each.",
    ),
    (
        "MlmonRetrainingDue",
        39,
        _of("lifecycle", **_AGED, action="retrain", cause="age"),
        "Time to retrain old 1: it is too old.",
        "Its training ended 10d 0h 39m 0s ago.",
    ),
    (
        "MlmonRetrainingDue",
        39,
        _of("lifecycle", action="retrain", cause="drift"),
        f"Time to retrain {_WHO}: it keeps drifting.",
        "Critical alerts on its drift, now 2 of them, have fired for 12 hours.",
    ),
    (
        "MlmonWatchdog",
        1,
        _of("meta", model="", version="", severity="none"),
        "Alerting works.",
        "This alert always fires. Where it no longer arrives, no other one does.",
    ),
    (
        "MlmonTargetDown",
        10,
        _of("meta", version="", severity="warning", job="mlmon", instance="a"),
        "A target of m m cannot be scraped.",
        "a (job mlmon) exported it within the last 1d.",
    ),
    (
        "MlmonTargetDown",
        10,
        _of("meta", version="", severity="critical"),
        "No target of m m can be scraped.",
        "All 1 that are known are down: nothing is measured.",
    ),
    (
        "MlmonMetricsAbsent",
        14,
        _of("meta", model="gone", version=""),
        "gone has vanished from the monitoring.",
        "Within the last 1d it exported metrics; now no replica does, and that is not usual.",
    ),
    (
        "MlmonInternalErrors",
        10,
        _of("meta", where="rows"),
        f"The monitor of {_WHO} has caught errors of its own (rows).",
        "About 16 in the last 15m. The model is not touched; what the monitor sees may be incomplete.",
    ),
    (
        "MlmonExportFailing",
        10,
        _of("meta"),
        f"{_WHO} cannot export its metrics over OTLP.",
        "A share of 1.000 of the exports of the last 15m failed.",
    ),
    ("MlmonCardinalityHigh", 10, _of("meta"), f"A process of {_WHO} exposes very many series.", "It exposes 30000 of them."),
    (
        "MlmonRuleEvaluationFailing",
        10,
        _of("meta", model="", version="", **_RULES),
        "Rules of mlmon-drift.rules cannot be evaluated.",
        "About 12 evaluations failed in the last 15m: what rests on them cannot alarm.",
    ),
    (
        "MlmonRulesSlow",
        10,
        _of("meta", model="", version="", **_RULES),
        "Rules of mlmon-drift.rules take nearly as long as their interval.",
        "Evaluation takes a share of 0.917 of it; beyond 1 evaluations are left out.",
    ),
)


def _severities(name: str) -> list[str]:
    return sorted({rule["labels"]["severity"] for rule in _ALERTS if rule["alert"] == name})


def _annotated(name: str, labels: dict[str, str], severity: str, summary: str, description: str) -> dict[str, Any]:
    query = "&".join(
        f"var-{label}={labels[label].replace(' ', '+').replace('@', '%40')}"
        for label in ("model_name", "model_version", "feature")
        if label in labels
    )
    spans = " or ".join(f"{slow} (and still the last {fast})" for _, slow, fast in BURN_RATES.get(severity, ()))
    annotations = {
        "summary": summary,
        "description": description.format(severity=severity, spans=spans),
        "runbook_url": f"https://github.com/otel-mlmon/otel-mlmon/blob/main/alert_rules/runbooks.md#{name.lower()}",
        "dashboard_url": f"https://grafana.example.org/d/mlmon-{_BOARDS[labels['layer']]}" + (f"?{query}" if query else ""),
    }
    return {"exp_labels": {"severity": severity, **labels}, "exp_annotations": annotations}


def _expected(texts: Sequence[Text]) -> list[dict[str, Any]]:
    expected: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for name, minute, labels, summary, description in texts:
        for severity in [labels["severity"]] if "severity" in labels else _severities(name):
            expected.setdefault((name, minute), []).append(_annotated(name, labels, severity, summary, description))
    return [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": alerts} for (name, minute), alerts in expected.items()]


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    ("texts", "scale", "without"),
    [(_FEATURES, SCALE, ""), (_WIDE, cases.LAPSE_SCALE, "mlmon-drift.alerts")],  # where drift is told, not computed
    ids=["features", "wide"],
)
def test_annotations_read_well(texts: Sequence[Text], scale: int, without: str, series: str, tmp_path: Path) -> None:
    """Each alert's text in full."""
    rules = render(RuleOptions(time_scale=scale, drift_interval="1m", statistics=()))
    told = [*foreign(), *_DRIFTS] if without else foreign()
    said = run(require("promtool", series), tmp_path, rules, troubled(), [], _expected(texts), without=without, foreign=told)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_a_model_without_a_version_is_named(series: str, tmp_path: Path) -> None:
    """Prometheus drops a label that is empty; the dashboard opens on none."""
    replica = Replica(20, version="")
    replica.traffic(0, failed=100)
    name, labels = "MlmonModelDown", {"severity": "critical", "layer": "serving", "model_name": "m"}
    annotations = {
        "summary": "m is down: nearly every call fails.",
        "description": "A share of 1.000 of the calls of the last 5m raised.",
        "runbook_url": f"{RuleOptions().runbook_base}#{name.lower()}",
        "dashboard_url": f"{RuleOptions().dashboard_base}/d/mlmon-model?var-model_name=m&var-model_version=",
    }
    expected = [{"exp_labels": labels, "exp_annotations": annotations}]
    told = [{"eval_time": "15m", "alertname": name, "exp_alerts": expected}]
    said = run(require("promtool", series), tmp_path, render(RuleOptions(statistics=())), [replica], [], told)
    assert not said, said


def test_every_alert_has_its_text_tested() -> None:
    """A new alert must be read once before it is sent to anyone."""
    assert {rule["alert"] for rule in _ALERTS} == {text[0] for text in (*_FEATURES, *_WIDE)}


def test_addresses_are_those_that_were_asked_for() -> None:
    """Grafana's may end with a slash, as a browser shows it."""
    for base in ("https://g.example.org/grafana", "https://g.example.org/grafana/"):
        options = RuleOptions(runbook_base="https://wiki.example.org/mlmon", dashboard_base=base)
        for rule in (rule for group in parsed(render(options)[ALERTS_FILE]) for rule in group["rules"]):
            notes = rule["annotations"]
            assert notes["runbook_url"] == f"https://wiki.example.org/mlmon#{rule['alert'].lower()}"
            assert notes["dashboard_url"].startswith("https://g.example.org/grafana/d/mlmon-")
