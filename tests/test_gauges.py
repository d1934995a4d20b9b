"""What stands still from construction on: the model, its reference, its thresholds; and every bin, at 0."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.feature import Feature
from otel_mlmon.monitor import Monitor
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Metadata, Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import History, Threshold
from otel_mlmon.store import Snapshot
from tests.counts import QUIET

RNG = np.random.default_rng(31)
ROWS = 30 * 24 * 10
AT = np.arange(ROWS) * 360.0  # ten rows an hour for thirty days
X = RNG.normal(size=ROWS)
GAPS = np.where(RNG.random(ROWS) < 0.1, np.nan, X)
SCHEMA = Schema((Feature("x"), Feature("c", kind="categorical"), Feature("k"), Feature("gone")))
REFERENCE = Reference.build(
    {
        "x": GAPS,
        "c": RNG.choice([f"c{number}" for number in range(50)], ROWS),
        "k": np.ones(ROWS),
        "gone": np.full(ROWS, np.nan),
    },
    schema=SCHEMA,
    task="binary",
    predictions=1 / (1 + np.exp(-X - RNG.normal(size=ROWS))),
    labels=RNG.random(ROWS) < 0.3,
    timestamps=AT,
    metadata=Metadata(code_revision="4f2a91c", dataset="flights", feature_version="7", environment="ci", trained_at=1.75e9),
)


def collected(**options: Any) -> Snapshot:
    with Monitor("model", version="2", settings=QUIET, **options) as monitor:
        return monitor.collect()


def values(snapshot: Snapshot, family: MetricFamily, *labels: str) -> dict[tuple[str, ...], float]:
    """Values of a family by the labels that follow the model's and the given ones."""
    start = ("model", "2", *labels)
    return {
        series.labels[len(start) :]: float(snapshot.values[series.index])
        for series in snapshot.series
        if series.family is family and series.labels[: len(start)] == start
    }


def profiles() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("profile", REFERENCE.profiles, ids=lambda profile: profile.feature)


FROM_START = collected(reference=REFERENCE)


@profiles()
def test_bin_counts_and_weights_are_the_references(profile: FeatureProfile) -> None:
    name = profile.feature
    assert values(FROM_START, catalog.REFERENCE_BIN_COUNT, name) == {
        (b,): n for b, n in zip(profile.bins, profile.counts, strict=True)
    }
    weights = {(label,): weight for label, weight in zip(profile.bins, profile.weights, strict=False)}
    assert values(FROM_START, catalog.REFERENCE_BIN_WEIGHT, name) == weights
    assert len(weights) == (len(profile.bins) - 1 if profile.weights else 0)


@profiles()
def test_levels_floors_correlations_and_statistics_are_the_references(profile: FeatureProfile) -> None:
    name = profile.feature
    levels = {(s, window): level for s, by_window in profile.thresholds.items() for window, level in by_window.items()}
    statistics = {
        "mean": profile.mean,
        "std": profile.std,
        "min": profile.minimum,
        "max": profile.maximum,
        "median": profile.median,
    }
    assert values(FROM_START, catalog.REFERENCE_THRESHOLD, name) == levels
    assert values(FROM_START, catalog.REFERENCE_NOISE, name) == {(s,): floor for s, floor in profile.noise.items()}
    assert values(FROM_START, catalog.REFERENCE_CORRELATION, name) == {(c.target, c.space): c.r for c in profile.correlations}
    assert values(FROM_START, catalog.REFERENCE_CORRELATION_SAMPLES, name) == {
        (c.target, c.space): c.samples for c in profile.correlations
    }
    assert values(FROM_START, catalog.REFERENCE_CORRELATION_THRESHOLD, name) == {
        (c.target, c.space, window): level for c in profile.correlations for window, level in c.thresholds.items()
    }
    assert values(FROM_START, catalog.REFERENCE_STATISTIC, name) == {
        (s,): value for s, value in statistics.items() if value == value
    }


def test_the_reference_at_hand_has_all_that_is_exported() -> None:
    """Or the two tests before this would compare nothing with nothing."""
    profile = REFERENCE["x"]
    assert {"psi", "wasserstein"} <= profile.thresholds.keys() & profile.noise.keys()
    assert {(c.target, c.space) for c in profile.correlations} == {(t, s) for t in ("@score", "@label") for s in ("z", "u")}
    assert all({"1d"} <= c.thresholds.keys() for c in profile.correlations)
    assert profile.outliers
    assert profile.weights


def test_shares_of_gaps_and_outliers_are_those_of_the_training_data() -> None:
    assert values(FROM_START, catalog.REFERENCE_MISSING, "x") == {(): np.isnan(GAPS).mean()}
    assert values(FROM_START, catalog.REFERENCE_MISSING, "gone") == {(): 1.0}
    valid = GAPS[~np.isnan(GAPS)]
    q1, q3 = np.quantile(valid, [0.25, 0.75])
    outliers = ((valid < q1 - 1.5 * (q3 - q1)) | (valid > q3 + 1.5 * (q3 - q1))).mean()
    assert values(FROM_START, catalog.REFERENCE_OUTLIERS, "x")[()] == pytest.approx(outliers)
    assert not values(FROM_START, catalog.REFERENCE_OUTLIERS, "gone")
    assert not values(FROM_START, catalog.REFERENCE_OUTLIERS, "c")
    assert values(FROM_START, catalog.REFERENCE_UNSEEN, "c") == {(): REFERENCE["c"].unseen_ratio}
    assert not values(FROM_START, catalog.REFERENCE_UNSEEN, "x")


