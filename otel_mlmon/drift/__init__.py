"""Statistics of drift, of counts per bin and of sums: one window of a feature against the reference or an earlier window."""

from otel_mlmon.drift.counts import Counts
from otel_mlmon.drift.distances import (
    hellinger,
    js_distance,
    js_divergence,
    kl,
    l_infinity,
    psi,
    psi_of_windows,
    total_variation,
    wasserstein,
    wasserstein_of_windows,
)
from otel_mlmon.drift.moments import correlation, correlation_z, fisher_z_shift, mean, mean_shift, std, std_ratio, variance_ratio
from otel_mlmon.drift.ranges import QUANTILES, quantile_shifts, quantiles, range_compliance
from otel_mlmon.drift.significance import chi2, chi2_pvalue, cramers_v, ks, ks_pvalue

__all__ = [
    "QUANTILES",
    "Counts",
    "chi2",
    "chi2_pvalue",
    "correlation",
    "correlation_z",
    "cramers_v",
    "fisher_z_shift",
    "hellinger",
    "js_distance",
    "js_divergence",
    "kl",
    "ks",
    "ks_pvalue",
    "l_infinity",
    "mean",
    "mean_shift",
    "psi",
    "psi_of_windows",
    "quantile_shifts",
    "quantiles",
    "range_compliance",
    "std",
    "std_ratio",
    "total_variation",
    "variance_ratio",
    "wasserstein",
    "wasserstein_of_windows",
]
