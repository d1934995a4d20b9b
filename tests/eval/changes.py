"""Shifts whose beginning is known: made up, abrupt, gradual and recurring, and the car-loan data of nannyml."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_mlmon import Reference
from tests.eval import loans, peers
from tests.eval.calm import DUMMY, OURS, Rate
from tests.eval.columns import Column, Floats, Shape, columns, sliding, training
from tests.eval.ours import HOURS, watches
from tests.eval.peers import Peer
from tests.eval.traffic import CALIBRATED

ROWS = 5_000
"""In a window of 6 hours."""

HOUR = 6
"""Hours in that window."""

CALM = 48
"""Hours before the change."""

LAST = 120
"""Hours after it, 20 windows."""

PERIOD = 24
"""Hours that a recurring shift is on, and then off."""

TRAINING_HOURS = 336
_GRID = np.round(np.arange(-8.0, 8.0, 0.05), 2)
_COLOURS = np.array(["blue", "green", "red", "yellow"])
_SHARES = np.array([0.4, 0.3, 0.2, 0.1])

Alarms = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shift:
    """A made-up shift of one feature.

    Attributes:
        name: What shifts.
        values: Distinct values of the feature.
        shares: Share of the shift that is in force, from 0 to 1 -> probability of each value.
        force: Hours since the change -> share in force.
    """

    name: str
    values: npt.NDArray[np.float64] | npt.NDArray[np.str_]
    shares: Callable[[float], Floats]
    force: Callable[[int], float] = lambda hours: 1.0

    def hours(self) -> Floats:
        """Probabilities by hour of the stream, calm hours first."""
        return np.array([self.shares(0.0)] * CALM + [self.shares(self.force(hour)) for hour in range(LAST)])


def _normal(mean: float, variance: float) -> Callable[[float], Floats]:
    def shares(force: float) -> Floats:
        weights = np.exp(-((_GRID - force * mean) ** 2) / (2 * (1 + force * (variance - 1))))
        return np.asarray(weights / weights.sum())

    return shares


def _category(share: float) -> Callable[[float], Floats]:
    """The share of ``red`` grows to ``share``, at the others' expense."""

    def shares(force: float) -> Floats:
        wanted = _SHARES[2] + force * (share - _SHARES[2])
        found = _SHARES * (1 - wanted) / (1 - _SHARES[2])
        found[2] = wanted
        return np.asarray(found)

    return shares


