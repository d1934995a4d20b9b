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
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
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
    assert (found["c"].samples, found["c"].missing, found["c"].invalid["type"], found["c"].rows) == (2, 1, 1, 4)


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
    ],
)
def test_what_is_not_known_is_nan(feature: str, statistic: str) -> None:
    """Nothing seen yet; a category or a constant has no distance; a feature that training never saw has no distribution."""
    before, after = snapshots((CURRENT, None))
    taken = before if feature == "x" else after
    assert math.isnan(getattr(taken.features[feature], statistic))


def test_a_difference_is_what_came_between() -> None:
    first, second = TRAINING[:300], CURRENT
    _, before, after = snapshots((first, RNG.random(300)), (second, RNG.random(500)))
    between, alone = after - before, snapshots((second, None))[1]
    for name in SCHEMA.names:
        assert between.features[name].counts == alone.features[name].counts
        assert between.features[name].missing == alone.features[name].missing
        assert between.features[name].invalid == alone.features[name].invalid
        assert between.features[name].outliers == alone.features[name].outliers
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
    assert all(math.isnan(value) for value in (found.psi, found.wasserstein, found.mean, found.mean_shift))
