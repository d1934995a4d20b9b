"""The frozen view of one process: its numbers are the store's, its drift is SciPy's."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from otel_mlmon import drift
from otel_mlmon.catalog import PREDICTION, SCORE
from otel_mlmon.feature import Feature
from otel_mlmon.judge import judge
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Threshold
from otel_mlmon.snapshot import MonitorSnapshot
from tests.counts import QUIET

RNG = np.random.default_rng(21)
ROWS = 2000
TRAINING = pd.DataFrame(
    {
        "x": RNG.gamma(2, 3, ROWS).clip(max=30),
        "c": RNG.choice(["a", "b", "c"], ROWS),
        "k": np.ones(ROWS),
        "gone": np.full(ROWS, np.nan),
    }
)
SCHEMA = Schema((Feature("x"), Feature("c", kind="categorical"), Feature("k"), Feature("gone")))
REFERENCE = Reference.build(TRAINING, schema=SCHEMA, predictions=RNG.random(ROWS), task="binary")
CURRENT = pd.DataFrame(
    {"x": RNG.gamma(2, 4, 500).clip(max=30), "c": RNG.choice(["a", "b", "new"], 500), "k": np.ones(500), "gone": np.ones(500)}
)


def snapshots(*calls: tuple[Any, Any]) -> list[MonitorSnapshot]:
    """One before the calls and one after each."""
    with Monitor("model", version="1", reference=REFERENCE, settings=QUIET) as monitor:
        taken = [monitor.snapshot()]
        for features, prediction in calls:
            monitor.observe(features, prediction)
            assert monitor.flush()
            taken.append(monitor.snapshot())
        return taken


@pytest.mark.parametrize("feature", ["x", "c"])
def test_psi_is_scipys_symmetric_entropy_of_the_counts(feature: str) -> None:
    found = snapshots((CURRENT, None))[1].features[feature]
    counts = np.array(list(found.counts.values()))
    assert list(found.counts) == list(REFERENCE[feature].bins)
    p, q = ((side + 0.5) / (side + 0.5).sum() for side in (np.array(REFERENCE[feature].counts), counts))
    assert found.psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-12)
    assert found.psi == drift.psi(REFERENCE[feature].counts, counts)
    assert found.psi > 0.05


def test_wasserstein_is_scipys_over_the_means_of_the_bins() -> None:
    """SciPy moves the bins' reference means; the shift of the means is below that here, so it does not decide."""
    profile = REFERENCE["x"]
    found = snapshots((CURRENT, None))[1].features["x"]
    which = np.searchsorted(profile.edges, TRAINING["x"], side="right")
    means = TRAINING["x"].groupby(which).mean().to_numpy() / profile.std
    distance = stats.wasserstein_distance(means, means, np.array(profile.counts), np.array(list(found.counts.values())))
    shift = (CURRENT["x"].mean() - profile.mean) / profile.std
    assert found.wasserstein == pytest.approx(max(distance, abs(shift)), rel=1e-9)
    assert found.wasserstein == drift.wasserstein(
        profile.counts, np.array(list(found.counts.values())), weights=profile.weights, mean_shift=found.mean_shift
    )


def test_the_mean_is_numpys() -> None:
    found = snapshots((CURRENT, None))[1].features["x"]
    assert found.mean == pytest.approx(CURRENT["x"].mean(), rel=1e-9)
    assert found.mean_shift == pytest.approx((CURRENT["x"].mean() - REFERENCE["x"].mean) / REFERENCE["x"].std, rel=1e-9)


def test_deviation_and_quantiles_are_numpys() -> None:
    """Quantiles to a bucket of the histogram, whose bounds are quantiles of training."""
    found = snapshots((CURRENT, None))[1].features["x"]
    assert found.std == pytest.approx(CURRENT["x"].std(ddof=0), rel=1e-9)
    bounds = np.array([0.0, *REFERENCE["x"].histogram])
    for q in drift.QUANTILES:
        expected = np.quantile(CURRENT["x"], q)
        bucket = np.searchsorted(bounds, expected)
        assert bounds[bucket - 1] - 0.05 <= found.quantile(q) <= bounds[min(bucket, len(bounds) - 1)] + 0.05


