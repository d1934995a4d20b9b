"""Thresholds that would have alarmed no more often than wanted: pure functions on recorded values."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Waits", "episodes", "firing", "propose"]

Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Waits:
    """When an alert begins and ends, in steps between two values.

    Attributes:
        hold: ``for``: how long the condition must hold before the alert fires.
        keep: ``keep_firing_for``: how long the condition must be gone before the alert ends.
    """

    hold: int
    keep: int


def firing(over: Bools, waits: Waits) -> Bools:
    """When an alert fires, as Prometheus decides it.

    Args:
        over: Whether its condition holds, at equal steps, shape ``(steps,)``.
        waits: Of the alert.

    Returns:
        Shape ``(steps,)``.

    Source:
        ``AlertingRule.Eval`` in Prometheus's rules/alerting.go: a condition that comes back while the alert is kept firing
        need not hold for long again.

    >>> firing(np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool), Waits(hold=2, keep=2)).astype(int).tolist()
    [0, 0, 1, 1, 1, 0, 0]
    """
    found = np.zeros(len(over), dtype=bool)
    fires_until = -1  # first step at which it is over, unless the condition is back by then
    for first, after in _runs(over):
        begins = first if first <= fires_until else first + waits.hold
        if begins < after:
            found[begins : after + waits.keep] = True
            fires_until = after + waits.keep
    return found


def episodes(over: Bools, waits: Waits) -> int:
    """How many times an alert would have begun to fire; arguments as ``firing``.

    >>> episodes(np.array([1, 1, 0, 0, 0, 1, 1, 1], dtype=bool), Waits(hold=1, keep=1))
    2
    """
    fires = firing(over, waits)
    return int(fires[:1].sum() + (fires[1:] & ~fires[:-1]).sum())


def propose(values: Floats, waits: Waits, *, most: int, least: float) -> float:
    """The lowest threshold from which on upwards none would have alarmed too often.

    From which on upwards: a threshold so low that the alert never ends is one episode, too, but not what anybody means.

    Args:
        values: What the alert compares with its threshold, at equal steps; NaN where there was nothing.
        waits: Of the alert.
        most: Episodes that are accepted.
        least: Lowest threshold that may come out.

    Returns:
        ``least``, or a number of two significant digits above it.

    >>> propose(np.array([0.1, 0.331, 0.1, 0.52, 0.1]), Waits(hold=0, keep=0), most=1, least=0.2)
    0.34
    """
    known = np.nan_to_num(values, nan=0.0)
    best = math.inf
    for candidate in _candidates(least, float(known.max(initial=0.0))):
        if episodes(known > candidate, waits) > most:
            break
        best = candidate
    return best


def _candidates(least: float, greatest: float) -> Iterator[float]:
    """Numbers of two significant digits, downwards from the first that is not below ``greatest``, to ``least`` at the end."""
    if greatest > least:
        exponent = math.floor(math.log10(greatest)) - 1
        mantissa = math.ceil(greatest / 10.0**exponent)
        mantissa += float(f"{mantissa}e{exponent}") < greatest  # the division may have rounded down
        while (candidate := float(f"{mantissa}e{exponent}")) > least:
            yield candidate
            mantissa -= 1
            if mantissa < 10:
                mantissa, exponent = 99, exponent - 1
    yield least


def _runs(over: Bools) -> Iterator[tuple[int, int]]:
    """First step of each run of true ones, and the first one after it."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], over.astype(np.int8), [0]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
