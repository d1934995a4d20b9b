"""Typed rows become increments: NumPy's histogram and the definitions are the oracles."""

from typing import Any

import numpy as np
import pytest

from otel_mlmon import catalog
from otel_mlmon.aggregate import REASONS, Aggregator, Table, Watched
from otel_mlmon.profiling.profile import FeatureProfile, interval_labels

Floats = np.ndarray[Any, np.dtype[np.float64]]

MODEL = ("model", "1")


def profile(
    name: str,
    edges: tuple[float, ...],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    histogram: tuple[float, ...] = (),
    fences: tuple[float, float] = (-1.0, 1.0),
) -> FeatureProfile:
    counts = tuple(range(1, len(edges) + 2))
    rows = sum(counts)
    return FeatureProfile(
        name, "numeric", interval_labels(edges), edges, counts, rows=rows, mean=mean, std=std, minimum=mean - 100,
        maximum=mean + 100, median=mean, fences=fences, histogram=histogram,
    )  # fmt: skip


PROFILES = (
    profile("x", (-1.0, 0.0, 1.0), histogram=(-1.0, 0.0, 0.5, 1.0)),
    profile("wide", tuple(np.linspace(-3, 3, 98)), histogram=(0.0,)),
    profile("flat", (5.0, float(np.nextafter(5, 6))), mean=5.0, std=0.0),
    profile("none", (), histogram=()),
    profile("far", (1e200,), mean=1e200, std=1e190, fences=(0.0, 1e201)),
    profile("@score", (0.25, 0.5, 0.75), mean=0.5, std=0.3, histogram=(0.5,)),
)
WATCHED = [Watched("bare", True, None), *(Watched(one.feature, True, one, related=one.feature != "@score") for one in PROFILES)]
NAMES = [one.name for one in WATCHED]


def counted(numeric: Floats, *, target: str = "@score", histograms: bool = True) -> dict[tuple[str, ...], Floats]:
    """Increments by family and labels."""
    aggregator = Aggregator(MODEL, WATCHED, target=target, histograms=histograms)
    out = aggregator(Table(numeric.shape[1], numeric, [], np.zeros(len(WATCHED)), np.zeros((len(WATCHED), len(REASONS)))))
    found: dict[tuple[str, ...], Floats] = {}
    for block in aggregator.blocks:
        parts = out[block.start : block.stop].reshape(len(block.labels), -1)
        found |= {(block.family.name, *labels[2:]): part for labels, part in zip(block.labels, parts, strict=True)}
    return found


