"""Panels about one feature: shares of its values that are not as they should be, and its statistics beside the reference's."""

from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.feature_rules import QUANTILES
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.frame import Panel
from otel_mlmon.bundle.grafana.judged import against, compared
from otel_mlmon.bundle.grafana.queries import RATE, chosen, query, within
from otel_mlmon.bundle.grafana.shares import INVALID, MISSING, OUT_OF_RANGE, UNSEEN, Share
from otel_mlmon.bundle.options import RuleOptions

_TRAINING = "in training"
_NUMERIC_ONLY = "not numeric, or no reference"
_KNOWN_ONLY = f"{_NUMERIC_ONLY}, or beyond it"
_THIRD = 8


def panels(options: RuleOptions) -> list[Panel]:
    """What is wrong with its values, where they lie, and how many there are.

    Args:
        options: Their first pair of windows is the alerts'; of its statistics the shortest and the longest window are shown.
    """
    return [*_shares(options), *_statistics(options), _rows(options)]


def _shares(options: RuleOptions) -> list[Panel]:
    reasons = f"rate({chosen(catalog.FEATURE_INVALID.prometheus_name, feature=True)}[{RATE}])"
    return [
        _share("Its missing values", "Null, NaN or absent. A step: a source failed, or a join lost its partner.", MISSING, options),
        _share("Its invalid values", "They break the schema: wrong type, not allowed, infinite.", INVALID, options),
        _share(
            "Its values out of range",
            "Below the least or above the greatest value of training. A unit that changed, or a world that did.",
            OUT_OF_RANGE,
            options,
        ).no_value(_NUMERIC_ONLY),
        _share("Its new categories", "Training did not have them: the model guesses.", UNSEEN, options).no_value(
            "not categorical, or no reference"
        ),
        compared(
            p.graph(
                "Its outliers",
                "Values beyond Tukey's fences of the reference, against their share in training. No alert: outliers are usual; "
                "their number changing is not.",
                units.PercentUnit,
                [
                    *_windows(n.OUTLIERS_RATIO, options),
                    query(f"max({chosen(catalog.REFERENCE_OUTLIERS.prometheus_name, feature=True)})", _TRAINING),
                ],
                width=_THIRD,
            ),
            _TRAINING,
        )
        .no_value(_NUMERIC_ONLY)
        .axis_soft_max(0.01),
        p.graph(
            "Why its values are invalid",
            "Invalid values a second by reason: type (text for a number), infinite, range and category (the schema forbids them), "
            "format.",
            units.CountsPerSecond,
            [query(f"sum by (reason) ({reasons})", "{{reason}}")],
            width=_THIRD,
        ).axis_soft_max(0.1),
    ]


def _statistics(options: RuleOptions) -> list[Panel]:
    """Where its values lie and how far they spread; empty for categories."""
    quantiles = [query(f"max({_current(name, options.described[0])})", name) for name in QUANTILES]
    extremes = [query(f"{name}({_current(name, options.described[0])})", name) for name in ("min", "max")]
    known = [query(f"{name}({_trained(name)})", f"{name} {_TRAINING}") for name in ("min", "max")]
    return [
        _statistic(
            "Mean", "Away from the dashed line: its distribution has moved; the drift dashboard says how far.", "mean", options
        ),
        _statistic(
            "Standard deviation", "Much less: values are stuck or imputed. Much more: units mixed, outliers.", "std", options
        ),
        _statistic(
            "Median",
            "Ignores a few extreme values: has it moved as the mean has? Gaps as of *Quantiles*.",
            "median",
            options,
        ).no_value(_KNOWN_ONLY),
        _plain(
            "Quantiles",
            f"5, 25, 50, 75 and 95 % of its values of the last {options.described[0]} lie below, from its histogram. "
            "Gaps: beyond what training has seen a quantile is not known. Of several versions the greatest.",
            quantiles,
        ).no_value(_KNOWN_ONLY),
        _plain(
            "Least and greatest value",
            f"Extremes of the last {options.described[0]}, dashed those of training. Far outside: a unit, a default such as -999, "
            "an overflow.",
            [*extremes, *known],
        ),
    ]


def _rows(options: RuleOptions) -> Panel:
    least = "least that alarm"
    panel = p.graph(
        "Its rows",
        f"Values seen in the last {' and '.join(options.pairs[0])}; below the dashed number (min_samples) nothing alarms.",
        units.Short,
        [*_windows(n.FEATURE_ROWS, options), query(f"max({chosen(n.THRESHOLD, statistic='min_samples')})", least)],
        width=_THIRD,
    )
    return compared(panel, least)


def _share(title: str, about: str, share: Share, options: RuleOptions) -> timeseries.Panel:
    """With the reference's share and, above it, the thresholds of the alert."""
    recorded = chosen(share.recorded, feature=True, window=options.pairs[0][0])
    limits, usual = f"({share.limit(feature=True)} and on ({n.FEATURE}) {recorded})", []
    if share.usual:
        limits = f"{limits} + on ({n.FEATURE}) group_left () {share.usual}"
        usual = [query(f"max({chosen(share.usual, feature=True)})", _TRAINING)]
    panel = against(
        title,
        f"Share of its values. {about} Dashed: {'the share in training, and ' if usual else ''}the thresholds; both windows must "
        "exceed one.",
        units.PercentUnit,
        [*_windows(share.recorded, options), *usual],
        limits,
        width=_THIRD,
    )
    return compared(panel, _TRAINING)


def _windows(recorded: str, options: RuleOptions) -> list[prometheus.Dataquery]:
    return [
        query(f"max by (model_version) ({chosen(recorded, feature=True, window=window)})", f"{{{{model_version}}}} last {window}")
        for window in options.pairs[0]
    ]


def _current(statistic: str, window: str) -> str:
    value, least, greatest = (chosen(n.STATISTIC, feature=True, statistic=one, window=window) for one in (statistic, "min", "max"))
    return within(value, least, greatest) if statistic in QUANTILES else value


def _trained(statistic: str) -> str:
    return chosen(catalog.REFERENCE_STATISTIC.prometheus_name, feature=True, statistic=statistic)


def _statistic(title: str, about: str, statistic: str, options: RuleOptions) -> timeseries.Panel:
    queries = [
        query(f"max by (model_version) ({_current(statistic, window)})", f"{{{{model_version}}}} last {window}")
        for window in (options.described[0], options.described[-1])
    ]
    return _plain(title, f"{about} Dashed: in training.", [*queries, query(f"max({_trained(statistic)})", _TRAINING)])


def _plain(title: str, about: str, queries: p.Queries) -> timeseries.Panel:
    """In the feature's own unit, which nobody has told; the axis follows the values."""
    panel = p.graph(title, about, units.Short, queries, width=_THIRD, least=None)
    return compared(panel, _TRAINING).no_value(_NUMERIC_ONLY)
