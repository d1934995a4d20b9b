"""What one export says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import MetricType
from otel_mlmon.store import Exemplar, Series


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers of one export, ready to be written as data points.

    Attributes:
        series: All series; the same object as long as no series was added.
        values: What to say, shape ``(slots,)``: counts since ``starts``; gauges as they are, NaN where there is no value.
        starts: Unix time from which each series counts, nanoseconds, int64, shape ``(series,)``.
        time: Unix time of the numbers, nanoseconds.
        delta: Types of the families whose counts are those since the last export, not since the process started.
        exemplars: By slot.
    """

    series: tuple[Series, ...]
    values: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    time: int
    delta: frozenset[MetricType] = frozenset()
    exemplars: Mapping[int, Exemplar] = field(default_factory=dict)
