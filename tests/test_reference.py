"""The reference: counts against pandas and NumPy, batches against the whole."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from otel_mlmon.feature import Feature
from otel_mlmon.judge import judge
from otel_mlmon.profiling import survey
from otel_mlmon.reference import Batch, Reference
from otel_mlmon.schema import Schema
from tests.training import frame

AWKWARD = st.one_of(
    st.floats(-1e6, 1e6),
    st.integers(-3, 3),
    st.sampled_from([None, math.nan, math.inf, -math.inf, "7", "", True, np.float32(0.5), np.int64(2), pd.NA, -0.0, [1]]),
)
ANY_CATEGORY = st.one_of(st.sampled_from([*"abcdefgh", "ü", None, math.nan, True, 1, 2.5, b"a", ""]), st.integers(0, 30))


# ---------------------------------------------------------------- counts


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and math.isfinite(value)


@settings(max_examples=150, deadline=None)
@given(st.lists(AWKWARD, min_size=1, max_size=80), st.integers(2, 12))
def test_numeric_counts_are_those_of_pandas_on_awkward_values(values: list[Any], bins: int) -> None:
    profile = Reference.build({"x": values}, schema=Schema((Feature("x"),)), bins=bins)["x"]
    valid = np.array([float(value) for value in values if is_number(value)])
    missing = sum(value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) for value in values)
    assert (profile.rows, profile.missing, profile.invalid) == (len(values), missing, len(values) - missing - len(valid))
    codes = pd.cut(valid, [-np.inf, *profile.edges, np.inf], right=False, labels=False)
    assert list(profile.counts) == [int((codes == number).sum()) for number in range(len(profile.bins))]
    if len(valid):
        assert profile.mean == pytest.approx(valid.mean(), rel=1e-9, abs=1e-9)
        assert profile.std == pytest.approx(valid.std(), rel=1e-6, abs=1e-9)
        assert (profile.minimum, profile.maximum) == (valid.min(), valid.max())
        assert profile.median == pytest.approx(np.median(valid), rel=1e-12, abs=1e-12)
        first, third = np.quantile(valid, [0.25, 0.75])
        low, high = first - 1.5 * (third - first), third + 1.5 * (third - first)
        assert profile.outliers == ((valid < low) | (valid > high)).sum()
        if valid.min() < valid.max():
            assert profile.fences == pytest.approx((low, high), rel=1e-12)
    else:
        assert math.isnan(profile.mean)
        assert profile.noise == {}


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_CATEGORY, min_size=1, max_size=80), st.integers(1, 12))
def test_category_counts_are_those_of_a_counter(values: list[Any], categories: int) -> None:
    def text(value: Any) -> str:
        return (
            ("true" if value else "false")
            if isinstance(value, bool)
            else value.decode()
            if isinstance(value, bytes)
            else str(value)
        )

    profile = Reference.build({"x": values}, schema=Schema((Feature("x", kind="categorical"),)), categories=categories)["x"]
    counter = Counter(text(value) for value in values if value is not None and value == value)
    ranked = sorted(counter, key=lambda name: (-counter[name], name))
    top, rest = ranked[:categories], ranked[categories:]
    assert profile.bins == (*top, *(["__other__"] if rest else []), "__unseen__")
    assert profile.counts == (*(counter[name] for name in top), *([sum(counter[name] for name in rest)] if rest else []), 0)
    assert profile.others == tuple(sorted(rest))
    assert profile.singletons == list(counter.values()).count(1)
    assert profile.missing + sum(profile.counts) == len(values)


def test_rare_categories_tell_how_many_new_ones_to_expect() -> None:
    """Of identifiers, drawn without any drift: Good and Turing's estimate is what a second sample does."""
    rng = np.random.default_rng(3)
    trained, served = rng.zipf(1.5, size=(2, 20_000))
    profile = Reference.build({"x": list(map(str, trained))})["x"]
    assert profile.new_ratio > 0.03
    assert profile.new_ratio == pytest.approx((~np.isin(served, trained)).mean(), rel=0.1)


@pytest.mark.parametrize(("tail", "rows"), [(1.3, 2_000), (1.5, 20_000), (2.0, 2_000), (2.0, 20_000), (3.0, 2_000)])
def test_identifiers_without_drift_raise_no_alarm(tail: float, rows: int) -> None:
    """New ones come in every window; where that is usual they are ``__other__``, else PSI would rise with each."""
    rng = np.random.default_rng(1)
    profile = Reference.build({"x": list(map(str, rng.zipf(tail, rows)))})["x"]
    for _ in range(5):
        served = [profile.codes.get(str(value), profile.unseen) for value in rng.zipf(tail, 5_000)]
        assert judge(profile, np.bincount(served, minlength=len(profile.bins))).severity == ""