def sample(rows: int = 500, seed: int = 0) -> Floats:
    """Values on the edges and next to them too, with gaps."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(WATCHED), rows))
    for row, one in zip(values, WATCHED, strict=True):
        edges = np.array(one.profile.edges if one.profile is not None else ())
        exact = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])[:rows]
        row[: len(exact)] = exact
    values[NAMES.index("@score")] = rng.random(rows)
    return np.where(rng.random(values.shape) < 0.1, np.nan, values)


@pytest.mark.parametrize("rows", [0, 1, 500])
@pytest.mark.parametrize("one", PROFILES, ids=lambda one: one.feature)
def test_bins_are_numpys_histogram(one: FeatureProfile, rows: int) -> None:
    numeric = sample(rows)
    values = numeric[NAMES.index(one.feature)]
    valid = values[~np.isnan(values)]
    wanted = [
        np.count_nonzero((valid >= low) & (valid < high))
        for low, high in zip((-np.inf, *one.edges), (*one.edges, np.inf), strict=True)
    ]
    found = counted(numeric)
    assert [found[catalog.FEATURE_BIN.name, one.feature, label][0] for label in one.bins] == wanted


@pytest.mark.parametrize("one", PROFILES, ids=lambda one: one.feature)
def test_value_histograms_have_le_bounds_and_a_sum(one: FeatureProfile) -> None:
    numeric = sample()
    values = numeric[NAMES.index(one.feature)]
    valid = values[~np.isnan(values)]
    *buckets, total = counted(numeric)[catalog.FEATURE_VALUE.name, one.feature]
    assert np.cumsum(buckets).tolist() == [np.count_nonzero(valid <= bound) for bound in (*one.histogram, np.inf)]
    assert total == pytest.approx(valid.sum(), rel=1e-9)


@pytest.mark.parametrize("one", PROFILES, ids=lambda one: one.feature)
def test_moments_are_their_definition(one: FeatureProfile) -> None:
    numeric = sample()
    values = numeric[NAMES.index(one.feature)]
    z = np.clip((values[~np.isnan(values)] - one.mean) / (one.std or 1.0), -8, 8) + 8
    found = counted(numeric)
    moments = [found[catalog.FEATURE_MOMENT.name, one.feature, "", "z", moment][0] for moment in ("n", "f", "ff")]
    assert moments == pytest.approx([len(z), z.sum(), (z**2).sum()], rel=1e-9)


@pytest.mark.parametrize("one", PROFILES[:-1], ids=lambda one: one.feature)
def test_pairs_are_taken_over_the_rows_that_have_both(one: FeatureProfile) -> None:
    numeric = sample()
    both = ~np.isnan(numeric[NAMES.index(one.feature)]) & ~np.isnan(numeric[NAMES.index("@score")])
    found = counted(numeric)

    def spaces(profile: FeatureProfile) -> dict[str, Floats]:
        values = numeric[NAMES.index(profile.feature)][both]
        ranks = (np.cumsum(profile.counts) - np.array(profile.counts) / 2) / sum(profile.counts)
        return {
            "z": np.clip((values - profile.mean) / (profile.std or 1.0), -8, 8) + 8,
            "u": ranks[[sum(edge <= value for edge in profile.edges) for value in values]],
        }

    for space in ("z", "u"):
        f, y = spaces(one)[space], spaces(PROFILES[-1])[space]
        wanted = {"n": both.sum(), "f": f.sum(), "ff": f @ f, "y": y.sum(), "yy": y @ y, "fy": f @ y}
        for moment, value in wanted.items():
            assert found[catalog.FEATURE_MOMENT.name, one.feature, "@score", space, moment][0] == pytest.approx(value, rel=1e-9), (
                moment
            )


def test_outliers_are_beyond_the_fences_and_not_on_them() -> None:
    numeric = np.full((len(WATCHED), 5), np.nan)
    numeric[NAMES.index("x")] = [-1.0, 1.0, np.nextafter(1, 2), -5.0, np.nan]
    assert counted(numeric)[catalog.FEATURE_OUTLIERS.name, "x"] == 2


@pytest.mark.parametrize("one", [one for one in PROFILES if one.samples], ids=lambda one: one.feature)
def test_out_of_range_is_beyond_the_reference_and_not_at_its_ends(one: FeatureProfile) -> None:
    ends = [one.minimum, one.maximum]
    outside = [np.nextafter(one.minimum, -np.inf), np.nextafter(one.maximum, np.inf), -1e300, 1e300]
    values = [*ends, one.mean, *outside, np.nan]
    numeric = np.full((len(WATCHED), len(values)), np.nan)
    numeric[NAMES.index(one.feature)] = values
    assert counted(numeric)[catalog.FEATURE_OUT_OF_RANGE.name, one.feature] == 4


def test_a_feature_that_training_had_no_values_of_has_no_range() -> None:
    empty = FeatureProfile("x", "numeric", ("00 (-inf, inf)",), (), (0,))
    aggregator = Aggregator(MODEL, [Watched("x", True, empty)])
    out = aggregator(Table(2, np.array([[1.0, -1e300]]), [], np.zeros(1), np.zeros((1, len(REASONS)))))
    (block,) = (block for block in aggregator.blocks if block.family is catalog.FEATURE_OUT_OF_RANGE)
    assert out[block.start : block.stop].tolist() == [0]


def test_without_target_there_are_no_pairs() -> None:
    assert {key[2] for key in counted(sample(), target="") if key[0] == catalog.FEATURE_MOMENT.name} == {""}


def test_the_target_is_not_paired_with_itself() -> None:
    assert not [key for key in counted(sample()) if key[:3] == (catalog.FEATURE_MOMENT.name, "@score", "@score")]


def test_without_histograms_the_rest_is_the_same() -> None:
    found, without = counted(sample()), counted(sample(), histograms=False)
    assert without.keys() == {key for key in found if key[0] != catalog.FEATURE_VALUE.name}
    for key, value in without.items():
        np.testing.assert_array_equal(value, found[key])


def test_a_feature_without_reference_has_gaps_and_nothing_else() -> None:
    assert {key[0] for key in counted(sample()) if key[1] == "bare"} == {catalog.FEATURE_MISSING.name, catalog.FEATURE_INVALID.name}


def test_increments_add_up_however_the_rows_are_cut() -> None:
    numeric = sample(300)
    whole = counted(numeric)
    parts = [counted(np.ascontiguousarray(part)) for part in np.array_split(numeric, [0, 1, 50, 51, 299], axis=1)]
    for key, value in whole.items():
        np.testing.assert_allclose(sum(part[key] for part in parts), value, rtol=1e-9, atol=1e-9, err_msg=str(key))


def test_counters_only_grow() -> None:
    for key, value in counted(sample()).items():
        assert (value[:-1] >= 0).all(), key
        assert key[0] == catalog.FEATURE_VALUE.name or (value >= 0).all(), key


@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_huge_values_stay_finite(value: float) -> None:
    """An infinite sum becomes NaN as soon as an infinity of the other sign is added; and a NaN never goes away."""
    numeric = np.full((len(WATCHED), 4), value)
    with np.errstate(over="ignore"):  # as the worker does
        found = counted(numeric)
    for key, increments in found.items():
        assert np.isfinite(increments).all(), key


def test_categories_count_by_bin_and_nothing_for_minus_one() -> None:
    categorical = FeatureProfile("c", "categorical", ("a", "b", "__unseen__"), (), (3, 2, 0), rows=5)
    watched = [Watched("c", False, categorical), Watched("free", False, None)]
    aggregator = Aggregator(MODEL, watched)
    codes = [np.array([0, 2, -1, 2, 0, 0]), np.array([0, 0, 0, -1, 0, 0])]
    out = aggregator(Table(6, np.zeros((0, 6)), codes, np.array([1.0, 0.0]), np.eye(2, len(REASONS))))
    found = {
        (block.family.name, *labels[2:]): value
        for block in aggregator.blocks
        for labels, value in zip(block.labels, out[block.start : block.stop], strict=True)
    }
    assert [found[catalog.FEATURE_BIN.name, "c", label] for label in categorical.bins] == [3, 0, 2]
    assert [found[catalog.FEATURE_MISSING.name, name] for name in ("c", "free")] == [1, 0]
    assert [found[catalog.FEATURE_INVALID.name, name, reason] for name, reason in (("c", REASONS[0]), ("free", REASONS[1]))] == [
        1,
        1,
    ]
    assert ("free",) not in {key[1:2] for key in found if key[0] == catalog.FEATURE_BIN.name}
