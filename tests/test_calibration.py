"""What drift statistics reach by chance, and in normal operation, on made-up and on real streams."""

import functools
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from otel_mlmon.drift import psi, psi_of_windows, wasserstein, wasserstein_of_windows
from otel_mlmon.profiling.binning import bin_numbers, edges
from otel_mlmon.profiling.calibration import MAX_HOURS, Hours, levels
from otel_mlmon.profiling.noise import ALPHA, psi_floor, wasserstein_floor
from otel_mlmon.reference import FeatureProfile, Reference

Floats = npt.NDArray[np.float64]
HOUR = 3600.0


def standardised(profile: FeatureProfile, values: Floats) -> Floats:
    return np.clip((values - profile.mean) / profile.scale, -8, 8)


def distances(profile: FeatureProfile, values: Floats, hours: npt.NDArray[np.int64], length: int) -> Floats:
    """Wasserstein distance of each window of consecutive hours with enough values, found one by one from the raw values."""
    order = np.argsort(hours, kind="stable")
    values, hours = values[order], hours[order]
    found = []
    for start in range(int(hours[0]), int(hours[-1]) - length + 2):
        inside = values[np.searchsorted(hours, start) : np.searchsorted(hours, start + length)]
        inside = inside[~np.isnan(inside)]
        if len(inside) >= 100:
            counts = np.bincount(bin_numbers(inside, profile.edges), minlength=len(profile.bins))
            shift = float(standardised(profile, inside).mean())
            found.append(wasserstein(profile.counts, counts, weights=profile.weights, mean_shift=shift))
    return np.array(found)


# ---------------------------------------------------------------- chance

SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skew": lambda rng, size: rng.gamma(2.0, size=size),
    "two heavy values": lambda rng, size: np.where(rng.random(size) < 0.8, rng.integers(0, 2, size), rng.normal(size=size)),
}


@pytest.mark.parametrize("features", [1, 20])
def test_psi_of_samples_without_drift_exceeds_its_floor_as_often_as_said(features: int) -> None:
    rng = np.random.default_rng(1)
    shares, n, m = np.linspace(0.05, 0.15, 10), 2_000, 20_000
    windows, base = rng.multinomial(n, shares, size=60_000).astype(float), rng.multinomial(m, shares, size=200)
    floor = psi_floor(10, features) * (1 / n + 1 / m)
    exceeded = np.mean([(psi_of_windows(one, part) > floor).mean() for one, part in zip(base, np.split(windows, 200), strict=True)])
    assert 0.6 < exceeded / (ALPHA / features) < 1.6


