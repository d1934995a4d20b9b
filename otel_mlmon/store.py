"""All counters of one monitor: one array, one lock."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import MetricFamily

Floats = npt.NDArray[np.float64]

_NONE: "Mapping[int, Exemplar]" = {}


@dataclass(frozen=True, slots=True)
class Series:
    """One series and where its numbers lie.

    Attributes:
        family: The metric family.
        labels: Label values, in the order of ``family.labels``.
        index: First slot in the array.
        bounds: Upper bounds (``le``) of a histogram's buckets, without ``+Inf``; empty for counters and gauges.
    """

    family: MetricFamily
    labels: tuple[str, ...]
    index: int
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Slots taken: one, or for a histogram its counts per bucket (not cumulative, the last is ``+Inf``) and the sum."""
        return len(self.bounds) + 2 if self.family.type == "histogram" else 1

    @property
    def samples(self) -> int:
        """Samples that a scrape of it gives: a histogram's buckets, sum and count are one each."""
        return len(self.bounds) + 3 if self.family.type == "histogram" else 1


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation with the trace that it came from.

    Attributes:
        value: What was observed, in the family's unit; 1 of a counter.
        time: Unix time, seconds.
        trace_id: Identifier of the trace, 128 bits.
        span_id: Identifier of the span, 64 bits.
    """

    value: float
    time: float
    trace_id: int
    span_id: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent instant of a store.

    Attributes:
        series: All series; the same object until a series is added, so that readers may cache by identity.
        values: Copy of the array, shape ``(slots,)``. A gauge that is NaN has no value: leave its series out.
        exemplars: The last exemplar by slot, of counters and of buckets of histograms; of this process alone.
    """

    series: tuple[Series, ...]
    values: Floats
    exemplars: Mapping[int, Exemplar] = field(default_factory=dict)


class SeriesStore:
    """Numbers by series; every change and every reading is atomic.

    >>> from otel_mlmon.catalog import CALLS
    >>> store = SeriesStore()
    >>> start = store.allocate(CALLS, [("m", "1", "ok"), ("m", "1", "error")])
    >>> store.add([(start, np.array([2.0, 1.0]))])
    >>> store.snapshot().values.tolist()
    [2.0, 1.0]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Floats = np.zeros(1024)
        self._counts = np.zeros(1024, dtype=bool)  # which slots are zeroed in a forked child
        self._used = 0
        self._series: list[Series] = []
        self._frozen: tuple[Series, ...] = ()
        self._index: dict[tuple[MetricFamily, tuple[str, ...]], int] = {}
        self._samples = 0
        self._exemplars: dict[int, Exemplar] = {}

    @property
    def samples(self) -> int:
        """Samples that a scrape gives now; none of a gauge without a value."""
        with self._lock:
            return self._samples - int(np.isnan(self._values[: self._used]).sum())

    def allocate(self, family: MetricFamily, labels: Sequence[tuple[str, ...]], *, bounds: tuple[float, ...] = ()) -> int:
        """Create consecutive series: counters and histograms at 0, gauges without a value.

        Args:
            family: The metric family.
            labels: One tuple of label values a series.
            bounds: Upper bounds of a histogram's buckets, strictly increasing, without ``+Inf``.

        Returns:
            The first slot.

        Raises:
            ValueError: If a series exists already or has the wrong number of labels.
        """
        with self._lock:
            return self._allocate(family, labels, bounds)

    def index(self, family: MetricFamily, labels: tuple[str, ...], *, bounds: tuple[float, ...] = ()) -> int:
        """First slot of a series, created where it is new. The caller keeps the label values bounded."""
        found = self._index.get((family, labels))
        if found is None:
            with self._lock:
                found = self._index.get((family, labels))
                if found is None:
                    found = self._allocate(family, [labels], bounds)
        return found

    def add(self, blocks: Iterable[tuple[int, Floats]], exemplars: Mapping[int, Exemplar] = _NONE) -> None:
        """Add blocks of increments, each from its first slot on, in one instant; exemplars by slot replace earlier ones."""
        with self._lock:
            for start, increments in blocks:
                self._values[start : start + len(increments)] += increments
            self._exemplars.update(exemplars)

    def set(self, index: int, value: float) -> None:
        """Set one gauge; NaN removes its value."""
        with self._lock:
            self._values[index] = value

    def put(self, start: int, values: Floats) -> None:
        """Set consecutive gauges, or counters that something else counts, in one instant."""
        with self._lock:
            self._values[start : start + len(values)] = values

    def snapshot(self) -> Snapshot:
        """Copy everything under the lock, so that one reading shows one instant."""
        with self._lock:
            if len(self._frozen) != len(self._series):
                self._frozen = tuple(self._series)
            return Snapshot(self._frozen, self._values[: self._used].copy(), self._exemplars.copy())

    def reset(self) -> None:
        """Begin anew in a forked child: a new lock, since the old one may be held by a thread that is not there; counters at 0."""
        self._lock = threading.Lock()
        self._values[self._counts] = 0.0
        self._exemplars = {}
        if len(self._index) != len(self._series):  # the fork came while a series was added
            self._index = {(one.family, one.labels): one.index for one in self._series}
            self._used = self._series[-1].index + self._series[-1].width
            self._samples = sum(one.samples for one in self._series)

    def _allocate(self, family: MetricFamily, labels: Sequence[tuple[str, ...]], bounds: tuple[float, ...]) -> int:
        start = self._used
        width = Series(family, (), 0, bounds).width
        index: dict[tuple[MetricFamily, tuple[str, ...]], int] = {}
        for position, values in enumerate(labels):
            if len(values) != len(family.labels):
                raise ValueError(f"series of {family.name!r}: labels are {family.labels}, got values {values!r}")
            if (family, values) in self._index or (family, values) in index:
                raise ValueError(f"series of {family.name!r}: {values!r} exists already")
            index[family, values] = start + width * position
        stop = start + width * len(labels)
        self._reserve(stop)
        self._values[start:stop] = np.nan if family.type == "gauge" else 0.0
        self._counts[start:stop] = family.type != "gauge"
        # All at once, and the index last: a fork may come in between.
        self._series += [Series(family, values, first, bounds) for (_, values), first in index.items()]
        self._used = stop
        self._samples += len(labels) * Series(family, (), 0, bounds).samples
        self._index.update(index)
        return start

    def _reserve(self, slots: int) -> None:
        values, counts = self._values, self._counts
        while slots > len(values):
            values = np.concatenate([values, np.zeros_like(values)])
            counts = np.concatenate([counts, np.zeros_like(counts)])
        self._values, self._counts = values, counts
