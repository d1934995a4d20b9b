"""A fleet with every fault that counters meet, and the rows behind it: what the rules must make of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from tests.promql.fleet import Replica

Floats = npt.NDArray[np.float64]

MINUTES = 66
LIVES: tuple[dict[str, Any], ...] = (
    {},
    {"restarts": (20, 47)},
    {"end": 33},
    {"begin": 25},
    {"failed": (12, 13, 31, 50)},
    {"failed": (0, 21, 22), "restarts": (21,)},
)
BOUNDS = (-1.0, 0.0, 0.5, 1.5, 2.25, 3.0, 6.0)
COLOURS = {"blue": 70, "red": 30, catalog.UNSEEN: 0}
CORRELATION = 0.2
CORRELATION_SAMPLES = 650
"""Of ``x`` with the score in the reference, in both spaces."""

SHARES = ("missing", "outliers", "out_of_range")
SCORE_EDGES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Numeric:
    """The numeric feature ``x`` of one version, as its reference knows it."""

    edges: tuple[float, ...]
    reference: tuple[int, ...]
    mean: float
    std: float
    weights: tuple[float, ...]

    @property
    def bins(self) -> tuple[str, ...]:
        """As a reference writes them."""
        ends = ("-inf", *(f"{edge:g}" for edge in self.edges), "inf")
        return tuple(f"{place:02d} {'[' if place else '('}{ends[place]}, {ends[place + 1]})" for place in range(len(ends) - 1))

    def count(self, x: Floats) -> Floats:
        """Values per bin."""
        return np.bincount(np.searchsorted(self.edges, x, side="right"), minlength=len(self.bins)).astype(float)

    def u(self, x: Floats) -> Floats:
        """Midranks in the reference."""
        return midranks(self.reference)[np.searchsorted(self.edges, x, side="right")]

    def z(self, x: Floats) -> Floats:
        """Standardised, without clipping: no value here is 8 deviations away."""
        return (x - self.mean) / self.std


VERSIONS = {
    "1": Numeric((1.0, 2.0, 3.0), (300, 200, 100, 50), 1.4, 1.1, (0.7, 0.9, 1.3)),
    "2": Numeric((0.0, 9.0), (300, 200, 100), 2.0, 4.0, (1.5, 0.5)),
}


@dataclass
class Truth:
    """What was counted, minute by minute; each list is of all replicas alive then."""

    x: dict[str, list[Floats]] = field(default_factory=lambda: {version: [np.empty(0)] * MINUTES for version in VERSIONS})
    score: list[Floats] = field(default_factory=lambda: [np.empty(0)] * MINUTES)
    seen: list[Floats] = field(default_factory=lambda: [np.empty(0)] * MINUTES)
    """Values of version 1 by replicas whose scrape succeeded."""
    colours: Floats = field(default_factory=lambda: np.zeros((MINUTES, len(COLOURS))))
    shares: dict[str, Floats] = field(default_factory=lambda: {name: np.zeros(MINUTES) for name in SHARES})
    calls: Floats = field(default_factory=lambda: np.zeros(MINUTES))

    def rows(self, version: str, span: slice) -> Floats:
        """Values of ``x`` in some minutes."""
        return np.concatenate(self.x[version][span])


def midranks(counts: npt.ArrayLike) -> Floats:
    """Share of values below a bin and of half of it."""
    sizes = np.asarray(counts, dtype=float)
    return np.asarray((np.cumsum(sizes) - sizes / 2) / sizes.sum())


def fleet() -> tuple[list[Replica], Truth]:
    """Two versions with different bins; replicas that restart, vanish, come late and miss scrapes; and what they counted."""
    rng, truth, replicas = np.random.default_rng(5), Truth(), []
    for number, life in enumerate((*LIVES, {})):
        version = "2" if number == len(LIVES) else "1"
        replica = Replica(MINUTES, version=version, instance=f"r{number}", **life)
        alive = range(life.get("begin", 0), life.get("end", MINUTES))
        calls = rng.integers(0, 9, MINUTES)
        replica.traffic(calls)
        # Later minutes have more rows, other values, and another relation to the score.
        x = [rng.normal(1.2 + minute / 60, 1.0, rng.integers(1, 30) + minute) for minute in range(MINUTES)]
        score = [1 / (1 + np.exp(rng.normal(0, 1, len(rows)) - rows * minute / 60)) for minute, rows in enumerate(x)]
        shares = {name: rng.integers(0, 5, MINUTES) for name in SHARES}
        _numeric(replica, VERSIONS[version], x, score, shares["missing"], scraped=number % 2 == 0)
        for minute in alive:
            truth.x[version][minute] = np.append(truth.x[version][minute], x[minute])
        if version == "1":
            colours = rng.integers(0, 5, (MINUTES, 3)) * [1, 1, 0]
            colours[40:, 2] = 1
            replica.feature("c", COLOURS, colours, missing=3)
            replica.feature("idle", {"blue": 70, catalog.UNSEEN: 0}, [0, 0])
            replica.counter(catalog.FEATURE_OUTLIERS, shares["outliers"], feature="x")
            replica.counter(catalog.FEATURE_OUT_OF_RANGE, shares["out_of_range"], feature="x")
            for minute in alive:
                truth.score[minute] = np.append(truth.score[minute], score[minute])
                if minute not in life.get("failed", ()):
                    truth.seen[minute] = np.append(truth.seen[minute], x[minute])
                truth.colours[minute] += colours[minute]
                truth.calls[minute] += calls[minute]
                for name, values in shares.items():
                    truth.shares[name][minute] += values[minute]
        replicas.append(replica)
    return replicas, truth


def _numeric(
    replica: Replica, profile: Numeric, x: list[Floats], score: list[Floats], missing: npt.ArrayLike, *, scraped: bool
) -> None:
    """All series of ``x`` as a monitor with a score exposes them."""
    counts = np.array([profile.count(rows) for rows in x])
    z = [profile.z(rows) + 8 for rows in x]
    reference = dict(zip(profile.bins, profile.reference, strict=True))
    shift = [each.mean() - 8 for each in z]
    replica.feature("x", reference, counts, weights=profile.weights, mean_shift=shift, missing=missing)
    replica.counter(catalog.FEATURE_MOMENT, [each @ each for each in z], feature="x", target="", space="z", moment="ff")
    ranks = midranks((1, 1, 1, 1))
    spaces = {
        "z": [(f, each * 4 + 6) for f, each in zip(z, score, strict=True)],
        "u": [(profile.u(f), ranks[np.searchsorted(SCORE_EDGES, each, side="right")]) for f, each in zip(x, score, strict=True)],
    }
    for space, pairs in spaces.items():
        sums = {
            "n": [len(f) for f, _ in pairs],
            "f": [f.sum() for f, _ in pairs],
            "ff": [f @ f for f, _ in pairs],
            "y": [y.sum() for _, y in pairs],
            "yy": [y @ y for _, y in pairs],
            "fy": [f @ y for f, y in pairs],
        }
        for moment, values in sums.items():
            replica.counter(catalog.FEATURE_MOMENT, values, feature="x", target=catalog.SCORE, space=space, moment=moment)
        for family, value in (
            (catalog.REFERENCE_CORRELATION, CORRELATION),
            (catalog.REFERENCE_CORRELATION_SAMPLES, CORRELATION_SAMPLES),
        ):
            replica.gauge(family, value, feature="x", target=catalog.SCORE, space=space)
    for bound in (*BOUNDS, np.inf):
        cumulative = [(rows <= bound).sum() for rows in x]
        # The text of a bound differs by route: 1.0 from a scrape, 1 by OTLP.
        text = "+Inf" if np.isinf(bound) else repr(float(bound)) if scraped else f"{bound:g}"
        replica.counter(catalog.FEATURE_VALUE, cumulative, suffix="_bucket", feature="x", le=text)
    replica.gauge(catalog.FEATURE_MIN, [rows.min() for rows in x], feature="x")
    replica.gauge(catalog.FEATURE_MAX, [rows.max() for rows in x], feature="x")
    for statistic, value in (("mean", profile.mean), ("std", profile.std), ("median", 1.3)):
        replica.gauge(catalog.REFERENCE_STATISTIC, value, feature="x", statistic=statistic)
