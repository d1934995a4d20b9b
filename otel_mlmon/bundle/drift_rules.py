"""Recording rules of drift: windows, statistics against both baselines, and the level above which a window has drifted.

Sources:
    PSI: Kullback & Leibler (1951), doi:10.1214/aoms/1177729694, symmetric; half a count a bin: Jeffreys (1946),
    doi:10.1098/rspa.1946.0056. Wasserstein in one dimension is the area between the cumulative distributions: Vallender (1974),
    doi:10.1137/1118101; never less than the difference of the means (Kantorovich duality), which sees into the open end bins.
"""

from collections.abc import Sequence

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.history_rules import normal
from otel_mlmon.bundle.increments import held
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
        *windows(options),
        *shares(options),
        *distances(options),
        *_noise(),
        normal(options),
        *_levels(options),
        *_drifted(options),
    ]


def windows(options: RuleOptions, *, late: bool = False) -> list[Rule]:
    """Counts per bin and feature, and shift of the mean.

    Args:
        options: Windows, intervals.
        late: Of all windows, under names of their own, for the group that comes late. Else of all but those that last, which are
            held.

    Returns:
        Rules in order of dependency, behind those of increments.
    """
    every, name = options.drift_interval, n.late if late else str
    of = options.windows if late else options.soon
    bins, count, shift = name(n.BIN_COUNT), name(n.COUNT), name(n.MEAN_SHIFT)
    rules = [record(bins, options.sums(n.BIN_INCREMENT, window, every, behind=late), window=window) for window in of]
    for window in of:
        rules.append(record(count, f"sum by ({n.FEATURE}) ({n.selector(bins, window=window)})", window=window))
        total = options.sums(n.STANDARDISED_INCREMENT, window, every, behind=late)
        # What is added up is z + 8, which only grows, of all values that are in a bin: see Moments.
        rules.append(record(shift, f"{total}\n  / on ({n.FEATURE}) ({n.selector(count, window=window)} > 0)\n- 8", window=window))
    if options.lasting and not late:
        rules += [held(one, options, window="=~" + "|".join(options.lasting)) for one in (n.BIN_COUNT, n.COUNT, n.MEAN_SHIFT)]
    return rules


def shares(options: RuleOptions, *, late: bool = False) -> list[Rule]:
    """Smoothed shares and shares up to each bin; in the group that comes late, those of each bin, too.

    Args:
        options: Windows, number of bins.
        late: As of ``windows``.

    Returns:
        Rules in order of dependency, behind those of ``windows``.
    """
    name, of = (n.late, options.windows) if late else (str, options.soon)
    where = _where(of, options)
    counts, total = f"({n.selector(name(n.BIN_COUNT), **where)} + 0.5)", f"({n.selector(name(n.COUNT), **where)} > 0)"
    on = f"on ({n.WINDOW}) group_left ()"
    rules = [record(name(n.BIN_SMOOTHED), f"{counts} / {on} (sum by ({n.WINDOW}) {counts} and on ({n.WINDOW}) {total})")]
    if late:
        ratio = n.late(n.BIN_RATIO)
        rules.append(record(ratio, f"{n.late(n.BIN_COUNT)} / {on} {total}"))

    def share(bins: str) -> str:
        if late:
            return f"sum by ({n.WINDOW}) ({n.selector(ratio, bin=bins)})"
        return f"sum by ({n.WINDOW}) ({n.selector(n.BIN_COUNT, **where, bin=bins)})\n  / on ({n.WINDOW}) {total}"

    return rules + cumulative(name(n.BIN_CUMULATIVE), share, n.REFERENCE_WEIGHT, n.WINDOW, options)


def distances(options: RuleOptions, *, late: bool = False) -> list[Rule]:
    """PSI and Wasserstein distance from the training data.

    Args:
        options: Windows.
        late: Of the windows that last, in the group that comes late. Else of the others.

    Returns:
        Rules behind those of ``shares``.
    """
    name, of = (n.late, options.lasting) if late else (str, options.soon)
    if not of:
        return []
    smoothed, shift, up_to = (
        n.selector(name(one), **_where(of, options)) for one in (n.BIN_SMOOTHED, n.MEAN_SHIFT, n.BIN_CUMULATIVE)
    )
    on_bin = f"on ({n.BIN}) group_left ()"
    return [
        record(
            name(n.DRIFT),
            psi(smoothed, n.REFERENCE_SMOOTHED, on_bin),
            statistic="psi",
            baseline="training",
        ),
        record(
            name(n.DRIFT),
            wasserstein(
                f"abs({up_to} - {on_bin} {n.REFERENCE_CUMULATIVE})", f"abs({shift} and on ({n.FEATURE}) {n.REFERENCE_WEIGHT})"
            ),
            statistic="wasserstein",
            baseline="training",
        ),
    ]


def _where(of: Sequence[str], options: RuleOptions) -> dict[str, str]:
    return {} if len(of) == len(options.windows) else {"window": "=~" + "|".join(of)}


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
    every = options.drift_interval
    rules = [
        record(
            n.COVERED,
            f"count_over_time({n.ROW_INCREMENT}[{options.span(window, every)}]) / {options.steps(window, every)}",
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
