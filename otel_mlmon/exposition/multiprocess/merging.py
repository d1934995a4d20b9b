"""The series of many processes as one: by the mode that each family names, pure numpy."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import MetricFamily
from otel_mlmon.store import Series

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

Key = tuple[str, tuple[str, ...], tuple[float, ...]]
"""Family name, labels and bounds: a name hashes once, a family each time anew."""

Combine = Callable[[Floats, Floats], Floats]
"""What holds so far and what one more process says, NaN where there is nothing; gives what holds then."""

Join = tuple[Combine, Series]
Move = tuple[Combine, Indices, Indices]


def _both(so_far: Floats, more: Floats) -> Floats:
    return np.where(np.isnan(so_far), more, so_far + np.where(np.isnan(more), 0.0, more))


def _last(so_far: Floats, more: Floats) -> Floats:
    return np.where(np.isnan(more), so_far, more)


_LIVING: Mapping[str, Combine] = {
    "sum": _both,
    "min": np.fmin,
    "oldest": np.fmin,
    "max": np.fmax,
    "newest": np.fmax,
    "latest": _last,
}
_LASTING: Mapping[str, Combine] = {"oldest": np.fmin, "newest": np.fmax}


def combination(family: MetricFamily, *, ended: bool = False, past: bool = False) -> Combine | None:
    """How a family's numbers join those of other processes; None if they do not. The arguments are those of a ``Part``."""
    if family.type == "gauge":
        return (_LASTING.get if ended else _LIVING.get)(family.merge)
    if family.merge == "newest":
        return None if past else np.fmax
    return np.add


class Part:
    """What one process adds, or all that were folded.

    Args:
        series: Its series.
        ended: Whether it has ended: its gauges go, but for the oldest and newest.
        past: Whether the machine has started since: its counts of the machine are over.

    Attributes:
        joins: The series that have a say, and how they have it.
        histograms: Those of them that have bounds.
    """

    def __init__(self, series: Sequence[Series], *, ended: bool = False, past: bool = False) -> None:
        families = {one.family.name: one.family for one in series}
        ways = {name: combination(family, ended=ended, past=past) for name, family in families.items()}
        self.joins: dict[Key, Join] = {
            (one.family.name, one.labels, one.bounds): (combine, one)
            for one in series
            if (combine := ways[one.family.name]) is not None
        }
        self.histograms = [key for key, (_, one) in self.joins.items() if one.family.type == "histogram"]


class Layout:
    """Where the numbers of each part go.

    Args:
        parts: Oldest first: of gauges that stand still, and of a histogram's bounds, those of the newest process hold.
        before: The layout before this one. Its series keep their order, and are the same object where none is new; what it knows
            of the same parts is not worked out again.

    Attributes:
        series: All series, each once.
        conflicts: Names of histograms that some part cuts at other bounds than the newest; what it counted is left out.
    """

    def __init__(self, parts: Sequence[Part], before: "Layout | None" = None) -> None:
        joins: dict[Key, Join] = {}
        for part in parts:
            joins |= part.joins
        bounds = {key[:2]: key[2] for part in parts for key in part.histograms}
        self._left_out = {key for part in parts for key in part.histograms if bounds[key[:2]] != key[2]}
        for key in self._left_out:
            del joins[key]
        self.conflicts = tuple(sorted({key[0] for key in self._left_out}))
        self.series, self._index = _ordered(joins, before)
        # Where no series has another place than before, the moves of a part are those that they were.
        known = before._moves if before is not None and self.series[: len(before.series)] == before.series else {}
        self._parts = parts
        self._moves: dict[Part, list[Move]] = {part: known[part] if part in known else self._new_moves(part) for part in parts}
        self._blank: Floats = before._blank if before is not None and self.series is before.series else _blank(self.series)
        self._targets: dict[int, dict[int, int]] = {}

    def merge(self, values: Sequence[Floats]) -> Floats:
        """The numbers of all parts as one.

        Args:
            values: Of each part, at least its slots.

        Returns:
            Shape ``(slots,)``; NaN of a gauge that nobody has.
        """
        merged = self._blank.copy()
        for part, numbers in zip(self._parts, values, strict=True):
            for combine, sources, targets in self._moves[part]:
                merged[targets] = combine(merged[targets], numbers[sources])
        return merged

    def targets(self, part: int) -> Mapping[int, int]:
        """Where the slots of a part lie in the merged array; those that have no say are left out."""
        if part not in self._targets:
            self._targets[part] = {
                source: target
                for _, sources, targets in self._moves[self._parts[part]]
                for source, target in zip(sources.tolist(), targets.tolist(), strict=True)
            }
        return self._targets[part]

    def _new_moves(self, part: Part) -> list[Move]:
        """Which slots of a part join which of the merged array, by the way in which they do."""
        grouped: dict[Combine, list[tuple[int, int, int]]] = {}
        for key, (combine, one) in part.joins.items():
            if key not in self._left_out:
                grouped.setdefault(combine, []).append((one.index, self._index[key], one.width))
        moves = []
        for combine, group in grouped.items():
            sources, targets, widths = np.array(group, dtype=np.intp).T
            within = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
            moves.append((combine, np.repeat(sources, widths) + within, np.repeat(targets, widths) + within))
        return moves


def _ordered(joins: Mapping[Key, Join], before: Layout | None) -> tuple[tuple[Series, ...], dict[Key, int]]:
    """The merged series and their places: those that were there keep their order, and a gauge that nobody has any more may stay."""
    series, index = (before.series, before._index) if before is not None else ((), {})
    new = [key for key in joins if key not in index]
    gone = index.keys() - joins.keys()
    if not new and all(one.family.type == "gauge" for key, one in zip(index, series, strict=True) if key in gone):
        return series, index
    ordered, places, place = list(series), dict(index), len(before._blank) if before is not None else 0
    if gone:
        new = [key for key in index if key not in gone] + new
        ordered, places, place = [], {}, 0
    for key in new:
        one = joins[key][1]
        ordered.append(Series(one.family, one.labels, place, one.bounds))
        places[key] = place
        place += one.width
    return tuple(ordered), places


def _blank(series: Sequence[Series]) -> Floats:
    """What holds before the first part: 0 of what is added, else nothing."""
    blanks = [0.0 if combination(one.family) is np.add else np.nan for one in series]
    return np.repeat(np.array(blanks, dtype=np.float64), [one.width for one in series])
