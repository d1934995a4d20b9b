"""Are the model's inputs as they should be: which feature is missing, invalid, out of range or new, since when, how much?"""

from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana import feature_parts
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.alert_list import alert_list
from otel_mlmon.bundle.grafana.boards.model import MODEL_NAME
from otel_mlmon.bundle.grafana.colours import FINE, WARNING, steps, words
from otel_mlmon.bundle.grafana.frame import MODEL_VERSION, Board, Panel, Section
from otel_mlmon.bundle.grafana.judged import against, judged
from otel_mlmon.bundle.grafana.queries import RATE, Variable, chosen, query, ranked
from otel_mlmon.bundle.grafana.shares import (
    INVALID,
    MISSING,
    OUT_OF_RANGE,
    PROBLEM,
    SHARES,
    STATE_WORDS,
    UNSEEN,
    Share,
    enough,
    state,
)
from otel_mlmon.bundle.grafana.tables import arranged, column, link, transformed
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import QUALITY_WINDOW
from otel_mlmon.thresholds import SEVERITIES

_NOTABLE = 0.25
"""Part of its warning threshold from which on a feature is drawn among all: fifty quiet ones would hide it."""


def board(options: RuleOptions) -> Board:
    """The dashboard ``mlmon-data-quality``."""
    return Board(
        uid="mlmon-data-quality",
        title="Data quality",
        about="Are the model's inputs as they should be: missing, invalid, out of range or new values; rows that break the schema.",
        since="1d",
        variables=(MODEL_NAME, MODEL_VERSION, _feature(options)),
        sections=[
            Section("", [*_numbers(options), _features(options)]),
            Section("What stands out, since when", [*(_over_time(share, options) for share in SHARES), _violations()]),
            Section("One feature: $feature", feature_parts.panels(options)),
            Section("Rows", _rows()),
            Section("Alerts", [alert_list(options, layer="data_quality")], collapsed=True),
        ],
    )


def _feature(options: RuleOptions) -> Variable:
    return ranked("feature", "Feature", f"max by (feature) (\n{state(options)}\n)", multi=True)


def _numbers(options: RuleOptions) -> list[Panel]:
    fast, _ = options.pairs[0]
    problems = f"count(({state(options)}) >= {PROBLEM}) or sum({chosen(n.KNOWN)}) * 0"
    return [
        p.number(
            "Bad features",
            "Features of which a share exceeds its threshold in both windows of the alerts, or that stand still. Which: below.",
            units.Short,
            [query(problems, instant=True)],
            thresholds=steps(FINE, (1, WARNING)),
        ).mappings([words(("0", "none", FINE))]),
        _worst("Missing", f"Greatest rise of the share of missing values over training's, last {fast}.", MISSING, options),
        _worst("Invalid", f"Greatest share of values that break the schema, last {fast}.", INVALID, options),
        _worst("Out of range", f"Greatest share of values outside what training had, last {fast}.", OUT_OF_RANGE, options),
        _worst(
            "New categories", f"Greatest rise of the share of categories that training did not have, last {fast}.", UNSEEN, options
        ).no_value("no categories"),
        judged(
            "Violations",
            f"Greatest share of rows that fail a check of the schema as a whole, last {QUALITY_WINDOW}: a missing column comes "
            "from a client of another version.",
            units.PercentUnit,
            chosen(n.VIOLATION_RATIO, window=QUALITY_WINDOW),
            _of_model(n.VIOLATION_RATIO, "schema_violation_ratio"),
            by="check",
        ).no_value("not known"),
    ]


def _worst(title: str, about: str, share: Share, options: RuleOptions) -> stat.Panel:
    fast, _ = options.pairs[0]
    judge = (
        "Coloured by the feature's own thresholds; the alert asks the same of a longer window. Not known: fewer rows than the "
        "threshold min_samples, or no reference."
    )
    guard = f"and on ({n.FEATURE}) {enough(fast)}"
    over = {severity: f"({share.over(severity, fast)} {guard})" for severity in SEVERITIES}
    panel = judged(title, f"{about} {judge}", units.PercentUnit, f"(({share.risen(fast)} >= 0) {guard})", over, by="feature")
    return panel.no_value("not known").decimals(1)


def _of_model(recorded: str, statistic: str) -> dict[str, str]:
    limits = {severity: n.selector(n.THRESHOLD, statistic=statistic, severity=severity) for severity in SEVERITIES}
    share = chosen(recorded, window=QUALITY_WINDOW)
    return {severity: f"({share} > on ({n.MODEL}) group_left () {limit})" for severity, limit in limits.items()}


