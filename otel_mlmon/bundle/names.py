"""Names that the rules are written with: the catalogue's label names and selectors, and the recorded series."""

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily

MODEL_LABELS = tuple(label.replace(".", "_") for label in catalog.MODEL)
FEATURE_LABELS = tuple(label.replace(".", "_") for label in catalog.FEATURE)
MODEL = ", ".join(MODEL_LABELS)
FEATURE = ", ".join(FEATURE_LABELS)
BIN = f"{FEATURE}, bin"
WINDOW = f"{FEATURE}, window"
PAIR = f"{FEATURE}, target, space"

STEADY = "mlmon:replica:steady"
COUNTED = "mlmon:replica:counted"
KNOWN = "mlmon:model:known"
COVERED = "mlmon:model:covered_ratio"
WATCHED = "mlmon:model:watched"
MODEL_AGE = "mlmon:model:age"
REFERENCE_AGE = "mlmon:reference:age"
TARGET = "mlmon:target:known"
THRESHOLD_SET = "mlmon:threshold:set"
THRESHOLD = "mlmon:threshold:model"
FEATURE_THRESHOLD = "mlmon:threshold:feature"
SHARE_THRESHOLD = "mlmon:feature_share:threshold"
EXCEEDED = "mlmon:feature_share:exceeded"
DRIFTED = "mlmon:feature_drift:drifted"
DRIFTED_COUNT = "mlmon:model:drifted_features"
DRIFTED_RATIO = "mlmon:model:drifted_features_ratio"

BIN_INCREMENT = "mlmon:feature_bin:inc"
MOMENT_INCREMENT = "mlmon:feature_moment:inc"
MISSING_INCREMENT = "mlmon:feature_missing:inc"
INVALID_INCREMENT = "mlmon:feature_invalid:inc"
OUTLIERS_INCREMENT = "mlmon:feature_outliers:inc"
OUT_OF_RANGE_INCREMENT = "mlmon:feature_out_of_range:inc"
VALUE_INCREMENT = "mlmon:feature_value_bucket:inc"
VIOLATION_INCREMENT = "mlmon:schema_violations:inc"
PREDICTION_INCREMENT = "mlmon:predictions:inc"
DROPPED_INCREMENT = "mlmon:rows_dropped:inc"
CALL_INCREMENT = "mlmon:calls:inc"

REFERENCE_COUNT = "mlmon:reference_bin:count"
REFERENCE_RATIO = "mlmon:reference_bin:ratio"
REFERENCE_WEIGHT = "mlmon:reference_bin:weight"
REFERENCE_NUMBERED = "mlmon:reference_bin:numbered_ratio"
REFERENCE_CUMULATIVE = "mlmon:reference_bin:cumulative_ratio"
REFERENCE_TOTAL = "mlmon:reference:count"
REFERENCE_SMOOTHED = "mlmon:reference_bin:smoothed_ratio"
REFERENCE_ENTROPY = "mlmon:reference:entropy"
REFERENCE_NOISE = "mlmon:reference:noise"
REFERENCE_LEVEL = "mlmon:reference:threshold"
REFERENCE_MISSING = "mlmon:reference:missing_ratio"
REFERENCE_UNSEEN = "mlmon:reference:unseen_ratio"
REFERENCE_STATISTIC = "mlmon:reference:statistic"
REFERENCE_CORRELATION = "mlmon:reference_correlation:r"
REFERENCE_CORRELATION_SAMPLES = "mlmon:reference_correlation:samples"
REFERENCE_CORRELATION_LEVEL = "mlmon:reference_correlation:threshold"

BIN_COUNT = "mlmon:feature_bin:count"
BIN_SMOOTHED = "mlmon:feature_bin:smoothed_ratio"
BIN_NUMBERED = "mlmon:feature_bin:numbered_ratio"
BIN_CUMULATIVE = "mlmon:feature_bin:cumulative_ratio"
COUNT = "mlmon:feature:count"
MEAN_SHIFT = "mlmon:feature:mean_shift"
DRIFT = "mlmon:feature_drift"
NOISE = "mlmon:feature_drift:noise"
BELIEVABLE = "mlmon:feature_drift:believable"
DRIFT_THRESHOLD = "mlmon:feature_drift:threshold"
NORMAL = "mlmon:feature_drift:normal"
NORMAL_HISTORY = "mlmon:model:normal_history"
DRIFT_LOG = "mlmon:feature_drift:log"
LEARNED_LEVEL = "mlmon:feature_drift:learned"

