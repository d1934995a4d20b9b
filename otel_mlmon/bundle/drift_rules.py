"""Recording rules of drift: windows, statistics against both baselines, and the level above which a window has drifted.

Sources:
    PSI: Kullback & Leibler (1951), doi:10.1214/aoms/1177729694, symmetric; half a count a bin: Jeffreys (1946),
    doi:10.1098/rspa.1946.0056. Wasserstein in one dimension is the area between the cumulative distributions: Vallender (1974),
    doi:10.1137/1118101; never less than the difference of the means (Kantorovich duality), which sees into the open end bins.
"""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.thresholds import MARGIN, MIN_COVERED, SEVERITIES
from otel_mlmon.bundle.yaml_text import Rule, record

_WINDOW = f"{n.FEATURE}, window"
_BIN = f"{n.FEATURE}, bin"


def drift(options: RuleOptions) -> list[Rule]:
    """From increments per bin to drift and its threshold.

    Args:
        options: Windows, pairs, number of bins.

    Returns:
        Rules in order of dependency, behind those of increments, references and thresholds.
    """
    return [
        *_windows(options),
        *_statistics(options),
        *_noise(options),
        *_levels(options),
    ]


def _windows(options: RuleOptions) -> list[Rule]:
    spans = {window: options.span(window) for window in options.windows}
    rules = [record(n.BIN_COUNT, f"sum_over_time({n.BIN_INCREMENT}[{span}])", window=window) for window, span in spans.items()]
    rules.append(record(n.COUNT, f"sum by ({_WINDOW}) ({n.BIN_COUNT})"))
    for window, span in spans.items():
        sums = [f"sum_over_time({n.selector(n.MOMENT_INCREMENT, moment=m)}[{span}])" for m in ("f", "n")]
        # Moments are of z + 8, so that they only grow: see Reference.
        rules.append(
            record(n.MEAN_SHIFT, f"{sums[0]}\n  / on ({n.FEATURE}) ({sums[1]} > 0)\n- 8", window=window),
        )
    rules += _cumulative(
        n.REFERENCE_CUMULATIVE, n.REFERENCE_COUNT, n.FEATURE, f"sum by ({n.FEATURE}) ({n.REFERENCE_COUNT})", options
    )
    rules += _cumulative(n.BIN_CUMULATIVE, n.BIN_COUNT, _WINDOW, n.COUNT, options)
    return rules


def _cumulative(name: str, counts: str, by: str, total: str, options: RuleOptions) -> list[Rule]:
    """Share of values up to and including each bin but the last, numeric features only: each bin's rule adds to that before it."""
    rules = []
    for number in range(options.max_bins - 1):
        # A category may begin like a number and a space: the sum keeps such categories from clashing, the weight leaves them out.
        share = f"sum by ({by}) ({n.selector(counts, bin=f'=~{number:02d} .*')})\n  / on ({by}) ({total} > 0)"
        before = f"\n  + on ({by}) {n.selector(name, bin=f'{number - 1:02d}')}" if number else ""
        numeric = f"\n  and on ({n.FEATURE}) {n.selector(n.REFERENCE_WEIGHT, bin=f'{number:02d}')}"
        rules.append(record(name, share + before + numeric, bin=f"{number:02d}"))
    return rules


def _smoothed(by: str, offset: str = "") -> str:
    """Shares per bin of the windows, half a count added to each bin."""
    count, total = f"{n.BIN_COUNT}{offset}", f"{n.COUNT}{offset}"
    return f"(({count} + 0.5) / on ({by}) group_left () (({total} > 0) + on ({by}) 0.5 * count by ({by}) ({count})))"


