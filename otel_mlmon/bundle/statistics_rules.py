"""Recording rules for eyes: drift by every other statistic, against both baselines; shares of longer windows.

Sources, where the formula is not the definition:
    Jensen-Shannon: Lin (1991), doi:10.1109/18.61115, equation 4.1, by entropies; its distance: Endres & Schindelin (2003),
    doi:10.1109/TIT.2003.813506, in bits. Kullback-Leibler with half a count a bin: see ``drift_rules``.
"""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.baselines import Baseline, baselines
from otel_mlmon.bundle.correlation_rules import correlations
from otel_mlmon.bundle.drift_rules import psi, wasserstein
from otel_mlmon.bundle.feature_rules import feature_statistics
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.quality_rules import shares
from otel_mlmon.bundle.significance_rules import p_values, tests
from otel_mlmon.bundle.yaml_text import Rule, record

_LN2 = 0.6931471805599453
_NEEDS = {
    "js_distance": ("js_divergence",),
    "ks_pvalue": ("ks",),
    "chi2_pvalue": ("chi2",),
    "cramers_v": ("chi2",),
}


def statistics_rules(options: RuleOptions) -> list[Rule]:
    """All that no alert waits for, in order of dependency; evaluated every ``statistics_interval``.

    They read what the other group recorded half an interval ago, so that all of them see the same evaluation in full.

    Args:
        options: Windows, which statistics.

    Returns:
        Rules for ``yaml_text.rule_file``.
    """
    longer = [window for window in options.windows if window not in options.pairs[0]]
    now = f"offset {options.behind}"
    ratio = f"{n.BIN_COUNT} {now} / on ({n.WINDOW}) group_left () ({n.COUNT} {now} > 0)"
    rules = [record(n.BIN_RATIO, ratio), *_previous(options)]
    chosen = set(options.statistics) | {need for one in options.statistics for need in _NEEDS.get(one, ())}
    for baseline in baselines(options):
        rules += [
            record(n.DRIFT, expression, statistic=statistic, baseline=baseline.name)
            for statistic, expression in _distances(baseline, options).items()
            if statistic in chosen
        ]
        rules += tests(baseline, chosen, options)
    return [*rules, *p_values(chosen), *shares(options, longer, behind=True), *feature_statistics(options), *correlations(options)]


def _distances(baseline: Baseline, options: RuleOptions) -> dict[str, str]:
    """Statistic -> expression, those of other statistics behind them."""
    share, count = n.BIN_RATIO, f"({n.BIN_COUNT} offset {options.behind} + 0.5)"
    difference = f"abs({share} - {baseline.on_bin} {baseline.ratio})"
    roots = f"(sqrt({share}) - {baseline.on_bin} sqrt({baseline.ratio})) ^ 2"
    other = f"({baseline.count} + 0.5)"
    same = f"on ({n.BIN}, window)"
    rows = f"(sum by ({n.WINDOW}) {count} and on ({n.WINDOW}) ({n.COUNT} offset {options.behind} > 0))"
    others = f"(sum by ({baseline.labels}) {other} and on ({baseline.labels}) {baseline.total})"
    mixed = f"(({share} + {baseline.on_bin} {baseline.ratio}) / 2 > 0)"
    base = f"({baseline.ratio} > 0)"
    on_base = f"on ({n.BIN})" if baseline.labels == n.FEATURE else same
    divergence = n.selector(n.DRIFT, statistic="js_divergence", baseline=baseline.name)
    steps = f"abs({n.BIN_CUMULATIVE} offset {options.behind} - {baseline.on_bin} {baseline.cumulative})"
    return {
        # The logarithm of the sums apart: sum(c/N * ln((c/N) / (r/M))) is sum(c * ln(c/r)) / N + ln(M / N).
        "kl": f"""
clamp_min(
    sum by ({n.WINDOW}) ({count} * {same} ln({count} / {baseline.on_bin} {other}))
      / on ({n.WINDOW}) {rows}
  - on ({n.WINDOW})
    ln({rows} / {baseline.on_window} {others}),
  0
)""",
        "js_divergence": f"""
clamp_min(
    0.5 * sum by ({n.WINDOW}) (({share} > 0) * {same} ln({share} > 0))
  - on ({n.WINDOW})
    sum by ({n.WINDOW}) ({mixed} * {same} ln{mixed})
  + {baseline.on_window}
    0.5 * sum by ({baseline.labels}) ({base} * {on_base} ln{base}),
  0
)""",
        "js_distance": f"sqrt({divergence} / {_LN2!r})",
        "hellinger": f"sqrt(0.5 * sum by ({n.WINDOW}) ({roots}))",
        "total_variation": f"0.5 * sum by ({n.WINDOW}) ({difference})",
        "l_infinity": f"max by ({n.WINDOW}) ({difference})",
        "ks": f"max by ({n.WINDOW}) ({steps})",
    }


def _previous(options: RuleOptions) -> list[Rule]:
    """PSI and Wasserstein distance from the previous baseline; from the training data alerts need them sooner."""
    now, ago = f"offset {options.behind}", f"offset {options.ago(behind=True)}"
    counts, before = f"({n.BIN_COUNT} {now} + 0.5)", f"({n.BIN_COUNT} {ago} + 0.5)"
    same, on = f"on ({n.BIN}, window)", f"on ({n.WINDOW})"
    rows, others = (f"sum by ({n.WINDOW}) {each} and {on} ({n.COUNT} {when} > 0)" for each, when in ((counts, now), (before, ago)))
    numeric = f"and on ({n.FEATURE}) {n.REFERENCE_WEIGHT}"
    return [
        record(
            n.DRIFT,
            psi(
                f"{counts} * {same} ln({counts} / {same} {before})",
                f"ln{counts} * {same} {before}",
                f"sum by ({n.WINDOW}) ({before} * {same} ln{before})",
                rows,
                others,
                on,
            ),
            statistic="psi",
            baseline="previous",
        ),
        record(
            n.DRIFT,
            wasserstein(
                f"abs({n.BIN_CUMULATIVE} {now} - {same} {n.BIN_CUMULATIVE} {ago})",
                f"abs(({n.MEAN_SHIFT} {now} {numeric}) - {on} {n.MEAN_SHIFT} {ago})",
            ),
            statistic="wasserstein",
            baseline="previous",
        ),
    ]
