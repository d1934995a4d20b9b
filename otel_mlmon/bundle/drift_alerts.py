"""Alerts on drift: of a feature, of outputs and labels, of the inputs together, of a whole model, of a correlation."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import FEATURE, SHARE, WHO, alert, threshold
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule
from otel_mlmon.thresholds import MIN_DRIFTED, SEVERITIES

_SUBJECTS = (
    ("MlmonFeatureDrift", "!~@.*", f"Feature {FEATURE} of {WHO} has drifted."),
    ("MlmonPredictionDrift", f"=~{catalog.PREDICTION}|{catalog.SCORE}", f"Outputs ({FEATURE}) of {WHO} have drifted."),
    ("MlmonLabelDrift", catalog.LABEL, f"Labels of {WHO} have drifted."),
    ("MlmonMultivariateDrift", catalog.RECONSTRUCTION_ERROR, f"Inputs of {WHO} no longer vary together as in training."),
)


def drift(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``drift``.

    ``keep_firing_for`` is the hysteresis: a statistic that swings around its threshold with day and night is one alert.

    Args:
        options: Pairs of windows, waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [
        *(_distance(*subject, severity, options) for subject in _SUBJECTS for severity in SEVERITIES),
        *(_model(severity, options) for severity in SEVERITIES),
        *(_concept(severity, options) for severity in SEVERITIES),
    ]


def _distance(name: str, which: str, summary: str, severity: str, options: RuleOptions) -> Rule:
    """Effect, normal operation, chance and number of rows are in the threshold's series; persistence is the pair of windows."""
    return _drifted(
        name,
        f"max by ({n.FEATURE}, statistic) ({n.selector(n.DRIFTED, severity=severity, feature=which)})",
        severity,
        options,
        feature=True,
        summary=summary,
        description=f"Its distance from the training data ({{{{ $labels.statistic }}}}) is {SHARE} over {_spans(options)}: "
        f"more than the {severity} threshold, normal operation and chance explain.",
    )


def _model(severity: str, options: RuleOptions) -> Rule:
    """One feature of three is a feature's alert; the guards are those of the features' alerts."""
    return _drifted(
        "MlmonModelDrift",
        f"""
({n.selector(n.DRIFTED_RATIO, severity=severity)} > on ({n.MODEL}) {threshold("drifted_features_ratio", severity)})
and on ({n.MODEL})
  ({n.selector(n.DRIFTED_COUNT, severity=severity)} >= {MIN_DRIFTED})""",
        severity,
        options,
        summary=f"Many features of {WHO} have drifted.",
        description=f"A share of {SHARE} of those that may alarm is over the {severity} threshold in {_spans(options)}.",
    )


def _concept(severity: str, options: RuleOptions) -> Rule:
    return _drifted(
        "MlmonConceptDrift",
        f"max by ({n.FEATURE}, target) ({n.selector(n.CORRELATION_DRIFTED, severity=severity)})",
        severity,
        options,
        feature=True,
        summary=f"Feature {FEATURE} of {WHO} is related to {{{{ $labels.target }}}} otherwise than in training.",
        description=f"Their correlation has shifted by {SHARE} (Fisher's z) over {_spans(options)}: "
        f"more than the {severity} threshold, normal operation and chance explain.",
    )


def _drifted(
    name: str, expression: str, severity: str, options: RuleOptions, *, feature: bool = False, summary: str, description: str
) -> Rule:
    return alert(
        name,
        expression,
        options,
        wait="10m",
        keep="6h",
        severity=severity,
        layer="drift",
        about=n.FEATURE_LABELS if feature else n.MODEL_LABELS,
        summary=summary,
        description=description,
    )


def _spans(options: RuleOptions) -> str:
    return " or ".join(f"{slow} (and still the last {fast})" for fast, slow in options.pairs)