def test_a_rare_category_is_other_and_a_new_one_unseen() -> None:
    profile = Reference.build({"x": ["a"] * 500 + ["b"] * 200 + ["c"]}, categories=1)["x"]
    assert profile.bins == ("a", "__other__", "__unseen__")
    assert (profile.codes, profile.unseen) == ({"a": 0, "b": 1, "c": 1}, 2)
    assert profile.unseen_ratio == 1 / 701


def test_where_new_categories_are_usual_a_new_one_is_other() -> None:
    profile = Reference.build({"x": ["a"] * 50 + ["b"] * 20 + ["c"]}, categories=1)["x"]
    assert (profile.unseen, profile.new_ratio, profile.unseen_ratio) == (1, 1 / 71, 0.0)


def test_with_too_many_categories_to_list_a_new_one_is_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "LISTED_OTHERS", 3)
    profile = Reference.build({"x": list("aabcde")}, categories=1)["x"]
    assert (profile.counts, profile.others, profile.unseen, profile.singletons) == ((2, 4, 0), (), 1, 0)


def test_truth_values_have_fixed_bins() -> None:
    profile = Reference.build({"x": [True, True, None]})["x"]
    assert (profile.bins, profile.counts, profile.missing) == (("false", "true", "__unseen__"), (0, 2, 0), 1)


def test_a_constant_has_three_bins_and_no_weights() -> None:
    profile = Reference.build({"x": [0.1] * 3})["x"]
    assert (profile.counts, profile.weights, profile.std, profile.scale) == ((0, 3, 0), (), 0.0, 1.0)
    assert sorted(profile.noise) == ["psi"]


def test_lengths_of_texts_are_binned() -> None:
    profile = Reference.build({"x": ["a", "bb", "bb", None]}, schema=Schema((Feature("x", kind="text"),)))["x"]
    assert (profile.kind, profile.edges, profile.counts, profile.missing) == ("numeric", (2.0,), (1, 2), 1)


def test_weights_make_the_distance_of_two_samples() -> None:
    """Wasserstein's distance between two halves of the data, every value at its bin's mean: SciPy's."""
    values = np.random.default_rng(1).gamma(2.0, size=5_000)
    profile = Reference.build({"x": values})["x"]
    codes = np.searchsorted(profile.edges, values, side="right")
    means = np.array([values[codes == code].mean() for code in range(len(profile.bins))])
    assert np.allclose(profile.weights, np.diff(means) / values.std(), rtol=1e-9)


def test_weights_clip_values_as_serving_does() -> None:
    values = np.concatenate([np.random.default_rng(1).normal(size=5_000), [500.0]])
    profile = Reference.build({"x": values})["x"]
    z = np.clip((values - values.mean()) / values.std(), -8, 8)
    codes = np.searchsorted(profile.edges, values, side="right")
    means = np.array([z[codes == code].mean() for code in range(len(profile.bins))])
    assert np.allclose(profile.weights, np.diff(means), rtol=1e-9)


# ---------------------------------------------------------------- outputs and correlations


def test_z_correlation_is_pearsons_over_complete_pairs() -> None:
    data = frame()
    score = np.random.default_rng(2).random(len(data)) + data["x"].fillna(0).to_numpy() / 50
    found = {c.space: c for c in Reference.build(data, scores=score)["x"].correlations}
    known = ~data["x"].isna()
    assert found["z"].r == pytest.approx(np.corrcoef(data["x"][known], score[known])[0, 1], rel=1e-9)
    assert (found["z"].target, found["z"].samples) == ("@score", known.sum())


