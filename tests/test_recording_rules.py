"""Recorded sums in real promtool: numpy's counts over a faulty fleet; what outlives a gap."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from otel_mlmon.bundle.rules import RuleOptions, render
from tests.promql import cases, faulty
from tests.promql.fleet import Replica
from tests.promql.promtool import expectation, run
from tests.servers import SERIES, require

_SLOW = RuleOptions(interval="4m", drift_interval="4m", lookback="8m")
"""Windows of real length; promtool knows one interval for all groups."""


@pytest.mark.parametrize("series", SERIES)
def test_fleet_sums_are_exact(series: str, tmp_path: Path) -> None:
    """Restart, vanished and late replica, failed scrapes, two versions' bins: the counts of numpy, and no NaN anywhere."""
    replicas, truth = faulty.fleet()
    options = RuleOptions(windows=("5m", "1h"), pairs=(("5m", "1h"),), previous="21m", drift_interval="1m")
    every = '{__name__=~"mlmon:.*"}'
    identity = (
        "__name__, model_name, model_version, instance, feature, bin, target, space, moment, le, window, statistic, baseline, "
        "severity, status, df"
    )
    last = faulty.MINUTES - 1  # an evaluation sees the scrape of the minute before
    expectations = [expectation(f"{every} unless on ({identity}) ({every} > -Inf < +Inf)", last, {})]  # NaN is not above -Inf
    who = 'model_name="m", model_version="{}", feature="{}", window="{}"'
    for window, length in (("5m", 5), ("1h", 60)):
        span = slice(last - length, last)
        counts = {("1", "c"): truth.colours[span].sum(), ("1", "idle"): 0}
        counts |= {(version, "x"): len(truth.rows(version, span)) for version in faulty.VERSIONS}
        for (version, feature), count in counts.items():
            total = f"mlmon:feature:count{{{who.format(version, feature, window)}}}"
            expectations.append(expectation(total, last, {total: count}))
        colours = f'mlmon:feature_bin:count{{{who.format("1", "c", window)}, bin="red"}}'
        expectations.append(expectation(colours, last, {colours: truth.colours[span, 1].sum()}))
        idle = f"mlmon:feature_drift{{{who.format('1', 'idle', window)}}}"
        expectations.append(expectation(idle, last, {}))
    calls = truth.calls[last - 60 : last].sum()
    expectations.append(expectation('sum(sum_over_time(mlmon:calls:inc{model_version="1"}[3570s]))', last, {"{}": calls}))
    said = run(require("promtool", series), tmp_path, render(options), replicas, expectations)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_a_reference_with_more_bins_than_covered_alarms_on_psi(series: str, tmp_path: Path) -> None:
    """Part of a Wasserstein distance would be too small, and the alert asleep."""
    replica = Replica(45)
    replica.traffic(60)
    replica.feature("x", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS)
    options = dataclasses.replace(_SLOW, max_bins=3)
    statistic = 'count by (statistic) (ALERTS{alertname="MlmonFeatureDrift", severity="warning", alertstate="firing"})'
    expectations = [expectation(statistic, 44, {'{statistic="psi"}': 1})]
    said = run(require("promtool", series), tmp_path, render(options), [replica], expectations, every=_SLOW.interval)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_reference_and_thresholds_outlive_a_gap_but_not_the_model(series: str, tmp_path: Path) -> None:
    """All replicas gone for ten minutes: the threshold set in code still holds. An hour and a half later nothing is left."""
    replica = Replica(100, end=40)
    replica.traffic(60)
    replica.feature("x", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS)
    replica.threshold("wasserstein", 0.7)
    kept = "mlmon:feature_drift:threshold"
    labels = '{model_name="m", model_version="1", feature="x", statistic="wasserstein", window="1h", severity="warning"}'
    expectations = [
        expectation(f'{kept}{{severity="warning", window="1h"}}', 50, {kept + labels: 0.7}),
        expectation('count({__name__=~"mlmon:(reference|threshold|model:known|feature_drift:(believable|threshold)).*"})', 140, {}),
    ]
    said = run(require("promtool", series), tmp_path, render(_SLOW), [replica], expectations, every=_SLOW.interval)
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
def test_a_restart_within_the_longest_gap_loses_nothing(series: str, tmp_path: Path) -> None:
    """Restarted, then five scrapes that fail: the first one that succeeds brings all rows since the restart."""
    replica = Replica(40, restarts=(20,), failed=range(20, 25))
    replica.traffic(10)
    rows = 'sum(sum_over_time(mlmon:predictions:inc{model_name="m"}[18m30s]))'
    # Those of minutes 20 to 38, each seen by the evaluation of the minute after.
    said = run(require("promtool", series), tmp_path, render(RuleOptions()), [replica], [expectation(rows, 39, {"{}": 190})])
    assert not said, said


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    ("every", "lost", "rows"),
    [
        ("4m", 2, 'mlmon:feature:count{window="1h"}'),
        ("20m", 2, 'sum_over_time(mlmon:feature_moment:inc{target="", space="z", moment="n"}[59m])'),
        ("30m", 22, 'sum_over_time(mlmon:feature_moment:inc{target="", space="z", moment="n"}[59m])'),
    ],
)
def test_groups_that_are_evaluated_seldom_count_every_row_but_those_before_a_restart(
    every: str, lost: int, rows: str, series: str, tmp_path: Path
) -> None:
    """Whoever vanishes, comes late or misses scrapes loses nothing; a restart what was not yet seen."""
    lives: list[dict[str, Any]] = [{}, {"end": 34}, {"restarts": (22,)}, {"begin": 25}, {"failed": (12, 13, 31)}]
    replicas = [Replica(61, instance=f"r{number}", **life) for number, life in enumerate(lives)]
    for replica in replicas:
        replica.traffic(10)
        replica.feature("x", cases.REFERENCE, [1, 2, 3, 4], weights=cases.WEIGHTS)
    # The evaluation of minute 20 saw minute 19, that of minute 0 nothing; the next one, a counter that began anew in minute 22.
    expected = 10 * (60 + 34 + (60 - lost) + 35 + 60)
    said = run(
        require("promtool", series),
        tmp_path,
        render(RuleOptions(drift_interval=every)),
        replicas,
        [expectation(f"sum({rows})", 60, {"{}": expected})],
        every=every,
    )
    assert not said, said
