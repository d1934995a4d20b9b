"""Recording rules of two-sample tests on counts per bin: chi-square with Cramer's V, Kolmogorov-Smirnov.

Sources:
    Chi-square of homogeneity: Pearson (1911), doi:10.1093/biomet/8.1-2.250. Its tail for whole degrees of freedom is a finite sum:
    Abramowitz & Stegun (1964), 26.4.4 and 26.4.5. erfc: Press et al., Numerical Recipes (1992), section 6.2, ``erfcc``, relative
    error below 1.2e-7. Cramer's V: Cramer (1946), page 282, two samples. Kolmogorov's distribution, both of its series: Marsaglia,
    Tsang & Wang (2003), doi:10.18637/jss.v008.i18; at Stephens's argument: Stephens (1970), doi:10.1111/j.2517-6161.1970.tb00821.x.
"""

import math
from collections.abc import Collection, Sequence

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.baselines import Baseline
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.reference_rules import NUMERIC
from otel_mlmon.bundle.yaml_text import Rule, record

MAX_DF = 40
"""Degrees of freedom up to which the p-value of chi-square is recorded."""

_ASKED = {"chi2", "cramers_v"}
_UNDERFLOW = 1400.0  # exp(-1400) is 0
_ERFC = (
    *(-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806),
    *(0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277),
)
_KS_BRANCH = 1.18  # each series is exact to 1e-15 on its side
_ODD, _EVEN = range(1, MAX_DF + 1, 2), range(0, MAX_DF + 1, 2)
_SAME = "ignoring ()"


def tests(baseline: Baseline, options: RuleOptions, chosen: Collection[str]) -> list[Rule]:
    """Statistics of the tests against one baseline, and what their p-values are computed from.

    Args:
        baseline: What windows are compared with.
        options: Windows.
        chosen: The statistics to record. Chi-square is not computed of features that have ``ks_pvalue``, unless it is asked for.

    Returns:
        Rules behind those of ``ks``.
    """
    counts, shares, count = (n.selector(name, window=options.eyes) for name in (n.BIN_COUNT, n.BIN_RATIO, n.COUNT))
    total = f"({count} > 0)"
    if "ks_pvalue" in chosen and not _ASKED & set(options.statistics):
        counts, shares = (f"({bins} unless on ({n.FEATURE}) {NUMERIC})" for bins in (counts, shares))
    pooled = f"({counts} + {baseline.on_bin} {baseline.count} > 0)"
    chi2, ks = (n.selector(n.DRIFT, statistic=statistic, baseline=baseline.name) for statistic in ("chi2", "ks"))
    root = f"(1 / {total} + {baseline.on_window} 1 / {baseline.total}) ^ -0.5"
    rules = {
        "chi2": record(
            n.DRIFT,
            f"""
sum by ({n.WINDOW}) (({shares} - {baseline.on_bin} {baseline.ratio}) ^ 2 / on ({n.BIN}, window) {pooled})
  * on ({n.WINDOW}) {total}
  * {baseline.on_window} {baseline.total}""",
            statistic="chi2",
            baseline=baseline.name,
        ),
        "chi2_pvalue": record(n.CHI2_DF, f"count by ({n.WINDOW}) {pooled} - 1\nand on ({n.WINDOW}) {chi2}", baseline=baseline.name),
        "cramers_v": record(
            n.DRIFT,
            f"sqrt({chi2} / on ({n.WINDOW}) ({total} + {baseline.on_window} {baseline.total}))",
            statistic="cramers_v",
            baseline=baseline.name,
        ),
        "ks_pvalue": record(
            n.KS_LAMBDA,
            f"({root} + 0.12 + 0.11 / {root})\n  * on ({n.WINDOW}) {ks}",
            baseline=baseline.name,
        ),
    }
    return [rule for statistic, rule in rules.items() if statistic in chosen]


