"""Alerts on the life cycle: what is old, missing, replaced by halves or due."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import COUNT, WHO, alert, single, threshold
from otel_mlmon.bundle.lifecycle_rules import REMEMBERED
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule
from otel_mlmon.thresholds import MIN_CALLS, MIN_VERSION_RATIO

_AGE = "{{ $value | humanizeDuration }}"
_VERSION_WINDOW = "1h"


def lifecycle(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``lifecycle``. None of them gets anybody out of bed.

    Args:
        options: Waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [
        *_stale(options),
        *_without_reference(options),
        _versions(options),
        *_due(options),
    ]


def _stale(options: RuleOptions) -> list[Rule]:
    """A reference as old as its model is the model's alert: the next training makes both anew."""
    stale = f"({n.MODEL_AGE} > on ({n.MODEL}) {threshold('model_age', 'warning')})"
    return [
        _lifecycle(
            "MlmonModelStale",
            stale,
            options,
            wait="1h",
            summary=f"{WHO} was trained long ago.",
            description=f"Its training ended {_AGE} ago.",
        ),
        _lifecycle(
            "MlmonReferenceStale",
            f"({n.REFERENCE_AGE} > on ({n.MODEL}) {single('reference_age')})\nunless on ({n.MODEL})\n  {stale}",
            options,
            wait="1h",
            summary=f"{WHO} is compared with an old reference.",
            description=f"Its reference was built {_AGE} ago: drift is measured from what was usual then.",
        ),
    ]


def _without_reference(options: RuleOptions) -> list[Rule]:
    """Recorded where there was none; worth a message where there should be one: the monitor has it, or another version has."""
    start = catalog.START_TIME.prometheus_name
    missing = (
        f"group by ({n.MODEL}) (last_over_time({start}[{options.lookback}]))\n"
        f"unless on ({n.MODEL})\n  group by ({n.MODEL}) ({n.REFERENCE_MISSING})"
    )
    expected = f"group by (model_name) (last_over_time({n.REFERENCE_AGE}[{options.scaled(REMEMBERED)}]))"
    said = "Nobody exports the reference's counts: drift is not measured"
    return [
        _lifecycle(
            "MlmonReferenceMissing",
            f"{missing}\nand on (model_name)\n  {expected}",
            options,
            wait="2h",
            summary=f"The reference of {WHO} is missing.",
            description=f"{said}, although this version, or another one of the last day, has a reference.",
        ),
        _lifecycle(
            "MlmonReferenceMissing",
            f"{missing}\nunless on (model_name)\n  {expected}",
            options,
            wait="1d",
            severity="info",
            summary=f"{WHO} has no reference.",
            description=f"{said}.",
        ),
    ]


def _versions(options: RuleOptions) -> Rule:
    """Versions that serve more than what is left of a rollout, at the same time and for long."""
    rows = f"sum_over_time({n.PREDICTION_INCREMENT}[{options.span(_VERSION_WINDOW)}])"
    return _lifecycle(
        "MlmonVersionSkew",
        f"""
count by (model_name) (
  sum by ({n.MODEL}) ({rows})
    / on (model_name) group_left ()
  (sum by (model_name) ({rows}) >= {MIN_CALLS})
    >= {MIN_VERSION_RATIO:g}
)
  > on (model_name)
max by (model_name) ({single("versions")})""",
        options,
        wait="2h",
        about=("model_name",),
        summary="Several versions of {{ $labels.model_name }} serve at the same time.",
        description=f"{COUNT} of them have {MIN_VERSION_RATIO:.0%} or more of the rows of the last {_VERSION_WINDOW} each.",
    )


def _due(options: RuleOptions) -> list[Rule]:
    """The alerts that start something: by age, and by drift that pages and does not pass.

    A drift alert fires on for six hours: after twelve, six of them were drift.
    """
    drifted = n.selector(n.ALERTS, alertname="=~Mlmon.*", alertstate="firing", layer="drift", severity="critical", model_name="!=")
    return [
        _lifecycle(
            "MlmonRetrainingDue",
            f"{n.MODEL_AGE} > on ({n.MODEL}) {threshold('model_age', 'critical')}",
            options,
            wait="1h",
            summary=f"Time to retrain {WHO}: it is too old.",
            description=f"Its training ended {_AGE} ago.",
            action="retrain",
            cause="age",
        ),
        _lifecycle(
            "MlmonRetrainingDue",
            f"count by ({n.MODEL}) ({drifted}) > 0",
            options,
            wait="12h",
            summary=f"Time to retrain {WHO}: it keeps drifting.",
            description=f"Critical alerts on its drift, now {COUNT} of them, have fired for 12 hours.",
            action="retrain",
            cause="drift",
        ),
    ]


def _lifecycle(
    name: str,
    expression: str,
    options: RuleOptions,
    *,
    wait: str,
    severity: str = "warning",
    summary: str,
    description: str,
    about: tuple[str, ...] = n.MODEL_LABELS,
    **labels: str,
) -> Rule:
    return alert(
        name,
        expression,
        options,
        wait=wait,
        keep="15m",
        severity=severity,
        layer="lifecycle",
        summary=summary,
        description=description,
        about=about,
        **labels,
    )
