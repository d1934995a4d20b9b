"""The reference: the fixed profile of the training data, as one JSON document."""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from otel_mlmon.catalog import OUTPUTS
from otel_mlmon.derivation.derived import Derivation
from otel_mlmon.document import Document
from otel_mlmon.outputs import TASKS, Task
from otel_mlmon.profiling.batches import Batch, Source
from otel_mlmon.profiling.build import profile
from otel_mlmon.profiling.profile import MAX_NUMERIC_BINS, Correlation, FeatureProfile
from otel_mlmon.schema import Schema

__all__ = ["Batch", "Correlation", "FeatureProfile", "Metadata", "Reference"]

FORMAT = "otel_mlmon.reference/2"
_KEYS = ("format", "created", "digest", "task", "rows", "metadata", "schema", "derivation", "profiles")
_METADATA_TEXTS = ("code_revision", "dataset", "feature_version", "environment")
_METADATA_KEYS = (*_METADATA_TEXTS, "trained_at", "metrics", "validation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What is known about the training; all of it may be left out.

    Args:
        code_revision: Revision of the training code.
        dataset: Name or hash of the training data.
        feature_version: Version of the feature definitions.
        environment: Where it was trained: an image, a lock file's hash.
        trained_at: Unix time, or a datetime (without a zone it is UTC); NaN if unknown.
        metrics: Evaluation metric -> value.
        validation: Validation check -> result.

    Raises:
        ValueError: If a value has a wrong type or is not finite.

    >>> Metadata(code_revision="4f2a91c", metrics={"auc": 0.71}).metrics
    {'auc': 0.71}
    """

    code_revision: str = ""
    dataset: str = ""
    feature_version: str = ""
    environment: str = ""
    trained_at: float | datetime = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, str | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.trained_at, datetime):
            aware = self.trained_at if self.trained_at.tzinfo else self.trained_at.replace(tzinfo=timezone.utc)
            object.__setattr__(self, "trained_at", aware.timestamp())
        for key in _METADATA_TEXTS:
            if not isinstance(getattr(self, key), str):
                raise ValueError(f"metadata: {key} must be a string, got {getattr(self, key)!r}")
        if isinstance(self.trained_at, bool) or not isinstance(self.trained_at, (int, float)) or math.isinf(self.trained_at):
            raise ValueError(f"metadata: trained_at must be a Unix time or a datetime, got {self.trained_at!r}")
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"metadata: metric {name!r} must be a finite number, got {value!r}")
        # 3 and 3.0 are the same metadata, and so must have the same digest.
        object.__setattr__(self, "trained_at", float(self.trained_at))
        object.__setattr__(self, "metrics", {name: float(value) for name, value in self.metrics.items()})
        for name, result in self.validation.items():
            if not isinstance(result, (str, int, float)) or (isinstance(result, float) and not math.isfinite(result)):
                raise ValueError(
                    f"metadata: validation {name!r} must be a string, a finite number or a truth value, got {result!r}"
                )

    @property
    def trained_time(self) -> float:
        """Unix time of the training; NaN if unknown."""
        return float(self.trained_at)  # type: ignore[arg-type]  # a datetime became a number at construction

    def to_json(self) -> dict[str, Any]:
        """As JSON's types; an unknown time is null."""
        texts = {key: getattr(self, key) for key in _METADATA_TEXTS}
        trained_at = None if math.isnan(self.trained_time) else self.trained_time
        return {**texts, "trained_at": trained_at, "metrics": dict(self.metrics), "validation": dict(self.validation)}

    @classmethod
    def from_json(cls, content: Any) -> "Metadata":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown or of a wrong type.
        """
        document = Document("metadata", content, _METADATA_KEYS)
        return cls(
            code_revision=document.text("code_revision"),
            dataset=document.text("dataset"),
            feature_version=document.text("feature_version"),
            environment=document.text("environment"),
            trained_at=document.number("trained_at", optional=True),
            metrics=document.named_numbers("metrics"),
            validation=dict(document.mapping("validation")),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The profile of the training data, which live traffic is compared with.

    Standardised values of a feature are ``z = clip((x - mean) / scale, -8, 8)``; its rank ``u`` is the midrank of its bin.

    Attributes:
        schema: The features, in the order of the rows.
        task: What the model does: ``binary``, ``multiclass``, ``regression``, ``ranking`` or None.
        rows: Rows of training data.
        profiles: One per feature, in schema order; then those of derived features (``comment/words``, ``embedding/pc1``,
            ``@reconstruction_error``); then ``@prediction``, ``@score``, ``@label`` as far as known.
        created: Unix time.
        metadata: What is known about the training.
        derivation: What further features are derived, and how: fitted on a random half of the rows. What is derived, and the
            distance of a vector, is profiled on the other half.
        digest: 16 hexadecimal characters of SHA-256 over the content but its creation time.

    Raises:
        ValueError: If the parts contradict each other.

    >>> reference = Reference.build({"age": [20, 30, 40, 50], "plan": ["a", "b", "a", "a"]})
    >>> reference["plan"].bins, reference["plan"].counts
    (('a', 'b', '__unseen__'), (3, 1, 0))
    """

    schema: Schema
    task: Task | None
    rows: int
    profiles: tuple[FeatureProfile, ...]
    created: float
    metadata: Metadata = field(default_factory=Metadata)
    derivation: Derivation = field(default_factory=Derivation)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise ValueError(f"reference: task must be one of {TASKS} or None, got {self.task!r}")
        if not math.isfinite(self.created):
            raise ValueError(f"reference: created must be a Unix time, got {self.created!r}")
        names, expected = [profile.feature for profile in self.profiles], [*self.schema.names, *self.derivation.names]
        outputs = [name for name in OUTPUTS if name in names]
        if names != expected + outputs:
            raise ValueError(f"reference: profiles must be those of {expected} and outputs in the order {OUTPUTS}, got {names}")
        halved = {*self.derivation.names, *self.derivation.vectors}
        for item in self.profiles:
            if item.rows > self.rows if item.feature in halved else item.rows != self.rows:
                raise ValueError(f"feature {item.feature!r}: must have the reference's {self.rows} rows, got {item.rows}")
        for feature, item in zip(self.schema, self.profiles, strict=False):
            if (item.kind == "numeric") != feature.numeric:
                raise ValueError(f"feature {feature.name!r}: kind {feature.kind!r} of the schema is not binned as {item.kind!r}")
        self.derivation.check(self.schema)
        object.__setattr__(self, "digest", _digest(self._content()))

    def __getitem__(self, feature: str) -> FeatureProfile:
        """The profile of a feature, a derived one, or of ``@prediction``, ``@score``, ``@label``.

        Raises:
            KeyError: If the reference has none of that name.
        """
        for item in self.profiles:
            if item.feature == feature:
                return item
        raise KeyError(f"reference: no feature {feature!r}, only {[item.feature for item in self.profiles]}")

    def __eq__(self, other: object) -> bool:
        """Whether the documents are the same; comparing fields would fail where a statistic is NaN in both."""
        return isinstance(other, Reference) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __contains__(self, feature: str) -> bool:
        return any(profile.feature == feature for profile in self.profiles)

    @classmethod
    def build(
        cls,
        data: Any,
        *,
        names: Sequence[str] | None = None,
        schema: Schema | None = None,
        task: Task | None = None,
        predictions: Any = None,
        scores: Any = None,
        labels: Any = None,
        timestamps: Any = None,
        bins: int = 10,
        categories: int = 32,
        metadata: Metadata | None = None,
        multivariate: bool = True,
        seed: int = 0,
    ) -> "Reference":
        """Profile training data.

        The data is read twice: the first pass finds the bins, the second counts, exactly. Data in memory gives exact quantiles. Of
        data in batches, 200,000 random rows give the quantiles that edges and fences come from, which is wrong by at most 0.3 % of
        the rows in 95 of 100 samples; mean, deviation, range and all counts stay exact, and the memory bounded.

        Where features are derived, the first pass also keeps at most 20,000 random rows of one half to fit on, and the data is
        read once more, to find the bins of what is derived.

        Args:
            data: pandas or polars frame, mapping of columns, structured array, 2-D array, or list of rows. Or batches of such: a
                list of frames, arrays or ``Batch``; any iterable of those that can be gone through twice; or a callable without
                arguments that returns a new iterator of them each time.
            names: Of the columns of an array; the schema's by default.
            schema: Of the features; inferred (from the first batch) if None. Further columns are ignored then.
            task: What the model does.
            predictions: What the model returned for the rows, in any form that ``Monitor.watch`` reads.
            scores: One number per row, if ``predictions`` does not hold them.
            labels: Ground truth per row; may be missing for some.
            timestamps: When each row was seen, in any order: Unix seconds, datetimes or ISO 8601 texts. Needed for features of kind
                timestamp, and for calibrated thresholds: of each window length with at least eight windows of 100 values. With
                batches, these four come in each ``Batch``.
            bins: At most so many for a numeric feature, from 2 to 99.
            categories: At most so many for a categorical feature, ``__other__`` and ``__unseen__`` aside.
            metadata: What is known about the training.
            multivariate: Whether to derive further features: of texts words, words never seen, characters that are not ASCII and
                blanks; of vectors the first principal components; of three or more inputs the reconstruction error. (A vector
                itself is always profiled by its distance from the mean vector.)
            seed: Of the row sample, of the simulated noise floors and of the half that is fitted on: the same data and seed give
                the same digest.

        Raises:
            ValueError: If the data has no rows, cannot be read twice, or its parts do not fit together.
        """
        if not 2 <= bins <= MAX_NUMERIC_BINS:
            raise ValueError(f"reference: bins must be from 2 to {MAX_NUMERIC_BINS}, got {bins!r}")
        if categories < 1:
            raise ValueError(f"reference: categories must be at least 1, got {categories!r}")
        if task is not None and task not in TASKS:
            raise ValueError(f"reference: task must be one of {TASKS} or None, got {task!r}")
        outputs = {"predictions": predictions, "scores": scores, "labels": labels, "timestamps": timestamps}
        source = Source(data, outputs, names=names, schema=schema, task=task)
        rows, derivation, profiles = profile(source, bins=bins, categories=categories, multivariate=multivariate, seed=seed)
        return cls(source.schema, task, rows, profiles, time.time(), metadata or Metadata(), derivation)

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return {"format": FORMAT, "created": self.created, "digest": self.digest, **self._content()}

    @classmethod
    def from_json(cls, content: Any) -> "Reference":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown, of a wrong type or contradicts the rest, or the digest does not fit.
        """
        stated = content.get("format") if isinstance(content, Mapping) else FORMAT
        if stated != FORMAT:
            raise ValueError(f"reference: format must be {FORMAT!r}, got {stated!r}; build the reference again with this version")
        document = Document("reference", content, _KEYS)
        task = None if document.raw("task") is None else document.text("task")
        reference = cls(
            schema=Schema.from_json(dict(document.mapping("schema"))),
            task=task,  # type: ignore[arg-type]  # checked at construction
            rows=document.integer("rows"),
            profiles=tuple(FeatureProfile.from_json(item) for item in document.items("profiles")),
            created=document.number("created"),
            metadata=Metadata.from_json(document.raw("metadata")),
            derivation=Derivation.from_json(document.raw("derivation")),
        )
        if reference.digest != document.text("digest"):
            raise ValueError(
                f"reference: digest must be that of the content, {reference.digest!r}, got {document.text('digest')!r}"
            )
        return reference

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON document; a reader sees the old file or the new one, never half of it.

        Raises:
            OSError: If the file cannot be written.
        """
        target = Path(path)
        text = json.dumps(self.to_json(), allow_nan=False, ensure_ascii=False, indent=1)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Reference":
        """Read a document that ``save`` wrote.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is no reference, or one that was changed since.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_distinct))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{os.fspath(path)}: reference: must be JSON in UTF-8, got {error}") from error
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def _content(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "rows": self.rows,
            "metadata": self.metadata.to_json(),
            "schema": self.schema.to_json(),
            "derivation": self.derivation.to_json(),
            "profiles": [profile.to_json() for profile in self.profiles],
        }


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps({"format": FORMAT, **content}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError(f"reference: an object has each key once, got {[key for key, _ in pairs]}")
    return document
