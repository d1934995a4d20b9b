"""Prometheus's view of a store: a collector for any registry of prometheus_client, and the page itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt
from prometheus_client import Metric
from prometheus_client.samples import Exemplar as ShownExemplar
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from otel_mlmon.catalog import CATALOG, MetricFamily
from otel_mlmon.store import Exemplar, Series, Snapshot

Source = Callable[[], Snapshot]
"""What a page is read from: ``monitor.collect``."""

Floats = npt.NDArray[np.float64]


class Collector:
    """Series of one or more sources as one page, on which each family appears once.

    A scrape costs what its numbers cost: names and labels are laid out again only when a series was added. Sources that give the
    same series, the very tuple, show one view: it appears once.

    Args:
        sources: Each is called once a scrape and gives one consistent instant.

    Raises:
        ValueError: If two sources hold the same series: Prometheus would refuse the page.

    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from otel_mlmon.catalog import LAST_CALL_TIME
    >>> from otel_mlmon.store import SeriesStore
    >>> store = SeriesStore()
    >>> store.set(store.allocate(LAST_CALL_TIME, [("m", "1")]), 12.0)
    >>> registry = CollectorRegistry()
    >>> registry.register(Collector(store.snapshot))
    >>> print(generate_latest(registry).decode().splitlines()[-1])
    mlmon_last_call_time_seconds{model_name="m",model_version="1"} 12.0
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self._layout = _Layout(())
        if len(sources) > 1:  # one alone is not read before it is asked: a parent of preloaded workers stays out of their folder
            self._read()

    def add(self, source: Source) -> None:
        """Show one more source from now on.

        Args:
            source: ``monitor.collect`` of another monitor.

        Raises:
            ValueError: If it holds a series of another source; it is not shown then.
        """
        sources = (*self._sources, source)
        _Layout(_snapshots(sources))
        self._sources = sources

    def remove(self, source: Source) -> None:
        """Show a source no more.

        Args:
            source: What was given once; given twice, it stays once.

        Raises:
            ValueError: If it is not shown.
        """
        place = self._sources.index(source)
        self._sources = self._sources[:place] + self._sources[place + 1 :]

    def describe(self) -> Iterator[Metric]:
        """Every family that may appear, so that a registry knows the names before the first series exists."""
        for family in CATALOG:
            yield _metric(family)

    def collect(self) -> Iterator[Metric]:
        """Families that have a value now, in the catalogue's order.

        Raises:
            ValueError: If two sources hold the same series.
        """
        layout, numbers, exemplars = self._read()
        present = ~np.isnan(numbers)
        values = numbers.tolist()
        shown = {position: ShownExemplar(_trace(one), one.value, one.time) for position, one in exemplars}
        for block in layout.blocks:
            metric = _metric(block.family)
            metric.samples = [
                Sample(layout.names[position], layout.labels[position], values[position], None, shown.get(position))
                for position in block.positions(present)
            ]
            if metric.samples:
                yield metric

    def render(self, *, openmetrics: bool = False) -> bytes:
        """The page as prometheus_client would write it from ``collect``, in a small part of the time.

        OpenMetrics forbids ``_sum``, and with it ``_count``, of a histogram with negative bounds: they are left out there.

        Args:
            openmetrics: OpenMetrics 1.0 text instead of Prometheus's own, version 0.0.4.

        Returns:
            The page, UTF-8.

        Raises:
            ValueError: If two sources hold the same series.

        Source:
            https://prometheus.io/docs/instrumenting/exposition_formats/ and
            https://prometheus.io/docs/specs/om/open_metrics_spec/
        """
        layout, numbers, exemplars = self._read()
        present = ~np.isnan(numbers)
        texts = list(map(repr, numbers.tolist()))
        if openmetrics:
            present[layout.not_openmetrics] = False
            for position, one in exemplars:
                trace = ",".join(f'{name}="{text}"' for name, text in _trace(one).items())
                texts[position] += f" # {{{trace}}} {one.value!r} {one.time!r}"
        lines: list[str] = [""] * (2 * len(texts))
        lines[::2], lines[1::2] = layout.prefixes, texts
        parts: list[str] = []
        for block in layout.blocks:
            positions = block.positions(present)
            if positions:
                parts.append(block.openmetrics_header if openmetrics else block.text_header)
                if isinstance(positions, range):
                    parts += lines[2 * positions.start : 2 * positions.stop]
                else:
                    parts.extend(chain.from_iterable((lines[2 * position], lines[2 * position + 1]) for position in positions))
        parts.append("\n# EOF\n" if openmetrics else "\n")
        parts[0] = parts[0][1:]  # the page begins with no empty line
        return "".join(parts).encode()

    def _read(self) -> "tuple[_Layout, Floats, list[tuple[int, Exemplar]]]":
        """The layout, the number of each sample, and the exemplars by position of their sample."""
        try:
            snapshots, layout = self._laid_out()
        except ValueError:  # another process added a series while two monitors were asked for their one view; or it stays wrong
            snapshots, layout = self._laid_out()
        return layout, layout.numbers(snapshots), layout.exemplars(snapshots)

    def _laid_out(self) -> "tuple[list[Snapshot], _Layout]":
        snapshots = _snapshots(self._sources)
        layout = self._layout  # another thread may replace it at any time
        if not layout.shows(snapshots):
            layout = self._layout = _Layout(snapshots)
        return snapshots, layout