def test_every_statistic_is_there_by_name() -> None:
    """Those of order and distance are for numbers only; each is that of the counts, and the attributes are the same."""
    features = snapshots((CURRENT, None))[1].features
    counts = {name: (np.array(REFERENCE[name].counts), np.array(list(features[name].counts.values()))) for name in ("x", "c")}
    table = np.array(counts["c"])
    assert features["c"].drift["chi2"] == pytest.approx(stats.chi2_contingency(table, correction=False).statistic, rel=1e-9)
    assert features["c"].drift.keys() == features["x"].drift.keys() - {"ks", "ks_pvalue", "wasserstein"}
    for name in ("x", "c"):
        for statistic in features[name].drift.keys() - {"wasserstein"}:
            assert features[name].drift[statistic] == getattr(drift, statistic)(*counts[name]), statistic
    for statistic in ("psi", "wasserstein", "js_distance", "ks", "ks_pvalue", "chi2_pvalue"):
        assert getattr(features["x"], statistic) == features["x"].drift[statistic] > 0


def test_correlations_are_scipys() -> None:
    """In z of the values, in u of the bins they are in."""
    score = CURRENT["x"] / 40 + RNG.random(500) / 3
    found = snapshots((CURRENT, score.to_numpy()))[1].features["x"].correlations
    target = next(key[0] for key in found)
    x, y = (np.searchsorted(REFERENCE[name].edges, values, side="right") for name, values in (("x", CURRENT["x"]), (target, score)))
    ranks = [np.array(REFERENCE[name].midranks)[which] for name, which in (("x", x), (target, y))]
    assert found[target, "z"] == pytest.approx(stats.pearsonr(CURRENT["x"], score).statistic, rel=1e-9)
    assert found[target, "u"] == pytest.approx(stats.pearsonr(*ranks).statistic, rel=1e-9)
    assert found.keys() == {(target, "z"), (target, "u")}


def test_a_verdict_is_the_alerts() -> None:
    """By the shipped thresholds, and by the user's."""
    calm, drifted = snapshots((TRAINING, None))[1], snapshots((CURRENT, None))[1]
    assert calm.drifted == {}
    assert drifted.drifted == {"x": "critical", "c": "critical"}
    assert drifted.verdicts([Threshold("wasserstein", 3.0, "critical")])["x"].severity == "warning"
    assert drifted.verdicts([Threshold("wasserstein", 3.0, feature="x")])["x"].severity == ""
    found = drifted.verdicts()
    assert found["x"] == judge(REFERENCE["x"], list(drifted.features["x"].counts.values()), drifted.features["x"].mean_shift)
    assert found["x"].statistic == "wasserstein"
    assert "gone" not in found
    assert not found["k"].severity


def test_thresholds_in_code_are_those_of_the_snapshot() -> None:
    """As they are of the rules, to which they are exported; a caller's own come before."""
    with Monitor("m", reference=REFERENCE, thresholds=[Threshold("wasserstein", 3.0)], settings=QUIET) as monitor:
        before = monitor.snapshot()
        monitor.observe(CURRENT)
        assert monitor.flush()
        after = monitor.snapshot()
    assert after.drifted == (after - before).drifted == {"c": "critical"}
    assert after.verdicts([])["x"].severity == "critical"


def test_training_data_does_not_drift_from_itself() -> None:
    found = snapshots((TRAINING, None))[1].features
    assert found["x"].psi == found["c"].psi == 0
    assert found["x"].wasserstein == pytest.approx(0, abs=1e-12)


def test_extremes_outliers_and_gaps_are_those_of_the_data() -> None:
    high = REFERENCE["x"].fences[1]
    odd = pd.DataFrame({"x": [1.0, None, high + 1, math.inf], "c": ["a", None, "b", ["nested"]], "k": 1.0, "gone": 1.0})
    found = snapshots((odd, None))[1].features
    assert (found["x"].minimum, found["x"].maximum) == (1.0, high + 1)
    assert (found["x"].samples, found["x"].missing, found["x"].invalid["infinite"], found["x"].outliers, found["x"].rows) == (
        2,
        1,
        1,
        1,
        4,
    )
    assert (found["x"].unseen, found["c"].unseen) == (0, 0)
    assert snapshots((CURRENT, None))[1].features["c"].unseen == (CURRENT["c"] == "new").sum()
    assert (found["c"].samples, found["c"].missing, found["c"].invalid["type"], found["c"].rows) == (2, 1, 1, 4)


