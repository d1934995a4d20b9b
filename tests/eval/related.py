"""False alarms of the concept alert: how winter's flights are related to delays and to a model's score, in their order of time."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from otel_mlmon.catalog import LABEL, SCORE
from otel_mlmon.demo.model import DelayModel
from otel_mlmon.judge import PAIRS, in_pairs
from otel_mlmon.profiling.profile import Correlation, FeatureProfile
from tests.eval.calm import OURS, Rate
from tests.eval.columns import Floats, sliding
from tests.eval.concept import shifted
from tests.eval.ours import HOURS
from tests.eval.traffic import CALIBRATED, WINTER_HOURS, Split, Year

Found = dict[tuple[str, str, str], Rate]
"""(split, contender, target) -> evaluations of a feature at each full hour."""


def run(year: Year, parted: Iterable[Split]) -> Found:
    """Winter's served blocks against the training data of the other ones, whose flights the demo's model learned from.

    Every label is known at once.

    Args:
        year: The flights.
        parted: How winter is parted.
    """
    found: Found = {}
    for split in parted:
        for _, trained, sums in tables(year, split):
            for name in (OURS, CALIBRATED):
                correlation = trained if name == CALIBRATED else dataclasses.replace(trained, thresholds={})
                rate = found.setdefault((split.name, name, trained.target), Rate())
                for start, stop in split.blocks:
                    said = {
                        window: shifted(correlation, sliding(sums, hours, start, stop), window=window)
                        for window, hours in HOURS.items()
                    }
                    could, over = ({window: getattr(one, what) for window, one in said.items()} for what in ("could", "over"))
                    rate.add(in_pairs(over, PAIRS)[in_pairs(could, PAIRS)])
    return found


def tables(year: Year, split: Split) -> Iterator[tuple[str, Correlation, Floats]]:
    """Features, their rank correlation with each target in training, and sums of 1, f, y, ff, yy and fy by hour of winter."""
    train, late = split.train[year.hours], year.frame["late"].to_numpy()
    scores = DelayModel(year.frame[train]).predict(year.frame)
    reference = year.reference(split.train, task="binary", predictions=scores[train], labels=late[train])
    targets = {LABEL: late.astype(np.float64), SCORE: _ranked(reference[SCORE], scores)}
    for column in year.population:
        for trained in reference[column.name].correlations:
            if trained.space == "u" and trained.target in targets:
                values = np.where(column.codes >= 0, column.values[column.codes].astype(np.float64), np.nan)
                yield column.name, trained, _hourly(year, _ranked(reference[column.name], values), targets[trained.target])


def _ranked(profile: FeatureProfile, values: Floats) -> Floats:
    """Midrank of the bin of each value; NaN where there is none."""
    ranks = np.asarray(profile.midranks)[np.searchsorted(profile.edges, values, side="right").clip(max=len(profile.bins) - 1)]
    return np.where(np.isnan(values), np.nan, ranks)


def _hourly(year: Year, f: Floats, y: Floats) -> Floats:
    """Sums of 1, f, y, ff, yy and fy by hour of winter, over the rows that have both."""
    both = ~np.isnan(f + y) & (year.hours < WINTER_HOURS)
    f, y, hours = f[both], y[both], year.hours[both]
    products = (np.ones(len(f)), f, y, f * f, y * y, f * y)
    return np.stack([np.bincount(hours, weights=one, minlength=WINTER_HOURS) for one in products], axis=1)
