"""Which series go into which request of an export."""

from collections.abc import Sequence

from otel_mlmon.catalog import MetricFamily
from otel_mlmon.store import Series

CAPACITY = 16_000
"""Weight of a full request, of which one of 4,000 histograms has 1.5 MB with ten buckets each: gRPC servers take 4 MiB."""

HISTOGRAM_WEIGHT = 4


def portions(series: Sequence[Series]) -> list[dict[MetricFamily, list[int]]]:
    """Split series into requests of at most 4,000 histograms or 16,000 others.

    It depends on the series alone, so that the same series are together in each export.

    Args:
        series: All series of an export.

    Returns:
        For each request the positions of its series, by family; families and series in the order in which they come.
    """
    families: dict[MetricFamily, list[int]] = {}
    for position, one in enumerate(series):
        families.setdefault(one.family, []).append(position)
    made: list[dict[MetricFamily, list[int]]] = []
    room = 0
    for family, positions in families.items():
        weight = HISTOGRAM_WEIGHT if family.type == "histogram" else 1
        while positions:
            if room < weight:
                made.append({})
                room = CAPACITY
            made[-1][family], positions = positions[: room // weight], positions[room // weight :]
            room -= weight * len(made[-1][family])
    return made
