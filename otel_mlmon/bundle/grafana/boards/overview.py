"""Every model at a glance: which layer of which model needs somebody now."""

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.alert_list import alert_list
from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, QUIET_STATES, WARNING, limits, steps
from otel_mlmon.bundle.grafana.frame import Board, Panel, Section
from otel_mlmon.bundle.grafana.queries import RATE, chosen, firing, query, warning
from otel_mlmon.bundle.grafana.tables import arranged, column, link, transformed
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.thresholds import BUDGET_WINDOW, BURN_RATES

WHO = "{{model_name}} {{model_version}}"
HOUR, RECENT = "1h", "5m"
LAYERS = "serving|data|drift|quality|fairness|lifecycle|meta|shadow"
"""Columns of states: more appear by themselves as soon as the rules record them."""


def board(options: RuleOptions) -> Board:
    """The dashboard ``mlmon-overview``: 25 queries at most."""
    return Board(
        uid="mlmon-overview",
        title="Overview",
        about="Every model at a glance: which layer of which model needs somebody now.",
        sections=[
            Section("", [*_numbers(options), _timeline(), alert_list(options), _models(options)]),
            Section("Over time", _graphs(options)),
        ],
    )


def _numbers(options: RuleOptions) -> list[Panel]:
    rows, known = chosen(catalog.PREDICTIONS.prometheus_name), f"sum({chosen(n.KNOWN)}) * 0"
    start = chosen(catalog.START_TIME.prometheus_name)
    errors, drifted = chosen(n.ERROR_RATIO, window=HOUR), chosen(n.DRIFTED_COUNT, severity="warning")
    budget = options.threshold("error_budget", "warning")
    return [
        p.number(
            "Versions",
            "Versions of models that report now. None: look at MlmonMetricsAbsent and at the targets in *Monitoring itself*.",
            units.Short,
            [query(f"count(group by ({n.MODEL}) ({start}))", instant=True)],
            width=3,
        ),
        p.number(
            "Traffic",
            f"Rows predicted a second over the last {RECENT}, all versions together. Unusual silence raises MlmonNoTraffic.",
            units.RowsPerSecond,
            [query(f"sum(rate({rows}[{RECENT}]))", instant=True)],
            width=3,
        ),
        p.number(
            "Error share",
            f"Share of calls that raised in the last {HOUR}, of the version with the most. Beyond the error budget (as "
            f"shipped) it is too high in the long run, beyond {_burn(HOUR):g} times as much it pages. A model with a budget of its "
            f"own: *Error budget burn*.",
            units.PercentUnit,
            [query(f"max({errors})", instant=True)],
            thresholds=steps(FINE, (budget, WARNING), (budget * _burn(HOUR), CRITICAL)),
        ).decimals(1),
        p.number(
            "p99",
            "99th percentile of a call's duration, of the slowest version. Colours are the shipped thresholds; models with their "
            "own are judged in *p99 against its threshold*.",
            units.Seconds,
            [query(f"max({chosen(n.LATENCY)})", instant=True)],
            thresholds=limits(options, "latency_p99"),
            width=3,
        ),
        p.number(
            "Drifted features",
            "Inputs that drift in both windows of a pair, over all versions. Which ones: column *Feature* of *Models*, then the "
            "drift dashboard.",
            units.Short,
            [query(f"sum({drifted}) or sum({chosen(n.DRIFTED_RATIO, severity='warning')}) * 0", instant=True)],
            thresholds=steps(FINE, (1, WARNING)),
        ).no_value("none judged"),
        p.number(
            "Critical alerts",
            "Alerts that page, firing now; those without a model, too. Which ones: *Firing alerts*.",
            units.Short,
            [query(f"count({firing(severity='critical')}) or {known}", instant=True)],
            thresholds=steps(FINE, (1, CRITICAL)),
        ),
        p.number(
            "Warnings",
            "Alerts of severity warning, firing now, but those whose critical alert fires, too. They can wait for the morning.",
            units.Short,
            [query(f"count({warning()}) or {known}", instant=True)],
            thresholds=steps(FINE, (1, WARNING)),
            width=3,
        ),
    ]


def _burn(window: str) -> float:
    """How fast the budget may be spent in a window before an alert fires."""
    return next(rate for rates in BURN_RATES.values() for rate, slow, _ in rates if slow == window)


def _timeline() -> Panel:
    # Lines come in the order of the labels' names: a model's layers together.
    part = f'label_replace({chosen(n.STATE)}, "part", "$1", "layer", "(.*)")'
    return p.states(
        "State of each layer",
        "Per model and layer: fine, a warning fires, or a critical alert fires; gaps: the model was unknown or no rule ran. Read "
        "from the left: the layer that turned first is the likely cause. Choose a model for fewer lines.",
        [query(f"max by (model_name, part) ({part})", "{{model_name}} · {{part}}")],
        height=10,
    )


