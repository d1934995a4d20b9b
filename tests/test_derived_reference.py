"""What a reference derives: fitted on one half of the rows, counted on the other, and kept in its document."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_mlmon import catalog
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.derivation.space import Space
from otel_mlmon.feature import Feature
from otel_mlmon.profiling import halves
from otel_mlmon.reference import Batch, Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Threshold
from tests.counts import counted, series

WORDS = ["plane", "late", "again", "crew", "gate", "über", "weather"]
DERIVED = [
    *("comment/words", "comment/non_ascii", "comment/unknown_words", "comment/empty"),
    *("embedding/pc1", "embedding/pc2", "embedding/pc3", "@reconstruction_error"),
]
SCHEMA = Schema(
    (
        Feature("x"),
        Feature("y"),
        Feature("carrier", kind="categorical"),
        Feature("flag", kind="boolean"),
        Feature("comment", kind="text"),
        Feature("embedding", kind="vector", width=8),
    )
)


def data(rows: int = 3_000, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    embedding: list[Any] = [*(rng.normal(size=(rows, 8)) * np.arange(8, 0, -1))]
    embedding[::100] = [None] * len(embedding[::100])
    return {
        "x": np.where(rng.random(rows) < 0.05, np.nan, x),
        "y": x + 0.1 * rng.normal(size=rows),
        "carrier": rng.choice(["UA", "DL", "AA"], rows, p=[0.6, 0.3, 0.1]),
        "flag": rng.random(rows) < 0.3,
        "comment": [" ".join(rng.choice(WORDS, rng.integers(0, 9))) for _ in range(rows)],
        "embedding": embedding,
    }


def part(columns: dict[str, Any], rows: Any) -> dict[str, Any]:
    return {
        name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in np.arange(len(values))[rows]]
        for name, values in columns.items()
    }


@pytest.fixture(scope="module")
def built() -> Reference:
    return Reference.build(data(), schema=SCHEMA, task="binary", scores=np.random.default_rng(1).random(3_000))


# ---------------------------------------------------------------- names
def test_profiles_come_in_order_and_by_name(built: Reference) -> None:
    assert [profile.feature for profile in built.profiles] == [*SCHEMA.names, *DERIVED, "@score"]
    assert [built[name].kind for name in DERIVED] == ["numeric"] * len(DERIVED)
    assert list(built.derivation.names) == DERIVED


def test_without_multivariate_only_the_distance_of_a_vector_is_left() -> None:
    plain = Reference.build(data(300), schema=SCHEMA, multivariate=False)
    assert [profile.feature for profile in plain.profiles] == list(SCHEMA.names)
    assert plain["embedding"].samples > 100
    assert plain.derivation.reconstruction is None


def test_a_name_that_a_derived_feature_would_have_is_refused() -> None:
    with pytest.raises(ValueError, match="feature 'comment/words': the name is that of a derived feature"):
        Schema((Feature("comment", kind="text"), Feature("comment/words")))
    assert Schema((Feature("comment"), Feature("comment/words"))).names == ("comment", "comment/words")


def test_derived_features_have_thresholds_of_their_own(built: Reference) -> None:
    from otel_mlmon.monitor import Monitor

    names = ("@reconstruction_error", "embedding/pc2", "comment/words")
    with Monitor("m", reference=built, thresholds=[Threshold("wasserstein", 0.5, feature=name) for name in names]):
        pass
    with (
        pytest.raises(ValueError, match="embedding/pc4"),
        Monitor("m", reference=built, thresholds=[Threshold("psi", 1, feature="embedding/pc4")]),
    ):
        pass


# ---------------------------------------------------------------- the halves
def test_what_is_derived_is_counted_on_the_half_that_it_was_not_fitted_on(built: Reference) -> None:
    """That half through a monitor gives exactly the counts of the reference: training and serving derive alike."""
    other = np.random.default_rng((0, 1)).random(3_000) >= 0.5
    rows = part(data(), other)
    frame = pd.DataFrame({name: list(values) for name, values in rows.items()})
    counts = counted([(frame[start : start + 400], None) for start in range(0, len(frame), 400)], built)
    for name in ("embedding", *DERIVED):
        profile = built[name]
        found = series(counts, catalog.FEATURE_BIN, name)
        assert found == {label: n for label, n in zip(profile.bins, profile.counts, strict=True) if n}, name
        assert profile.rows == profile.samples + profile.missing <= other.sum()
        assert counts.get((catalog.FEATURE_MISSING.name, name), (0.0,)) == (profile.missing,)
    assert built["embedding"].missing > 10
    assert built["@reconstruction_error"].samples == other.sum()
    assert built["x"].rows == 3_000


def test_it_is_fitted_on_the_other_half(built: Reference) -> None:
    fitted = np.random.default_rng((0, 1)).random(3_000) < 0.5
    vectors = np.array([value for value in part(data(), fitted)["embedding"] if value is not None])
    assert built.derivation.spaces[0] == Space.fit(SCHEMA["embedding"], vectors, components=3)


def test_derived_features_are_not_related_to_the_score(built: Reference) -> None:
    """Their pair moments would cost six series each."""
    assert {profile.feature for profile in built.profiles if profile.correlations} == {"x", "y", "comment", "embedding"}
    counts = counted([(pd.DataFrame({name: list(values) for name, values in data(50).items()}), np.full(50, 0.5))], built)
    pairs = {key[1] for key in counts if key[0] == catalog.FEATURE_MOMENT.name and key[2] == "@score"}
    assert pairs == {"x", "y", "comment", "embedding"}


def test_categories_are_encoded_by_their_frequency_and_truth_values_as_0_and_1() -> None:
    """``__other__`` stands for several: it is as frequent as one of them."""
    names = ["a"] * 500 + ["b"] * 300 + ["c"] * 120 + ["d"] * 80
    columns = {"x": np.arange(1_000.0), "kind": names, "flag": [place % 3 == 0 for place in range(1_000)]}
    fitted = np.random.default_rng((0, 1)).random(1_000) < 0.5
    shares = {name: np.mean(np.array(names)[fitted] == name) for name in "abcd"}
    fit = Reference.build(columns, categories=2).derivation.reconstruction
    assert fit is not None
    encodings = {item.feature: item.encoding for item in fit.inputs}
    assert encodings["kind"] == pytest.approx((shares["a"], shares["b"], (shares["c"] + shares["d"]) / 2, 0.0))
    assert encodings["flag"] == (0.0, 1.0, 0.0)


def test_timestamps_calibrate_what_is_derived() -> None:
    rows = data(3_000)
    at = np.linspace(0, 20 * 3600, 3_000, endpoint=False)
    assert Reference.build(rows, schema=SCHEMA, timestamps=at)["@reconstruction_error"].thresholds == {}  # 75 rows an hour
    crowded = {
        name: np.concatenate([values, values]) if isinstance(values, np.ndarray) else values * 2 for name, values in rows.items()
    }
    found = Reference.build(crowded, schema=SCHEMA, timestamps=np.tile(at, 2) * 0.6)
    assert set(found["@reconstruction_error"].thresholds["wasserstein"]) == {"1h"}


# ---------------------------------------------------------------- batches
@pytest.mark.parametrize("kept", [20_000, 200])
@pytest.mark.parametrize("cuts", [[], [1], [700, 701, 2_000]])
def test_any_cut_into_batches_derives_the_same(cuts: list[int], kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where not all rows can be kept to fit on."""
    monkeypatch.setattr(halves, "FITTED_ROWS", kept)
    columns, edges = data(), [0, *cuts, 3_000]
    batches = [Batch(part(columns, slice(*pair))) for pair in pairwise(edges)]
    whole, parts = Reference.build(columns, schema=SCHEMA), Reference.build(batches, schema=SCHEMA)
    assert parts.derivation == whole.derivation
    assert [parts[name].counts for name in DERIVED] == [whole[name].counts for name in DERIVED]
    assert len(whole.derivation.vocabularies[0].words) == len(WORDS)


