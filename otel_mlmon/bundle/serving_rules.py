"""Recording rules of serving: share of failed calls, how fast that spends the error budget, latency."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import BUDGET_WINDOW

CALL_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Windows of the calls: those of ``BURN_RATES``, slow and fast. A model that is younger shows its whole life."""

LATENCY_WINDOW = "5m"


def serving(options: RuleOptions) -> list[Rule]:
    """Calls and share of failed calls by window, burn rate, what is left of the error budget, and latency.

    Args:
        options: Interval and time scale.

    Returns:
        Rules behind those of increments and thresholds.

    Source:
        Burn rate and error budget: Beyer et al. (2018), The Site Reliability Workbook, chapter 5. A call that was cancelled counts
        neither as failed nor as good: nobody waited for its end.
    """
    by, on = f"{n.MODEL}, window", f"on ({n.MODEL})"
    failed = f"sum by ({by}) ({n.selector(n.CALL_COUNT, status='error')})"
    ended = f"sum by ({by}) ({n.selector(n.CALL_COUNT, status='=~ok|error')})"
    budget = f"({n.selector(n.THRESHOLD, statistic='error_budget')} > 0)"
    buckets = f"{catalog.CALL_DURATION.prometheus_name}_bucket[{options.rate_range(LATENCY_WINDOW)}]"
    return [
        *(
            record(n.CALL_COUNT, f"sum_over_time({n.CALL_INCREMENT}[{options.span(window)}])", window=window)
            for window in CALL_WINDOWS
        ),
        record(n.ERROR_RATIO, f"{failed}\n  / on ({by}) ({ended} > 0)"),
        record(n.BURN_RATE, f"{n.ERROR_RATIO} / {on} group_left () {budget}"),
        record(n.BUDGET_RATIO, f"1 - {n.selector(n.BURN_RATE, window=BUDGET_WINDOW)}"),
        # Without calls the quantile is NaN, which is not >= 0.
        record(n.LATENCY, f"histogram_quantile(0.99, sum by ({n.MODEL}, le) (rate({buckets}))) >= 0"),
    ]
