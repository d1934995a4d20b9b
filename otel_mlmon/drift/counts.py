"""Counts per bin of a reference and of what is compared with it, checked."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Counts", "Floats", "checked", "checked_pair", "one_window", "shares"]

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = Sequence[int] | Sequence[float] | npt.NDArray[np.int64] | npt.NDArray[np.float64]


def checked(reference: Counts, windows: Floats) -> tuple[Floats, Floats]:
    """Reference and windows, shapes ``(bins,)`` and ``(windows, bins)``, as floats; raises ``ValueError`` for what cannot be."""
    base, windows = np.asarray(reference, dtype=np.float64), np.asarray(windows, dtype=np.float64)
    if base.ndim != 1 or windows.ndim != 2 or windows.shape[1] != len(base):
        raise ValueError(f"reference and current counts must be in the same bins, got shapes {base.shape} and {windows.shape[1:]}")
    for name, counts in (("reference", base), ("current", windows)):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError(f"{name} counts must be finite and >= 0, got {counts.tolist()!r}")
        if not (counts.sum(axis=-1) > 0).all():
            raise ValueError(f"{name} counts: there must be at least one value, got {counts.tolist()!r}")
    return base, windows


def checked_pair(reference: Counts, current: Counts) -> tuple[Floats, Floats]:
    """Both of shape ``(bins,)``; raises as ``checked``."""
    base, windows = checked(reference, one_window(current))
    return base, windows[0]


def one_window(current: Counts) -> Floats:
    """Shape ``(1, bins)``."""
    counts = np.asarray(current, dtype=np.float64)
    if counts.ndim != 1:
        raise ValueError(f"current counts must have shape (bins,), got {counts.shape}")
    return counts[None]


def shares(counts: Floats) -> Floats:
    """Of the total over the last axis."""
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
