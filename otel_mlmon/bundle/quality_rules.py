"""Recording rules of data quality: shares of missing values, bad rows and dropped rows."""

from dataclasses import dataclass

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import enough
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import MIN_EVENTS, SEVERITIES, SHARE_SIGMAS

QUALITY_WINDOW = "1h"
"""Window of bad and dropped rows."""

RATIOS = (n.MISSING_RATIO, n.INVALID_RATIO, n.OUTLIERS_RATIO, n.OUT_OF_RANGE_RATIO, n.UNSEEN_RATIO)
"""Series of the shares of a feature's values."""


@dataclass(frozen=True, slots=True)
class _Share:
    """A share that alarms.

    Args:
        recorded, values: The share and what it is a share of.
        usual: The reference's share, above which it counts; empty for none.
        learned: Whether the reference knows only what it has seen: then its size counts, too. What is beyond its extremes, or in
            none of its categories, is about one or two in as many rows as it has.
    """

    recorded: str
    values: str
    usual: str = ""
    learned: bool = False


_ALARMING = {
    "missing_ratio": _Share(n.MISSING_RATIO, n.FEATURE_ROWS, usual=n.REFERENCE_MISSING),
    "invalid_ratio": _Share(n.INVALID_RATIO, n.FEATURE_ROWS),
    "out_of_range_ratio": _Share(n.OUT_OF_RANGE_RATIO, n.COUNT, learned=True),
    "unseen_ratio": _Share(n.UNSEEN_RATIO, n.COUNT, usual=n.REFERENCE_UNSEEN, learned=True),
}


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


def shares(options: RuleOptions) -> list[Rule]:
    """Shares of a feature's values: missing, invalid, outliers, out of range, in no category of the reference.

    Args:
        options: Windows, intervals.

    Returns:
        Rules in order of dependency, behind those of increments and windows.
    """
    rules: list[Rule] = []
    for window in dict.fromkeys((*options.pairs[0], *options.described)):
        count = n.selector(n.COUNT, window=window)
        missing, invalid, outliers, outside = (
            options.sums(increments, window, options.pace)
            for increments in (n.MISSING_INCREMENT, n.INVALID_INCREMENT, n.OUTLIERS_INCREMENT, n.OUT_OF_RANGE_INCREMENT)
        )
        predicted = options.sums(n.PREDICTION_INCREMENT, window, options.interval)
        none = f"or on ({n.FEATURE}) {count} * 0"
        rows = f"{count}\n  + on ({n.FEATURE}) ({missing} {none})\n  + on ({n.FEATURE}) ({invalid} {none})"
        # Without a reference nobody counts the good values: then each prediction is a row, though not each row is predicted.
        without = f"{missing} * 0 + on ({n.MODEL}) group_left () {predicted}"
        rules.append(record(n.FEATURE_ROWS, f"{rows}\nor on ({n.FEATURE})\n  {without}", window=window))
        all_rows = n.selector(n.FEATURE_ROWS, window=window)
        unseen = n.selector(n.BIN_COUNT, window=window, bin=catalog.UNSEEN)
        rules += [
            record(ratio, f"clamp_max({values}\n  / on ({n.FEATURE}) ({total} > 0), 1)", window=window)
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
    for statistic in _ALARMING:
        for severity in SEVERITIES:
            where = {"statistic": statistic, "severity": severity}
            of_feature = f"max by ({n.FEATURE}) ({n.selector(n.FEATURE_THRESHOLD, **where)})"
            of_model = f"{rows} * 0 + on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, **where)}"
            rules.append(record(n.SHARE_THRESHOLD, f"{of_feature}\nor\n  {of_model}", **where))
    return rules


def exceeded(options: RuleOptions) -> list[Rule]:
    """Shares that exceed their threshold in both windows of the first pair, chance in the fast one, and with enough values in it.

    Chance: ``SHARE_SIGMAS`` standard errors of the share.

    Args:
        options: The first pair of windows.

    Returns:
        Rules behind those of ``shares`` and ``share_thresholds``: the share over the slow window, less the reference's.
    """
    return [
        record(n.EXCEEDED, _exceeding(share, statistic, severity, options), statistic=statistic, severity=severity)
        for statistic, share in _ALARMING.items()
        for severity in SEVERITIES
    ]


def _exceeding(share: _Share, statistic: str, severity: str, options: RuleOptions) -> str:
    fast, slow = options.pairs[0]
    on = f"on ({n.FEATURE})"
    # Most features have none: what follows from a share above 0 costs them nothing.
    now, before = (f"({n.selector(share.recorded, window=window)} > 0)" for window in (fast, slow))
    values = n.selector(share.values, window=fast)
    rise, lasting = (f"({one} - {on} {share.usual})" if share.usual else one for one in (now, before))
    limit = n.selector(n.SHARE_THRESHOLD, statistic=statistic, severity=severity)
    one_row = f"1 / ({values} > 0)" + (f" + {on} 1 / {n.REFERENCE_TOTAL}" if share.learned else "")
    conditions = (
        f"({lasting} > {on} {limit})",
        f"({rise} > {on} {limit})",
        f"({rise} > {on} {SHARE_SIGMAS:g} * sqrt({now} * {on} (1 - {now}) * {on} ({one_row})))",
        f"({now} * {on} {values} >= {MIN_EVENTS})",
        enough(values),
    )
    return f"\nand {on}\n  ".join(conditions)