def _statistics(options: RuleOptions) -> list[Rule]:
    current = _smoothed(_WINDOW)
    reference = (
        f"(({n.REFERENCE_COUNT} + 0.5) / on ({n.FEATURE}) group_left () "
        f"((sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0) + on ({n.FEATURE}) 0.5 * count by ({n.FEATURE}) ({n.REFERENCE_COUNT})))"
    )
    offset = f" offset {options.previous_offset}"
    before = _smoothed(_WINDOW, offset)
    on_bin, on_both = f"on ({_BIN}) group_left ()", f"on ({_BIN}, window)"
    numeric = f"and on ({n.FEATURE}) {n.REFERENCE_WEIGHT}"
    return [
        record(
            n.DRIFT,
            f"""
sum by ({_WINDOW}) (
    ({current} - {on_bin} {reference})
  * on ({_BIN}, window)
    ln({current} / {on_bin} {reference})
)""",
            statistic="psi",
            baseline="training",
        ),
        record(
            n.DRIFT,
            f"""
sum by ({_WINDOW}) (
    ({current} - {on_both} {before})
  * on ({_BIN}, window)
    ln({current} / {on_both} {before})
)""",
            statistic="psi",
            baseline="previous",
        ),
        record(
            n.DRIFT,
            _wasserstein(
                f"abs({n.BIN_CUMULATIVE} - {on_bin} {n.REFERENCE_CUMULATIVE})",
                f"abs({n.MEAN_SHIFT} {numeric})",
            ),
            statistic="wasserstein",
            baseline="training",
        ),
        record(
            n.DRIFT,
            _wasserstein(
                f"abs({n.BIN_CUMULATIVE} - {on_both} {n.BIN_CUMULATIVE}{offset})",
                f"abs(({n.MEAN_SHIFT} {numeric}) - on ({_WINDOW}) {n.MEAN_SHIFT}{offset})",
            ),
            statistic="wasserstein",
            baseline="previous",
        ),
    ]


def _wasserstein(differences: str, mean_shift: str) -> str:
    binned = f"sum by ({_WINDOW}) ({differences} * on ({_BIN}) group_left () {n.REFERENCE_WEIGHT})"
    return f"""
max by ({_WINDOW}) (
    {n.tagged(binned, "bins")}
  or
    {n.tagged(mean_shift, "mean")}
)"""


def _noise(options: RuleOptions) -> list[Rule]:
    """What chance alone reaches with these numbers of rows: grows with 1/n + 1/m (psi), with its root (wasserstein)."""
    samples = {
        "training": f"on ({n.FEATURE}) group_left () 1 / (sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0)",
        "previous": f"on ({_WINDOW}) 1 / ({n.COUNT} offset {options.previous_offset} > 0)",
    }
    rules = []
    for baseline, other in samples.items():
        both = f"1 / ({n.COUNT} > 0) + {other}"
        for statistic, growth in (("psi", f"({both})"), ("wasserstein", f"sqrt({both})")):
            expression = f"{growth}\n  * on ({n.FEATURE}) group_left () {n.selector(n.REFERENCE_NOISE, statistic=statistic)}"
            rules.append(record(n.NOISE, expression, statistic=statistic, baseline=baseline))
    return rules


def _levels(options: RuleOptions) -> list[Rule]:
    """Which windows may alarm on which statistic, and above which level.

    Numeric features alarm on wasserstein, those without weights and categorical ones on psi. A window may alarm with enough rows.
    If the reference is calibrated for both windows of some pair, the window must be one that it is calibrated for, and the model
    must have been up in most of it. Else (too little training data in a window, or too few of them) such a rule would switch the
    feature's alerts off.
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
        calibrated = n.selector(n.REFERENCE_LEVEL, statistic=statistic)
        pairs = "\n        or\n          ".join(
            f"({n.selector(n.REFERENCE_LEVEL, statistic=statistic, window=fast)}"
            f" and on ({n.FEATURE}) {n.selector(n.REFERENCE_LEVEL, statistic=statistic, window=slow)})"
            for fast, slow in options.pairs
        )
        rules.append(
            record(
                n.BELIEVABLE,
                f"""
(
    ({enough} and on ({_WINDOW}) {calibrated} and on ({n.MODEL}, window) {covered})
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
    both = f"on ({_WINDOW}, statistic)"
    normal = f"{margin}({n.REFERENCE_LEVEL} and {both} {n.BELIEVABLE})"
    chance = f"{margin}(sum by ({_WINDOW}, statistic) ({n.selector(n.NOISE, baseline='training')}) and {both} {n.BELIEVABLE})"
    return record(
        n.DRIFT_THRESHOLD,
        f"""
max by ({_WINDOW}, statistic) (
    {n.tagged(chr(10) + "        " + user + chr(10) + "      ", "user")}
  or
    {n.tagged(normal, "normal")}
  or
    {n.tagged(chance, "chance")}
)""",
        severity=severity,
    )
