"""Principal components, and products of rows with them that keep to one core."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.document import Document

__all__ = ["DIGITS", "principal", "products", "vectors"]

Floats = npt.NDArray[np.float64]

DIGITS = 9
"""Derived values are rounded to this many decimals: the same row gives the same value in whatever batch it comes."""

_BLOCK = 2**18
"""Multiplications at a time. OpenBLAS uses one thread below this, and so no other than the worker."""


def principal(rows: Floats) -> tuple[Floats, Floats]:
    """Principal components of some rows.

    Args:
        rows: Centred, shape ``(rows, width)``.

    Returns:
        Variances (divisor n), the largest first, shape ``(components,)``, and unit vectors, shape ``(components, width)``, of those
        whose variance is not 0 but for rounding; the largest entry of each vector, in size, is positive.

    Source:
        Jolliffe, Principal Component Analysis (2002), sections 1.1 and 3.5; of the two ways the one with the smaller matrix.
    """
    count, width = rows.shape
    wide = width > count
    values, vectors = np.linalg.eigh((rows @ rows.T if wide else rows.T @ rows) / max(count, 1))
    values, vectors = values[::-1], vectors[:, ::-1].T
    kept = values > max(float(values[0]), 0.0) * 1e-12 if len(values) else np.zeros(0, dtype=bool)
    values, vectors = values[kept], vectors[kept]
    if wide:
        vectors = vectors @ rows
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    largest = vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)]
    return values, vectors * np.sign(largest)[:, None]


def products(axes: Floats, columns: Floats) -> Floats:
    """Matrix product, a few columns at a time.

    Args:
        axes: Shape ``(axes, width)``.
        columns: Shape ``(width, rows)``.

    Returns:
        Shape ``(axes, rows)``.
    """
    step = max(_BLOCK // max(axes.size, 1), 1)
    if columns.shape[1] <= step:
        return np.asarray(axes @ columns)
    result = np.empty((len(axes), columns.shape[1]))
    for start in range(0, columns.shape[1], step):
        result[:, start : start + step] = axes @ columns[:, start : start + step]
    return result


def vectors(where: str, items: Sequence[Any]) -> tuple[tuple[float, ...], ...]:
    """Lists of numbers in a document; ``where`` is for messages."""
    return tuple(Document(where, {"components": item}, ("components",)).numbers("components") for item in items)
