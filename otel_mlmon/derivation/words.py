"""Texts to numbers: how many words, how much of them is not ASCII, how much was never seen, which are empty."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from otel_mlmon.columns import NumericColumn, RawColumn
from otel_mlmon.derivation.sampling import spread
from otel_mlmon.document import Document
from otel_mlmon.feature import TEXT_MEASURES
from otel_mlmon.frames import listed
from otel_mlmon.values import plain

__all__ = ["Vocabulary"]

Floats = npt.NDArray[np.float64]

WORDS = 10_000
"""Words of a vocabulary: the most frequent."""

TEXT_CHARACTERS = 4_096
"""Characters of one text that are looked at, the first."""

SAMPLED_CHARACTERS = 2**18
"""Characters that are looked at of one table of rows while serving, or little more; of longer texts, not all rows are."""

_WORD = re.compile(r"\w+")
_KEYS = ("feature", "words")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that the reference's texts had, as check sums, so that no word leaves the process.

    A word is a run of letters, digits and underscores, case folded.

    Attributes:
        feature: Name of the text feature.
        words: CRC-32 of the most frequent words, at most 10,000, increasing.

    Raises:
        ValueError: If the check sums are not increasing, or are none.

    >>> vocabulary = Vocabulary.fit("comment", ["late again", "Late!"])
    >>> [column.values.tolist() for column in vocabulary(["Again and again", ""])]
    [[3.0, 0.0], [0.0, nan], [0.3333333333333333, nan], [0.0, 1.0]]
    """

    feature: str
    words: tuple[int, ...]
    _known: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sums = self.words
        if list(sums) != sorted(set(sums)) or len(sums) > WORDS or not all(0 <= word < 2**32 for word in sums):
            raise ValueError(f"feature {self.feature!r}: words must be at most {WORDS} check sums, increasing, got {sums!r:.80}")
        object.__setattr__(self, "_known", frozenset(sums))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the derived features."""
        return tuple(f"{self.feature}/{part}" for part in TEXT_MEASURES)

    @classmethod
    def fit(cls, feature: str, texts: Iterable[str]) -> "Vocabulary":
        """The most frequent words of some texts; of equally frequent ones, those with the smaller check sum."""
        counts: Counter[int] = Counter()
        for text in texts:
            counts.update(_sums(text[:TEXT_CHARACTERS]))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(feature, tuple(sorted(ranked[:WORDS])))

    def __call__(
        self, values: RawColumn, *, valid: npt.NDArray[np.bool_] | None = None, sampled: bool = False
    ) -> list[NumericColumn]:
        """Number of words; share of characters that are not ASCII; share of words that are not known; 1 if it is blank, else 0.

        Args:
            values: One text a row, raw.
            valid: Which of them are valid texts, shape ``(rows,)``; None if all are.
            sampled: Whether to look at no more than some 262,144 characters: the other rows have no value.

        Returns:
            One column each; NaN where there is no value, as of the shares of a text without characters, or without words.
        """
        texts = listed(values)
        rows = np.arange(len(texts)) if valid is None else np.flatnonzero(valid)
        if sampled:
            characters = sum(min(len(plain(texts[row])), TEXT_CHARACTERS) for row in rows.tolist())
            rows = rows[spread(len(rows), max(len(rows) * SAMPLED_CHARACTERS // max(characters, 1), 1))]
        result = np.full((len(texts), len(TEXT_MEASURES)), np.nan)
        for row in rows.tolist():
            result[row] = self._measure(plain(texts[row])[:TEXT_CHARACTERS])
        return [NumericColumn(column, 0, {}) for column in np.ascontiguousarray(result.T)]

    def _measure(self, text: str) -> tuple[float, float, float, float]:
        """``TEXT_MEASURES`` of one text."""
        words = _sums(text)
        unknown = len(words) - sum(map(self._known.__contains__, words))
        foreign = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
        return (
            float(len(words)),
            foreign / len(text) if text else np.nan,
            unknown / len(words) if words else np.nan,
            float(not text or text.isspace()),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return {"feature": self.feature, "words": list(self.words)}

    @classmethod
    def from_json(cls, content: Any) -> "Vocabulary":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown, of a wrong type or contradicts the rest.
        """
        name = content.get("feature") if isinstance(content, Mapping) else None
        document = Document(f"feature {name!r}: vocabulary", content, _KEYS)
        return cls(document.text("feature"), document.integers("words"))


def _sums(text: str) -> list[int]:
    """Check sum of each word."""
    return [crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text.casefold())]