def p_values(chosen: Collection[str]) -> list[Rule]:
    """P-values of the tests against all baselines.

    Args:
        chosen: The statistics to record.

    Returns:
        Rules behind those of ``tests``.
    """
    rules = []
    if "ks_pvalue" in chosen:
        rules.append(record(n.DRIFT, _kolmogorov(), statistic="ks_pvalue"))
    if "chi2_pvalue" in chosen:
        chi2 = n.selector(n.DRIFT, statistic="chi2")
        # The degrees of freedom become a label: what is added up for one number of them is read for no other.
        by = f"{n.WINDOW}, baseline"
        df = f'count_values by ({by}) ("df", {n.CHI2_DF})'
        rules.append(record(n.CHI2_HALF, f"{df}\n  * on ({by}) group_left () clamp_max({chi2} / 2, {_UNDERFLOW:g})"))
        rules.append(record(n.CHI2_T, f"1 / (1 + sqrt({_of(_ODD)}) / 2)"))
        rules.append(record(n.DRIFT, _chi2_tail(), statistic="chi2_pvalue"))
    return rules


def _kolmogorov() -> str:
    """1 less Kolmogorov's distribution function, by the series that converges."""
    far = [f"exp(-{2 * k * k} * ({n.KS_LAMBDA} >= {_KS_BRANCH}) ^ 2)" for k in (1, 2, 3)]
    root = f"clamp_min({n.KS_LAMBDA} < {_KS_BRANCH}, 0.05)"  # below, it is 1
    near = " + ".join(f"exp(-{(2 * k - 1) ** 2 * math.pi**2 / 8!r} / {root} ^ 2)" for k in (1, 2, 3))
    return f"""
2 * ({far[0]} - {far[1]} + {far[2]})
or
  1 - {math.sqrt(2 * math.pi)!r} / {root} * ({near})"""


def _of(freedom: Sequence[int]) -> str:
    """Half of chi-square, with one of these numbers of degrees of freedom."""
    return n.selector(n.CHI2_HALF, df="=~" + "|".join(map(str, freedom)))


def _chi2_tail() -> str:
    """The chance of a greater chi-square, for ``MAX_DF`` degrees of freedom at most.

    With ``y = chi2 / 2``: even, ``exp(-y) * (1 + y/1 * (1 + y/2 * ...))`` of ``df / 2`` terms; odd, ``erfc(sqrt(y)) + exp(-y) *
    sqrt(y) / gamma(3/2) * (1 + y/1.5 * (1 + y/2.5 * ...))`` of ``(df - 1) / 2`` terms.
    """
    even, odd = _of(_EVEN[1:]), _of(_ODD[1:])
    return f"""
sum without (df) (
    {_of(_EVEN[:1])} ^ 0
  or
    exp(-{even}) * {_SAME} {_terms(_EVEN[1:], 0.0)}
  or
    {_erfc()}
    + {_SAME} (
        {_of(_ODD[:1])} * 0
      or
        exp(-{odd}) * {_SAME} sqrt({odd}) / {math.gamma(1.5)!r} * {_SAME} {_terms(_ODD[1:], 0.5)}
    )
)"""


def _terms(freedom: Sequence[int], offset: float) -> str:
    """The sum by Horner's scheme, from the last term on: each level is for fewer degrees of freedom than the one within it."""
    inner = f"{_of(freedom[-1:])} ^ 0"
    for number in range(len(freedom) - 1, 0, -1):
        more = f"1 + {_of(freedom[number:])} / {number + offset:g} * {_SAME} ({inner})"
        inner = f"{more} or {_of(freedom[number - 1 : number])} ^ 0"
    return f"({inner})"


def _erfc() -> str:
    """Complementary error function of the root of half of chi-square, for odd degrees of freedom."""
    inner = f"({_ERFC[-1]!r} * {n.CHI2_T} + ({_ERFC[-2]!r}))"
    for coefficient in reversed(_ERFC[:-2]):
        inner = f"({inner} * {_SAME} {n.CHI2_T} + ({coefficient!r}))"
    return f"exp({inner} - {_SAME} {_of(_ODD)}) * {_SAME} {n.CHI2_T}"
