"""The document of a reference, which does not lie: it comes back bit by bit, and every corruption is loud."""

import copy
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import reference as module
from otel_mlmon.profiling.profile import Correlation, FeatureProfile
from otel_mlmon.reference import Metadata, Reference
from tests.training import frame


@pytest.fixture(scope="module")
def built() -> Reference:
    rng = np.random.default_rng(7)
    data = frame(3_000, seed=7)
    data["town"] = rng.integers(0, 60, 3_000).astype(str)
    return Reference.build(
        data,
        task="binary",
        predictions=rng.random(3_000),
        labels=rng.integers(0, 2, 3_000),
        timestamps=1.7e9 + np.sort(rng.uniform(0, 20 * 86400, 3_000)),
        metadata=Metadata(
            code_revision="4f2a91c",
            dataset="flights-2013Q1",
            trained_at=datetime(2026, 11, 1, tzinfo=timezone.utc),
            metrics={"auc": 0.1 + 0.2},
            validation={"no leaks": True, "rows": "enough", "drift": 0.25},
        ),
    )


def test_a_reference_survives_its_document_bit_by_bit(built: Reference, tmp_path: Path) -> None:
    built.save(tmp_path / "reference.json")
    loaded = Reference.load(tmp_path / "reference.json")
    assert loaded == built
    assert loaded != replace(built, created=built.created + 1)
    assert loaded != replace(built, metadata=Metadata())
    assert loaded.digest == built.digest
    assert loaded.metadata.validation["no leaks"] is True
    assert os.listdir(tmp_path) == ["reference.json"]


def test_the_digest_knows_content_and_not_the_time(built: Reference) -> None:
    assert replace(built, created=built.created + 1).digest == built.digest
    assert replace(built, metadata=Metadata()).digest != built.digest
    assert len(built.digest) == 16
    first, second = (Reference.build(frame(50), seed=3) for _ in range(2))
    assert first.digest == second.digest


