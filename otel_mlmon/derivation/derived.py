"""Everything that a reference derives from the features of its schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import RECONSTRUCTION_ERROR
from otel_mlmon.columns import NumericColumn, RawColumn
from otel_mlmon.derivation.reconstruction import Codes, Reconstruction
from otel_mlmon.derivation.space import Space
from otel_mlmon.derivation.words import Vocabulary
from otel_mlmon.document import Document
from otel_mlmon.schema import Schema

__all__ = ["Derivation"]

Floats = npt.NDArray[np.float64]

_KEYS = ("vocabularies", "spaces", "reconstruction")


@dataclass(frozen=True, slots=True)
class Derivation:
    """What was fitted on the reference: it turns rows into derived features, and vectors into distances.

    Attributes:
        vocabularies: Of text features.
        spaces: Of all vector features.
        reconstruction: Of all inputs together; None without.

    >>> Derivation().names
    ()
    """

    vocabularies: tuple[Vocabulary, ...] = ()
    spaces: tuple[Space, ...] = ()
    reconstruction: Reconstruction | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the derived features, in order; the distances of vectors are no derived features but their own."""
        texts = [name for words in self.vocabularies for name in words.names]
        components = [name for space in self.spaces for name in space.names]
        return (*texts, *components, *((RECONSTRUCTION_ERROR,) if self.reconstruction is not None else ()))

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vector features."""
        return tuple(space.feature for space in self.spaces)

    @classmethod
    def unfitted(cls, schema: Schema) -> "Derivation":
        """Without a reference: vectors are read, and have no distance."""
        return cls(spaces=tuple(Space(feature.name, feature.width) for feature in schema if feature.kind == "vector"))

    def __call__(
        self,
        raw: Mapping[str, RawColumn],
        numbers: Mapping[str, Floats],
        codes: Mapping[str, Codes],
        *,
        sampled: bool = False,
    ) -> Iterator[tuple[str, NumericColumn]]:
        """Derive from some rows.

        Args:
            raw: Raw columns of texts and vectors.
            numbers: Typed columns of numbers, NaN where missing or invalid.
            codes: Bin numbers of categorical features, -1 where missing or invalid.
            sampled: Whether the work for one call is bounded, by leaving rows out.

        Yields:
            Feature and its numbers: each vector's distances, and each derived feature.
        """
        for words in self.vocabularies:
            valid = ~np.isnan(numbers[words.feature])
            yield from zip(words.names, words(raw[words.feature], valid=valid, sampled=sampled), strict=True)
        for space in self.spaces:
            yield from zip((space.feature, *space.names), space(raw[space.feature], sampled=sampled), strict=True)
        if self.reconstruction is not None:
            yield RECONSTRUCTION_ERROR, self.reconstruction(numbers, codes, sampled=sampled)

    def check(self, schema: Schema) -> None:
        """Hold what was fitted to the schema.

        Raises:
            ValueError: If a text or vector is none in the schema, or an input is not there.
        """
        texts = [words.feature for words in self.vocabularies]
        expected = [feature.name for feature in schema if feature.kind == "text"]
        if texts and texts != expected:
            raise ValueError(f"reference: vocabularies must be of the text features {expected}, got {texts}")
        widths = [(space.feature, space.width) for space in self.spaces]
        wanted = [(feature.name, feature.width) for feature in schema if feature.kind == "vector"]
        if widths != wanted:
            raise ValueError(f"reference: spaces must be of the vector features {wanted}, got {widths}")
        for item in self.reconstruction.inputs if self.reconstruction is not None else ():
            kinds = ("categorical", "boolean") if item.encoding else ("numeric", "text", "timestamp")
            if item.feature not in schema.names or schema[item.feature].kind not in kinds:
                raise ValueError(f"reference: the input {item.feature!r} of the reconstruction must be a feature of kind {kinds}")

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return {
            "vocabularies": [words.to_json() for words in self.vocabularies],
            "spaces": [space.to_json() for space in self.spaces],
            "reconstruction": None if self.reconstruction is None else self.reconstruction.to_json(),
        }

    @classmethod
    def from_json(cls, content: Any) -> "Derivation":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown, of a wrong type or contradicts the rest.
        """
        document = Document("derivation", content, _KEYS)
        fitted = document.raw("reconstruction")
        return cls(
            vocabularies=tuple(map(Vocabulary.from_json, document.items("vocabularies"))),
            spaces=tuple(map(Space.from_json, document.items("spaces"))),
            reconstruction=None if fitted is None else Reconstruction.from_json(fitted),
        )
