"""Windows without any drift, rows drawn anew from the population that the reference was drawn from, at many sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from otel_mlmon import Reference
from otel_mlmon.demo import flights
from tests.eval import peers
from tests.eval.columns import Column, Floats, Shape, columns, resample, training
from tests.eval.ours import Watch, model_drift, watches
from tests.eval.peers import Bools, Peer

SIZES = (50, 100, 200, 500, 1_000, 5_000, 20_000, 100_000)
FEATURES = 50
OURS = "ours"
ALONE = "ours, one window alone"
DUMMY = "dummy"
DATASET_SHARE = 0.5
"""Evidently: share of drifted columns from which a data set has drifted."""

Draw = Callable[[int, int, np.random.Generator], list[Floats]]


@dataclass(slots=True)
class Rate:
    """Alarms of some evaluations."""

    alarms: int = 0
    of: int = 0

    def add(self, alarms: Bools) -> None:
        """Count evaluations."""
        self.alarms += int(alarms.sum())
        self.of += alarms.size

    @property
    def share(self) -> float:
        """Alarms an evaluation; NaN of none."""
        return self.alarms / self.of if self.of else float("nan")


@dataclass(slots=True)
class Rates:
    """False alarms of one contender.

    Attributes:
        feature: Of feature evaluations.
        any: Of model evaluations: any feature alarms.
        model: Of model evaluations, by the contender's own rule for a model, if it has one.
    """

    feature: Rate = field(default_factory=Rate)
    any: Rate = field(default_factory=Rate)
    model: Rate = field(default_factory=Rate)

    def add(self, alarms: Bools, model: Bools | None = None) -> None:
        """Count alarms of shape ``(features, evaluations)``."""
        self.feature.add(alarms)
        self.any.add(np.asarray(alarms.any(axis=0)))
        if model is not None:
            self.model.add(model)


Found = dict[tuple[str, str, int], Rates]
"""(stream, contender, rows in a window) -> false alarms."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A population.

    Attributes:
        reference: Draws rows: their training data.
        draw: ``(windows, rows, rng)`` -> histograms per column.
        sizes: Rows of the references drawn.
    """

    reference: Callable[[int, np.random.Generator], list[Column]]
    draw: Draw
    sizes: tuple[int, ...]


def bundled(population: Sequence[Column], sizes: tuple[int, ...]) -> Stream:
    """Rows of a data set, drawn with replacement, whole rows: reference and windows come from the same distribution."""

    def reference(rows: int, rng: np.random.Generator) -> list[Column]:
        drawn = rng.integers(0, len(population[0].codes), rows)
        return [Column(column.name, column.values, column.codes[drawn]) for column in population]

    return Stream(reference, lambda windows, rows, rng: resample(population, windows, rows, rng), sizes)


def itself(population: Sequence[Column]) -> Stream:
    """Rows of the reference itself."""
    return Stream(lambda _, __: list(population), lambda windows, rows, rng: resample(population, windows, rows, rng), (0,))


def shapes(features: int = FEATURES) -> list[Shape]:
    """Made-up features of many kinds: symmetric, skew, heavy in the tail, counts, mostly zero, two to thirty categories."""
    grid = np.round(np.arange(-6.0, 6.0, 0.05), 2)
    positive = np.round(np.arange(0.0, 20.0, 0.05), 2)
    whole = np.arange(0.0, 25.0)
    kinds: Sequence[tuple[np.ndarray[tuple[int], np.dtype[np.float64]], Floats]] = (
        (grid, np.exp(-(grid**2) / 2)),
        (positive, positive * np.exp(-positive)),
        (grid * 3, (1 + grid**2 * 9 / 3) ** -2.0),
        (whole, 3.0**whole / np.cumprod(np.maximum(whole, 1.0))),
        (whole, np.where(whole == 0, 40.0, np.exp(-whole / 4))),
        (grid, np.ones(len(grid))),
        (positive, np.exp(-(np.log(positive + 0.05) ** 2) / 2) / (positive + 0.05)),
    )
    found = []
    for number in range(features):
        if number % 5 == 4:
            values = np.array([f"value {place:02d}" for place in range(2 + number * 28 // features)])
            weights = 1.0 / np.arange(1, len(values) + 1)
            found.append(Shape(f"c{number:02d}", values, weights / weights.sum()))
        else:
            values, weights = kinds[number % len(kinds)]
            found.append(Shape(f"x{number:02d}", values, weights / weights.sum()))
    return found


def made_up(features: int = FEATURES, rows: tuple[int, ...] = (20_000,)) -> Stream:
    """A model of independent features."""
    some = shapes(features)
    return Stream(
        lambda size, rng: [shape.column(size, rng) for shape in some],
        lambda windows, size, rng: [shape.histograms(windows, size, rng) for shape in some],
        rows,
    )


def winter() -> pd.DataFrame:
    """Flights of January to March."""
    frame = flights.load()
    return frame[frame["day"] < "2013-04"]


def _flights() -> list[Column]:
    return columns(winter()[list(flights.FEATURES)])


def _bundled(load: Callable[..., Any]) -> Stream:
    """Drawn as large as it is, and larger."""
    data = load(as_frame=True).data
    return bundled(columns(data), (max(len(data), 300), 5_000))


MADE_UP = f"{FEATURES} features"

STREAMS: Mapping[str, Callable[[], Stream]] = {
    MADE_UP: made_up,
    "flights": lambda: bundled(_flights(), (20_000,)),
    "flights themselves": lambda: itself(_flights()),
    "diabetes": lambda: _bundled(datasets.load_diabetes),
    "breast cancer": lambda: _bundled(datasets.load_breast_cancer),
    "wine": lambda: _bundled(datasets.load_wine),
    "iris": lambda: _bundled(datasets.load_iris),
    "digits": lambda: _bundled(datasets.load_digits),
}


def judged(
    watching: Sequence[Watch],
    population: Sequence[Column],
    reference: Sequence[Floats],
    windows: Sequence[Floats],
    before: Sequence[Floats],
    others: Mapping[str, Peer],
) -> Mapping[str, tuple[Bools, Bools | None]]:
    """Every contender on windows of the same rows.

    Args:
        watching: Our features.
        population: Their columns.
        reference: Histograms of the reference.
        windows: Histograms of the windows.
        before: Of the rows before each, which our slow window holds, too.
        others: The peers.

    Returns:
        Contender -> alarms, shape ``(features, windows)``, and its own rule for the model, if it has one.
    """
    fast = [watch.judge(inside) for watch, inside in zip(watching, windows, strict=True)]
    slow = [watch.judge(inside + rest) for watch, inside, rest in zip(watching, windows, before, strict=True)]
    alone = np.array([verdict.exceeds("warning") for verdict in fast])
    alarms = np.array([one & verdict.exceeds("warning") for one, verdict in zip(alone, slow, strict=True)])
    found: dict[str, tuple[Bools, Bools | None]] = {
        OURS: (alarms, model_drift(list(alarms), [verdict.may_alarm for verdict in fast])),
        ALONE: (alone, None),
    }
    for name, peer in others.items():
        alarms = np.array([peer(*each) for each in zip(population, reference, windows, strict=True)])
        found[name] = alarms, alarms.mean(axis=0) >= DATASET_SHARE if name == "Evidently" else None
    found[DUMMY] = np.broadcast_to(peers.dummy(0, len(windows[0])), alarms.shape), None
    return found


def run(
    name: str, *, references: int, windows: int, sizes: Sequence[int] = SIZES, others: Mapping[str, Peer] = peers.PEERS
) -> Found:
    """False alarms on one stream, by contender and size.

    Our alert has the window as its fast one, and a slow one of four times the rows, as 6h and 1d are.

    Args:
        name: Of the stream.
        references: Drawn per size of reference.
        windows: Drawn per reference and size of window.
        sizes: Rows in a window.
        others: The peers.
    """
    found: Found = {}
    stream = STREAMS[name]()
    for rows in stream.sizes:
        for number in range(references if rows else 1):
            rng = np.random.default_rng([rows, number])
            population = stream.reference(rows, rng)
            reference = Reference.build(training(population), seed=number)
            watching = watches(reference, population)
            base = [column.histogram(slice(None)) for column in population]
            count = windows if rows else windows * references
            for size in sizes:
                inside, before = stream.draw(count, size, rng), stream.draw(count, 3 * size, rng)
                for contender, (alarms, model) in judged(watching, population, base, inside, before, others).items():
                    found.setdefault((name, contender, size), Rates()).add(alarms, model)
    return found