def _models(options: RuleOptions) -> Panel:
    window = options.pairs[0][1]
    over = (
        f"{chosen(n.DRIFT, baseline='training', window=window)}\n  / on ({n.WINDOW}, statistic)\n"
        f"(max by ({n.WINDOW}, statistic) ({chosen(n.DRIFT_THRESHOLD, severity='warning', window=window)}) > 0)"
    )
    rows = chosen(catalog.PREDICTIONS.prometheus_name)
    dropped = chosen(n.DROPPED_RATIO)
    panel = p.rows(
        "Models",
        f"One row a version: the state of its layers, then rows predicted a second ({RECENT}), share of failed calls "
        f"({HOUR}), p99 of a call, what is left of the error budget ({BUDGET_WINDOW}), the input with the greatest "
        f"drift over its threshold ({window}; from 1 on it drifts), share of rows not counted ({HOUR}), and time since "
        f"the training. A click on a model or a feature leads on.",
        [
            query(f"max by ({n.MODEL}, layer) ({chosen(n.STATE)})", instant=True),
            query(f"sum by ({n.MODEL}) (rate({rows}[{RECENT}]))", table=True),
            query(f"max by ({n.MODEL}) ({chosen(n.ERROR_RATIO, window=HOUR)})", table=True),
            query(f"max by ({n.MODEL}) ({chosen(n.LATENCY)})", table=True),
            query(f"min by ({n.MODEL}) ({chosen(n.BUDGET_RATIO)})", table=True),
            query(f"topk by ({n.MODEL}) (1, max by ({n.FEATURE}) (\n{over}\n))", table=True),
            query(f"sum by ({n.MODEL}) ({dropped})", table=True),
            query(f"max by ({n.MODEL}) ({chosen(n.MODEL_AGE)})", table=True),
        ],
        height=9,
    )
    panel = transformed(panel, "labelsToFields", mode="columns", valueLabel="layer")
    panel = transformed(panel, "merge")
    panel = arranged(
        panel,
        renamed={
            "model_name": "Model",
            "model_version": "Version",
            "serving": "serving",
            "data_quality": "data",
            "drift": "drift",
            "lifecycle": "lifecycle",
            "meta": "meta",
            "Value #B": "Rows/s",
            "Value #C": "Errors",
            "Value #D": "p99",
            "Value #E": "Budget left",
            "feature": "Feature",
            "Value #F": "Drift",
            "Value #G": "Dropped",
            "Value #H": "Age",
        },
    )
    return _columns(panel)


def _columns(panel: table.Panel) -> table.Panel:
    drift = link("Drift", "mlmon-drift", model_name="Model", model_version="Version", feature="Feature")
    panel = column(panel, f"^({LAYERS})$", pattern=True, mapping=QUIET_STATES, coloured=True, width=78)
    model = link("Model", "mlmon-model", model_name="Model", model_version="Version")
    panel = column(panel, "Model", links=[model], custom_minWidth=110)
    panel = column(panel, "Version", custom_minWidth=70)
    panel = column(panel, "Feature", links=[drift], custom_minWidth=100)
    panel = column(panel, "Rows/s", unit=units.Short, width=75)
    panel = column(panel, "Errors", unit=units.PercentUnit, decimals=1, width=70)
    panel = column(panel, "p99", unit=units.Seconds, width=80)
    panel = column(panel, "Budget left", unit=units.PercentUnit, decimals=0, width=95)
    panel = column(panel, "Drift", unit=units.Short, decimals=1, width=65)
    panel = column(panel, "Dropped", unit=units.PercentUnit, decimals=1, width=80)
    panel = column(panel, "Age", unit=units.Seconds, decimals=0, width=85)
    return panel.sort_by([p.sorted_by("Model")])


def _graphs(options: RuleOptions) -> list[Panel]:
    rows = chosen(catalog.PREDICTIONS.prometheus_name)
    limit = chosen(n.THRESHOLD, statistic="latency_p99", severity="warning")
    drifted, judged = (chosen(name, severity="warning") for name in (n.DRIFTED_COUNT, n.DRIFTED_RATIO))
    return [
        p.graph(
            "Predictions",
            "Rows predicted a second. A step at a new version is a roll-out; zero at a usual hour is an outage before the model.",
            units.RowsPerSecond,
            [query(f"sum by ({n.MODEL}) (rate({rows}[{RATE}]))", WHO)],
        ),
        p.graph(
            "Error budget burn",
            f"How many times as fast as it may a version spends its error budget ({HOUR}): at 1 it fails exactly as "
            f"often as allowed. The upper line pages; MlmonErrorBudgetBurn asks longer windows, too.",
            units.Short,
            [query(f"max by ({n.MODEL}) ({chosen(n.BURN_RATE, window=HOUR)})", WHO)],
            lines=steps("transparent", (1, WARNING), (_burn(HOUR), CRITICAL)),
        ),
        p.graph(
            "p99 against its threshold",
            "99th percentile of a call's duration over the version's own warning threshold: above 1 (the line) for ten minutes, "
            "MlmonLatencyHigh fires. In seconds: the table above.",
            units.Short,
            [query(f"max by ({n.MODEL}) ({chosen(n.LATENCY)} / on ({n.MODEL}) {limit})", WHO)],
            lines=steps("transparent", (1, WARNING)),
        ),
        p.graph(
            "Drifted features",
            "Inputs that drift in both windows of a pair. One: look at that feature's source. Many at once: at the "
            "model's input as a whole, a join, a unit, a season. Gaps: too few rows, or no reference.",
            units.Short,
            [query(f"max by ({n.MODEL}) ({drifted} or {judged} * 0)", WHO)],
        )
        .decimals(0)
        .axis_soft_max(1),
    ]
