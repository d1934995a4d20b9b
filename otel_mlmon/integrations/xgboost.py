"""Watches xgboost's models, by either of its interfaces, with no change to the application."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from otel_mlmon.integrations.instrumentor import Model, ModelInstrumentor, Patch, apart, observed, unread
from otel_mlmon.integrations.sklearn import describe, feature_names, samples, wraps

_BOOSTER = {
    "predict": observed("xgboost", "predict"),
    "inplace_predict": observed("xgboost", "inplace_predict"),
    **dict.fromkeys(("update", "boost", "eval", "eval_set"), apart),
}

_TASKS = {"binary:logistic": "binary", "multi:softprob": "multiclass", "multi:softmax": "multiclass"}
_FAMILIES = {"reg": "regression", "count": "regression", "survival": "regression", "rank": "ranking"}
_OTHER_OUTPUTS = ("output_margin", "pred_contribs", "approx_contribs", "pred_interactions", "pred_leaf")


class XgboostInstrumentor(ModelInstrumentor):
    """Watches ``Booster.predict`` and ``inplace_predict``, and ``predict`` and ``predict_proba`` of the scikit-learn interface.

    The rows of a ``DMatrix`` are only counted: they are xgboost's by then. A ``Booster`` says by its objective what it does.
    """

    library = "xgboost"
    distributions = ("xgboost >= 2", "xgboost-cpu >= 2")

    @staticmethod
    def describe(model: Any) -> Model:
        """What is known of a booster, or of an estimator."""
        return _booster(model) if hasattr(model, "save_config") else describe(model)

    @staticmethod
    def modules() -> dict[str, Patch]:
        """What is replaced in which module."""
        return {
            "xgboost.core": lambda patches, module: patches.family(module.Booster, _BOOSTER),
            "xgboost.sklearn": lambda patches, module: patches.family(module.XGBModel, wraps("xgboost")),
        }


def _booster(booster: Any) -> Model:
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    task = _TASKS.get(objective, _FAMILIES.get(objective.partition(":")[0]))
    names = feature_names(booster.feature_names)
    return Model("xgboost.Booster", task, _rows, partial(_outputs, objective), names)


def _rows(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    data: Any = args[0] if args else kwargs.get("data")
    if hasattr(data, "num_row"):
        return unread(data.num_row())
    return samples(args, kwargs)


def _outputs(objective: str, method: str, kwargs: Mapping[str, Any], result: Any, task: str | None) -> Any:
    """What the objective makes of the result: probabilities, classes or numbers."""
    if any(map(kwargs.get, _OTHER_OUTPUTS)) or kwargs.get("predict_type", "value") != "value" or objective == "binary:logitraw":
        return None
    if objective in ("multi:softmax", "binary:hinge"):  # classes, as floats
        return {"prediction": result.astype(int)} if result.ndim == 1 else None
    return result if result.ndim == 1 or objective == "multi:softprob" else None
