"""Watches scikit-learn's estimators, and whatever derives from them, with no change to the application."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from otel_mlmon.integrations.instrumentor import Model, ModelInstrumentor, Patch, apart, observed, parts, unread
from otel_mlmon.integrations.patching import Function, Patches, Wrap, wrapper

METHODS = ("predict", "predict_proba")
"""Methods whose calls are observed."""

APART = ("fit", "partial_fit", "fit_predict", "fit_transform", "score")
"""Methods within which nothing counts: they train, or they evaluate."""

_OTHER_OUTPUTS = ("output_margin", "raw_score", "pred_leaf", "pred_contrib", "pred_contribs", "pred_interactions")
"""Keywords of xgboost and lightgbm that ask for something else than predictions."""

_LOCAL = {"ThreadingBackend", "LokyBackend", "MultiprocessingBackend"}
"""Where joblib's tasks run beside us; on other machines our class may not be installed."""


class SklearnInstrumentor(ModelInstrumentor):
    """Watches ``predict`` and ``predict_proba`` of every subclass of ``BaseEstimator``, those included that are written later.

    A call counts once, by the outermost model: a pipeline is called what its last step is, a search what its best estimator is.
    What ``fit``, ``score``, scorers and ``cross_val_predict`` call is training or evaluation and does not count, in joblib's
    workers neither.

    >>> from sklearn.dummy import DummyRegressor
    >>> from otel_mlmon import Monitor
    >>> with Monitor("constant", task="regression") as monitor:
    ...     SklearnInstrumentor().instrument(monitor=monitor)
    ...     prediction = DummyRegressor(strategy="constant", constant=3).fit([[0]], [0]).predict([[1], [2]])
    ...     SklearnInstrumentor().uninstrument()
    ...     assert monitor.flush()
    ...     monitor.snapshot().rows
    2.0
    """

    library = "sklearn"
    distributions = ("scikit-learn >= 1.4",)

    @staticmethod
    def describe(model: Any) -> Model:
        """What is known of an estimator."""
        return describe(model)

    @staticmethod
    def modules() -> dict[str, Patch]:
        """What is replaced in which module."""
        return {
            "sklearn.base": lambda patches, module: patches.family(module.BaseEstimator, wraps("sklearn")),
            "sklearn.metrics._scorer": _scorers,
            # All other evaluation asks scorers; a worker process finds this function by its name, too.
            "sklearn.model_selection._validation": lambda patches, module: patches.replace(module, "_fit_and_predict", apart),
            "joblib.parallel": lambda patches, module: patches.replace(module.Parallel, "__call__", _handing_on),
        }


def wraps(library: str) -> dict[str, Wrap]:
    """How the methods of an estimator are replaced.

    Args:
        library: Whose instrumentor does it.
    """
    return {**{name: observed(library, name) for name in METHODS}, **dict.fromkeys(APART, apart)}


def describe(model: Any, task: str | None = None) -> Model:
    """What is known of an estimator by scikit-learn's conventions.

    Args:
        model: A fitted estimator.
        task: What it does, where that is known better.
    """
    classes = getattr(model, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:  # none, or a list of them for several outputs
        classes = None
    names = feature_names(getattr(model, "feature_names_in_", ()))
    return Model(type(_predictor(model)).__name__, task or _task(model, classes), samples, partial(_outputs, classes), names)


def feature_names(names: Any) -> tuple[str, ...]:
    """Names of features as a model knows them; none where a library only numbered them."""
    found = tuple(map(str, names)) if names is not None else ()
    return () if all(name == f"Column_{place}" for place, name in enumerate(found)) else found


def _predictor(model: Any) -> Any:
    """What predicts in the end."""
    for _ in range(8):  # a pipeline in a search in a pipeline
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif isinstance(getattr(model, "steps", None), list) and model.steps:
            model = model.steps[-1][1]
        else:
            break
    return model


def _task(model: Any, classes: Any) -> str | None:
    from sklearn.base import is_classifier, is_regressor

    if type(_predictor(model)).__name__.endswith("Ranker"):  # xgboost's and lightgbm's say no more than that
        return "ranking"
    if is_regressor(model):
        return "regression"
    if classes is None or not is_classifier(model):
        return None
    return "binary" if len(classes) == 2 else "multiclass"


def samples(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The samples: what comes first, along its first axis."""
    rows = args[0] if args else kwargs.get("X", next(iter(kwargs.values()), ()))
    if isinstance(rows, (list, tuple)):
        return rows if not rows or not isinstance(rows[0], (str, bytes)) else {"x0": rows}
    shape = getattr(rows, "shape", None)
    if shape is None or len(shape) == 0:
        return rows
    if len(shape) == 1 and getattr(getattr(rows, "dtype", None), "names", None) is None:
        return {str(getattr(rows, "name", None) or "x0"): rows}  # texts, one a sample
    return rows if hasattr(rows, "__array__") else unread(int(shape[0]))  # sparse


def _outputs(classes: Any, method: str, kwargs: Mapping[str, Any], result: Any, task: str | None) -> Any:
    """One prediction a sample; none where there are several outputs, or others than predictions were asked for."""
    if kwargs and any(map(kwargs.get, _OTHER_OUTPUTS)):
        return None
    if type(result) is tuple:  # with return_std=True and the like
        result = result[0]
    shape: tuple[int, ...] = getattr(result, "shape", ())
    if method == "predict_proba":
        return _classified(classes, result) if len(shape) == 2 else None
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return result if task == "ranking" else {"prediction": result}
    return None


def _classified(classes: Any, result: Any) -> Any:
    """Probabilities, with the classes that they stand for where these do not only count."""
    if classes is None or result.shape[1] != len(classes) or _counting(classes):
        return result
    values = np.asarray(result)
    if len(classes) == 2:
        return {"prediction": classes[(values[:, 1] >= 0.5).astype(np.intp)], "score": values[:, 1]}
    return {"prediction": classes[values.argmax(axis=1)], "score": values.max(axis=1)}


def _counting(classes: Any) -> bool:
    return classes.dtype.kind in "iu" and bool(classes[0] == 0 and classes[-1] == len(classes) - 1)


def _scorers(patches: Patches, module: Any) -> None:
    """Several scores ask an estimator together, past the single scorer."""
    for kind in (module._BaseScorer, module._MultimetricScorer):
        patches.replace(kind, "__call__", apart)


def _handing_on(function: Function) -> Function:
    return wrapper(function, _hand_on)


def _hand_on(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Joblib's workers know nothing of the call that gives them their tasks."""
    if len(args) == 2 and type(getattr(args[0], "_backend", None)).__name__ in _LOCAL:
        args = args[0], parts(args[1])
    return function(*args, **kwargs)
