"""Processes that share a folder, several of them in one: file locks are held by open file, so each is another to the rest."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from otel_mlmon.catalog import MetricFamily
from otel_mlmon.exposition.multiprocess.sharing import Place, Shared
from otel_mlmon.exposition.multiprocess.view import View
from otel_mlmon.store import SeriesStore, Snapshot

Key = tuple[str, tuple[str, ...]]
Page = dict[Key, list[float]]
"""Numbers by family name and labels; of a histogram, its counts by bucket and the sum."""

MODEL = ("m", "1")
BOOT = "this start"


class Clock:
    """A clock that stands until it is told the time."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Process:
    """What one process of a server has: a store, and its part in the folder."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] | None = None, boot: str = BOOT) -> None:
        self.store = SeriesStore()
        self.errors: list[BaseException] = []
        folder.mkdir(exist_ok=True)
        view = View(folder, boot=boot, clock=clock or Clock())
        self.shared = Shared(Place(view), self.store.snapshot, lambda where, error: self.errors.append(error))

    def count(self, family: MetricFamily, labels: tuple[str, ...], amount: float = 1.0) -> None:
        """Add to a counter."""
        self.store.add([(self.store.index(family, labels), np.array([amount]))])

    def gauge(self, family: MetricFamily, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge."""
        self.store.set(self.store.index(family, labels), value)

    def observe(self, family: MetricFamily, labels: tuple[str, ...], bounds: tuple[float, ...], bucket: int, value: float) -> None:
        """Add one observation to a histogram."""
        counts = np.zeros(len(bounds) + 2)
        counts[bucket] = 1.0
        counts[-1] = value
        self.store.add([(self.store.index(family, labels, bounds=bounds), counts)])

    def page(self) -> Page:
        """What a scrape of this process shows."""
        return page(self.shared.collect())

    def kill(self) -> None:
        """End at once: what the kernel does is to close the files."""
        self.shared.reset()


def page(snapshot: Snapshot) -> Page:
    """The numbers of a snapshot; a gauge without a value is not there."""
    numbers = {
        (series.family.name, series.labels): snapshot.values[series.index : series.index + series.width].tolist()
        for series in snapshot.series
    }
    return {key: values for key, values in numbers.items() if not math.isnan(values[0])}
