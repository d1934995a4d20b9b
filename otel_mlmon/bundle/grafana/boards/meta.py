"""Is the monitoring itself healthy: what it leaves out, what it costs, whether it still tells anybody."""

from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.alert_list import alert_list
from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, WARNING, limits, steps, words
from otel_mlmon.bundle.grafana.frame import Board, Panel, Section
from otel_mlmon.bundle.grafana.queries import RATE, chosen, query
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.thresholds import RULES_BUSY_RATIO

WHO = "{{model_name}} {{model_version}}"
REPLICA = "{{model_name}} {{model_version}} {{instance}}"
HOUR = "1h"
PER_MINUTE = "suffix: /min"
"""Of what is rare: a rate a second would be all zeros."""

_TARGET = "job, instance"
_ITSELF = "Only where Prometheus scrapes itself."
_OTLP = "Only where models export over OTLP."


def board(options: RuleOptions) -> Board:
    """The dashboard ``mlmon-meta``."""
    return Board(
        uid="mlmon-meta",
        title="Monitoring itself",
        about="Is the monitoring itself healthy: what it leaves out, what it costs, whether it still tells anybody.",
        sections=[
            Section("", [*_numbers(options), alert_list(options, layer="meta", height=6)]),
            Section("What is left out", _left_out()),
            Section("What it costs", _costs(options)),
            Section("Replicas", _replicas()),
            Section("Rules", _rules()),
            Section("OTLP and prediction log", [*_exports(), _logs()], collapsed=True),
        ],
    )


def _known() -> str:
    """0 as long as some model is known: nothing to count is then good news, not missing data."""
    return f"sum({chosen(n.KNOWN)}) * 0"


def _numbers(options: RuleOptions) -> list[Panel]:
    targets = n.selector(n.TARGET, model_name="=~$model_name")
    watchdog = n.selector(n.ALERTS, alertname="MlmonWatchdog", alertstate="firing")
    down = f"({n.UP} == 0) and on ({_TARGET}) {targets}"
    errors = chosen(catalog.INTERNAL_ERRORS.prometheus_name)
    return [
        p.number(
            "Watchdog",
            "An alert that always fires: *silent* means that no alert of ours would reach anybody. Check that "
            "Prometheus runs and has loaded the rules.",
            units.NoUnit,
            [query(f"clamp_max(count({watchdog}), 1) or vector(0)", instant=True)],
            thresholds=steps(CRITICAL, (1, FINE)),
            width=3,
        ).mappings([words(("0", "silent", CRITICAL), ("1", "alive", FINE))]),
        p.number(
            "Replicas",
            "Processes, or groups that share a folder, that report now.",
            units.Short,
            [query(f"count({chosen(catalog.START_TIME.prometheus_name)})", instant=True)],
            width=3,
        ),
        p.number(
            "Targets down",
            "Scrape targets that served one of our models lately and cannot be scraped now: of MlmonTargetDown. What they count is "
            "missing until they are back. Models that export over OTLP have no targets.",
            units.Short,
            [query(f"count({down}) or {_known()}", instant=True)],
            thresholds=steps(FINE, (1, WARNING)),
        ),
        p.number(
            "Not counted",
            f"Share of rows dropped in the last {HOUR}, of the worst version. Statistics are of the others, so a share of them at "
            "random does no harm; *Rows dropped* tells the reason.",
            units.PercentUnit,
            [query(f"max(sum by ({n.MODEL}) ({chosen(n.DROPPED_RATIO)}))", instant=True)],
            thresholds=limits(options, "rows_dropped_ratio"),
        ).decimals(2),
        p.number(
            "Internal errors",
            f"Errors of ours in the last {HOUR}; the model's callers never see them. *Internal errors by place* and the log, which "
            "names each cause once, tell where.",
            units.Short,
            [query(f"sum(increase({errors}[{HOUR}])) or {_known()}", instant=True)],
            thresholds=steps(FINE, (1, WARNING)),
        ).decimals(0),
        p.number(
            "Last call",
            "How long ago the version that is silent longest ended its last call. Long for a model that is in use: look at its "
            "traffic.",
            units.Seconds,
            [query(f"max(time() - max by ({n.MODEL}) ({chosen(catalog.LAST_CALL_TIME.prometheus_name)}))", instant=True)],
            width=3,
        ).decimals(0),
        p.number(
            "Series",
            "Series that one process exposes, of the greatest. Fewer: `feature_histograms=False`, "
            "`expose_reference=False`, fewer bins.",
            units.Short,
            [query(f"max({chosen(catalog.SERIES.prometheus_name)})", instant=True)],
            thresholds=steps(FINE, (options.threshold("series", "warning"), WARNING)),
            width=3,
        ),
    ]


