"""The catalogue: every metric family this library emits, declared once.

Exposition, README table, recording rules, dashboards and their tests are held to it. The names come out the same from a
scrape and from OTLP to Prometheus, because they follow the OpenTelemetry-to-Prometheus mapping:
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

import re
from dataclasses import dataclass
from typing import Literal

MetricType = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "min", "max", "latest", "oldest", "newest"]

_UNITS = {"s": "seconds", "By": "bytes", "1": "ratio", "Cel": "celsius", "W": "watts"}
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric family: what OpenTelemetry calls an instrument and Prometheus a metric family.

    Args:
        name: OpenTelemetry name, dotted. It neither ends in a unit that ``unit`` already says nor contains ``total``.
        type: ``counter`` (monotone sum), ``gauge`` or ``histogram``.
        unit: UCUM unit: ``s``, ``By``, ``1`` (only where the name ends in ``.ratio`` or ``utilization``), ``{thing}`` or ``""``.
        help: One sentence for people.
        labels: OpenTelemetry attribute names, dotted, in a fixed order.
        area: The group under which the documentation lists it.
        merge: How the processes of one server make one series. Over those that live: ``sum``, ``min``, ``max`` or ``latest``,
            that of the process which began last. Over those that have ended, too: ``sum`` of counters, ``oldest`` (least) or
            ``newest`` (greatest).

    Raises:
        ValueError: If the name would come out differently on the two routes to Prometheus.

    >>> MetricFamily("queue.wait", "histogram", "s", "Time in the queue.", ("model.name",), "health").prometheus_name
    'queue_wait_seconds'
    """

    name: str
    type: MetricType
    unit: str
    help: str
    labels: tuple[str, ...]
    area: str
    merge: Merge = "sum"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"metric {self.name!r}: a name is lower case words joined by dots")
        if "total" in self.name.replace(".", "_").split("_"):
            raise ValueError(f"metric {self.name!r}: 'total' is added to counters by the mapping, not by the name")
        ratio = self.name.endswith((".ratio", "utilization"))
        if (self.unit == "1") != ratio:
            raise ValueError(f"metric {self.name!r}: unit '1' and a name that ends in '.ratio' go together, got {self.unit!r}")
        if self.unit not in _UNITS and self.unit and not self.unit.startswith("{"):
            raise ValueError(f"metric {self.name!r}: unit must be one of {sorted(_UNITS)}, '' or '{{thing}}', got {self.unit!r}")

    @property
    def prometheus_family(self) -> str:
        """Name of the family in an exposition: without the ``_total`` of a counter's samples."""
        name = self.name.replace(".", "_")
        suffix = _UNITS.get(self.unit, "")
        return f"{name}_{suffix}" if suffix and not name.endswith("_" + suffix) else name

    @property
    def prometheus_name(self) -> str:
        """Name of the samples: ``mlmon_calls_total``. A histogram's carry ``_bucket``, ``_sum`` or ``_count`` behind it."""
        return self.prometheus_family + ("_total" if self.type == "counter" else "")

    @property
    def prometheus_labels(self) -> tuple[str, ...]:
        """Label names as Prometheus spells them: ``model.name`` becomes ``model_name``."""
        return tuple(label.replace(".", "_") for label in self.labels)


MODEL = ("model.name", "model.version")
FEATURE = (*MODEL, "feature")

PREDICTION = "@prediction"
SCORE = "@score"
LABEL = "@label"
RECONSTRUCTION_ERROR = "@reconstruction_error"
OUTPUTS = (PREDICTION, SCORE, LABEL)
"""Feature names under which model outputs and labels pass through the same machinery as inputs."""

RESERVED_FEATURES = (RECONSTRUCTION_ERROR, *OUTPUTS)
"""All feature names that are ours; the first is the distance of a row from the reference's principal components."""

OTHER = "__other__"
UNSEEN = "__unseen__"
"""Bins of a categorical feature: beyond the top K of the reference; never seen in the reference."""

