"""Recording rules for eyes: drift by every other statistic, against both baselines; statistics of features; correlations.

Sources, where the formula is not the definition:
    Jensen-Shannon: Lin (1991), doi:10.1109/18.61115, equation 4.1, by entropies; its distance: Endres & Schindelin (2003),
    doi:10.1109/TIT.2003.813506, in bits. Kullback-Leibler of shares with half a count more a bin: see ``drift_rules``.
"""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.baselines import BASELINES, Baseline, previous
from otel_mlmon.bundle.correlation_rules import correlations
from otel_mlmon.bundle.drift_rules import psi, wasserstein
from otel_mlmon.bundle.feature_rules import feature_statistics
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.reference_rules import NUMERIC, entropy
from otel_mlmon.bundle.significance_rules import p_values, tests
from otel_mlmon.bundle.yaml_text import Rule, record

_LN2 = 0.6931471805599453
_NEEDS = {
    "js_distance": ("js_divergence",),
    "ks_pvalue": ("ks",),
    "chi2_pvalue": ("chi2",),
    "cramers_v": ("chi2",),
}


def statistics(options: RuleOptions) -> list[Rule]:
    """Statistics of features and correlations; of drift all that no alert reads.

    Args:
        options: Windows, which statistics.

    Returns:
        Rules in order of dependency, behind those of increments and of drift.
    """
    chosen = recorded(options)
    rules = [
        *feature_statistics(options),
        *correlations(options),
        record(n.ENTROPY, entropy(n.selector(n.BIN_RATIO, window=options.eyes), n.WINDOW, f"{n.BIN}, window")),
        *previous(options),
        *_previous(options),
    ]
    for baseline in BASELINES:
        rules += [
            record(n.DRIFT, expression, statistic=statistic, baseline=baseline.name)
            for statistic, expression in _distances(baseline, options).items()
            if statistic in chosen
        ]
        rules += tests(baseline, options, chosen)
    return [*rules, *p_values(chosen)]


def recorded(options: RuleOptions) -> set[str]:
    """The statistics for eyes that are recorded: those asked for and those that they are computed from."""
    return set(options.statistics) | {need for one in options.statistics for need in _NEEDS.get(one, ())}


def _distances(baseline: Baseline, options: RuleOptions) -> dict[str, str]:
    """Statistic -> expression, those of other statistics behind them."""
    share, smoothed, up_to = (n.selector(name, window=options.eyes) for name in (n.BIN_RATIO, n.BIN_SMOOTHED, n.BIN_CUMULATIVE))
    difference = f"abs({share} - {baseline.on_bin} {baseline.ratio})"
    roots = f"(sqrt({share}) - {baseline.on_bin} sqrt({baseline.ratio})) ^ 2"
    same = f"on ({n.BIN}, window)"
    mixed = f"(({share} + {baseline.on_bin} {baseline.ratio}) / 2 > 0)"
    divergence = n.selector(n.DRIFT, statistic="js_divergence", baseline=baseline.name)
    steps = f"abs({up_to} - {baseline.on_bin} {baseline.cumulative})"
    return {
        "kl": f"clamp_min(sum by ({n.WINDOW}) ({smoothed} * {same} ln({smoothed} / {baseline.on_bin} {baseline.smoothed})), 0)",
        "js_divergence": f"""
clamp_min(
    0.5 * {n.ENTROPY}
  - on ({n.WINDOW})
    sum by ({n.WINDOW}) ({mixed} * {same} ln{mixed})
  + {baseline.on_window}
    0.5 * {baseline.entropy},
  0
)""",
        "js_distance": f"sqrt({divergence} / {_LN2!r})",
        "hellinger": f"sqrt(0.5 * sum by ({n.WINDOW}) ({roots}))",
        "total_variation": f"0.5 * sum by ({n.WINDOW}) ({difference})",
        "l_infinity": f"max by ({n.WINDOW}) ({difference})",
        "ks": f"max by ({n.WINDOW}) ({steps})",
    }


def _previous(options: RuleOptions) -> list[Rule]:
    """PSI and Wasserstein distance from the previous baseline; from the training data alerts need them, too."""
    smoothed, up_to, shift = (n.selector(name, window=options.eyes) for name in (n.BIN_SMOOTHED, n.BIN_CUMULATIVE, n.MEAN_SHIFT))
    same, numeric = f"on ({n.BIN}, window)", f"and on ({n.FEATURE}) {NUMERIC}"
    return [
        record(n.DRIFT, psi(smoothed, n.PREVIOUS_SMOOTHED, same), statistic="psi", baseline="previous"),
        record(
            n.DRIFT,
            wasserstein(
                f"abs({up_to} - {same} {n.PREVIOUS_CUMULATIVE})",
                f"abs(({shift} {numeric}) - on ({n.WINDOW}) {n.PREVIOUS_MEAN_SHIFT})",
            ),
            statistic="wasserstein",
            baseline="previous",
        ),
    ]
