"""Panels of one feature: what it looks like now and in training, and how its statistics went."""

from grafana_foundation_sdk.builders import barchart, heatmap, timeseries
from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.feature_rules import QUANTILES
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import CRITICAL, WARNING
from otel_mlmon.bundle.grafana.drift_looks import BEFORE, DASHED, DOTTED, NOW, OTHER, THEN, drawn
from otel_mlmon.bundle.grafana.drift_queries import WINDOW, believable, of_model, shares
from otel_mlmon.bundle.grafana.queries import query, within
from otel_mlmon.bundle.options import RuleOptions

ONE = "$feature"
_CHOSEN = {"feature": ONE, "window": WINDOW}


def distributions(title: str, about: str, which: str, options: RuleOptions, *, height: int = 9) -> barchart.Panel:
    """Training data, the same window some time ago, and now, side by side.

    Args:
        title, about: The panel's.
        which: Matcher of the feature.
        options: How long ago the previous baseline is.
        height: Rows.
    """
    reference = f"sum by (feature, bin) (last_over_time({of_model(n.REFERENCE_RATIO, feature=which)}[{options.kept}]))"
    sides = (reference, shares(which, options, ago=options.scaled(options.previous)), shares(which, options))
    several = which.startswith("=~")
    x = "what" if several else "bin"
    said = 'label_join({}, "what", " ", "feature", "bin")' if several else "{}"
    panel = p.histogram(
        title, about, [query(f"sum by ({x}) ({said.format(side)})", table=True) for side in sides], x, height=height
    )
    for letter, color, shown in zip("ABC", (THEN, BEFORE, NOW), ("training", f"{options.previous} ago", "now"), strict=True):
        panel = drawn(panel, f"Value #{letter}", color=color, shown=shown)
    return panel


def distance_over_time(title: str, which: str) -> timeseries.Panel:
    """The statistic that alarms, in all windows, with what it is compared with.

    Args:
        title: The panel's.
        which: Matcher of one feature.
    """
    chosen = {"feature": which, "window": WINDOW}
    panel = p.graph(
        title,
        "The statistic that alarms (Wasserstein distance in standard deviations of the reference for a numeric feature, PSI for a "
        "categorical one) in every window, and for the chosen one what it is compared with: the warning and critical thresholds, "
        "what normal operation reaches (learned from the reference or from history) and what chance reaches with so many rows. "
        "Gaps: too few rows, nothing alarms. *From previous* is against the same window some time ago: it falls back after a step, "
        "and stays low while something creeps.",
        units.NoUnit,
        [
            query(believable(n.DRIFT, "window", feature=which, baseline="training"), "{{window}}"),
            query(believable(n.DRIFT, "window", **chosen, baseline="previous"), "{{window}}, from previous"),
            query(f"max by (severity) ({of_model(n.DRIFT_THRESHOLD, **chosen)})", "{{severity}}"),
            query(believable(n.NORMAL, "window", **chosen), "normal operation"),
            query(believable(n.NOISE, "window", **chosen), "chance"),
        ],
        height=12,
    ).no_value("no data, or too few rows to judge")
    panel = panel.decimals(3)
    panel = drawn(panel, "warning", color=WARNING, dash=DASHED)
    panel = drawn(panel, "critical", color=CRITICAL, dash=DASHED)
    panel = drawn(panel, "normal operation", color=OTHER, dash=DASHED)
    return drawn(panel, "chance", color=THEN, dash=DOTTED)


def bins(options: RuleOptions) -> heatmap.Panel:
    """How the distribution moved.

    Args:
        options: How long its shares are remembered.
    """
    return p.density(
        "How it moved",
        "Share of each bin or category over the chosen window, over time; the scale below tells the colours. Training's shares "
        "were about equal in the bins of a numeric feature (they are its quantiles): a band that changes is where values went or "
        "came from. A new band `__unseen__` holds categories that training had not.",
        units.PercentUnit,
        [query(f"sum by (bin) ({shares(ONE, options)})", "{{bin}}")],
        height=12,
    )


