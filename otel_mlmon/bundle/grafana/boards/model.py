"""The health of one model's serving: traffic, errors, latency by version, replica by replica down to the machine."""

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import machine_parts, serving_parts
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.alert_list import alert_list
from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, PLAIN, WARNING, steps, words
from otel_mlmon.bundle.grafana.frame import MODEL_VERSION, Board, Panel, Section
from otel_mlmon.bundle.grafana.judged import judged
from otel_mlmon.bundle.grafana.machine_parts import REPLICA, here
from otel_mlmon.bundle.grafana.queries import chosen, query, values
from otel_mlmon.bundle.grafana.tables import arranged, column, transformed
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.thresholds import BUDGET_WINDOW, BURN_RATES

MODEL_NAME = values("model_name", "Model", catalog.START_TIME.prometheus_name, multi=False)
_REPLICAS = values(REPLICA, "Replica", catalog.START_TIME.prometheus_name, given=n.MODEL_LABELS)

_RECENT, _HOUR = "5m", "1h"
_BY_REPLICA = f"model_version, {REPLICA}"


def board(options: RuleOptions) -> Board:
    """The dashboard ``mlmon-model``."""
    return Board(
        uid="mlmon-model",
        title="Model",
        about="Is this model's service well: traffic, errors, latency and error budget by version, replicas, processes, machines.",
        variables=(MODEL_NAME, MODEL_VERSION, _REPLICAS),
        sections=[
            Section("", [*_numbers(), _timeline(), alert_list(options, height=6)]),
            Section("Traffic, errors, latency", serving_parts.graphs()),
            Section("Versions and replicas", [_versions(), _replicas(), *serving_parts.replicas()]),
            Section("Processes", machine_parts.process()),
            Section("Machines", machine_parts.machine()),
            Section("HTTP", serving_parts.http(), collapsed=True),
            Section("Processes in detail", machine_parts.process_details(), collapsed=True),
            Section("Machines in detail", machine_parts.machine_details(), collapsed=True),
            Section("GPU", machine_parts.gpu(), collapsed=True),
            Section("Training and release", _training(), collapsed=True),
        ],
    )


def _numbers() -> list[Panel]:
    failed, burn = chosen(n.ERROR_RATIO, window=_HOUR), chosen(n.BURN_RATE, window=_HOUR)
    paged = next(rate for rate, slow, _ in BURN_RATES["critical"] if slow == _HOUR)
    return [
        p.number(
            "Replicas",
            "Replicas that were scraped now. Fewer than you run: look at *Replicas* for the one that is gone.",
            units.Short,
            [query(f"count(group by ({REPLICA}) ({here(catalog.START_TIME)})) or sum({chosen(n.KNOWN)}) * 0", instant=True)],
            width=3,
        ).mappings([words(("0", "none up", CRITICAL))]),
        p.number(
            "Traffic",
            f"Rows predicted a second over the last {_RECENT}. Unusual silence for an hour raises MlmonNoTraffic.",
            units.RowsPerSecond,
            [query(f"sum(rate({here(catalog.PREDICTIONS)}[{_RECENT}]))", instant=True)],
            width=3,
        ).mappings([words(("0", "no traffic", PLAIN))]),
        judged(
            "Failed",
            f"Share of the calls of the last {_HOUR} that raised, of the version with the most. Orange: more than the model's "
            f"error budget allows; red: {paged:g} times as many, which pages. Next: *Errors by class*, and which replica.",
            units.PercentUnit,
            failed,
            {
                severity: f"{failed} and on ({n.MODEL}) ({burn} > {rate:g})"
                for severity, rate in (("warning", 1.0), ("critical", paged))
            },
            width=3,
        )
        .no_value("no traffic")
        .decimals(2),
        p.number(
            "Budget",
            f"Of the failures that the error budget allows in {BUDGET_WINDOW}, of the worst version. None left: hold back releases "
            "until it has recovered; *Error budget burn* tells since when.",
            units.PercentUnit,
            [query(f"clamp_min(min({chosen(n.BUDGET_RATIO)}), 0)", instant=True)],
            thresholds=steps(WARNING, (1e-9, FINE)),
            width=3,
        )
        .no_value("no traffic")
        .decimals(0),
        judged(
            "p99",
            f"99th percentile of a call's duration over the last {_RECENT}, of the slowest version, on the colour of that model's "
            "thresholds. For ten minutes above one, MlmonLatencyHigh fires. The median: *Latency*.",
            units.Seconds,
            chosen(n.LATENCY),
            _over(chosen(n.LATENCY), "latency_p99"),
            width=3,
        ).no_value("no traffic"),
        p.number(
            "In flight",
            "Calls that have begun and not ended. Growing with steady traffic: something behind the model hangs.",
            units.Short,
            [query(f"sum({here(catalog.CALLS_ACTIVE)})", instant=True)],
            width=3,
        ),
        p.number(
            "Last start",
            "How long ago the youngest replica began. A few minutes that nobody deployed in: it crashed, or was killed.",
            units.Seconds,
            [query(f"time() - max({here(catalog.START_TIME)})", instant=True)],
            width=3,
        ).decimals(0),
        judged(
            "Age",
            "Since the training of the oldest version chosen. Orange: MlmonModelStale; red: MlmonRetrainingDue.",
            units.Seconds,
            chosen(n.MODEL_AGE),
            _over(chosen(n.MODEL_AGE), "model_age"),
            width=3,
        )
        .no_value("not told")
        .decimals(0),
    ]