def test_the_rows_kept_to_fit_on_are_those_with_the_smallest_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "FITTED_ROWS", 200)
    columns = data()
    keys = np.random.default_rng((0, 1)).random(3_000)
    vectors = np.array([value for value in part(columns, keys <= np.sort(keys)[199])["embedding"] if value is not None])
    batches = [Batch(part(columns, slice(start, start + 100))) for start in range(0, 3_000, 100)]
    assert Reference.build(batches, schema=SCHEMA).derivation.spaces[0] == Space.fit(SCHEMA["embedding"], vectors, components=3)


def test_the_same_seed_gives_the_same_digest_and_another_other_halves() -> None:
    first, second, other = (Reference.build(data(400), schema=SCHEMA, seed=seed) for seed in (3, 3, 4))
    assert first.digest == second.digest
    assert first.derivation.spaces != other.derivation.spaces


@pytest.mark.parametrize(("options", "passes"), [({}, 3), ({"multivariate": False}, 2)])
def test_data_in_batches_is_read_once_more_where_something_is_derived(options: dict[str, Any], passes: int) -> None:
    opened = []

    def batches() -> Iterator[Any]:
        opened.append(1)
        yield {"a": np.arange(500.0), "b": np.arange(500.0) ** 2, "c": np.arange(500) % 7}

    Reference.build(batches, **options)
    assert len(opened) == 1 + passes  # the first look is for the schema


