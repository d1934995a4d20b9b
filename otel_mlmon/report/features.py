"""One feature of some data against its reference: statistics, and what the alerts' rules say of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from otel_mlmon.judge import Limits, Verdict, calibrated, judge
from otel_mlmon.profiling.calibration import WINDOWS
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.snapshot import FeatureSnapshot
from otel_mlmon.thresholds import MIN_COVERED, MIN_EVENTS, SEVERITIES, SHARE_SIGMAS

__all__ = ["STATES", "FeatureReport", "Finding", "State", "feature_report"]

State = Literal["ok", "too few values", "warning", "critical"]
STATES: tuple[State, ...] = ("ok", "too few values", "warning", "critical")
"""From good to bad."""

_DISTANCES = ("psi", "wasserstein")


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule of the alerts that a feature breaks.

    Attributes:
        statistic: ``psi``, ``wasserstein``, ``missing_ratio``, ``invalid_ratio``, ``unseen_ratio`` or ``out_of_range_ratio``.
        value: What was found; of missing values the rise over the reference's share.
        level: What it exceeds.
        severity: ``warning`` or ``critical``.
    """

    statistic: str
    value: float
    level: float
    severity: Literal["warning", "critical"]


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """One feature, a derived one or an output included. What does not apply or cannot be told is NaN.

    Attributes:
        feature: Its name.
        state: ``critical``, ``warning``, ``ok``, or ``too few values`` to judge.
        rows: Rows that had it, whatever its value.
        samples: Valid values.
        missing_ratio: Share of rows in which it is missing.
        reference_missing_ratio: The same of the reference.
        invalid_ratio: Share of rows in which it breaks the schema.
        unseen_ratio: Share of values in categories that training did not have.
        out_of_range_ratio: Share of values outside the extremes of training.
        mean_shift: Mean less the reference's, in its standard deviations.
        psi, js_distance, ks, wasserstein: Distances from the reference: see ``drift``.
        p_value: Of the two-sample test, Kolmogorov-Smirnov (numeric) or chi-square (categorical), as if rows were independent: for
            eyes, no alarm rests on it.
        statistic: The distance that alarms: ``wasserstein`` or ``psi``; empty if training had no values.
        window: Whose level of normal operation counts; empty where none does.
        levels: Severity -> what the distance must exceed.
        findings: Rules that it breaks, the worst first.
    """

    feature: str
    state: State
    rows: float
    samples: float
    missing_ratio: float
    reference_missing_ratio: float
    invalid_ratio: float
    unseen_ratio: float
    out_of_range_ratio: float
    mean_shift: float
    psi: float
    js_distance: float
    ks: float
    wasserstein: float
    p_value: float
    statistic: str
    window: str
    levels: Mapping[str, float]
    findings: tuple[Finding, ...]

    @property
    def value(self) -> float:
        """Of the distance that alarms; NaN without values."""
        return {"psi": self.psi, "wasserstein": self.wasserstein}.get(self.statistic, math.nan)

    def exceeds(self, severity: str) -> bool:
        """Whether its distance is over the level of ``warning`` or ``critical``."""
        over = [one.severity for one in self.findings if one.statistic in _DISTANCES]
        return any(SEVERITIES.index(found) >= SEVERITIES.index(severity) for found in over)

    @property
    def excess(self) -> float:
        """How many times its level the worst finding is, else the distance its own: what reports are sorted by."""
        found = max((_over(one.value, one.level) for one in self.findings), default=0.0)
        return found or _over(self.value, self.levels.get("warning", math.nan))

    def to_json(self) -> dict[str, Any]:
        """As JSON's types, all attributes and ``value``; NaN is null."""
        document = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        document["value"] = _plain(self.value)
        document["levels"] = {severity: _plain(level) for severity, level in self.levels.items()}
        document["findings"] = [{key: getattr(one, key) for key in _FINDING_KEYS} for one in self.findings]
        return document


_FINDING_KEYS = tuple(field.name for field in fields(Finding))


