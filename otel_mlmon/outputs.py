"""What a model returned, as the columns `@prediction` and `@score`, by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from otel_mlmon.records import OUTPUT_KEYS
from otel_mlmon.values import number, on_host

Task = Literal["binary", "multiclass", "regression", "ranking"]
TASKS: tuple[Task, ...] = get_args(Task)

DECISION_THRESHOLD = 0.5
_SCALARS = frozenset({float, int, bool, str, np.float64, np.float32, np.int64, np.int32, np.bool_, np.str_})
_FLOATS = (float, np.floating)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Predictions of some rows.

    Attributes:
        prediction: Class or value per row, shape ``(rows,)``; None where the task has none.
        score: Probability of the positive class (binary), of the predicted class (multiclass) or the ranking score, shape
            ``(rows,)``; None where the model gave none.
        numeric: Whether ``prediction`` holds numbers rather than classes.
    """

    prediction: npt.NDArray[Any] | None
    score: npt.NDArray[np.float64] | None
    numeric: bool


def interpret(result: Any, task: Task | None, rows: int) -> Outputs:
    """Read what one call returned.

    Args:
        result: A scalar (one row), a sequence or array of shape ``(rows,)`` or ``(rows, 1)``, probabilities of shape
            ``(rows, classes)``, or a mapping with the keys ``prediction`` and ``score`` (either may be left out).
        task: What the model does. Binary: floats are probabilities of class 1, which is predicted from 0.5 on; anything else
            is a class. Multiclass: probabilities or classes. None: probabilities, floats (values) or classes.
        rows: How many rows the call had.

    Returns:
        The outputs, one per row.

    Raises:
        ValueError: If the shape does not fit the number of rows or the task.
    """
    if isinstance(result, Mapping):
        return _named(result, task, rows)
    values = per_row(result, rows)
    floats = values.dtype.kind == "f"
    if task == "binary" and values.dtype.kind == "O" and any(isinstance(value, _FLOATS) for value in values.ravel().tolist()):
        raise ValueError("prediction: some are floats and so probabilities, others classes")
    if values.ndim == 2:
        return _probabilities(values, task)
    if task == "binary" and floats:
        return Outputs(_decide(values), values.astype(np.float64), numeric=False)
    if task == "ranking":
        return Outputs(None, _numbers(values, task), numeric=False)
    if task == "regression":
        return Outputs(_numbers(values, task), None, numeric=True)
    return Outputs(values, None, numeric=task is None and floats)


def per_row(result: Any, rows: int) -> npt.NDArray[Any]:
    """One entry per row: shape ``(rows,)``, or ``(rows, classes)`` for probabilities.

    Raises:
        ValueError: If the shape does not fit.
    """
    values = _array(result)
    if values.dtype.kind == "O":
        values = _settle(values)
    if values.ndim == 0:
        values = values.reshape(1)
    if values.ndim == 1 and rows == 1 and len(values) > 1:
        values = values.reshape(1, -1)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or len(values) != rows:
        raise ValueError(f"prediction: expected one entry for each of {rows} rows, got shape {values.shape}")
    return values


def join(results: Sequence[Any], rows: Sequence[int]) -> Any:
    """Bring the results of many calls together, in order, so that they are interpreted once, each as it would be alone.

    Raises:
        ValueError: If a result does not fit its rows or the other results.
    """
    if len(results) == 1:
        return results[0]
    if len(set(map(type, results))) == 1 and type(results[0]) in _SCALARS and min(rows) == max(rows) == 1:
        return np.array(results, dtype=object if isinstance(results[0], str) else None)
    if any(isinstance(result, Mapping) for result in results):
        keys = {frozenset(result) if isinstance(result, Mapping) else None for result in results}
        if len(keys) > 1:
            raise ValueError(f"prediction: calls returned different keys: {[sorted(map(str, key or ())) for key in keys]}")
        return {key: join([result[key] for result in results], rows) for key in results[0]}
    parts = [
        part for part, count in ((per_row(result, count), count) for result, count in zip(results, rows, strict=True)) if count
    ]
    if not parts:
        return []
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(f"prediction: calls returned different shapes: {sorted({part.shape[1:] for part in parts})}")
    # Numbers of different kinds keep their types: an integer is a class where a float is a probability.
    if len({part.dtype.kind for part in parts}) > 1 and parts[0].ndim == 1:
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)


def _named(result: Mapping[str, Any], task: Task | None, rows: int) -> Outputs:
    if not result or not OUTPUT_KEYS.issuperset(result):
        raise ValueError(f"prediction: a mapping has the keys 'prediction' and 'score', got {sorted(map(str, result))}")
    score = _numbers(per_row(result["score"], rows), "score") if "score" in result else None
    if "prediction" not in result:
        return Outputs(_decide(score) if task == "binary" and score is not None else None, score, numeric=False)
    values = per_row(result["prediction"], rows)
    if task == "regression":
        return Outputs(_numbers(values, task), score, numeric=True)
    return Outputs(values, score, numeric=task is None and values.dtype.kind == "f")


def _probabilities(values: npt.NDArray[Any], task: Task | None) -> Outputs:
    if values.dtype.kind not in "fiu" or task in ("regression", "ranking") or (task == "binary" and values.shape[1] != 2):
        raise ValueError(f"prediction: task {task!r} cannot read shape {values.shape} of {values.dtype}")
    scores = values.astype(np.float64)
    if task == "binary":
        return Outputs(_decide(scores[:, 1]), scores[:, 1], numeric=False)
    return Outputs(scores.argmax(axis=1), scores.max(axis=1), numeric=False)


def _decide(score: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Class of a probability; a probability that is not there has no class."""
    if np.isnan(score).any():
        return np.array([None if value != value else int(value >= DECISION_THRESHOLD) for value in score.tolist()], dtype=object)
    return (score >= DECISION_THRESHOLD).astype(np.int64)


def _numbers(values: npt.NDArray[Any], what: str) -> npt.NDArray[np.float64]:
    if values.ndim == 1 and values.dtype.kind == "O":
        read = [number(value) for value in values.tolist()]
        if "type" not in read:
            return np.array([np.inf if value == "infinite" else value for value in read], dtype=np.float64)
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        raise ValueError(f"prediction: {what} needs one number per row, got shape {values.shape} of {values.dtype}")
    return values.astype(np.float64)


def _array(result: Any) -> npt.NDArray[Any]:
    """An array of what a model returned: on the host, and strings as objects, since the longest would set the size of all."""
    listed = [result] if isinstance(result, (str, bytes)) else result
    if isinstance(listed, (list, tuple)) and any(isinstance(one, (str, bytes)) for one in listed):
        values = np.empty(len(listed), dtype=object)
        values[:] = listed
        return values
    return on_host(result)


def _settle(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give floats with gaps a float type; leave anything else as objects."""
    flat = values.ravel().tolist()
    kinds = {type(value) for value in flat if value is not None}
    if kinds and all(issubclass(kind, _FLOATS) for kind in kinds) and values.ndim == 1:
        return np.array([np.nan if value is None else value for value in flat], dtype=np.float64)
    return values
