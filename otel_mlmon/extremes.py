"""Least and greatest values of the last minutes."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SLOTS = 5


class Extremes:
    """A ring of slots: what is older than the span falls out a slot at a time.

    Args:
        features: Number of features.
        seconds: The span; readings cover between four fifths of it and all of it.
    """

    def __init__(self, features: int, seconds: float) -> None:
        self._seconds = seconds / _SLOTS
        self._least = np.full((_SLOTS, features), np.inf)
        self._greatest = np.full((_SLOTS, features), -np.inf)
        self._turn = np.full(_SLOTS, -1, dtype=np.int64)

    def reset(self) -> None:
        """Forget everything."""
        self._turn[:] = -1

    def add(self, values: Floats, now: float) -> None:
        """Take in values.

        Args:
            values: Shape ``(features, rows)``, NaN where there is none.
            now: Time, seconds.
        """
        turn = int(now // self._seconds)
        slot = turn % _SLOTS
        if self._turn[slot] != turn:
            self._turn[slot] = turn
            self._least[slot], self._greatest[slot] = np.inf, -np.inf
        np.fmin(self._least[slot], np.fmin.reduce(values, axis=1, initial=np.inf), out=self._least[slot])
        np.fmax(self._greatest[slot], np.fmax.reduce(values, axis=1, initial=-np.inf), out=self._greatest[slot])

    def read(self, now: float) -> tuple[Floats, Floats]:
        """Least and greatest value by feature, shape ``(features,)`` each; NaN for a feature without any."""
        turn = int(now // self._seconds)
        recent = (self._turn > turn - _SLOTS) & (self._turn <= turn)  # the clock may have been set back
        least = self._least[recent].min(axis=0, initial=np.inf)
        greatest = self._greatest[recent].max(axis=0, initial=-np.inf)
        return np.where(np.isinf(least), np.nan, least), np.where(np.isinf(greatest), np.nan, greatest)
