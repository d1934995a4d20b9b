"""A table of typed rows to one vector of increments: pure numpy, no state, no lock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.cells import Cells
from otel_mlmon.moments import OWN_MOMENTS, PAIR_MOMENTS, Moments
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.values import Reason

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

REASONS: tuple[Reason, ...] = get_args(Reason)
_HUGE = 1e290  # sums of such increments stay finite: inf less inf would be NaN


@dataclass(frozen=True, slots=True)
class Watched:
    """A feature, or an output under its reserved name, that is counted.

    Attributes:
        name: Feature name.
        numeric: Whether its values are numbers; otherwise they are bin numbers.
        profile: Its reference; None without one.
        related: Whether it is related to the target: a feature of the schema, neither derived nor an output.
    """

    name: str
    numeric: bool
    profile: FeatureProfile | None
    related: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Typed rows, ready to be counted.

    Attributes:
        rows: Number of rows.
        numeric: Numbers of the numeric watched features in their order, NaN where missing or invalid, shape
            ``(numeric features, rows)``, C-contiguous.
        codes: Bin numbers of the other watched features in their order, -1 where missing or invalid, each ``(rows,)``.
        missing: Missing values by watched feature, shape ``(features,)``.
        invalid: Invalid values by watched feature and reason, shape ``(features, reasons)``.
    """

    rows: int
    numeric: Floats
    codes: list[npt.NDArray[np.intp]]
    missing: Floats
    invalid: Floats


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive series of one family within the vector of increments.

    Attributes:
        family: The metric family.
        labels: Label values, one tuple a series.
        bounds: Histogram bounds; empty for counters.
        start: First place in the vector.
        stop: One past the last.
    """

    family: MetricFamily
    labels: Sequence[tuple[str, ...]]
    bounds: tuple[float, ...]
    start: int
    stop: int


@dataclass(slots=True)
class _Layout:
    """The vector of increments while it is laid out."""

    blocks: list[Block] = field(default_factory=list)
    size: int = 0

    def add(self, family: MetricFamily, labels: Sequence[tuple[str, ...]], bounds: tuple[float, ...] = ()) -> slice:
        width = len(bounds) + 2 if family.type == "histogram" else 1
        start, self.size = self.size, self.size + width * len(labels)
        if labels:
            self.blocks.append(Block(family, labels, bounds, start, self.size))
        return slice(start, self.size)


class Aggregator:
    """Counts tables: compiled once from the reference, then pure.

    Args:
        model: Name and version, the first labels of every series.
        watched: What is counted, in the order of the tables.
        target: Numeric watched feature (``@score`` or ``@prediction``) that the moments relate the others to; empty for none.
        histograms: Whether ``mlmon_feature_value`` is counted.

    Attributes:
        blocks: The series behind the vector, in its order.
        size: Length of the vector.
    """

    def __init__(self, model: tuple[str, str], watched: Sequence[Watched], *, target: str = "", histograms: bool = True) -> None:
        layout = _Layout()
        numeric = [one for one in watched if one.numeric]
        self.numeric_names = tuple(one.name for one in numeric)
        self._missing = layout.add(catalog.FEATURE_MISSING, [(*model, one.name) for one in watched])
        self._invalid = layout.add(catalog.FEATURE_INVALID, [(*model, one.name, reason) for one in watched for reason in REASONS])
        categorical = [one.profile for one in watched if not one.numeric]
        self._category_bins = [
            layout.add(catalog.FEATURE_BIN, [(*model, profile.feature, label) for label in profile.bins] if profile else [])
            for profile in categorical
        ]
        known = [(row, one) for row, one in enumerate(numeric) if one.profile is not None]
        self._rows = np.array([row for row, _ in known], dtype=np.intp)
        self._all = len(known) == len(numeric)
        profiles = [one.profile for _, one in known if one.profile is not None]
        self._cells = Cells(profiles)
        self._ranks = self._cells.ranks()
        self._moments = Moments(profiles, target, related=sum(one.related for _, one in known))
        self._bins = layout.add(catalog.FEATURE_BIN, [(*model, one.feature, label) for one in profiles for label in one.bins])
        self._outliers = layout.add(catalog.FEATURE_OUTLIERS, [(*model, one.feature) for one in profiles])
        self._out_of_range = layout.add(catalog.FEATURE_OUT_OF_RANGE, [(*model, one.feature) for one in profiles])
        self._own = layout.add(
            catalog.FEATURE_MOMENT, [(*model, name, "", "z", moment) for name in self._moments.names for moment in OWN_MOMENTS]
        )
        self._pairs = {
            space: layout.add(
                catalog.FEATURE_MOMENT,
                [(*model, name, target, space, moment) for name in self._moments.related for moment in PAIR_MOMENTS],
            )
            for space in ("z", "u")
        }
        places = [
            layout.add(catalog.FEATURE_VALUE, [(*model, one.feature)], one.histogram) for one in (profiles if histograms else [])
        ]
        self._buckets = np.array([slot for place in places for slot in range(place.start, place.stop - 1)], dtype=np.intp)
        self._sums = np.array([place.stop - 1 for place in places], dtype=np.intp)
        self.blocks = layout.blocks
        self.size = layout.size

    @np.errstate(over="ignore", invalid="ignore")  # values near the end of the floats are data, too
    def __call__(self, table: Table) -> Floats:
        """Increments of all series for some rows.

        Args:
            table: The rows.

        Returns:
            Shape ``(size,)``, every entry ``>= 0`` but for the sums of ``mlmon_feature_value``.
        """
        out = np.zeros(self.size)
        out[self._missing] = table.missing
        out[self._invalid] = table.invalid.ravel()
        for codes, place in zip(table.codes, self._category_bins, strict=True):
            if place.stop > place.start:
                out[place] = np.bincount(codes[codes >= 0], minlength=place.stop - place.start)
        if not len(self._rows) or not table.rows:
            return out
        values = table.numeric if self._all else table.numeric[self._rows]
        gaps = np.isnan(values)
        missing = gaps if gaps.any() else None
        places = self._cells.place(values, missing)
        counts = self._cells.count(places)
        out[self._bins] = self._cells.bins(counts)
        out[self._outliers] = self._cells.outliers(counts)
        out[self._out_of_range] = self._cells.out_of_range(counts)
        z = self._moments.standardised(values, missing)
        out[self._own] = self._moments.own(z, missing).ravel()
        if self._moments.related:
            out[self._pairs["z"]] = self._moments.pairs(z, missing).ravel()
            out[self._pairs["u"]] = self._moments.pairs(self._ranks.take(places), missing).ravel()
        if len(self._sums):
            out[self._buckets] = self._cells.buckets(counts)
            sums = values.sum(axis=1) if missing is None else values.sum(axis=1, where=~missing)
            out[self._sums] = np.clip(sums, -_HUGE, _HUGE)
        return out
