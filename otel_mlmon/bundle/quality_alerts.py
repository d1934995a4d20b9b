"""Alerts on data quality: shares of a feature's values, of rows that break the schema and of rows that go uncounted."""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import FEATURE, SHARE, WHO, alert, threshold
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import QUALITY_WINDOW
from otel_mlmon.bundle.yaml_text import Rule
from otel_mlmon.thresholds import MIN_EVENTS, SEVERITIES, VARYING_RATIO


def quality(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``data_quality``.

    Args:
        options: Pairs of windows, of which the first is that of these alerts; waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    slow = options.pairs[0][1]
    still = f"and still in the last {options.pairs[0][0]}."
    return [
        *_values(
            "MlmonFeatureMissing",
            "missing_ratio",
            options,
            summary=f"Feature {FEATURE} of {WHO} is missing more often than in training.",
            description=f"Over {slow} {SHARE} more of its values are missing than in training, {still}",
        ),
        *_values(
            "MlmonFeatureInvalid",
            "invalid_ratio",
            options,
            summary=f"Values of feature {FEATURE} of {WHO} break the schema.",
            description=f"Over {slow} a share of {SHARE} of its values has a wrong type or is not allowed, {still}",
        ),
        *_values(
            "MlmonFeatureOutOfRange",
            "out_of_range_ratio",
            options,
            keep="6h",  # a temperature leaves its range by day, and comes back by night
            summary=f"Feature {FEATURE} of {WHO} leaves the range of its training data.",
            description=f"Over {slow} a share of {SHARE} of its values is outside what training had, {still}",
        ),
        *_values(
            "MlmonNewCategory",
            "unseen_ratio",
            options,
            summary=f"Feature {FEATURE} of {WHO} has more new categories than its training data lets expect.",
            description=f"Over {slow} {SHARE} more of its values are in categories that training did not have, {still}",
        ),
        *_rows(
            "MlmonSchemaViolations",
            n.VIOLATION_RATIO,
            n.VIOLATION_INCREMENT,
            "schema_violation_ratio",
            options,
            by="check",
            layer="data_quality",
            summary=f"Rows sent to {WHO} break its schema ({{{{ $labels.check }}}}).",
            description=f"A share of {SHARE} of the rows of the last {QUALITY_WINDOW} fails the check {{{{ $labels.check }}}}.",
        ),
        _frozen(options),
    ]


def _frozen(options: RuleOptions) -> Rule:
    """Its own history tells a feature that has stopped from one that stands still for hours, such as a day of the week."""
    of_feature = f"on ({n.FEATURE})"
    return alert(
        "MlmonFeatureFrozen",
        f"""
({n.RANGE} == 0)
and {of_feature}
  ({n.VARYING} >= {VARYING_RATIO:g})
and {of_feature}
  ({n.selector(n.REFERENCE_STATISTIC, statistic="std")} > 0)""",
        options,
        wait="30m",
        keep="1h",
        severity="warning",
        layer="data_quality",
        about=n.FEATURE_LABELS,
        summary=f"Feature {FEATURE} of {WHO} has stopped varying.",
        description=f"All its values of the last {options.pairs[0][0]} are the same; "
        f"in {VARYING_RATIO:.0%} or more of the hours of the last days they were not.",
    )


def dropped(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``meta``: the monitoring's own losses.

    Args:
        options: Waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return _rows(
        "MlmonRowsDropped",
        n.DROPPED_RATIO,
        n.DROPPED_INCREMENT,
        "rows_dropped_ratio",
        options,
        by="reason",
        layer="meta",
        summary=f"Rows of {WHO} go uncounted ({{{{ $labels.reason }}}}).",
        description=f"A share of {SHARE} of the rows of the last {QUALITY_WINDOW} was dropped before it was counted: "
        "statistics rest on the remainder.",
    )


def _values(name: str, statistic: str, options: RuleOptions, *, keep: str = "15m", summary: str, description: str) -> list[Rule]:
    """Alerts on a share of a feature's values: what must hold is in ``quality_rules.exceeded``."""
    return [
        alert(
            name,
            f"max by ({n.FEATURE}) ({n.selector(n.EXCEEDED, statistic=statistic, severity=severity)})",
            options,
            wait="8m",
            keep=keep,
            severity=severity,
            layer="data_quality",
            about=n.FEATURE_LABELS,
            summary=summary,
            description=description,
        )
        for severity in SEVERITIES
    ]


def _rows(
    name: str,
    recorded: str,
    events: str,
    statistic: str,
    options: RuleOptions,
    *,
    by: str,
    layer: str,
    summary: str,
    description: str,
) -> list[Rule]:
    """Alerts on a share of rows that ask for a few such rows, too."""
    by = f"{n.MODEL}, {by}"
    return [
        alert(
            name,
            f"""
(max by ({by}) ({n.selector(recorded, window=QUALITY_WINDOW)}) > on ({n.MODEL}) group_left () {threshold(statistic, severity)})
and on ({by})
  (sum_over_time({events}[{options.span(QUALITY_WINDOW)}]) >= {MIN_EVENTS})""",
            options,
            wait="8m",
            keep="15m",
            severity=severity,
            layer=layer,
            summary=summary,
            description=description,
        )
        for severity in SEVERITIES
    ]
