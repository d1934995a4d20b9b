"""All inputs of a row together: how far it lies from the principal components of the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.columns import NumericColumn
from otel_mlmon.derivation.projection import DIGITS, principal, products, vectors
from otel_mlmon.derivation.sampling import spread
from otel_mlmon.document import Document

__all__ = ["Input", "Reconstruction"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp] | npt.NDArray[np.int64]

VARIANCE = 0.65
"""The components that are kept hold more than this share of the variance."""

MIN_INPUTS = 3
MIN_ROWS = 50
"""With fewer inputs that vary, or fewer rows to fit, there is no reconstruction error."""

LIMIT = 8.0
SAMPLED_PRODUCTS = 2**21
"""Multiplications for one table of rows while serving; where the inputs need more, not all rows are looked at."""

_KEYS = ("inputs", "centre", "components")
_INPUT_KEYS = ("feature", "mean", "std", "encoding")


@dataclass(frozen=True, slots=True)
class Input:
    """How one feature enters.

    Attributes:
        feature: Its name.
        mean, std: Of its numbers.
        encoding: Number of each bin of a categorical feature: how frequent its category is in the reference, or of a boolean
            0 and 1; none for a numeric feature.
    """

    feature: str
    mean: float
    std: float
    encoding: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"reconstruction: input {self.feature!r}: std must be > 0, got {self.std!r}")


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The principal components of the reference's standardised inputs.

    Numbers are standardised and clipped at 8 deviations; categories are first replaced by their frequency. What is missing or
    invalid is put at the mean. The error is the Euclidean norm of what the components leave of a row: it moves when inputs stop
    going together as they did, even if each is distributed as before.

    Attributes:
        inputs: The numeric ones first.
        centre: Mean of the standardised, clipped inputs, one number each.
        components: The first components that hold more than 65 % of the variance together, unit vectors.

    Raises:
        ValueError: If the parts contradict each other.

    Source:
        https://nannyml.readthedocs.io/en/stable/how_it_works/multivariate_drift.html (data reconstruction with PCA; frequency
        encoding and the share of 65 % are from there).
    """

    inputs: tuple[Input, ...]
    centre: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    _numeric: int = field(init=False, repr=False, compare=False)
    _moments: Floats = field(init=False, repr=False, compare=False)
    _tables: tuple[Floats, ...] = field(init=False, repr=False, compare=False)
    _rest: Floats = field(init=False, repr=False, compare=False)
    _origin: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width, names = len(self.inputs), [item.feature for item in self.inputs]
        encoded = [bool(item.encoding) for item in self.inputs]
        if width < MIN_INPUTS or len(set(names)) < width or encoded != sorted(encoded):
            raise ValueError(f"reconstruction: inputs must be at least {MIN_INPUTS}, distinct, the numeric ones first, got {names}")
        found = [len(component) for component in self.components]
        if len(self.centre) != width or set(found) != {width} or len(found) >= width:
            raise ValueError(f"reconstruction: centre and components have {width} numbers, got {len(self.centre)} and {found}")
        numeric = encoded.count(False)
        object.__setattr__(self, "_numeric", numeric)
        means, stds = np.array([(item.mean, item.std) for item in self.inputs]).T
        object.__setattr__(self, "_moments", np.stack([means, 1.0 / stds])[:, :numeric, None])
        tables = [np.append(_standardised(np.array(item.encoding), item), 0.0) for item in self.inputs[numeric:]]
        object.__setattr__(self, "_tables", tuple(tables))
        # What the components leave of a row lies in the directions that complete them to a basis.
        rest = np.linalg.qr(np.array(self.components).T, mode="complete")[0][:, len(found) :].T
        object.__setattr__(self, "_rest", np.ascontiguousarray(rest))
        object.__setattr__(self, "_origin", (rest @ np.array(self.centre))[:, None])

    @classmethod
    def fit(cls, inputs: Sequence[tuple[str, Floats, Sequence[float]]]) -> "Reconstruction | None":
        """Components of some rows.

        Args:
            inputs: Feature name, its numbers, shape ``(rows,)``, NaN where there is none, and of categories the encoding by bin;
                the numeric ones first.

        Returns:
            None with fewer than three inputs that vary, or fewer than 50 rows.
        """
        chosen, columns = [], []
        for name, values, encoding in inputs:
            known = values[~np.isnan(values)]
            if len(known) < MIN_ROWS or known.min() == known.max() or not np.isfinite(known.std()):
                continue
            one = Input(name, float(known.mean()), float(known.std()), tuple(encoding))
            chosen.append(one)
            columns.append(_standardised(np.where(np.isnan(values), one.mean, values), one))
        if len(chosen) < MIN_INPUTS:
            return None
        rows = np.stack(columns, axis=1)
        centre = rows.mean(axis=0)
        variances, components = principal(rows - centre)
        kept = int(np.searchsorted(np.cumsum(variances) / variances.sum(), VARIANCE, side="right")) + 1
        return cls(tuple(chosen), tuple(centre.tolist()), tuple(map(tuple, components[:kept].tolist())))

    @np.errstate(over="ignore", invalid="ignore")  # values near the end of the floats are data, too
    def __call__(self, numbers: Mapping[str, Floats], codes: Mapping[str, Codes], *, sampled: bool = False) -> NumericColumn:
        """Errors of some rows.

        Args:
            numbers: Numbers of the numeric inputs, NaN where missing or invalid, shape ``(rows,)`` each.
            codes: Bin numbers of the others, -1 where missing or invalid, likewise.
            sampled: Whether to look at no more rows than two million multiplications allow: the others have no value.

        Returns:
            The errors, nothing missing.
        """
        first = self.inputs[0].feature
        rows = len(numbers[first] if self._numeric else codes[first])
        chosen = spread(rows, max(SAMPLED_PRODUCTS // self._rest.size, 1) if sampled else rows)
        some = slice(None) if len(chosen) == rows else chosen
        z = np.empty((len(self.inputs), len(chosen)))
        if self._numeric:
            part = z[: self._numeric]
            for row, item in enumerate(self.inputs[: self._numeric]):
                part[row] = numbers[item.feature][some]
            part -= self._moments[0]
            part *= self._moments[1]
            np.clip(part, -LIMIT, LIMIT, out=part)
            if np.isnan(part.sum()):
                part[np.isnan(part)] = 0.0
        for row, (item, table) in enumerate(zip(self.inputs[self._numeric :], self._tables, strict=True), self._numeric):
            z[row] = table[codes[item.feature][some]]
        left = products(self._rest, z)
        left -= self._origin
        result = np.full(rows, np.nan)
        result[some] = np.round(np.sqrt(np.einsum("ij,ij->j", left, left)), DIGITS)
        return NumericColumn(result, 0, {})

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        inputs = [{key: getattr(item, key) for key in _INPUT_KEYS} | {"encoding": list(item.encoding)} for item in self.inputs]
        return {"inputs": inputs, "centre": list(self.centre), "components": [list(component) for component in self.components]}

    @classmethod
    def from_json(cls, content: Any) -> "Reconstruction":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If anything is missing, unknown, of a wrong type or contradicts the rest.
        """
        where = "reconstruction"
        document = Document(where, content, _KEYS)
        inputs = [Document(f"{where}: input", item, _INPUT_KEYS) for item in document.items("inputs")]
        return cls(
            inputs=tuple(
                Input(one.text("feature"), one.number("mean"), one.number("std"), one.numbers("encoding")) for one in inputs
            ),
            centre=document.numbers("centre"),
            components=vectors(where, document.items("components")),
        )


def _standardised(values: Floats, item: Input) -> Floats:
    return np.asarray(np.clip((values - item.mean) / item.std, -LIMIT, LIMIT))
