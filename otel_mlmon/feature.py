"""Feature: the name of one model input, its kind, and what its values may be."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from otel_mlmon.catalog import RESERVED_FEATURES
from otel_mlmon.values import CATEGORY_LENGTH, category, is_real, number

__all__ = ["Feature", "Kind"]

Kind = Literal["numeric", "categorical", "boolean", "text", "timestamp", "vector"]
"""How a feature is read: a value, a category, a truth value, a length in characters, an age in seconds, a distance."""

MAX_WIDTH = 65_536
TEXT_MEASURES = ("words", "non_ascii", "unknown_words", "empty")
COMPONENTS = ("pc1", "pc2", "pc3")
"""What is derived from a text, and from a vector: the part of a derived feature's name behind the slash."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One model input.

    Args:
        name: Not empty, and no leading ``@``, which is for the model's own outputs.
        kind: How the values are read.
        dtype: Descriptive (``"int64"``), except ``"integer"``: then a numeric value with a fraction is invalid.
        required: Whether rows must have it.
        nullable: Whether its value may be missing.
        minimum: Least valid value, inclusive; of a timestamp, the least age in seconds. Declared, never inferred.
        maximum: Greatest valid value, likewise.
        categories: All valid categories, as `category` writes them; empty if any is valid. Declared, never inferred.
        format: Regular expression that a categorical or text value must match as a whole.
        width: How many numbers a vector has; of other kinds 0.

    Raises:
        ValueError: If the declaration contradicts itself; the message names feature, rule and value.

    >>> Feature("distance", minimum=0).minimum
    0.0
    """

    name: str
    kind: Kind = field(default="numeric", kw_only=True)
    dtype: str = field(default="", kw_only=True)
    required: bool = field(default=True, kw_only=True)
    nullable: bool = field(default=True, kw_only=True)
    minimum: float | None = field(default=None, kw_only=True)
    maximum: float | None = field(default=None, kw_only=True)
    categories: tuple[str, ...] = field(default=(), kw_only=True)
    format: str | None = field(default=None, kw_only=True)
    width: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"feature {self.name!r}: a name is a string that is not empty, got {self.name!r}")
        if self.name.startswith("@") and self.name not in RESERVED_FEATURES:
            raise ValueError(f"feature {self.name!r}: names that start with '@' are reserved, got {self.name!r}")
        if self.kind not in get_args(Kind):
            raise self._error(f"kind must be one of {list(get_args(Kind))}", self.kind)
        if not isinstance(self.dtype, str):
            raise self._error("dtype must be a string", self.dtype)
        for flag in ("required", "nullable"):
            if not isinstance(getattr(self, flag), bool):
                raise self._error(f"{flag} must be true or false", getattr(self, flag))
        self._check_bounds()
        self._check_categories()
        self._check_format()
        self._check_width()

    @property
    def numeric(self) -> bool:
        """Whether the values become numbers: of numeric, text (characters), timestamp (age in seconds) and vector (distance)."""
        return self.kind in ("numeric", "text", "timestamp", "vector")

    @property
    def derived(self) -> tuple[str, ...]:
        """Names of the features that a reference may derive from this one.

        >>> Feature("comment", kind="text").derived
        ('comment/words', 'comment/non_ascii', 'comment/unknown_words', 'comment/empty')
        """
        parts = {"text": TEXT_MEASURES, "vector": COMPONENTS}.get(self.kind, ())
        return tuple(f"{self.name}/{part}" for part in parts)

    def to_json(self) -> dict[str, Any]:
        """Name, kind and what differs from the defaults; `from_json` reads it back."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        document = {key: value for key, value in values.items() if key == "kind" or value != _DEFAULTS.get(key)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Feature":
        """Feature from what `to_json` wrote.

        Raises:
            ValueError: If a key is unknown or a value has the wrong type.
        """
        if not isinstance(document, Mapping) or "name" not in document:
            raise ValueError(f"feature: must be an object with a name, got {document!r}")
        unknown = sorted(set(document) - {item.name for item in fields(cls)})
        if unknown:
            raise ValueError(f"feature {document['name']!r}: keys must be fields of Feature, got {unknown!r}")
        return cls(**document)

    def _error(self, rule: str, value: object) -> ValueError:
        return ValueError(f"feature {self.name!r}: {rule}, got {value!r}")

    def _check_bounds(self) -> None:
        for name in ("minimum", "maximum"):
            bound = getattr(self, name)
            if bound is None:
                continue
            if self.kind not in ("numeric", "timestamp"):
                raise self._error(f"{name} is for numeric and timestamp features", bound)
            value = number(bound) if is_real(type(bound)) and not isinstance(bound, bool) else None
            if not isinstance(value, float):
                raise self._error(f"{name} must be a finite number", bound)
            object.__setattr__(self, name, value)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise self._error("minimum must not exceed maximum", (self.minimum, self.maximum))

    def _check_categories(self) -> None:
        if not isinstance(self.categories, (tuple, list)):
            raise self._error("categories must be a list of strings", self.categories)
        object.__setattr__(self, "categories", tuple(self.categories))
        if self.categories and self.kind != "categorical":
            raise self._error("categories are for categorical features", self.categories)
        for value in self.categories:
            if not isinstance(value, str) or category(value) != value:
                raise self._error(f"a category is a string of at most {CATEGORY_LENGTH} characters", value)
        if len(set(self.categories)) < len(self.categories):
            raise self._error("categories must be distinct", self.categories)

    def _check_format(self) -> None:
        if self.format is None:
            return
        if self.kind not in ("categorical", "text"):
            raise self._error("format is for categorical and text features", self.format)
        try:
            re.compile(self.format)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            raise self._error(f"format must be a regular expression ({error})", self.format) from error

    def _check_width(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, int):
            raise self._error("width must be a whole number", self.width)
        if self.kind == "vector" and not 1 <= self.width <= MAX_WIDTH:
            raise self._error(f"width of a vector must be from 1 to {MAX_WIDTH}", self.width)
        if self.kind != "vector" and self.width:
            raise self._error("width is for vector features", self.width)


_DEFAULTS = {item.name: item.default for item in fields(Feature) if item.default is not MISSING}
