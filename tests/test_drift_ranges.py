"""Quantiles of bins, against Prometheus itself and against the values."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon import catalog, drift
from tests.promql.fleet import Replica
from tests.promql.promtool import close, run
from tests.servers import SERIES, require

Q = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
EDGES = {
    "one bucket": ([5, 0], [2.0]),
    "all above": ([0, 9], [2.0]),
    "first bound positive": ([4, 3, 2, 1], [1.5, 2.0, 7.0]),
    "first bound negative": ([40, 3, 2, 1], [-1.5, 2.0, 7.0]),
    "first bound 0": ([4, 3, 20, 1], [0.0, 2.0, 7.0]),
    "gaps": ([0, 3, 0, 0, 3, 0, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
}


@pytest.mark.parametrize("series", SERIES)
def test_quantiles_are_those_of_histogram_quantile(series: str, tmp_path: Path) -> None:
    """Real Prometheus, what it does in the first and the last bucket included."""
    rng = np.random.default_rng(31)
    cases: dict[str, tuple[Any, Any]] = dict(EDGES)
    for number in range(12):
        size = int(rng.integers(1, 9))
        cases[f"random {number}"] = rng.integers(0, 50, size + 1).tolist(), np.sort(rng.normal(2, 4, size)).tolist()
    replica, expectations = Replica(1), []
    for name, (counts, bounds) in cases.items():
        for le, count in zip((*map(repr, bounds), "+Inf"), accumulate(counts), strict=True):
            replica.counter(catalog.FEATURE_VALUE, count, suffix="_bucket", feature=name, le=le)
        buckets = f'mlmon_feature_value_bucket{{feature="{name}"}}'
        labels = f'{{feature="{name}", instance="a", job="mlmon", model_name="m", model_version="1"}}'
        for q, found in zip(Q, drift.quantiles(counts, bounds, Q).tolist(), strict=True):
            expectations.append(close(f"histogram_quantile({q}, {buckets})", found, 0, labels))
    said = run(require("promtool", series), tmp_path, {}, [replica], expectations)
    assert not said, said


@given(st.integers(0, 2**32 - 1))
def test_quantiles_are_numpys_to_a_bin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, bounds = rng.gamma(3, 2, 500), np.linspace(0.5, 20, 40)
    counts = np.bincount(np.searchsorted(bounds, values), minlength=41)
    found, expected = drift.quantiles(counts, bounds), np.quantile(values, drift.QUANTILES)
    assert np.all(np.diff(found) >= 0)
    assert np.abs(found - expected).max() <= 0.5 + 1e-9


def test_shifts_are_in_deviations_of_the_reference() -> None:
    """All values 2 higher in bins of width 1: every quantile moves by 2, at a deviation of 4 by half of it."""
    counts, bounds = np.array([0, 5, 9, 7, 3, 0, 0, 0]), np.arange(1.0, 8.0)
    shifts = drift.quantile_shifts(counts, np.roll(counts, 2), bounds=bounds, scale=4.0)
    np.testing.assert_allclose(shifts, 0.5, rtol=1e-12)
    np.testing.assert_allclose(drift.quantile_shifts(counts, 7 * counts, bounds=bounds, scale=4.0), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "bounds", "q", "message"),
    [
        ([1, 2], [1.0, 2.0], [0.5], "one fewer"),
        ([1], [], [0.5], "one fewer"),
        ([1, 2, 3], [2.0, 2.0], [0.5], "increasing"),
        ([1, 2], [np.inf], [0.5], "finite"),
        ([1, -2], [1.0], [0.5], ">= 0"),
        ([1, np.nan], [1.0], [0.5], "finite"),
        ([0, 0], [1.0], [0.5], "at least one value"),
        ([[1, 2]], [1.0], [0.5], "shape"),
        ([1, 2], [1.0], [0.0], "above 0"),
        ([1, 2], [1.0], [1.1], "at most 1"),
        ([1, 2], [1.0], [np.nan], "above 0"),
        ([1, 2], [1.0], 0.5, "quantiles"),
    ],
)
def test_quantiles_that_cannot_be_are_refused(counts: Any, bounds: Any, q: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drift.quantiles(counts, bounds, q)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_cannot_be_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        drift.quantile_shifts([1, 2], [2, 1], bounds=[1.0], scale=scale)


def test_compliance_is_the_share_within_the_range() -> None:
    reference, current = np.array([3.0, 5, 9]), np.array([2.9, 3, 4, 9, 9.1, 100, 5, 5])
    outside = np.sum((current < reference.min()) | (current > reference.max()))
    assert drift.range_compliance(len(current), outside) == 5 / 8
    assert drift.range_compliance(4, 0) == 1


@pytest.mark.parametrize(("samples", "outside"), [(0, 0), (5, 6), (5, -1), (np.nan, 0), (5, np.nan), (np.inf, 1)])
def test_shares_that_cannot_be_are_refused(samples: float, outside: float) -> None:
    with pytest.raises(ValueError, match="out_of_range"):
        drift.range_compliance(samples, outside)
