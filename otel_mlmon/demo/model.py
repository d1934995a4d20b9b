"""The demo's model: will a flight be late? A scikit-learn pipeline."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import ThreadpoolController

from otel_mlmon.demo.flights import CATEGORICAL, FEATURES


class DelayModel:
    """Probability that a flight is late, from what is known before departure; missing weather stays missing."""

    def __init__(self, flights: pd.DataFrame) -> None:
        encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        columns = ColumnTransformer(
            [("category", encode, list(CATEGORICAL))], remainder="passthrough", verbose_feature_names_out=False
        )
        trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.15, random_state=0)
        self._pipeline = make_pipeline(columns, trees)
        # One thread: on a busy machine OpenMP's threads wait for each other, and a call takes 130 ms instead of 5.
        self._threads = ThreadpoolController()
        with self._threads.limit(limits=1):
            self._pipeline.fit(flights[list(FEATURES)], flights["late"])

    def predict(self, rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Probability of being late, shape ``(rows,)``."""
        frame = pd.DataFrame(rows, columns=list(FEATURES))
        with self._threads.limit(limits=1):
            probabilities: npt.NDArray[np.float64] = self._pipeline.predict_proba(frame)[:, 1]
        return probabilities
