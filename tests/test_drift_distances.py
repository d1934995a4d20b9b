"""Further distances from counts per bin, against SciPy on the same numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from otel_mlmon import drift

Pair = tuple[list[float], list[float]]


def _smoothed_entropy(a: Any, b: Any) -> float:
    p, q = ((np.asarray(side, dtype=float) + 0.5) for side in (a, b))
    return float(stats.entropy(q, p))


def _shares(a: Any, b: Any) -> Any:
    return (np.asarray(side, dtype=float) / np.sum(side) for side in (a, b))


def _hellinger(a: Any, b: Any) -> float:
    """By the Bhattacharyya coefficient, which loses half of the digits near 0."""
    p, q = _shares(a, b)
    return float(np.sqrt(max(1 - np.sqrt(p * q).sum(), 0)))


ORACLES: dict[str, tuple[Callable[[Any, Any], float], Callable[[Any, Any], float]]] = {
    "kl": (drift.kl, _smoothed_entropy),
    "js_divergence": (drift.js_divergence, lambda a, b: distance.jensenshannon(a, b) ** 2),
    "js_distance": (drift.js_distance, lambda a, b: float(distance.jensenshannon(a, b, base=2))),
    "hellinger": (drift.hellinger, _hellinger),
    "total_variation": (drift.total_variation, lambda a, b: float(distance.cityblock(*_shares(a, b)) / 2)),
    "l_infinity": (drift.l_infinity, lambda a, b: float(distance.chebyshev(*_shares(a, b)))),
}

EDGES: tuple[Pair, ...] = (
    ([0, 3, 0, 5], [0, 1, 2, 1]),  # empty in both, and in the reference
    ([4, 3, 2, 5], [0, 9, 0, 0]),  # empty now
    ([4, 0], [0, 7]),
    ([1, 0, 0], [0, 0, 1]),
    ([1e12, 3e12, 0], [2e12, 1, 5e11]),
    ([1, 1], [10**12, 3 * 10**12]),
)

ALL = [(name, *found) for name, found in ORACLES.items()]
TWO_SIDES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=30).filter(
    lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
)


@pytest.mark.parametrize(("name", "ours", "scipys"), ALL)
def test_distances_are_scipys(name: str, ours: Callable[..., float], scipys: Callable[..., float]) -> None:
    rng = np.random.default_rng(11)
    for _ in range(50):
        a, b = rng.integers(0, 100, size=(2, 10))
        assert ours(a, b) == pytest.approx(scipys(a, b), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("reference", "current"), EDGES)
@pytest.mark.parametrize(("name", "ours", "scipys"), ALL)
def test_empty_bins_single_values_and_great_counts_are_scipys(
    name: str, ours: Callable[..., float], scipys: Callable[..., float], reference: Any, current: Any
) -> None:
    assert ours(reference, current) == pytest.approx(scipys(reference, current), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("name", "ours", "_"), ALL)
def test_one_bin_has_no_distance(name: str, ours: Callable[..., float], _: Any) -> None:
    assert ours([3], [8]) == 0


def test_kl_is_of_the_window_against_the_reference() -> None:
    """Worked by hand: shares 3/4, 1/4 of the reference and 1/2, 1/2 now; the other way round it is 0.1308."""
    expected = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert drift.kl([1, 0], [1, 1]) == pytest.approx(expected, rel=1e-14)
    assert drift.kl([1, 1], [1, 0]) != pytest.approx(expected, rel=0.05)


@given(TWO_SIDES)
def test_kl_both_ways_is_psi(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert drift.kl(a, b) + drift.kl(b, a) == pytest.approx(drift.psi(a, b), rel=1e-9, abs=1e-12)


@given(TWO_SIDES)
def test_the_bounded_distances_are_bounded_symmetric_and_0_for_the_same(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    for name in ("js_divergence", "js_distance", "hellinger", "total_variation", "l_infinity"):
        ours, top = ORACLES[name][0], np.log(2) if name == "js_divergence" else 1
        assert 0 <= ours(a, b) <= top * (1 + 1e-12), name
        assert ours(a, b) == pytest.approx(ours(b, a), rel=1e-9, abs=1e-12), name
        assert ours(a, a) == 0, name


@given(TWO_SIDES)
def test_they_are_0_for_equal_shares_only(pairs: list[tuple[int, int]]) -> None:
    """Three times the values is no drift; a share that differs is."""
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    differs = np.abs(a / a.sum() - b / b.sum()).max() > 1e-6
    for name in ("js_divergence", "js_distance", "hellinger", "total_variation", "l_infinity"):
        ours = ORACLES[name][0]
        assert ours(a, 3 * a) == pytest.approx(0, abs=1e-7), name
        assert not differs or ours(a, b) > 1e-14, name


@given(TWO_SIDES, st.integers(2, 1000))
def test_they_do_not_depend_on_the_number_of_values(pairs: list[tuple[int, int]], times: int) -> None:
    a, b = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    for name in ("js_divergence", "hellinger", "total_variation", "l_infinity"):
        ours = ORACLES[name][0]
        assert ours(a, b * times) == pytest.approx(ours(a, b), rel=1e-9, abs=1e-7), name


@given(TWO_SIDES)
def test_known_inequalities_hold(pairs: list[tuple[int, int]]) -> None:
    """``H^2 <= TV <= H * sqrt(2)`` and ``JS <= TV * ln 2`` (Lin 1991, theorem 3): one formula wrong breaks them."""
    a, b = zip(*pairs, strict=True)
    h, tv = drift.hellinger(a, b), drift.total_variation(a, b)
    assert h**2 <= tv + 1e-12
    assert tv <= h * np.sqrt(2) + 1e-12
    assert drift.js_divergence(a, b) <= tv * np.log(2) + 1e-12
    assert drift.l_infinity(a, b) <= tv + 1e-12


@pytest.mark.parametrize(
    ("reference", "current", "message"),
    [
        ([1, 2], [1, 2, 3], "same bins"),
        ([1, 2], [[1, 2]], r"shape \(bins,\)"),
        ([1, -2], [1, 2], "reference counts must be finite and >= 0"),
        ([1, 2], [np.nan, 2], "current counts must be finite and >= 0"),
        ([0, 0], [1, 2], "reference counts: there must be at least one value"),
        ([1, 2], [0, 0], "current counts: there must be at least one value"),
        ([], [], "at least one value"),
    ],
)
@pytest.mark.parametrize("name", [*ORACLES, "ks", "ks_pvalue", "chi2", "chi2_pvalue", "cramers_v"])
def test_counts_that_cannot_be_are_refused(name: str, reference: Any, current: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(drift, name)(reference, current)