def test_u_correlation_is_spearmans_over_bins() -> None:
    """On ties SciPy's Spearman uses midranks, and so do we; with all rows complete they are the same number."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=3_000)
    y = np.exp(x + rng.normal(size=3_000))
    reference = Reference.build({"x": x}, predictions=y, task="regression")
    codes = [np.searchsorted(reference[name].edges, values, side="right") for name, values in (("x", x), ("@prediction", y))]
    found = {c.space: c for c in reference["x"].correlations}
    assert found["u"].r == pytest.approx(stats.spearmanr(codes[0], codes[1]).statistic, rel=1e-9)
    assert found["u"].target == "@prediction"


def test_z_correlation_clips_as_serving_does() -> None:
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(size=2_000), [1e4]])
    y = np.concatenate([rng.normal(size=2_000), [1e4]])
    z = [np.clip((values - values.mean()) / values.std(), -8, 8) for values in (x, y)]
    found = {c.space: c for c in Reference.build({"x": x}, scores=y)["x"].correlations}
    assert found["z"].r == pytest.approx(np.corrcoef(z[0], z[1])[0, 1], rel=1e-9)


@pytest.mark.parametrize("truths", [(0, 1), (0.0, 1.0), (False, True), ("0", "1")])
def test_a_label_that_is_true_or_false_correlates_as_0_and_1(truths: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=1_000)
    hits = rng.random(1_000) < 1 / (1 + np.exp(-x - 1))
    reference = Reference.build({"x": x}, task="binary", labels=[truths[int(hit)] for hit in hits])
    found = {c.space: c for c in reference["x"].correlations}
    assert found["z"].r == pytest.approx(np.corrcoef(x, hits)[0, 1], rel=1e-9)
    codes = np.searchsorted(reference["x"].edges, x, side="right")
    assert found["u"].r == pytest.approx(stats.spearmanr(codes, hits).statistic, rel=1e-9)
    assert found["u"].target == "@label"


def test_classes_and_constants_have_no_correlation() -> None:
    reference = Reference.build(
        {"x": [1.0, 1.0, 1.0], "y": [1.0, 2.0, 3.0]}, task="multiclass", labels=["a", "b", "c"], scores=[0.5, 0.5, 0.6]
    )
    assert reference["x"].correlations == ()
    assert [c.target for c in reference["y"].correlations] == ["@score", "@score"]


def test_probabilities_become_predictions_and_scores() -> None:
    reference = Reference.build({"x": [1.0, 2.0, 3.0]}, task="binary", predictions=np.array([0.2, 0.7, 0.9]), labels=[0, 1, None])
    assert [profile.feature for profile in reference.profiles] == ["x", "@prediction", "@score", "@label"]
    assert (reference["@prediction"].bins, reference["@prediction"].counts) == (("1", "0", "__unseen__"), (2, 1, 0))
    assert reference["@score"].counts == (1, 1, 1)
    assert (reference["@label"].counts, reference["@label"].missing) == ((1, 1, 0), 1)


def test_numbers_to_predict_are_binned_as_numbers() -> None:
    reference = Reference.build({"x": [1.0, 2.0]}, task="regression", predictions=[3, 4], labels=[3, 5])
    assert (reference["@prediction"].kind, reference["@label"].kind) == ("numeric", "numeric")


@pytest.mark.parametrize("kind", ["datetime", "numpy", "pandas", "zone", "text"])
def test_the_age_of_a_timestamp_is_counted_from_when_the_row_was_seen(kind: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    seen = [start + timedelta(hours=hour) for hour in (3, 1, 2)]
    timestamps: Any = {
        "datetime": seen,
        "numpy": np.array([moment.replace(tzinfo=None) for moment in seen], dtype="M8[ns]"),
        "pandas": pd.Series([moment.replace(tzinfo=None) for moment in seen]),
        "zone": pd.Series(seen).dt.tz_convert("Asia/Tokyo"),
        "text": [moment.isoformat() for moment in seen],
    }[kind]
    schema = Schema((Feature("since", kind="timestamp"),))
    reference = Reference.build({"since": [start] * 3}, schema=schema, timestamps=timestamps)
    assert (reference["since"].minimum, reference["since"].median, reference["since"].maximum) == (3_600, 7_200, 10_800)
    with pytest.raises(ValueError, match=r"feature 'since'.*needs timestamps="):
        Reference.build({"since": [start]}, schema=schema)


# ---------------------------------------------------------------- shapes and batches


def test_every_shape_of_the_same_rows_gives_the_same_reference() -> None:
    data = frame(300)[["x", "zeros", "constant"]].astype(float)
    schema = Schema.infer(data)
    shapes: list[Any] = [
        data,
        {name: data[name].to_numpy() for name in data},
        data.to_dict("records"),
        data.to_numpy(),
        data.to_records(index=False),
        [data[:100], data[100:]],
        lambda: iter([data[:100].to_numpy(), data[100:].to_numpy()]),
    ]
    assert len({Reference.build(shape, schema=schema).digest for shape in shapes[:5]}) == 1
    expected = Reference.build(data, schema=schema)
    for shape in shapes[5:]:
        assert [profile.counts for profile in Reference.build(shape, schema=schema).profiles] == [
            profile.counts for profile in expected.profiles
        ]


@pytest.mark.parametrize("cuts", [[], [1], [0, 0, 400], [100, 200, 300], [399], list(range(0, 400, 7))])
def test_any_split_into_batches_gives_the_same_counts(cuts: list[int]) -> None:
    data, rng = frame(4_000, seed=1), np.random.default_rng(1)
    score, label, at = rng.random(4_000), rng.integers(0, 2, 4_000), 1.7e9 + rng.uniform(0, 9 * 86400, 4_000)
    bounds = [0, *(10 * cut for cut in cuts), 4_000]

    def batches() -> Iterator[Batch]:
        for start, stop in pairwise(bounds):
            part = slice(start, stop)
            yield Batch(data[part], scores=score[part], labels=label[part], timestamps=at[part])

    whole = Reference.build(data, task="binary", scores=score, labels=label, timestamps=at)
    parts = Reference.build(batches, task="binary")
    for one, other in zip(whole.profiles, parts.profiles, strict=True):
        exact = ("bins", "edges", "counts", "rows", "missing", "invalid", "outliers", "minimum", "maximum", "median", "histogram")
        assert repr([getattr(one, name) for name in exact]) == repr([getattr(other, name) for name in exact])
        assert one.mean == pytest.approx(other.mean, rel=1e-12, nan_ok=True)
        assert [c.r for c in one.correlations] == pytest.approx([c.r for c in other.correlations], rel=1e-9)
        for statistic, levels in one.thresholds.items():
            assert levels == pytest.approx(other.thresholds[statistic], rel=1e-9)


def test_counts_are_exact_where_edges_come_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_mlmon.profiling.build.SAMPLE_ROWS", 500)
    values = np.random.default_rng(2).normal(size=20_000)
    profile = Reference.build([pd.DataFrame({"x": part}) for part in np.split(values, 10)])["x"]
    assert profile.counts == tuple(np.histogram(values, [-np.inf, *profile.edges, np.inf])[0])
    assert np.abs(np.array(profile.midranks) - (np.arange(10) + 0.5) / 10).max() < np.sqrt(np.log(2 / 0.05) / 1_000) + 0.01
    assert (profile.mean, profile.std) == pytest.approx((values.mean(), values.std()))


def test_a_value_that_the_sample_missed_still_has_its_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_mlmon.profiling.build.SAMPLE_ROWS", 20)
    values = np.concatenate([np.zeros(10_000), [5.0]])
    profile = Reference.build([pd.DataFrame({"x": values})])["x"]
    assert profile.counts == (10_000, 1)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    data = frame(500)
    at = 1.7e9 + np.arange(500) * 3_600.0
    expected = Reference.build(data, timestamps=at)
    monkeypatch.setattr("otel_mlmon.profiling.batches.CHUNK_ROWS", 64)
    for one, other in zip(expected.profiles, Reference.build(data, timestamps=at).profiles, strict=True):
        assert (one.counts, one.edges, one.outliers, one.others) == (other.counts, other.edges, other.outliers, other.others)


def test_what_can_be_read_only_once_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a callable that returns a new iterator"):
        Reference.build(iter([pd.DataFrame({"x": [1.0]})]))
    spent = iter([pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0, 2.0]})])
    with pytest.raises(ValueError, match="same rows each time"):
        Reference.build(lambda: spent)


def test_data_that_changes_between_the_passes_is_refused() -> None:
    passes = iter(["a", "a", "b"])

    def batches() -> Iterator[pd.DataFrame]:
        yield pd.DataFrame({"x": [next(passes)] * 3})

    with pytest.raises(ValueError, match="feature 'x': must have the same categories each time"):
        Reference.build(batches)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({"x": []}, {}, "there must be rows"),
        ({"x": [1.0, 2.0]}, {"labels": [1]}, "one entry for each of 2 rows"),
        ({"x": [1.0, 2.0]}, {"timestamps": [1.0]}, "data: timestamps must have one entry for each of 2 rows"),
        ({"x": [1.0, 2.0]}, {"timestamps": [1.0, None]}, "timestamps must be .*got None in row 1"),
        ({"x": [1.0]}, {"timestamps": ["yesterday"]}, "timestamps must be .*'yesterday'"),
        ({"x": [1.0]}, {"bins": 1}, "bins must be from 2 to 99, got 1"),
        ({"x": [1.0]}, {"categories": 0}, "categories must be at least 1"),
        ({"x": [1.0]}, {"task": "clustering"}, "task must be one of"),
        ({"x": [1e300, -1e300]}, {}, r"feature 'x': values must have a finite standard deviation, got values from -1e\+300"),
        ({"y": [1.0]}, {"schema": Schema((Feature("x"),))}, r"none named \['x'\]"),
        ([Batch({"x": [1.0]})], {"labels": [1]}, "labels must come in each Batch"),
        ([Batch({"x": [1.0]}, labels=[1]), Batch({"x": [1.0]})], {}, "batch 1: must have the outputs of the first"),
        ([Batch({"x": [1.0]}, labels=[1]), Batch({"x": [1.0]}, labels=[1], timestamps=[0])], {}, "batch 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reference.build(data, **options)


def test_a_feature_that_may_be_absent_is_missing() -> None:
    schema = Schema((Feature("x"), Feature("y", required=False)))
    assert Reference.build({"x": [1.0, 2.0]}, schema=schema)["y"].missing == 2


def test_an_unknown_feature_is_named() -> None:
    with pytest.raises(KeyError, match="no feature 'y'"):
        Reference.build({"x": [1.0]})["y"]