@dataclass(frozen=True, slots=True)
class _Block:
    """The samples of one family, from ``start`` to ``stop`` in the layout."""

    family: MetricFamily
    start: int
    stop: int

    @property
    def text_header(self) -> str:
        name, text = self.family.prometheus_name, _escape(self.family.help)
        return f"\n# HELP {name} {text}\n# TYPE {name} {self.family.type}"

    @property
    def openmetrics_header(self) -> str:
        name, text = self.family.prometheus_family, _quote(self.family.help)
        return f"\n# HELP {name} {text}\n# TYPE {name} {self.family.type}"

    def positions(self, present: npt.NDArray[np.bool_]) -> Sequence[int]:
        """Samples that have a value."""
        if present[self.start : self.stop].all():
            return range(self.start, self.stop)
        positions: list[int] = (np.flatnonzero(present[self.start : self.stop]) + self.start).tolist()
        return positions


class _Layout:
    """Names and labels of all samples of a page, and where their numbers lie in the sources' arrays.

    Attributes:
        blocks: One a family, in the catalogue's order.
        names, labels, prefixes: Of each sample: its name, its label dictionary and its line up to the number.
        not_openmetrics: Positions of samples that OpenMetrics forbids.
    """

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._series = tuple(snapshot.series for snapshot in snapshots)
        self.blocks: list[_Block] = []
        self.names: list[str] = []
        self.labels: list[dict[str, str]] = []
        self.not_openmetrics: list[int] = []
        self._offsets = list(accumulate((len(snapshot.values) for snapshot in snapshots), initial=0))
        self._cumulated = self._offsets[-1]  # the running counts of histograms lie behind the sources' numbers
        self._slots: list[int] = []
        self._counted: dict[int, int] = {}  # positions of samples that may have an exemplar, by slot
        self._buckets: list[int] = []
        self._starts: list[int] = []
        families = _by_family(zip(self._offsets, self._series, strict=False))
        for family in sorted(families, key=_order):
            start = len(self.names)
            for offset, series in families[family]:
                self._add(offset, series)
            self.blocks.append(_Block(family, start, len(self.names)))
        self.prefixes = list(map(_prefix, self.names, self.labels))
        self._widths = np.diff([*self._starts, len(self._buckets)])
        self._gather = tuple(np.array(part, dtype=np.intp) for part in (self._buckets, self._starts, self._slots))

    def shows(self, snapshots: Sequence[Snapshot]) -> bool:
        """Whether the snapshots have just the series that this was laid out for."""
        return len(self._series) == len(snapshots) and all(a is b.series for a, b in zip(self._series, snapshots, strict=True))

    def numbers(self, snapshots: Sequence[Snapshot]) -> Floats:
        """The number of each sample, shape ``(samples,)``."""
        values = np.concatenate([np.empty(0), *(snapshot.values for snapshot in snapshots)])
        buckets, starts, slots = self._gather
        counts = values[buckets]
        running = np.cumsum(counts)
        running -= np.repeat(running[starts] - counts[starts], self._widths)
        return np.concatenate([values, running])[slots]

    def exemplars(self, snapshots: Sequence[Snapshot]) -> list[tuple[int, Exemplar]]:
        """The exemplars and the positions of their samples."""
        found = []
        for offset, snapshot in zip(self._offsets, snapshots, strict=False):
            for slot, exemplar in snapshot.exemplars.items():
                position = self._counted.get(offset + slot)
                if position is not None:
                    found.append((position, exemplar))
        return found

    def _add(self, offset: int, series: Series) -> None:
        family, index = series.family, offset + series.index
        # A lone surrogate, as JSON may bring one into a column's name, would spoil the whole page.
        texts = (text.encode("utf-8", "replace").decode() for text in series.labels)
        labels = dict(zip(family.prometheus_labels, texts, strict=True))
        if family.type != "histogram":
            if family.type == "counter":
                self._counted[index] = len(self.names)
            self._sample(family.prometheus_name, labels, index)
            return
        # HistogramMetricFamily leaves out _sum and _count where the first bound is negative; the features here may well be.
        name = family.prometheus_family
        self._starts.append(len(self._buckets))
        for position, bound in enumerate((*series.bounds, np.inf)):
            le = floatToGoString(bound)  # type: ignore[no-untyped-call]  # prometheus_client leaves this one untyped
            self._counted[index + position] = len(self.names)
            self._sample(f"{name}_bucket", {**labels, "le": le}, self._cumulated + len(self._buckets))
            self._buckets.append(index + position)
        if series.bounds and series.bounds[0] < 0:
            self.not_openmetrics += [len(self.names), len(self.names) + 1]
        self._sample(f"{name}_count", labels, self._slots[-1])
        self._sample(f"{name}_sum", labels, index + len(series.bounds) + 1)

    def _sample(self, name: str, labels: dict[str, str], slot: int) -> None:
        self.names.append(name)
        self.labels.append(labels)
        self._slots.append(slot)


