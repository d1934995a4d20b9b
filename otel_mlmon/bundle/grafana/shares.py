"""Shares of a feature's values that alarm: missing, invalid, out of range, new; as the alerts compare them."""

from dataclasses import dataclass

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana.colours import CRITICAL, FINE, PLAIN, WARNING, words
from otel_mlmon.bundle.grafana.queries import chosen
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.thresholds import SEVERITIES, VARYING_RATIO


@dataclass(frozen=True, slots=True)
class Share:
    """One of them.

    Args:
        statistic: As thresholds name it.
        recorded: The series.
        usual: The reference's share, above which the alert counts; empty for none.
        word: What is wrong with such values.
    """

    statistic: str
    recorded: str
    usual: str
    word: str

    def limit(self, severity: str = "", *, feature: bool = False) -> str:
        """A selector of the thresholds, of one severity or both."""
        return chosen(n.SHARE_THRESHOLD, feature=feature, statistic=self.statistic, **({"severity": severity} if severity else {}))

    def risen(self, window: str) -> str:
        """What the alert compares: the share, or its rise over the reference's."""
        share = chosen(self.recorded, window=window)
        return f"({share} - on ({n.FEATURE}) {self.usual})" if self.usual else share

    def over(self, severity: str, window: str) -> str:
        """What exceeds the threshold of a severity."""
        return f"({self.risen(window)} > on ({n.FEATURE}) {self.limit(severity)})"


MISSING = Share("missing_ratio", n.MISSING_RATIO, n.REFERENCE_MISSING, "missing")
INVALID = Share("invalid_ratio", n.INVALID_RATIO, "", "invalid")
OUT_OF_RANGE = Share("out_of_range_ratio", n.OUT_OF_RANGE_RATIO, "", "out of range")
UNSEEN = Share("unseen_ratio", n.UNSEEN_RATIO, n.REFERENCE_UNSEEN, "new categories")
SHARES = (MISSING, INVALID, OUT_OF_RANGE, UNSEEN)

FEW, PROBLEM = 1, 10
"""States below a problem, which has 10 for a warning, 20 for a critical one, and its place among ``SHARES``."""

_LEAST = n.selector(n.THRESHOLD, statistic="min_samples")
_FROZEN = PROBLEM + len(SHARES)

STATE_WORDS = words(
    ("0", "fine", FINE),
    (str(FEW), "too few rows", PLAIN),
    *((str(PROBLEM + place), share.word, WARNING) for place, share in enumerate(SHARES)),
    (str(_FROZEN), "frozen", WARNING),
    *((str(2 * PROBLEM + place), f"{share.word}, critical", CRITICAL) for place, share in enumerate(SHARES)),
)


def enough(window: str) -> str:
    """Features with as many values as the alerts ask for."""
    return f"({chosen(n.FEATURE_ROWS, window=window)} >= on ({n.MODEL}) group_left () {_LEAST})"


def state(options: RuleOptions) -> str:
    """The worst about each feature, of ``STATE_WORDS``.

    Args:
        options: Their first pair of windows is the alerts'.
    """
    fast, slow = options.pairs[0]
    on = f"on ({n.FEATURE})"
    codes = []
    for worse, severity in enumerate(SEVERITIES, 1):
        for place, share in enumerate(SHARES):
            both = f"({share.over(severity, slow)} and {on} {share.over(severity, fast)})"
            codes.append(
                n.tagged(f"max by ({n.FEATURE}) ({both}) * 0 + {worse * PROBLEM + place}", f"{share.statistic} {severity}")
            )
    frozen = f"(({chosen(n.RANGE)} == 0) and {on} ({n.VARYING} >= {VARYING_RATIO:g}))"
    codes.append(n.tagged(f"max by ({n.FEATURE}) ({frozen}) * 0 + {_FROZEN}", "frozen"))
    union = "\n  or ".join(codes)
    rows = chosen(n.FEATURE_ROWS, window=fast)
    few = f"({rows} < on ({n.MODEL}) group_left () {_LEAST})"
    return f"""\
(max by ({n.FEATURE}) ({union}) unless {on} {few})
or {on} max by ({n.FEATURE}) ({few} * 0 + {FEW})
or {on} max by ({n.FEATURE}) ({rows} * 0)"""