# ---------------------------------------------------------------- health
CALLS = MetricFamily(
    "mlmon.calls", "counter", "{call}", "Calls of the watched function that ended, by outcome.", (*MODEL, "status"), "health"
)
CALL_ERRORS = MetricFamily(
    "mlmon.call_errors", "counter", "{call}", "Calls that raised, by exception class.", (*MODEL, "error.type"), "health"
)
CALL_DURATION = MetricFamily(
    "mlmon.call.duration", "histogram", "s", "Duration of a call; of a stream, until its end.", MODEL, "health"
)
CALLS_ACTIVE = MetricFamily("mlmon.calls_active", "gauge", "{call}", "Calls now in flight.", MODEL, "health")
PREDICTIONS = MetricFamily("mlmon.predictions", "counter", "{row}", "Rows predicted by calls that succeeded.", MODEL, "health")
START_TIME = MetricFamily(
    "mlmon.start_time", "gauge", "s", "Unix time at which this process's counters began.", MODEL, "health", merge="oldest"
)
LAST_CALL_TIME = MetricFamily(
    "mlmon.last_call_time", "gauge", "s", "Unix time at which the last call ended.", MODEL, "health", merge="newest"
)
MODEL_INFO = MetricFamily(
    "mlmon.model.info",
    "gauge",
    "",
    "Always 1; what the model is and what it was trained on.",
    (*MODEL, "task", "library.version", "reference.digest", "code.revision", "dataset", "feature.version", "environment"),
    "health",
    merge="latest",
)
MODEL_TRAINED_TIME = MetricFamily(
    "mlmon.model.trained_time", "gauge", "s", "Unix time at which the model was trained.", MODEL, "health", merge="latest"
)
MODEL_EVALUATION = MetricFamily(
    "mlmon.model.evaluation",
    "gauge",
    "",
    "Evaluation metrics of the training, by name.",
    (*MODEL, "metric"),
    "health",
    merge="latest",
)
MODEL_VALIDATION = MetricFamily(
    "mlmon.model.validation",
    "gauge",
    "",
    "Always 1; results of the validation checks before release.",
    (*MODEL, "check", "result"),
    "health",
    merge="latest",
)
HTTP_REQUESTS = MetricFamily(
    "mlmon.http.requests",
    "counter",
    "{request}",
    "HTTP requests that ended, by route template, method and status class.",
    (*MODEL, "http.route", "http.request.method", "status.class"),
    "health",
)
HTTP_REQUEST_DURATION = MetricFamily(
    "mlmon.http.request.duration",
    "histogram",
    "s",
    "Duration of an HTTP request, until its body was sent.",
    (*MODEL, "http.route", "http.request.method"),
    "health",
)
HTTP_REQUESTS_ACTIVE = MetricFamily(
    "mlmon.http.requests_active", "gauge", "{request}", "HTTP requests now in flight.", MODEL, "health"
)

# ---------------------------------------------------------------- distribution
FEATURE_BIN = MetricFamily(
    "mlmon.feature.bin", "counter", "{value}", "Valid values by bin of the reference.", (*FEATURE, "bin"), "distribution"
)
FEATURE_VALUE = MetricFamily("mlmon.feature.value", "histogram", "", "Valid values of a numeric feature.", FEATURE, "distribution")
FEATURE_MOMENT = MetricFamily(
    "mlmon.feature.moment",
    "counter",
    "",
    "Sums of powers and products of a feature (f) and a target (y), shifted to be monotone: see Reference.",
    (*FEATURE, "target", "space", "moment"),
    "moments",
)
FEATURE_MIN = MetricFamily(
    "mlmon.feature.min", "gauge", "", "Least valid value of the last minutes.", FEATURE, "statistics", merge="min"
)
FEATURE_MAX = MetricFamily(
    "mlmon.feature.max", "gauge", "", "Greatest valid value of the last minutes.", FEATURE, "statistics", merge="max"
)

# ---------------------------------------------------------------- data quality
FEATURE_MISSING = MetricFamily(
    "mlmon.feature.missing", "counter", "{value}", "Values that were null, NaN or absent.", FEATURE, "data quality"
)
FEATURE_INVALID = MetricFamily(
    "mlmon.feature.invalid", "counter", "{value}", "Values that break the schema, by reason.", (*FEATURE, "reason"), "data quality"
)
FEATURE_OUTLIERS = MetricFamily(
    "mlmon.feature.outliers", "counter", "{value}", "Valid values outside the reference's Tukey fences.", FEATURE, "data quality"
)
FEATURE_OUT_OF_RANGE = MetricFamily(
    "mlmon.feature.out_of_range",
    "counter",
    "{value}",
    "Valid values below the reference's minimum or above its maximum.",
    FEATURE,
    "data quality",
)
SCHEMA_VIOLATIONS = MetricFamily(
    "mlmon.schema.violations",
    "counter",
    "{row}",
    "Rows that break the schema as a whole, by check.",
    (*MODEL, "check"),
    "data quality",
)

