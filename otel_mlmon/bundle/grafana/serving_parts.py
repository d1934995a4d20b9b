"""Panels about a model's calls over time: traffic, errors, latency, by version and by replica; the HTTP requests around them."""

from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.colours import CRITICAL, steps
from otel_mlmon.bundle.grafana.frame import Panel
from otel_mlmon.bundle.grafana.judged import against, logarithmic
from otel_mlmon.bundle.grafana.machine_parts import REPLICA, gauge, here
from otel_mlmon.bundle.grafana.queries import RATE, chosen, query
from otel_mlmon.thresholds import BURN_RATES

_VERSION = "{{model_version}}"
_QUANTILES = (0.5, 0.95, 0.99)


def graphs() -> list[Panel]:
    """Traffic, errors and latency, versions side by side."""
    return [
        p.graph(
            "Calls",
            "Calls that ended, by version and outcome. A step from one version to another is a roll-out; zero at a usual hour is "
            "an outage in front of the model.",
            units.RequestsPerSecond,
            [query(_rate(catalog.CALLS, "model_version, status"), f"{_VERSION} {{{{status}}}}")],
        ),
        p.graph(
            "Errors by class",
            "Calls that raised, by version and class of the exception. One class only: its cause is one. All classes at once: the "
            "process or its machine is ill.",
            units.RequestsPerSecond,
            [query(_rate(catalog.CALL_ERRORS, "model_version, error_type"), f"{_VERSION} {{{{error_type}}}}")],
        ).no_value("no call raised, or no data"),
        _latency(),
        p.density(
            "Durations of calls",
            "How many calls took how long; the scale below tells the colours. Two bands: two kinds of calls, or a cache. A dot is "
            "a call with a trace: open it.",
            units.Seconds,
            [
                query(
                    f"sum by (le) (increase({here(catalog.CALL_DURATION, '_bucket')}[{RATE}]))",
                    "{{le}}",
                    heatmap=True,
                    exemplars=True,
                )
            ],
        ),
        *_burn(),
        p.graph(
            "Rows per call",
            "Rows predicted by a call that succeeded, on average. Larger batches explain a longer latency.",
            units.Short,
            [
                query(
                    f"{_rate(catalog.PREDICTIONS, 'model_version')} / on (model_version) "
                    f"({_rate(catalog.CALLS, 'model_version', status='ok')} > 0)",
                    _VERSION,
                )
            ],
            width=6,
        ),
        p.graph(
            "Calls in flight",
            "Calls that have begun and not ended, by version. Growing with steady traffic: something behind the model hangs.",
            units.Short,
            [query(f"sum by (model_version) ({here(catalog.CALLS_ACTIVE)})", _VERSION)],
            width=6,
        ).axis_soft_max(1),
    ]


def replicas() -> list[Panel]:
    """The same by replica: is it one of them, or all?"""
    buckets = f"sum by ({REPLICA}, le) (rate({here(catalog.CALL_DURATION, '_bucket')}[{RATE}]))"
    ended = _rate(catalog.CALLS, REPLICA, status="=~ok|error")
    return [
        p.graph(
            "Calls by replica",
            "Unequal shares: the load balancer keeps long connections, or has left one out.",
            units.RequestsPerSecond,
            [query(_rate(catalog.CALLS, REPLICA), "{{instance}}")],
        ),
        p.graph(
            "Failed share by replica",
            "One line above the others: take that replica out. All together: what they share is ill.",
            units.PercentUnit,
            [query(f"{_rate(catalog.CALLS, REPLICA, status='error')} / on ({REPLICA}) ({ended} > 0)", "{{instance}}")],
        ),
        p.graph(
            "p99 by replica",
            "One line above the others: look at its processor and machine below.",
            units.Seconds,
            [query(f"histogram_quantile(0.99, {buckets}) >= 0", "{{instance}}")],
        ),
        p.graph(
            "Uptime by replica",
            "How long the process runs. Each fall to 0 is a restart: a release if all fall in turn, a crash or a kill if one does.",
            units.Seconds,
            [query(gauge(catalog.PROCESS_UPTIME), "{{instance}}")],
        ),
    ]


