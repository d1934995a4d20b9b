"""Strict reading of JSON documents: every key known and present, every value of its type, every error says where."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


class Document:
    """One JSON object and its place, for messages.

    Args:
        where: What the object is, as a person would say it: ``feature 'age'``.
        content: The parsed JSON object.
        keys: The keys that it must have; no other may be there.

    Raises:
        ValueError: If it is no object, or keys are missing or unknown.

    >>> Document("feature 'age'", {"rows": 3}, ("rows",)).integer("rows")
    3
    """

    __slots__ = ("_content", "_where")

    def __init__(self, where: str, content: Any, keys: Sequence[str]) -> None:
        if not isinstance(content, Mapping):
            raise ValueError(f"{where}: must be a JSON object, got {type(content).__name__}")
        missing, unknown = sorted(set(keys) - set(content)), sorted(map(str, set(content) - set(keys)))
        if missing or unknown:
            raise ValueError(f"{where}: the keys must be {sorted(keys)}, missing {missing}, unknown {unknown}")
        self._where = where
        self._content = content

    def raw(self, key: str) -> Any:
        """The value as it was parsed."""
        return self._content[key]

    def text(self, key: str) -> str:
        """A string."""
        return _text(f"{self._where}: {key}", self._content[key])

    def integer(self, key: str) -> int:
        """A whole number; true and 1.0 are none."""
        return _integer(f"{self._where}: {key}", self._content[key])

    def number(self, key: str, *, optional: bool = False) -> float:
        """A finite number; null is NaN if ``optional``."""
        value = self._content[key]
        return math.nan if value is None and optional else _number(f"{self._where}: {key}", value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(_text(f"{self._where}: {key}[{i}]", value) for i, value in enumerate(self.items(key)))

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(_integer(f"{self._where}: {key}[{i}]", value) for i, value in enumerate(self.items(key)))

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        return tuple(_number(f"{self._where}: {key}[{i}]", value) for i, value in enumerate(self.items(key)))

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self._content[key]
        if not isinstance(value, list):
            raise ValueError(f"{self._where}: {key} must be a list, got {value!r}")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object of anything."""
        value = self._content[key]
        if not isinstance(value, Mapping):
            raise ValueError(f"{self._where}: {key} must be an object, got {value!r}")
        return value

    def named_numbers(self, key: str) -> dict[str, float]:
        """An object of finite numbers."""
        return {name: _number(f"{self._where}: {key}[{name!r}]", value) for name, value in self.mapping(key).items()}


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a string, got {value!r}")
    return value


def _integer(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{where} must be a whole number, got {value!r}")
    return value


def _number(where: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, got {value!r}")
    return float(value)
