"""Recording rules of drift: windows, statistics against both baselines, and the level above which a window has drifted.

Sources:
    PSI: Kullback & Leibler (1951), doi:10.1214/aoms/1177729694, symmetric; half a count a bin: Jeffreys (1946),
    doi:10.1098/rspa.1946.0056. Wasserstein in one dimension is the area between the cumulative distributions: Vallender (1974),
    doi:10.1137/1118101; never less than the difference of the means (Kantorovich duality), which sees into the open end bins.
"""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.history_rules import normal
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.reference_rules import cumulative
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import MARGIN, MIN_COVERED, SEVERITIES

_INPUTS = "!~@.*"


def drift(options: RuleOptions) -> list[Rule]:
    """From increments per bin to drift against the training data and its threshold.

    Args:
        options: Windows, pairs, number of bins.

    Returns:
        Rules in order of dependency, behind those of increments, references and thresholds.
    """
    return [
        *_windows(options),
        *_distances(),
        *_noise(),
        normal(options),
        *_levels(options),
        *_drifted(options),
    ]


def _windows(options: RuleOptions) -> list[Rule]:
    rules = [record(n.BIN_COUNT, options.sums(n.BIN_INCREMENT, window), window=window) for window in options.windows]
    rules.append(record(n.COUNT, f"sum by ({n.WINDOW}) ({n.BIN_COUNT})"))
    for window in options.windows:
        f, rows = (
            options.sums(n.selector(n.MOMENT_INCREMENT, target="", space="z", moment=moment), window) for moment in ("f", "n")
        )
        # Moments are of z + 8, so that they only grow: see Reference.
        rules.append(record(n.MEAN_SHIFT, f"{f}\n  / on ({n.FEATURE}) ({rows} > 0)\n- 8", window=window))
    return rules + cumulative(n.BIN_CUMULATIVE, n.BIN_COUNT, n.WINDOW, f"({n.COUNT} > 0)", options)


def _distances() -> list[Rule]:
    counts, reference = f"({n.BIN_COUNT} + 0.5)", f"({n.REFERENCE_COUNT} + 0.5)"
    on_bin = f"on ({n.BIN}) group_left ()"
    smoothed = f"sum by ({n.FEATURE}) {reference} and on ({n.FEATURE}) (sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0)"
    return [
        record(
            n.DRIFT,
            psi(
                f"{counts} * on ({n.BIN}, window) ln({counts} / {on_bin} {reference})",
                f"ln{counts} * {on_bin} {reference}",
                f"sum by ({n.FEATURE}) ({reference} * on ({n.BIN}) ln{reference})",
                f"sum by ({n.WINDOW}) {counts} and on ({n.WINDOW}) ({n.COUNT} > 0)",
                smoothed,
                f"on ({n.FEATURE}) group_left ()",
            ),
            statistic="psi",
            baseline="training",
        ),
        record(
            n.DRIFT,
            wasserstein(
                f"abs({n.BIN_CUMULATIVE} - {on_bin} {n.REFERENCE_CUMULATIVE})",
                f"abs({n.MEAN_SHIFT} and on ({n.FEATURE}) {n.REFERENCE_WEIGHT})",
            ),
            statistic="wasserstein",
            baseline="training",
        ),
    ]


def psi(gain: str, cross: str, own: str, rows: str, others: str, on: str) -> str:
    """PSI of smoothed counts c with sum N against smoothed counts r with sum M, with as few products per bin as it takes.

    ``sum((c/N - r/M) * ln((c/N) / (r/M)))`` is ``sum(c * ln(c/r)) / N - (sum(r * ln c) - sum(r * ln r)) / M``: the logarithms of
    the sums cancel, since both shares add up to 1.

    Args:
        gain: ``c * ln(c / r)`` per bin and window.
        cross: ``r * ln c``, likewise.
        own: ``sum(r * ln r)``, per feature, or feature and window.
        rows: N, per feature and window.
        others: M, as ``own``.
        on: How ``own`` and ``others`` match what is per feature and window.
    """
    return f"""
clamp_min(
    sum by ({n.WINDOW}) ({gain})
      / on ({n.WINDOW}) ({rows})
  - on ({n.WINDOW})
    (sum by ({n.WINDOW}) ({cross}) - {on} {own})
      / {on} ({others}),
  0
)"""


def wasserstein(differences: str, mean_shift: str) -> str:
    """Wasserstein distance in standard deviations: the larger of two lower bounds.

    Args:
        differences: Of the cumulative shares, per bin and window.
        mean_shift: Of the means, per window.
    """
    area = f"sum by ({n.WINDOW}) ({differences} * on ({n.BIN}) group_left () {n.REFERENCE_WEIGHT})"
    return f"""
max by ({n.WINDOW}) (
    {n.tagged(area, "bins")}
  or
    {n.tagged(mean_shift, "mean")}
)"""


