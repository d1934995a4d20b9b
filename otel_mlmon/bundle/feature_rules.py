"""Recording rules of feature statistics over the fleet: mean, standard deviation, quantiles, least and greatest value."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record

QUANTILES = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
EXTREMES = {"min": (n.FLEET_MIN, catalog.FEATURE_MIN), "max": (n.FLEET_MAX, catalog.FEATURE_MAX)}


def feature_statistics(options: RuleOptions) -> list[Rule]:
    """Statistics of numeric features in each window.

    Args:
        options: Windows; how far behind they are read.

    Returns:
        Rules behind those of windows and reference.
    """
    extremes = [
        record(name, f"{statistic} by ({n.FEATURE}) ({family.prometheus_name})") for statistic, (name, family) in EXTREMES.items()
    ]
    return [*extremes, *(rule for window in options.windows for rule in _of(window, options))]


def _of(window: str, options: RuleOptions) -> list[Rule]:
    mean, std = (n.selector(n.REFERENCE_STATISTIC, statistic=statistic) for statistic in ("mean", "std"))
    scale = f"({std} > 0 or on ({n.FEATURE}) {std} + 1)"  # see FeatureProfile.scale
    shift = f"{n.selector(n.MEAN_SHIFT, window=window)} offset {options.behind}"
    squares, rows = (
        options.sums(n.selector(n.MOMENT_INCREMENT, target="", space="z", moment=moment), window, behind=True)
        for moment in ("ff", "n")
    )
    variance = f"clamp_min({squares} / on ({n.FEATURE}) ({rows} > 0) - on ({n.FEATURE}) ({shift} + 8) ^ 2, 0)"
    expressions = {
        "mean": f"{mean}\n  + on ({n.FEATURE}) {shift} * on ({n.FEATURE}) {scale}",
        "std": f"sqrt({variance})\n  * on ({n.FEATURE}) {scale}",
    }
    rules = [record(n.VALUE_COUNT, options.sums(n.VALUE_INCREMENT, window, behind=True), window=window)]
    buckets = n.selector(n.VALUE_COUNT, window=window)
    # Without values a quantile is NaN, which is above nothing.
    expressions |= {
        name: f"histogram_quantile({quantile:g}, sum by ({n.FEATURE}, le) ({buckets})) > -Inf"
        for name, quantile in QUANTILES.items()
    }
    expressions |= {name: f"{name}_over_time({recorded}[{options.span(window)}])" for name, (recorded, _) in EXTREMES.items()}
    return rules + [record(n.STATISTIC, text, statistic=name, window=window) for name, text in expressions.items()]
