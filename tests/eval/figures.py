"""Everything that is measured, part by part, on all processors."""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.eval import calm, changes, concept, lasting, learned, loans, related, traffic
from tests.eval.columns import Floats


@dataclass(slots=True)
class Figures:
    """What the parts found.

    Attributes:
        random: Rows drawn at random.
        winter: Winter's flights in their order of time.
        forward: The same, served after what was trained on.
        summer: Contender -> hours until summer's temperature alarms.
        shifts: Made-up shifts.
        weeks: Shifts of winter's flights in their order of time.
        history: Levels learned from recorded history, in that order.
        labels: Concept drift alone.
        relations: False alarms of the concept alert on flights in their order of time.
        car_loans: The car loans; the reason if there are none.
    """

    random: calm.Found = field(default_factory=dict)
    winter: traffic.Calm = field(default_factory=traffic.Calm)
    forward: traffic.Calm = field(default_factory=traffic.Calm)
    summer: Mapping[str, Floats] = field(default_factory=dict)
    shifts: dict[tuple[str, str], changes.Detection] = field(default_factory=dict)
    weeks: lasting.Found = field(default_factory=dict)
    history: learned.Learned = field(default_factory=learned.Learned)
    labels: concept.Concept = field(default_factory=concept.Concept)
    relations: related.Found = field(default_factory=dict)
    car_loans: changes.Loans | str = ""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is drawn.

    Attributes:
        references: Per stream.
        windows: Per reference and size.
        models: Windows per reference of the model of 50 features.
        seeds: Random splits of winter of each kind.
        runs: Streams per reference of a shift.
    """

    references: int
    windows: int
    models: int
    seeds: int
    runs: int


FULL = Effort(references=4, windows=30, models=200, seeds=6, runs=30)
QUICK = Effort(references=2, windows=20, models=50, seeds=1, runs=5)


def measure(effort: Effort) -> Figures:
    """Run all parts; the same effort gives the same figures."""
    found = Figures()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {name: pool.submit(part) for name, part in _parts(effort).items()}
        for name, future in futures.items():
            part = future.result()
            if name in calm.STREAMS:
                found.random |= part
            else:
                setattr(found, name, part)
    return found


def _parts(effort: Effort) -> dict[str, Callable[[], Any]]:
    """Longest first."""
    streams = {
        name: partial(
            calm.run, name, references=effort.references, windows=effort.models if name == calm.MADE_UP else effort.windows
        )
        for name in calm.STREAMS
    }
    return {
        **streams,
        "winter": partial(_flights, traffic.calm, effort.seeds),
        "shifts": partial(changes.run, references=effort.references, runs=effort.runs),
        "labels": partial(concept.run, references=effort.references, runs=effort.runs // 4),
        "weeks": partial(_flights, lasting.run, effort.seeds),
        "relations": partial(_flights, related.run, effort.seeds),
        "summer": partial(_year, traffic.summer),
        "history": partial(_year, learned.run),
        "forward": partial(_year, _forward),
        "car_loans": _loans,
    }


def _flights(part: Callable[..., Any], seeds: int) -> Any:
    return part(traffic.Year.load(), traffic.splits(seeds))


def _year(part: Callable[[traffic.Year], Any]) -> Any:
    return part(traffic.Year.load())


def _forward(year: traffic.Year) -> traffic.Calm:
    return traffic.calm(year, traffic.FORWARD)


def _loans() -> changes.Loans | str:
    try:
        return changes.car_loans(loans.load())
    except OSError as error:
        return str(error)