def _features(options: RuleOptions) -> Panel:
    fast, slow = options.pairs[0]
    by = n.FEATURE

    def share(recorded: str) -> str:
        return f"max by ({by}) ({chosen(recorded, window=fast)})"

    def reference(recorded: str) -> str:
        return f"round(max by ({by}) ({chosen(recorded)}), 0.0001)"

    columns = {
        "State": f"max by ({by}) ({state(options)})",
        "Rows": f"max by ({by}) ({chosen(n.FEATURE_ROWS, window=fast)})",
        "Missing": share(n.MISSING_RATIO),
        "Missing (training)": reference(n.REFERENCE_MISSING),
        "Invalid": share(n.INVALID_RATIO),
        "Out of range": share(n.OUT_OF_RANGE_RATIO),
        "New categories": share(n.UNSEEN_RATIO),
        "New (training)": reference(n.REFERENCE_UNSEEN),
        "Outliers": share(n.OUTLIERS_RATIO),
        "Outliers (training)": reference(catalog.REFERENCE_OUTLIERS.prometheus_name),
    }
    panel = p.rows(
        "Features",
        f"One row a feature, worst first, shares of its values of the last {fast}. *State* judges them by the feature's own "
        f"thresholds over the last {fast} and {slow}, as the alerts do (those ask for enough values, too); without a reference "
        "invalid values only. *Outliers*: beyond Tukey's fences; no alert. A click on a feature shows it below; on "
        "its state, its drift.",
        [query(expression, table=True) for expression in columns.values()],
        height=11,
    )
    renamed = {"feature": "Feature", "model_name": "Model", "model_version": "Version"}
    renamed |= {f"Value #{letter}": title for letter, title in zip("ABCDEFGHIJ", columns, strict=True)}
    panel = arranged(transformed(panel, "merge"), renamed=renamed)
    its = {"model_name": "Model", "model_version": "Version", "feature": "Feature"}
    here, drift = link("Show it below", "mlmon-data-quality", **its), link("Its drift", "mlmon-drift", **its)
    panel = column(panel, "Feature", links=[here, drift])
    panel = column(panel, "State", mapping=STATE_WORDS, coloured=True, links=[drift], width=165, custom_align="left")
    panel = column(panel, "Model", width=110)
    panel = column(panel, "Version", width=80)
    panel = column(panel, "Rows", unit=units.LocaleFormat, decimals=0, width=80)
    for title in list(columns)[2:]:
        decimals = 2 if "training" in title else None
        panel = column(panel, title, unit=units.PercentUnit, decimals=decimals, width=40 + 6 * len(title))
    return panel.sort_by([p.sorted_by("State", descending=True)])


def _over_time(share: Share, options: RuleOptions) -> Panel:
    fast, _ = options.pairs[0]
    notable = f"{share.risen(fast)} > on ({n.FEATURE}) {_NOTABLE:g} * {share.limit('warning')} and on ({n.FEATURE}) {enough(fast)}"
    what = f"Rise over training's share of {share.word} values" if share.usual else f"Share of {share.word} values"
    return against(
        share.word.capitalize(),
        f"{what.replace('categories values', 'categories')} ({fast}), features above a quarter of their warning threshold and with "
        "enough rows only; dashed: the least thresholds of the chosen features. Several features at the same moment: their common "
        "source. One: its own.",
        units.PercentUnit,
        [query(notable, "{{feature}} {{model_version}}")],
        chosen(n.SHARE_THRESHOLD, statistic=share.statistic),
    )


def _violations() -> Panel:
    return against(
        "Schema violations",
        f"Share of rows that fail a check of the schema as a whole ({QUALITY_WINDOW}), by check. Begins with a release: of a "
        "client, or of the model.",
        units.PercentUnit,
        [query(chosen(n.VIOLATION_RATIO, window=QUALITY_WINDOW), "{{check}} {{model_version}}")],
        chosen(n.THRESHOLD, statistic="schema_violation_ratio"),
        width=24,
    )


def _rows() -> list[Panel]:
    return [
        p.graph(
            "Rows",
            "Rows predicted a second, by version. Shares of few rows jump: compare with the threshold min_samples.",
            units.RowsPerSecond,
            [query(f"sum by (model_version) (rate({chosen(catalog.PREDICTIONS.prometheus_name)}[{RATE}]))", "{{model_version}}")],
        ),
        against(
            "Rows not counted",
            f"Share of rows dropped before they were counted ({QUALITY_WINDOW}), by reason. The queue was full, or rows could not "
            "be read.",
            units.PercentUnit,
            [query(chosen(n.DROPPED_RATIO, window=QUALITY_WINDOW), "{{reason}} {{model_version}}")],
            chosen(n.THRESHOLD, statistic="rows_dropped_ratio"),
        ),
    ]