def test_values_beyond_those_of_training_are_out_of_range() -> None:
    """The extremes of training are not; nor is what was seen before."""
    low, high = REFERENCE["x"].minimum, REFERENCE["x"].maximum
    one, three = [{"x": high + 1}], [{"x": value} for value in (low - 1, low, high, high + 1, high + 2, None)]
    _, before, after = snapshots((one, None), (three, None))
    assert after.features["x"].out_of_range == 4
    assert (after - before).features["x"].out_of_range == 3


@pytest.mark.parametrize(
    ("feature", "statistic"),
    [
        ("x", "psi"),
        ("x", "wasserstein"),
        ("x", "mean"),
        ("c", "wasserstein"),
        ("k", "wasserstein"),
        ("gone", "psi"),
        ("gone", "wasserstein"),
        (SCORE, "psi"),
        ("x", "std"),
        ("c", "std"),
        ("c", "ks"),
        ("x", "ks_pvalue"),
        ("x", "js_distance"),
        ("gone", "chi2_pvalue"),
    ],
)
def test_what_is_not_known_is_nan(feature: str, statistic: str) -> None:
    """Nothing seen yet; a category or a constant has no distance; a feature that training never saw has no distribution."""
    before, after = snapshots((CURRENT, None))
    taken = before if feature == "x" else after
    assert math.isnan(getattr(taken.features[feature], statistic))
    assert statistic not in taken.features[feature].drift


def test_no_values_have_no_quantile_no_correlation_and_no_verdict() -> None:
    found = snapshots()[0].features["x"]
    assert math.isnan(found.quantile(0.5))
    assert found.correlations == {}
    verdict = found.verdict()
    assert verdict is not None
    assert (verdict.severity, verdict.samples) == ("", 0)


def test_a_difference_is_what_came_between() -> None:
    first, second, output = TRAINING[:300], CURRENT, RNG.random(500)
    _, before, after = snapshots((first, RNG.random(300)), (second, output))
    between, alone = after - before, snapshots((second, output))[1]
    for name in SCHEMA.names:
        assert between.features[name].counts == alone.features[name].counts
        assert between.features[name].missing == alone.features[name].missing
        assert between.features[name].invalid == alone.features[name].invalid
        assert between.features[name].outliers == alone.features[name].outliers
    assert between.features["x"].histogram == alone.features["x"].histogram
    for key, r in alone.features["x"].correlations.items():
        assert between.features["x"].correlations[key] == pytest.approx(r, rel=1e-9)
    assert between.features["x"].std == pytest.approx(alone.features["x"].std, rel=1e-9)
    assert between.features["x"].wasserstein == pytest.approx(alone.features["x"].wasserstein, rel=1e-9)
    assert between.features["c"].psi == alone.features["c"].psi
    assert (between.rows, between.calls["ok"], between.features[PREDICTION].samples) == (500, 1, 500)


def test_calls_violations_losses_and_errors_are_counted() -> None:
    with Monitor("model", version="1", reference=REFERENCE, settings=QUIET) as monitor:
        before = monitor.snapshot()
        monitor.observe({"x": 1.0}, 0.5)
        monitor.observe({"x": 1.0}, [1, 2, 3])
        monitor.observe({"x": 1.0}, error=KeyError("x"))
        monitor.observe(pd.DataFrame([[1.0, 2.0]], columns=["x", "x"]))
        assert monitor.flush()
        found = monitor.snapshot() - before
    assert found.calls == {"ok": 3, "error": 1, "cancelled": 0}
    assert found.rows == 3
    assert found.violations["missing_column"] == 3
    assert found.dropped["error"] == 1
    assert {place: count for place, count in found.errors.items() if count} == {"prediction": 1, "rows": 1}


def test_without_a_reference_there_is_quality_but_no_drift() -> None:
    with Monitor("model", version="1", schema=SCHEMA, settings=QUIET) as monitor:
        monitor.observe([{"x": 2.0, "c": "a"}, {"x": None, "c": "b"}])
        assert monitor.flush()
        found = monitor.snapshot().features["x"]
    assert (found.missing, found.minimum, dict(found.counts), found.reference) == (1, 2.0, {}, None)
    assert all(math.isnan(value) for value in (found.psi, found.wasserstein, found.mean, found.mean_shift, found.std))
    assert found.verdict() is None
