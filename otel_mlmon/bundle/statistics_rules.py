"""Recording rules for eyes: drift by every other statistic, against both baselines; statistics of features; correlations.

Sources, where the formula is not the definition:
    Jensen-Shannon: Lin (1991), doi:10.1109/18.61115, equation 4.1, by entropies; its distance: Endres & Schindelin (2003),
    doi:10.1109/TIT.2003.813506, in bits. Kullback-Leibler of shares with half a count more a bin: see ``drift_rules``.
"""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.baselines import BASELINES, Baseline, previous
from otel_mlmon.bundle.correlation_rules import CORRELATIONS, correlations
from otel_mlmon.bundle.drift_rules import distances, psi, shares, wasserstein, windows
from otel_mlmon.bundle.feature_rules import feature_statistics
from otel_mlmon.bundle.increments import Pace, held
from otel_mlmon.bundle.options import STATISTICS, RuleOptions
from otel_mlmon.bundle.quality_rules import RATIOS
from otel_mlmon.bundle.quality_rules import shares as bad_shares
from otel_mlmon.bundle.reference_rules import entropy
from otel_mlmon.bundle.significance_rules import p_values, tests
from otel_mlmon.bundle.yaml_text import Rule, record

_LN2 = 0.6931471805599453
_DRIFT = n.late(n.DRIFT)
_NEEDS = {
    "js_distance": ("js_divergence",),
    "ks_pvalue": ("ks",),
    "chi2_pvalue": ("chi2",),
    "cramers_v": ("chi2",),
}


def statistics_group(options: RuleOptions) -> list[Rule]:
    """All that may come a quarter of an hour late, in order of dependency, under names of its own: ``latest`` holds it.

    The rules read what the drift group recorded half an interval ago, so that all of them see the same evaluation in full.

    Args:
        options: Windows, which statistics.

    Returns:
        Rules of a group that is evaluated at every ``statistics_interval``.
    """
    pace = Pace("statistics", options.statistics_interval, options)
    rules = [
        *pace.replicas(),
        pace.increment(n.MOMENT_INCREMENT, catalog.FEATURE_MOMENT, ("feature", "target", "space", "moment")),
        pace.increment(n.VALUE_INCREMENT, catalog.FEATURE_VALUE, ("feature", "le"), suffix="_bucket"),
        *feature_statistics(options),
        *correlations(options),
        *windows(options, late=True),
        *shares(options, late=True),
        record(n.late(n.ENTROPY), entropy(n.late(n.BIN_RATIO), n.WINDOW, f"{n.BIN}, window")),
        *distances(options, late=True),
        *previous(options),
        *_previous(),
        *bad_shares(options, _unalarmed(options), late=True),
    ]
    chosen = _chosen(options)
    for baseline in BASELINES:
        rules += [
            record(_DRIFT, expression, statistic=statistic, baseline=baseline.name)
            for statistic, expression in _distances(baseline).items()
            if statistic in chosen
        ]
        rules += tests(baseline, chosen)
    return [*rules, *p_values(chosen)]


def latest_group(options: RuleOptions) -> list[Rule]:
    """What ``statistics_group`` recorded last, for instant queries.

    Args:
        options: Intervals.

    Returns:
        Rules of a group that is evaluated at every ``drift_interval``.
    """
    soon = ("psi", "wasserstein")
    drift = [
        *((statistic, "previous") for statistic in soon),
        *((statistic, baseline.name) for statistic in STATISTICS if statistic in _chosen(options) for baseline in BASELINES),
    ]
    return [
        *(held(n.DRIFT, options, statistic=one, baseline="training", window=window) for one in soon for window in options.lasting),
        *(held(n.DRIFT, options, statistic=statistic, baseline=baseline) for statistic, baseline in drift),
        *(held(name, options, window=window) for name in (n.FEATURE_ROWS, *RATIOS) for window in _unalarmed(options)),
        *(held(name, options) for name in (n.BIN_RATIO, n.STATISTIC, *CORRELATIONS)),
    ]


def _chosen(options: RuleOptions) -> set[str]:
    """The statistics to record: those asked for and those that they are computed from."""
    return set(options.statistics) | {need for one in options.statistics for need in _NEEDS.get(one, ())}


def _unalarmed(options: RuleOptions) -> list[str]:
    """Windows whose shares of bad values no alert reads."""
    return [window for window in options.windows if window not in options.pairs[0]]


def _distances(baseline: Baseline) -> dict[str, str]:
    """Statistic -> expression, those of other statistics behind them."""
    share, smoothed = n.late(n.BIN_RATIO), n.late(n.BIN_SMOOTHED)
    difference = f"abs({share} - {baseline.on_bin} {baseline.ratio})"
    roots = f"(sqrt({share}) - {baseline.on_bin} sqrt({baseline.ratio})) ^ 2"
    same = f"on ({n.BIN}, window)"
    mixed = f"(({share} + {baseline.on_bin} {baseline.ratio}) / 2 > 0)"
    divergence = n.selector(_DRIFT, statistic="js_divergence", baseline=baseline.name)
    steps = f"abs({n.late(n.BIN_CUMULATIVE)} - {baseline.on_bin} {baseline.cumulative})"
    return {
        "kl": f"clamp_min(sum by ({n.WINDOW}) ({smoothed} * {same} ln({smoothed} / {baseline.on_bin} {baseline.smoothed})), 0)",
        "js_divergence": f"""
clamp_min(
    0.5 * {n.late(n.ENTROPY)}
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


def _previous() -> list[Rule]:
    """PSI and Wasserstein distance from the previous baseline; from the training data alerts need them, too."""
    same, on = f"on ({n.BIN}, window)", f"on ({n.WINDOW})"
    numeric = f"and on ({n.FEATURE}) {n.REFERENCE_WEIGHT}"
    return [
        record(
            _DRIFT,
            psi(n.late(n.BIN_SMOOTHED), n.PREVIOUS_SMOOTHED, same),
            statistic="psi",
            baseline="previous",
        ),
        record(
            _DRIFT,
            wasserstein(
                f"abs({n.late(n.BIN_CUMULATIVE)} - {same} {n.PREVIOUS_CUMULATIVE})",
                f"abs(({n.late(n.MEAN_SHIFT)} {numeric}) - {on} {n.PREVIOUS_MEAN_SHIFT})",
            ),
            statistic="wasserstein",
            baseline="previous",
        ),
    ]
