"""Statistics from sums of standardised values, against numpy and SciPy on the raw rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from otel_mlmon import drift

Floats = npt.NDArray[np.float64]

RNG = np.random.default_rng(17)
TRAINING = RNG.gamma(4, 2, 5_000)
MEAN, SCALE = float(TRAINING.mean()), float(TRAINING.std())
SUMS = ("n", "f", "ff", "y", "yy", "fy")


def sums(x: Any, y: Any = ()) -> dict[str, float]:
    """As the exporter counts them."""
    z = np.clip((np.asarray(x, dtype=float) - MEAN) / SCALE, -8, 8) + 8
    found = {"n": float(len(z)), "f": z.sum(), "ff": z @ z}
    return found | ({"y": np.sum(y), "yy": np.dot(y, y), "fy": np.dot(z, y)} if len(y) else {})


def added(*parts: dict[str, float]) -> dict[str, float]:
    """What `sum by` makes of replicas."""
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def test_mean_and_deviation_are_numpys() -> None:
    x = RNG.gamma(5, 2.5, 700).clip(max=38)  # within 8 deviations
    assert drift.mean(sums(x), reference_mean=MEAN, scale=SCALE) == pytest.approx(x.mean(), rel=1e-9)
    assert drift.std(sums(x), scale=SCALE) == pytest.approx(x.std(), rel=1e-9)
    assert drift.mean_shift(sums(x)) == pytest.approx((x.mean() - MEAN) / SCALE, rel=1e-9)
    assert drift.std_ratio(sums(x)) == pytest.approx(x.std() / SCALE, rel=1e-9)
    assert drift.variance_ratio(sums(x)) == pytest.approx(x.var() / SCALE**2, rel=1e-9)


def test_the_reference_itself_is_0_and_1() -> None:
    assert drift.mean_shift(sums(TRAINING)) == pytest.approx(0, abs=1e-12)
    assert drift.variance_ratio(sums(TRAINING)) == pytest.approx(1, rel=1e-9)


@given(st.lists(st.floats(0, 38), min_size=1, max_size=20), st.lists(st.floats(0, 38), min_size=1, max_size=20))
def test_replicas_add(one: list[float], other: list[float]) -> None:
    """The fleet's numbers are those of all rows in one place."""
    fleet, alone = added(sums(one), sums(other)), np.array([*one, *other])
    assert drift.mean(fleet, reference_mean=MEAN, scale=SCALE) == pytest.approx(alone.mean(), rel=1e-9, abs=1e-9)
    assert drift.variance_ratio(fleet) == pytest.approx(alone.var() / SCALE**2, rel=1e-9, abs=1e-9)


@given(st.floats(-40, 40), st.integers(1, 10**12))
def test_a_constant_has_no_variance(value: float, times: int) -> None:
    """Whatever rounding does, it is not negative."""
    one = sums([value])
    assert 0 <= drift.variance_ratio({name: total * times for name, total in one.items()}) < 1e-12
    assert 0 <= drift.std(one, scale=SCALE) < 1e-5


def test_pearson_is_scipys() -> None:
    for strength in (-3.0, -0.2, 0.0, 0.5, 20.0):
        x = RNG.gamma(5, 2.5, 400)
        y = strength * (x - x.mean()) / x.std() + RNG.normal(size=400) + 30
        assert drift.correlation(sums(x, y)) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-9, abs=1e-9)


def test_spearman_is_scipys_over_the_bins() -> None:
    """On midranks of a sample's own bins: ties and all."""
    x, y = RNG.integers(0, 10, 500), RNG.integers(0, 6, 500)
    y = np.where(RNG.random(500) < 0.4, x, y)
    u, v = ((np.cumsum(np.bincount(side)) - np.bincount(side) / 2)[side] / 500 for side in (x, y))
    found = dict(zip(SUMS, (500.0, u.sum(), u @ u, v.sum(), v @ v, u @ v), strict=True))
    assert drift.correlation(found) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-9)


