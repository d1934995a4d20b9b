"""Each alert in real promtool: it fires for its reason, and any one guard that is not met keeps it silent."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from otel_mlmon.bundle.rules import ALERTS_FILE, RuleOptions, render
from tests.promql import budget_cases, cases, drift_cases, lifecycle_cases, meta_cases, quality_cases, serving_cases
from tests.promql.fleet import Replica
from tests.promql.needed import parsed
from tests.promql.promtool import expectation, failures, firing, run
from tests.servers import SERIES, require

_ALERTS = [rule for group in parsed(render(RuleOptions())[ALERTS_FILE]) for rule in group["rules"]]
_ROWS, _STILL = {"MlmonSchemaViolations"}, {"MlmonFeatureFrozen"}


def _of(*layers: str) -> set[str]:
    return {rule["alert"] for rule in _ALERTS if rule["labels"]["layer"] in layers}


@dataclass(frozen=True)
class Kind:
    """Cases that one run of promtool decides, and the alerts that they are asked for: what nobody asks for costs no time."""

    options: RuleOptions
    minutes: int
    cases: tuple[cases.Case, ...]
    alerts: set[str]
    every: str = "1m"


_SCALED = RuleOptions(
    windows=("1h", "6h", "1d"), time_scale=cases.TIME_SCALE, drift_interval="1m", max_bins=len(cases.BINS), statistics=()
)
_LAPSE = RuleOptions(
    windows=("1h", "6h", "1d"), time_scale=cases.LAPSE_SCALE, drift_interval="1m", max_bins=len(cases.BINS), statistics=()
)
_MINUTE = RuleOptions(statistics=())
"""Of the committed files, but for the statistics for eyes, on which promtool spends half of its time."""
_REAL = RuleOptions(interval="4m", lookback="8m", drift_interval="4m", statistics=())
"""Windows of real length; promtool knows one interval for all groups."""
_FEATURES, _CALLS = _of("drift", "data_quality") - _ROWS - _STILL, _of("serving", "meta") | _ROWS
KINDS = {
    "scaled": Kind(_SCALED, cases.SCALED_MINUTES, (*drift_cases.SCALED, *quality_cases.SCALED), _FEATURES),
    "scaled-calls": Kind(_SCALED, cases.SCALED_MINUTES, (*serving_cases.SCALED, *budget_cases.SCALED), _CALLS),
    "lapse": Kind(_LAPSE, cases.LAPSE_MINUTES, lifecycle_cases.LAPSE, _of("lifecycle") | {lifecycle_cases.DRIFT}),
    "lapse-still": Kind(_LAPSE, cases.LAPSE_MINUTES, lifecycle_cases.STILL, _STILL),
    "lapse-calls": Kind(_LAPSE, cases.LAPSE_MINUTES, (*budget_cases.LAPSE, *meta_cases.LAPSE), _CALLS),
    "real": Kind(_REAL, cases.MINUTES, (*drift_cases.REAL, *quality_cases.REAL), _FEATURES, every=_REAL.interval),
    "real-calls": Kind(_MINUTE, cases.MINUTES, (*quality_cases.ROWS, *serving_cases.REAL, *meta_cases.REAL), _CALLS),
}
SHORT = 60
"""Minutes in which most cases end: promtool runs them apart from the others."""


@functools.cache
def _said(which: str, length: str, series: str, folder: Path) -> str:
    """What promtool says about cases of one kind, each a model of its own."""
    kind = KINDS[which]
    asked = "=~" + "|".join(sorted(kind.alerts))
    replicas, expectations = [], []
    for case in kind.cases:
        if (case.last <= SHORT) == (length == "short"):
            replica = Replica(kind.minutes, model=case.name, **case.life)
            case.build(replica)
            replicas.append(replica)
            expectations += [firing(minute, case.name, alerts, alertname=asked) for minute, alerts in case.expected.items()]
            for minute, condition in case.holds:
                expectations.append(expectation(f"count({condition.replace('{model}', case.name)})", minute, {"{}": 1}))
    folder.mkdir()
    # Nothing is learned in less than eight days.
    without, promtool = "mlmon-history.rules", require("promtool", series)
    return run(promtool, folder, render(kind.options), replicas, expectations, without=without, every=kind.every)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    ("which", "case"),
    [pytest.param(which, case, id=f"{which}-{case.name}") for which, kind in KINDS.items() for case in kind.cases],
)
def test_alerts_fire_for_their_reason_only(
    which: str, case: cases.Case, series: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Drift needs effect, normal operation, chance, rows and persistence, and so on: any one missing keeps it silent."""
    length = "short" if case.last <= SHORT else "long"
    said = _said(which, length, series, tmp_path_factory.getbasetemp() / f"{which}-{length}-{series}")
    own = (f'model_name=\\"{case.name}\\"', f'model_name="{case.name}"')
    assert not failures(said, lambda expression: any(each in expression for each in own))


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """The cases cover what the files hold, each severity of it; those without a model have tests of their own."""
    expected = [(kind.alerts, alerts) for kind in KINDS.values() for case in kind.cases for alerts in case.expected.values()]
    for name, severity in {(rule["alert"], rule["labels"]["severity"]) for rule in _ALERTS}:
        if name not in WITHOUT_MODEL:
            fires = [any(alert[:2] == (name, severity) for alert in alerts) for asked, alerts in expected if name in asked]
            assert any(fires), f"{name}/{severity} never fires"
            assert not all(fires), f"{name}/{severity} always fires"


