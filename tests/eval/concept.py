"""Concept drift alone: every input keeps its distribution while what the label depends on changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_mlmon import Reference
from otel_mlmon.catalog import LABEL
from otel_mlmon.judge import PAIRS, in_pairs
from otel_mlmon.profiling.profile import Correlation
from otel_mlmon.reference import FeatureProfile
from otel_mlmon.thresholds import CORRELATION_SIGMAS, SHIPPED
from tests.eval.calm import Rate
from tests.eval.changes import CALM, HOUR, LAST, ROWS, Detection
from tests.eval.columns import Column, Floats, sliding
from tests.eval.ours import HOURS
from tests.eval.peers import PEERS

FEATURES = 10
NOTHING = "nothing"
SLOPE = 1.0
_SPEARMAN = 1.06  # its variance on Fisher's scale, times n - 3: Fieller, Hartley & Pearson (1957), doi:10.1093/biomet/44.3-4.470
_MOST = 0.999999
_CONSTANT = 1e-12  # a variance below is rounding

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Change:
    """What the label depends on, before and after.

    Attributes:
        name: In words.
        before: Slope of the label's log-odds in each feature.
        after: Likewise, after the change.
    """

    name: str
    before: Floats
    after: Floats


def _slopes(*some: tuple[int, float]) -> Floats:
    found = np.zeros(FEATURES)
    for place, slope in some:
        found[place] = slope
    return found


CHANGES = (
    Change("the effect turns round", _slopes((0, SLOPE)), _slopes((0, -SLOPE))),
    Change("the effect moves to another feature", _slopes((0, SLOPE)), _slopes((1, SLOPE))),
    Change("the effect vanishes", _slopes((0, SLOPE)), _slopes()),
    Change(NOTHING, _slopes((0, SLOPE)), _slopes((0, SLOPE))),
)


@dataclass(frozen=True, slots=True)
class Shifted:
    """What the alert's rule says of a correlation in some windows of one length.

    Attributes:
        could: Whether there are rows enough, and both vary.
        over: Whether the shift is over the warning, normal operation and chance, too.
    """

    could: Bools
    over: Bools


def moments(counts: Floats, ranks: Sequence[float]) -> Floats:
    """Sums of 1, f, y, ff, yy and fy, f midranks and y 0 or 1, of rows by bin and label.

    Args:
        counts: Shape ``(windows, bins, 2)``.
        ranks: Midrank of each bin in the reference.

    Returns:
        Shape ``(windows, 6)``.
    """
    u, both, ones = np.asarray(ranks), counts.sum(axis=2), counts[:, :, 1]
    y = ones.sum(axis=1)
    return np.stack((both.sum(axis=1), both @ u, y, both @ u**2, y, ones @ u), axis=1)


def shifted(trained: Correlation, sums: Floats, *, window: str) -> Shifted:
    """``MlmonConceptDrift`` in windows of one length.

    Args:
        trained: The reference's, in space u.
        sums: As ``moments``.
        window: Its length as the rules write it.

    Source:
        Fisher (1915), doi:10.1093/biomet/10.4.507.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        n = sums[:, 0]
        f, y, ff, yy, fy = sums[:, 1:].T / n
        of_feature, of_target = ff - f**2, yy - y**2
        r = (fy - f * y) / np.sqrt(of_feature * of_target)
        shift = np.abs(np.arctanh(np.clip(r, -_MOST, _MOST)) - np.arctanh(np.clip(trained.r, -_MOST, _MOST)))
        chance = CORRELATION_SIGMAS * np.sqrt(_SPEARMAN * (1 / (n - 3) + 1 / (trained.samples - 3)))
    could = (n >= SHIPPED["min_samples", "warning"]) & (np.minimum(of_feature, of_target) > _CONSTANT)
    level = np.maximum(max(SHIPPED["correlation_shift", "warning"], trained.thresholds.get(window, 0.0)), chance)
    return Shifted(could, could & (shift > level))


