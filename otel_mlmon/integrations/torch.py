"""Watches torch's modules in eval mode with no change to the application."""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from otel_mlmon.integrations.instrumentor import Model, ModelInstrumentor, Patch, observe, unread
from otel_mlmon.integrations.patching import Function


class TorchInstrumentor(ModelInstrumentor):
    """Watches calls of ``torch.nn.Module``: of the outermost module, while it is in eval mode.

    A floating-point tensor with two dimensions holds rows by position; others (images, tokens) are only counted. A result with one
    number a row is a prediction; one with several is, where OTEL_MLMON_TASK says that they are probabilities. What is being
    compiled, traced or exported is left alone.
    """

    library = "torch"
    distributions = ("torch >= 2",)

    @staticmethod
    def describe(model: Any) -> Model:
        """What is known of a module."""
        inner = getattr(model, "_orig_mod", model)  # as torch.compile wraps it
        kind = getattr(inner, "original_name", None) or type(inner).__name__  # TorchScript keeps the name
        return Model(str(kind), None, _rows, _outputs)

    @staticmethod
    def modules() -> dict[str, Patch]:
        """What is replaced in which module."""
        return {"torch": lambda patches, module: patches.replace(module.nn.Module, "__call__", _evaluated)}


def _evaluated(function: Function) -> Function:
    """What every layer of every module runs through in training, too: as little as can be."""
    torch = sys.modules["torch"]
    compiling, tracing = torch.compiler.is_compiling, torch.jit.is_tracing

    @functools.wraps(function)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - the name it has in tracebacks and profiles
        # First of all the question that torch.compile answers while it compiles, so that it sees no more of us.
        if compiling() or getattr(self, "training", True) or tracing():
            return function(self, *args, **kwargs)
        return observe(function, (self, *args), kwargs, "torch", "__call__")

    return __call__


def _rows(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = [one for one in (*args, *kwargs.values()) if hasattr(one, "is_floating_point")]
    if not tensors:
        return unread(1)
    first = tensors[0]
    if first.is_floating_point() and first.dim() in (1, 2):
        return first
    return unread(len(first) if first.dim() else 1)


def _outputs(method: str, kwargs: Mapping[str, Any], result: Any, task: str | None) -> Any:
    """One number a row, or probabilities."""
    if not hasattr(result, "is_floating_point") or not result.is_floating_point() or result.dim() not in (1, 2):
        return None
    return result if result.dim() == 1 or result.shape[1] == 1 or task in ("binary", "multiclass") else None
