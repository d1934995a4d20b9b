"""The rule of the drift alerts: which statistic of a feature alarms, and above which level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from otel_mlmon import drift
from otel_mlmon.drift import Counts
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.settings import Threshold, check_thresholds
from otel_mlmon.thresholds import MARGIN, SEVERITIES, SHIPPED

__all__ = [
    "MAX_BINS",
    "PAIRS",
    "Limits",
    "Verdict",
    "Verdicts",
    "alarms_on",
    "believable",
    "calibrated",
    "in_pairs",
    "judge",
    "judge_windows",
    "level",
]

Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]

MAX_BINS = 20
"""Most bins of a feature that alarms on the Wasserstein distance, as the rules come."""

PAIRS = (("1h", "6h"), ("6h", "1d"))
"""Pairs (fast, slow) of windows, both of which must be over their level, as the rules come."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rules and the model's code say about alarms.

    Args:
        thresholds: Set in code, of one model.
        defaults: (statistic, severity) -> value that the rules carry instead of the shipped one.
        pairs: Pairs (fast, slow) of windows that the rules alarm on.
        max_bins: Numeric bins that the rules cover with the Wasserstein distance.

    Raises:
        ValueError: For an unknown default, or two thresholds that say the same thing.

    >>> Limits([Threshold("psi", 0.3)]).threshold("psi", "critical")
    0.3
    """

    thresholds: Sequence[Threshold] = ()
    defaults: Mapping[tuple[str, str], float] = field(default_factory=dict)
    pairs: Sequence[tuple[str, str]] = PAIRS
    max_bins: int = MAX_BINS

    def __post_init__(self) -> None:
        check_thresholds(self.thresholds, None)
        for key in self.defaults:
            if key not in SHIPPED:
                raise ValueError(f"defaults: (statistic, severity) must be one of {sorted(SHIPPED)}, got {key!r}")

    @property
    def min_samples(self) -> float:
        """Valid values of a feature in a window below which nothing alarms; severities do not differ."""
        in_code = [one.value for one in self.thresholds if one.statistic == "min_samples"]
        return max(in_code, default=self._default("min_samples", "warning"))

    def threshold(self, statistic: str, severity: str, feature: str = "") -> float:
        """What the user asks for.

        Args:
            statistic: One of ``SHIPPED`` but ``min_samples``.
            severity: ``warning`` or ``critical``.
            feature: Its name; empty for the whole model.

        Returns:
            The feature's threshold, else the model's, else the default. A critical one that is not set is never below the warning.
        """
        own = {one.severity: one.value for one in self.thresholds if (one.statistic, one.feature) == (statistic, feature)}
        if severity in own:
            return own[severity]
        above = self.threshold(statistic, severity) if feature else self._default(statistic, severity)
        if severity == "warning":
            return above
        warning = own.get("warning") if feature else self.threshold(statistic, "warning")
        return above if warning is None else max(above, warning)

    def _default(self, statistic: str, severity: str) -> float:
        key = (statistic, severity)
        return float(self.defaults[key] if key in self.defaults else SHIPPED[key])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the alert's rule says of one feature in one window.

    Attributes:
        feature: Its name.
        statistic: That it alarms on: ``wasserstein`` or ``psi``; empty if there is none.
        value: Of the statistic; NaN without values.
        levels: Severity -> what the value must exceed.
        samples: Valid values in the window.
        may_alarm: Whether there are enough of them, and normal operation is known where it should be.
    """

    feature: str
    statistic: str
    value: float
    levels: Mapping[str, float]
    samples: float
    may_alarm: bool

    @property
    def severity(self) -> str:
        """The gravest one whose level is exceeded; empty for none."""
        return next((severity for severity in reversed(SEVERITIES) if self.exceeds(severity)), "")

    def exceeds(self, severity: str) -> bool:
        """Whether the value is over the level of ``warning`` or ``critical``; an alert asks it of both windows of a pair."""
        return self.may_alarm and self.value > self.levels[severity]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """``Verdict`` of many windows: the same attributes, arrays of shape ``(windows,)``."""

    feature: str
    statistic: str
    values: Floats
    levels: Mapping[str, Floats]
    samples: Floats
    may_alarm: Bools

    @property
    def severities(self) -> npt.NDArray[np.str_]:
        """The gravest severity whose level is exceeded, by window; empty for none."""
        found = np.full(len(self.values), "", dtype=f"<U{max(map(len, SEVERITIES))}")
        for severity in SEVERITIES:
            found[self.exceeds(severity)] = severity
        return found

    def exceeds(self, severity: str) -> Bools:
        """Whether the value is over the level of ``warning`` or ``critical``, by window."""
        over: Bools = self.may_alarm & (self.values > self.levels[severity])
        return over