def feature_report(
    counted: FeatureSnapshot, profile: FeatureProfile, *, window: str, span_seconds: float, limits: Limits
) -> FeatureReport:
    """Compare one feature.

    Args:
        counted: Its values.
        profile: Its reference.
        window: Whose level of normal operation counts; empty for the longest that the span covers.
        span_seconds: From the first timestamp to the last; NaN without.
        limits: Thresholds.
    """
    levels = calibrated(profile, max_bins=limits.max_bins)
    chosen = _window(levels, window, span_seconds)
    # The values were handed over whole: no pair of windows is waited for.
    verdict = judge(profile, list(counted.counts.values()), counted.mean_shift, limits=limits, normal=levels.get(chosen))
    findings = [*_distance(verdict), *_shares(counted, profile, limits)]
    findings.sort(key=lambda one: (SEVERITIES.index(one.severity), _over(one.value, one.level)), reverse=True)
    unjudged: State = "ok" if verdict.may_alarm or not verdict.statistic else "too few values"
    return FeatureReport(
        feature=profile.feature,
        state=findings[0].severity if findings else unjudged,
        rows=counted.rows,
        samples=counted.samples,
        missing_ratio=_ratio(counted.missing, counted.rows),
        reference_missing_ratio=_ratio(profile.missing, profile.rows),
        invalid_ratio=_ratio(sum(counted.invalid.values()), counted.rows),
        unseen_ratio=_unseen(counted, profile),
        out_of_range_ratio=_out_of_range(counted, profile),
        mean_shift=counted.mean_shift,
        psi=counted.psi,
        js_distance=counted.js_distance,
        ks=counted.ks,
        wasserstein=counted.wasserstein,
        p_value=counted.ks_pvalue if profile.kind == "numeric" else counted.chi2_pvalue,
        statistic=verdict.statistic,
        window=chosen,
        levels=verdict.levels,
        findings=tuple(findings),
    )


def _window(levels: Mapping[str, float], asked: str, span_seconds: float) -> str:
    """A window that the feature is calibrated for: the one asked for, else the longest that the times cover as alerts ask it."""
    if asked:
        return asked if asked in levels else ""
    covered = [window for window in levels if MIN_COVERED * WINDOWS[window] * 3600 <= span_seconds]
    return max(covered, key=lambda window: WINDOWS[window], default="")


def _distance(verdict: Verdict) -> list[Finding]:
    severity = verdict.severity
    if severity not in ("warning", "critical"):
        return []
    return [Finding(verdict.statistic, verdict.value, verdict.levels[severity], severity)]  # type: ignore[arg-type]  # checked above


def _shares(counted: FeatureSnapshot, profile: FeatureProfile, limits: Limits) -> list[Finding]:
    """Shares over their threshold, over chance and of more than a few values, as in the alerts on data quality.

    What training has merely not seen is about one or two values in as many as it had: there its size counts, too.
    """
    rows, samples = counted.rows, counted.samples
    usual = _ratio(profile.missing, profile.rows)
    invalid = sum(counted.invalid.values())
    found = []
    for statistic, share, of, less, trained_on in (
        ("missing_ratio", _ratio(counted.missing, rows), rows, usual, math.inf),
        ("invalid_ratio", _ratio(invalid, rows), rows, 0.0, math.inf),
        ("unseen_ratio", _unseen(counted, profile), samples, profile.unseen_ratio, profile.samples),
        ("out_of_range_ratio", _out_of_range(counted, profile), samples, 0.0, profile.samples),
    ):
        if not share > 0 or of < limits.min_samples or share * of < MIN_EVENTS or not trained_on:
            continue
        chance = SHARE_SIGMAS * math.sqrt(share * (1 - share) * (1 / of + 1 / trained_on))
        levels = {severity: max(limits.threshold(statistic, severity, profile.feature), chance) for severity in SEVERITIES}
        over = [severity for severity in SEVERITIES if share - less > levels[severity]]
        if over:
            found.append(Finding(statistic, share - less, levels[over[-1]], over[-1]))  # type: ignore[arg-type]  # of SEVERITIES
    return found


def _unseen(counted: FeatureSnapshot, profile: FeatureProfile) -> float:
    return _ratio(counted.unseen, counted.samples) if profile.kind == "categorical" else math.nan


def _out_of_range(counted: FeatureSnapshot, profile: FeatureProfile) -> float:
    return _ratio(counted.out_of_range, counted.samples) if profile.kind == "numeric" else math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _over(value: float, level: float) -> float:
    if math.isnan(value) or math.isnan(level):
        return 0.0
    return value / level if level else math.inf


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
