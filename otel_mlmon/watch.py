"""The decorator: a wrapped function that is the same to its callers, and leaves a record of each call."""

import functools
import inspect
import time
from collections.abc import Callable
from types import FunctionType, TracebackType
from typing import Any

import wrapt

from otel_mlmon.records import NOTHING, Captured, Record, capture, capture_ids, capture_prediction, settle
from otel_mlmon.sink import Sink, ending, refused
from otel_mlmon.streams import Run, awaited, relay, relay_async
from otel_mlmon.tracing import Origin
from otel_mlmon.worker import MAX_ITEM_ROWS

_EMPTY = inspect.Parameter.empty
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Call:
    """One call, as extractors see it once it has ended.

    Attributes:
        args: Positional arguments, without ``self`` or ``cls``.
        kwargs: Keyword arguments.
        result: What it returned; of a stream, its first items as a list; None if it raised.
    """

    __slots__ = ("args", "kwargs", "result")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs
        self.result: Any = None


Extractor = Callable[[Call], Any]


class Plan:
    """How the calls of one function are read.

    Args:
        function: The function that is watched.
        names: Feature names if they are known: a function with several of them as parameters is given one row by parameter. One
            that takes any keywords and nothing else is, too.
        features: Extractor of the rows; None for the first argument.
        prediction: Extractor of the predictions; None for the result.
        sink: Where the records go.
        prediction_id: Extractor of the prediction ids; None for none.
    """

    __slots__ = (
        *("defaults", "extracts", "features", "first", "keywords", "method", "names", "others"),
        *("prediction", "prediction_id", "sink", "spread", "submit"),
    )

    def __init__(
        self,
        function: Any,
        names: frozenset[str] | None,
        features: Extractor | None,
        prediction: Extractor | None,
        sink: Sink,
        *,
        prediction_id: Extractor | None = None,
    ) -> None:
        self.features, self.prediction, self.prediction_id, self.sink = features, prediction, prediction_id, sink
        self.submit = sink.worker.submit
        self.extracts = any(extractor is not None for extractor in (features, prediction, prediction_id))
        parameters = _parameters(function)
        self.method = bool(parameters) and parameters[0].name in ("self", "cls")
        parameters = parameters[1:] if self.method else parameters
        self.keywords = [one.kind for one in parameters] == [inspect.Parameter.VAR_KEYWORD]  # def predict(**row)
        parameters = [one for one in parameters if one.kind not in _VARIABLE]
        self.first = parameters[0].name if parameters else ""
        # Several parameters, of which all that must be given are features: together they are one row.
        required = [one.name for one in parameters if one.default is _EMPTY]
        own = [one for one in parameters if names and one.name in names]
        self.names = tuple(one.name for one in parameters) if names and len(own) > 1 and names.issuperset(required) else ()
        self.defaults = {one.name: one.default for one in own if one.default is not _EMPTY}
        self.others = tuple(name for name in self.names if names and name not in names)
        self.spread = bool(self.names) or self.keywords

    def capture(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Captured:
        """Copy the rows of a call."""
        if args and not self.spread:
            return capture(args[0])
        if self.names:
            row = {**self.defaults, **dict(zip(self.names, args, strict=False)), **kwargs}
            for name in self.others:
                row.pop(name, None)
            return capture(row)
        if self.keywords:
            return capture(kwargs)
        if self.first in kwargs:
            return capture(kwargs[self.first])
        return capture(next(iter(kwargs.values()))) if kwargs else NOTHING


class Observation(Record):
    """One call being watched: entered when it starts, left when it ends, however it ends; then itself the record that is queued."""

    __slots__ = ("_call", "_ended", "_plan", "_started")

    def __init__(self, plan: Plan, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._plan: Plan | None = plan
        self.prediction = None
        self.error = ""
        self.first = True
        if plan.method and instance is None:  # a method under another decorator is called with its object first
            args = args[1:]
        try:
            self.form, self.features, self.rows = NOTHING if plan.features is not None else plan.capture(args, kwargs)
        except BaseException as error:  # noqa: BLE001 - the caller's thread: whatever their row does when copied, their call goes on
            plan.sink.caught(error)
            self.form, self.features, self.rows = NOTHING
        self._call = Call(args, kwargs) if plan.extracts else None

    def __enter__(self) -> "Observation":
        sink = self._plan.sink  # type: ignore[union-attr]  # there until the call ends
        self._ended = sink.ended  # a child forked meanwhile has another, in which this call has not begun
        sink.begun.add()
        self.origin = None if sink.tracing is None else sink.tracing.begin()
        self._started = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.duration = time.perf_counter() - self._started
        plan, self._plan = self._plan, None
        assert plan is not None  # noqa: S101 - for the type checker: a call ends once
        try:
            self.ended = time.time()
            if error is None:
                self.status = "ok"
            else:
                self.status, self.error = ending(error)
            if self.origin is not None and self.origin.span is not None:
                self.origin.span.leave(error if self.error else None)
            if self._call is None:
                self.prediction = _captured(plan, self.prediction)
            else:
                self._extract(plan, self._call)
                self._call = None  # the arguments are the caller's: they do not wait in our queue
            if self.rows <= MAX_ITEM_ROWS and not plan.sink.vectors:
                if not plan.submit(self, self.rows or 1):
                    refused(self)
            else:
                plan.sink.put(self)
        except BaseException as unexpected:  # noqa: BLE001 - the caller's thread: nothing of ours may reach their call
            refused(self)
            plan.sink.caught(unexpected)
        finally:
            self._ended.add()

    def _extract(self, plan: Plan, call: Call) -> None:
        """Run the extractors; one that raises costs its rows or predictions, not the count of the call."""
        call.result, self.prediction = self.prediction, None
        if plan.features is not None:
            try:
                self.form, self.features, self.rows = capture(plan.features(call))
            except BaseException as error:  # noqa: BLE001 - the user's extractor; after a failed call there may be nothing to extract
                if self.status == "ok":
                    plan.sink.caught(error)
        if plan.prediction is None:
            self.prediction = _captured(plan, call.result)
        elif self.status == "ok":
            try:
                self.prediction = capture_prediction(plan.prediction(call))
            except BaseException as error:  # noqa: BLE001 - the user's extractor
                plan.sink.caught(error)
        if plan.prediction_id is not None:
            self._identify(plan, plan.prediction_id, call)

    def _identify(self, plan: Plan, prediction_id: Extractor, call: Call) -> None:
        try:
            settle(self, plan.sink.vectors)
            ids = capture_ids(prediction_id(call), self.rows)
        except BaseException as error:  # noqa: BLE001 - the user's extractor; after a failed call there may be nothing to extract
            if self.status == "ok":
                plan.sink.caught(error)
            return
        self.origin = self.origin or Origin()
        self.origin.ids = ids

    @property
    def run(self) -> Run | None:
        """What runs the function's steps, where the call is a span."""
        return None if self.origin is None or self.origin.span is None else self.origin.span.run


def _captured(plan: Plan, result: Any) -> Any:
    try:
        return capture_prediction(result)
    except BaseException as error:  # noqa: BLE001 - whatever a result does when copied, the call counts
        plan.sink.caught(error)
        return None


class Watched(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # subscripted only since wrapt 2
    """The wrapper: in pickles it is found by its name, as any function; copied, it is itself."""

    def __reduce_ex__(self, protocol: object) -> str:
        return str(self.__wrapped__.__qualname__)

    def __copy__(self) -> "Watched":
        return self

    def __deepcopy__(self, memo: object) -> "Watched":
        return self


def watch(function: Any, plan: Plan) -> Any:
    """Wrap a function so that each call leaves a record.

    Args:
        function: Function, method, ``classmethod``, ``staticmethod``, partial or callable object; plain, coroutine, generator or
            asynchronous generator.
        plan: How its calls are read.

    Returns:
        A transparent wrapper: same signature, docstring, result, exceptions and kind.

    Raises:
        ValueError: If it is a class or not callable.
    """
    bare = _bare(function)
    if inspect.isclass(function) or not callable(bare):
        raise ValueError(f"watch: expected a function or a callable object, got {function!r}")
    streams = plan.prediction is not None

    def plain(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Observation(plan, instance, args, kwargs) as observation:
            run = observation.run
            observation.prediction = result = wrapped(*args, **kwargs) if run is None else run(wrapped, *args, **kwargs)
        return result

    async def coroutine(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Observation(plan, instance, args, kwargs) as observation:
            observation.prediction = result = await awaited(wrapped(*args, **kwargs), observation.run)
        return result

    def generator(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return relay(Observation(plan, instance, args, kwargs), wrapped(*args, **kwargs), keep=streams)

    def async_generator(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return relay_async(Observation(plan, instance, args, kwargs), wrapped(*args, **kwargs), keep=streams)

    if inspect.isasyncgenfunction(bare):
        return Watched(function, async_generator)
    if inspect.isgeneratorfunction(bare):
        return Watched(function, generator)
    if inspect.iscoroutinefunction(bare):
        return Watched(function, coroutine)
    return _watched_function(function, plan) if type(function) is FunctionType else Watched(function, plain)


def _watched_function(function: FunctionType, plan: Plan) -> Any:
    """A plain function stays one: half a microsecond a call cheaper than a proxy, and a method where it stands in a class."""

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        with Observation(plan, None, args, kwargs) as observation:
            if observation.origin is None or (run := observation.run) is None:
                observation.prediction = result = function(*args, **kwargs)
            else:
                observation.prediction = result = run(function, *args, **kwargs)
        return result

    return watched


def _bare(function: Any) -> Any:
    """The function inside a descriptor, partial or callable object: what tells the kind."""
    while isinstance(function, (classmethod, staticmethod, functools.partial, functools.partialmethod)):
        function = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function.func
    if callable(function) and not inspect.isroutine(function) and not inspect.isclass(function):
        return type(function).__call__
    return function


def _parameters(function: Any) -> list[inspect.Parameter]:
    """All parameters, ``self`` and ``cls`` of an unbound method included."""
    inner = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
    try:
        return list(inspect.signature(inner).parameters.values())
    except (TypeError, ValueError):  # builtins may have none
        return []
