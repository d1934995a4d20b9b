"""Watches lightgbm's models, by either of its interfaces, with no change to the application."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from otel_mlmon.integrations.instrumentor import Model, ModelInstrumentor, Patch, observed, unread
from otel_mlmon.integrations.sklearn import describe, feature_names, samples, wraps

_BOOSTER = {"predict": observed("lightgbm", "predict")}

_TASKS = {
    **dict.fromkeys(("multiclass", "multiclassova"), "multiclass"),
    **dict.fromkeys(("lambdarank", "rank_xendcg"), "ranking"),
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "poisson"), "regression"),
    **dict.fromkeys(("quantile", "mape", "gamma", "tweedie"), "regression"),
    "binary": "binary",
}
_OTHER_OUTPUTS = ("raw_score", "pred_leaf", "pred_contrib")


class LightgbmInstrumentor(ModelInstrumentor):
    """Watches ``Booster.predict``, and ``predict`` and ``predict_proba`` of the scikit-learn interface.

    A ``Booster`` says by its objective what it does. Rows that come as a file are not read.
    """

    library = "lightgbm"
    distributions = ("lightgbm >= 4",)

    @staticmethod
    def describe(model: Any) -> Model:
        """What is known of a booster, or of an estimator."""
        return _booster(model) if hasattr(model, "model_to_string") else describe(model)

    @staticmethod
    def modules() -> dict[str, Patch]:
        """What is replaced in which module."""
        return {
            "lightgbm.basic": lambda patches, module: patches.family(module.Booster, _BOOSTER),
            "lightgbm.sklearn": lambda patches, module: patches.family(module.LGBMModel, wraps("lightgbm")),
        }


def _booster(booster: Any) -> Model:
    head = booster.model_to_string(num_iteration=1).splitlines()
    objective = next((line.partition("=")[2] for line in head if line.startswith("objective=")), "").partition(" ")[0]
    names = feature_names(booster.feature_name())
    return Model("lightgbm.Booster", _TASKS.get(objective), _rows, partial(_outputs, objective), names)


def _rows(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    data = args[0] if args else kwargs.get("data")
    return samples(args, kwargs) if hasattr(data, "__len__") and not isinstance(data, str) else unread(1)


def _outputs(objective: str, method: str, kwargs: Mapping[str, Any], result: Any, task: str | None) -> Any:
    """Probabilities or numbers, one a row; those of several classes only where they are."""
    shape: tuple[int, ...] = getattr(result, "shape", ())
    if any(map(kwargs.get, _OTHER_OUTPUTS)):
        return None
    return result if len(shape) == 1 or (len(shape) == 2 and _TASKS.get(objective) == "multiclass") else None
