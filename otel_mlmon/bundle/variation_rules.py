"""Recording rules of whether a numeric feature varies, and whether it usually does."""

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.alert import enough
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.thresholds import MIN_VARYING_HOURS

_HOUR = "1h"
_HISTORY = "3d"
"""Long enough for a day of the week to be known as what stands still, short enough for any Prometheus."""


def variation(options: RuleOptions) -> list[Rule]:
    """Range of a feature's values in the first fast window, and the share of the last days' hours in which it was above 0.

    A month, a day of the week or a flag stand still for hours: only its own history tells what standing still means of a feature.

    Args:
        options: The first pair of windows; time scale.

    Returns:
        Rules in order of dependency, behind those of windows and statistics.
    """
    window = options.pairs[0][0]
    least, greatest = (n.selector(n.STATISTIC, statistic=statistic, window=window) for statistic in ("min", "max"))
    hours = f"[{options.scaled(_HISTORY)}:{options.scaled(_HOUR)}]"
    of_feature = f"on ({n.FEATURE})"
    return [
        # A window of one row has a range of 0.
        record(
            n.RANGE,
            f"max by ({n.FEATURE}) ({greatest}) - {of_feature} max by ({n.FEATURE}) ({least})\n"
            f"and {of_feature}\n  {enough(n.selector(n.COUNT, window=window))}",
        ),
        record(
            n.VARYING,
            f"avg_over_time(({n.RANGE} > bool 0){hours})\n"
            f"and {of_feature}\n  (count_over_time({n.RANGE}{hours}) >= {MIN_VARYING_HOURS})",
        ),
    ]
