"""Recording rules of the reference: one copy for the fleet of what its replicas expose."""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions, duration, milliseconds
from otel_mlmon.bundle.yaml_text import Rule, record


def reference_rules(options: RuleOptions) -> list[Rule]:
    """What stands still as long as a model does: bins, weights, noise floors, levels, shares, correlations.

    Args:
        options: Number of bins, intervals.

    Returns:
        Rules in order of dependency; all others read them.
    """
    copies = [
        (name, f"max by ({', '.join(family.prometheus_labels)}) ({n.selector(family.prometheus_name, **where)})")
        for name, family, where in (
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
    ]
    total = f"(sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0)"
    return [
        _copy(n.REFERENCE_WEIGHT, _weights(options), options),
        *(_copy(name, expression, options) for name, expression in copies),
        record(n.REFERENCE_RATIO, f"{n.REFERENCE_COUNT} / on ({n.FEATURE}) group_left () {total}"),
        *cumulative(n.REFERENCE_CUMULATIVE, n.REFERENCE_COUNT, n.FEATURE, total, options),
    ]


def cumulative(name: str, counts: str, by: str, total: str, options: RuleOptions) -> list[Rule]:
    """Share of values up to and including each bin but the last, numeric features only: each bin's rule adds to that before it."""
    rules = []
    for number in range(options.max_bins - 1):
        # A category may begin like a number and a space: the sum keeps such categories from clashing, the weight leaves them out.
        share = f"sum by ({by}) ({n.selector(counts, bin=f'=~{number:02d} .*')})\n  / on ({by}) {total}"
        before = f"\n  + on ({by}) {n.selector(name, bin=f'{number - 1:02d}')}" if number else ""
        numeric = f"\n  and on ({n.FEATURE}) {n.selector(n.REFERENCE_WEIGHT, bin=f'{number:02d}')}"
        rules.append(record(name, share + before + numeric, bin=f"{number:02d}"))
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
    step = milliseconds(options.statistics_interval)
    kept = duration(max(milliseconds(options.lookback), 2 * step))
    return record(
        name,
        f"""
{expression}
or on ({n.FEATURE})
  (last_over_time({name}[{kept}] offset {duration(step / 2)}) and on ({n.MODEL}) {n.KNOWN})""",
    )
