"""Recording rules of the reference: one copy for the fleet of what its replicas expose."""

import itertools

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
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

NUMERIC = n.selector(n.REFERENCE_WEIGHT, bin="00")
"""One series of each feature whose bins have weights."""


def reference(options: RuleOptions) -> list[Rule]:
    """What stands still as long as a model does: bins, weights, noise floors, levels, shares, correlations.

    Args:
        options: Number of bins, intervals.

    Returns:
        Rules in order of dependency; those of drift stand behind them.
    """
    total = f"(sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0)"
    smoothed = f"({n.REFERENCE_COUNT} + 0.5)"
    return [
        _copy(n.REFERENCE_WEIGHT, _weights(options), options),
        *(
            _copy(name, f"max by ({', '.join(family.prometheus_labels)}) ({n.selector(family.prometheus_name, **where)})", options)
            for name, family, where in _COPIES
        ),
        record(n.REFERENCE_RATIO, f"{n.REFERENCE_COUNT} / on ({n.FEATURE}) group_left () {total}"),
        record(n.REFERENCE_TOTAL, total),
        record(
            n.REFERENCE_SMOOTHED,
            f"{smoothed} / on ({n.FEATURE}) group_left () (sum by ({n.FEATURE}) {smoothed} and on ({n.FEATURE}) {total})",
        ),
        record(n.REFERENCE_ENTROPY, entropy(n.REFERENCE_RATIO, n.FEATURE, n.BIN)),
        *cumulative(n.REFERENCE_CUMULATIVE, n.REFERENCE_NUMBERED, n.REFERENCE_RATIO, n.FEATURE, options),
    ]


def entropy(share: str, by: str, same: str) -> str:
    """The sum of ``p * ln(p)``: the negative entropy.

    Args:
        share: Of the values, per bin.
        by: Labels of the sum.
        same: Labels of a bin.
    """
    return f"sum by ({by}) (({share} > 0) * on ({same}) ln({share} > 0))"


def cumulative(name: str, numbered: str, ratio: str, by: str, options: RuleOptions) -> list[Rule]:
    """Share of values up to and including each bin, numeric features only: each bin's rule adds to that before it.

    Args:
        name: What to record.
        numbered: Where the shares are recorded by the number of the bin, with which its label begins.
        ratio: Series of the shares of all bins.
        by: Labels.
        options: Number of bins.
    """
    number = f'label_replace({ratio}, "number", "$1", "bin", "([0-9][0-9]) .*")'
    places = [f"{place:02d}" for place in range(options.max_bins - 1)]
    # Categories may begin like a number and a space, but none is in a feature whose bins have weights.
    first = f"sum by ({by}) ({n.selector(numbered, number=places[0])})\n  and on ({n.FEATURE}) {NUMERIC}"
    return [
        record(numbered, f"sum by ({by}, number) ({number})"),
        record(name, first, bin=places[0]),
        *(
            record(name, f"{n.selector(numbered, number=place)}\n  + on ({by}) {n.selector(name, bin=before)}", bin=place)
            for before, place in itertools.pairwise(places)
        ),
    ]


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
    step = milliseconds(options.pace)
    return record(
        name,
        f"""
{expression}
or on ({n.FEATURE})
  (last_over_time({name}[{duration(2 * step)}] offset {duration(step / 2)}) and on ({n.MODEL}) {n.KNOWN})""",
    )
