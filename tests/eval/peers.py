"""Other people's alarms on the same windows: fixed PSI cut-offs, Evidently's defaults, the Kolmogorov-Smirnov test, and a dummy.

Each takes a column, the reference's histogram and the windows' over its distinct values, and says which windows it alarms on.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import rel_entr

from tests.eval.columns import Column, Floats

Bools: TypeAlias = npt.NDArray[np.bool_]
Peer: TypeAlias = Callable[[Column, Floats, Floats], Bools]

ALPHA = 0.05
DUMMY_PERIOD = 5
"""The dummy alarms throughout every fifth window, whatever is in it."""

_EPSILON = 1e-4
_BINS = 10
_SMALL = 1_000  # Evidently: rows of a reference up to which it tests hypotheses
_FEW = 5  # Evidently: distinct values up to which a number is a category
_EXACT = 10_000  # SciPy: rows up to which ks_2samp is exact
_ROUNDING = 1e-12


def psi_over(column: Column, reference: Floats, windows: Floats, *, limit: float) -> Bools:
    """PSI of ten quantile bins over a fixed cut-off; empty bins count as 0.0001.

    Source:
        The usual recipe, with the rule of thumb 0.1 and 0.2: Siddiqi, Credit Risk Scorecards (2006).
    """
    if column.numeric:
        places = np.searchsorted(np.cumsum(reference) / reference.sum(), np.arange(1, _BINS) / _BINS)
        cuts = np.unique(places)
        first = np.concatenate(([0], cuts + 1))
        first = first[first < len(reference)]
        reference, windows = np.add.reduceat(reference, first), np.add.reduceat(windows, first, axis=1)
    expected = np.maximum(reference / reference.sum(), _EPSILON)
    actual = np.maximum(windows / windows.sum(axis=1, keepdims=True), _EPSILON)
    found: Bools = ((actual - expected) * np.log(actual / expected)).sum(axis=1) > limit
    return found


def significant(column: Column, reference: Floats, windows: Floats) -> Bools:
    """Kolmogorov-Smirnov test of numbers, chi-square test of categories, both of two samples, at 5 % each."""
    return _kolmogorov_smirnov(reference, windows) if column.numeric else _chi_square(reference, windows)


def evidently(column: Column, reference: Floats, windows: Floats) -> Bools:
    """Evidently 0.7's default for a column.

    Reference of up to 1,000 rows: Kolmogorov-Smirnov test of numbers, chi-square test of categories and numbers of up to five
    values, z-test of two values, each at 5 %. More rows: Wasserstein distance over the reference's deviation, Jensen-Shannon
    distance of categories and numbers of up to five values, each at 0.1.

    Source:
        evidently 0.7.23, ``legacy/calculations/stattests/registry.py`` (``_get_default_stattest``) and the tests named there;
        ``tests/eval/against_evidently.py`` holds this function to the package.
    """
    distinct = ((reference > 0) | (windows > 0)).sum(axis=1)
    number = distinct > _FEW if column.numeric else np.zeros(len(windows), dtype=bool)
    found = np.zeros(len(windows), dtype=bool)
    if reference.sum() <= _SMALL:
        two = ~number & (distinct <= 2)
        cases: tuple[tuple[Bools, Callable[[Floats], Bools]], ...] = (
            (number, lambda some: _kolmogorov_smirnov(reference, some)),
            (two, lambda some: _proportions(reference, some)),
            (~number & ~two, lambda some: _goodness(reference, some)),
        )
    else:
        cases = (
            (number, lambda some: _wasserstein(column.values.astype(float), reference, some) >= 0.1),
            (~number, lambda some: _jensen_shannon(reference, some) >= 0.1),
        )
    for which, judge in cases:
        if which.any():
            found[which] = judge(windows[which])
    return found


PEERS: Mapping[str, Peer] = {
    "PSI > 0.1": functools.partial(psi_over, limit=0.1),
    "PSI > 0.2": functools.partial(psi_over, limit=0.2),
    "Evidently": evidently,
    "KS test": significant,
}


def dummy(start: int, stop: int, *, window: int = 1) -> Bools:
    """The dummy's alarms.

    Args:
        start: First evaluation.
        stop: One past the last.
        window: Evaluations a window.
    """
    return np.asarray(np.arange(start, stop) // window % DUMMY_PERIOD == DUMMY_PERIOD - 1)


def _kolmogorov_smirnov(reference: Floats, windows: Floats) -> Bools:
    n, m = windows.sum(axis=1), reference.sum()
    below, base = np.cumsum(windows, axis=1), np.cumsum(reference)
    gaps = np.abs(below / n[:, None] - base / m)
    places = gaps.argmax(axis=1)
    distances = gaps[np.arange(len(windows)), places]
    effective = np.round(n * m / (n + m))
    scaled, few = distances * np.sqrt(effective), np.maximum(n, m) <= _EXACT
    # The limit at 5 % is 1.294 for 10 rows, 1.358 for ever so many: scipy.stats.kstwo.isf(0.05, n) * sqrt(n).
    found: Bools = scaled > np.where(few, 2.0, 1.37)
    near = ~found & (scaled > np.where(few | (effective < 10), 0.8, 1.28))
    exact = near & few
    near &= ~exact
    found[near] = stats.kstwo.sf(distances[near], effective[near]) <= ALPHA
    for size in np.unique(n[exact]):
        which = np.flatnonzero(exact & (n == size))
        found[which] = _exact(int(size), int(m)).judge(distances[which], below[which, places[which]], base[places[which]])
    return found


class _Exact:
    """SciPy's exact two-sample test of some numbers of rows, asked as seldom as can be: the p-value falls with the distance.

    Args:
        n, m: Rows of the two samples.
    """

    def __init__(self, n: int, m: int) -> None:
        self._n, self._m = n, m
        self._calm, self._alarm = 0.0, 1.0  # greatest distance known not to alarm, least known to

    def judge(self, distances: Floats, below: Floats, base: Floats) -> Bools:
        """Which distances alarm.

        Args:
            distances: Of windows.
            below, base: Rows up to the place of the distance, in the windows and in the reference.
        """
        while len(open_ := np.flatnonzero((distances > self._calm + _ROUNDING) & (distances < self._alarm - _ROUNDING))):
            one = open_[np.argsort(distances[open_])[len(open_) // 2]]
            # Nothing but the distance matters, and two values are enough to have any.
            samples = (np.arange(rows) >= split for rows, split in ((self._n, below[one]), (self._m, base[one])))
            if stats.ks_2samp(*samples).pvalue <= ALPHA:
                self._alarm = float(distances[one])
            else:
                self._calm = float(distances[one])
        found: Bools = distances >= self._alarm - _ROUNDING
        return found


_exact = functools.cache(_Exact)


def _chi_square(reference: Floats, windows: Floats) -> Bools:
    seen = (reference > 0) | (windows > 0)
    n, m = windows.sum(axis=1, keepdims=True), reference.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = (windows * np.sqrt(m / n) - reference * np.sqrt(n / m)) ** 2 / (windows + reference)
    found: Bools = stats.chi2.sf(np.where(seen, terms, 0.0).sum(axis=1), np.maximum(seen.sum(axis=1) - 1, 1)) < ALPHA
    return found


def _goodness(reference: Floats, windows: Floats) -> Bools:
    """Chi-square of the windows against the reference's shares as if these were known."""
    seen = (reference > 0) | (windows > 0)
    expected = reference * (windows.sum(axis=1, keepdims=True) / reference.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = (windows - expected) ** 2 / expected
    found: Bools = stats.chi2.sf(np.where(seen, terms, 0.0).sum(axis=1), seen.sum(axis=1) - 1) < ALPHA
    return found


def _proportions(reference: Floats, windows: Floats) -> Bools:
    """z-test of the share of the first of two values."""
    n, m = windows.sum(axis=1), reference.sum()
    last = np.max(np.where((reference > 0) | (windows > 0), np.arange(len(reference)), 0), axis=1)
    ones, base = windows[np.arange(len(windows)), last], reference[last]
    pooled = (ones + base) / (n + m)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (base / m - ones / n) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    found: Bools = 2 * stats.norm.sf(np.abs(z)) < ALPHA  # NaN, of one value on both sides, is no alarm
    return found


def _wasserstein(values: Floats, reference: Floats, windows: Floats) -> Floats:
    shares, base = windows / windows.sum(axis=1, keepdims=True), reference / reference.sum()
    deviation = np.sqrt(base @ (values - base @ values) ** 2)
    gaps = np.abs(np.cumsum(shares - base, axis=1))[:, :-1]
    return np.asarray(gaps @ np.diff(values) / max(float(deviation), 0.001))


def _jensen_shannon(reference: Floats, windows: Floats) -> Floats:
    p, q = windows / windows.sum(axis=1, keepdims=True), np.broadcast_to(reference / reference.sum(), windows.shape)
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))
