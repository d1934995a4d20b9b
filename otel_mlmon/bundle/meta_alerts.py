"""Alerts on the monitoring itself: its losses, its targets, its size, its rules."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import COUNT, SHARE, WHO, alert, single
from otel_mlmon.bundle.lifecycle_rules import REMEMBERED
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_alerts import dropped
from otel_mlmon.bundle.yaml_text import Rule
from otel_mlmon.thresholds import FAILED_EXPORTS_RATIO, RULES_BUSY_RATIO

_WINDOW = "15m"
_FAILING = {"warning": "5m", "critical": "20m"}
"""Severity -> how long rules must be seen to fail: one failed evaluation, seen for ``_WINDOW``, pages nobody.

Of groups that are evaluated more seldom than that, for eyes and for learning, nobody is paged.
"""
_GROUP = "job, instance, rule_group"
_RULES = "{{ $labels.rule_group }}"


def meta(options: RuleOptions) -> list[Rule]:
    """Alerts of the layer ``meta``.

    Args:
        options: Waiting times' scale, addresses.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    return [_watchdog(options), *_targets(options), _absent(options), *dropped(options), *_own(options), *_rules(options)]


def _watchdog(options: RuleOptions) -> Rule:
    return alert(
        "MlmonWatchdog",
        "vector(1)",
        options,
        severity="none",
        layer="meta",
        about=(),
        summary="Alerting works.",
        description="This alert always fires. Where it no longer arrives, no other one does.",
    )


def _targets(options: RuleOptions) -> list[Rule]:
    """Whatever the job is called: a target that has exported a model of late."""
    up, down = (f"({n.TARGET} and on (job, instance) (max by (job, instance) ({n.UP}) == {value}))" for value in (1, 0))
    return [
        alert(
            "MlmonTargetDown",
            down,
            options,
            wait="10m",
            keep="10m",
            severity="warning",
            layer="meta",
            about=("model_name",),
            summary="A target of {{ $labels.model_name }} cannot be scraped.",
            description=f"{{{{ $labels.instance }}}} (job {{{{ $labels.job }}}}) exported it within the last {REMEMBERED}.",
        ),
        alert(
            "MlmonTargetDown",
            f"count by (model_name) {down}\nunless on (model_name)\n  count by (model_name) {up}",
            options,
            wait="5m",
            keep="5m",
            severity="critical",
            layer="meta",
            about=("model_name",),
            summary="No target of {{ $labels.model_name }} can be scraped.",
            description=f"All {COUNT} that are known are down: nothing is measured.",
        ),
    ]


def _absent(options: RuleOptions) -> Rule:
    """By the model's name only, so that a version that was replaced is not missed.

    Unless it is usual: known the day before, it was away at this hour, as what sleeps at night is. In the first day nobody knows
    what is usual.
    """
    start = catalog.START_TIME.prometheus_name
    day = options.scaled("1d")
    return alert(
        "MlmonMetricsAbsent",
        f"""
group by (model_name) (last_over_time({n.KNOWN}[{options.scaled(REMEMBERED)}]))
unless on (model_name)
  group by (model_name) (last_over_time({start}[{options.lookback}]))
unless on (model_name) (
    group by (model_name) (last_over_time({n.KNOWN}[{day}] offset {day}))
  unless on (model_name)
    group by (model_name) (last_over_time({start}[{options.lookback}] offset {day}))
)""",
        options,
        wait="15m",
        keep="15m",
        severity="critical",
        layer="meta",
        about=("model_name",),
        summary="{{ $labels.model_name }} has vanished from the monitoring.",
        description=f"Within the last {REMEMBERED} it exported metrics; now no replica does, and that is not usual.",
    )


def _own(options: RuleOptions) -> list[Rule]:
    """What the monitors say of themselves."""
    errors, exports = (family.prometheus_name for family in (catalog.INTERNAL_ERRORS, catalog.EXPORTS))
    span = options.rate_range(_WINDOW)
    failed, tried = (
        f"sum by ({n.MODEL}) (increase({selector}[{span}]))" for selector in (n.selector(exports, status="failed"), exports)
    )
    return [
        alert(
            "MlmonInternalErrors",
            # Exports that failed have an alert of their own.
            f"sum by ({n.MODEL}, where) (increase({n.selector(errors, where='!=export')}[{span}])) > 0",
            options,
            wait="5m",
            keep="1h",
            severity="warning",
            layer="meta",
            summary=f"The monitor of {WHO} has caught errors of its own ({{{{ $labels.where }}}}).",
            description=f"About {COUNT} in the last {_WINDOW}. The model is not touched; what the monitor sees may be incomplete.",
        ),
        alert(
            "MlmonExportFailing",
            f"{failed}\n  / on ({n.MODEL})\n({tried} > 0)\n  > {FAILED_EXPORTS_RATIO:g}",
            options,
            wait="10m",
            keep="15m",
            severity="warning",
            layer="meta",
            summary=f"{WHO} cannot export its metrics over OTLP.",
            description=f"A share of {SHARE} of the exports of the last {_WINDOW} failed.",
        ),
        alert(
            "MlmonCardinalityHigh",
            f"max by ({n.MODEL}) ({catalog.SERIES.prometheus_name}) > on ({n.MODEL}) {single('series')}",
            options,
            wait="30m",
            keep="30m",
            severity="warning",
            layer="meta",
            summary=f"A process of {WHO} exposes very many series.",
            description=f"It exposes {COUNT} of them.",
        ),
    ]


def _rules(options: RuleOptions) -> list[Rule]:
    """What Prometheus says of these very rules, if it scrapes itself."""
    failures, took, interval = (
        n.selector(name, rule_group=n.OUR_GROUPS) for name in (n.RULE_FAILURES, n.RULE_DURATION, n.RULE_INTERVAL)
    )
    return [
        *(
            alert(
                "MlmonRuleEvaluationFailing",
                f"sum by ({_GROUP}) (increase({failures}[{options.rate_range(_WINDOW)}])) > 0",
                options,
                wait=wait,
                keep="15m",
                severity=severity,
                layer="meta",
                about=(),
                summary=f"Rules of {_RULES} cannot be evaluated.",
                description=f"About {COUNT} evaluations failed in the last {_WINDOW}: what rests on them cannot alarm.",
            )
            for severity, wait in _FAILING.items()
        ),
        alert(
            "MlmonRulesSlow",
            f"max by ({_GROUP}) ({took})\n  / on ({_GROUP})\n(max by ({_GROUP}) ({interval}) > 0)\n  > {RULES_BUSY_RATIO:g}",
            options,
            wait="15m",
            keep="15m",
            severity="warning",
            layer="meta",
            about=(),
            summary=f"Rules of {_RULES} take nearly as long as their interval.",
            description=f"Evaluation takes a share of {SHARE} of it; beyond 1 evaluations are left out.",
        ),
    ]