# ---------------------------------------------------------------- reference
REFERENCE_BIN_COUNT = MetricFamily(
    "mlmon.reference.bin.count",
    "gauge",
    "{value}",
    "Values of the reference by bin.",
    (*FEATURE, "bin"),
    "reference",
    merge="latest",
)
REFERENCE_BIN_WEIGHT = MetricFamily(
    "mlmon.reference.bin.weight",
    "gauge",
    "",
    "Distance of the next bin's mean from this bin's, in standard deviations of the reference.",
    (*FEATURE, "bin"),
    "reference",
    merge="latest",
)
REFERENCE_THRESHOLD = MetricFamily(
    "mlmon.reference.threshold",
    "gauge",
    "",
    "Level that a drift statistic reaches in normal operation, learned from time-ordered blocks of the reference.",
    (*FEATURE, "statistic", "window"),
    "reference",
    merge="latest",
)
REFERENCE_NOISE = MetricFamily(
    "mlmon.reference.noise",
    "gauge",
    "",
    "Noise floor of a drift statistic at one row against one: times 1/n + 1/m (psi), times its root (wasserstein).",
    (*FEATURE, "statistic"),
    "reference",
    merge="latest",
)
REFERENCE_CORRELATION = MetricFamily(
    "mlmon.reference.correlation",
    "gauge",
    "",
    "Correlation of a feature with a target in the reference: Pearson (z) or Spearman over bins (u).",
    (*FEATURE, "target", "space"),
    "reference",
    merge="latest",
)
REFERENCE_CORRELATION_SAMPLES = MetricFamily(
    "mlmon.reference.correlation.samples",
    "gauge",
    "{row}",
    "Rows behind the reference's correlation.",
    (*FEATURE, "target", "space"),
    "reference",
    merge="latest",
)
REFERENCE_CORRELATION_THRESHOLD = MetricFamily(
    "mlmon.reference.correlation.threshold",
    "gauge",
    "",
    "Shift of a correlation (Fisher's z) that normal operation reaches, learned from time-ordered blocks of the reference.",
    (*FEATURE, "target", "space", "window"),
    "reference",
    merge="latest",
)
REFERENCE_STATISTIC = MetricFamily(
    "mlmon.reference.statistic",
    "gauge",
    "",
    "Statistics of a numeric feature in the reference: mean, std, min, max, median.",
    (*FEATURE, "statistic"),
    "reference",
    merge="latest",
)
REFERENCE_MISSING = MetricFamily(
    "mlmon.reference.missing.ratio", "gauge", "1", "Share of missing values in the reference.", FEATURE, "reference", merge="latest"
)
REFERENCE_UNSEEN = MetricFamily(
    "mlmon.reference.unseen.ratio",
    "gauge",
    "1",
    "Share of values in new categories that the reference, by its rare ones, lets expect.",
    FEATURE,
    "reference",
    merge="latest",
)
REFERENCE_OUTLIERS = MetricFamily(
    "mlmon.reference.outliers.ratio", "gauge", "1", "Share of outliers in the reference.", FEATURE, "reference", merge="latest"
)
REFERENCE_CREATED_TIME = MetricFamily(
    "mlmon.reference.created_time", "gauge", "s", "Unix time at which the reference was built.", MODEL, "reference", merge="latest"
)

# ---------------------------------------------------------------- thresholds
THRESHOLD = MetricFamily(
    "mlmon.threshold",
    "gauge",
    "",
    "Alert thresholds set in code; an empty feature label means the whole model.",
    (*MODEL, "statistic", "severity", "feature"),
    "thresholds",
    merge="latest",
)

NORMAL_HISTORY = MetricFamily(
    "mlmon.normal.history",
    "gauge",
    "s",
    "How much recorded history the level of normal operation is learned from; absent where the reference alone tells it.",
    MODEL,
    "thresholds",
    merge="latest",
)

# ---------------------------------------------------------------- self-monitoring
ROWS_DROPPED = MetricFamily(
    "mlmon.rows.dropped", "counter", "{row}", "Rows that were not counted, by reason.", (*MODEL, "reason"), "self-monitoring"
)
INTERNAL_ERRORS = MetricFamily(
    "mlmon.internal_errors",
    "counter",
    "{error}",
    "Errors of the monitoring itself, by place.",
    (*MODEL, "where"),
    "self-monitoring",
)
QUEUE_ROWS = MetricFamily("mlmon.queue.rows", "gauge", "{row}", "Rows that wait for the worker.", MODEL, "self-monitoring")
WORKER_TIME = MetricFamily("mlmon.worker", "counter", "s", "CPU time of the worker thread.", MODEL, "self-monitoring")
SERIES = MetricFamily(
    "mlmon.series", "gauge", "{series}", "Series that this monitor exposes now.", MODEL, "self-monitoring", merge="max"
)

