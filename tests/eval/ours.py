"""Our alerts on the same windows, by the package's own rule: thresholds, normal operation, chance, rows, and pairs of windows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from otel_mlmon.judge import PAIRS, Limits, Verdicts, in_pairs, judge_windows
from otel_mlmon.reference import FeatureProfile, Reference
from otel_mlmon.thresholds import MIN_COVERED, MIN_DRIFTED, SHIPPED
from tests.eval.columns import Column, Floats, sliding

Bools: TypeAlias = npt.NDArray[np.bool_]

HOURS: Mapping[str, int] = {"1h": 1, "6h": 6, "1d": 24}
"""The windows that alarm -> hours."""


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """What the alert of a feature says at some instants.

    Attributes:
        could: Whether both windows of some pair may alarm: enough rows, covered, normal operation known.
        holds: Severity -> whether the alert's expression holds.
        over: Window -> whether this window alone is over the warning.
    """

    could: Bools
    holds: Mapping[str, Bools]
    over: Mapping[str, Bools]


class Watch:
    """One feature, watched against its profile.

    Args:
        profile: The reference's.
        column: The values that windows are histograms of.
        limits: Thresholds; the shipped ones by default.
    """

    def __init__(self, profile: FeatureProfile, column: Column, *, limits: Limits | None = None) -> None:
        self.profile, self._column, self._limits = profile, column, limits or Limits()
        if profile.kind == "numeric":
            values = column.values.astype(np.float64)
            bins = np.searchsorted(profile.edges, values, side="right")
            self._z = np.clip((values - profile.mean) / profile.scale, -8.0, 8.0)
        else:
            bins = np.array([profile.codes.get(str(value), profile.unseen) for value in column.values], dtype=np.intp)
            self._z = np.zeros(len(bins))
        self._bins = np.zeros((len(bins), len(profile.bins)))
        self._bins[np.arange(len(bins)), bins] = 1.0

    def uncalibrated(self) -> "Watch":
        """The same without levels of normal operation, as of a reference without timestamps."""
        return Watch(dataclasses.replace(self.profile, thresholds={}), self._column, limits=self._limits)

    def counted(self, windows: Floats) -> tuple[Floats, Floats]:
        """Counts per bin, shape ``(windows, bins)``, and sums of standardised values, of histograms over the values."""
        return windows @ self._bins, windows @ self._z

    def judge(self, windows: Floats, *, window: str = "") -> Verdicts:
        """Windows of one length; ``window=""`` for rows without time."""
        return self._verdicts(*self.counted(windows), window)

    def slide(self, groups: tuple[Floats, Floats], start: int, stop: int, window: str, *, normal: Floats | None = None) -> Verdicts:
        """Windows of one length at the end of each hour of a block, which begins with the model.

        Args:
            groups: What ``counted`` says of consecutive hours.
            start: First hour of the block.
            stop: One past the last.
            window: Length.
            normal: Learned level of normal operation, by hour; NaN where there is none.
        """
        counts, sums = groups
        inside, total = (sliding(some, HOURS[window], start, stop) for some in (counts, sums[:, None]))
        return self._verdicts(inside, total[:, 0], window, normal)

    def hear(self, groups: tuple[Floats, Floats], start: int, stop: int, *, normal: Mapping[str, Floats] | None = None) -> Heard:
        """The alert at the end of each hour of a block.

        Args:
            groups: As for ``slide``.
            start: As for ``slide``.
            stop: As for ``slide``.
            normal: Window -> as for ``slide``; where there is none nothing may alarm.
        """
        verdicts, covered = {}, {}
        age = np.arange(1, stop - start + 1)
        for window, hours in HOURS.items():
            verdicts[window] = self.slide(groups, start, stop, window, normal=normal[window] if normal else None)
            calibrated = self.profile.thresholds.get(verdicts[window].statistic, {}).keys()
            # Only where normal operation is known do the rules ask how long the model has been up.
            judged = normal is not None or any(calibrated >= set(pair) for pair in PAIRS)
            covered[window] = (age >= MIN_COVERED * hours) | (not judged)
        may = {window: found.may_alarm & covered[window] & ~np.isnan(found.levels["warning"]) for window, found in verdicts.items()}
        over = {
            severity: {window: found.exceeds(severity) & covered[window] for window, found in verdicts.items()}
            for severity in ("warning", "critical")
        }
        return Heard(in_pairs(may), {severity: in_pairs(found) for severity, found in over.items()}, over["warning"])

    def _verdicts(self, counts: Floats, sums: Floats, window: str, normal: Floats | None = None) -> Verdicts:
        rows = counts.sum(axis=1)
        shifts = np.divide(sums, rows, out=np.zeros(len(sums)), where=rows > 0)
        return judge_windows(self.profile, counts, shifts, window=window, limits=self._limits, normal=normal)


def watches(reference: Reference, population: Sequence[Column], *, calibrated: bool = True) -> list[Watch]:
    """One for each column.

    Args:
        reference: Has a profile of each.
        population: The columns.
        calibrated: False leaves the levels of normal operation out, as a reference without timestamps would.
    """
    found = [Watch(reference[column.name], column) for column in population]
    return found if calibrated else [watch.uncalibrated() for watch in found]


def model_drift(holds: Sequence[Bools], could: Sequence[Bools], *, severity: str = "warning") -> Bools:
    """``MlmonModelDrift``: more than a share of the features that may alarm are over, and more than one, by instant.

    Args:
        holds: Of each feature, whether its alert's condition holds.
        could: Of each feature, whether it may alarm.
        severity: Of the model's threshold.
    """
    drifted, able = np.sum(holds, axis=0), np.sum(could, axis=0)
    share = np.divide(drifted, able, out=np.zeros(len(drifted)), where=able > 0)
    found: Bools = (share > SHIPPED["drifted_features_ratio", severity]) & (drifted >= MIN_DRIFTED)
    return found


def firing(holds: Bools, *, wait: int, keep: int) -> Bools:
    """When an alert fires whose expression holds at some evaluations.

    Args:
        holds: By evaluation.
        wait: Evaluations it must have held before (``for``).
        keep: Evaluations that it goes on for (``keep_firing_for``).

    Source:
        prometheus/rules/alerting.go, ``AlertingRule.Eval``.
    """
    fires = np.zeros(len(holds), dtype=bool)
    since = last = -1
    for now, held in enumerate(holds.tolist()):
        if held:
            since, last = (now if since < 0 else since), now
            fires[now] = now - since >= wait or bool(now and fires[now - 1])
        elif now and fires[now - 1] and now - last <= keep:
            fires[now] = True
        else:
            since = -1
    return fires
