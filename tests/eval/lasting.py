"""A shift of one feature that lasts, in real flights in their true order of time: what is found beyond the feature's own wander."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otel_mlmon.thresholds import SHIPPED
from tests.eval import peers
from tests.eval.calm import DUMMY, OURS
from tests.eval.columns import Column, Floats, sliding
from tests.eval.ours import HOURS, Bools, Watch, watches
from tests.eval.peers import Peer
from tests.eval.traffic import CALIBRATED, WEEK, WINTER_HOURS, Split, Year

WANDERING = ("temp", "humid", "pressure", "wind_speed")
"""What the weather moves from day to day."""

INDEPENDENT = ("distance",)
DAYS = (2, 7)
"""A shift is found within so many days, or later."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """A shift of one feature at a time.

    Attributes:
        name: In words.
        features: Each of which shifts.
        deviations: Of the reference by which it shifts; 0 to see what alarms without any shift.
    """

    name: str
    features: Sequence[str]
    deviations: float


SHIFTS = (
    Lasting("distance, nothing shifted", INDEPENDENT, 0.0),
    Lasting("distance +0.3 sd", INDEPENDENT, 0.3),
    Lasting("distance +0.5 sd", INDEPENDENT, 0.5),
    Lasting("weather, nothing shifted", WANDERING, 0.0),
    Lasting("weather +1 sd", WANDERING, 1.0),
    Lasting("weather +2 sd", WANDERING, 2.0),
    Lasting("weather +3 sd", WANDERING, 3.0),
)

Found = dict[tuple[str, str, str], list[float]]
"""(shift, contender, feature) -> hours to the first alarm, one a served week; infinite for none."""


def run(
    year: Year, parted: Iterable[Split], *, shifts: Sequence[Lasting] = SHIFTS, others: Mapping[str, Peer] = peers.PEERS
) -> Found:
    """Every contender on every served week of winter, shifted from its first hour on, which is the model's first.

    Judged at each full hour; peers on windows of a day with the rows that ours asks for.

    Args:
        year: The flights.
        parted: How winter is parted.
        shifts: Which.
        others: The peers.
    """
    found: Found = {}
    names = [column.name for column in year.population]
    for split in parted:
        reference = year.reference(split.train)
        weeks = [hour for start, stop in split.blocks for hour in range(start, stop - WEEK + 1, WEEK)]
        for shift in shifts:
            for feature in shift.features:
                number = names.index(feature)
                by = shift.deviations * reference[feature].std
                winter = year.groups[number][:WINTER_HOURS]
                column, base, groups = moved(year.population[number], split.train[year.hours], winter, by)
                of_ours = {name: watches(reference, [column], calibrated=name == CALIBRATED)[0] for name in (OURS, CALIBRATED)}
                for name, alarms in _alarms(column, base, groups, weeks, of_ours, others).items():
                    hours = [float(np.argmax(one)) + 1 if one.any() else np.inf for one in alarms]
                    found.setdefault((shift.name, name, feature), []).extend(hours)
    return found


def moved(column: Column, train: Bools, groups: Floats, by: float) -> tuple[Column, Floats, Floats]:
    """A column with room for shifted values, the histogram of the training rows as they were, and the groups' shifted.

    Args:
        column: Of numbers.
        train: Rows of the training data.
        groups: Histograms by hour.
        by: How much is added to each value.
    """
    values = np.union1d(column.values, column.values + by)
    places = np.searchsorted(values, column.values)
    roomy = Column(column.name, values, np.where(column.codes >= 0, places[column.codes], -1))
    shifted = np.zeros((len(groups), len(values)))
    shifted[:, np.searchsorted(values, column.values + by)] = groups
    return roomy, roomy.histogram(train), shifted


def _alarms(
    column: Column,
    base: Floats,
    groups: Floats,
    weeks: Sequence[int],
    of_ours: Mapping[str, Watch],
    others: Mapping[str, Peer],
) -> Mapping[str, Bools]:
    """Contender -> alarms, shape ``(weeks, hours)``."""
    found: dict[str, Bools] = {}
    for name, watch in of_ours.items():
        counted = watch.counted(groups)
        found[name] = np.array([watch.hear(counted, start, start + WEEK).holds["warning"] for start in weeks])
    day = HOURS["1d"]
    windows = np.array([sliding(groups, day, start, start + WEEK) for start in weeks])
    enough = windows.sum(axis=2) >= SHIPPED["min_samples", "warning"]
    enough[:, : day - 1] = False  # no full window yet
    for name, peer in others.items():
        alarms = np.zeros(enough.shape, dtype=bool)
        alarms[enough] = peer(column, base, windows[enough])
        found[name] = alarms
    found[DUMMY] = np.array([peers.dummy(start, start + WEEK, window=day) for start in weeks])
    return found


def within(found: Found, shift: str, contender: str, *, days: int) -> float:
    """Share of weeks and features in which it was found so soon."""
    delays = [hours for (what, name, _), some in found.items() if (what, name) == (shift, contender) for hours in some]
    return float((np.array(delays) <= 24 * days).mean())
