"""Least and greatest of the last minutes, held to a list of everything that was seen."""

import numpy as np
import pytest

from otel_mlmon.extremes import Extremes

NAN = float("nan")


def test_readings_cover_between_four_fifths_of_the_span_and_all_of_it() -> None:
    """Brute force over random times: what is inside of 4/5 counts, what is outside of the span does not."""
    rng = np.random.default_rng(11)
    for _ in range(30):
        extremes = Extremes(3, 100.0)
        now, seen = 1_000.0, []
        for _ in range(40):
            now += rng.exponential(15.0)
            values = rng.normal(size=(3, rng.integers(0, 5)))
            values[rng.random(values.shape) < 0.2] = np.nan
            extremes.add(values, now)
            seen.append((now, values))
            inner = np.concatenate([some for at, some in seen if at > now - 80], axis=1)
            outer = np.concatenate([some for at, some in seen if at > now - 100], axis=1)
            for reading, least in zip(extremes.read(now), (True, False), strict=True):
                bounds = [
                    (np.fmin if least else np.fmax).reduce(part, axis=1, initial=np.inf if least else -np.inf)
                    for part in (inner, outer)
                ]
                for value, within, beyond in zip(reading, *bounds, strict=True):
                    if np.isnan(value):
                        assert np.isinf(within)
                    else:
                        assert (beyond <= value <= within) if least else (within <= value <= beyond)


def test_without_values_there_is_no_reading() -> None:
    extremes = Extremes(2, 100.0)
    np.testing.assert_array_equal(extremes.read(50.0), np.full((2, 2), NAN))
    extremes.add(np.empty((2, 0)), 50.0)
    extremes.add(np.array([[NAN], [3.0]]), 50.0)
    np.testing.assert_array_equal(extremes.read(50.0), [[NAN, 3.0], [NAN, 3.0]])


def test_old_values_fall_out_without_new_ones() -> None:
    extremes = Extremes(1, 100.0)
    extremes.add(np.array([[5.0, -2.0]]), 1000.0)
    assert [float(one[0]) for one in extremes.read(1079.0)] == [-2.0, 5.0]
    np.testing.assert_array_equal(extremes.read(1100.0), [[NAN], [NAN]])


@pytest.mark.parametrize("back", [50.0, 3600.0])
def test_a_clock_set_back_leaves_no_values_of_the_future(back: float) -> None:
    extremes = Extremes(1, 100.0)
    extremes.add(np.array([[1000.0]]), 10_000.0)
    np.testing.assert_array_equal(extremes.read(10_000.0 - back), [[NAN], [NAN]])
    extremes.add(np.array([[1.0]]), 10_000.0 - back)
    np.testing.assert_array_equal(extremes.read(10_000.0 - back), [[1.0], [1.0]])


def test_a_reset_forgets() -> None:
    extremes = Extremes(1, 100.0)
    extremes.add(np.array([[5.0]]), 10_000.0)
    extremes.reset()
    np.testing.assert_array_equal(extremes.read(10_000.0), [[NAN], [NAN]])
    extremes.add(np.array([[7.0]]), 10_000.0)
    np.testing.assert_array_equal(extremes.read(10_000.0), [[7.0], [7.0]])