# ---------------------------------------------------------------- little data
@pytest.mark.parametrize("rows", [1, 2, 3, 40, 120])
def test_a_few_rows_make_a_reference(rows: int, tmp_path: Path) -> None:
    found = Reference.build(data(rows), schema=SCHEMA)
    found.save(tmp_path / "reference.json")
    assert Reference.load(tmp_path / "reference.json") == found
    assert ("@reconstruction_error" in found) == ("embedding/pc1" in found) == (rows == 120)
    counted([(pd.DataFrame({name: list(values) for name, values in data(5).items()}), None)], found)


@pytest.mark.parametrize(
    "empty", [{"embedding": [None] * 200}, {"comment": [None] * 200}, {"comment": [""] * 200}, {"x": [None] * 200}]
)
def test_a_feature_without_values_derives_nothing_or_nothing_that_counts(empty: dict[str, Any]) -> None:
    found = Reference.build(data(200) | empty, schema=SCHEMA)
    assert all(profile.samples + profile.missing + profile.invalid == profile.rows for profile in found.profiles)
    counted([(pd.DataFrame({name: list(values) for name, values in (data(50) | {}).items()}), None)], found)


def test_a_schema_of_one_vector_is_built_from_an_array() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 16))
    schema = Schema((Feature("e", kind="vector", width=16),))
    found = Reference.build(rows, schema=schema)
    assert found.derivation == Reference.build({"e": list(rows)}, schema=schema).derivation
    assert Reference.build({"e": rows}).schema["e"] == Feature("e", kind="vector", width=16, dtype="float64", nullable=False)


# ---------------------------------------------------------------- the document
def test_it_survives_its_document(built: Reference, tmp_path: Path) -> None:
    built.save(tmp_path / "reference.json")
    loaded = Reference.load(tmp_path / "reference.json")
    assert (loaded.derivation, loaded.digest) == (built.derivation, built.digest)


def test_no_word_of_a_text_is_in_the_document(built: Reference) -> None:
    document = json.dumps(built.to_json(), ensure_ascii=False)
    assert "embedding" in document
    assert not [word for word in ("plane", "again", "crew", "gate", "über", "weather") if word in document]


def _set(*path: Any) -> Callable[[Any, Any], None]:
    def change(document: Any, value: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        (_set("vocabularies", 0, "words"), [2, 1], "feature 'comment': words must be at most"),
        (_set("vocabularies", 0, "words"), [-1], "feature 'comment': words must be at most"),
        (_set("vocabularies", 0, "feature"), "x", "vocabularies must be of the text features|profiles must be those of"),
        (_set("spaces", 0, "width"), 9, "feature 'embedding': space: a centroid has the width"),
        (_set("spaces", 0, "scale"), 0.0, "feature 'embedding': space: a centroid has the width"),
        (_set("spaces", 0, "centroid", 0), None, r"centroid\[0\] must be a finite number"),
        (_set("spaces", 0, "components", 0), [1.0], "feature 'embedding': space: components are at most"),
        (_set("spaces", 0, "components", 0), "x", "components must be a list"),
        (_set("spaces"), [], "profiles must be those of|spaces must be of the vector features"),
        (_set("reconstruction"), None, "profiles must be those of"),
        (_set("reconstruction", "centre"), [0.0], "reconstruction: centre and components have"),
        (_set("reconstruction", "inputs", 0, "std"), 0.0, "reconstruction: input 'x': std must be > 0"),
        (_set("reconstruction", "inputs", 0, "feature"), "y", "reconstruction: inputs must be at least 3, distinct"),
        (_set("reconstruction", "inputs", 0, "feature"), "z", "the input 'z' of the reconstruction must be a feature"),
        (_set("reconstruction", "inputs", 0, "encoding"), [1.0], "reconstruction: inputs must be .* the numeric ones first"),
        (_set("reconstruction", "note"), 1, "unknown"),
        (_set("spaces", 0, "centroid", 0), 0.5, "digest must be that of the content"),
    ],
)
def test_every_corruption_is_loud(built: Reference, change: Callable[[Any, Any], None], value: Any, message: str) -> None:
    document = json.loads(json.dumps(built.to_json()))
    change(document["derivation"], value)
    with pytest.raises(ValueError, match=message):
        Reference.from_json(document)


def test_an_empty_derivation_survives_its_document() -> None:
    assert Derivation.from_json(Derivation().to_json()) == Derivation()