def _snapshots(sources: Iterable[Source]) -> list[Snapshot]:
    """What the sources show, each view once."""
    found: list[Snapshot] = []
    for source in sources:
        snapshot = source()
        if all(snapshot.series is not earlier.series for earlier in found):
            found.append(snapshot)
    return found


def _by_family(sources: Iterable[tuple[int, tuple[Series, ...]]]) -> dict[MetricFamily, list[tuple[int, Series]]]:
    families: dict[MetricFamily, dict[tuple[str, ...], tuple[int, Series]]] = {}
    for offset, all_series in sources:
        for series in all_series:
            known = families.setdefault(series.family, {})
            if series.labels in known:
                raise ValueError(
                    f"metric {series.family.name!r}: two sources hold the series {series.labels!r}; "
                    "give each monitor its own name or version"
                )
            known[series.labels] = offset, series
    return {family: list(known.values()) for family, known in families.items()}


_POSITIONS = {family: position for position, family in enumerate(CATALOG)}


def _order(family: MetricFamily) -> tuple[int, str]:
    return _POSITIONS.get(family, len(CATALOG)), family.name


def _metric(family: MetricFamily) -> Metric:
    return Metric(family.prometheus_family, family.help, family.type)


def _trace(exemplar: Exemplar) -> dict[str, str]:
    return {"span_id": f"{exemplar.span_id:016x}", "trace_id": f"{exemplar.trace_id:032x}"}


def _prefix(name: str, labels: dict[str, str]) -> str:
    return f"\n{name}{{" + ",".join(f'{label}="{_quote(value)}"' for label, value in labels.items()) + "} "


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quote(text: str) -> str:
    return _escape(text).replace('"', r"\"")