WITHOUT_MODEL = {"MlmonWatchdog", "MlmonRuleEvaluationFailing", "MlmonRulesSlow"}


@pytest.mark.parametrize("series", SERIES)
def test_alerts_without_a_model(series: str, tmp_path: Path) -> None:
    """What Prometheus says of its own rules, and the dead man's switch, which asks for nothing."""
    ours, worse, calm = (f"/etc/mlmon.rules.yml;mlmon-{layer}.rules" for layer in ("drift", "serving", "state"))
    theirs, foreign = "/etc/other.yml;other", []
    once, on = [0] * 20 + [1] * 20, [0] * 10 + list(range(30))
    for group, failed, takes in ((ours, once, 50), (theirs, range(40), 59), (worse, on, 20), (calm, [0] * 40, 20)):
        where = f'{{job="prometheus", instance="p", rule_group="{group}"}}'
        foreign += [
            {"series": f"prometheus_rule_evaluation_failures_total{where}", "values": " ".join(map(str, failed))},
            {"series": f"prometheus_rule_group_last_duration_seconds{where}", "values": f"{takes}x40"},
            {"series": f"prometheus_rule_group_interval_seconds{where}", "values": "60x40"},
        ]
    asked = 'ALERTS{{alertname="{}", alertstate="firing"}}'.format
    fails, slow, dog = (asked(name) for name in ("MlmonRuleEvaluationFailing", "MlmonRulesSlow", "MlmonWatchdog"))
    warned, warned_too, paged = (
        f'{{rule_group="{group}", severity="{severity}"}}'
        for group, severity in ((ours, "warning"), (worse, "warning"), (worse, "critical"))
    )
    expectations = [
        expectation(f"count({dog})", 1, {"{}": 1}),
        expectation(f"count({fails})", 9, {}),
        expectation(f"count by (rule_group, severity) ({fails})", 27, dict.fromkeys((warned, warned_too), 1)),
        expectation(f"count by (rule_group, severity) ({fails})", 39, dict.fromkeys((warned, warned_too, paged), 1)),
        expectation(f"count({slow})", 14, {}),
        expectation(f"count by (rule_group, severity) ({slow})", 27, {f'{{rule_group="{ours}", severity="warning"}}': 1}),
    ]
    assert not run(require("promtool", series), tmp_path, render(RuleOptions()), [], expectations, foreign=foreign)


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


@pytest.mark.parametrize("series", SERIES)
def test_alerts_of_others_ask_for_no_retraining(series: str, tmp_path: Path) -> None:
    """Whoever calls a layer "drift", too, starts nothing."""
    of = 'alertstate="firing", layer="drift", severity="critical", model_version="1"'
    foreign = [
        {"series": f'ALERTS{{alertname="{name}", model_name="{model}", {of}}}', "values": f"1x{cases.LAPSE_MINUTES}"}
        for name, model in ((lifecycle_cases.DRIFT, "ours"), ("TheirDrift", "theirs"))
    ]
    due = f'count by (model_name) (ALERTS{{alertname="{lifecycle_cases.DUE}", alertstate="firing"}})'
    expectations = [expectation(due, cases.LAPSE_MINUTES - 1, {'{model_name="ours"}': 1})]
    assert not run(require("promtool", series), tmp_path, render(_LAPSE), [], expectations, foreign=foreign)
