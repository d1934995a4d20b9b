"""Recording rules of the reference: one copy for the fleet of what its replicas expose."""

from collections.abc import Callable

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.increments import held
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.yaml_text import Rule, record
from otel_mlmon.catalog import MetricFamily

_COPIES: tuple[tuple[str, MetricFamily, dict[str, str]], ...] = (
    (n.REFERENCE_COUNT, catalog.REFERENCE_BIN_COUNT, {}),
    (n.REFERENCE_NOISE, catalog.REFERENCE_NOISE, {}),
    (n.REFERENCE_LEVEL, catalog.REFERENCE_THRESHOLD, {}),
    (n.REFERENCE_MISSING, catalog.REFERENCE_MISSING, {}),
    (n.REFERENCE_UNSEEN, catalog.REFERENCE_UNSEEN, {}),
    (n.REFERENCE_STATISTIC, catalog.REFERENCE_STATISTIC, {"statistic": "=~mean|std"}),
    (n.REFERENCE_CORRELATION, catalog.REFERENCE_CORRELATION, {}),
    (n.REFERENCE_CORRELATION_SAMPLES, catalog.REFERENCE_CORRELATION_SAMPLES, {}),
    (n.REFERENCE_CORRELATION_LEVEL, catalog.REFERENCE_CORRELATION_THRESHOLD, {}),
)
"""What is recorded, of which family, where."""


def reference_group(options: RuleOptions) -> list[Rule]:
    """What stands still as long as a model does: bins, weights, noise floors, levels, shares, correlations.

    Args:
        options: Number of bins, intervals.

    Returns:
        Rules of a group that is evaluated at every ``statistics_interval``, for ``reference`` to hold.
    """
    counts = n.late(n.REFERENCE_COUNT)
    total = f"(sum by ({n.FEATURE}) ({counts}) > 0)"
    smoothed = f"({counts} + 0.5)"
    return [
        _copy(n.REFERENCE_WEIGHT, _weights(options), options),
        *(
            _copy(name, f"max by ({', '.join(family.prometheus_labels)}) ({n.selector(family.prometheus_name, **where)})", options)
            for name, family, where in _COPIES
        ),
        record(n.late(n.REFERENCE_RATIO), f"{counts} / on ({n.FEATURE}) group_left () {total}"),
        *cumulative(
            n.late(n.REFERENCE_CUMULATIVE),
            lambda bins: f"sum by ({n.FEATURE}) ({n.selector(n.late(n.REFERENCE_RATIO), bin=bins)})",
            n.late(n.REFERENCE_WEIGHT),
            n.FEATURE,
            options,
        ),
        record(n.late(n.REFERENCE_TOTAL), total),
        record(
            n.late(n.REFERENCE_SMOOTHED),
            f"{smoothed} / on ({n.FEATURE}) group_left () (sum by ({n.FEATURE}) {smoothed} and on ({n.FEATURE}) {total})",
        ),
        record(n.late(n.REFERENCE_ENTROPY), entropy(n.late(n.REFERENCE_RATIO), n.FEATURE, n.BIN)),
    ]


def reference(options: RuleOptions) -> list[Rule]:
    """What ``reference_group`` recorded last.

    Args:
        options: Intervals.

    Returns:
        Rules of the group whose rules compare with it.
    """
    derived = (n.REFERENCE_RATIO, n.REFERENCE_CUMULATIVE, n.REFERENCE_TOTAL, n.REFERENCE_SMOOTHED, n.REFERENCE_ENTROPY)
    return [held(name, options) for name in (n.REFERENCE_WEIGHT, *(name for name, _, _ in _COPIES), *derived)]


def entropy(share: str, by: str, same: str) -> str:
    """The sum of ``p * ln(p)``: the negative entropy.

    Args:
        share: Of the values, per bin.
        by: Labels of the sum.
        same: Labels of a bin.
    """
    return f"sum by ({by}) (({share} > 0) * on ({same}) ln({share} > 0))"


def cumulative(name: str, share: Callable[[str], str], weight: str, by: str, options: RuleOptions) -> list[Rule]:
    """Share of values up to and including each bin, numeric features only: each bin's rule adds to that before it.

    Args:
        name: What to record.
        share: From a matcher of bins to the share of values in them, by these labels.
        weight: Series of the bins' weights.
        by: Labels.
        options: Number of bins.
    """
    rules = []
    for number in range(options.max_bins - 1):
        # Categories may begin like a number and a space, but none is in a feature whose bins have weights.
        if number:
            start = f"+ on ({by}) {n.selector(name, bin=f'{number - 1:02d}')}"
        else:
            start = f"and on ({n.FEATURE}) {n.selector(weight, bin=f'{number:02d}')}"
        rules.append(record(name, f"{share(f'=~{number:02d} .*')}\n  {start}", bin=f"{number:02d}"))
    return rules


def _weights(options: RuleOptions) -> str:
    """By the number of the bin; none of a feature with more bins than are covered.

    The number goes through a label of its own: where replicas disagree about the bins, two of them have the same number.
    """
    weight = catalog.REFERENCE_BIN_WEIGHT.prometheus_name
    covered = "|".join(f"{index:02d}" for index in range(options.max_bins - 1))
    numbered = f'label_replace(max by ({n.BIN}) ({weight}), "number", "$1", "bin", "([0-9][0-9]) .*")'
    return f"""\
max by ({n.BIN}) (label_replace(max by ({n.FEATURE}, number) ({numbered}), "bin", "$1", "number", "(.*)"))
  unless on ({n.FEATURE}) {n.selector(weight, bin=f"!~({covered}) .*")}"""


def _copy(name: str, expression: str, options: RuleOptions) -> Rule:
    """What the reference says, once for the fleet; it outlives gaps while any replica of the model is remembered."""
    late, step = n.late(name), milliseconds(options.statistics_interval)
    return record(
        late,
        f"""
{expression}
or on ({n.FEATURE})
  (last_over_time({late}[{duration(2 * step)}] offset {duration(step / 2)}) and on ({n.MODEL}) {n.KNOWN})""",
    )
