"""Recording rules of what lives and how long: targets, models, references."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record

REMEMBERED = "1d"
"""How long a target, a model or a reference is missed after it was seen last."""

_SEEN_EVERY = "10m"
"""Coarse steps suffice to remember targets, and cost little."""


def lifecycle(options: RuleOptions) -> list[Rule]:
    """Targets that export models, ages of models and references.

    Args:
        options: Time scale.

    Returns:
        Rules behind those of replicas, in a group of their own or not.
    """
    seen = f"[{options.scaled(REMEMBERED)}:{options.scaled(_SEEN_EVERY)}]"
    trained, built = (family.prometheus_name for family in (catalog.MODEL_TRAINED_TIME, catalog.REFERENCE_CREATED_TIME))
    return [
        record(n.TARGET, f"group by (model_name, job, instance) (last_over_time({n.COUNTED}{seen}))"),
        record(n.MODEL_AGE, f"time() - max by ({n.MODEL}) ({trained})"),
        record(n.REFERENCE_AGE, f"time() - max by ({n.MODEL}) ({built})"),
    ]
