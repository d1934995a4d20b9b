"""What windows are compared with: the training data, and themselves some time ago."""

from dataclasses import dataclass

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.yaml_text import Rule, record


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a window is compared with, as expressions.

    Args:
        name: ``training`` or ``previous``.
        ratio, smoothed, count: Share of values per bin, with half a value more in each bin, and number of values.
        total: Number of values.
        cumulative: Share of values up to each bin.
        entropy: Negative, of the shares.
        labels: Those of ``total``: per feature, or per feature and window.
    """

    name: str
    ratio: str
    smoothed: str
    count: str
    total: str
    cumulative: str
    entropy: str
    labels: str

    @property
    def on_bin(self) -> str:
        """Matches what is per bin and window, on the left, with what is the baseline's per bin."""
        return f"on ({n.BIN}) group_left ()" if self.labels == n.FEATURE else f"on ({n.BIN}, window)"

    @property
    def on_window(self) -> str:
        """Likewise of what is per window."""
        return f"on ({n.FEATURE}) group_left ()" if self.labels == n.FEATURE else f"on ({n.WINDOW})"


BASELINES = (
    Baseline(
        "training",
        ratio=n.REFERENCE_RATIO,
        smoothed=n.REFERENCE_SMOOTHED,
        count=n.REFERENCE_COUNT,
        total=n.REFERENCE_TOTAL,
        cumulative=n.REFERENCE_CUMULATIVE,
        entropy=n.REFERENCE_ENTROPY,
        labels=n.FEATURE,
    ),
    Baseline(
        "previous",
        ratio=n.PREVIOUS_RATIO,
        smoothed=n.PREVIOUS_SMOOTHED,
        count=n.PREVIOUS_COUNT,
        total=f"({n.PREVIOUS_TOTAL} > 0)",
        cumulative=n.PREVIOUS_CUMULATIVE,
        entropy=n.PREVIOUS_ENTROPY,
        labels=n.WINDOW,
    ),
)


def previous(options: RuleOptions) -> list[Rule]:
    """The windows some time ago, recorded anew: a query that looks back a day pays for it with every selector that it has.

    Args:
        options: How long ago the previous baseline is.

    Returns:
        Rules that come before all that compare with it.
    """
    step, ago = options.pace, options.ago()
    copies = (
        *((n.PREVIOUS_COUNT, n.BIN_COUNT), (n.PREVIOUS_TOTAL, n.COUNT), (n.PREVIOUS_RATIO, n.BIN_RATIO)),
        *((n.PREVIOUS_CUMULATIVE, n.BIN_CUMULATIVE), (n.PREVIOUS_MEAN_SHIFT, n.MEAN_SHIFT)),
        *((n.PREVIOUS_SMOOTHED, n.BIN_SMOOTHED), (n.PREVIOUS_ENTROPY, n.ENTROPY)),
    )
    return [record(copy, f"last_over_time({n.selector(name, window=options.eyes)}[{step}] offset {ago})") for copy, name in copies]