SHIFTS = (
    Shift("mean +0.3 sd", _GRID, _normal(0.3, 1.0)),
    Shift("mean +0.5 sd", _GRID, _normal(0.5, 1.0)),
    Shift("variance x1.5", _GRID, _normal(0.0, 1.5)),
    Shift("category 20 % to 40 %", _COLOURS, _category(0.4)),
    Shift("mean +0.5 sd over 20 windows", _GRID, _normal(0.5, 1.0), lambda hours: (hours + 1) / LAST),
    Shift("mean +0.5 sd, 4 windows on, 4 off", _GRID, _normal(0.5, 1.0), lambda hours: float(hours // PERIOD % 2 == 0)),
)


@dataclass(slots=True)
class Detection:
    """How one contender met one shift.

    Attributes:
        false: Evaluations before the change.
        delays: Windows from the change to the first alarm, one a run; infinite for none.
        recurring: Periods of the recurring shift in which it alarmed, and all of them.
    """

    false: Rate = field(default_factory=Rate)
    delays: list[float] = field(default_factory=list)
    recurring: Rate = field(default_factory=Rate)

    def add(self, alarms: Alarms, *, change: int, window: int) -> None:
        """Take in one run's alarms at the end of each step."""
        self.false.add(alarms[:change])
        after = alarms[change:]
        self.delays.append((float(np.argmax(after)) + 1) / window if after.any() else np.inf)

    def within(self, windows: float) -> float:
        """Share of runs that alarmed so soon."""
        return float((np.array(self.delays) <= windows).mean())

    @property
    def delay(self) -> float:
        """Median, windows."""
        return float(np.median(self.delays))


def run(
    *, references: int, runs: int, shifts: Sequence[Shift] = SHIFTS, others: Mapping[str, Peer] = peers.PEERS
) -> dict[tuple[str, str], Detection]:
    """Every contender on every made-up shift, judged at each full hour.

    Args:
        references: Drawn per shift: two weeks at the pace of serving.
        runs: Streams drawn per reference.
        shifts: Which.
        others: The peers.

    Returns:
        (shift, contender) -> how it did.
    """
    found: dict[tuple[str, str], Detection] = {}
    for place, shift in enumerate(shifts):
        for number in range(references):
            rng = np.random.default_rng([place, number])
            rows = np.repeat(np.arange(TRAINING_HOURS), ROWS // HOUR)
            column = Shape("x", shift.values, shift.shares(0.0)).column(len(rows), rng)
            reference = Reference.build(training([column]), timestamps=rows * 3600.0, seed=number)
            groups = rng.multinomial(ROWS // HOUR, shift.hours(), size=(runs, CALM + LAST)).astype(np.float64)
            for name, alarms in _alarms([column], reference, [groups], others).items():
                detection = found.setdefault((shift.name, name), Detection())
                for one in alarms[0]:
                    detection.add(one, change=CALM, window=HOUR)
                    if shift.force(0) > shift.force(PERIOD):
                        detection.recurring.add(one[CALM : CALM + 5 * PERIOD].reshape(5, PERIOD)[::2].any(axis=1))
    return found


def _alarms(
    population: Sequence[Column], reference: Reference, groups: Sequence[Floats], others: Mapping[str, Peer]
) -> Mapping[str, Alarms]:
    """Every contender on streams of hours.

    Args:
        population: Features.
        reference: With timestamps.
        groups: Per feature the histograms, shape ``(runs, hours, values)``.
        others: The peers.

    Returns:
        Contender -> alarms, shape ``(features, runs, hours)``.
    """
    found: dict[str, list[Alarms]] = {}
    hours = groups[0].shape[1]
    for column, streams in zip(population, groups, strict=True):
        for name in (OURS, CALIBRATED):
            watch = watches(reference, [column], calibrated=name == CALIBRATED)[0]
            heard = [watch.hear(watch.counted(stream), 0, hours).holds["warning"] for stream in streams]
            found.setdefault(name, []).append(np.array(heard))
        base = column.histogram(slice(None))
        windows = np.array([sliding(stream, HOURS["6h"], 0, hours) for stream in streams])
        for name, peer in others.items():
            alarms = peer(column, base, windows.reshape(-1, windows.shape[2])).reshape(windows.shape[:2])
            alarms[:, : HOUR - 1] = False  # no full window yet
            found.setdefault(name, []).append(alarms)
        found.setdefault(DUMMY, []).append(np.array([peers.dummy(run, run + hours, window=HOUR) for run in range(len(streams))]))
    return {name: np.array(alarms) for name, alarms in found.items()}


@dataclass(frozen=True, slots=True)
class Loans:
    """The car loans: what each contender says of any of seven features.

    Attributes:
        false: Contender -> feature evaluations before the change that alarmed.
        delays: Contender -> rows from the change to the first feature's alarm that had been silent before it, infinite for none.
        features: Contender -> the features that alarm after the change.
    """

    false: Mapping[str, Rate]
    delays: Mapping[str, float]
    features: Mapping[str, Sequence[str]]


def car_loans(data: loans.CarLoans) -> Loans:
    """The analysis rows in their order at 5,000 rows a window, against the reference rows at the same pace.

    At the pace of their own timestamps, 165 rows a day, no window would have the 300 rows that our alert asks for.
    """
    population = columns(data.frame)
    train = data.rows < data.reference
    pace = ROWS / HOUR
    hours = ((np.arange(len(data.rows)) - data.reference) // pace).astype(np.int64)
    served = [column.histograms(np.where(train, -1, hours), int(hours.max()) + 1)[None] for column in population]
    trained = [Column(column.name, column.values, column.codes[train]) for column in population]
    reference = Reference.build(data.frame[train], timestamps=np.arange(int(train.sum())) / pace * 3600.0)
    found = _alarms(trained, reference, served, peers.PEERS)
    change = round(data.change / pace)
    false, delays, features = {}, {}, {}
    for name, alarms in found.items():
        before, after = alarms[:, 0, :change], alarms[:, 0, change:]
        false[name] = Rate()
        false[name].add(before)
        new = after & ~before.any(axis=1, keepdims=True)
        any_feature = new.any(axis=0)
        delays[name] = (float(np.argmax(any_feature)) + 1) * pace if any_feature.any() else np.inf
        features[name] = [column.name for column, one in zip(population, after, strict=True) if one.any()]
    return Loans(false, delays, features)
