"""Watches onnxruntime's inference sessions with no change to the application."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from otel_mlmon.integrations.instrumentor import Model, ModelInstrumentor, Patch, observed, unread


class OnnxruntimeInstrumentor(ModelInstrumentor):
    """Watches ``InferenceSession.run``.

    A session is called what its file is. One input with two dimensions holds rows by position, several with one value a row hold
    rows by the inputs' names; others (images, tokens) are only counted. Of the outputs, a label with its probabilities, as
    converters write them, is a prediction with its score; so is a lone output with one value a row, or with several where
    OTEL_MLMON_TASK says that they are probabilities.
    """

    library = "onnxruntime"
    distributions = ("onnxruntime >= 1.18", "onnxruntime-gpu >= 1.18", "onnxruntime-openvino >= 1.18")

    @staticmethod
    def describe(model: Any) -> Model:
        """What is known of a session."""
        path = getattr(model, "_model_path", None)  # nothing public knows it
        kind = PurePath(path).stem if isinstance(path, (str, PurePath)) else ""
        types = [output.type for output in model.get_outputs()]
        widths = [output.shape[1] for output in model.get_outputs() if output.type == "tensor(float)" and len(output.shape) == 2]
        task = None
        if len(types) == 2 and {"tensor(int64)", "tensor(string)"}.intersection(types) and widths and isinstance(widths[0], int):
            task = "binary" if widths[0] == 2 else "multiclass"
        return Model(kind or type(model).__name__, task, _rows, _outputs)

    @staticmethod
    def modules() -> dict[str, Patch]:
        """What is replaced in which module."""
        wraps = {"run": observed("onnxruntime", "run")}
        name = "onnxruntime.capi.onnxruntime_inference_collection"
        return {name: lambda patches, module: patches.family(module.InferenceSession, wraps)}


def _rows(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The feed: a matrix, or columns by the inputs' names."""
    feed = args[1] if len(args) > 1 else kwargs["input_feed"]
    arrays = {name: value if hasattr(value, "__array__") else np.asarray(value) for name, value in feed.items()}
    first = next(iter(arrays.values()))
    if len(arrays) == 1 and first.ndim == 2:
        return first
    length = len(first) if first.ndim else 1
    if any(array.shape not in ((length,), (length, 1)) for array in arrays.values()):
        return unread(length)
    return {name: array.reshape(-1) for name, array in arrays.items()}


def _outputs(method: str, kwargs: Mapping[str, Any], result: Any, task: str | None) -> Any:
    """Prediction and score, where it is clear which they are."""
    labels = [
        one for one in result if isinstance(one, np.ndarray) and one.ndim and one.dtype.kind in "iuOU" and one.size == len(one)
    ]
    if len(result) == 2 and len(labels) == 1:
        return _scored(labels[0].reshape(-1), result[1] if result[0] is labels[0] else result[0])
    if len(result) != 1 or not isinstance(result[0], np.ndarray) or result[0].ndim not in (1, 2):
        return None
    if labels:
        return {"prediction": labels[0].reshape(-1)}
    alone = result[0].ndim == 1 or result[0].shape[1] == 1
    return result[0] if alone or task in ("binary", "multiclass") else None


def _scored(labels: Any, probabilities: Any) -> Any:
    """A label with its probabilities: of shape ``(rows, classes)``, or one mapping of classes a row (ZipMap)."""
    if isinstance(probabilities, list) and probabilities and isinstance(probabilities[0], dict):
        probabilities = np.array([list(row.values()) for row in probabilities])
    if not isinstance(probabilities, np.ndarray) or probabilities.ndim != 2 or probabilities.dtype.kind != "f":
        return {"prediction": labels}
    return {"prediction": labels, "score": probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities.max(axis=1)}
