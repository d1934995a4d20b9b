"""Real flights in their true order of time: winter against winter, where nothing is wrong, and summer against winter."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from otel_mlmon import Reference
from otel_mlmon.demo import flights
from otel_mlmon.thresholds import SHIPPED
from tests.eval import peers
from tests.eval.calm import DATASET_SHARE, DUMMY, OURS, Rate, Rates
from tests.eval.columns import Column, Floats, columns, sliding
from tests.eval.ours import HOURS, Heard, Watch, firing, model_drift, watches
from tests.eval.peers import Peer

CALIBRATED = "ours, with timestamps"
WINTER_HOURS = 90 * 24
WEEK = 168
SUMMER = range(151, 242)
"""Days from 1 June to 30 August: two of them on are data."""

WITHIN_HOURS = 48
WINDOWS = ("6h", "1d")
Bools = npt.NDArray[np.bool_]
Blocks = list[tuple[int, int]]


@dataclass(frozen=True)
class Year:
    """The flights of 2013, hour by hour.

    Attributes:
        frame: One row a flight.
        population: Columns of the features.
        hours: Hour of the year of each row.
        groups: Per feature the histograms of every hour.
    """

    frame: pd.DataFrame
    population: Sequence[Column]
    hours: npt.NDArray[np.int64]
    groups: Sequence[Floats]

    @classmethod
    def load(cls) -> "Year":
        """January to August."""
        frame = flights.load()
        frame = frame[frame["day"] < "2013-09"]
        hours = ((frame["at"] - frame["at"].min()) // 3600).to_numpy(dtype=np.int64)
        population = columns(frame[list(flights.FEATURES)])
        groups = [column.histograms(hours, int(hours.max()) + 1) for column in population]
        return cls(frame, population, hours, groups)

    def reference(self, train: Bools, **outcome: Any) -> Reference:
        """Of the rows of some hours.

        Args:
            train: By hour.
            outcome: What else ``Reference.build`` is told of these rows.
        """
        rows = train[self.hours]
        times = self.frame.loc[rows, "at"].to_numpy()
        return Reference.build(self.frame.loc[rows, list(flights.FEATURES)], timestamps=times, **outcome)


@dataclass(frozen=True, slots=True)
class Split:
    """Winter, parted: some blocks are the training data, the others are served.

    Attributes:
        name: How it was parted.
        blocks: Served blocks, (first hour, one past the last).
    """

    name: str
    blocks: Blocks

    @property
    def train(self) -> Bools:
        """By hour of the year, whether it is training data."""
        found = np.zeros(10_000, dtype=bool)
        found[:WINTER_HOURS] = True
        for start, stop in self.blocks:
            found[start:stop] = False
        return found


FORWARD = (
    Split("January and February, then March", [(59 * 24, WINTER_HOURS)]),
    Split("January, then February and March", [(31 * 24, WINTER_HOURS)]),
)
"""Trained before, served after: the season moves on between the two."""


def splits(seeds: int) -> Iterator[Split]:
    """Random halves of the weeks, of spans of three days, and every other week."""
    for length, name in ((WEEK, "weeks"), (72, "three days")):
        starts = np.arange(0, WINTER_HOURS, length)
        for seed in range(seeds):
            served = np.random.default_rng([length, seed]).permutation(starts)[: len(starts) // 2]
            yield Split(f"random {name}", _merged(sorted(served.tolist()), length))
    for first in (0, 1):
        yield Split("every other week", _merged(list(range(first * WEEK, WINTER_HOURS, 2 * WEEK)), WEEK))


def _merged(starts: Sequence[int], length: int) -> Blocks:
    """Blocks that touch are one."""
    blocks: Blocks = []
    for start in starts:
        if blocks and blocks[-1][1] == start:
            blocks[-1] = (blocks[-1][0], min(start + length, WINTER_HOURS))
        else:
            blocks.append((start, min(start + length, WINTER_HOURS)))
    return blocks


@dataclass(slots=True)
class Calm:
    """False alarms in winter.

    Attributes:
        rates: (split, contender, window) -> of evaluations at each full hour; our alert has the window "".
        alerts: Contender of ours -> alerts that began, over all features.
        feature_days: Contender of ours -> days served times features.
        worst: (contender of ours, feature) -> its evaluations.
    """

    rates: dict[tuple[str, str, str], Rates] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=dict)
    feature_days: dict[str, float] = field(default_factory=dict)
    worst: dict[tuple[str, str], Rate] = field(default_factory=dict)


def calm(year: Year, parted: Iterable[Split], *, others: Mapping[str, Peer] = peers.PEERS) -> Calm:
    """Winter's served blocks against the training data of the other ones.

    An evaluation counts if its window has the rows that ours asks for: so peers are not blamed for the small hours.

    Args:
        year: The flights.
        parted: How winter is parted.
        others: The peers.
    """
    found = Calm()
    for split in parted:
        reference = year.reference(split.train)
        base = [column.histogram(split.train[year.hours]) for column in year.population]
        watching = {name: watches(reference, year.population, calibrated=name == CALIBRATED) for name in (OURS, CALIBRATED)}
        counted = {name: _counted(some, year) for name, some in watching.items()}
        for start, stop in split.blocks:
            for name, some in watching.items():
                heard = [watch.hear(groups, start, stop) for watch, groups in zip(some, counted[name], strict=True)]
                _add_ours(found, split.name, name, year, heard)
            _add_peers(found, split.name, year, base, (start, stop), others)
    return found


def _counted(watching: Sequence[Watch], year: Year) -> list[tuple[Floats, Floats]]:
    return [watch.counted(groups) for watch, groups in zip(watching, year.groups, strict=True)]


def _add_ours(found: Calm, split: str, name: str, year: Year, heard: Sequence[Heard]) -> None:
    could = np.array([one.could for one in heard])
    holds = np.array([one.holds["warning"] for one in heard])
    rates = found.rates.setdefault((split, name, ""), Rates())
    rates.feature.add(holds[could])
    some = np.asarray(could.any(axis=0))
    rates.any.add(np.asarray(holds.any(axis=0))[some])
    rates.model.add(model_drift(list(holds), list(could))[some])
    for column, one in zip(year.population, heard, strict=True):
        found.worst.setdefault((name, column.name), Rate()).add(one.holds["warning"][one.could])
        fires = firing(one.holds["warning"], wait=0, keep=6)
        found.alerts[name] = found.alerts.get(name, 0) + int((fires & ~np.roll(fires, 1)).sum())
        found.feature_days[name] = found.feature_days.get(name, 0.0) + len(fires) / 24


def _add_peers(
    found: Calm, split: str, year: Year, base: Sequence[Floats], block: tuple[int, int], others: Mapping[str, Peer]
) -> None:
    start, stop = block
    for window in WINDOWS:
        inside = [sliding(groups, HOURS[window], start, stop)[HOURS[window] - 1 :] for groups in year.groups]
        enough = np.array([some.sum(axis=1) >= SHIPPED["min_samples", "warning"] for some in inside])
        for name, peer in others.items():
            alarms = np.zeros(enough.shape, dtype=bool)
            for number, column in enumerate(year.population):
                alarms[number, enough[number]] = peer(column, base[number], inside[number][enough[number]])
            _add(found.rates.setdefault((split, name, window), Rates()), alarms, enough, share=name == "Evidently")
        alarms = np.broadcast_to(peers.dummy(stop - enough.shape[1], stop, window=HOURS[window]), enough.shape)
        _add(found.rates.setdefault((split, DUMMY, window), Rates()), alarms, enough, share=False)


def _add(rates: Rates, alarms: Bools, enough: Bools, *, share: bool) -> None:
    some = enough.any(axis=0)
    rates.feature.add(alarms[enough])
    rates.any.add(np.asarray((alarms & enough).any(axis=0))[some])
    if share:
        rates.model.add((alarms & enough).mean(axis=0)[some] >= DATASET_SHARE)


def summer(year: Year) -> Mapping[str, Floats]:
    """Hours until temperature alarms, from the midnight of each day of summer on, against all of winter.

    The day before is one of winter's, as if the season had changed overnight. Peers look at windows of a day, each hour.

    Returns:
        Contender -> hours by day, infinite if not within two days.
    """
    train = np.zeros(10_000, dtype=bool)
    train[:WINTER_HOURS] = True
    reference = year.reference(train)
    number = flights.FEATURES.index("temp")
    column, groups = year.population[number], year.groups[number]
    base = column.histogram(train[year.hours])
    found: dict[str, list[float]] = {}
    for place, day in enumerate(SUMMER):
        before = place % (WINTER_HOURS // 24) * 24
        hours = np.concatenate((groups[before : before + 24], groups[day * 24 : day * 24 + WITHIN_HOURS]))
        alarms = {}
        for name in (OURS, CALIBRATED):
            watch = watches(reference, [column], calibrated=name == CALIBRATED)[0]
            alarms[name] = watch.hear(watch.counted(hours), 0, len(hours)).holds["warning"][24:]
        windows = sliding(hours, HOURS["1d"], 0, len(hours))[24:]
        alarms |= {name: peer(column, base, windows) for name, peer in peers.PEERS.items()}
        alarms[DUMMY] = peers.dummy(day * 24, day * 24 + WITHIN_HOURS, window=HOURS["1d"])
        for name, some in alarms.items():
            found.setdefault(name, []).append(float(np.argmax(some)) + 1 if some.any() else np.inf)
    return {name: np.array(delays) for name, delays in found.items()}
