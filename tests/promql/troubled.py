"""A model for which everything goes wrong at once, and others whose monitoring does; five times as fast as in life."""

from otel_mlmon import catalog
from tests.promql import cases, drift_cases
from tests.promql.fleet import Replica

SCALE = 5
MINUTES = 40
_OURS = '{job="prometheus", instance="p", rule_group="mlmon-drift.rules"}'


def troubled() -> list[Replica]:
    """A model with all that features and calls can do; others: down, vanished, with a frozen feature, old."""
    return [_model(), _down(), _gone(), _still(), *_old()]


def foreign() -> list[dict[str, str]]:
    """What Prometheus says of targets and of itself."""
    said = {
        'up{job="mlmon", instance="a"}': "1x5 0x34",
        'scrape_duration_seconds{job="mlmon", instance="a"}': "0.1x39",
        f"prometheus_rule_evaluation_failures_total{_OURS}": "0+3x39",
        f"prometheus_rule_group_last_duration_seconds{_OURS}": "55x39",
        f"prometheus_rule_group_interval_seconds{_OURS}": "60x39",
        f"prometheus_rule_group_iterations_missed_total{_OURS}": "0x39",
        'prometheus_notifications_errors_total{alertmanager="a"}': "0x39",
        'alertmanager_notifications_failed_total{integration="webhook"}': "0x39",
        "prometheus_tsdb_head_samples_appended_total": "0+100x39",
    }
    return [{"series": series, "values": values} for series, values in said.items()]


def _model() -> Replica:
    replica = Replica(MINUTES, model="m m")
    replica.traffic([100.0] * 14 + [0.0] * (MINUTES - 14), failed=50, durations={"0.5": 10, "9.5": 10, "+Inf": 0})
    for name in ("a b", catalog.SCORE, catalog.LABEL, catalog.RECONSTRUCTION_ERROR):
        bad = 120.0 if name == "a b" else 0.0
        replica.feature(name, cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS, missing=bad)
    replica.counter(catalog.FEATURE_OUT_OF_RANGE, 30, feature="a b")
    replica.feature("c", cases.COLOURS, [30, 30, 20, 10, 30])
    replica.counter(catalog.FEATURE_INVALID, 120, feature="c", reason="category")
    drift_cases.correlate(replica, "a b", 0, rows=120.0)
    replica.counter(catalog.SCHEMA_VIOLATIONS, 25, check="width")
    replica.counter(catalog.ROWS_DROPPED, 100, reason="queue_full")
    replica.counter(catalog.INTERNAL_ERRORS, 4, where="rows")
    replica.counter(catalog.EXPORTS, 4, status="failed")
    replica.gauge(catalog.SERIES, 30_000)
    _further(replica)
    return replica


def _further(replica: Replica) -> None:
    """What no rule reads, but people do."""
    for family in (catalog.CALLS_ACTIVE, catalog.LAST_CALL_TIME, catalog.MODEL_TRAINED_TIME, catalog.REFERENCE_CREATED_TIME):
        replica.gauge(family, 0.0)
    for family in (catalog.WORKER_TIME, catalog.EXPORT_TIME, catalog.EXPORT_POINTS_REJECTED):
        replica.counter(family, 1.0)
    replica.gauge(catalog.MODEL_INFO, 1.0, **dict.fromkeys(catalog.MODEL_INFO.prometheus_labels[2:], "x"))
    replica.gauge(catalog.PROCESS_CPU_UTILIZATION, 0.5, cpu_mode="user")
    replica.counter(catalog.CALL_ERRORS, 50, error_type="ValueError")
    replica.counter(catalog.INTERNAL_ERRORS, 0, where="learning")
    replica.counter(catalog.SCHEMA_VIOLATIONS, 0, check="missing_column")
    for family in (catalog.FEATURE_MIN, catalog.FEATURE_MAX):
        replica.gauge(family, 1.0, feature="a b")
    replica.gauge(catalog.REFERENCE_STATISTIC, 1.0, feature="a b", statistic="min")


def _down() -> Replica:
    replica = Replica(MINUTES, model="down", instance="down")
    replica.traffic(1, failed=99)
    return replica


def _still() -> Replica:
    replica = Replica(MINUTES, model="still", instance="still")
    replica.feature("f", cases.REFERENCE, cases.CALM * 5, weights=cases.WEIGHTS)
    replica.gauge(catalog.FEATURE_MIN, 1.0, feature="f")
    replica.gauge(catalog.FEATURE_MAX, cases.change(MINUTES, 32, 5, 1), feature="f")
    for statistic in ("mean", "std"):
        replica.gauge(catalog.REFERENCE_STATISTIC, 1.0, feature="f", statistic=statistic)
    return replica


def _gone() -> Replica:
    return Replica(MINUTES, model="gone", instance="gone", end=5)


def _old() -> list[Replica]:
    """Two versions at once, both old, with a reference that nobody exports."""
    replicas = [Replica(MINUTES, model="old", version=version, instance=f"old-{version}") for version in ("1", "2")]
    for replica in replicas:
        replica.traffic(60)
        replica.gauge(catalog.REFERENCE_CREATED_TIME, -864_000)
    first, second = replicas
    first.gauge(catalog.MODEL_TRAINED_TIME, -864_000)
    for severity, value in (("warning", 86_400), ("critical", 172_800)):
        first.threshold("model_age", value, severity=severity)
    second.threshold("reference_age", 86_400)
    return replicas
