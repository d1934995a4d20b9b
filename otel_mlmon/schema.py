"""Schema: the features of a model, in order."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_mlmon import schema_sources
from otel_mlmon.feature import Feature, Kind

__all__ = ["Feature", "Kind", "Schema"]

FORMAT = "otel_mlmon.schema/1"
"""Format and version of the JSON document."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a model takes: its features, in the order of an array row.

    Args:
        features: At least none, with distinct names, none of which starts with ``@`` or is that of a derived feature.

    Raises:
        ValueError: If a name comes twice, is reserved, or is one that a reference derives from another feature.

    >>> schema = Schema((Feature("distance"), Feature("carrier", kind="categorical")))
    >>> schema.names, schema["carrier"].kind
    (('distance', 'carrier'), 'categorical')
    """

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        seen: set[str] = set()
        for feature in self.features:
            if not isinstance(feature, Feature):
                raise ValueError(f"schema: features must be Feature objects, got {feature!r}")
            if feature.name.startswith("@"):
                raise ValueError(f"feature {feature.name!r}: names that start with '@' are reserved, got {feature.name!r}")
            if feature.name in seen:
                raise ValueError(f"feature {feature.name!r}: names must be distinct, got {list(self.names)!r}")
            seen.add(feature.name)
        derived = seen.intersection(name for feature in self.features for name in feature.derived)
        if derived:
            raise ValueError(f"feature {min(derived)!r}: the name is that of a derived feature, got {list(self.names)!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vector features."""
        return tuple(feature.name for feature in self.features if feature.kind == "vector")

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @classmethod
    def infer(cls, data: Any, *, kinds: Mapping[str, Kind] | None = None) -> "Schema":
        """Schema of ``data``, whatever `split` reads; see `schema_sources.infer` for the rules.

        Args:
            data: Frame, mapping of columns, structured array, list of mappings, or columns that `split` returned.
            kinds: Kinds of features for which the data would mislead, as ``{"hour": "categorical"}``.

        Raises:
            ValueError: If a column has no value to judge by, or values of several types, and is not in ``kinds``.
        """
        return cls(schema_sources.infer(data, kinds or {}))

    @classmethod
    def from_json_schema(cls, document: Mapping[str, Any]) -> "Schema":
        """Schema of the object that a JSON Schema describes; see `schema_sources.read_json_schema` for what it takes over.

        Raises:
            ValueError: If a property is an object, an array but of so many numbers, or anything else that is no single value.
        """
        return cls(schema_sources.read_json_schema(document))

    @classmethod
    def from_pydantic(cls, model: Any) -> "Schema":
        """Schema of a pydantic model class, from the JSON Schema that it gives; features bear the names of the fields.

        Raises:
            ValueError: If it is no pydantic model, or as in `from_json_schema`.
        """
        if not isinstance(model, type) or not hasattr(model, "model_json_schema"):
            raise ValueError(f"schema: must be a pydantic model class, got {model!r}")
        return cls.from_json_schema(model.model_json_schema(by_alias=False))

    def to_json(self) -> dict[str, Any]:
        """Document for `from_json`: plain lists, dicts, strings and numbers."""
        return {"format": FORMAT, "features": [feature.to_json() for feature in self.features]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Schema":
        """Schema from what `to_json` wrote.

        Raises:
            ValueError: If the format version is another, a key is unknown, or a feature is not valid.
        """
        if not isinstance(document, Mapping) or document.get("format") != FORMAT:
            raise ValueError(
                f"schema: format must be {FORMAT!r}, got {document.get('format') if isinstance(document, Mapping) else document!r}"
            )
        unknown = sorted(set(document) - {"format", "features"})
        if unknown:
            raise ValueError(f"schema: keys must be 'format' and 'features', got {unknown!r}")
        features = document.get("features")
        if not isinstance(features, (list, tuple)):
            raise ValueError(f"schema: features must be a list, got {features!r}")
        return cls(tuple(map(Feature.from_json, features)))

    def save(self, path: str | Path) -> None:
        """Write the schema as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Schema from a file that `save` wrote.

        Raises:
            ValueError: If the file is not JSON, or as in `from_json`.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"schema {str(path)!r}: must be JSON in UTF-8, got {error}") from error
        return cls.from_json(document)