@dataclass(slots=True)
class Concept:
    """What was found.

    Attributes:
        ours: Change -> any feature's alert.
        feature: Change -> feature evaluations before the change that alarmed.
        peers: (change, peer) -> windows after the change in which any feature alarms: none of them looks at the label.
    """

    ours: dict[str, Detection] = field(default_factory=dict)
    feature: dict[str, Rate] = field(default_factory=dict)
    peers: dict[tuple[str, str], Rate] = field(default_factory=dict)


def run(*, references: int, runs: int) -> Concept:
    """Streams of ten normal features and a label, 5,000 rows in 6 hours, all labels known at once.

    Args:
        references: Drawn per change, 20,000 rows each.
        runs: Streams per reference.
    """
    found = Concept()
    for place, change in enumerate(CHANGES):
        for number in range(references):
            rng = np.random.default_rng([17, place, number])
            x, y = _draw(20_000, change.before, rng)
            names = [f"x{feature}" for feature in range(FEATURES)]
            reference = Reference.build(dict(zip(names, x, strict=True)), labels=y, task="binary", seed=number)
            profiles = [reference[name] for name in names]
            assert all(profile.thresholds == {} for profile in profiles)
            for _ in range(runs):
                tables = _stream(profiles, change, rng)
                holds = []
                for profile, table in zip(profiles, tables, strict=True):
                    trained = next(one for one in profile.correlations if one.target == LABEL and one.space == "u")
                    sums = moments(table, profile.midranks)
                    over = {
                        window: shifted(trained, sliding(sums, hours, 0, len(sums)), window=window).over
                        for window, hours in HOURS.items()
                    }
                    holds.append(in_pairs(over, PAIRS))
                alarms = np.array(holds)
                found.feature.setdefault(change.name, Rate()).add(alarms[:, :CALM])
                found.ours.setdefault(change.name, Detection()).add(np.asarray(alarms.any(axis=0)), change=CALM, window=HOUR)
            _peers(found, change, x, rng)
    return found


def _draw(rows: int, slopes: Floats, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.int64]]:
    x = rng.standard_normal((FEATURES, rows)).round(2)
    return x, (rng.random(rows) < 1 / (1 + np.exp(-slopes @ x))).astype(np.int64)


def _stream(profiles: Sequence[FeatureProfile], change: Change, rng: np.random.Generator) -> list[Floats]:
    """Per feature the rows by hour, bin and label."""
    each = ROWS // HOUR
    parts = [_draw(hours * each, slopes, rng) for hours, slopes in ((CALM, change.before), (LAST, change.after))]
    x, y = np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])
    hour = np.repeat(np.arange(CALM + LAST), each)
    found = []
    for profile, values in zip(profiles, x, strict=True):
        bins = len(profile.bins)
        cells = (hour * bins + np.searchsorted(profile.edges, values, side="right")) * 2 + y
        found.append(np.bincount(cells, minlength=(CALM + LAST) * bins * 2).reshape(-1, bins, 2).astype(np.float64))
    return found


def _peers(found: Concept, change: Change, trained: Floats, rng: np.random.Generator) -> None:
    """Windows after the change, of the inputs."""
    windows = LAST // HOUR
    served, _ = _draw(windows * ROWS, change.after, rng)
    group = np.repeat(np.arange(windows), ROWS)
    alarms = {name: np.zeros(windows, dtype=bool) for name in PEERS}
    for before, after in zip(trained, served, strict=True):
        both = Column.of("x", np.concatenate((before, after)))
        base = both.histogram(slice(0, len(before)))
        inside = both.histograms(np.concatenate((np.full(len(before), -1), group)), windows)
        for name, peer in PEERS.items():
            alarms[name] |= peer(both, base, inside)
    for name, any_feature in alarms.items():
        found.peers.setdefault((change.name, name), Rate()).add(any_feature)
