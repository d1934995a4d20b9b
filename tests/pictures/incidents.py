"""What goes wrong in the week; times in simulated seconds since its first midnight."""

import math
from typing import Any

import numpy as np

DAY, HOUR = 86_400, 3_600

NOW = 7 * DAY + 18 * HOUR + 10 * 60
"""The moment at which the pictures are taken."""

_WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")


def _between(since: float, day: float, start: float, stop: float) -> bool:
    """Whether it is that day between two hours."""
    return day * DAY + start * HOUR <= since < day * DAY + stop * HOUR


class Incidents:
    """The week's; for ``replay``."""

    def duration(self, instance: str, since: float, rng: np.random.Generator) -> float:
        """Seconds that a call takes: the feature store is slow for an hour on the last afternoon, and was on the fourth day."""
        slow = _between(since, 7, 15, 16) or _between(since, 3, 10, 10.5)
        return float(min(20.0, rng.lognormal(math.log(0.3 if slow else 0.009), 0.7 if slow else 0.5)))

    def error(self, instance: str, since: float, rng: np.random.Generator) -> BaseException | None:
        """What a call raises: one in two thousand; a burst on the sixth day; on the last, one replica loses its database."""
        burst = 0.12 if _between(since, 5, 14, 15) else 0.0
        broken = 0.7 if instance == "delay-b" and _between(since, 7, 13, 13.8) else 0.0
        if rng.random() >= 0.0005 + burst + broken:
            return None
        return ConnectionError() if broken and rng.random() < 0.8 else TimeoutError()

    def spoil(self, name: str, since: float, row: dict[str, Any], rng: np.random.Generator) -> None:
        """What happens to a row of a model on its way: in place."""
        if row["origin"] == "EWR" and (_between(since, 7, 11.5, 24) or _between(since, 2, 17, 19)):  # the weather station is silent
            row.update({feature: None for feature in _WEATHER if feature in row})
        inches = row["origin"] == "LGA" and row.get("pressure") is not None  # of mercury
        if inches and (_between(since, 6, 20, 24) or _between(since, 7, 0, 9)):
            row["pressure"] *= 0.02953
        if _between(since, 7, 10, 24) and rng.random() < 0.07:  # a carrier that training has not seen
            row["carrier"] = "QX"
        if name == "flight-delay":
            if _between(since, 7, 16, 16.6) and rng.random() < 0.3:  # a client of an older release
                del row["visib"]
            if _between(since, 5, 9, 12) and rng.random() < 0.04:
                row["distance"] = "n/a"

    def dropped(self, instance: str, since: float) -> float:
        """Rows that do not fit into the queue: a batch job on the last afternoon."""
        return 40.0 if instance == "delay-a" and _between(since, 7, 16.5, 17) else 0.0

    def exported(self, instance: str, since: float) -> bool:
        """Whether the export over OTLP succeeds: not in an hour of the seventh night."""
        return not (instance == "duration-a" and _between(since, 6, 3, 4))
