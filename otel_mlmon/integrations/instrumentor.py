"""What the instrumentors share: a call of a model that is outermost is observed by the model's monitor."""

import inspect
import logging
import os
import weakref
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it opts out of type checks

from otel_mlmon.integrations.automatic import MONITORS
from otel_mlmon.integrations.patching import Function, Patches, Wrap, wrapper

if TYPE_CHECKING:
    from otel_mlmon.monitor import Monitor
    from otel_mlmon.watch import Call

_LOG = logging.getLogger("otel_mlmon")

_WITHIN: ContextVar[bool] = ContextVar("otel_mlmon_within", default=False)
"""Whether a call of a model, or a training, is going on here: what a model calls is part of its own call."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model, found at its first call. It must not hold the model itself.

    Attributes:
        kind: Name of its class: its own name where the environment gives none.
        task: What it does, as far as it tells.
        rows: Gives the rows of a call, of its arguments and keywords.
        outputs: Gives the predictions of a call: of the method's name, keywords, result and the monitor's task. None if the result
            holds none that can be read.
        names: Names of its features, where rows come by position.
    """

    kind: str
    task: str | None
    rows: Callable[[Sequence[Any], Mapping[str, Any]], Any]
    outputs: Callable[[str, Mapping[str, Any], Any, str | None], Any]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Library:
    """One instrumented library: how its models describe themselves, and the monitor that was given."""

    name: str
    describe: Callable[[Any], Model]
    monitor: "Monitor | None"
    patches: Patches
    modules: "dict[str, Patch]"

    def follow(self) -> None:
        """Replace what is there now, and the rest as it is imported."""
        for module in self.modules:
            wrapt.register_post_import_hook(partial(_imported, self.name, module), module)


Patch = Callable[[Patches, Any], None]
"""Replaces what a library's module holds, once the module is there."""

_LIBRARIES: dict[str, _Library] = {}
_KNOWN: "dict[int, tuple[weakref.ref[Any], _Watched | None]]" = {}
"""Models that were called, by id, as long as they live."""


class ModelInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # likewise
    """An instrumentor for the models of one library.

    Nothing is imported for it: what the application imports, now or later, is watched from then on.

    ``instrument(monitor=...)`` gives all calls to one monitor. Without it each class of models gets one of its own, as the
    environment says; with OTEL_SDK_DISABLED nothing is watched.

    Attributes:
        library: Its name.
        distributions: Requirements, one for each name under which the library is distributed.
    """

    library: str
    distributions: tuple[str, ...]

    @staticmethod
    @abstractmethod
    def describe(model: Any) -> Model:
        """What is known of a model."""

    @staticmethod
    @abstractmethod
    def modules() -> "dict[str, Patch]":
        """What is replaced in which of the library's modules, once they are imported."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The distribution that is installed, else the first: they are alternatives."""
        return (next(filter(_installed, self.distributions), self.distributions[0]),)

    def _instrument(self, **kwargs: Any) -> None:
        monitor = kwargs.get("monitor")
        if monitor is None and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return
        _LIBRARIES[self.library] = library = _Library(self.library, self.describe, monitor, Patches(), self.modules())
        library.follow()

    def _uninstrument(self, **kwargs: Any) -> None:
        library = _LIBRARIES.pop(self.library, None)
        if library is None:
            return
        library.patches.undo()
        _KNOWN.clear()
        for other in list(_LIBRARIES.values()):  # what two of them watch was replaced once
            other.follow()
        if not _LIBRARIES:
            MONITORS.close()


def observed(library: str, method: str) -> Wrap:
    """How a method is replaced whose calls are observed."""
    return lambda function: wrapper(function, observe, library, method)


def apart(function: Function) -> Function:
    """A method, replaced so that nothing within it counts: training and evaluation are no traffic."""
    return wrapper(function, call_apart)


def observe(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], library: str, method: str) -> Any:
    """Call a model's method; the outermost call leaves a record."""
    if _WITHIN.get() or not args:
        return function(*args, **kwargs)
    token = _WITHIN.set(True)
    try:
        watched = _watched(args[0], library)
        if watched is None:
            return function(*args, **kwargs)
        return watched.call(watched.rows(args[1:], kwargs), _Invocation(function, args, kwargs, method, watched))
    finally:
        _WITHIN.reset(token)


