"""A day and a bit in which everything goes wrong all the time, for the test that no panel stays empty."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from otel_mlmon import Metadata, Reference, Threshold
from otel_mlmon.bundle.options import RuleOptions
from tests.flight_rows import INPUTS, TRAINING, rows_of
from tests.pictures.recorder import Target
from tests.pictures.replay import START, Replica, Requests, Row, Served, replay

INTERVAL = 240
SECONDS = 26 * 3_600
TIMES = [*range(0, SECONDS - 2_400, INTERVAL), *range(SECONDS - 2_400, SECONDS + 1, 60)]
"""Scrapes: rare ones first, as long as windows and baselines of a day want; then as often as panels want that look back minutes."""

SPANS = ((START, START + 7_200), (START + SECONDS - 7_200, START + SECONDS))
"""Where panels look: two hours, and the same two hours of the day before."""

OPTIONS = RuleOptions(interval="4m", lookback="8m")


_TRAINED = START - 400.0 * 86_400
_SECONDS_A_ROW = 25.0
"""In training: so that hours have the hundred rows and days the eight windows that calibration asks for."""


class Everything:
    """Some of each trouble at any time; for ``replay``."""

    def duration(self, instance: str, since: float, rng: np.random.Generator) -> float:
        """Around 30 ms."""
        return float(rng.lognormal(math.log(0.03), 1.0))

    def error(self, instance: str, since: float, rng: np.random.Generator) -> BaseException | None:
        """One in ten."""
        return TimeoutError() if rng.random() < 0.1 else None

    def spoil(self, name: str, since: float, row: Row, rng: np.random.Generator) -> None:
        """A twentieth each is missing, invalid, out of range, a new category or without a column."""
        kind = int(rng.integers(20))
        changes: Sequence[Row] = ({"temperature": None}, {"distance": "far"}, {"temperature": 200.0}, {"carrier": "QX"})
        if kind < len(changes):
            row.update(changes[kind])
        elif kind == len(changes):
            del row["temperature"]

    def dropped(self, instance: str, since: float) -> float:
        """As many as are counted, or so."""
        return 20.0

    def exported(self, instance: str, since: float) -> bool:
        """Every other one."""
        return since // 60 % 2 == 0


def day() -> list[tuple[Target, bool]]:
    """Two versions of a classifier and a regression, after temperatures have risen by more than a standard deviation."""
    later = rows_of(4_000, 2, shift=6.0)
    rows = [{str(name): value for name, value in row.items()} for row in later[INPUTS].to_dict("records")]
    answers: Any = later["score"].to_numpy()
    first, second, other = (
        Served(name, version, _reference(task), answers, [Threshold("latency_p99", 0.1), Threshold("min_samples", 20)])
        for name, version, task in (("delay", "1", "binary"), ("delay", "2", "binary"), ("duration", "1", "regression"))
    )
    replicas = [
        Replica(first, "a", 0),
        Replica(first, "b", 1, end=SECONDS - 600),
        Replica(second, "c", 2, begin=12 * 3_600),
        Replica(other, "d", 3, gpu=True),
    ]
    requests = {name: _requests(rows, seed) for seed, name in enumerate(("delay", "duration"))}
    return replay(replicas, requests, Everything(), times=TIMES)


def _reference(task: Any) -> Reference:
    reference = Reference.build(
        TRAINING[INPUTS],
        task=task,
        scores=TRAINING["score"] if task == "binary" else None,
        predictions=TRAINING["score"] if task == "regression" else None,
        labels=TRAINING["late"],
        timestamps=np.arange(len(TRAINING)) * _SECONDS_A_ROW,
        metadata=Metadata(dataset="made up", trained_at=_TRAINED, metrics={"auc": 0.5}, validation={"made up": True}),
    )
    return replace(reference, created=_TRAINED)


def _requests(rows: list[Row], seed: int) -> Requests:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, SECONDS, 8_000))
    return Requests(times, rng.integers(0, len(rows), len(times)), rows, 4, seed)
