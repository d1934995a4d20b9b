"""Panels of what is no single input: outputs and labels, all inputs together, relations between inputs and outputs."""

from grafana_foundation_sdk.builders import barchart, table, timeseries
from grafana_foundation_sdk.models import units

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import WARNING, steps
from otel_mlmon.bundle.grafana.drift_feature import distance_over_time, distributions
from otel_mlmon.bundle.grafana.drift_features import KEPT, by_letter
from otel_mlmon.bundle.grafana.drift_looks import HALF_OR_OVER, STATE_WORDS, TIMES
from otel_mlmon.bundle.grafana.drift_queries import OUTPUTS, TOGETHER, WINDOW, Measure, distance, of_model, relation
from otel_mlmon.bundle.grafana.queries import query
from otel_mlmon.bundle.grafana.tables import arranged, column, link, transformed
from otel_mlmon.bundle.options import RuleOptions


def outputs(options: RuleOptions) -> list[barchart.Panel | timeseries.Panel]:
    """Predictions, scores and labels.

    Args:
        options: How long ago the previous baseline is.
    """
    return [
        distributions(
            "Outputs and labels",
            "Share of each bin or class of predictions, scores and (once they arrive) labels: in training, in the chosen window "
            "some time ago, and now. Scores that gather at one end, or one class that grows: compare with the inputs that drifted "
            "at the same time.",
            OUTPUTS,
            options,
        ),
        _times(
            "How far they are",
            "Distance of predictions, scores and labels from the training data over the chosen window, as a multiple of the "
            "warning threshold (dashed). Outputs that drift before any input does: another model or preprocessing runs than was "
            "trained.",
            distance(OUTPUTS).times(WINDOW),
            "{{feature}}",
        ),
    ]


def together(options: RuleOptions) -> list[barchart.Panel | timeseries.Panel]:
    """The error of reconstructing rows from the reference's principal components.

    Args:
        options: How long ago the previous baseline is.
    """
    return [
        distributions(
            "Error of reconstruction",
            "How far rows are from what training's principal components can express: in training, in the chosen window some time "
            "ago, and now. More in the upper bins: combinations of values that training had not.",
            TOGETHER,
            options,
            height=12,
        ),
        distance_over_time("Distance of the error", TOGETHER),
    ]


def relations(options: RuleOptions) -> list[table.Panel | timeseries.Panel]:
    """Concept drift: correlations of inputs with outputs and labels.

    Args:
        options: Windows and their pairs.
    """
    related = relation()
    return [
        _pairs(related, options),
        _times(
            "How far relations have shifted",
            "Shift of the correlation over the chosen window, as a multiple of the warning threshold (dashed), of the pairs that "
            "shifted furthest in the time range.",
            f"{related.times(WINDOW)} and on ({related.by}) {related.worst(10, least=0)}",
            "{{feature}} to {{target}}",
            width=24,
            height=10,
        ),
    ]


def _pairs(related: Measure, options: RuleOptions) -> table.Panel:
    where = {"space": "u", "window": WINDOW}
    shown = {
        "State": related.state(options),
        "Times": related.times(WINDOW),
        **{
            name: f"max by ({related.by}) ({of_model(series, **labels)}) and on ({related.by}) {related.rows(WINDOW)}"
            for name, series, labels in (
                ("Now", n.CORRELATION, where),
                ("Training", n.REFERENCE_CORRELATION, {"space": "u"}),
                ("Shift", n.CORRELATION_SHIFT, where),
                ("Threshold", n.CORRELATION_THRESHOLD, where | {"severity": "warning"}),
                ("z", n.CORRELATION_Z, where),
                ("Rows", n.CORRELATION_SAMPLES, where),
            )
        },
    }
    panel = p.rows(
        "Relations",
        "Spearman's correlation of every input with every output and label, over the chosen window and in training; what has "
        "drifted first. **Shift** is the difference on Fisher's scale (0.1 small, 0.3 medium, 0.5 large); **z** the "
        "same in standard errors of independent rows, large with many rows; only the shift alarms. A relation to the *score* that "
        "has shifted: inputs vary together otherwise than in training. A relation to the *label*: what the model learned no longer "
        "holds; retrain on recent data. *Not judged*: too few rows, or a feature that hardly varies.",
        [query(expression, table=True) for expression in shown.values()],
        height=12,
    )
    panel = arranged(transformed(panel, "merge"), renamed={"feature": "Feature", "target": "Target"} | by_letter(shown))
    panel = panel.sort_by([p.sorted_by(name, descending=True) for name in ("State", "Times")])
    panel = column(panel, "Feature", links=[link("Its distributions", "mlmon-drift", kept=KEPT, feature="Feature")])
    panel = column(panel, "State", mapping=STATE_WORDS, coloured=True, width=145, custom_align="left")
    panel = column(panel, "Times", unit=TIMES, decimals=1, thresholds=HALF_OR_OVER, coloured=True)
    for name in ("Now", "Training", "Shift", "Threshold"):
        panel = column(panel, name, unit=units.NoUnit, decimals=2)
    panel = column(panel, "z", unit=units.NoUnit, decimals=1)
    return column(panel, "Rows", unit=units.LocaleFormat)


def _times(title: str, about: str, expression: str, legend: str, *, width: int = 12, height: int = 9) -> timeseries.Panel:
    return p.graph(
        title, about, TIMES, [query(expression, legend)], lines=steps("transparent", (1.0, WARNING)), width=width, height=height
    ).decimals(1)