def values() -> timeseries.Panel:
    """Mean, median, quantiles, extremes."""

    def recorded(which: str) -> str:
        return of_model(n.STATISTIC, **_CHOSEN, statistic=which)

    quantiles = within(recorded("=~" + "|".join(QUANTILES)), recorded("min"), recorded("max"))
    reference = of_model(catalog.REFERENCE_STATISTIC.prometheus_name, feature=ONE, statistic="!=std")
    panel = p.graph(
        "Its values",
        "Mean, median, quantiles, least and greatest value over the chosen window; dashed: those of the training data. A mean that "
        "moves while the median stays is a tail or an outlier; all that move together are a unit, a scale or another population. "
        "Gaps: a quantile beyond what training has seen is not known. A categorical feature has none of these.",
        units.NoUnit,
        [
            query(f"max by (statistic) ({recorded('=~mean|min|max')} or {quantiles})", "{{statistic}}"),
            query(f"max by (statistic) ({reference})", "{{statistic}} in training"),
        ],
        height=12,
        least=None,
    ).no_value("no data, or a category: see the distribution")
    panel = drawn(panel.decimals(2), "p05", color=BEFORE, width=1)
    panel = drawn(panel, "p25", color=BEFORE, width=1)
    panel = drawn(panel, "median", color=NOW, width=3)
    panel = drawn(panel, "p75", color=BEFORE, width=1)
    panel = drawn(panel, "p95", color=BEFORE, width=1)
    panel = drawn(panel, "mean", color=OTHER, width=3)
    for name, color in (("median", NOW), ("mean", OTHER), ("min", THEN), ("max", THEN)):
        panel = drawn(panel, f"{name} in training", color=color, dash=DASHED, width=1)
    return drawn(drawn(panel, "min", color=THEN, width=1), "max", color=THEN, width=1)


def statistics() -> list[timeseries.Panel]:
    """Every recorded statistic, shares of what is no value, relations, rows."""
    return [_recorded(), _p_values(), _absent(), related(), _rows()]


def _recorded() -> timeseries.Panel:
    said = of_model(n.DRIFT, **_CHOSEN, baseline="$baseline", statistic="!~chi2|.*_pvalue")
    return p.graph(
        "Every statistic",
        "All distances that are recorded of the feature, over the chosen window, from the chosen baseline. Only one of them alarms "
        "(see above); the others help to judge: they should tell the same story. `otel-mlmon rules --statistics` records more.",
        units.NoUnit,
        [query(f"max by (statistic) ({said})", "{{statistic}}")],
        width=8,
        height=9,
    ).decimals(3)


def _p_values() -> timeseries.Panel:
    said = of_model(n.DRIFT, **_CHOSEN, baseline="$baseline", statistic="=~.*_pvalue")
    panel = p.graph(
        "p-values",
        "Of Kolmogorov-Smirnov's test (numeric features) and of chi-square (all), against the chosen baseline: the chance of such "
        "a difference if rows were independent, which traffic never is. Near 0 all the time is usual with many rows: judge by the "
        "distances.",
        units.NoUnit,
        [query(f"max by (statistic) ({said})", "{{statistic}}")],
        width=8,
        height=9,
    )
    return panel.max(1).decimals(3)


def _absent() -> timeseries.Panel:
    said = {"missing": n.MISSING_RATIO, "unseen": n.UNSEEN_RATIO, "out of range": n.OUT_OF_RANGE_RATIO}
    now = [query(f"max({of_model(name, **_CHOSEN)})", shown) for shown, name in said.items()]
    panel = p.graph(
        "Missing, unseen, out of range",
        "Shares of values that are missing, that training had not seen (categories), or that lie outside its range (numbers); "
        "dashed: missing in training. Distances are of what remains: drift that begins together with missing values is a broken "
        "source, not a changed world.",
        units.PercentUnit,
        [*now, query(f"max({of_model(n.REFERENCE_MISSING, feature=ONE)})", "missing in training")],
        width=8,
        height=9,
    )
    return drawn(panel, "missing in training", color=THEN, dash=DASHED)


def related() -> timeseries.Panel:
    """The feature's correlations with outputs and labels."""
    now, then = of_model(n.CORRELATION, **_CHOSEN, space="u"), of_model(n.REFERENCE_CORRELATION, feature=ONE, space="u")
    panel = p.graph(
        "Related to outputs and labels",
        "Spearman's correlation with each output and label over the chosen window, from -1 to 1; dashed: in training. A relation "
        "that fades or turns while the distribution stays is concept drift: retrain on recent data. Gaps: it hardly varies.",
        units.NoUnit,
        [query(f"max by (target) ({now})", "{{target}}"), query(f"max by (target) ({then})", "{{target}} in training")],
        least=None,
    )
    return drawn(panel, ".* in training", dash=DASHED, pattern=True).decimals(2).no_value("no data, or not numeric")


def _rows() -> timeseries.Panel:
    panel = p.graph(
        "Rows",
        "Values of the feature in each window; dashed: with fewer (`min_samples`) nothing alarms. Fewer than usual: see the "
        "model's traffic and the missing values.",
        units.Short,
        [
            query(f"max by (window) ({of_model(n.COUNT, feature=ONE)})", "{{window}}"),
            query(f"max({of_model(n.THRESHOLD, statistic='min_samples')})", "min_samples"),
        ],
    )
    return drawn(panel, "min_samples", color=WARNING, dash=DASHED)
