"""Simulated time: the flights of a day become calls of the model within some seconds, at the pace of their departures."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from otel_mlmon.demo.flights import FEATURES

DAY = 86_400.0

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Moment:
    """One call of the model, or a quiet moment of the night.

    Attributes:
        day: Number of the simulated day, from 0.
        date: The day itself, "2013-01-31".
        clock: Seconds since midnight of that day.
        rows: Flights to predict, in the order of their departure; may be empty.
    """

    day: int
    date: str
    clock: float
    rows: Rows

    @property
    def elapsed(self) -> float:
        """Simulated seconds since the first midnight."""
        return self.day * DAY + self.clock


def moments(frame: pd.DataFrame, days: Sequence[str], *, per_day: int) -> Iterator[Moment]:
    """Cut the days into equally long pieces and hand out each with the flights that depart in it.

    Args:
        frame: What ``flights.load`` returns.
        days: The days to show, in order; gaps between them are closed up.
        per_day: Pieces in a day.
    """
    step = DAY / per_day
    for number, date in enumerate(days):
        flights = frame[frame["day"] == date]
        pieces = dict(list(flights.groupby((flights["at"] % DAY // step).astype(int))))
        for piece in range(per_day):
            due = pieces[piece][list(FEATURES)].to_dict("records") if piece in pieces else []
            yield Moment(number, date, piece * step, [{str(name): value for name, value in row.items()} for row in due])


def paced(
    replay: Iterable[Moment],
    *,
    day_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Moment]:
    """Hold each moment back until it is due; after a delay the following ones come at once, so that the days keep their length.

    Args:
        replay: The moments.
        day_seconds: Seconds that a simulated day lasts.
        clock: Seconds, monotone.
        sleep: Waits for some seconds.
    """
    start = clock()
    for moment in replay:
        ahead = start + moment.elapsed / DAY * day_seconds - clock()
        if ahead > 0:
            sleep(ahead)
        yield moment
