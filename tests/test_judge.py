"""The alert's rule in Python against the rules themselves in real Prometheus, and by hand."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import RECORDING_FILE, render
from otel_mlmon.catalog import UNSEEN
from otel_mlmon.judge import MAX_BINS, PAIRS, Limits, alarms_on, believable, in_pairs, judge, judge_windows, level
from otel_mlmon.profiling.profile import FeatureProfile, interval_labels
from otel_mlmon.settings import Threshold
from otel_mlmon.thresholds import MARGIN, SEVERITIES
from tests.promql.fleet import Replica
from tests.promql.promtool import close, expectation, run
from tests.servers import SERIES, require

EDGES = (1.0, 2.0, 3.0)
COUNTS = (250, 250, 250, 250)
NOISE = {"psi": 15.0, "wasserstein": 1.9}


def numeric(counts: tuple[int, ...] = COUNTS, **parts: Any) -> FeatureProfile:
    """A number between 0 and as many bins."""
    edges = tuple(float(edge) for edge in range(1, len(counts)))
    if sum(counts):
        known = {"mean": 1.5, "std": 1.0, "minimum": 0.0, "maximum": 30.0, "median": 1.5}
        parts = {"weights": (1.0,) * len(edges), "noise": NOISE} | known | parts
    return FeatureProfile("x", "numeric", interval_labels(edges), edges, counts, rows=sum(counts), **parts)


def categorical(*counts: int, **parts: Any) -> FeatureProfile:
    bins = (*(f"c{number}" for number in range(len(counts))), UNSEEN)
    return FeatureProfile("x", "categorical", bins, (), (*counts, 0), rows=sum(counts), **{"noise": {"psi": 15.0}, **parts})


# ---------------------------------------------------------------- against the rules

OPTIONS = RuleOptions(
    windows=("1h", "6h", "12h"),
    pairs=(("1h", "6h"), ("6h", "12h")),
    time_scale=48,
    max_bins=4,
    statistics=(),
    thresholds={("psi", "warning"): 0.05},
)
STEPS = {window: OPTIONS.steps(window) for window in OPTIONS.windows}
"""They are 1, 8 and 15 minutes."""

MINUTES = 19


@dataclass(frozen=True)
class Case:
    """A model with one feature, its traffic a minute, and what its code says."""

    profile: FeatureProfile
    rows: Any
    mean_shift: float
    thresholds: tuple[Threshold, ...]


def _thresholds(rng: np.random.Generator) -> Iterator[Threshold]:
    for statistic in ("psi", "wasserstein"):
        for feature in ("", "x"):
            for severity in SEVERITIES:
                if rng.random() < 0.25:
                    yield Threshold(statistic, round(float(rng.uniform(0, 0.8)), 3), severity, feature)  # type: ignore[arg-type]
    if rng.random() < 0.3:
        yield Threshold("min_samples", float(rng.integers(10, 500)))
    if rng.random() < 0.3:
        yield Threshold("min_samples", float(rng.integers(10, 500)), "critical")


def _levels(rng: np.random.Generator) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for statistic in ("psi", "wasserstein"):
        for window in OPTIONS.windows:
            if rng.random() < 0.6:
                found.setdefault(statistic, {})[window] = round(float(rng.uniform(0.05, 1)), 3)
    return found


def _cases() -> list[Case]:
    """Categories and numbers; too many bins, no weights, no reference, no rows, no noise; any thresholds and levels."""
    rng = np.random.default_rng(40)
    found = []
    for number in range(24):
        bins = 5 if number % 8 == 3 else 4
        counts = tuple(rng.integers(0, 300, bins).tolist())
        parts: dict[str, Any] = {"thresholds": _levels(rng)}
        if number % 5 == 1:
            parts["noise"] = {}
        if number % 3:
            if number % 8 == 5:
                parts["weights"] = ()
            profile = numeric((0,) * bins if number % 16 == 7 else counts, **parts)
        else:
            profile = categorical(*counts[1:], **parts)
        rows = rng.integers(0, (4, 40, 400)[number % 3] + 1, len(profile.bins)) * (number % 12 != 11)
        found.append(Case(profile, rows, round(float(rng.normal(0, 0.5)), 3), tuple(_thresholds(rng))))
    return found


def _replica(case: Case, model: str) -> Replica:
    profile, replica = case.profile, Replica(MINUTES, model=model)
    replica.traffic(1)
    replica.feature(
        profile.feature,
        dict(zip(profile.bins, profile.counts, strict=True)),
        case.rows,
        weights=profile.weights,
        mean_shift=case.mean_shift,
        noise=profile.noise,
        levels={(statistic, window): one for statistic, by in profile.thresholds.items() for window, one in by.items()},
    )
    for one in case.thresholds:
        replica.threshold(one.statistic, one.value, severity=one.severity, feature=one.feature)
    return replica


@pytest.mark.parametrize("series", SERIES)
def test_values_levels_and_alarms_are_those_of_the_rules(series: str, tmp_path: Path) -> None:
    """24 models through real Prometheus: what may alarm, on which statistic, above which level, and what is over it."""
    last, replicas, expectations, seen = MINUTES - 1, [], [], set()
    for number, case in enumerate(_cases()):
        model = f"m{number}"
        replicas.append(_replica(case, model))
        who = f'model_name="{model}", model_version="1", feature="x"'
        limits = Limits(case.thresholds, defaults=OPTIONS.thresholds, pairs=OPTIONS.pairs, max_bins=OPTIONS.max_bins)
        may_alarm = {}
        for window, steps in STEPS.items():
            verdict = judge(case.profile, case.rows * steps, case.mean_shift, window=window, limits=limits)
            labels = f'{who}, window="{window}", statistic="{verdict.statistic}"'
            value = f'mlmon:feature_drift{{{labels}, baseline="training"}}'
            if math.isnan(verdict.value):
                any_value = f'mlmon:feature_drift{{{who}, window="{window}", baseline="training"}}'
                expectations.append(expectation(f"count({any_value})", last, {}))
            else:
                expectations.append(close(value, verdict.value, last, f'{{{labels}, baseline="training"}}'))
            if verdict.may_alarm:
                may_alarm[f'{{window="{window}", statistic="{verdict.statistic}"}}'] = 1.0
                for severity in SEVERITIES:
                    series_of = f'{{{labels}, severity="{severity}"}}'
                    threshold = f"mlmon:feature_drift:threshold{series_of}"
                    expectations.append(close(threshold, verdict.levels[severity], last, series_of))
                    on = "on (model_name, feature, window, statistic)"
                    over = {"{}": 1.0} if verdict.exceeds(severity) else {}
                    expectations.append(expectation(f"count({value} > {on} {threshold})", last, over))
            seen.add((verdict.statistic, verdict.may_alarm, verdict.severity))
        only = f'count by (window, statistic) (mlmon:feature_drift:threshold{{{who}, severity="warning"}})'
        if case.profile.samples:  # without, a level stands alone and nothing is over it
            expectations.append(expectation(only, last, may_alarm))
    rules = {RECORDING_FILE: render(OPTIONS)[RECORDING_FILE]}
    said = run(require("promtool", series), tmp_path, rules, replicas, expectations)
    assert not said, said[:4000]
    assert seen >= {(statistic, True, severity) for statistic in NOISE for severity in ("", *SEVERITIES)}
    assert seen >= {("psi", False, ""), ("wasserstein", False, ""), ("", False, "")}


def test_it_is_the_default_rules_that_judge() -> None:
    """Two copies, since the rules must not depend on more than the catalogue."""
    options = RuleOptions()
    assert (options.pairs, options.max_bins) == (PAIRS, MAX_BINS)


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("profile", "statistic"),
    [
        (numeric(), "wasserstein"),
        (numeric((10,) * MAX_BINS), "wasserstein"),
        (numeric((10,) * (MAX_BINS + 1)), "psi"),
        (numeric((9, 0), weights=()), "psi"),
        (categorical(5, 6), "psi"),
        (numeric((0, 0)), ""),
        (categorical(0, 0), ""),
    ],
)
def test_numbers_alarm_on_distance_and_categories_on_psi(profile: FeatureProfile, statistic: str) -> None:
    assert alarms_on(profile) == statistic
    assert judge(profile, [400] * len(profile.bins)).statistic == statistic


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ([], (0.1, 0.5)),
        ([Threshold("wasserstein", 0.3)], (0.3, 0.5)),
        ([Threshold("wasserstein", 0.7)], (0.7, 0.7)),
        ([Threshold("wasserstein", 0.7), Threshold("wasserstein", 0.6, "critical")], (0.7, 0.6)),
        ([Threshold("wasserstein", 0.7, feature="x")], (0.7, 0.7)),
        ([Threshold("wasserstein", 0.3, feature="x"), Threshold("wasserstein", 0.8)], (0.3, 0.8)),
        ([Threshold("wasserstein", 0.3, "critical", "x"), Threshold("wasserstein", 0.8)], (0.8, 0.3)),
        ([Threshold("wasserstein", 0.7, feature="y"), Threshold("psi", 0.7)], (0.1, 0.5)),
    ],
)
def test_a_features_threshold_comes_before_the_models(thresholds: list[Threshold], expected: tuple[float, float]) -> None:
    """And a critical one that is not set is never below the warning."""
    limits = Limits(thresholds)
    assert tuple(limits.threshold("wasserstein", severity, "x") for severity in SEVERITIES) == expected


def test_the_guard_on_rows_is_one_for_both_severities() -> None:
    assert Limits().min_samples == 300
    assert Limits(defaults={("min_samples", "warning"): 200.0}).min_samples == 200
    assert Limits([Threshold("min_samples", 50)]).min_samples == 50
    assert Limits([Threshold("min_samples", 50), Threshold("min_samples", 90, "critical")]).min_samples == 90


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="several"):
        Limits([Threshold("psi", 0.1), Threshold("psi", 0.2)])
    with pytest.raises(ValueError, match="defaults"):
        Limits(defaults={("psi", "info"): 0.1})


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    ("statistic", "normal", "samples", "expected"),
    [
        ("wasserstein", None, 10**9, {"warning": 0.2, "critical": 0.5}),
        ("wasserstein", 0.9, 10**9, {"warning": 0.9, "critical": 1.35}),
        ("wasserstein", None, 1_000, {"warning": 0.2, "critical": 0.5}),
        ("wasserstein", None, 10, {"warning": 1.9 * 0.101**0.5, "critical": 1.5 * 1.9 * 0.101**0.5}),
        ("psi", None, 10, {"warning": 15 * 0.101, "critical": 1.5 * 15 * 0.101}),
        ("psi", 0.01, 10**9, {"warning": 0.1, "critical": 0.25}),
    ],
)
def test_the_level_is_the_greatest_of_wish_normal_operation_and_chance(
    statistic: str, normal: float | None, samples: float, expected: dict[str, float], severity: str
) -> None:
    profile = numeric(thresholds={"wasserstein": {"6h": 0.2}})
    found = level(profile, samples, statistic=statistic, severity=severity, window="6h", normal=normal)
    assert float(found) == pytest.approx(expected[severity], rel=1e-6)
    assert MARGIN["critical"] == 1.5


def test_without_a_window_only_thresholds_and_chance_count() -> None:
    """A file without times: what a day reaches does not bear on it, and nothing has to be known of it."""
    profile = numeric(thresholds={"wasserstein": {"1h": 5.0, "6h": 5.0}})
    assert judge(profile, [0, 0, 0, 1000], 1.5).severity == "critical"
    assert judge(profile, [0, 0, 0, 1000], 1.5, window="6h").severity == ""
    assert judge(profile, [0, 0, 0, 1000], 1.5, window="1d").may_alarm is False


@pytest.mark.parametrize(
    ("calibrated", "expected"),
    [
        ((), {"1h", "6h", "1d"}),
        (("1h",), {"1h", "6h", "1d"}),
        (("1h", "1d"), {"1h", "6h", "1d"}),
        (("1h", "6h"), {"1h", "6h"}),
        (("6h", "1d"), {"6h", "1d"}),
        (("1h", "6h", "1d", "7d"), {"1h", "6h", "1d"}),
    ],
)
def test_a_window_must_be_calibrated_where_a_pair_is(calibrated: tuple[str, ...], expected: set[str]) -> None:
    profile = numeric(thresholds={"wasserstein": dict.fromkeys(calibrated, 0.2), "psi": {"1h": 0.1, "6h": 0.1}})
    assert {window for window in ("5m", "1h", "6h", "1d", "7d") if believable(profile, window)} == expected


def test_a_learned_level_makes_a_window_believable() -> None:
    profile = numeric(thresholds={"wasserstein": {"1h": 0.2, "6h": 0.2}})
    assert judge(profile, [0, 0, 0, 1000], 1.5, window="1d").severity == ""
    assert judge(profile, [0, 0, 0, 1000], 1.5, window="1d", normal=0.3).severity == "critical"
    assert judge(profile, [0, 0, 0, 1000], 1.5, window="1d", normal=3.0).severity == ""


@pytest.mark.parametrize(("rows", "severity"), [(299, ""), (300, "critical")])
def test_fewer_rows_than_the_guard_never_alarm(rows: int, severity: str) -> None:
    assert judge(numeric(), [0, 0, 0, rows], 1.5).severity == severity


def test_a_value_at_its_level_is_no_alarm() -> None:
    """The alert asks for more than the level."""
    limits = Limits([Threshold("wasserstein", 0.5)])
    profile = numeric(noise={})
    assert judge(profile, [250] * 4, 0.5, limits=limits).severity == ""
    assert judge(profile, [250] * 4, math.nextafter(0.5, 1), limits=limits).severity == "critical"


def test_no_values_are_no_verdict() -> None:
    found = judge(numeric(), [0, 0, 0, 0], math.nan, limits=Limits([Threshold("min_samples", 0)]))
    assert (found.may_alarm, found.severity, found.samples) == (False, "", 0)
    assert math.isnan(found.value)
    assert all(map(math.isnan, found.levels.values()))


@pytest.mark.parametrize("profile", [numeric(thresholds={"wasserstein": {"6h": 0.4}}), categorical(40, 30, 30)])
def test_many_windows_are_each_like_one(profile: FeatureProfile) -> None:
    rng = np.random.default_rng(9)
    windows = np.floor(rng.integers(0, 300, size=(40, 4)) / rng.choice([1, 10, 1000], size=(40, 1)))  # enough, too few, none
    shifts = rng.normal(size=40)
    many = judge_windows(profile, windows, shifts, window="6h")
    ones = [judge(profile, counts, shift, window="6h") for counts, shift in zip(windows, shifts, strict=True)]
    assert many.severities.tolist() == [one.severity for one in ones]
    assert set(many.severities.tolist()) == {"", *SEVERITIES} if profile.weights else {"", "critical"}
    np.testing.assert_array_equal(many.values, [one.value for one in ones])
    np.testing.assert_array_equal(many.samples, [one.samples for one in ones])
    for severity in SEVERITIES:
        np.testing.assert_array_equal(many.levels[severity], [one.levels[severity] for one in ones])
        assert many.exceeds(severity).tolist() == [one.exceeds(severity) for one in ones]


def test_levels_learned_over_time_are_one_per_window() -> None:
    windows, shifts = np.array([[0.0, 0, 0, 400]] * 2), np.array([1.5, 1.5])
    found = judge_windows(numeric(), windows, shifts, window="6h", normal=np.array([0.1, 9.0]))
    assert found.severities.tolist() == ["critical", ""]


def test_an_alert_needs_both_windows_of_a_pair() -> None:
    over = {"1h": [1, 0, 1, 0], "6h": [1, 1, 0, 1], "1d": [0, 0, 1, 1]}
    assert in_pairs({window: np.array(each, dtype=bool) for window, each in over.items()}).tolist() == [True, False, False, True]
    with pytest.raises(ValueError, match="pair"):
        in_pairs({"1h": np.array([True]), "1d": np.array([True])})


@pytest.mark.parametrize(
    ("counts", "shift", "message"),
    [
        ([1, 2, 3], 0.0, "4 bins"),
        ([[1, 2, 3, 4]], 0.0, "4 bins"),
        ([1, 2, 3, -4], 0.0, ">= 0"),
        ([1, -1, 0, 0], 0.0, ">= 0"),
        ([1, 2, 3, math.nan], 0.0, "finite"),
        ([1, 2, 3, 4], math.nan, "shift"),
    ],
)
def test_what_cannot_be_is_refused(counts: Any, shift: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge(numeric(), counts, shift)


def test_a_profile_without_noise_is_judged_by_thresholds() -> None:
    profile = replace(numeric(), noise={})
    assert judge(profile, [300, 300, 300, 300], 0.11).severity == "warning"
