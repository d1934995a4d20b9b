"""Recording rules of data quality: shares of missing values, bad rows and dropped rows."""

from collections.abc import Sequence

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import SEVERITIES

QUALITY_WINDOW = "1h"
"""Window of bad and dropped rows."""

RATIOS = (n.MISSING_RATIO, n.INVALID_RATIO, n.OUTLIERS_RATIO, n.OUT_OF_RANGE_RATIO, n.UNSEEN_RATIO)
"""Series of the shares of a feature's values."""

SHARES = ("missing_ratio", "invalid_ratio", "out_of_range_ratio", "unseen_ratio")
"""Statistics that are shares of a feature's values and alarm."""


def bad_rows(options: RuleOptions) -> list[Rule]:
    """Shares of rows that break the schema and of rows dropped.

    Args:
        options: Interval and time scale.

    Returns:
        Rules behind those of increments, in their group.
    """
    rows, bad, dropped = (
        options.sums(name, QUALITY_WINDOW, options.interval)
        for name in (n.PREDICTION_INCREMENT, n.VIOLATION_INCREMENT, n.DROPPED_INCREMENT)
    )
    return [
        # Rows whose call failed are bad without being predicted: then the share is 1.
        record(
            n.VIOLATION_RATIO,
            f"clamp_max({bad} / on ({n.MODEL}) group_left () ({rows} > 0), 1)\nor\n  ({bad} > bool 0) > 0",
            window=QUALITY_WINDOW,
        ),
        record(
            n.DROPPED_RATIO,
            f"{dropped} / (({dropped} + on ({n.MODEL}) group_left () {rows}) > 0)",
            window=QUALITY_WINDOW,
        ),
    ]


def shares(options: RuleOptions, windows: Sequence[str], *, late: bool = False) -> list[Rule]:
    """Shares of a feature's values: missing, invalid, outliers, out of range, in no category of the reference.

    Args:
        options: Intervals.
        windows: Which.
        late: Under names of their own, for the group that comes late.

    Returns:
        Rules in order of dependency, behind those of increments and windows.
    """
    rules: list[Rule] = []
    name = n.late if late else str
    for window in windows:
        count = n.selector(name(n.COUNT), window=window)
        missing, invalid, outliers, outside, predicted = (
            options.sums(increments, window, options.drift_interval, behind=late)
            for increments in (
                *(n.MISSING_INCREMENT, n.INVALID_INCREMENT, n.OUTLIERS_INCREMENT),
                *(n.OUT_OF_RANGE_INCREMENT, n.ROW_INCREMENT),
            )
        )
        none = f"or on ({n.FEATURE}) {count} * 0"
        rows = f"{count}\n  + on ({n.FEATURE}) ({missing} {none})\n  + on ({n.FEATURE}) ({invalid} {none})"
        # Without a reference nobody counts the good values: then each prediction is a row, though not each row is predicted.
        without = f"{missing} * 0 + on ({n.MODEL}) group_left () {predicted}"
        rules.append(record(name(n.FEATURE_ROWS), f"{rows}\nor on ({n.FEATURE})\n  {without}", window=window))
        all_rows = n.selector(name(n.FEATURE_ROWS), window=window)
        unseen = n.selector(name(n.BIN_COUNT), window=window, bin=catalog.UNSEEN)
        rules += [
            record(name(ratio), f"clamp_max({values}\n  / on ({n.FEATURE}) ({total} > 0), 1)", window=window)
            for ratio, values, total in zip(
                RATIOS, (missing, invalid, outliers, outside, unseen), (all_rows, all_rows, count, count, count), strict=True
            )
        ]
    return rules


def share_thresholds(options: RuleOptions) -> list[Rule]:
    """What a share of a feature's values must exceed: set for the feature, else the model's.

    Args:
        options: The slow window of the first pair is that of the alerts.

    Returns:
        Rules behind those of ``shares`` and thresholds.
    """
    rules, rows = [], f"sum by ({n.FEATURE}) ({n.selector(n.FEATURE_ROWS, window=options.pairs[0][1])})"
    for statistic in SHARES:
        for severity in SEVERITIES:
            where = {"statistic": statistic, "severity": severity}
            of_feature = f"max by ({n.FEATURE}) ({n.selector(n.FEATURE_THRESHOLD, **where)})"
            of_model = f"{rows} * 0 + on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, **where)}"
            rules.append(record(n.SHARE_THRESHOLD, f"{of_feature}\nor\n  {of_model}", **where))
    return rules
