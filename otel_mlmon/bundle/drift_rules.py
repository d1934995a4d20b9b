"""Recording rules of drift: windows, statistics against both baselines, and the level above which a window has drifted.

Sources:
    PSI: Kullback & Leibler (1951), doi:10.1214/aoms/1177729694, symmetric; half a count a bin: Jeffreys (1946),
    doi:10.1098/rspa.1946.0056. Wasserstein in one dimension is the area between the cumulative distributions: Vallender (1974),
    doi:10.1137/1118101; never less than the difference of the means (Kantorovich duality), which sees into the open end bins.
"""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.history_rules import normal
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.reference_rules import NUMERIC, cumulative
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
        *_shares(options),
        *_distances(),
        *_noise(),
        normal(options),
        *_levels(options),
        *_drifted(options),
    ]


def _windows(options: RuleOptions) -> list[Rule]:
    """Counts per bin and feature, and shift of the mean."""
    rules = [record(n.BIN_COUNT, options.sums(n.BIN_INCREMENT, window, options.pace), window=window) for window in options.windows]
    standardised = n.selector(n.MOMENT_INCREMENT, target="", space="z", moment="f")
    for window in options.windows:
        rules.append(record(n.COUNT, f"sum by ({n.FEATURE}) ({n.selector(n.BIN_COUNT, window=window)})", window=window))
        total = options.sums(standardised, window, options.pace)
        count = n.selector(n.COUNT, window=window)
        # What is added up is z + 8, which only grows, of all values that are in a bin: see Moments.
        rules.append(record(n.MEAN_SHIFT, f"{total}\n  / on ({n.FEATURE}) ({count} > 0)\n- 8", window=window))
    return rules


def _shares(options: RuleOptions) -> list[Rule]:
    """Shares of bins, smoothed shares, and shares up to each bin."""
    counts, total, on = f"({n.BIN_COUNT} + 0.5)", f"({n.COUNT} > 0)", f"on ({n.WINDOW}) group_left ()"
    return [
        record(n.BIN_RATIO, f"{n.BIN_COUNT} / {on} {total}"),
        record(n.BIN_SMOOTHED, f"{counts} / {on} (sum by ({n.WINDOW}) {counts} and on ({n.WINDOW}) {total})"),
        *cumulative(n.BIN_CUMULATIVE, n.BIN_NUMBERED, n.BIN_RATIO, n.WINDOW, options),
    ]


def _distances() -> list[Rule]:
    """PSI and Wasserstein distance from the training data."""
    on_bin = f"on ({n.BIN}) group_left ()"
    steps = f"abs({n.BIN_CUMULATIVE} - {on_bin} {n.REFERENCE_CUMULATIVE})"
    shift = f"abs({n.MEAN_SHIFT} and on ({n.FEATURE}) {NUMERIC})"
    return [
        record(n.DRIFT, psi(n.BIN_SMOOTHED, n.REFERENCE_SMOOTHED, on_bin), statistic="psi", baseline="training"),
        record(n.DRIFT, wasserstein(steps, shift), statistic="wasserstein", baseline="training"),
    ]


def psi(share: str, other: str, on: str) -> str:
    """PSI of two shares, both above 0: no term of the sum is negative.

    Args:
        share, other: Smoothed, per bin.
        on: How they match.
    """
    return f"sum by ({n.WINDOW}) (({share} - {on} {other}) * on ({n.BIN}, window) ln({share} / {on} {other}))"


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
    both = f"1 / ({n.COUNT} > 0) + on ({n.FEATURE}) group_left () 1 / {n.REFERENCE_TOTAL}"
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
            n.COVERED,
            f"count_over_time({n.PREDICTION_INCREMENT}[{options.span(window)}]) / {options.steps(window)}",
            window=window,
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
  {kind} on ({n.FEATURE}) {NUMERIC}""",
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
    """What has drifted in both windows of some pair; how many inputs, and their share of those that may alarm."""
    rules, by = [], f"{n.FEATURE}, statistic"
    for severity in SEVERITIES:
        where = {window: {"severity": severity, "window": window} for window in options.alert_windows}
        limits = {window: n.selector(n.DRIFT_THRESHOLD, **labels) for window, labels in where.items()}
        inputs = {window: n.selector(n.DRIFT_THRESHOLD, **labels, feature=_INPUTS) for window, labels in where.items()}
        over = {
            window: f"({n.selector(n.DRIFT, baseline='training', window=window)} > on ({by}) {limit})"
            for window, limit in limits.items()
        }
        able = f"\n  or on ({by})\n    ".join(f"({inputs[slow]} and on ({by}) {inputs[fast]})" for fast, slow in options.pairs)
        count = n.selector(n.DRIFTED_COUNT, severity=severity)
        rules += [
            record(n.DRIFTED, in_both(over, by, options), severity=severity),
            record(
                n.DRIFTED_COUNT,
                f"count by ({n.MODEL}) ({n.selector(n.DRIFTED, severity=severity, feature=_INPUTS)})",
                severity=severity,
            ),
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


def in_both(over: dict[str, str], by: str, options: RuleOptions) -> str:
    """What is over its threshold in both windows of some pair: the larger value of the slow windows.

    Args:
        over: By window, what is over its threshold in it.
        by: Labels that tell one from another.
        options: Pairs.
    """
    pairs = {f"{fast}, {slow}": f"{over[slow]}\n      and on ({by})\n        {over[fast]}" for fast, slow in options.pairs}
    union = "\n  or\n    ".join(n.tagged(both, pair) for pair, both in pairs.items())
    return f"max by ({by}) (\n    {union}\n)"