def test_correlations_of_replicas_add() -> None:
    x, y = RNG.normal(size=90) + MEAN, RNG.normal(size=90) + 8
    fleet = added(*(sums(x[part], y[part]) for part in (slice(0, 5), slice(5, 60), slice(60, 90))))
    assert drift.correlation(fleet) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-9)


@pytest.mark.parametrize(("x", "y"), [([5.0] * 9, range(9)), (range(9), [5.0] * 9), ([5.0], [1.0])])
def test_what_does_not_vary_is_not_correlated(x: Any, y: Any) -> None:
    assert np.isnan(drift.correlation(sums(x, np.array(y, dtype=float))))


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_fishers_shift_is_a_finite_distance(r: float, s: float) -> None:
    assert 0 <= drift.fisher_z_shift(r, s) <= 2 * np.arctanh(0.999999)
    assert drift.fisher_z_shift(r, s) == drift.fisher_z_shift(s, r)
    assert drift.fisher_z_shift(r, r) == 0
    if max(abs(r), abs(s)) < 0.99:
        expected = abs(np.log((1 + r) / (1 - r)) - np.log((1 + s) / (1 - s))) / 2
        assert drift.fisher_z_shift(r, s) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("space", ["z", "u"])
def test_the_shift_of_a_correlation_is_standard_normal_without_a_change(space: Any) -> None:
    """Monte Carlo: deviation 1 to 4 %, and the sign is the window's."""
    rng = np.random.default_rng(23)
    x, y = rng.normal(size=(2, 3_000, 340))
    y += 0.5 * x

    def coefficients(part: slice) -> list[float]:
        one, other = x[:, part], y[:, part]
        if space == "u":
            one, other = stats.rankdata(one, axis=1), stats.rankdata(other, axis=1)
        one, other = (side - side.mean(axis=1, keepdims=True) for side in (one, other))
        found: list[float] = ((one * other).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))).tolist()
        return found

    both = zip(coefficients(slice(0, 240)), coefficients(slice(240, 340)), strict=True)
    scores = [drift.correlation_z(r, s, reference_samples=240, samples=100, space=space) for r, s in both]
    assert np.std(scores) == pytest.approx(1, abs=0.04)
    assert drift.correlation_z(0.1, 0.4, reference_samples=240, samples=100, space=space) > 0


def test_the_score_of_a_shift_worked_by_hand() -> None:
    expected = (np.arctanh(0.5) - np.arctanh(0.2)) / np.sqrt(1 / 97 + 1 / 47)
    assert drift.correlation_z(0.2, 0.5, reference_samples=100, samples=50, space="z") == pytest.approx(expected, rel=1e-12)
    ranks = drift.correlation_z(0.2, 0.5, reference_samples=100, samples=50, space="u")
    assert ranks == pytest.approx(expected / np.sqrt(1.06), rel=1e-12)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ({"n": 2.0}, r"got no \['f'\]"),
        ({"n": 0.0, "f": 0.0}, "at least one value"),
        ({"n": 2.0, "f": np.nan}, "finite"),
        ({"n": 2.0, "f": np.inf}, "finite"),
        ({"n": -2.0, "f": 4.0}, ">= 0"),
    ],
)
def test_sums_that_cannot_be_are_refused(moments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drift.mean_shift(moments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.1, 0.0, 10, 10, "z"), "from -1 to 1"),
        ((0.0, np.nan, 10, 10, "z"), "from -1 to 1"),
        ((0.0, 0.0, 3, 10, "z"), "> 3"),
        ((0.0, 0.0, 10, 3, "z"), "> 3"),
        ((0.0, 0.0, 10, np.inf, "z"), "finite"),
        ((0.0, 0.0, 10, 10, "x"), "space"),
    ],
)
def test_correlations_that_cannot_be_are_refused(arguments: Any, message: str) -> None:
    r, s, m, n, space = arguments
    with pytest.raises(ValueError, match=message):
        drift.correlation_z(r, s, reference_samples=m, samples=n, space=space)
