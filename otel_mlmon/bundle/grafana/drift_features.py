"""Panels of all features together: the sorted table, and what began when."""

import string

from grafana_foundation_sdk.builders import statetimeline, table, timeseries
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import units

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import WARNING, steps
from otel_mlmon.bundle.grafana.drift_looks import HALF_OR_OVER, LEVEL_WORDS, STATE_WORDS, TIMES
from otel_mlmon.bundle.grafana.drift_queries import ANYTHING, INPUTS, WINDOW, distance, of_model, statistic
from otel_mlmon.bundle.grafana.queries import query
from otel_mlmon.bundle.grafana.tables import arranged, column, link, transformed
from otel_mlmon.bundle.options import RuleOptions

_READING = """\
**How to read the statistics.** *PSI* (population stability index): below 0.1 no change to speak of, above 0.25 a major one. \
*Wasserstein*: how far values have moved, in standard deviations of the reference; 0.1 is little, 0.5 much. *JS*: Jensen-Shannon \
distance, 0 for the same distribution, 1 for nothing in common. *KS*: the largest gap between the cumulative distributions, 0 to \
1. *p-value* (of KS; of chi-square where a feature is categorical): the chance of such a difference among independent rows. With \
thousands of rows it is tiny for differences that do not matter, so no alert reads it. *Mean shift*: in standard deviations of the \
reference."""

_TINY = dm.RangeMap(
    options=dm.DashboardRangeMapOptions(from_val=0.0, to=0.001, result=dm.ValueMappingResult(text="< 0.001", index=0))
)

_POINTS = 300
"""Of a line that reads the distances of all features: 50 of them over 7 days are much to divide."""

KEPT = (*n.MODEL_LABELS, "window", "baseline")
"""Variables that a link within the dashboard keeps."""


def features(options: RuleOptions) -> table.Panel:
    """One row a feature, what has drifted first.

    Args:
        options: Windows and their pairs.
    """
    inputs = distance(INPUTS)
    every = "=~" + "|".join(options.alert_windows)
    ks, chi2 = (_of(name) for name in ("ks_pvalue", "chi2_pvalue"))
    shown = {
        "State": inputs.state(options),
        "Greatest": inputs.times(every),
        **{window: inputs.times(window) for window in options.alert_windows},
        "First over": inputs.since(),
        "PSI": _of("psi"),
        "Wasserstein": _of("wasserstein"),
        "JS": _of("js_distance"),
        "KS": _of("ks"),
        "p-value": f"{ks} or {chi2}",
        "Mean shift": f"max by (feature) ({of_model(n.MEAN_SHIFT, window=WINDOW, feature=INPUTS)})",
        "Rows": f"sum by (feature) ({of_model(n.COUNT, window=WINDOW, feature=INPUTS)})",
    }
    panel = p.rows(
        "Features",
        "Every input, what has drifted first, then the furthest above its threshold. **Greatest, "
        + ", ".join(options.alert_windows)
        + "**: distance from the training data as a multiple of the warning threshold, in each window (Wasserstein distance of a "
        "numeric feature, PSI of a categorical one; the threshold is the greatest of what you set, what normal operation and what "
        "chance reach). **State**: *drifted* is above it in both windows of a pair, as the alerts have it; *over in one window* "
        "may be a night or a weekend; *not judged*: too few rows, or no reference. **First over**: when it first was above in the "
        "chosen window, within the time range. The statistics are those of the chosen window against the chosen baseline. Click a "
        f"feature to see its distributions below.\n\n{_READING}",
        [query(expression, table=True) for expression in shown.values()],
        height=13,
    )
    panel = arranged(transformed(panel, "merge"), renamed={"feature": "Feature"} | by_letter(shown))
    panel = panel.sort_by([p.sorted_by(name, descending=True) for name in ("State", "Greatest")])
    own = link("Its distributions", "mlmon-drift", kept=KEPT, feature="Feature")
    quality = link("Its data quality", "mlmon-data-quality", kept=n.MODEL_LABELS, feature="Feature")
    panel = column(panel, "Feature", links=[own, quality], custom_minWidth=120)
    panel = column(panel, "State", mapping=STATE_WORDS, coloured=True, width=145, custom_align="left")
    for name in ("Greatest", *options.alert_windows):
        panel = column(panel, name, unit=TIMES, decimals=1, thresholds=HALF_OR_OVER, coloured=True, width=76)
    panel = column(panel, "First over", unit=units.DatetimeISONotToday, width=150)
    for name in ("PSI", "Wasserstein", "JS", "KS", "p-value", "Mean shift"):
        panel = column(panel, name, unit=units.NoUnit, decimals=3, width=98)
    panel = column(panel, "p-value", mappings=[_TINY])
    return column(panel, "Rows", unit=units.LocaleFormat, width=76)


def began() -> statetimeline.Panel:
    """Which feature, output or label left its normal operation when."""
    return (
        p.states(
            "What began when",
            "The features, outputs and labels that came nearest to their thresholds, or furthest above, in the time range: over "
            "the chosen window, below half of the warning threshold, above half, above it, above the critical one. Read it from "
            "the left: what turns first is nearest to the cause; outputs (`@score`, `@prediction`) that turn later are its effect. "
            "Gaps: too few rows. The window must fill before drift shows: with 1d, up to a day after it began.",
            [query(distance(ANYTHING).level(16), "{{feature}}")],
            width=12,
            height=12,
        )
        .mappings([LEVEL_WORDS])
        .unit(units.NoUnit)
        .max_data_points(_POINTS)
    )


def distances() -> timeseries.Panel:
    """How far the worst are."""
    anything = distance(ANYTHING)
    panel = p.graph(
        "How far, and since when",
        "Distance from the training data over the chosen window, as a multiple of the warning threshold (dashed, at 1), of those "
        "that came nearest to it or furthest above in the time range. A step is a release or a broken source; a slope is the "
        "world changing; a daily wave that stays below 1 is normal operation.",
        TIMES,
        [query(f"{anything.times(WINDOW)} and on (feature) {anything.worst(10)}", "{{feature}}")],
        lines=steps("transparent", (1.0, WARNING)),
        height=12,
    )
    return panel.decimals(1).max_data_points(_POINTS)


def _of(name: str) -> str:
    return statistic(name, "$baseline", window=WINDOW, feature=INPUTS)


def by_letter(shown: dict[str, str]) -> dict[str, str]:
    """Names of columns, by those that Grafana gives the values of a panel's queries.

    Args:
        shown: Expression of each column.
    """
    return {f"Value #{letter}": name for letter, name in zip(string.ascii_uppercase, shown, strict=False)}
