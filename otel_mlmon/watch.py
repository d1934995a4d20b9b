"""The decorator: a wrapped function that is the same to its callers, and leaves a record of each call."""

import functools
import inspect
import sys
import time
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from itertools import count
from types import FunctionType, TracebackType
from typing import Any

import wrapt

from otel_mlmon.records import NOTHING, Captured, Record, capture, capture_prediction, settle
from otel_mlmon.worker import MAX_ITEM_ROWS, Worker

_EMPTY = inspect.Parameter.empty
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

STREAM_ITEMS = 1024
"""Items of a stream that an extractor of predictions is shown."""


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


class Tally:
    """A count that many threads raise without a lock: ``next`` on ``itertools.count`` is one step of the interpreter."""

    def __init__(self) -> None:
        self._count = count()
        self._read = 0
        self.add = self._count.__next__

    def value(self) -> int:
        """How often ``add`` was called; for one reader at a time."""
        self._read += 1
        return next(self._count) - self._read + 1


class Sink:
    """Where records of calls go: the queue, and the tallies of calls in flight.

    Args:
        worker: The queue.
        failed: Called with the place of an error that was caught, and the error.

    Attributes:
        vectors: Names of the vector features, as far as the schema is known.
    """

    def __init__(self, worker: Worker, failed: Callable[[str, BaseException], None]) -> None:
        self.worker, self.failed = worker, failed
        self.vectors: tuple[str, ...] = ()
        self.begun, self.ended = Tally(), Tally()

    def put(self, record: Record) -> None:
        """Queue a record, in parts where it is large. Never raises."""
        try:
            settle(record, self.vectors)
            parts = [record] if record.rows <= MAX_ITEM_ROWS else record.split()
        except BaseException as error:  # noqa: BLE001 - the caller's thread: whatever their rows do when looked at, their call counts
            self.caught(error)
            record.form, record.features, record.rows = NOTHING
            parts = [record]
        for part in parts:
            self.worker.submit(part, part.rows or 1)

    def caught(self, error: BaseException) -> None:
        """Count what went wrong on the caller's thread, a panic of polars included; only what ends the process goes on."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        self.failed("extractor", error)

    @property
    def active(self) -> int:
        """Calls in flight."""
        return max(0, self.begun.value() - self.ended.value())

    def reset(self) -> None:
        """Begin anew in a forked child, where the parent's calls are not in flight."""
        self.begun, self.ended = Tally(), Tally()


class Plan:
    """How the calls of one function are read.

    Args:
        function: The function that is watched.
        names: Feature names if they are known: a function with several of them as parameters is given one row by parameter. One
            that takes any keywords and nothing else is, too.
        features: Extractor of the rows; None for the first argument.
        prediction: Extractor of the predictions; None for the result.
        sink: Where the records go.
    """

    __slots__ = (
        *("defaults", "extracts", "features", "first", "keywords", "method", "names", "others"),
        *("prediction", "sink", "spread", "submit"),
    )

    def __init__(
        self, function: Any, names: frozenset[str] | None, features: Extractor | None, prediction: Extractor | None, sink: Sink
    ) -> None:
        self.features, self.prediction, self.sink = features, prediction, sink
        self.submit = sink.worker.submit
        self.extracts = features is not None or prediction is not None
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
            if self._call is None:
                self.prediction = _captured(plan, self.prediction)
            else:
                self._extract(plan, self._call)
                self._call = None  # the arguments are the caller's: they do not wait in our queue
            if self.rows <= MAX_ITEM_ROWS and not plan.sink.vectors:
                plan.submit(self, self.rows or 1)
            else:
                plan.sink.put(self)
        except BaseException as unexpected:  # noqa: BLE001 - the caller's thread: nothing of ours may reach their call
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


def ending(error: BaseException) -> tuple[str, str]:
    """Status of a call that raised, and the exception's class name where it is an error."""
    return ("cancelled", "") if isinstance(error, (CancelledError, GeneratorExit)) else ("error", type(error).__name__)


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
            observation.prediction = result = wrapped(*args, **kwargs)
        return result

    async def coroutine(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Observation(plan, instance, args, kwargs) as observation:
            observation.prediction = result = await wrapped(*args, **kwargs)
        return result

    def generator(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _generator(Observation(plan, instance, args, kwargs), wrapped(*args, **kwargs), keep=streams)

    def async_generator(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _async_generator(Observation(plan, instance, args, kwargs), wrapped(*args, **kwargs), keep=streams)

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
            observation.prediction = result = function(*args, **kwargs)
        return result

    return watched


class _Tap:
    """An iterator that remembers its first items and passes everything else through."""

    def __init__(self, inner: Generator[Any, Any, Any], items: list[Any]) -> None:
        self._inner, self._items = inner, items
        self.close = inner.close

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._keep(next(self._inner))

    def send(self, value: Any) -> Any:
        return self._keep(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._keep(self._inner.throw(*error))

    def _keep(self, item: Any) -> Any:
        if len(self._items) < STREAM_ITEMS:
            self._items.append(item)
        return item


def _generator(observation: Observation, inner: Generator[Any, Any, Any], *, keep: bool) -> Generator[Any, Any, Any]:
    with observation:
        if not keep:
            return (yield from inner)
        observation.prediction = []
        return (yield from _Tap(inner, observation.prediction))


async def _async_generator(observation: Observation, inner: AsyncGenerator[Any, Any], *, keep: bool) -> AsyncGenerator[Any, Any]:
    """Relay values, sent values and thrown exceptions, as ``yield from`` does for generators (PEP 380)."""
    items: list[Any] = []
    with observation:
        if keep:
            observation.prediction = items
        try:
            item = await _begun(inner)
            while True:
                if keep and len(items) < STREAM_ITEMS:
                    items.append(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the inner generator to see
                    item = await inner.athrow(error)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            return
        finally:
            await inner.aclose()


def _begun(inner: AsyncGenerator[Any, Any]) -> Any:
    """Start the inner generator unknown to the event loop, which would close it at shutdown while we do."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return inner.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


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