PREDICTION_LOGS = MetricFamily(
    "mlmon.prediction_logs",
    "counter",
    "{log_record}",
    "Rows sampled for the prediction log: emitted, limited (beyond its rate) or failed.",
    (*MODEL, "status"),
    "self-monitoring",
)
PROCESSES = MetricFamily(
    "mlmon.processes",
    "gauge",
    "{process}",
    "Processes that the page shows: one, or all that share a folder.",
    MODEL,
    "self-monitoring",
)
EXPORTS = MetricFamily(
    "mlmon.exports", "counter", "{export}", "Exports over OTLP, by outcome: one a period.", (*MODEL, "status"), "self-monitoring"
)
EXPORT_POINTS_REJECTED = MetricFamily(
    "mlmon.export.points.rejected",
    "counter",
    "{data_point}",
    "Data points that the receiver did not take from a request that it took.",
    MODEL,
    "self-monitoring",
)
EXPORT_TIME = MetricFamily("mlmon.export", "counter", "s", "CPU time of exporting over OTLP.", MODEL, "self-monitoring")

# ---------------------------------------------------------------- process and system, by OpenTelemetry's semantic conventions
# https://opentelemetry.io/docs/specs/semconv/system/ ; the model labels keep two monitors of one process apart.
PROCESS_CPU_TIME = MetricFamily("process.cpu.time", "counter", "s", "CPU time of the process.", (*MODEL, "cpu.mode"), "system")
PROCESS_CPU_UTILIZATION = MetricFamily(
    "process.cpu.utilization",
    "gauge",
    "1",
    "CPU time of the process over elapsed time and processors.",
    (*MODEL, "cpu.mode"),
    "system",
)
PROCESS_MEMORY_USAGE = MetricFamily("process.memory.usage", "gauge", "By", "Resident memory of the process.", MODEL, "system")
PROCESS_MEMORY_VIRTUAL = MetricFamily("process.memory.virtual", "gauge", "By", "Virtual memory of the process.", MODEL, "system")
PROCESS_DISK_IO = MetricFamily(
    "process.disk.io", "counter", "By", "Disk bytes moved by the process.", (*MODEL, "disk.io.direction"), "system"
)
PROCESS_THREADS = MetricFamily("process.thread.count", "gauge", "{thread}", "Threads of the process.", MODEL, "system")
PROCESS_OPEN_FILES = MetricFamily(
    "process.unix.file_descriptor.count", "gauge", "{file_descriptor}", "File descriptors the process holds open.", MODEL, "system"
)
PROCESS_OPEN_FILES_LIMIT = MetricFamily(
    "process.unix.file_descriptor.limit",
    "gauge",
    "{file_descriptor}",
    "File descriptors the process may hold open.",
    MODEL,
    "system",
    merge="min",
)
PROCESS_CONTEXT_SWITCHES = MetricFamily(
    "process.context_switches",
    "counter",
    "{context_switch}",
    "Context switches of the process.",
    (*MODEL, "process.context_switch.type"),
    "system",
)
PROCESS_UPTIME = MetricFamily("process.uptime", "gauge", "s", "Time since the process started.", MODEL, "system", merge="max")
GC_COLLECTIONS = MetricFamily(
    "cpython.gc.collections", "counter", "{collection}", "Garbage collections.", (*MODEL, "cpython.gc.generation"), "system"
)
GC_COLLECTED = MetricFamily(
    "cpython.gc.collected_objects",
    "counter",
    "{object}",
    "Objects that garbage collection freed.",
    (*MODEL, "cpython.gc.generation"),
    "system",
)
GC_UNCOLLECTABLE = MetricFamily(
    "cpython.gc.uncollectable_objects",
    "counter",
    "{object}",
    "Objects that garbage collection could not free.",
    (*MODEL, "cpython.gc.generation"),
    "system",
)
SYSTEM_CPU_TIME = MetricFamily(
    "system.cpu.time", "counter", "s", "CPU time of the machine.", (*MODEL, "cpu.mode"), "system", merge="newest"
)
SYSTEM_CPU_UTILIZATION = MetricFamily(
    "system.cpu.utilization",
    "gauge",
    "1",
    "Share of the machine's CPU time since the last reading.",
    (*MODEL, "cpu.mode"),
    "system",
    merge="latest",
)
SYSTEM_CPU_LOGICAL = MetricFamily(
    "system.cpu.logical.count", "gauge", "{cpu}", "Logical processors.", MODEL, "system", merge="latest"
)
SYSTEM_MEMORY_USAGE = MetricFamily(
    "system.memory.usage",
    "gauge",
    "By",
    "Memory of the machine by state.",
    (*MODEL, "system.memory.state"),
    "system",
    merge="latest",
)
SYSTEM_MEMORY_LIMIT = MetricFamily("system.memory.limit", "gauge", "By", "Memory of the machine.", MODEL, "system", merge="latest")
SYSTEM_DISK_IO = MetricFamily(
    "system.disk.io",
    "counter",
    "By",
    "Disk bytes moved by the machine.",
    (*MODEL, "system.device", "disk.io.direction"),
    "system",
    merge="newest",
)
SYSTEM_DISK_OPERATIONS = MetricFamily(
    "system.disk.operations",
    "counter",
    "{operation}",
    "Disk operations.",
    (*MODEL, "system.device", "disk.io.direction"),
    "system",
    merge="newest",
)
SYSTEM_FILESYSTEM_USAGE = MetricFamily(
    "system.filesystem.usage",
    "gauge",
    "By",
    "File system space by state.",
    (*MODEL, "system.filesystem.mountpoint", "system.filesystem.state"),
    "system",
    merge="latest",
)
SYSTEM_FILESYSTEM_UTILIZATION = MetricFamily(
    "system.filesystem.utilization",
    "gauge",
    "1",
    "Share of file system space used.",
    (*MODEL, "system.filesystem.mountpoint"),
    "system",
    merge="latest",
)
SYSTEM_NETWORK_IO = MetricFamily(
    "system.network.io",
    "counter",
    "By",
    "Network bytes.",
    (*MODEL, "network.interface.name", "network.io.direction"),
    "system",
    merge="newest",
)
SYSTEM_NETWORK_ERRORS = MetricFamily(
    "system.network.errors",
    "counter",
    "{error}",
    "Network errors.",
    (*MODEL, "network.interface.name", "network.io.direction"),
    "system",
    merge="newest",
)
SYSTEM_NETWORK_DROPPED = MetricFamily(
    "system.network.packet.dropped",
    "counter",
    "{packet}",
    "Network packets dropped.",
    (*MODEL, "network.interface.name", "network.io.direction"),
    "system",
    merge="newest",
)
SYSTEM_UPTIME = MetricFamily("system.uptime", "gauge", "s", "Time since the machine started.", MODEL, "system", merge="latest")

