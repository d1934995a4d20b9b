"""A vector to its distance from the reference's centroid, with its principal components."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.columns import NumericColumn, RawColumn, Reason, matrix
from otel_mlmon.derivation.projection import DIGITS, principal, products, vectors
from otel_mlmon.derivation.sampling import spread
from otel_mlmon.document import Document
from otel_mlmon.feature import COMPONENTS, MAX_WIDTH, Feature
from otel_mlmon.frames import taken

__all__ = ["Space"]

Floats = npt.NDArray[np.float64]

SAMPLED_VALUES = 2**18
"""Numbers that are looked at of one table of rows while serving; of wider vectors, not all rows are."""

_BLOCK = 2**18
_DECOMPOSED = 2_048
_KEYS = ("feature", "width", "centroid", "scale", "components")


@dataclass(frozen=True, slots=True)
class Space:
    """Where the vectors of one feature lie in the reference.

    The unit of all numbers that come out is ``scale``: so the distances of the reference have the root mean square 1.

    Attributes:
        feature: Name of the feature.
        width: Numbers of a vector.
        centroid: Mean vector of the reference, ``width`` numbers; none if it had no vectors.
        scale: Root mean square of the Euclidean distances of the reference's vectors from the centroid; 1 if all are the same.
        components: The first principal components, at most three, unit vectors.

    Raises:
        ValueError: If the parts contradict each other.

    >>> space = Space.fit(Feature("v", kind="vector", width=2), np.array([[0.0, 0.0], [2.0, 0.0]]), components=1)
    >>> [column.values.tolist() for column in space([[4.0, 0.0], None])]
    [[3.0, nan], [3.0, nan]]
    """

    feature: str
    width: int
    centroid: tuple[float, ...] = ()
    scale: float = 1.0
    components: tuple[tuple[float, ...], ...] = ()
    _centre: Floats = field(init=False, repr=False, compare=False)
    _axes: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = f"feature {self.feature!r}: space"
        if not 1 <= self.width <= MAX_WIDTH or len(self.centroid) not in (0, self.width) or not 0 < self.scale < np.inf:
            raise ValueError(
                f"{where}: a centroid has the width, and a scale is > 0, "
                f"got {len(self.centroid)} of {self.width} numbers, {self.scale!r}"
            )
        found = [len(component) for component in self.components]
        if len(found) > len(COMPONENTS) or set(found) - {len(self.centroid)}:
            raise ValueError(f"{where}: components are at most {len(COMPONENTS)}, as long as the centroid, got {found}")
        object.__setattr__(self, "_centre", np.array(self.centroid))
        object.__setattr__(self, "_axes", np.array(self.components).reshape(len(found), len(self.centroid)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the derived features: those of the components."""
        return tuple(f"{self.feature}/{part}" for part in COMPONENTS[: len(self.components)])

    @classmethod
    def fit(cls, feature: Feature, rows: Floats, *, components: int) -> "Space":
        """Centroid, scale and components of some vectors.

        Args:
            feature: Of kind vector.
            rows: Finite vectors, shape ``(rows, width)``.
            components: At most so many; for vectors wider than 2,048, they are those of so many rows.
        """
        if not len(rows):
            return cls(feature.name, feature.width)
        centroid = rows.mean(axis=0)
        centred = rows - centroid
        scale = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
        few = centred[:_DECOMPOSED] if feature.width > _DECOMPOSED else centred
        axes = principal(few)[1][:components] if components else np.zeros((0, feature.width))
        return cls(feature.name, feature.width, tuple(centroid.tolist()), scale or 1.0, tuple(map(tuple, axes.tolist())))

    @np.errstate(over="ignore", invalid="ignore")  # vectors near the end of the floats are data, too
    def __call__(self, values: RawColumn, *, sampled: bool = False) -> list[NumericColumn]:
        """Distances, then the components.

        Args:
            values: One vector a row, raw.
            sampled: Whether to look at no more than 262,144 numbers: the other rows have no value and are not missing either.

        Returns:
            One column each; NaN where there is none. What is missing or invalid is counted with the distances only.
        """
        most = max(_BLOCK // self.width, 1)
        chosen = spread(len(values), max(SAMPLED_VALUES // self.width, 1) if sampled else len(values))
        missing = 0
        invalid: dict[Reason, int] = {}
        result = np.full((1 + len(self.components), len(values)), np.nan)
        for start in range(0, len(chosen), most):
            rows = chosen[start : start + most]
            block, absent, wrong = matrix(taken(values, rows), self.width)
            missing += absent
            for reason, count in wrong.items():
                invalid[reason] = invalid.get(reason, 0) + count
            if self.centroid:
                result[:, rows] = self._place(block)
        far = np.isinf(result)
        if far.any():
            invalid["infinite"] = invalid.get("infinite", 0) + int(far[0].sum())
            result[:, far.any(axis=0)] = np.nan
        return [NumericColumn(result[0], missing, invalid), *(NumericColumn(row, 0, {}) for row in result[1:])]

    def _place(self, block: Floats) -> Floats:
        """Distances and components of some vectors, which are overwritten."""
        block -= self._centre
        block /= self.scale
        distances = np.sqrt(np.einsum("ij,ij->i", block, block))
        return np.asarray(np.round(np.vstack([distances, products(self._axes, block.T)]), DIGITS))

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        document: dict[str, Any] = {key: getattr(self, key) for key in _KEYS}
        return document | {"centroid": list(self.centroid), "components": [list(component) for component in self.components]}

    @classmethod
    def from_json(cls, content: Any) -> "Space":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown, of a wrong type or contradicts the rest.
        """
        name = content.get("feature") if isinstance(content, Mapping) else None
        where = f"feature {name!r}: space"
        document = Document(where, content, _KEYS)
        return cls(
            feature=document.text("feature"),
            width=document.integer("width"),
            centroid=document.numbers("centroid"),
            scale=document.number("scale"),
            components=vectors(where, document.items("components")),
        )