def alarms_on(profile: FeatureProfile, *, max_bins: int = MAX_BINS) -> str:
    """The statistic that a feature alarms on.

    Args:
        profile: Of the feature.
        max_bins: Numeric bins that the rules cover with the Wasserstein distance.

    Returns:
        ``wasserstein`` for numeric features, ``psi`` for categorical ones, those that did not vary and those with more bins;
        empty if training had no values.
    """
    if not profile.samples:
        return ""
    return "wasserstein" if profile.weights and len(profile.bins) <= max_bins else "psi"


def calibrated(profile: FeatureProfile, *, max_bins: int = MAX_BINS) -> Mapping[str, float]:
    """Levels that normal operation reaches in the statistic that a feature alarms on.

    Args:
        profile: Of the feature.
        max_bins: As for ``alarms_on``.

    Returns:
        Window -> level; empty where the reference does not know any.
    """
    return profile.thresholds.get(alarms_on(profile, max_bins=max_bins), {})


def believable(profile: FeatureProfile, window: str, pairs: Sequence[tuple[str, str]] = PAIRS, *, max_bins: int = MAX_BINS) -> bool:
    """Whether a window may alarm, given enough values.

    If the reference is calibrated for both windows of some pair, the window must be one that it is calibrated for.

    Args:
        profile: Of the feature.
        window: Its length as the rules write it; empty for one without times, which only thresholds and chance judge.
        pairs: Pairs (fast, slow) of windows that alarm together.
        max_bins: As for ``alarms_on``.

    Returns:
        False for a window in no pair, too.
    """
    if not window:
        return True
    levels = calibrated(profile, max_bins=max_bins)
    if any(levels.keys() >= set(pair) for pair in pairs) and window not in levels:
        return False
    return any(window in pair for pair in pairs)


def level(
    profile: FeatureProfile,
    samples: float | Floats,
    *,
    statistic: str,
    severity: str,
    window: str = "",
    limits: Limits | None = None,
    normal: float | Floats | None = None,
) -> Floats:
    """What a statistic must exceed: the greatest of what the user asks for, normal operation reaches and chance reaches.

    Args:
        profile: Of the feature.
        samples: Valid values in the window, any shape.
        statistic: ``wasserstein`` or ``psi``.
        severity: ``warning`` or ``critical``; the latter asks for a margin over normal operation and chance.
        window: Its length as the rules write it; empty for one without times.
        limits: Thresholds; None for the shipped ones.
        normal: Level of normal operation instead of the reference's for this window, any shape that fits.

    Returns:
        Shape as ``samples``; NaN where there are none.

    Source:
        Of chance: ``profiling.noise``. PSI grows with ``1/n + 1/m``, the Wasserstein distance with its root.
    """
    sizes = np.asarray(samples, dtype=np.float64)
    user = (limits or Limits()).threshold(statistic, severity, profile.feature)
    if normal is None:
        normal = profile.thresholds.get(statistic, {}).get(window, 0.0)
    chance = np.zeros(sizes.shape)
    if statistic in profile.noise:
        both = 1.0 / np.where(sizes > 0, sizes, np.nan) + 1.0 / profile.samples
        chance = profile.noise[statistic] * (np.sqrt(both) if statistic == "wasserstein" else both)
    greatest = np.maximum(user, MARGIN[severity] * np.maximum(normal, chance))
    return np.where(sizes > 0, greatest, np.nan)


