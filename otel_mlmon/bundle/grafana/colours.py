"""Colours and thresholds. A colour never stands alone: a word, a number or a line says the same."""

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.models import dashboard as dm

from otel_mlmon.bundle.options import RuleOptions

FINE, WARNING, CRITICAL = "green", "orange", "red"
PLAIN = "blue"
"""Where no threshold makes sense."""


def steps(first: str, *further: tuple[float, str]) -> d.ThresholdsConfig:
    """Colours from certain values on; the first one below all of them.

    Args:
        first: Colour.
        further: (value, colour), ascending.
    """
    marks = [dm.Threshold(value=None, color=first), *(dm.Threshold(value=value, color=colour) for value, colour in further)]
    return d.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps(marks)


def plain() -> d.ThresholdsConfig:
    """No threshold."""
    return steps(PLAIN)


def limits(options: RuleOptions, statistic: str, *, below: str = FINE) -> d.ThresholdsConfig:
    """Those of a statistic, as the alerts have them where code sets none.

    Args:
        options: The rules'.
        statistic: One of ``thresholds.SHIPPED``.
        below: Colour of what does not alarm; ``transparent`` for lines in a graph.
    """
    warning, critical = (options.threshold(statistic, severity) for severity in ("warning", "critical"))
    return steps(below, (warning, WARNING), (critical, CRITICAL))


def words(*said: tuple[str, str, str]) -> dm.ValueMap:
    """Words instead of numbers.

    Args:
        said: (value as text, word, colour).
    """
    shown = {value: dm.ValueMappingResult(text=word, color=colour, index=place) for place, (value, word, colour) in enumerate(said)}
    return dm.ValueMap(options=shown)


STATES = words(("0", "fine", FINE), ("1", "warning", WARNING), ("2", "critical", CRITICAL))
"""Of ``names.STATE``."""

QUIET_STATES = words(("0", "fine", "transparent"), ("1", "warning", WARNING), ("2", "critical", CRITICAL))
"""The same for cells: only what is not fine is filled."""
