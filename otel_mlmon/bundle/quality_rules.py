"""Recording rules of data quality and serving: shares of missing values, bad rows, dropped rows and errors; latency."""

from collections.abc import Sequence

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import SEVERITIES

SERVING_WINDOWS = ("5m", "1h")
"""Fast and slow window of the alert on errors; the fast one is the latency's."""

QUALITY_WINDOW = "1h"
"""Window of bad and dropped rows."""

SHARES = ("missing_ratio", "invalid_ratio", "out_of_range_ratio", "unseen_ratio")
"""Statistics that are shares of a feature's values and alarm."""


def quality(options: RuleOptions) -> list[Rule]:
    """Shares of missing values per feature, of rows that break the schema and of rows dropped.

    Args:
        options: The first pair of windows is that of the missing values.

    Returns:
        Rules in order of dependency, behind those of increments and windows.
    """
    rules = [*shares(options, options.pairs[0]), *_share_thresholds(options)]
    span = options.span(QUALITY_WINDOW)
    rows, bad, dropped = (
        f"sum_over_time({name}[{span}])" for name in (n.PREDICTION_INCREMENT, n.VIOLATION_INCREMENT, n.DROPPED_INCREMENT)
    )
    return [
        *rules,
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


def _share_thresholds(options: RuleOptions) -> list[Rule]:
    """What a share of a feature's values must exceed: set for the feature, else the model's."""
    rules, rows = [], f"sum by ({n.FEATURE}) ({n.selector(n.FEATURE_ROWS, window=options.pairs[0][1])})"
    for statistic in SHARES:
        for severity in SEVERITIES:
            where = {"statistic": statistic, "severity": severity}
            of_feature = f"max by ({n.FEATURE}) ({n.selector(n.FEATURE_THRESHOLD, **where)})"
            of_model = f"{rows} * 0 + on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, **where)}"
            rules.append(record(n.SHARE_THRESHOLD, f"{of_feature}\nor\n  {of_model}", **where))
    return rules


def shares(options: RuleOptions, windows: Sequence[str], *, behind: bool = False) -> list[Rule]:
    """Shares of a feature's values: missing, invalid, outliers, out of range, in no category of the reference.

    Args:
        options: Lengths of the windows.
        windows: Which of them.
        behind: As the rules of ``statistics_interval`` read them.

    Returns:
        Rules in order of dependency, behind those of increments and windows.
    """
    rules, late = [], f" offset {options.behind}" if behind else ""
    for window in windows:
        count = n.selector(n.COUNT, window=window) + late
        missing, invalid, outliers, outside = (
            options.sums(increments, window, behind=behind)
            for increments in (
                *(n.MISSING_INCREMENT, n.INVALID_INCREMENT),
                *(n.OUTLIERS_INCREMENT, n.OUT_OF_RANGE_INCREMENT),
            )
        )
        none = f"or on ({n.FEATURE}) {count} * 0"
        rows = f"{count}\n  + on ({n.FEATURE}) ({missing} {none})\n  + on ({n.FEATURE}) ({invalid} {none})"
        # Without a reference nobody counts the good values: then each prediction is a row, though not each row is predicted.
        predicted = f"{missing} * 0 + on ({n.MODEL}) group_left () {options.sums(n.PREDICTION_INCREMENT, window, behind=behind)}"
        rules.append(record(n.FEATURE_ROWS, f"{rows}\nor on ({n.FEATURE})\n  {predicted}", window=window))
        all_rows, unseen = n.selector(n.FEATURE_ROWS, window=window), n.selector(n.BIN_COUNT, window=window, bin=catalog.UNSEEN)
        rules += [
            record(name, f"clamp_max({values}\n  / on ({n.FEATURE}) ({total} > 0), 1)", window=window)
            for name, values, total in (
                (n.MISSING_RATIO, missing, all_rows),
                (n.INVALID_RATIO, invalid, all_rows),
                (n.OUTLIERS_RATIO, outliers, count),
                (n.OUT_OF_RANGE_RATIO, outside, count),
                (n.UNSEEN_RATIO, unseen + late, count),
            )
        ]
    return rules


def serving(options: RuleOptions) -> list[Rule]:
    """Share of failed calls, and latency.

    Args:
        options: Interval and time scale.

    Returns:
        Rules behind those of increments.
    """
    rules = []
    for window in SERVING_WINDOWS:
        span = options.span(window)
        failed = f"sum by ({n.MODEL}) (sum_over_time({n.selector(n.CALL_INCREMENT, status='error')}[{span}]))"
        ended = f"sum by ({n.MODEL}) (sum_over_time({n.selector(n.CALL_INCREMENT, status='=~ok|error')}[{span}]))"
        rules.append(record(n.ERROR_RATIO, f"{failed}\n  / on ({n.MODEL}) ({ended} > 0)", window=window))
    buckets = f"{catalog.CALL_DURATION.prometheus_name}_bucket[{options.rate_range(SERVING_WINDOWS[0])}]"
    # Without calls the quantile is NaN, which is not >= 0.
    latency = f"histogram_quantile(0.99, sum by ({n.MODEL}, le) (rate({buckets}))) >= 0"
    return [*rules, record(n.LATENCY, latency)]
