"""How far correlations with outputs and labels wander in normal operation, from the definition and on made-up streams."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from otel_mlmon.profiling.binning import bin_numbers
from otel_mlmon.profiling.calibration import correlation_levels
from otel_mlmon.profiling.profile import Correlation, FeatureProfile
from otel_mlmon.reference import Batch, Reference

Floats = npt.NDArray[np.float64]
HOUR = 3600.0
ROWS = 50


def stream(days: int, seed: int, slope: float = 0.6) -> tuple[Floats, Floats, Floats]:
    """x, a score that goes along with it more or less by day, and times; some values are missing, some are far out."""
    rng = np.random.default_rng(seed)
    hours = np.repeat(np.arange(days * 24), ROWS)
    x = rng.standard_t(3, len(hours)) * 3
    y = 1 / (1 + np.exp(-(slope + 0.15 * rng.normal(size=days))[hours // 24] * np.clip(x, -9, 9) / 3 - rng.normal(size=len(x))))
    return np.where(rng.random(len(x)) < 0.05, np.nan, x), y, 1.7e9 // 3600 * 3600 + hours * HOUR + rng.uniform(0, HOUR, len(x))


def z_values(profile: FeatureProfile, values: Floats) -> Floats:
    return np.clip((values - profile.mean) / profile.scale, -8, 8)


def u_values(profile: FeatureProfile, values: Floats) -> Floats:
    known = ~np.isnan(values)
    found = np.full(len(values), np.nan)
    found[known] = np.array(profile.midranks)[bin_numbers(values[known], profile.edges)]
    return found


def expected(f: Floats, y: Floats, at: Floats, length: int) -> float:
    """Window by window, SciPy's coefficient of each against that of all, as far from the rest as it is."""
    valid = ~(np.isnan(f) | np.isnan(y))
    f, y, hours = f[valid], y[valid], (at[valid] // HOUR - at.min() // HOUR).astype(int)
    whole, shifts = np.arctanh(stats.pearsonr(f, y)[0]), []
    for start in range(hours.max() - length + 2):
        inside = slice(*np.searchsorted(hours, [start, start + length]))
        rows = len(f[inside])
        if rows >= 100:
            shift = np.arctanh(stats.pearsonr(f[inside], y[inside])[0]) - whole
            shifts.append(shift * len(f) / (len(f) - rows))
    return float(max(abs(np.mean(shifts)) + 3 * np.std(shifts, ddof=1), np.abs(shifts).max()))


def found(profile: FeatureProfile, target: str, space: str) -> Correlation:
    return next(one for one in profile.correlations if (one.target, one.space) == (target, space))


@pytest.mark.parametrize(("space", "code"), [("z", z_values), ("u", u_values)])
def test_the_level_is_three_deviations_of_the_shifts_or_the_largest(
    space: str, code: Callable[[FeatureProfile, Floats], Floats]
) -> None:
    x, score, at = stream(12, seed=1)
    reference = Reference.build({"x": x}, scores=score, timestamps=at)
    thresholds = found(reference["x"], "@score", space).thresholds
    assert sorted(thresholds) == ["1d", "6h"]  # 50 rows an hour are too few, and 12 days no 8 weeks
    for window, length in (("6h", 6), ("1d", 24)):
        level = expected(code(reference["x"], x), code(reference["@score"], score), at, length)
        assert thresholds[window] == pytest.approx(level, rel=1e-6)


def test_a_label_that_is_true_or_false_has_levels_too() -> None:
    x, score, at = stream(10, seed=2)
    label = np.random.default_rng(3).random(len(x)) < score
    reference = Reference.build({"x": x}, labels=label, timestamps=at)
    level = expected(u_values(reference["x"], x), label.astype(float), at, 24)
    assert found(reference["x"], "@label", "u").thresholds["1d"] == pytest.approx(level, rel=1e-6)


def test_normal_operation_stays_below_its_level_and_a_lost_correlation_does_not() -> None:
    """Forty days calibrate, the next forty are normal; then the score has nothing to do with x."""
    x, score, at = stream(80, seed=4)
    _, lost, _ = stream(80, seed=5)
    half = len(x) // 2
    reference = Reference.build({"x": x[:half]}, scores=score[:half], timestamps=at[:half])
    u, v, w = (u_values(reference[name], values[half:]) for name, values in (("x", x), ("@score", score), ("@score", lost)))
    one = found(reference["x"], "@score", "u")
    per_day = 24 * ROWS
    over = {"normal": 0, "lost": 0}
    for start in range(0, half, per_day):
        day = slice(start, start + per_day)
        valid = ~np.isnan(u[day])
        for name, other in (("normal", v), ("lost", w)):
            shift = np.arctanh(stats.pearsonr(u[day][valid], other[day][valid])[0]) - np.arctanh(one.r)
            over[name] += abs(shift) > one.thresholds["1d"]
    assert over["normal"] <= 1
    assert over["lost"] == 40


def test_data_in_batches_has_the_same_levels() -> None:
    """The ranks of the sample are those of all rows here; beyond 200,000 they are close."""
    x, score, at = stream(9, seed=6)
    whole = Reference.build({"x": x}, scores=score, timestamps=at)["x"]
    parts = np.array_split(np.arange(len(x))[::-1], 5)
    batches = [Batch({"x": x[part]}, scores=score[part], timestamps=at[part]) for part in parts]
    for space in ("z", "u"):
        levels = [found(profile, "@score", space).thresholds for profile in (whole, Reference.build(batches)["x"])]
        assert levels[0] == pytest.approx(levels[1], rel=1e-9)


def test_without_times_or_variation_there_is_no_level() -> None:
    x, score, _ = stream(9, seed=7)
    assert found(Reference.build({"x": x}, scores=score)["x"], "@score", "u").thresholds == {}
    assert correlation_levels(np.zeros((0, 6)), np.ones((2, 0))) == {}
    # 300 rows an hour, of which all labels are alike but in the first
    sums = np.array([[300.0, 0.0, 300.0, 300.0, 300.0, 0.0]] * 400)
    sums[0, 2] = sums[0, 4] = 150.0
    assert correlation_levels(sums, np.ones((2, 400))) == {}


def test_a_perfect_correlation_that_never_moves_has_no_level() -> None:
    x, _, at = stream(9, seed=8)
    x = np.nan_to_num(x)
    profile = Reference.build({"x": x}, scores=x, timestamps=at)["x"]
    assert found(profile, "@score", "z").r == pytest.approx(1.0)
    assert found(profile, "@score", "z").thresholds == {}


def test_levels_survive_the_document() -> None:
    x, score, at = stream(9, seed=9)
    reference = Reference.build({"x": x}, scores=score, timestamps=at)
    again = Reference.from_json(reference.to_json())
    assert again["x"].correlations == reference["x"].correlations
    assert found(again["x"], "@score", "u").thresholds["1d"] > 0


@pytest.mark.parametrize("level", [0.0, -0.1, float("nan"), float("inf")])
def test_a_level_must_be_finite_and_positive(level: float) -> None:
    with pytest.raises(ValueError, match=r"correlation with '@score': thresholds must be finite and > 0"):
        Correlation("@score", "u", 0.5, 100, {"1d": level})
