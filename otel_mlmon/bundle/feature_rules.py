"""Recording rules of feature statistics over the fleet: mean, standard deviation, quantiles, least and greatest value."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.catalog import MetricFamily

QUANTILES = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
EXTREMES = {"min": (n.FLEET_MIN, catalog.FEATURE_MIN), "max": (n.FLEET_MAX, catalog.FEATURE_MAX)}


def feature_statistics(options: RuleOptions) -> list[Rule]:
    """Statistics of numeric features in each window.

    Args:
        options: Windows, intervals.

    Returns:
        Rules behind those of increments, in their group.
    """
    rules = [_extreme(statistic, name, family, options) for statistic, (name, family) in EXTREMES.items()]
    every = options.pace
    rules += [
        record(sums, options.sums(increments, window, every), window=window)
        for increments, sums, windows in (
            (n.MOMENT_INCREMENT, n.MOMENT, dict.fromkeys((*options.described, *options.alert_windows))),
            (n.VALUE_INCREMENT, n.VALUE_COUNT, options.described),
        )
        for window in windows
    ]
    expressions = _of_moments(options)
    # Without values a quantile is NaN, which is above nothing.
    expressions |= {name: f"histogram_quantile({quantile:g}, {n.VALUE_COUNT}) > -Inf" for name, quantile in QUANTILES.items()}
    rules += [record(n.STATISTIC, expression, statistic=name) for name, expression in expressions.items()]
    return rules + [
        record(n.STATISTIC, f"{name}_over_time({recorded}[{options.span(window, every)}])", statistic=name, window=window)
        for name, (recorded, _) in EXTREMES.items()
        for window in dict.fromkeys((*options.described, options.pairs[0][0]))
    ]


def _extreme(statistic: str, name: str, family: MetricFamily, options: RuleOptions) -> Rule:
    """Of all replicas, since the previous evaluation."""
    seen = family.prometheus_name
    if options.pace != options.interval:
        seen = f"{statistic}_over_time({seen}[{options.pace}])"
    return record(name, f"{statistic} by ({n.FEATURE}) ({seen})")


def _of_moments(options: RuleOptions) -> dict[str, str]:
    mean, std = (n.selector(n.REFERENCE_STATISTIC, statistic=statistic) for statistic in ("mean", "std"))
    scale = f"on ({n.FEATURE}) group_left () ({std} > 0 or on ({n.FEATURE}) {std} + 1)"  # see FeatureProfile.scale
    total, squares, rows = (
        n.selector(n.MOMENT, target="", space="z", moment=moment, window=options.eyes) for moment in ("f", "ff", "n")
    )
    average, square = (f"{each} / on ({n.WINDOW}) ({rows} > 0)" for each in (total, squares))
    return {
        # What is added up is z + 8: see Moments.
        "mean": f"({average} - 8) * {scale}\n  + on ({n.FEATURE}) group_left () {mean}",
        "std": f"sqrt(clamp_min({square} - on ({n.WINDOW}) ({average}) ^ 2, 0))\n  * {scale}",
    }
