"""A drift report as text for a terminal or a pipeline's log, at most 120 columns wide."""

import math
from collections.abc import Iterator, Sequence

from otel_mlmon.profiling.calibration import WINDOWS
from otel_mlmon.report.drift_report import DriftReport
from otel_mlmon.report.features import FeatureReport, Finding
from otel_mlmon.thresholds import MIN_DRIFTED

__all__ = ["lines"]

WIDTH = 120
_NAME_WIDTH = 10  # at least
_GAP = "  "

_HEADERS = (
    ("", "feature"),
    ("", "state"),
    ("", "values"),
    ("missing", "now"),
    ("when", "trained"),
    ("mean", "shift"),
    ("", "psi"),
    ("js", "dist."),
    ("", "ks"),
    ("wasser-", "stein"),
    ("", "p-value"),
    ("new or", "outside"),
    ("alarms", "above"),
)
_LEFT = (0, 1, 12)  # columns of words; the others are numbers

_WORDS = {
    "missing_ratio": "of its values are missing beyond what was in training",
    "invalid_ratio": "of its values break the schema",
    "unseen_ratio": "of its values are in new categories beyond what training lets expect",
    "out_of_range_ratio": "of its values are outside the range of training",
}


def lines(report: DriftReport) -> list[str]:
    """The lines of a report.

    Args:
        report: To show.

    Returns:
        A table of the features, the worst first; what is wrong with each; the model as a whole; the rows that break the schema.
    """
    return [*_table(report.features), "", *_findings(report.features), *_model(report), *_violations(report)]


def _table(features: Sequence[FeatureReport]) -> list[str]:
    head = [[upper for upper, _ in _HEADERS], [lower for _, lower in _HEADERS]]
    rows = [*head, *([*_row(one)] for one in features)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    room = WIDTH - sum(widths[1:]) - len(_GAP) * (len(widths) - 1)
    widths[0] = min(widths[0], max(room, _NAME_WIDTH))
    shown = []
    for row in rows:
        row[0] = _shortened(row[0], widths[0])
        cells = [
            cell.ljust(width) if n in _LEFT else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        shown.append(_GAP.join(cells).rstrip())
    return shown


def _row(one: FeatureReport) -> Iterator[str]:
    yield one.feature
    yield "too few" if one.state == "too few values" else one.state
    yield f"{one.samples:.0f}"
    yield _share(one.missing_ratio)
    yield _share(one.reference_missing_ratio)
    yield "" if math.isnan(one.mean_shift) else f"{one.mean_shift:+.2f}"
    for number in (one.psi, one.js_distance, one.ks, one.wasserstein):
        yield _number(number)
    yield "" if math.isnan(one.p_value) else f"{one.p_value:.0e}" if 0 < one.p_value < 0.001 else f"{one.p_value:.3f}"
    yield _share(one.unseen_ratio if math.isnan(one.out_of_range_ratio) else one.out_of_range_ratio)
    yield _level(one)


def _level(one: FeatureReport) -> str:
    level = one.levels.get("warning", math.nan)
    statistic = {"wasserstein": "wass."}.get(one.statistic, one.statistic)
    return "" if math.isnan(level) else f"{statistic} {_number(level)}" + (f" {one.window}" if one.window else "")


def _findings(features: Sequence[FeatureReport]) -> Iterator[str]:
    for one in features:
        for finding in one.findings:
            yield f"{finding.severity}: {one.feature}: {_said(finding)}"


def _said(finding: Finding) -> str:
    words = _WORDS.get(finding.statistic)
    if words is not None:
        return f"{_share(finding.value)} {words}, more than {_share(finding.level)}"
    return f"{finding.statistic} {_number(finding.value)}, more than {_number(finding.level)}"


def _model(report: DriftReport) -> Iterator[str]:
    judged, drifted = report.judged, sum(one.exceeds("warning") for one in report.judged)
    if judged:
        limit = report.limits.threshold("drifted_features_ratio", "warning")
        share = f"{drifted} of {len(judged)} input features ({_share(report.drifted_ratio())}) have drifted"
        yield f"{report.model_state}: the model: {share}; it has drifted if over {_share(limit)}, at least {MIN_DRIFTED}, have"
    few = [one.feature for one in report.features if one.state == "too few values"]
    if few:
        yield f"too few values, under {report.limits.min_samples:g}: {', '.join(few)}"
    windows = sorted({one.window for one in report.features if one.window}, key=lambda window: WINDOWS[window])
    if windows:
        yield f"{', '.join(windows)}: the level is not below what single windows of that length reached in training"
    unknown = [one.feature for one in report.features if one.statistic and not one.window]
    if unknown:
        yield f"normal operation is not known, thresholds and chance alone decide: {', '.join(unknown)}"


def _violations(report: DriftReport) -> Iterator[str]:
    if report.violations:
        checks = ", ".join(f"{check} {broken:.0f}" for check, broken in report.violations.items())
        yield f"rows that break the schema, of {report.rows}: {checks}"


def _share(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"{ratio:.1%}"


def _number(number: float) -> str:
    if math.isnan(number):
        return ""
    return f"{number:.3f}" if number < 10 else f"{number:.3g}"


def _shortened(name: str, width: int) -> str:
    """A long name without its middle: beginning and end tell names apart."""
    if len(name) <= width:
        return name
    tail = width // 2 - 1
    return f"{name[: width - tail - 2]}..{name[len(name) - tail :]}"