def call_apart(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function within which nothing counts."""
    if args:
        _KNOWN.pop(id(args[0]), None)  # it may be another model afterwards
    token = _WITHIN.set(True)
    try:
        return function(*args, **kwargs)
    finally:
        _WITHIN.reset(token)


class Part:
    """A task of a call that goes on in another thread or process, where it would look like a call of its own."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = _WITHIN.set(True)
        try:
            return self.function(*args, **kwargs)
        finally:
            _WITHIN.reset(token)


def parts(tasks: Iterable[tuple[Function, Any, Any]]) -> Iterable[tuple[Function, Any, Any]]:
    """Tasks for workers, given out by this call: theirs within its own; unchanged outside of a call."""
    return ((Part(function), args, kwargs) for function, args, kwargs in tasks) if _WITHIN.get() else tasks


def unread(rows: int) -> npt.NDArray[np.float64]:
    """Stands for rows that cannot be read: they are only counted, as images are."""
    return np.empty((rows, 0, 0))


class _Invocation:
    """One call on its way, as the monitor's function is given it."""

    __slots__ = ("_args", "_function", "_kwargs", "_method", "_watched")

    def __init__(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], method: str, watched: "_Watched") -> None:
        self._function, self._args, self._kwargs = function, args, kwargs
        self._method, self._watched = method, watched

    def run(self) -> Any:
        return self._function(*self._args, **self._kwargs)

    def outputs(self, result: Any) -> Any:
        keywords = self._watched.keywords(self._function, self._args, self._kwargs)
        return self._watched.model.outputs(self._method, keywords, result, self._watched.monitor.task)


class _Watched:
    """A model with its monitor."""

    def __init__(self, model: Model, monitor: "Monitor") -> None:
        self.model, self.monitor = model, monitor
        self.call = monitor.watch(prediction=_outputs)(_run)
        self._parameters: dict[str, tuple[str, ...]] = {}

    def keywords(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a call is told by name, and what it is told by position behind the rows: it may ask for something else."""
        if len(args) <= 2:  # the model and its rows
            return kwargs
        names = self._parameters.get(function.__name__)
        if names is None:
            names = self._parameters[function.__name__] = tuple(inspect.signature(function).parameters)
        return {**dict(zip(names[2:], args[2:], strict=False)), **kwargs}

    def rows(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The rows of a call, by name where that says more than their position."""
        try:
            rows = self.model.rows(args, kwargs)
            return self._by_name(rows) if self.model.names else rows
        except Exception as error:  # noqa: BLE001 - the caller's thread: whatever their arguments are, their call goes on
            _LOG.debug("model %r: rows cannot be read: %s", self.model.kind, error)
            return unread(1)

    def _by_name(self, rows: Any) -> Any:
        """By position is right where the schema has the model's order, and all there is where it has other names."""
        schema, names = self.monitor.schema, self.model.names
        if schema is not None and (schema.names == names or set(schema.names) != set(names)):
            return rows
        if isinstance(rows, (list, tuple)) and rows and isinstance(rows[0], (list, tuple, np.ndarray)):
            rows = np.array(rows, dtype=object)
        if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != len(names):
            return rows
        return dict(zip(names, rows.T, strict=True))


def _run(rows: Any, invocation: _Invocation) -> Any:
    return invocation.run()


def _outputs(call: "Call") -> Any:
    return call.args[1].outputs(call.result)


def _watched(model: Any, library: str) -> _Watched | None:
    """The model with its monitor; None where it has none."""
    known = _KNOWN.get(id(model))
    if known is not None and known[0]() is model:
        return known[1]
    found = _LIBRARIES.get(library)  # none: uninstrumented since, or the class was pickled and is now in another process
    if found is None:
        return None
    watched = None
    try:
        described = found.describe(model)
        monitor = found.monitor or MONITORS.find(described.kind, described.task)
        watched = _Watched(described, monitor) if monitor is not None else None
    except Exception:  # noqa: BLE001 - the caller's thread: their model may be anything
        _LOG.warning("a model of class %r is not watched", type(model).__name__, exc_info=True)
    if type(model).__weakrefoffset__:  # all classes that somebody wrote, but for some with slots
        _KNOWN[id(model)] = weakref.ref(model, partial(_forget, id(model))), watched
    return watched


def _forget(key: int, reference: "weakref.ref[Any]") -> None:
    known = _KNOWN.get(key)
    if known is not None and known[0] is reference:  # another model may live at the same place already
        del _KNOWN[key]


def _imported(library: str, name: str, module: ModuleType) -> None:
    """A module is there, or was all along."""
    found = _LIBRARIES.get(library)
    if found is None:
        return
    try:
        found.modules[name](found.patches, module)
    except Exception:  # noqa: BLE001 - inside the application's import statement: a version that we do not know must not break it
        _LOG.warning("module %r is not watched", name, exc_info=True)


def _installed(requirement: str) -> bool:
    try:
        distribution(requirement.partition(">")[0].strip())
    except PackageNotFoundError:
        return False
    return True
