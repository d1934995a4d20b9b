"""Monotone sums from which mean, deviation and correlation follow."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from otel_mlmon.profiling.profile import FeatureProfile

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PAIR_MOMENTS = ("n", "f", "ff", "y", "yy", "fy")
OWN_MOMENTS = PAIR_MOMENTS[:3]


class Moments:
    """Moments of numeric features, alone and with a target.

    ``z = clip((x - mean) / scale, -8, 8) + 8``, and ``u`` = the mid-rank of x's bin in the reference. Both are ``>= 0``, so that
    their sums are counters; both are linear in what they stand for, so that correlations come out the same.

    Args:
        profiles: Of the numeric features in the order of the values.
        target: Feature that the others are related to; empty for none.
        related: How many of the features, the first, are related to it.

    Attributes:
        names: All features.
        related: Features that are related to the target.
    """

    def __init__(self, profiles: Sequence[FeatureProfile], target: str, *, related: int) -> None:
        self.names = [profile.feature for profile in profiles]
        self._target = self.names.index(target) if target in self.names else -1
        self.related = self.names[:related] if self._target >= 0 else []
        self._mean = np.nan_to_num([profile.mean for profile in profiles])[:, None]
        self._scale = np.array([1.0 / profile.scale for profile in profiles])[:, None]

    def standardised(self, values: Floats, missing: Bools | None) -> Floats:
        """z of some values, 0 where there is none; shape as ``values``."""
        z: Floats = values - self._mean
        z *= self._scale
        np.clip(z, -8.0, 8.0, out=z)
        z += 8.0
        if missing is not None:
            np.copyto(z, 0.0, where=missing)
        return z

    def own(self, z: Floats, missing: Bools | None) -> Floats:
        """``OWN_MOMENTS`` of each feature, shape ``(features, 3)``."""
        counts = z.shape[1] - (missing.sum(axis=1) if missing is not None else np.zeros(len(z)))
        return np.stack([counts, z.sum(axis=1), np.einsum("ij,ij->i", z, z)], axis=1)

    def pairs(self, f: Floats, missing: Bools | None) -> Floats:
        """``PAIR_MOMENTS`` of each related feature with the target, over the rows that have both.

        Args:
            f: Values in z or u, 0 where there is none, shape ``(features, rows)``.
            missing: Where there is none; None if there is one everywhere.

        Returns:
            Shape ``(related features, 6)``.
        """
        features, y = f[: len(self.related)], f[self._target]
        out = np.empty((len(features), len(PAIR_MOMENTS)))
        if missing is None:
            out[:, 0], out[:, 3], out[:, 4] = len(y), y.sum(), y @ y
            out[:, 1], out[:, 5] = features.sum(axis=1), features @ y
            out[:, 2] = np.einsum("ij,ij->i", features, features)
            return out
        present = (~missing).astype(np.float64)
        has = present[self._target]
        with_y = np.stack([has, y, y * y], axis=1)
        out[:, [0, 3, 4]] = present[: len(features)] @ with_y
        out[:, [1, 5]] = features @ with_y[:, :2]
        out[:, 2] = (features * features) @ has
        return out