def _left_out() -> list[Panel]:
    dropped, waiting, errors = (
        chosen(family.prometheus_name) for family in (catalog.ROWS_DROPPED, catalog.QUEUE_ROWS, catalog.INTERNAL_ERRORS)
    )
    return [
        p.graph(
            "Rows dropped",
            "Rows a second that were not counted, by reason. `queue_full`: the worker does not keep up, see *Worker*. `error`: "
            "counting them failed, see *Internal errors*. `learning`: a reference was being learned.",
            units.RowsPerSecond,
            [query(f"sum by ({n.MODEL}, reason) (rate({dropped}[{RATE}]))", f"{WHO} {{{{reason}}}}")],
        ).axis_soft_max(1),
        p.graph(
            "Rows waiting",
            "Rows in the queue of the fullest replica. It holds 65,536 unless set otherwise (`Settings(queue_rows=)`); "
            "beyond, rows are dropped. A saw-tooth is normal: the worker empties it each second.",
            units.Short,
            [query(f"max by ({n.MODEL}) ({waiting})", WHO)],
        ).axis_soft_max(1),
        p.graph(
            "Internal errors by place",
            "Errors of the monitoring a minute, by place. The process's log names each cause once.",
            PER_MINUTE,
            [query(f"60 * sum by ({n.MODEL}, where) (rate({errors}[{RATE}]))", f"{WHO} {{{{where}}}}")],
        ).axis_soft_max(1),
        p.graph(
            "Since the last call",
            "Time since any replica ended a call. A ramp: the model is no longer asked, or its callers cannot reach it.",
            units.Seconds,
            [query(f"time() - max by ({n.MODEL}) ({chosen(catalog.LAST_CALL_TIME.prometheus_name)})", WHO)],
        ),
    ]


def _costs(options: RuleOptions) -> list[Panel]:
    worker, rows, duration, series = (
        chosen(name)
        for name in (
            catalog.WORKER_TIME.prometheus_name,
            catalog.PREDICTIONS.prometheus_name,
            f"{catalog.CALL_DURATION.prometheus_name}_sum",
            catalog.SERIES.prometheus_name,
        )
    )
    busy = f"sum by ({n.MODEL}) (rate({worker}[{RATE}]))"
    limit = options.threshold("series", "warning")
    return [
        p.graph(
            "Worker",
            "Share of one processor that the worker of the busiest replica takes. Towards 100 % it falls behind, and "
            "rows wait, then are dropped: more replicas, or larger batches a call.",
            units.PercentUnit,
            [query(f"max by ({n.MODEL}) (rate({worker}[{RATE}]))", WHO)],
        ),
        p.graph(
            "Worker per row",
            "Processor time that the worker takes for a predicted row.",
            units.Seconds,
            [query(f"{busy}\n  / on ({n.MODEL})\n(sum by ({n.MODEL}) (rate({rows}[{RATE}])) > 0)", WHO)],
        ),
        p.graph(
            "Overhead",
            "The worker's processor time over the time that calls take. It is spent beside the calls, not within them: "
            "a call itself waits some microseconds.",
            units.PercentUnit,
            [query(f"{busy}\n  / on ({n.MODEL})\n(sum by ({n.MODEL}) (rate({duration}[{RATE}])) > 0)", WHO)],
        ),
        p.graph(
            "Series per replica",
            "Series that a replica exposes, of the greatest. The dashed line is the shipped threshold of MlmonCardinalityHigh.",
            units.Short,
            [query(f"max by ({n.MODEL}) ({series})", WHO)],
            lines=steps("transparent", (limit, WARNING)),
        ),
    ]


