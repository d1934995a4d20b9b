"""What windows are compared with: the training data, and themselves some time ago."""

from dataclasses import dataclass

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a window is compared with, as expressions.

    Args:
        name: ``training`` or ``previous``.
        ratio, count: Share and number of values per bin.
        total: Number of values.
        cumulative: Share of values up to each bin.
        labels: Those of ``total``: per feature, or per feature and window.
    """

    name: str
    ratio: str
    count: str
    total: str
    cumulative: str
    labels: str

    @property
    def on_bin(self) -> str:
        """Matches what is per bin and window, on the left, with what is the baseline's per bin."""
        return f"on ({n.BIN}) group_left ()" if self.labels == n.FEATURE else f"on ({n.BIN}, window)"

    @property
    def on_window(self) -> str:
        """Likewise of what is per window."""
        return f"on ({n.FEATURE}) group_left ()" if self.labels == n.FEATURE else f"on ({n.WINDOW})"


def baselines(options: RuleOptions) -> tuple[Baseline, ...]:
    """Both, as the rules of ``statistics_interval`` read them.

    Args:
        options: How long ago the previous one is.
    """
    ago = options.ago(behind=True)
    return (
        Baseline(
            "training",
            ratio=n.REFERENCE_RATIO,
            count=n.REFERENCE_COUNT,
            total=f"(sum by ({n.FEATURE}) ({n.REFERENCE_COUNT}) > 0)",
            cumulative=n.REFERENCE_CUMULATIVE,
            labels=n.FEATURE,
        ),
        Baseline(
            "previous",
            ratio=f"{n.BIN_RATIO} offset {options.ago()}",
            count=f"{n.BIN_COUNT} offset {ago}",
            total=f"({n.COUNT} offset {ago} > 0)",
            cumulative=f"{n.BIN_CUMULATIVE} offset {ago}",
            labels=n.WINDOW,
        ),
    )