def _over(value: str, statistic: str) -> dict[str, str]:
    return {
        severity: f"({value} > on ({n.MODEL}) {n.selector(n.THRESHOLD, statistic=statistic, severity=severity)})"
        for severity in ("warning", "critical")
    }


def _timeline() -> Panel:
    return p.states(
        "State of each layer",
        "Fine, a warning fires, or a critical alert fires. Serving alone is red: stay here. Drift or data quality turned first: "
        "their dashboards have the cause (*mlmon* at the top right keeps model and time).",
        [query(f"max by (layer) ({chosen(n.STATE)})", "{{layer}}")],
        height=6,
    )


def _versions() -> Panel:
    told = ("task", "dataset", "code_revision", "environment", "library_version")
    calls = f"sum by (model_version) (rate({here(catalog.CALLS)}[{_RECENT}]))"
    panel = p.rows(
        "Versions",
        f"Versions side by side. *Share*: of the calls of the last {_RECENT}. Two versions that both serve for long raise "
        "MlmonVersionSkew. Failed share, p99 and budget decide whether to go on with a roll-out.",
        [
            query(f"max by (model_version, {', '.join(told)}) ({chosen(catalog.MODEL_INFO.prometheus_name)})", table=True),
            query(f"count by (model_version) (group by ({_BY_REPLICA}) ({here(catalog.START_TIME)}))", table=True),
            query(f"{calls} / on () group_left () (sum({calls}) > 0)", table=True),
            query(f"max by (model_version) ({chosen(n.ERROR_RATIO, window=_HOUR)})", table=True),
            query(f"max by (model_version) ({chosen(n.LATENCY)})", table=True),
            query(f"min by (model_version) ({chosen(n.BUDGET_RATIO)})", table=True),
            query(f"max by (model_version) ({chosen(n.MODEL_AGE)})", table=True),
            query(f"max by (model_version) ({chosen(n.REFERENCE_AGE)})", table=True),
        ],
        height=5,
    )
    names = ("Replicas", "Share", "Failed 1h", "p99", "Budget left", "Age", "Age of reference")
    renamed = {"model_version": "Version"} | {f"Value #{letter}": name for letter, name in zip("BCDEFGH", names, strict=True)}
    texts = dict(zip(told, ("Task", "Dataset", "Revision", "Environment", "otel-mlmon"), strict=True))
    panel = arranged(transformed(panel, "merge"), renamed=renamed | texts, hidden=("Value #A",))
    for name in ("Share", "Failed 1h", "Budget left"):
        panel = column(panel, name, unit=units.PercentUnit, decimals=None if name == "Failed 1h" else 0, width=95)
    panel = column(panel, "p99", unit=units.Seconds, width=80)
    for name in ("Age", "Age of reference"):
        panel = column(panel, name, unit=units.Seconds, decimals=0, width=95 if name == "Age" else 130)
    panel = column(panel, "Replicas", width=80)
    panel = column(panel, "^(Version|Task|Dataset|Revision|Environment|otel-mlmon)$", pattern=True, custom_minWidth=90)
    return panel.sort_by([p.sorted_by("Version", descending=True)])


