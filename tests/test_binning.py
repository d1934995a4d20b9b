"""Where bins begin: equal frequency, heavy values apart, edges that read."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_mlmon.profiling.binning import bin_numbers, edges, histogram_bounds
from otel_mlmon.profiling.profile import interval_labels

Floats = npt.NDArray[np.float64]

NUMBERS = st.lists(
    st.one_of(
        st.integers(-5, 5).map(float),
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150),
        st.sampled_from([0.0, -0.0, 0.1, 0.1 + 2**-56, 1e-300, 5e-324, 2.0**53, 1e16]),
    ),
    min_size=1,
    max_size=300,
)


def counted(values: Floats, found: tuple[float, ...]) -> list[int]:
    """NumPy's histogram is the oracle for half-open bins; its last bin is closed, so it gets a bin of infinities."""
    return np.histogram(values, [-np.inf, *found, np.inf])[0].tolist() if found else [len(values)]


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.integers(2, 99))
def test_every_bin_holds_a_value_whatever_the_data(numbers: list[float], bins: int) -> None:
    values = np.array(numbers)
    found = edges(values, bins)
    assert list(found) == sorted(set(found))
    if values.min() == values.max():
        assert counted(values, found) == [0, len(values), 0]
    else:
        assert len(found) + 1 <= bins
        assert min(counted(values, found)) > 0


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.integers(2, 20))
def test_bin_numbers_are_those_of_the_histogram(numbers: list[float], bins: int) -> None:
    values = np.array(numbers)
    found = edges(values, bins)
    assert np.bincount(bin_numbers(values, found), minlength=len(found) + 1).tolist() == counted(values, found)


@pytest.mark.parametrize("bins", [2, 10, 99])
def test_continuous_values_are_spread_evenly(bins: int) -> None:
    """An edge may move 5 % of a bin for shorter text, at either end."""
    rng = np.random.default_rng(1)
    for values in (rng.normal(50, 10, 100_000), rng.gamma(2, 13, 100_000), rng.lognormal(3, 2, 100_000)):
        counts = np.array(counted(values, edges(values, bins)))
        assert len(counts) == bins
        assert np.abs(counts / (len(values) / bins) - 1).max() < 0.11


def test_edges_are_short_numbers() -> None:
    values = np.random.default_rng(1).normal(50, 10, 100_000)
    assert max(len(repr(edge)) for edge in edges(values, 10)) <= 4


def test_zeros_that_outweigh_a_bin_get_their_own_and_the_rest_is_spread() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([np.zeros(95_000), rng.exponential(1.0, 5_000)])
    counts = counted(values, edges(values, 10))
    assert counts[0] == 95_000
    assert len(counts) == 10
    assert max(counts[1:]) < 1.2 * 5_000 / 9


def test_a_heavy_value_in_the_middle_stays_apart_from_both_sides() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([np.full(8_000, 3.0), rng.uniform(0, 2.9, 1_000), rng.uniform(3.1, 9, 1_000)])
    found = edges(values, 5)
    assert counted(values, found) == [pytest.approx(500, abs=60)] * 2 + [8_000] + [pytest.approx(500, abs=60)] * 2


def test_more_heavy_values_than_room_are_binned_together() -> None:
    values = np.repeat(np.arange(40.0), [400 if number % 2 else 30 for number in range(40)])
    counts = counted(values, edges(values, 10))
    assert len(counts) == 10
    assert max(counts) < 2.2 * len(values) / 10


def test_heavy_values_that_leave_no_room_in_between_share_a_bin() -> None:
    light = np.random.default_rng(3).uniform(0, 7, 400)
    values = np.concatenate([np.repeat([1.0, 3.0, 5.0], 3_000), light])
    counts = counted(values, edges(values, 5))
    assert len(counts) == 5
    assert max(counts) < 3_300


def test_few_distinct_values_get_a_bin_each() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 7.0], [900, 50, 49, 1])
    assert edges(values, 10) == (1.0, 2.0, 7.0)


def test_integers_are_cut_between_integers() -> None:
    values = np.random.default_rng(3).integers(0, 24, 10_000).astype(float)
    assert all(edge.is_integer() for edge in edges(values, 10))


def test_a_constant_is_told_from_anything_else() -> None:
    """Three bins: even the next number there is counts as different."""
    found = edges(np.full(20, 5.0), 10)
    assert bin_numbers(np.array([math.nextafter(5.0, 0), 5.0, math.nextafter(5.0, 9)]), found).tolist() == [0, 1, 2]
    assert interval_labels(found) == ("00 (-inf, 5)", "01 [5, 5]", "02 (5, inf)")


@given(NUMBERS, st.integers(2, 20))
def test_labels_say_the_edges_exactly(numbers: list[float], bins: int) -> None:
    found = edges(np.array(numbers), bins)
    labels = interval_labels(found)
    assert len(set(labels)) == len(labels) == len(found) + 1
    assert sorted(labels) == list(labels)
    for label, low in zip(labels[1:], found, strict=True):
        opening, text = label[3], label[4:].split(",")[0]
        assert low == (float(text) if opening == "[" else math.nextafter(float(text), math.inf))


@pytest.mark.parametrize("bins", [1, 100])
def test_a_number_of_bins_that_has_no_two_digits_is_refused(bins: int) -> None:
    with pytest.raises(ValueError, match="bins must be from 2 to 99"):
        edges(np.arange(5.0), bins)


def test_infinite_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        edges(np.array([1.0, np.inf]), 10)


def test_no_values_have_no_edges() -> None:
    assert edges(np.array([]), 10) == histogram_bounds(np.array([])) == ()


def test_histogram_bounds_are_rounded_quantiles() -> None:
    values = np.random.default_rng(4).lognormal(5, 2, 50_000)
    bounds = histogram_bounds(values)
    assert np.allclose(bounds, np.quantile(values, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]), rtol=0.005)
    assert all(float(f"{bound:.2e}") == bound for bound in bounds)
