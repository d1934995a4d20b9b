"""Levels of normal operation learned from what was recorded, as the rules learn them: false alarms, and a shift that lasts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_mlmon.thresholds import HISTORIES, MARGIN, MIN_COVERED
from tests.eval.calm import Rate
from tests.eval.columns import Column, Floats
from tests.eval.lasting import SHIFTS, Found
from tests.eval.ours import HOURS, Heard, Watch
from tests.eval.traffic import FORWARD, WEEK, Year

LEARNED = "ours, level learned from 14d"
SPLIT = FORWARD[1]
HISTORY = round(HISTORIES["14d"] / 3600)
"""Hours."""

_DAYS = 8
_DEVIATIONS = 3.0
_SMALLEST = 1e-9


@dataclass(slots=True)
class Learned:
    """What was found.

    Attributes:
        false: Feature evaluations in calm, once there is a learned level.
        lasting: As ``lasting.run``.
    """

    false: Rate = field(default_factory=Rate)
    lasting: Found = field(default_factory=dict)


def run(year: Year) -> Learned:
    """A reference of January as if it had no timestamps, and what follows it.

    A shift comes after 14, 21, ... days, and finds the level of the time before it.
    """
    found = Learned()
    reference = year.reference(SPLIT.train)
    start, stop = SPLIT.blocks[0]
    calm = {}
    for column, groups in zip(year.population, year.groups, strict=True):
        watch = Watch(reference[column.name], column).uncalibrated()
        counts, sums = watch.counted(groups)
        calm[column.name] = counts[start:stop], sums[start:stop]
        heard = _hear(watch, calm[column.name])
        found.false.add(heard.holds["warning"][heard.could])
    columns = {column.name: (column, groups) for column, groups in zip(year.population, year.groups, strict=True)}
    for shift in SHIFTS:
        for feature in shift.features:
            column, groups = columns[feature]
            moved = Column(feature, column.values + shift.deviations * reference[feature].std, column.codes)
            watch = Watch(reference[feature], moved).uncalibrated()
            shifted = watch.counted(groups[start:stop])
            delays = found.lasting.setdefault((shift.name, LEARNED, feature), [])
            for first in range(HISTORY, stop - start - WEEK + 1, WEEK):
                pairs = zip(calm[feature], shifted, strict=True)
                counts, sums = (np.concatenate((before[:first], after[first : first + WEEK])) for before, after in pairs)
                alarms = _hear(watch, (counts, sums)).holds["warning"][first:]
                delays.append(float(np.argmax(alarms)) + 1 if alarms.any() else np.inf)
    return found


def _hear(watch: Watch, groups: tuple[Floats, Floats]) -> Heard:
    """The alert, hour by hour, where there is a learned level."""
    return watch.hear(groups, 0, len(groups[1]), normal=_levels(watch, groups))


def _levels(watch: Watch, groups: tuple[Floats, Floats]) -> Mapping[str, Floats]:
    """Window -> learned level in force at the end of each hour: that of the hour before; NaN where there is none."""
    found = {}
    age = np.arange(1, len(groups[1]) + 1)
    for window, hours in HOURS.items():
        verdicts = watch.slide(groups, 0, len(age), window)
        usable = verdicts.may_alarm & (age >= MIN_COVERED * hours)
        found[window] = np.exp(np.concatenate(([np.nan], learn(np.log(np.fmax(verdicts.values, _SMALLEST)), usable)[:-1])))
    return found


def learn(logs: Floats, usable: npt.NDArray[np.bool_], *, history: int = HISTORY) -> Floats:
    """The level, its logarithm, that the rules learn.

    Args:
        logs: Logarithm of the distance, by hour from a midnight on.
        usable: Hours whose window has rows enough.
        history: Hours that are looked back on, whole days.

    Returns:
        At the end of each hour; NaN where the history has fewer than eight whole days.

    Source:
        ``bundle/history_rules.py``, but recorded each hour.
    """
    levels = np.full(len(logs), np.nan)
    kept = np.zeros(len(logs) + history, dtype=bool)  # ``history`` hours of nothing first
    padded = np.concatenate((np.zeros(history), logs))
    for hour, log in enumerate(logs.tolist()):
        week = levels[max(hour - WEEK, 0) : hour]
        usual = np.fmin.reduce(week, initial=np.inf)
        kept[hour + history] = usable[hour] and log <= usual + np.log(MARGIN["critical"])
        midnight = (hour + 1) // 24 * 24  # where steps of a day are taken, as Prometheus takes them
        if kept[midnight : midnight + history].reshape(-1, 24).any(axis=1).sum() >= _DAYS:
            some = padded[hour + 1 : hour + 1 + history][kept[hour + 1 : hour + 1 + history]]
            levels[hour] = max(some.mean() + _DEVIATIONS * some.std(), some.max())
    return levels