def _replicas() -> Panel:
    def recent(family: catalog.MetricFamily, **where: str) -> str:
        return f"sum by ({_BY_REPLICA}) (rate({here(family, **where)}[{_RECENT}]))"

    buckets = f"sum by ({_BY_REPLICA}, le) (rate({here(catalog.CALL_DURATION, '_bucket')}[{_RECENT}]))"
    modes = f"max by ({_BY_REPLICA}, cpu_mode) ({here(catalog.PROCESS_CPU_UTILIZATION)})"
    ended = recent(catalog.CALLS, status="=~ok|error")
    seen = f"max by ({_BY_REPLICA}) (last_over_time({here(catalog.START_TIME)}[{_HOUR}]))"
    panel = p.rows(
        "Replicas",
        f"One row a replica, of the last {_RECENT}: a sick one differs from the others. Gone: scraped within the last hour, but "
        "not now. *Restarts*: of the last hour. A click on a replica shows it alone in all panels below and above but the recorded "
        "ones (failed calls, budget, p99).",
        [
            query(
                f"({seen} * 0 + 1 and on ({_BY_REPLICA}) {here(catalog.START_TIME)}) or on ({_BY_REPLICA}) {seen} * 0", table=True
            ),
            query(f"time() - {seen}", table=True),
            query(f"sum by ({_BY_REPLICA}) (changes({here(catalog.START_TIME)}[{_HOUR}]))", table=True),
            query(recent(catalog.CALLS), table=True),
            query(f"{recent(catalog.CALLS, status='error')} / on ({_BY_REPLICA}) ({ended} > 0)", table=True),
            query(f"histogram_quantile(0.99, {buckets}) >= 0", table=True),
            query(f"max by ({_BY_REPLICA}) ({here(catalog.CALLS_ACTIVE)})", table=True),
            query(f"sum by ({_BY_REPLICA}) ({modes})", table=True),
            query(f"max by ({_BY_REPLICA}) ({here(catalog.PROCESS_MEMORY_USAGE)})", table=True),
            query(f"max by ({_BY_REPLICA}) ({here(catalog.QUEUE_ROWS)})", table=True),
            query(f"(time() - max by ({_BY_REPLICA}) ({here(catalog.LAST_CALL_TIME)} > 0))", table=True),
        ],
        height=8,
    )
    titles = ("State", "Up for", "Restarts", "Calls", "Failed", "p99", "In flight", "CPU", "Memory", "Queued rows", "Last call")
    renamed = {REPLICA: "Replica", "model_version": "Version"}
    renamed |= {f"Value #{letter}": title for letter, title in zip("ABCDEFGHIJK", titles, strict=True)}
    panel = arranged(transformed(panel, "merge"), renamed=renamed)
    return _looks(panel).sort_by([p.sorted_by("Failed", descending=True)])


def _looks(panel: table.Panel) -> table.Panel:
    own = "/d/mlmon-model?${__url_time_range}&${datasource:queryparam}&${model_name:queryparam}&${model_version:queryparam}"
    alone = {"title": "This replica alone", "url": f"{own}&var-{REPLICA}=${{__data.fields.Replica:percentencode}}"}
    panel = column(panel, "Replica", links=[alone])
    panel = column(
        panel, "State", mapping=words(("1", "up", FINE), ("0", "gone", WARNING)), coloured=True, width=70, custom_align="left"
    )
    panel = column(panel, "Restarts", thresholds=steps("text", (1, WARNING)), custom_cellOptions={"type": "color-text"})
    for name, unit, decimals in (
        ("Up for", units.Seconds, 0),
        ("Calls", units.RequestsPerSecond, 1),
        ("Failed", units.PercentUnit, 1),
        ("p99", units.Seconds, None),
        ("CPU", units.PercentUnit, 0),
        ("Memory", units.BytesIEC, None),
        ("Last call", units.Seconds, 0),
    ):
        panel = column(panel, name, unit=unit, decimals=decimals, width=100)
    for name in ("Restarts", "In flight", "Queued rows"):
        panel = column(panel, name, width=105)
    return panel


def _training() -> list[Panel]:
    results = words(("True", "passed", FINE), ("False", "failed", CRITICAL))
    evaluation = p.rows(
        "Evaluation of the training",
        "Metrics that the training reported, by version: is the new version expected to be better?",
        [query(f"max by (model_version, metric) ({chosen(catalog.MODEL_EVALUATION.prometheus_name)})", table=True)],
        width=12,
        height=7,
    ).no_value("the training reported none")
    validation = p.rows(
        "Validation before release",
        "Results of the checks before release, by version.",
        [query(f"max by (model_version, check, result) ({chosen(catalog.MODEL_VALIDATION.prometheus_name)})", table=True)],
        width=12,
        height=7,
    ).no_value("the training reported none")
    evaluation = arranged(evaluation, renamed={"model_version": "Version", "metric": "Metric", "Value": "Result"})
    validation = arranged(validation, renamed={"model_version": "Version", "check": "Check", "result": "Result"}, hidden=("Value",))
    return [column(evaluation, "Result", decimals=4), column(validation, "Result", mapping=results, coloured=True)]
