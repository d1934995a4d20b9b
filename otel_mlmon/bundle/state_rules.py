"""Recording rules of the state of each model's layers, for the overview: what its alerts say, as one number."""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.lifecycle_rules import REMEMBERED
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record

LAYERS = ("serving", "data_quality", "drift", "lifecycle", "meta")
"""Of the alerts; a model has a state in each."""

STATES = ("ok", "warning", "critical")
"""By their number."""


def state(options: RuleOptions) -> list[Rule]:
    """The state of each model in each layer: a number of ``STATES``.

    An alert without a version counts for all versions of its model, one without a model for none. A model all of whose metrics are
    absent keeps its states as long as that alarms.

    Args:
        options: Time scale.

    Returns:
        Rules of a group that is evaluated as often as the alerts.
    """
    absent = _firing(alertname="MlmonMetricsAbsent")
    gone = f"last_over_time({n.KNOWN}[{options.scaled(REMEMBERED)}]) and on (model_name) {absent}"
    return [
        record(n.WATCHED, f"group by ({n.MODEL}) ({n.KNOWN})\nor on ({n.MODEL})\n  group by ({n.MODEL}) ({gone})"),
        *(record(n.STATE, _state(layer), layer=layer) for layer in LAYERS),
    ]


def _state(layer: str) -> str:
    levels = [
        f"{number} * (\n    {n.WATCHED} and on ({n.MODEL}) {_firing(layer=layer, severity=severity)}"
        f"\n  or on ({n.MODEL})\n    {n.WATCHED} and on (model_name) {_firing(layer=layer, severity=severity, model_version='')}\n)"
        for number, severity in reversed(list(enumerate(STATES)))
        if number
    ]
    return f"\nor on ({n.MODEL})\n".join((*levels, f"0 * {n.WATCHED}"))


def _firing(**labels: str) -> str:
    return n.selector(n.ALERTS, alertstate="firing", **labels)
