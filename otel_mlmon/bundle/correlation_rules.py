"""Recording rules of concept drift: how features are related to outputs and labels, now and in the reference.

Sources:
    Pearson (1895), doi:10.1098/rspl.1895.0041, on standardised values (z) and on midranks (u), where it is Spearman's: Kendall,
    Rank Correlation Methods (1970), chapter 3. Differences on Fisher's scale: Fisher (1915), doi:10.1093/biomet/10.4.507; their
    variance, of Spearman's coefficient 1.06 times as much: Fieller, Hartley & Pearson (1957), doi:10.1093/biomet/44.3-4.470.
"""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import enough
from otel_mlmon.bundle.drift_rules import in_both
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import CORRELATION_SIGMAS, MARGIN, SEVERITIES

_VARIANCE = {"z": 1.0, "u": 1.06}
_CONSTANT = 1e-12  # a variance below is rounding
_GREATEST = 0.999999
_WINDOW = f"{n.PAIR}, window"


def correlations(options: RuleOptions) -> list[Rule]:
    """Correlations over the windows that alarm, their shift and the level above which it is drift.

    Args:
        options: Windows.

    Returns:
        Rules behind those of the moments' sums, in their group.
    """
    windows = "=~" + "|".join(options.alert_windows)
    match = f"on ({_WINDOW})"
    sums = {
        moment: n.selector(n.MOMENT, target="!=", window=windows, moment=moment) for moment in ("n", "f", "ff", "y", "yy", "fy")
    }
    rows = f"(sum by ({_WINDOW}) ({sums.pop('n')}) > 0)"
    f, ff, y, yy, fy = (f"({each} / {match} {rows})" for each in sums.values())
    of_feature, of_target = (f"({square} - {match} {mean} ^ 2 > {_CONSTANT:g})" for square, mean in ((ff, f), (yy, y)))
    reference = f"atanh(clamp({n.REFERENCE_CORRELATION}, -{_GREATEST}, {_GREATEST}))"
    now = f"atanh(clamp({n.CORRELATION}, -{_GREATEST}, {_GREATEST}))"
    difference = f"{now} - on ({n.PAIR}) group_left () {reference}"
    rules = [
        record(n.CORRELATION_SAMPLES, rows),
        record(
            n.CORRELATION,
            f"clamp(\n  ({fy} - {match} {f} * {match} {y})\n    / {match} sqrt({of_feature} * {match} {of_target}),\n  -1, 1\n)",
        ),
        record(n.CORRELATION_SHIFT, f"abs({difference})"),
    ]
    rules += [record(n.CORRELATION_Z, f"({difference})\n  / {match} {_error(space)}", space=space) for space in _VARIANCE]
    return [*rules, *map(_threshold, SEVERITIES), *(_drifted(severity, options) for severity in SEVERITIES)]


def _error(space: str) -> str:
    """Standard error of the difference, if rows were independent."""
    now, reference = (
        f"({n.selector(name, space=space)} - 3 > 0)" for name in (n.CORRELATION_SAMPLES, n.REFERENCE_CORRELATION_SAMPLES)
    )
    return f"sqrt({_VARIANCE[space]:g} / {now} + on ({n.PAIR}) group_left () {_VARIANCE[space]:g} / {reference})"


def _drifted(severity: str, options: RuleOptions) -> Rule:
    """Spearman's correlation, which no tail of a distribution moves; its threshold holds normal operation and chance."""
    by, over = f"{n.FEATURE}, target", {}
    for window in options.alert_windows:
        where = {"space": "u", "window": window}
        shift, limit = n.selector(n.CORRELATION_SHIFT, **where), n.selector(n.CORRELATION_THRESHOLD, severity=severity, **where)
        samples = enough(n.selector(n.CORRELATION_SAMPLES, **where))
        over[window] = f"({shift} > on ({by}) {limit}\n        and on ({by}) {samples})"
    return record(n.CORRELATION_DRIFTED, in_both(over, by, options), severity=severity)


def _threshold(severity: str) -> Rule:
    """The greatest of what the user asked for, what normal operation reaches and what chance reaches; Spearman's only."""
    where = {"statistic": "correlation_shift", "severity": severity}
    error = _error("u")
    margin = "" if MARGIN[severity] == 1 else f"{MARGIN[severity]:g} * "
    user = (
        f"{error} * 0 + on ({n.FEATURE}) group_left () {n.selector(n.FEATURE_THRESHOLD, **where)}\n"
        f"      or\n        {error} * 0 + on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, **where)}\n      "
    )
    normal = f"{margin}({n.selector(n.REFERENCE_CORRELATION_LEVEL, space='u')} and on ({_WINDOW}) {n.CORRELATION})"
    return record(
        n.CORRELATION_THRESHOLD,
        f"""
max by ({_WINDOW}) (
    {n.tagged(chr(10) + "        " + user, "user")}
  or
    {n.tagged(normal, "normal")}
  or
    {n.tagged(f"{margin}{CORRELATION_SIGMAS:g} * {error}", "chance")}
)""",
        severity=severity,
    )
