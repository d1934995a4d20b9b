"""Repeated timings of alternatives, taken in turn, so that a noisy machine disturbs all of them alike."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping

REPEATS = 9


def processor_seconds(alternatives: Mapping[str, Callable[[], int]]) -> dict[str, float]:
    """Median processor time of this process, all its threads, per unit of work.

    Args:
        alternatives: By name, what does some work and returns how many units it did.

    Returns:
        Seconds a unit by name.
    """
    return _medians(alternatives, time.process_time)


def caller_seconds(alternatives: Mapping[str, Callable[[], int]]) -> dict[str, float]:
    """As ``processor_seconds``, but of the calling thread alone."""
    return _medians(alternatives, time.thread_time)


def _medians(alternatives: Mapping[str, Callable[[], int]], clock: Callable[[], float]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in alternatives}
    for name, work in alternatives.items():  # once to warm up
        work()
        taken[name].clear()
    gc.collect()
    gc.disable()
    try:
        for _ in range(REPEATS):
            for name, work in alternatives.items():
                began = clock()
                units = work()
                taken[name].append((clock() - began) / units)
    finally:
        gc.enable()
    return {name: statistics.median(times) for name, times in taken.items()}