@pytest.mark.parametrize("features", [1, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_wasserstein_of_samples_without_drift_exceeds_its_floor_as_often_as_said(shape: str, features: int) -> None:
    """Raw values drawn anew, binned and averaged: nothing of the simulation is shared."""
    rng = np.random.default_rng(2)
    n, windows = 500, 20_000
    draws = functools.partial(SHAPES[shape], rng)
    base = draws(400_000)
    boundaries = edges(base[:100_000], 10)
    z, codes = (base - base.mean()) / base.std(), bin_numbers(base, boundaries)
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=z) / counts
    floor = wasserstein_floor(counts / counts.sum(), means, 1.0, features=features, seed=0)
    values = draws(n * windows)
    cells = np.repeat(np.arange(windows), n) * len(counts) + bin_numbers(values, boundaries)
    shifts = ((values - base.mean()) / base.std()).reshape(windows, n).mean(axis=1)
    found = wasserstein_of_windows(
        counts,
        np.bincount(cells, minlength=windows * len(counts)).reshape(windows, -1).astype(float),
        weights=np.diff(means),
        mean_shifts=shifts,
    )
    exceeded = (found > floor * np.sqrt(1 / n + 1 / len(base))).mean()
    # So far out, the mean of 500 skew values is not normal yet.
    assert (0.7 if features == 1 else 0.3) < exceeded / (ALPHA / features) < (1.4 if features == 1 else 3.0)


def test_floors_are_the_same_for_the_same_seed() -> None:
    shares, means = np.full(5, 0.2), np.linspace(-1.4, 1.4, 5)
    one, same, other = (wasserstein_floor(shares, means, 1.0, features=9, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one == pytest.approx(other, rel=0.1)
    assert one != other


# ---------------------------------------------------------------- hours


def test_hours_hold_each_value_once_whatever_the_order_and_cut() -> None:
    rng = np.random.default_rng(3)
    at = 1.7e9 + rng.uniform(0, 400 * HOUR, 5_000)
    codes, z = rng.integers(0, 4, 5_000), rng.normal(size=5_000)
    hours = Hours([3, 4])
    for part in np.split(np.arange(5_000), [1, 1, 700, 4_000]):
        rows, which = hours.place(at[part])
        hours.add(1, rows, which, codes[part], z[part])
    counts, sums = hours.series(1)
    number = (at // HOUR - (at // HOUR).min()).astype(int)
    expected = np.histogram2d(number, codes, bins=(np.arange(number.max() + 2), np.arange(5)))[0]
    assert counts.tolist() == expected.tolist()
    assert sums == pytest.approx(np.bincount(number, weights=z))
    assert hours.series(0)[0].sum() == 0


def test_times_in_milliseconds_are_refused() -> None:
    with pytest.raises(ValueError, match="Unix times in seconds"):
        Hours([2]).place(np.array([1.6e12, 1.7e12]))


def test_a_gap_of_years_is_no_matter() -> None:
    hours = Hours([2])
    hours.place(np.array([0.0, MAX_HOURS * HOUR]))
    assert len(hours.series(0)[0]) == MAX_HOURS + 1


# ---------------------------------------------------------------- levels


def daily(days: int, seed: int) -> tuple[Floats, Floats]:
    """A stream with memory: each day has its own mean, each hour its place in the day."""
    rng = np.random.default_rng(seed)
    level = np.empty(days)
    level[0] = rng.normal()
    for before, after in pairwise(range(days)):
        level[after] = 0.5 * level[before] + rng.normal(0, np.sqrt(0.75))
    hours = np.repeat(np.arange(days * 24), 40)
    values = level[hours // 24] + 0.7 * np.sin(hours % 24 / 24 * 2 * np.pi) + rng.normal(0, 0.8, len(hours))
    return values, 1.7e9 // 86400 * 86400 + hours * HOUR + rng.uniform(0, HOUR, len(hours))


def control_limit(values: Floats, rows: Floats, whole: int, power: int) -> float:
    """From the definition: each window against the rest of the reference; three deviations, or the largest."""
    logarithms = np.log(values * (whole / (whole - rows)) ** power)
    return float(np.exp(max(logarithms.mean() + 3 * logarithms.std(ddof=1), logarithms.max())))


@pytest.mark.parametrize("storm", [0.0, 30.0])
def test_the_level_is_three_deviations_of_the_logarithms_or_the_largest(storm: float) -> None:
    """From the definition, window by window, on raw values: with a calm stream, and one with a storm of six hours."""
    values, at = daily(40, seed=4)
    values[(at >= at[0] + 20 * 86400) & (at < at[0] + 20 * 86400 + 6 * HOUR)] += storm
    profile = Reference.build({"x": values}, timestamps=at)["x"]
    hours = (at // HOUR).astype(np.int64)
    found = {}
    for window, length in (("6h", 6), ("1d", 24)):
        each = distances(profile, values, hours, length)
        found[window] = control_limit(each, np.full(len(each), 40 * length), len(values), 1)
        assert profile.thresholds["wasserstein"][window] == pytest.approx(found[window], rel=1e-9)
    assert (found["6h"] > 4) == (storm > 0)


def test_the_psi_level_is_found_likewise() -> None:
    values, at = daily(10, seed=5)
    labels = np.where(values > 0.5, "high", "low")
    profile = Reference.build({"x": labels}, timestamps=at)["x"]
    hours = (at // HOUR - at.min() // HOUR).astype(int)
    found = []
    for start in range(hours.max() - 24 + 2):
        inside = labels[(hours >= start) & (hours < start + 24)]
        found.append(psi(profile.counts, [(inside == name).sum() for name in profile.bins]))
    expected = control_limit(np.array(found), np.full(len(found), 40 * 24), len(labels), 2)
    assert profile.thresholds["psi"]["1d"] == pytest.approx(expected, rel=1e-9)


def test_a_window_is_compared_with_the_rest() -> None:
    """The correction is exact for shares: of eight windows, one that differs lies 8/7 as far from the other seven."""
    rng = np.random.default_rng(8)
    counts, traffic = rng.integers(50, 200, (8, 5)), np.ones((2, 8))
    weights = np.array([0.5, 1.0, 0.7, 0.9])
    apart = [wasserstein(counts.sum(axis=0) - one, one, weights=weights) for one in counts]
    found = levels(counts.sum(axis=0).tolist(), counts, np.zeros(8), weights.tolist(), traffic)["wasserstein"]["1h"]
    logarithms = np.log(apart)
    assert found == pytest.approx(np.exp(max(logarithms.mean() + 3 * logarithms.std(ddof=1), logarithms.max())), rel=1e-9)


def clock(days: int, open_at: Callable[[int, int], bool], rows: int = 60) -> tuple[Floats, Floats]:
    """A stream whose values are the hour of the day, without rows in the hours (day, hour) that are not open."""
    rng = np.random.default_rng(9)
    hours = np.repeat([day * 24 + hour for day in range(days) for hour in range(24) if open_at(day, hour)], rows)
    return hours % 24 + rng.random(len(hours)), 1.7e9 // 604800 * 604800 + hours * HOUR


def test_what_was_held_back_does_not_widen_the_level() -> None:
    """Half a day beside a gap has other hours than a day: no normal operation, unless that is how each week is."""
    every = {"whole": lambda day, hour: True, "held back": lambda day, hour: day % 5 != 3, "closed": lambda day, hour: day % 7 < 5}
    found = {}
    for name, open_at in every.items():
        values, at = clock(56, open_at)
        found[name] = Reference.build({"x": values}, timestamps=at)["x"].thresholds["wasserstein"]["1d"]
    assert found["whole"] < 0.05
    assert found["held back"] < 0.2  # a tenth of the hours may be absent
    assert found["closed"] > 1.0


def test_traffic_tells_gaps_from_closing_times() -> None:
    """Eight weeks from a Thursday on; Sundays closed but for one, open from 8 to 20, and one Tuesday held back."""
    hours = Hours([1])
    numbers = [
        hour for hour in range(24 * 56) if 8 <= hour % 24 < 20 and (hour // 24 % 7 != 3 or hour // 24 == 10) and hour // 24 != 26
    ]
    hours.place(np.array(numbers)[::-1] * HOUR)
    seen, usual = hours.traffic()
    assert np.flatnonzero(seen).tolist() == [number - 8 for number in numbers]
    assert usual.reshape(-1)[: 24 * 7].tolist() == [
        float(8 <= hour % 24 < 20 and hour // 24 % 7 != 3) for hour in range(8, 24 * 7 + 8)
    ]
    assert usual[26 * 24 : 26 * 24 + 12].tolist() == [1.0] * 12


def test_normal_operation_stays_below_its_level_where_chance_alone_is_exceeded() -> None:
    """The following 60 days of an autocorrelated stream: significance alarms on most days, the level on nearly none."""
    values, at = daily(120, seed=6)
    train = at < at.min() + 60 * 86400
    profile = Reference.build({"x": values[train]}, timestamps=at[train])["x"]
    later = distances(profile, values[~train], (at[~train] // HOUR).astype(np.int64), 24)
    assert (later > profile.noise["wasserstein"] * np.sqrt(1 / 960 + 1 / train.sum())).mean() > 0.8
    assert (later > profile.thresholds["wasserstein"]["1d"]).mean() < 0.02
    drifted = distances(profile, values[~train] + 8, (at[~train] // HOUR).astype(np.int64), 24)
    assert (drifted > profile.thresholds["wasserstein"]["1d"]).mean() > 0.95


def test_too_few_windows_set_no_level() -> None:
    values, at = daily(8, seed=7)
    profile = Reference.build({"x": values}, timestamps=at)["x"]
    assert sorted(profile.thresholds["wasserstein"]) == ["1d", "6h"]  # 40 values an hour are too few, and 8 days no 8 weeks
    assert sorted(Reference.build({"x": values[:-40]}, timestamps=at[:-40])["x"].thresholds["psi"]) == ["6h"]
    assert Reference.build({"x": values})["x"].thresholds == {}


def test_nothing_to_compare_has_no_level() -> None:
    assert levels([5], np.ones((100, 1), dtype=np.int64), np.zeros(100), (), np.ones((2, 100))) == {}
    assert levels([5, 5], np.zeros((0, 2), dtype=np.int64), np.zeros(0), (1.0,), np.ones((2, 0))) == {}


def test_the_oracle_for_chance_is_scipys() -> None:
    assert psi_floor(11, 1) == pytest.approx(stats.chi2.ppf(0.99, 10), rel=1e-12)