def judge(
    profile: FeatureProfile,
    counts: Counts,
    mean_shift: float = 0.0,
    *,
    window: str = "",
    limits: Limits | None = None,
    normal: float | None = None,
) -> Verdict:
    """Judge one window of one feature as the alert does each of its two.

    Args:
        profile: Of the feature.
        counts: Valid values by bin, shape ``(bins,)``.
        mean_shift: Mean less the reference's, in its standard deviations; only looked at where the statistic is ``wasserstein``.
        window: Its length as the rules write it (``6h``): normal operation of such a window counts. Empty for values without
            times, which only thresholds and chance judge.
        limits: Thresholds, pairs of windows; None for the shipped ones.
        normal: Level of normal operation, as learned from history, instead of the reference's.

    Returns:
        The verdict; too few values, or none, are never an alarm.

    Raises:
        ValueError: If there is not one count >= 0 per bin, or a mean shift that matters is not finite.
    """
    verdicts = judge_windows(
        profile, np.asarray(counts, dtype=np.float64)[None], np.array([mean_shift]), window=window, limits=limits, normal=normal
    )
    return Verdict(
        verdicts.feature,
        verdicts.statistic,
        float(verdicts.values[0]),
        {severity: float(levels[0]) for severity, levels in verdicts.levels.items()},
        float(verdicts.samples[0]),
        bool(verdicts.may_alarm[0]),
    )


def judge_windows(
    profile: FeatureProfile,
    windows: Floats,
    mean_shifts: Floats,
    *,
    window: str = "",
    limits: Limits | None = None,
    normal: float | Floats | None = None,
) -> Verdicts:
    """``judge`` many windows of one length at once.

    Args:
        profile: Of the feature.
        windows: Valid values by bin, shape ``(windows, bins)``.
        mean_shifts: Shape ``(windows,)``.
        window: As for ``judge``.
        limits: As for ``judge``.
        normal: As for ``judge``; one for all or one per window.

    Returns:
        One verdict per window.

    Raises:
        ValueError: As ``judge``.
    """
    limits = limits or Limits()
    statistic = alarms_on(profile, max_bins=limits.max_bins)
    counts, shifts = np.asarray(windows, dtype=np.float64), np.asarray(mean_shifts, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] != len(profile.bins) or shifts.shape != counts.shape[:1]:
        raise ValueError(
            f"feature {profile.feature!r}: counts must have {len(profile.bins)} bins and each window a shift of the mean, "
            f"got shapes {counts.shape} and {shifts.shape}"
        )
    samples = counts.sum(axis=1)
    some = counts.any(axis=1)
    values = np.full(len(counts), np.nan)
    if statistic == "psi" and some.any():
        values[some] = drift.psi_of_windows(profile.counts, counts[some])
    if statistic == "wasserstein" and some.any():
        values[some] = drift.wasserstein_of_windows(profile.counts, counts[some], weights=profile.weights, mean_shifts=shifts[some])
    if statistic:
        levels = {
            severity: level(profile, samples, statistic=statistic, severity=severity, window=window, limits=limits, normal=normal)
            for severity in SEVERITIES
        }
    else:
        levels = {severity: np.full(len(counts), np.nan) for severity in SEVERITIES}
    trusted = normal is not None or believable(profile, window, limits.pairs, max_bins=limits.max_bins)
    may_alarm = some & (samples >= limits.min_samples) & (trusted and bool(statistic))
    return Verdicts(profile.feature, statistic, values, levels, samples, may_alarm)


def in_pairs(over: Mapping[str, Bools], pairs: Sequence[tuple[str, str]] = PAIRS) -> Bools:
    """When an alert holds: both windows of a pair are over their level.

    Args:
        over: Window -> ``Verdicts.exceeds(severity)`` of the windows of that length that end at
            some instants, shape ``(instants,)``.
        pairs: Pairs (fast, slow) of windows; those with a window that is not in ``over`` are left out.

    Returns:
        By instant.

    Raises:
        ValueError: If no pair is left.
    """
    known = [over[fast] & over[slow] for fast, slow in pairs if fast in over and slow in over]
    if not known:
        raise ValueError(f"over must have both windows of a pair of {tuple(pairs)!r}, got {tuple(over)!r}")
    either: Bools = np.logical_or.reduce(known)
    return either