def test_a_failed_save_leaves_the_old_file(built: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reference.json"
    path.write_text("old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        built.save(path)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["reference.json"])


def _corrupt(*path: Any, value: Any = None, drop: bool = False) -> tuple[tuple[Any, ...], Any, bool]:
    return path, value, drop


@pytest.mark.parametrize(
    ("corruption", "message"),
    [
        (
            _corrupt("format", value="otel_mlmon.reference/1"),
            "format must be 'otel_mlmon.reference/2', got .*; build the reference again",
        ),
        (_corrupt("format", drop=True), "format must be 'otel_mlmon.reference/2', got None"),
        (_corrupt("rows", drop=True), r"reference: .*missing \['rows'\]"),
        (_corrupt("note", value=1), r"reference: .*unknown \['note'\]"),
        (_corrupt("rows", value=3.0), "reference: rows must be a whole number, got 3.0"),
        (_corrupt("rows", value=2_999), "feature 'x': must have the reference's 2999 rows, got 3000"),
        (_corrupt("task", value="clustering"), "task must be one of"),
        (_corrupt("created", value=None), "created must be a finite number, got None"),
        (_corrupt("digest", value="0" * 16), "digest must be that of the content"),
        (_corrupt("metadata", "dataset", value="other"), "digest must be that of the content"),
        (_corrupt("metadata", "dataset", value=3), "metadata: dataset must be a string"),
        (_corrupt("metadata", "metrics", "auc", value="high"), r"metadata: metrics\['auc'\] must be a finite number"),
        (_corrupt("metadata", "validation", "rows", value=None), "validation 'rows' must be a string"),
        (_corrupt("schema", "features", 0, "name", value="w"), "profiles must be those of"),
        (_corrupt("schema", "features", 0, "kind", value="categorical"), "feature 'x': kind 'categorical' of the schema"),
        (_corrupt("profiles", value={}), "profiles must be a list"),
        (_corrupt("profiles", 0, value=[]), "must be a JSON object, got list"),
        (_corrupt("profiles", 0, "kind", value="text"), "feature 'x': kind is 'numeric' or 'categorical', got 'text'"),
        (_corrupt("profiles", 0, "edges", 2, value=-1.0), "feature 'x': edges must be finite and strictly increasing"),
        (_corrupt("profiles", 0, "edges", 2, value=None), r"feature 'x': edges\[2\] must be a finite number, got None"),
        (_corrupt("profiles", 0, "edges", 0, drop=True), "feature 'x': one edge fewer than bins"),
        (_corrupt("profiles", 0, "bins", 0, value="00 (-inf, 0)"), "feature 'x': bins must be labelled by their edges"),
        (_corrupt("profiles", 0, "bins", 0, value=7), r"feature 'x': bins\[0\] must be a string, got 7"),
        (_corrupt("profiles", 0, "counts", 0, value=-1), "feature 'x': one count per bin, whole and >= 0"),
        (_corrupt("profiles", 0, "counts", 0, value=True), r"feature 'x': counts\[0\] must be a whole number, got True"),
        (_corrupt("profiles", 0, "counts", 0, drop=True), "feature 'x': one count per bin"),
        (_corrupt("profiles", 0, "counts", 0, value=1), "feature 'x': rows must be counts"),
        (_corrupt("profiles", 0, "missing", value=0), "feature 'x': rows must be counts"),
        (_corrupt("profiles", 0, "outliers", value=5_000), "feature 'x': outliers must be valid values"),
        (_corrupt("profiles", 0, "weights", 0, value=-1.0), "feature 'x': weights, if any"),
        (_corrupt("profiles", 0, "weights", 0, drop=True), "feature 'x': weights, if any"),
        (_corrupt("profiles", 0, "std", value=0.0), "feature 'x': weights, if any"),
        (_corrupt("profiles", 0, "mean", value=None), "feature 'x': mean, std, minimum, maximum, median must be finite"),
        (_corrupt("profiles", 0, "mean", value=1e6), "feature 'x': minimum <= mean"),
        (_corrupt("profiles", 0, "fences", 0, value=1e6), "feature 'x': fences must be in order"),
        (_corrupt("profiles", 0, "fences", 0, drop=True), "feature 'x': fences must be two numbers"),
        (_corrupt("profiles", 0, "histogram", 0, value=1e6), "feature 'x': histogram must be finite and strictly increasing"),
        (_corrupt("profiles", 0, "noise", "psi", value=0), "feature 'x': noise and thresholds must be finite and > 0"),
        (_corrupt("profiles", 0, "thresholds", "psi", "1d", value=-1.0), "feature 'x': noise and thresholds"),
        (_corrupt("profiles", 0, "thresholds", "psi", value=3), "feature 'x': thresholds: psi must be an object"),
        (_corrupt("profiles", 0, "correlations", 0, "r", value=1.5), "correlation with '@score'"),
        (_corrupt("profiles", 0, "correlations", 0, "space", value="w"), "correlation with '@score'"),
        (_corrupt("profiles", 0, "others", value=["a"]), "feature 'x': a numeric feature has no others"),
        (_corrupt("profiles", 0, "singletons", value=1), "feature 'x': a numeric feature has no singletons"),
        (_corrupt("profiles", 1, "feature", value="x"), "profiles must be those of"),
        (_corrupt("profiles", 2, "bins", 0, value="team"), "feature 'plan': bins must be at least one and distinct"),
        (_corrupt("profiles", 2, "bins", -1, value="none"), "feature 'plan': the last bin must be '__unseen__'"),
        (_corrupt("profiles", 2, "others", value=["a"]), "feature 'plan': others belong to a bin '__other__'"),
        (_corrupt("profiles", 2, "singletons", value=5_000), "feature 'plan': singletons must be from 0 to the values"),
        (_corrupt("profiles", 2, "edges", value=[1.0]), "feature 'plan': a categorical feature has no edges"),
        (_corrupt("profiles", 2, "mean", value=1.0), "feature 'plan': a categorical feature has no mean"),
        (_corrupt("profiles", 5, "others", 0, value="58"), "feature 'town': others must be distinct"),
    ],
)
def test_every_corruption_is_loud(built: Reference, corruption: tuple[tuple[Any, ...], Any, bool], message: str) -> None:
    document = json.loads(json.dumps(built.to_json()))
    path, value, drop = corruption
    place = document
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        Reference.from_json(document)


def test_whatever_number_changes_the_digest_notices(built: Reference) -> None:
    document = built.to_json()
    for number, profile in enumerate(built.profiles):
        for key in ("weights", "histogram"):
            if getattr(profile, key):
                changed = copy.deepcopy(json.loads(json.dumps(document)))
                changed["profiles"][number][key][-1] = math.nextafter(changed["profiles"][number][key][-1], math.inf)
                with pytest.raises(ValueError, match="digest must be that of the content"):
                    Reference.from_json(changed)


@pytest.mark.parametrize("text", ["", "[]", '{"format": "x", "format": "y"}', '{"created": NaN}', "\x00"])
def test_a_file_that_is_no_reference_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json"):
        Reference.load(tmp_path / "broken.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": 3}, "dataset must be a string"),
        ({"trained_at": "today"}, "trained_at must be a Unix time or a datetime"),
        ({"metrics": {"auc": math.nan}}, "metric 'auc' must be a finite number"),
        ({"validation": {"ok": None}}, "validation 'ok' must be a string"),
    ],
)
def test_metadata_of_a_wrong_type_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Metadata(**fields)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_training_time_without_a_zone_is_utc() -> None:
    naive, aware = datetime(2026, 11, 1), datetime(2026, 11, 1, tzinfo=timezone.utc)  # noqa: DTZ001 - the case at hand
    assert Metadata(trained_at=naive).trained_time == Metadata(trained_at=aware).trained_time == aware.timestamp()


def test_profiles_are_checked_however_they_are_made() -> None:
    with pytest.raises(ValueError, match="edges must be finite and strictly increasing"):
        FeatureProfile("x", "numeric", ("a", "b"), (math.inf,), (1, 1), rows=2)
    with pytest.raises(ValueError, match="samples >= 2"):
        Correlation("@score", "z", 0.5, 1)


def test_whole_numbers_in_metadata_survive_the_document() -> None:
    """JSON tells 3 from 3.0; a metric does not."""
    built = replace(
        Reference.build({"x": [1, 2]}), metadata=Metadata(trained_at=1_700_000_000, metrics={"rows": 3}, validation={"n": 3})
    )
    assert Reference.from_json(json.loads(json.dumps(built.to_json()))) == built


def test_public_names_are_there() -> None:
    assert {"Batch", "Correlation", "FeatureProfile", "Metadata", "Reference"} <= set(module.__all__)
