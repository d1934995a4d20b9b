"""What the training data says about one feature: the record that drift and data quality are compared with."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Literal

from otel_mlmon.catalog import OTHER, UNSEEN
from otel_mlmon.document import Document

Space = Literal["z", "u"]

MAX_NUMERIC_BINS = 99
"""A bin's label starts with its number in two digits."""

USUAL_NEW = 0.005
"""Share of values in new categories from which on these count as ``__other__``.

A share s that the reference has none of adds about ``s * ln(2 * s * samples)`` to PSI: 0.05 with a million samples.
"""

_NAN_IF_EMPTY = ("mean", "std", "minimum", "maximum", "median")
_KEYS = (
    *("feature", "kind", "bins", "edges", "counts", "weights", "rows", "missing", "invalid", "outliers", *_NAN_IF_EMPTY),
    *("fences", "histogram", "correlations", "noise", "thresholds", "others", "singletons"),
)
_CORRELATION_KEYS = ("target", "space", "r", "samples", "thresholds")


@dataclass(frozen=True, slots=True)
class Correlation:
    """Correlation of a feature with a model output or label in the reference.

    Attributes:
        target: ``@score``, ``@prediction`` or ``@label``.
        space: ``z``: Pearson on standardised values, clipped at 8 deviations as serving does. ``u``: Spearman over bins.
        r: From -1 to 1.
        samples: Rows in which both are valid.
        thresholds: Window (``1d``) -> shift, in Fisher's z, that normal operation reaches; empty without timestamps.
    """

    target: str
    space: Space
    r: float
    samples: int
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.space not in ("z", "u") or not abs(self.r) <= 1 or self.samples < 2:
            raise ValueError(
                f"correlation with {self.target!r}: space is 'z' or 'u', |r| <= 1, samples >= 2, "
                f"got {self.space!r}, {self.r!r}, {self.samples!r}"
            )
        if not all(math.isfinite(level) and level > 0 for level in self.thresholds.values()):
            raise ValueError(f"correlation with {self.target!r}: thresholds must be finite and > 0, got {self.thresholds!r}")


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """One feature of the reference: bins, counts and statistics.

    A numeric ``x`` is in bin number ``(edges <= x).sum()``: half-open intervals ``[a, b)``, open at both ends. Categories
    are looked up in ``codes``; any other valid one is in bin number ``unseen``.

    Attributes:
        feature: Name in the schema, or ``@prediction``, ``@score``, ``@label``.
        kind: How it is binned; lengths of texts and ages of timestamps are numeric, booleans categorical.
        bins: Labels, in order. Categorical: the most frequent categories, ``__other__`` if there were more, ``__unseen__``.
        edges: Numeric: one fewer than bins, strictly increasing. Categorical: none.
        counts: Valid values of the reference per bin.
        weights: Per bin but the last: mean of the next bin less the mean of this one, in standard deviations (values clipped
            at 8 deviations from the mean); none if the feature did not vary or is categorical.
        rows, missing, invalid: Rows of the reference, and those in no bin.
        outliers: Valid values outside ``fences``.
        mean, std, minimum, maximum, median: Of the valid values, ``std`` with divisor n; NaN for categorical or without values.
        fences: Tukey's: quartiles less and plus 1.5 interquartile ranges; infinite for categorical.
        histogram: Upper bounds for ``mlmon_feature_value``: reference quantiles, rounded, increasing.
        correlations: With model output and label, numeric features only.
        noise: Statistic -> noise floor at one row against one, at 1 % over all features; absent where it says nothing.
        thresholds: Statistic -> window (``1d``) -> level that normal operation reaches; empty without timestamps.
        others: Known categories beyond the most frequent, if few enough to list; they belong to ``__other__``.
        singletons: Categories that one value alone is in; 0 if there were too many to list.

    Raises:
        ValueError: If the parts contradict each other.

    Source:
        Tukey, Exploratory Data Analysis (1977), for the fences.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    bins: tuple[str, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...] = ()
    rows: int = 0
    missing: int = 0
    invalid: int = 0
    outliers: int = 0
    mean: float = math.nan
    std: float = math.nan
    minimum: float = math.nan
    maximum: float = math.nan
    median: float = math.nan
    fences: tuple[float, float] = (-math.inf, math.inf)
    histogram: tuple[float, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    singletons: int = 0

    @property
    def samples(self) -> int:
        """Valid values."""
        return sum(self.counts)

    @property
    def scale(self) -> float:
        """Divisor of z: the standard deviation, or 1 for a feature that did not vary."""
        return self.std if self.std > 0 else 1.0

    @property
    def midranks(self) -> tuple[float, ...]:
        """Reference distribution function in the middle of each bin: ``(values below + half of the bin) / values``."""
        return midranks(self.counts)

    @property
    def codes(self) -> dict[str, int]:
        """Category -> bin number; empty for numeric."""
        if self.kind == "numeric":
            return {}
        named = {name: number for number, name in enumerate(self.bins[:-1]) if name != OTHER}
        other = self.bins.index(OTHER) if OTHER in self.bins else 0
        return named | dict.fromkeys(self.others, other)

    @property
    def unseen(self) -> int:
        """Bin number of a valid category that is not in ``codes``.

        ``__unseen__``; but ``__other__`` if the reference had too many categories to list, since nobody can tell them apart then,
        or if more new ones are to be expected than drift could be told from: new ids are no news.
        """
        new = not self.others or self.new_ratio > USUAL_NEW
        return self.bins.index(OTHER) if OTHER in self.bins and new else len(self.bins) - 1

    @property
    def new_ratio(self) -> float:
        """Share of values that will be in new categories without any drift; NaN without values.

        Source:
            Good & Turing: Good (1953), doi:10.1093/biomet/40.3-4.237, equation 9: singletons over values.
        """
        return self.singletons / self.samples if self.samples else math.nan

    @property
    def unseen_ratio(self) -> float:
        """Share of values that will be in ``__unseen__`` without any drift; NaN without values."""
        return self.new_ratio if self.unseen == len(self.bins) - 1 else 0.0

    def __post_init__(self) -> None:
        rule = next((text for text, holds in self._rules() if not holds), None)
        if rule is not None:
            raise ValueError(f"feature {self.feature!r}: {rule}")

    def _rules(self) -> Iterator[tuple[str, bool]]:
        """Each rule with the value at hand, and whether it holds; a later one may rely on the earlier."""
        size, valid, numeric = len(self.bins), sum(self.counts), self.kind == "numeric"
        numbers = (self.mean, self.std, self.minimum, self.maximum, self.median)
        yield f"kind is 'numeric' or 'categorical', got {self.kind!r}", self.kind in ("numeric", "categorical")
        yield f"bins must be at least one and distinct, got {self.bins!r}", 0 < len(set(self.bins)) == size
        yield (
            f"one count per bin, whole and >= 0: {size} bins, got {self.counts!r}",
            len(self.counts) == size and min(self.counts) >= 0,
        )
        totals = (self.rows, self.missing, self.invalid, self.outliers)
        yield f"rows, missing, invalid and outliers must be >= 0, got {totals!r}", min(totals) >= 0
        yield (
            f"rows must be counts + missing + invalid, got {self.rows} != {valid} + {self.missing} + {self.invalid}",
            self.rows == valid + self.missing + self.invalid,
        )
        yield f"outliers must be valid values: at most {valid}, got {self.outliers}", self.outliers <= valid
        floors = [*self.noise.values(), *(level for levels in self.thresholds.values() for level in levels.values())]
        yield f"noise and thresholds must be finite and > 0, got {floors!r}", all(math.isfinite(x) and x > 0 for x in floors)
        if not numeric:
            yield (
                f"the last bin must be {UNSEEN!r} with count 0, got {self.bins[-1]!r}",
                self.bins[-1] == UNSEEN and not self.counts[-1],
            )
            yield f"others belong to a bin {OTHER!r}, got bins {self.bins!r}", not self.others or OTHER in self.bins
            both = sorted(set(self.others) & set(self.bins))
            yield f"others must be distinct and no bins, got {both!r}", not both and len(set(self.others)) == len(self.others)
            yield (
                f"singletons must be from 0 to the values, {valid}, got {self.singletons!r}",
                0 <= self.singletons <= valid,
            )
            extra = (self.edges, self.weights, self.histogram, self.correlations)
            yield f"a categorical feature has no edges, weights, histogram or correlations, got {extra!r}", not any(extra)
            yield (
                f"a categorical feature has no mean, std, minimum, maximum, median, got {numbers!r}",
                all(map(math.isnan, numbers)),
            )
            return
        yield f"a numeric feature has at most {MAX_NUMERIC_BINS} bins, got {size}", size <= MAX_NUMERIC_BINS
        yield f"edges must be finite and strictly increasing, got {self.edges!r}", _increasing(self.edges)
        yield f"one edge fewer than bins ({size}), got {self.edges!r}", len(self.edges) == size - 1
        expected = interval_labels(self.edges)
        yield f"bins must be labelled by their edges, {expected!r}, got {self.bins!r}", self.bins == expected
        yield f"a numeric feature has no others, got {self.others!r}", not self.others
        yield f"a numeric feature has no singletons, got {self.singletons!r}", not self.singletons
        yield f"histogram must be finite and strictly increasing, got {self.histogram!r}", _increasing(self.histogram)
        if not valid:
            yield f"no values, so no mean, std, minimum, maximum, median, got {numbers!r}", all(map(math.isnan, numbers))
            yield f"no values, so no weights, got {self.weights!r}", not self.weights
            return
        yield f"mean, std, minimum, maximum, median must be finite, got {numbers!r}", all(map(math.isfinite, numbers))
        ordered = self.minimum <= min(self.mean, self.median) and max(self.mean, self.median) <= self.maximum
        yield f"minimum <= mean, median <= maximum and std >= 0, got {numbers!r}", ordered and self.std >= 0
        weights = all(math.isfinite(weight) and weight >= 0 for weight in self.weights)
        yield (
            f"weights, if any, must be {size - 1}, finite and >= 0, and need std > 0, got {self.weights!r}",
            not self.weights or (len(self.weights) == size - 1 and weights and self.std > 0),
        )
        yield f"fences must be in order and not NaN, got {self.fences!r}", self.fences[0] <= self.fences[1]

    def to_json(self) -> dict[str, Any]:
        """As JSON's types: NaN is null, infinite fences are null, ``midranks`` follow from the counts and are left out."""
        document: dict[str, Any] = {key: getattr(self, key) for key in _KEYS}
        document |= {key: None if math.isnan(document[key]) else document[key] for key in _NAN_IF_EMPTY}
        document |= {key: list(document[key]) for key in ("bins", "edges", "counts", "weights", "histogram", "others")}
        document["fences"] = [fence if math.isfinite(fence) else None for fence in self.fences]
        document["correlations"] = [
            {key: getattr(item, key) for key in _CORRELATION_KEYS} | {"thresholds": dict(item.thresholds)}
            for item in self.correlations
        ]
        document["noise"] = dict(self.noise)
        document["thresholds"] = {statistic: dict(levels) for statistic, levels in self.thresholds.items()}
        return document

    @classmethod
    def from_json(cls, content: Any) -> "FeatureProfile":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown, of a wrong type or contradicts the rest.
        """
        name = content.get("feature") if isinstance(content, Mapping) else None
        document = Document(f"feature {name!r}", content, _KEYS)
        kind = document.text("kind")
        return cls(
            feature=document.text("feature"),
            kind=kind,  # type: ignore[arg-type]  # checked by the rules
            bins=document.texts("bins"),
            edges=document.numbers("edges"),
            counts=document.integers("counts"),
            weights=document.numbers("weights"),
            rows=document.integer("rows"),
            missing=document.integer("missing"),
            invalid=document.integer("invalid"),
            outliers=document.integer("outliers"),
            mean=document.number("mean", optional=True),
            std=document.number("std", optional=True),
            minimum=document.number("minimum", optional=True),
            maximum=document.number("maximum", optional=True),
            median=document.number("median", optional=True),
            fences=_fences(f"feature {name!r}", document.items("fences")),
            histogram=document.numbers("histogram"),
            correlations=tuple(_correlation(name, item) for item in document.items("correlations")),
            noise=document.named_numbers("noise"),
            thresholds={
                statistic: Document(f"feature {name!r}: thresholds", {statistic: levels}, (statistic,)).named_numbers(statistic)
                for statistic, levels in document.mapping("thresholds").items()
            },
            others=document.texts("others"),
            singletons=document.integer("singletons"),
        )


def midranks(counts: Sequence[int]) -> tuple[float, ...]:
    """Distribution function in the middle of each bin.

    >>> midranks((2, 0, 2))
    (0.25, 0.5, 0.75)
    """
    total = max(sum(counts), 1)
    return tuple((below + count / 2) / total for below, count in zip(accumulate(counts, initial=0), counts, strict=False))


def interval_labels(edges: Sequence[float]) -> tuple[str, ...]:
    """Labels of the bins between edges, which sort and read: ``"00 (-inf, 12.5)"``.

    A bin that holds one value only, ``[5, nextafter(5))``, is ``"01 [5, 5]"``.

    >>> interval_labels((0.0, 12.5))
    ('00 (-inf, 0)', '01 [0, 12.5)', '02 [12.5, inf)')
    """
    lower, upper = ["(-inf"], []
    for before, edge in zip((-math.inf, *edges), edges, strict=False):
        point = math.isfinite(before) and edge == math.nextafter(before, math.inf)
        upper.append(f"{_short(before)}]" if point else f"{_short(edge)})")
        lower.append(f"({_short(before)}" if point else f"[{_short(edge)}")
    upper.append("inf)")
    return tuple(f"{number:02d} {start}, {end}" for number, (start, end) in enumerate(zip(lower, upper, strict=True)))


def _short(edge: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(edge).removesuffix(".0")


def _increasing(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values)) and all(a < b for a, b in pairwise(values))


def _fences(where: str, items: list[Any]) -> tuple[float, float]:
    if len(items) != 2:
        raise ValueError(f"{where}: fences must be two numbers, null for none, got {items!r}")
    low, high = (Document(where, {"fences": item}, ("fences",)).number("fences", optional=True) for item in items)
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def _correlation(feature: str | None, content: Any) -> Correlation:
    document = Document(f"feature {feature!r}: correlation", content, _CORRELATION_KEYS)
    space = document.text("space")
    return Correlation(
        target=document.text("target"),
        space=space,  # type: ignore[arg-type]  # checked at construction
        r=document.number("r"),
        samples=document.integer("samples"),
        thresholds=document.named_numbers("thresholds"),
    )
