"""Row 1 of the dashboard of drift."""

from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import units

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, PLAIN, WARNING, limits, steps
from otel_mlmon.bundle.grafana.drift_looks import OVER, TIMES
from otel_mlmon.bundle.grafana.drift_queries import INPUTS, OUTPUTS, TOGETHER, WINDOW, distance, of_model, relation
from otel_mlmon.bundle.grafana.queries import query
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.thresholds import SEVERITIES


def numbers(options: RuleOptions) -> list[stat.Panel]:
    """How much has drifted, and how far.

    Args:
        options: The threshold of the share of features.
    """
    inputs, outputs, together = distance(INPUTS), distance(OUTPUTS), distance(TOGETHER)
    related = relation()
    return [
        _count(),
        p.number(
            "Share",
            "Drifted inputs, of those that may alarm (enough rows). Above its threshold the model as a whole has drifted "
            "(`MlmonModelDrift`): roll back what changed, or retrain.",
            units.PercentUnit,
            [query(of_model(n.DRIFTED_RATIO, severity="warning"), instant=True)],
            thresholds=limits(options, "drifted_features_ratio"),
            width=3,
        )
        .decimals(0)
        .no_value("too few rows"),
        _times(
            "Worst feature",
            "The input furthest above its warning threshold over the chosen window. Above 1: see its distribution below, and since "
            "when.",
            f"topk(1, {inputs.times(WINDOW)})",
            "{{feature}}",
            width=4,
        ),
        _times(
            "Outputs",
            "Drift of predictions, scores and (once they arrive) labels over the chosen window. Outputs that drift while no input "
            "does: another model or another preprocessing runs than was trained. Labels that drift: the world has changed; check "
            "quality.",
            outputs.times(WINDOW),
            "{{feature}}",
            width=4,
        ),
        _times(
            "Together",
            "Do inputs still vary together as in training (error of reconstructing rows from their principal components)? Above 1 "
            "while each input alone is calm: joined wrongly, or a column shifted.",
            together.times(WINDOW),
            width=3,
        ),
        _times(
            "Relations",
            "The relation of an input to an output or label that has shifted furthest, over its threshold. Above 1: see "
            "*relations* at the end.",
            f"topk(1, {related.times(WINDOW)})",
            "{{feature}} to {{target}}",
            width=3,
        ),
        _rows(),
    ]


def _times(title: str, about: str, expression: str, legend: str = "", *, width: int) -> stat.Panel:
    panel = p.number(
        title,
        f"{about} The number is a multiple of the warning threshold; no data: too few rows, or none are reported.",
        TIMES,
        [query(expression, legend, instant=True)],
        thresholds=OVER,
        width=width,
    ).decimals(1)
    return panel.text_mode(cm.BigValueTextMode.VALUE_AND_NAME) if legend else panel


def _count() -> stat.Panel:
    panel = p.number(
        "Drifted features",
        "Inputs whose distance from the training data is above its threshold in both windows of a pair: the warning one, the "
        "critical one. One is that feature's alert: see it below. Many at once: look for one cause upstream (a join, a unit, a new "
        "client) before you retrain.",
        units.Short,
        [
            query(f"{of_model(n.DRIFTED_COUNT, severity=one)} or {of_model(n.DRIFTED_RATIO, severity=one)} * 0", one, instant=True)
            for one in SEVERITIES
        ],
        thresholds=steps(FINE, (1, WARNING)),
    ).text_mode(cm.BigValueTextMode.VALUE_AND_NAME)
    panel = panel.no_value("none judged")
    paged = dm.DynamicConfigValue(id_val="thresholds", value=steps(FINE, (1, CRITICAL)).build())
    return panel.override_by_name("critical", [paged])


def _rows() -> stat.Panel:
    rows = f"max by ({n.MODEL}) ({of_model(n.COUNT, window=WINDOW)})"
    needed = of_model(n.THRESHOLD, statistic="min_samples")
    panel = p.number(
        "Rows",
        "Rows in the chosen window. Orange: fewer than `min_samples`, so nothing alarms on drift; choose a longer window, or see "
        "the model's traffic.",
        units.LocaleFormat,
        [
            query(f"{rows} >= on ({n.MODEL}) {needed}", "enough", instant=True),
            query(f"{rows} < on ({n.MODEL}) {needed}", "too few", instant=True),
        ],
        width=3,
    ).text_mode(cm.BigValueTextMode.VALUE_AND_NAME)
    for name, color in (("enough", PLAIN), ("too few", WARNING)):
        fixed = dm.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        panel = panel.override_by_name(name, [fixed])
    return panel