def _noise() -> list[Rule]:
    """What chance alone reaches with these numbers of rows: grows with 1/n + 1/m (psi), with its root (wasserstein)."""
    reference = f"(sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0)"
    both = f"1 / ({n.COUNT} > 0) + on ({n.FEATURE}) group_left () 1 / {reference}"
    return [
        record(
            n.NOISE,
            f"{growth}\n  * on ({n.FEATURE}) group_left () {n.selector(n.REFERENCE_NOISE, statistic=statistic)}",
            statistic=statistic,
        )
        for statistic, growth in (("psi", f"({both})"), ("wasserstein", f"sqrt({both})"))
    ]


def _levels(options: RuleOptions) -> list[Rule]:
    """Which windows may alarm on which statistic, and above which level.

    Numeric features alarm on wasserstein, those without weights and categorical ones on psi. A window may alarm with enough rows.
    If a level of normal operation is known for both windows of some pair, the window must be one that has such a level, and the
    model must have been up in most of it. Else (too little training data in a window, or too few of them) such a rule would
    switch the feature's alerts off.
    """
    rules = [
        record(
            n.COVERED, f"count_over_time({n.PREDICTION_INCREMENT}[{options.span(window)}]) / {options.steps(window)}", window=window
        )
        for window in options.alert_windows
    ]
    count = n.selector(n.COUNT, window="=~" + "|".join(options.alert_windows))
    enough = f"({count} >= on ({n.MODEL}) group_left () {n.selector(n.THRESHOLD, statistic='min_samples')})"
    covered = f"({n.COVERED} >= {MIN_COVERED:g})"
    for statistic, kind in (("wasserstein", "and"), ("psi", "unless")):
        calibrated = n.selector(n.NORMAL, statistic=statistic)
        pairs = "\n        or\n          ".join(
            f"({n.selector(n.NORMAL, statistic=statistic, window=fast)}"
            f" and on ({n.FEATURE}) {n.selector(n.NORMAL, statistic=statistic, window=slow)})"
            for fast, slow in options.pairs
        )
        rules.append(
            record(
                n.BELIEVABLE,
                f"""
(
    ({enough} and on ({n.WINDOW}) {calibrated} and on ({n.MODEL}, window) {covered})
  or
    ({enough} unless on ({n.FEATURE}) (
          {pairs}
      ))
)
  {kind} on ({n.FEATURE}) {n.REFERENCE_WEIGHT}""",
                statistic=statistic,
            )
        )
    rules += [_level(severity) for severity in SEVERITIES]
    return rules


def _level(severity: str) -> Rule:
    """The greatest of what the user asked for, what normal operation reaches and what chance reaches."""
    of_feature = n.selector(n.FEATURE_THRESHOLD, severity=severity)
    of_model = n.selector(n.THRESHOLD, severity=severity)
    user = (
        f"{n.BELIEVABLE} * 0 + on ({n.FEATURE}, statistic) group_left () {of_feature}\n"
        f"      or\n        {n.BELIEVABLE} * 0 + on ({n.MODEL}, statistic) group_left () {of_model}"
    )
    margin = "" if MARGIN[severity] == 1 else f"{MARGIN[severity]:g} * "
    both = f"on ({n.WINDOW}, statistic)"
    normal = f"{margin}({n.NORMAL} and {both} {n.BELIEVABLE})"
    chance = f"{margin}({n.NOISE} and {both} {n.BELIEVABLE})"
    return record(
        n.DRIFT_THRESHOLD,
        f"""
max by ({n.WINDOW}, statistic) (
    {n.tagged(chr(10) + "        " + user + chr(10) + "      ", "user")}
  or
    {n.tagged(normal, "normal")}
  or
    {n.tagged(chance, "chance")}
)""",
        severity=severity,
    )


def _drifted(options: RuleOptions) -> list[Rule]:
    """How many inputs have drifted in both windows of some pair, and their share of those that may alarm."""
    by = f"{n.FEATURE}, statistic"
    rules = []
    for severity in SEVERITIES:
        limits = {
            window: n.selector(n.DRIFT_THRESHOLD, severity=severity, window=window, feature=_INPUTS)
            for window in options.alert_windows
        }
        over = {
            window: f"({n.selector(n.DRIFT, baseline='training', window=window, feature=_INPUTS)} > on ({by}) {limit})"
            for window, limit in limits.items()
        }
        drifted, able = (
            f"\n  or on ({by})\n    ".join(f"({of[slow]} and on ({by}) {of[fast]})" for fast, slow in options.pairs)
            for of in (over, limits)
        )
        count = n.selector(n.DRIFTED_COUNT, severity=severity)
        rules += [
            record(n.DRIFTED_COUNT, f"count by ({n.MODEL}) (\n    {drifted}\n)", severity=severity),
            record(
                n.DRIFTED_RATIO,
                f"""
(sum by ({n.MODEL}) ({count}) or on ({n.MODEL}) {n.KNOWN} * 0)
  / on ({n.MODEL})
count by ({n.MODEL}) (
    {able}
)""",
                severity=severity,
            ),
        ]
    return rules
