"""The peers of the evaluation say what SciPy, and the packages that they stand for, say of the same raw rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tests.eval import against_evidently
from tests.eval.columns import Column, Floats
from tests.eval.peers import ALPHA, DUMMY_PERIOD, dummy, evidently, psi_over, significant

Rows = Sequence[Any] | np.ndarray[Any, Any]


def split(before: Rows, windows: Sequence[Rows]) -> tuple[Column, Floats, Floats]:
    """A column of all rows, and the histograms of the reference and of each window."""
    column = Column.of("x", np.concatenate((np.asarray(before), *map(np.asarray, windows))))
    groups = np.concatenate([np.full(len(rows), number) for number, rows in enumerate((before, *windows))])
    found = column.histograms(groups, len(windows) + 1)
    return column, found[0], found[1:]


@pytest.mark.parametrize(("m", "n"), [(150, 100), (442, 500), (3_000, 400), (20_000, 700)])
@pytest.mark.parametrize("draw", [lambda rng, k: rng.normal(size=k), lambda rng, k: rng.poisson(2.0, k).astype(float)])
def test_kolmogorov_smirnov_is_scipys(m: int, n: int, draw: Callable[[np.random.Generator, int], Floats]) -> None:
    """Exact for few rows, the limit law for many, ties as they come: the verdict of each window."""
    rng = np.random.default_rng([m, n])
    before, windows = draw(rng, m), [draw(rng, n) + 0.1 * (number % 3) for number in range(60)]
    expected = [stats.ks_2samp(before, rows).pvalue <= ALPHA for rows in windows]
    assert significant(*split(before, windows)).tolist() == expected
    assert any(expected)
    assert not all(expected)


def test_chi_square_is_scipys() -> None:
    """Categories that a window lacks, and one that the reference lacks."""
    rng = np.random.default_rng(1)
    before = rng.choice(list("abcd"), 900, p=[0.6, 0.3, 0.09, 0.01])
    windows = [rng.choice(list("abcde"), 120, p=[0.55, 0.33, 0.09, 0.01, 0.02]) for _ in range(60)]
    column, reference, counts = split(before, windows)
    expected = []
    for one in counts:
        seen = (reference > 0) | (one > 0)
        expected.append(stats.chi2_contingency([reference[seen], one[seen]], correction=False).pvalue < ALPHA)
    assert significant(column, reference, counts).tolist() == expected
    assert any(expected)
    assert not all(expected)


def test_psi_is_that_of_ten_quantile_bins() -> None:
    rng = np.random.default_rng(2)
    before, windows = rng.normal(size=5_000), [rng.normal(0.1 * number, 1, 400) for number in range(8)]
    edges = np.quantile(before, np.arange(0.1, 0.95, 0.1))
    expected = []
    for rows in windows:
        p, q = (np.maximum(np.bincount(np.searchsorted(edges, x), minlength=10) / len(x), 1e-4) for x in (rows, before))
        expected.append(stats.entropy(p, q) * p.sum() + stats.entropy(q, p) * q.sum())
    levels = np.sort(expected)
    for limit in (levels[:-1] + levels[1:]) / 2:
        assert psi_over(*split(before, windows), limit=limit).tolist() == [value > limit for value in expected]


@pytest.mark.parametrize("shift", [0.02, 0.08, 0.12])
def test_evidentlys_distances_are_scipys(shift: float) -> None:
    """Of more than 1,000 rows: Wasserstein over the deviation, Jensen-Shannon, each from 0.1 on."""
    rng = np.random.default_rng(3)
    before, windows = rng.gamma(2, size=3_000), [rng.gamma(2, size=600) + shift * number for number in range(6)]
    distances = [stats.wasserstein_distance(before, rows) / before.std() for rows in windows]
    assert evidently(*split(before, windows)).tolist() == [distance >= 0.1 for distance in distances]
    names, shares = list("abc"), np.array([0.5, 0.3, 0.2])
    before_c = rng.choice(names, 3_000, p=shares)
    windows_c = [rng.choice(names, 600, p=shares + np.array([shift, -shift, 0]) * number / 2) for number in range(4)]
    column, reference, counts = split(before_c, windows_c)
    distances = [float(jensenshannon(one, reference)) for one in counts]
    assert evidently(column, reference, counts).tolist() == [distance >= 0.1 for distance in distances]


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore")
def test_evidently_itself_says_the_same() -> None:
    """960 columns of eight kinds."""
    pytest.importorskip(
        "evidently",
        reason="evidently needs pandas 2, this project's environment has 3: see tests/eval/against_evidently.py",
        exc_type=ImportError,
    )
    assert not list(against_evidently.disagreements())


def test_the_dummy_alarms_throughout_every_fifth_window() -> None:
    assert dummy(0, 60, window=6).reshape(10, 6).all(axis=1).tolist() == ([False] * (DUMMY_PERIOD - 1) + [True]) * 2
    assert dummy(24, 30, window=6).all()
