"""Which rows of a table are looked at where all would cost too much."""

import numpy as np
import numpy.typing as npt

__all__ = ["spread"]

# Always the same ones: rows that take turns, as those of two sources do, would else be looked at of one only.
_PLACES = np.random.default_rng(0).random(1_024)


def spread(rows: int, most: int) -> npt.NDArray[np.intp]:
    """At most so many rows, increasing: one at an arbitrary place within each of equal stretches.

    Args:
        rows: How many there are.
        most: How many to choose, at least 1.

    >>> spread(3, 5).tolist(), len(spread(1000, 10))
    ([0, 1, 2], 10)
    """
    if rows <= most:
        return np.arange(rows)
    starts = np.arange(most + 1) * rows // most
    return starts[:-1] + (np.resize(_PLACES, most) * np.diff(starts)).astype(np.intp)