def _replicas() -> list[Panel]:
    targets = n.selector(n.TARGET, model_name="=~$model_name")
    start, processes = (chosen(family.prometheus_name) for family in (catalog.START_TIME, catalog.PROCESSES))
    return [
        p.states(
            "Targets",
            "Whether each scrape target that served our models could be scraped. Down: MlmonTargetDown says what to "
            "check. Models that export over OTLP have no targets.",
            [query(f"max by ({_TARGET}) ({n.UP} and on ({_TARGET}) {targets})", "{{job}} {{instance}}")],
            height=7,
        )
        .mappings([words(("0", "down", CRITICAL), ("1", "up", FINE))])
        .no_value("no scrape targets"),
        p.graph(
            "Replicas",
            "Exposing replicas of each version.",
            units.Short,
            [query(f"count by ({n.MODEL}) ({start})", WHO)],
        ).decimals(0),
        p.graph(
            "Processes",
            "Processes behind them: workers that share a folder appear as one replica.",
            units.Short,
            [query(f"sum by ({n.MODEL}) ({processes})", WHO)],
        ).decimals(0),
    ]


def _rules() -> list[Panel]:
    took, interval, failures, missed = (
        n.selector(name, rule_group=n.OUR_GROUPS) for name in (n.RULE_DURATION, n.RULE_INTERVAL, n.RULE_FAILURES, n.RULES_MISSED)
    )
    one, group = f"on (rule_group, {_TARGET})", "{{group}}"
    graphs = [
        p.graph(
            "Rule time over interval",
            "How much of its interval the last evaluation of a group of rules took. Above the dashed line MlmonRulesSlow fires; at "
            f"100 % evaluations are left out. Fewer windows, fewer `--statistics`, a longer `--interval` help. {_ITSELF}",
            units.PercentUnit,
            [query(_by_group("max", f"{took} / {one} ({interval} > 0)"), group)],
            lines=steps("transparent", (RULES_BUSY_RATIO, WARNING)),
        ),
        p.graph(
            "Rule time",
            f"Seconds that the last evaluation of a group of rules took. {_ITSELF}",
            units.Seconds,
            [query(_by_group("max", took), group)],
        ),
        p.graph(
            "Failed rules",
            "Rules a minute whose evaluation failed: their series end, their alerts are silent. Prometheus's log and its page of "
            f"rules tell the error. {_ITSELF}",
            PER_MINUTE,
            [query(_by_group("sum", f"60 * rate({failures}[{RATE}])"), group)],
        ).axis_soft_max(1),
        p.graph(
            "Missed evaluations",
            f"Evaluations a minute left out because the one before took too long. {_ITSELF}",
            PER_MINUTE,
            [query(_by_group("sum", f"60 * rate({missed}[{RATE}])"), group)],
        ).axis_soft_max(1),
    ]
    return [each.no_value("Prometheus does not scrape itself") for each in graphs]


def _by_group(operation: str, expression: str) -> str:
    """A group's name without its file's path."""
    return f'{operation} by (group) (label_replace({expression}, "group", "$1", "rule_group", "(?:.*;)?(.+)"))'


def _exports() -> list[Panel]:
    exports, rejected, spent = (
        chosen(family.prometheus_name) for family in (catalog.EXPORTS, catalog.EXPORT_POINTS_REJECTED, catalog.EXPORT_TIME)
    )
    return [
        p.graph(
            "Exports",
            f"Exports a minute by outcome, one a period. Failed ones: the collector is away, or refuses; the log tells. {_OTLP}",
            PER_MINUTE,
            [query(f"60 * sum by ({n.MODEL}, status) (rate({exports}[{RATE}]))", f"{WHO} {{{{status}}}}")],
        ).no_value("no exports over OTLP"),
        p.graph(
            "Points rejected",
            f"Data points a minute that the receiver did not take from a request that it took: its limits. {_OTLP}",
            PER_MINUTE,
            [query(f"60 * sum by ({n.MODEL}) (rate({rejected}[{RATE}]))", WHO)],
        ).no_value("no exports over OTLP"),
        p.graph(
            "Exporting",
            f"Share of one processor that exporting takes. {_OTLP}",
            units.PercentUnit,
            [query(f"sum by ({n.MODEL}) (rate({spent}[{RATE}]))", WHO)],
        ).no_value("no exports over OTLP"),
    ]


def _logs() -> Panel:
    logs = chosen(catalog.PREDICTION_LOGS.prometheus_name)
    return p.graph(
        "Prediction logs",
        "Rows a minute sampled for the prediction log: emitted, limited (beyond its rate) or failed. Only where a model has one.",
        PER_MINUTE,
        [query(f"60 * sum by ({n.MODEL}, status) (rate({logs}[{RATE}]))", f"{WHO} {{{{status}}}}")],
    ).no_value("no prediction log")
