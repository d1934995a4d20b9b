"""Queries of panels, and the variables that they are chosen by."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from otel_mlmon.bundle import names as n

SOURCE = cm.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Whichever the reader has chosen: no address is written down."""

RATE = "$__rate_interval"
"""Range of a ``rate`` in a range query: at least four scrapes."""

Variable = Builder[dm.VariableModel]


def chosen(name: str, *, feature: bool = False, **labels: str) -> str:
    """A selector of what the reader has chosen: models, versions and, if asked for, features.

    Args:
        name: The series.
        feature: Whether it has the label ``feature``.
        labels: Further matchers, as ``names.selector`` reads them.

    >>> chosen("a", window="1h")
    'a{model_name=~"$model_name", model_version=~"$model_version", window="1h"}'
    """
    variables = (*n.MODEL_LABELS, *(("feature",) if feature else ()))
    return n.selector(name, **{label: f"=~${label}" for label in variables}, **labels)


def firing(series: str = n.ALERTS, **labels: str) -> str:
    """Our alerts of the chosen models; those of no model or no version belong to all of them.

    Args:
        series: ``ALERTS``: those that fire; or ``ALERTS_FOR_STATE``: those that may.
        labels: Further matchers.
    """
    state = {"alertstate": "firing"} if series == n.ALERTS else {}
    chosen = {label: f"=~${label}|" for label in n.MODEL_LABELS}
    return n.selector(series, alertname="=~Mlmon.+", **state, **chosen, **labels)


def warning(**labels: str) -> str:
    """The warnings that fire alone: one whose critical alert fires, too, says nothing more; matchers as of ``firing``."""
    return f"{firing(severity='warning', **labels)}\n  unless ignoring (severity)\n{firing(severity='critical', **labels)}"


def began(alerts: str, **labels: str) -> str:
    """When their conditions began to hold, in seconds.

    Args:
        alerts: Of ``ALERTS``.
        labels: As of ``firing``, of all of them.
    """
    return f"{firing(n.ALERTS_FOR_STATE, **labels)}\n  and ignoring (alertstate)\n({alerts})"


def within(quantiles: str, least: str, greatest: str) -> str:
    """Quantiles that can be: in a histogram's open bucket they read as its bound, wherever the values lie.

    Args:
        quantiles: Of features in windows.
        least, greatest: Values of the same features and windows.
    """
    each = f"on ({n.WINDOW}) group_left ()"
    return f"({quantiles} >= {each} {least} <= {each} {greatest})"


def query(
    expression: str, legend: str = "", *, instant: bool = False, table: bool = False, heatmap: bool = False, exemplars: bool = False
) -> prometheus.Dataquery:
    """One query of a panel; the panel numbers it.

    Args:
        expression: PromQL.
        legend: Name of a series, with ``{{label}}``.
        instant: Whether the last value is all that is shown.
        table: One row a series instead of one line; instant.
        heatmap: Its series are a histogram's buckets.
        exemplars: Whether exemplars are shown, too.
    """
    one = prometheus.Dataquery().expr(expression).datasource(SOURCE).legend_format(legend)
    one = one.instant() if instant or table else one.range()
    if table or heatmap:
        one = one.format(PromQueryFormat.TABLE if table else PromQueryFormat.HEATMAP)
    return one.exemplar(True) if exemplars else one


def source() -> Variable:
    """The variable ``datasource``: any Prometheus, Thanos, Mimir or VictoriaMetrics."""
    return d.DatasourceVariable("datasource").label("Data source").type("prometheus")


def values(
    label: str,
    title: str,
    series: str,
    *,
    given: Sequence[str] = (),
    multi: bool = True,
    fallback: str = ".*",
    where: str = "",
    newest: bool = False,
) -> d.QueryVariable:
    """A variable with the values that a label has.

    Args:
        label: The label, and the variable's name.
        title: What the reader sees.
        series: A series that has it, of every replica or model.
        given: Variables that are chosen before this one, which narrow it.
        multi: Whether all of them are chosen by default; else the first is. More can be chosen either way: only then does Grafana
            escape what means something else in a regular expression.
        fallback: What ``All`` matches.
        where: A further matcher.
        newest: Whether the last in natural order comes first: version 10 before 9.
    """
    matchers = ", ".join((*(f'{one}=~"${one}"' for one in given), *((where,) if where else ())))
    asked = f"label_values({series}{{{matchers}}}, {label})"
    variable = (
        d.QueryVariable(label)
        .label(title)
        .datasource(SOURCE)
        .query({"query": asked, "refId": "variable", "qryType": 1})
        .definition(asked)
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dm.VariableSort.NATURAL_DESC if newest else dm.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(multi)
    )
    if not multi:
        return variable
    return variable.all_value(fallback).current(dm.VariableOption(selected=True, text="All", value="$__all"))


def ranked(label: str, title: str, expression: str, *, multi: bool) -> Variable:
    """A variable with the values that a label has, the worst first: it is what a reader sees who has chosen none.

    Args:
        label: The label, and the variable's name.
        title: What the reader sees.
        expression: The worse, the greater.
        multi: Whether several can be chosen.
    """
    asked = f"query_result(sort_desc({expression}))"
    return (
        d.QueryVariable(label)
        .label(title)
        .datasource(SOURCE)
        .query({"query": asked, "refId": "variable", "qryType": 3})
        .definition(asked)
        .regex(f'/{label}="([^"]*)"/')
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dm.VariableSort.DISABLED)
        .multi(multi)
        .include_all(False)
    )


def choice(name: str, title: str, options: Sequence[str], default: str) -> Variable:
    """A variable with a few fixed values, of which one is chosen.

    Args:
        name: The variable's.
        title: What the reader sees.
        options: The values.
        default: One of them.
    """
    offered = [dm.VariableOption(selected=one == default, text=one, value=one) for one in options]
    current = dm.VariableOption(selected=True, text=default, value=default)
    return d.CustomVariable(name).label(title).values(",".join(options)).options(offered).current(current)
