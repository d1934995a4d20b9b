"""What a Prometheus would have scraped from monitors in simulated time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from otel_mlmon import Monitor
from otel_mlmon.exposition.prometheus import Collector
from tests.pictures.remote_write import STALE, Floats, History, Times


@dataclass
class Target:
    """A page that is scraped, from its start to its end.

    Args:
        monitor: What serves it.
        instance: The label by which Prometheus tells it from others.
        lag: Milliseconds by which its scrapes come after the round ones: no two targets are scraped at once.
    """

    monitor: Monitor
    instance: str
    lag: int

    def __post_init__(self) -> None:
        self._collector = Collector(self.monitor.collect)
        self._pages: list[tuple[list[str], list[dict[str, str]], list[int], list[Floats]]] = []
        self._layout: object = None
        self._times: list[int] = []
        self._spent: list[float] = []
        self._lines: list[int] = []

    def scrape(self, now: int) -> None:
        """Read the page; ``now`` in milliseconds."""
        began = time.perf_counter()
        layout, numbers, _ = self._collector._read()  # the page's numbers without its text: 5,000 pages of 2,000 lines
        if layout is not self._layout:
            self._layout = layout
            self._pages.append((layout.names, layout.labels, [], []))
        _, _, times, pages = self._pages[-1]
        times.append(now + self.lag)
        pages.append(numbers)
        self._times.append(now + self.lag)
        self._spent.append(time.perf_counter() - began)
        self._lines.append(int((~np.isnan(numbers)).sum()))

    def histories(self, *, ended: bool) -> Iterator[History]:
        """All series of the page and what Prometheus adds of its own; with a mark at the end if the target has gone."""
        own = {"job": "mlmon", "instance": self.instance}
        found: dict[tuple[tuple[str, str], ...], list[tuple[Times, Floats]]] = {}
        for names, labels, times, pages in self._pages:
            at, matrix = np.array(times, dtype=np.int64), np.array(pages).T
            for name, pairs, values in zip(names, labels, matrix, strict=True):
                present = ~np.isnan(values)
                if present.any():
                    key = tuple(sorted({"__name__": name, **pairs, **own}.items()))
                    found.setdefault(key, []).append((at[present], values[present]))
        at = np.array(self._times, dtype=np.int64)
        extra = {
            "up": np.ones(len(at)),
            "scrape_duration_seconds": np.array(self._spent),
            "scrape_samples_scraped": np.array(self._lines, dtype=float),
            "scrape_samples_post_metric_relabeling": np.array(self._lines, dtype=float),
        }
        for name, values in extra.items():
            found[tuple(sorted({"__name__": name, **own}.items()))] = [(at, values)]
        step = int(at[1] - at[0]) if len(at) > 1 else 60_000
        for key, parts in found.items():
            when, values = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
            if ended or when[-1] < at[-1]:
                when, values = np.append(when, when[-1] + step), np.append(values, STALE)
            yield History(dict(key), when, values)
