"""Requests to real monitors in simulated time: a week takes a minute."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol
from unittest import mock

import numpy as np
import numpy.typing as npt

from otel_mlmon import Monitor, PredictionLog, Reference, Settings, Threshold
from otel_mlmon.calls import RequestRecord
from tests.pictures.machine import Machine
from tests.pictures.recorder import Target

START = 1_372_636_800
"""1 July 2013, midnight: where simulated time begins."""

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """One version of a model: its reference, and what it answers to each row that it may be asked about."""

    name: str
    version: str
    reference: Reference
    answers: Floats
    thresholds: Sequence[Threshold] = ()


@dataclass
class Replica:
    """One process that serves a version.

    Args:
        served: What it serves.
        instance: Its name.
        number: No two have the same.
        begin: Simulated second at which it starts.
        end: And at which it ends; None for never.
        share: Of the requests to its model by simulated second, in proportion to the other replicas' shares.
        gpu: Whether it computes on one.
    """

    served: Served
    instance: str
    number: int
    begin: float = 0.0
    end: float | None = None
    share: Callable[[float], float] = lambda _: 1.0
    gpu: bool = False
    _opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self, now: float) -> Target:
        """Begin to serve, at a Unix time."""
        scores = self.served.reference.task == "binary"
        self.monitor = Monitor(
            self.served.name,
            version=self.served.version,
            reference=self.served.reference,
            thresholds=self.served.thresholds,
            prediction_log=PredictionLog(fields=("@score",), sample=0.05, per_second=1e6) if scores else None,
            settings=Settings(drain_seconds=600.0, system_seconds=0),
        )
        self._opened.enter_context(self.monitor)
        self.monitor._vitals.exports()
        self.machine = Machine(self.monitor, self.number, now, gpu=self.gpu)
        self.machine.read(now, 0, 0.0)
        return Target(self.monitor, f"{self.instance}:9464", -1000 * (20 + 7 * self.number))

    def stop(self) -> None:
        """End the process."""
        self._opened.close()


class Troubles(Protocol):
    """What goes wrong; see ``incidents``."""

    def duration(self, instance: str, since: float, rng: np.random.Generator) -> float:
        """Seconds that a call takes."""

    def error(self, instance: str, since: float, rng: np.random.Generator) -> BaseException | None:
        """What it raises."""

    def spoil(self, name: str, since: float, row: Row, rng: np.random.Generator) -> None:
        """What happens to a row before it comes."""

    def dropped(self, instance: str, since: float) -> float:
        """Rows that the queue refuses."""

    def exported(self, instance: str, since: float) -> bool:
        """Whether an export succeeds."""


@dataclass
class Requests:
    """Requests to one model.

    Args:
        times: Simulated second of each row, ascending.
        places: Which of ``rows`` it is.
        rows: What may be asked about.
        at_once: Rows of a call.
        seed: Of everything random about them.
    """

    times: Floats
    places: npt.NDArray[np.int64]
    rows: Sequence[Row]
    at_once: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def calls(self, since: float, until: float) -> Iterator[tuple[list[Row], npt.NDArray[np.int64]]]:
        """Rows of each call and their places."""
        first, last = np.searchsorted(self.times, [since, until])
        for start in range(first, last, self.at_once):
            places = self.places[start : min(start + self.at_once, last)]
            yield [dict(self.rows[place]) for place in places], places


def replay(
    replicas: Sequence[Replica], requests: Mapping[str, Requests], troubles: Troubles, times: Sequence[int]
) -> list[tuple[Target, bool]]:
    """Let replicas serve, and scrape them.

    Args:
        replicas: All that ever live.
        requests: By name of the model.
        troubles: What goes wrong.
        times: Simulated seconds at which they are scraped.

    Returns:
        What was scraped, and whether it ended before the end.

    Raises:
        RuntimeError: If a monitor does not count what it was given.
    """
    targets: dict[int, Target] = {}
    living: list[Replica] = []
    clock = float(START)

    def now() -> float:
        return clock

    with mock.patch("time.time", now):
        for before, since in pairwise((times[0], *times)):
            clock = float(START + since)
            for replica in replicas:
                if replica in living and replica.end is not None and since >= replica.end:
                    living.remove(replica)
                    replica.stop()
                if replica.number not in targets and since >= replica.begin:
                    targets[replica.number] = replica.start(clock)
                    living.append(replica)
            for name, asked in requests.items():
                _serve([replica for replica in living if replica.served.name == name], asked, troubles, before, since)
            for replica in living:
                if not replica.monitor.flush(60):
                    raise RuntimeError(f"replica {replica.instance!r}: rows were not counted in time")
                targets[replica.number].scrape(1000 * (START + since))
        for replica in living:
            replica.stop()
    return [(targets[replica.number], replica.end is not None) for replica in replicas if replica.number in targets]


def _serve(serving: Sequence[Replica], asked: Requests, troubles: Troubles, before: float, since: float) -> None:
    """What comes to one model between two scrapes."""
    if not serving:
        return
    rng = asked.rng
    shares = np.array([replica.share(since) for replica in serving])
    busy: dict[int, list[float]] = {replica.number: [] for replica in serving}
    calls = list(asked.calls(before, since))
    for (rows, places), chosen in zip(calls, rng.choice(len(serving), len(calls), p=shares / shares.sum()), strict=True):
        replica = serving[chosen]
        seconds, error = troubles.duration(replica.instance, since, rng), troubles.error(replica.instance, since, rng)
        for row in rows:
            troubles.spoil(replica.served.name, since, row, rng)
        replica.monitor.observe(rows, None if error else replica.served.answers[places], duration=seconds, error=error)
        # A request as the middleware ends it, but for its duration, which is simulated, too.
        request = RequestRecord("/predict", "POST", 500 if error else 200, seconds + 0.002, time.time(), None)
        replica.monitor._worker.submit(request, 1)
        busy[replica.number].append(seconds)
    for replica in serving:
        vitals = replica.monitor._vitals
        replica.machine.read(time.time(), len(busy[replica.number]), sum(busy[replica.number]))
        vitals.exported(ok=troubles.exported(replica.instance, since), seconds=0.004)
        vitals.lost("queue_full", troubles.dropped(replica.instance, since))