def http() -> list[Panel]:
    """What the middleware counts; empty without it."""
    route = "http_request_method, http_route"
    where = "{{http_request_method}} {{http_route}}"
    failed = _rate(catalog.HTTP_REQUESTS, route, status_class="5xx")
    buckets = f"sum by ({route}, le) (rate({here(catalog.HTTP_REQUEST_DURATION, '_bucket')}[{RATE}]))"
    panels = [
        p.graph(
            "Requests by status class",
            "HTTP requests that ended. 5xx without failed calls: the service around the model is at fault. 4xx: its clients are.",
            units.RequestsPerSecond,
            [query(_rate(catalog.HTTP_REQUESTS, "status_class"), "{{status_class}}")],
        ),
        p.graph(
            "Requests by route",
            "HTTP requests by method and route template.",
            units.RequestsPerSecond,
            [query(_rate(catalog.HTTP_REQUESTS, route), where)],
        ),
        p.graph(
            "5xx by route",
            "Share of a route's requests that the server failed.",
            units.PercentUnit,
            [query(f"{failed} / on ({route}) ({_rate(catalog.HTTP_REQUESTS, route)} > 0)", where)],
            width=8,
        ),
        p.graph(
            "p99 by route",
            "Until the body was sent: what the client waits for. Much longer than the model's calls: it is not the model.",
            units.Seconds,
            [query(f"histogram_quantile(0.99, {buckets}) >= 0", where, exemplars=True)],
            width=8,
        ),
        p.graph(
            "Requests in flight",
            "Requests that have begun and not ended, by replica.",
            units.Short,
            [query(f"sum by ({REPLICA}) ({here(catalog.HTTP_REQUESTS_ACTIVE)})", "{{instance}}")],
            width=8,
        ).axis_soft_max(1),
    ]
    return [panel.no_value("no HTTP requests: is the middleware in place?") for panel in panels]


def _rate(family: catalog.MetricFamily, by: str, **where: str) -> str:
    return f"sum by ({by}) (rate({here(family, **where)}[{RATE}]))"


def _latency() -> Panel:
    buckets = f"sum by (model_version, le) (rate({here(catalog.CALL_DURATION, '_bucket')}[{RATE}]))"
    quantiles = [
        query(
            f"histogram_quantile({quantile:g}, {buckets}) >= 0",
            f"{_VERSION} p{100 * quantile:.0f}",
            exemplars=quantile == _QUANTILES[-1],
        )
        for quantile in _QUANTILES
    ]
    panel = against(
        "Latency",
        "Quantiles of a call's duration by version; a dot is a call with a trace. Dashed: the model's thresholds, above which the "
        "p99 of five minutes raises MlmonLatencyHigh. p50 steady and p99 up: a part of the calls, a lock, a cold cache. Both up: "
        "too little capacity, or a heavier model. The axis is logarithmic.",
        units.Seconds,
        quantiles,
        chosen(n.THRESHOLD, statistic="latency_p99"),
    )
    return logarithmic(panel)


def _burn() -> list[Panel]:
    """One line a slow window: the rates that they are compared with lie far apart, so each line is over its own."""
    queries = [
        query(
            f"max by (window) ({chosen(n.BURN_RATE, window=slow)}) / {rate:g}",
            f"{slow}, {verb} at {rate:g}",
        )
        for severity, verb in (("critical", "pages"), ("warning", "warns"))
        for rate, slow, _ in BURN_RATES[severity]
    ]
    return [
        p.graph(
            "Error budget burn",
            "How fast the budget is spent, over the rate at which MlmonErrorBudgetBurn fires, of the version that is worst. Above "
            "the line in a window (and in a shorter one, so that it ends soon after the errors do) it fires. The 1h line first: an "
            "outage. Only the long ones: a slow leak, for the morning.",
            units.Short,
            queries,
            lines=steps("transparent", (1, CRITICAL)),
        ).decimals(2)
    ]
