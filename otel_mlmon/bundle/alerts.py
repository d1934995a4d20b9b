"""The alerts, each with what a person at three in the morning needs: what, how bad, where to look."""

from otel_mlmon.bundle.drift_alerts import drift
from otel_mlmon.bundle.lifecycle_alerts import lifecycle
from otel_mlmon.bundle.meta_alerts import meta
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_alerts import quality
from otel_mlmon.bundle.serving_alerts import serving
from otel_mlmon.bundle.yaml_text import Rule


def alert_groups(options: RuleOptions) -> dict[str, list[Rule]]:
    """The alerts by group, one group per layer.

    Args:
        options: Pairs of windows, waiting times' scale, addresses of runbooks and dashboards.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return {
        "mlmon-drift.alerts": drift(options),
        "mlmon-data_quality.alerts": quality(options),
        "mlmon-serving.alerts": serving(options),
        "mlmon-lifecycle.alerts": lifecycle(options),
        "mlmon-meta.alerts": meta(options),
    }
