"""Drift that no single number shows is found; without drift nothing is, more often than chance may."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from otel_mlmon.derivation.space import Space
from otel_mlmon.feature import Feature
from otel_mlmon.judge import judge
from otel_mlmon.monitor import Monitor
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.snapshot import FeatureSnapshot
from tests.counts import QUIET

Floats = npt.NDArray[np.float64]

WIDTH = 64
SPREAD = np.geomspace(2, 0.2, WIDTH)


def watched(reference: Reference, rows: Any) -> dict[str, FeatureSnapshot]:
    """What a monitor saw of some rows, by feature."""
    with Monitor("m", reference=reference, settings=QUIET) as monitor:
        monitor.observe(rows)
        assert monitor.flush()
        return dict(monitor.snapshot().features)


def alarms(reference: Reference, rows: Any) -> set[str]:
    """Features whose default alert would hold."""
    return {
        name
        for name, seen in watched(reference, rows).items()
        if seen.reference is not None and judge(seen.reference, list(seen.counts.values()), seen.mean_shift).severity
    }


# ---------------------------------------------------------------- rows of numbers
def table(rows: int, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return {"x1": x, "x2": x + 0.3 * rng.normal(size=rows), "x3": rng.normal(size=rows), "x4": rng.exponential(size=rows)}


def test_inputs_that_no_longer_go_together_are_found_though_each_is_as_before() -> None:
    reference = Reference.build(table(10_000, seed=0))
    live = table(4_000, seed=1)
    assert alarms(reference, live) == set()
    assert alarms(reference, live | {"x2": np.random.default_rng(2).permutation(live["x2"])}) == {"@reconstruction_error"}


def test_categories_that_swap_with_a_number_are_found() -> None:
    """Frequencies stay as they were; which number goes with which category does not."""
    rng = np.random.default_rng(0)

    def rows(seed: int, *, broken: bool = False) -> dict[str, Any]:
        own = np.random.default_rng(seed)
        kind = own.choice(["bus", "car", "bike"], 6_000, p=[0.7, 0.2, 0.1])
        speed = np.select([kind == "bus", kind == "car"], [0.0, 3.0], 6.0) + 0.3 * own.normal(size=6_000)
        return {"kind": rng.permutation(kind) if broken else kind, "speed": speed, "cost": speed + 0.3 * own.normal(size=6_000)}

    reference = Reference.build(rows(1))
    assert alarms(reference, rows(2)) == set()
    assert alarms(reference, rows(2, broken=True)) == {"@reconstruction_error"}


# ---------------------------------------------------------------- embeddings
def embeddings(rows: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(rows, WIDTH)) * SPREAD


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.build(embeddings(6_000, seed=0), schema=Schema((Feature("e", kind="vector", width=WIDTH),)))


def test_embeddings_of_the_same_law_are_quiet(reference: Reference) -> None:
    assert alarms(reference, embeddings(3_000, seed=1)) == set()


def test_embeddings_that_moved_are_found(reference: Reference) -> None:
    moved = embeddings(3_000, seed=1)
    moved[:, 0] += 1.0
    assert "e/pc1" in alarms(reference, moved)
    moved[:, WIDTH // 2 :] += 0.5
    assert "e" in alarms(reference, moved)


def test_embeddings_that_turned_are_found_though_their_distances_are_as_before(reference: Reference) -> None:
    """A rotation about the centroid: another model's space, or coordinates in another order."""
    turned = embeddings(3_000, seed=1)[:, ::-1]
    found = alarms(reference, turned)
    assert {"e/pc1", "e/pc2", "e/pc3"} <= found
    assert "e" not in found


# ---------------------------------------------------------------- texts
ENGLISH = "the plane was late again and nobody at the gate told us why we had to wait in the rain"
GERMAN = "die Maschine flog wieder spät und niemand erklärte früh genug dass wir draußen über Stunden stünden"


def comments(language: str, rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(language.split(), rng.integers(3, 12))) for _ in range(rows)]


@pytest.fixture(scope="module")
def comment() -> Reference:
    return Reference.build({"comment": comments(ENGLISH, 5_000, seed=0)}, schema=Schema((Feature("comment", kind="text"),)))


def test_another_language_is_found(comment: Reference) -> None:
    assert alarms(comment, {"comment": comments(ENGLISH, 2_000, seed=1)}) == set()
    assert {"comment/non_ascii", "comment/unknown_words"} <= alarms(comment, {"comment": comments(GERMAN, 2_000, seed=1)})


def test_blank_texts_and_new_words_are_found(comment: Reference) -> None:
    texts = comments(ENGLISH, 2_000, seed=1)
    assert "comment/empty" in alarms(comment, {"comment": [" " if place % 5 == 0 else text for place, text in enumerate(texts)]})
    assert alarms(comment, {"comment": [text.replace("late", "soon") for text in texts]}) == {"comment/unknown_words"}


# ---------------------------------------------------------------- no drift
def over_chance(profile: FeatureProfile, values: Floats) -> bool:
    """Whether the Wasserstein distance of some values is over what chance explains."""
    counts = np.bincount(np.searchsorted(profile.edges, values, side="right"), minlength=len(profile.bins))
    shift = float(np.clip((values - profile.mean) / profile.scale, -8, 8).mean())
    verdict = judge(profile, counts, shift)
    return verdict.value > profile.noise["wasserstein"] * math.sqrt(1 / len(values) + 1 / profile.samples)


def test_chance_is_exceeded_no_more_often_than_it_says() -> None:
    """One window in a hundred may be over for any of the four; wide vectors, few rows: where a fit on the same rows shows most."""
    rng, over = np.random.default_rng(0), 0
    for _ in range(20):
        built = Reference.build({"e": rng.normal(size=(400, 128))})
        for _ in range(8):
            columns = built.derivation.spaces[0](rng.normal(size=(1_000, 128)))
            names = ("e", "e/pc1", "e/pc2", "e/pc3")
            over += any(over_chance(built[name], column.values) for name, column in zip(names, columns, strict=True))
    assert over <= 6  # of 160: with a rate of 1 %, more happens once in 600 runs


def test_chance_is_exceeded_by_errors_no_more_often_than_it_says() -> None:
    rng, over = np.random.default_rng(0), 0
    names = [f"x{place}" for place in range(12)]
    for _ in range(20):
        built = Reference.build(dict(zip(names, rng.normal(size=(12, 200)), strict=True)))
        assert built.derivation.reconstruction is not None
        for _ in range(8):
            errors = built.derivation.reconstruction(dict(zip(names, rng.normal(size=(12, 1_000)), strict=True)), {})
            over += over_chance(built["@reconstruction_error"], errors.values)
    assert over <= 2


@pytest.mark.parametrize(("rows", "width", "place"), [(400, 128, 1), (100, 8_192, 0)], ids=["component", "distance"])
def test_fitted_and_counted_on_the_same_rows_all_would_seem_to_have_drifted(rows: int, width: int, place: int) -> None:
    """Why there are two halves."""
    rng, over = np.random.default_rng(0), 0
    for _ in range(5):
        fitted = rng.normal(size=(rows, width))
        space = Space.fit(Feature("e", kind="vector", width=width), fitted, components=place)
        profile = Reference.build({"value": space(fitted)[place].values})["value"]
        over += over_chance(profile, space(rng.normal(size=(500, width)))[place].values)
    assert over == 5