BIN_RATIO = "mlmon:feature_bin:ratio"
ENTROPY = "mlmon:feature:entropy"
PREVIOUS_SMOOTHED = "mlmon:previous_bin:smoothed_ratio"
PREVIOUS_ENTROPY = "mlmon:previous:entropy"
PREVIOUS_COUNT = "mlmon:previous_bin:count"
PREVIOUS_TOTAL = "mlmon:previous:count"
PREVIOUS_RATIO = "mlmon:previous_bin:ratio"
PREVIOUS_CUMULATIVE = "mlmon:previous_bin:cumulative_ratio"
PREVIOUS_MEAN_SHIFT = "mlmon:previous:mean_shift"
CHI2_DF = "mlmon:feature_chi2:df"
CHI2_HALF = "mlmon:feature_chi2:half"
CHI2_T = "mlmon:feature_chi2:t"
KS_LAMBDA = "mlmon:feature_ks:lambda"
VALUE_COUNT = "mlmon:feature_value_bucket:count"
MOMENT = "mlmon:feature_moment:sum"
STATISTIC = "mlmon:feature:statistic"
FLEET_MIN = "mlmon:feature:min"
FLEET_MAX = "mlmon:feature:max"
RANGE = "mlmon:feature:range"
VARYING = "mlmon:feature:varying_ratio"

CORRELATION = "mlmon:feature_correlation"
CORRELATION_SAMPLES = "mlmon:feature_correlation:samples"
CORRELATION_SHIFT = "mlmon:feature_correlation:shift"
CORRELATION_Z = "mlmon:feature_correlation:z"
CORRELATION_THRESHOLD = "mlmon:feature_correlation:threshold"
CORRELATION_DRIFTED = "mlmon:feature_correlation:drifted"

FEATURE_ROWS = "mlmon:feature:rows"
MISSING_RATIO = "mlmon:feature_missing:ratio"
INVALID_RATIO = "mlmon:feature_invalid:ratio"
OUTLIERS_RATIO = "mlmon:feature_outliers:ratio"
OUT_OF_RANGE_RATIO = "mlmon:feature_out_of_range:ratio"
UNSEEN_RATIO = "mlmon:feature_unseen:ratio"
VIOLATION_RATIO = "mlmon:schema_violations:ratio"
DROPPED_RATIO = "mlmon:rows_dropped:ratio"
STATE = "mlmon:model:state"
CALL_COUNT = "mlmon:calls:count"
ERROR_RATIO = "mlmon:call_errors:ratio"
BURN_RATE = "mlmon:call_errors:burn_rate"
BUDGET_RATIO = "mlmon:call_errors:budget_ratio"
LATENCY = "mlmon:call_duration:p99"

ALERTS = "ALERTS"
ALERTS_FOR_STATE = "ALERTS_FOR_STATE"
UP = "up"
RULE_FAILURES = "prometheus_rule_evaluation_failures_total"
RULE_DURATION = "prometheus_rule_group_last_duration_seconds"
RULE_INTERVAL = "prometheus_rule_group_interval_seconds"
RULES_MISSED = "prometheus_rule_group_iterations_missed_total"
OUR_GROUPS = "=~(.*;)?mlmon-[^;]*"
"""Prometheus's own series, and vmalert's ``ALERTS``: those of groups of rules bear the file's name and the group's."""


def selector(name: str, **labels: str) -> str:
    """A series selector; a value that starts with an operator (``=~``, ``!~``, ``!=``) keeps it.

    >>> selector("a", window="1h", bin="=~0.")
    'a{window="1h", bin=~"0."}'
    """
    matchers = []
    for label, value in labels.items():
        operator = next((each for each in ("=~", "!~", "!=") if value.startswith(each)), "")
        matchers.append(f'{label}{operator or "="}"{value[len(operator) :]}"')
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def late(name: str) -> str:
    """Under this name a series is recorded that its public name holds: see ``holding``.

    >>> late("mlmon:feature:statistic")
    'mlmon:late:feature_statistic'
    """
    return "mlmon:late:" + name.removeprefix("mlmon:").replace(":", "_")


def further_labels(family: MetricFamily) -> tuple[str, ...]:
    """Prometheus labels of a family beyond the model's."""
    return tuple(label for label in family.prometheus_labels if label not in MODEL_LABELS)


def tagged(expression: str, bound: str) -> str:
    """The expression with a label that keeps it apart from others in a union, before ``max by`` takes the label away."""
    return f'label_replace({expression}, "bound", "{bound}", "", "")'