@pytest.mark.parametrize("expose", [True, False])
def test_every_bin_is_there_at_zero_from_the_start(expose: bool) -> None:
    """Rules take differences: a bin that comes into being at 1 would lose that 1."""
    found = collected(reference=REFERENCE, expose_reference=expose)
    for profile in REFERENCE.profiles:
        if profile.feature != "@label":
            assert values(found, catalog.FEATURE_BIN, profile.feature) == {(label,): 0.0 for label in profile.bins}
    for family in catalog.CATALOG:
        if family.type == "counter" and "feature" in family.labels:
            assert set(values(found, family).values()) == {0.0}, family.name


def test_an_unexposed_reference_is_not_exported_but_still_counts() -> None:
    found = collected(reference=REFERENCE, expose_reference=False)
    for family in catalog.CATALOG:
        if family.area == "reference" and family is not catalog.REFERENCE_CREATED_TIME:
            assert not values(found, family), family.name
    assert values(found, catalog.FEATURE_BIN, "x")


@pytest.mark.parametrize("on", [True, False])
def test_value_histograms_can_be_turned_off(on: bool) -> None:
    found = collected(reference=REFERENCE, feature_histograms=on)
    assert bool(values(found, catalog.FEATURE_VALUE)) is on
    assert values(found, catalog.FEATURE_BIN, "x")


def test_model_info_says_what_the_model_is() -> None:
    ((labels, value),) = values(FROM_START, catalog.MODEL_INFO).items()
    assert (labels[0], *labels[2:]) == ("binary", REFERENCE.digest, "4f2a91c", "flights", "7", "ci")
    assert value == 1
    assert values(FROM_START, catalog.MODEL_TRAINED_TIME) == {(): 1.75e9}
    assert values(FROM_START, catalog.REFERENCE_CREATED_TIME) == {(): REFERENCE.created}


def test_a_model_of_unknown_training_has_no_time_of_it() -> None:
    assert not values(collected(schema=SCHEMA), catalog.MODEL_TRAINED_TIME)
    assert not values(collected(schema=SCHEMA), catalog.REFERENCE_CREATED_TIME)


def test_thresholds_are_exported_as_given() -> None:
    thresholds = (
        Threshold("wasserstein", 0.2),
        Threshold("wasserstein", 0.5, severity="critical"),
        Threshold("psi", 0.3, feature="c"),
        Threshold("latency_p99", 0.0),
    )
    assert values(collected(reference=REFERENCE, thresholds=thresholds), catalog.THRESHOLD) == {
        ("wasserstein", "warning", ""): 0.2,
        ("wasserstein", "critical", ""): 0.5,
        ("psi", "warning", "c"): 0.3,
        ("latency_p99", "warning", ""): 0.0,
    }


@pytest.mark.parametrize(("length", "seconds"), [("14d", {(): 14 * 86400.0}), ("28d", {(): 28 * 86400.0}), (None, {})])
def test_how_much_history_the_rules_shall_learn_from_is_exported(
    length: History | None, seconds: dict[tuple[str, ...], float]
) -> None:
    assert values(collected(reference=REFERENCE, learn_normal=length), catalog.NORMAL_HISTORY) == seconds
    assert values(collected(learn_normal=length, expose_reference=False), catalog.NORMAL_HISTORY) == seconds


def test_only_gauges_that_know_nothing_yet_are_nan() -> None:
    unknown = {catalog.FEATURE_MIN, catalog.FEATURE_MAX, catalog.LAST_CALL_TIME}
    for series in FROM_START.series:
        if any(map(math.isnan, FROM_START.values[series.index : series.index + series.width])):
            assert series.family in unknown, series.family.name


def test_a_saved_reference_exports_the_same_series(tmp_path: Path) -> None:
    REFERENCE.save(tmp_path / "reference.json")
    found = collected(reference=tmp_path / "reference.json")
    for family in catalog.CATALOG:
        if family.area == "reference" or family is catalog.MODEL_INFO:
            assert values(found, family) == values(FROM_START, family), family.name


def test_what_the_training_said_of_itself_is_exported() -> None:
    """Evaluation metrics with their values; validation results, whatever their type, as labels."""
    metadata = Metadata(metrics={"auc": 0.71, "f1": 0.4}, validation={"no leaks": True, "review": "passed"})
    reference = Reference.build({"a": [1.0, 2.0, 3.0]}, metadata=metadata)
    snapshot = collected(reference=reference)
    assert values(snapshot, catalog.MODEL_EVALUATION) == {("auc",): 0.71, ("f1",): 0.4}
    assert values(snapshot, catalog.MODEL_VALIDATION) == {("no leaks", "True"): 1.0, ("review", "passed"): 1.0}