# ---------------------------------------------------------------- GPU, by OpenTelemetry's semantic conventions
# https://opentelemetry.io/docs/specs/semconv/hardware/gpu/
GPU = (*MODEL, "hw.id", "hw.name")
GPU_UTILIZATION = MetricFamily(
    "hw.gpu.utilization", "gauge", "1", "Share of time in which the GPU computed.", (*GPU, "hw.gpu.task"), "gpu", merge="latest"
)
GPU_MEMORY_USAGE = MetricFamily("hw.gpu.memory.usage", "gauge", "By", "GPU memory in use.", GPU, "gpu", merge="latest")
GPU_MEMORY_LIMIT = MetricFamily("hw.gpu.memory.limit", "gauge", "By", "GPU memory.", GPU, "gpu", merge="latest")
GPU_MEMORY_UTILIZATION = MetricFamily(
    "hw.gpu.memory.utilization", "gauge", "1", "Share of the GPU's memory in use.", GPU, "gpu", merge="latest"
)
GPU_TEMPERATURE = MetricFamily(
    "hw.temperature", "gauge", "Cel", "Temperature of the GPU.", (*GPU, "hw.sensor_location"), "gpu", merge="latest"
)
GPU_POWER = MetricFamily("hw.power", "gauge", "W", "Electric power that the GPU draws.", (*GPU, "hw.type"), "gpu", merge="latest")

CATALOG: tuple[MetricFamily, ...] = tuple(value for value in list(globals().values()) if isinstance(value, MetricFamily))
"""Every family, in the order declared."""
