"""Models that go wrong, or nearly: one per reason why an alert must fire or must stay silent. What their cases are made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.fleet import Replica

BINS = ("00 (-inf, 1)", "01 [1, 2)", "02 [2, 3)", "03 [3, inf)")
REFERENCE = dict.fromkeys(BINS, 250)
COLOURS = {"blue": 250, "green": 250, "red": 250, catalog.OTHER: 250, catalog.UNSEEN: 0}
WEIGHTS = (1.0, 1.0, 1.0)
CALM = np.array([30.0, 30, 30, 30])
MOVED = np.array([12.0, 12, 24, 72])
"""Rows a minute: 120; wasserstein 0.8, psi 0.6 against REFERENCE."""

MINUTES = 76
"""Of the cases in real time."""

TIME_SCALE = 12
SCALED_MINUTES = 84
"""Of what takes hours, at a twelfth: 1h, 6h, 1d are 5, 30, 120 minutes."""

LAPSE_SCALE = 60
LAPSE_MINUTES = 90
"""Of what takes days, at a sixtieth: an hour is a minute, 1d and 3d are 24 and 72 minutes."""

WARNING = ("warning",)
CRITICAL = ("critical",)
BOTH = ("warning", "critical")

Alerts = frozenset[tuple[str, str, int]]
NONE: Alerts = frozenset()


def alerts(name: str, severities: Iterable[str] = BOTH, times: int = 1) -> Alerts:
    """An alert at these severities, for so many features."""
    return frozenset((name, severity, times) for severity in severities)


@dataclass(frozen=True)
class Case:
    """One model and the alerts that fire, by minute."""

    name: str
    build: Callable[[Replica], None]
    expected: Mapping[int, Alerts]
    life: Mapping[str, Any] = field(default_factory=dict)
    holds: tuple[tuple[int, str], ...] = ()
    """(minute, condition that has a result then): that a silent case is silent for its reason."""

    @property
    def last(self) -> int:
        """The last minute that is asked for: promtool evaluates up to it."""
        return max(*self.expected, *(minute for minute, _ in self.holds), 0)


def change(minutes: int, at: int, before: npt.ArrayLike, after: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A rate, or one per bin, that changes at a minute."""
    return np.array([before] * at + [after] * (minutes - at), dtype=float)
