"""All sources of an export at one instant, and since when each of their series counts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import START_TIME
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.exposition.prometheus import Source
from otel_mlmon.store import Exemplar, Series, Snapshot

_NANOSECONDS = 1e9


class Readings:
    """Reads all sources as one. Two that show the same view, of processes that share a folder, are one.

    Args:
        sources: Each gives one consistent instant.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._began = time.time_ns()
        self._layout = _Layout(())

    def read(self) -> Interval:
        """Counts since their process started; the same ``series`` object until a series is added."""
        snapshots: list[Snapshot] = []
        for snapshot in (source() for source in self._sources):
            if snapshot.series and all(snapshot.series is not other.series for other in snapshots):
                snapshots.append(snapshot)
        if not self._layout.shows(snapshots):
            self._layout = _Layout(snapshots)
        now, layout = time.time_ns(), self._layout
        values = snapshots[0].values if len(snapshots) == 1 else np.concatenate([np.empty(0), *(one.values for one in snapshots)])
        return Interval(layout.series, values, layout.starts(values, self._began, now), now, exemplars=layout.exemplars(snapshots))


class _Layout:
    """Where the numbers of the sources lie, one source behind the other."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._parts = tuple(snapshot.series for snapshot in snapshots)
        self._offsets = list(accumulate((len(snapshot.values) for snapshot in snapshots), initial=0))
        self.series = self._parts[0] if len(self._parts) == 1 else tuple(self._moved())
        known = {one.labels: one.index for one in self.series if one.family == START_TIME}
        self._started = np.array([known.get(one.labels[:2], -1) for one in self.series], dtype=np.intp)
        self._counts = np.array([one.family.type != "gauge" for one in self.series], dtype=bool)

    def _moved(self) -> list[Series]:
        return [
            replace(one, index=one.index + offset) for offset, part in zip(self._offsets, self._parts, strict=False) for one in part
        ]

    def shows(self, snapshots: Sequence[Snapshot]) -> bool:
        """Whether the snapshots have just the series that this was laid out for."""
        return len(self._parts) == len(snapshots) and all(
            part is one.series for part, one in zip(self._parts, snapshots, strict=True)
        )

    def starts(self, values: npt.NDArray[np.float64], began: int, now: int) -> npt.NDArray[np.int64]:
        """Since when each series counts, Unix time in nanoseconds; 0 for gauges."""
        known = self._started >= 0
        seconds = np.full(len(self.series), np.nan)
        seconds[known] = values[self._started[known]]
        starts = np.full(len(self.series), began, dtype=np.int64)
        known = ~np.isnan(seconds)
        starts[known] = (seconds[known] * _NANOSECONDS).astype(np.int64)
        return np.where(self._counts, np.minimum(starts, now), 0)  # a clock that was set back

    def exemplars(self, snapshots: Sequence[Snapshot]) -> Mapping[int, Exemplar]:
        """Those of all sources by slot."""
        if len(snapshots) == 1:
            return snapshots[0].exemplars
        pairs = zip(self._offsets, snapshots, strict=False)
        return {offset + slot: exemplar for offset, one in pairs for slot, exemplar in one.exemplars.items()}
