"""Functions that run in steps: generators and coroutines, relayed step by step."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_mlmon.watch import Observation

STREAM_ITEMS = 1024
"""Items of a stream that an extractor of predictions is shown."""

Run = Callable[..., Any]
"""Runs one step: calls what it is given, with the arguments behind it."""


class Steps:
    """An iterator or awaitable of which each step is run by something else, as ``CallSpan.run``.

    Whatever that makes current is current inside of a step only: not in the consumer of a generator, nor in what the event loop
    does while a coroutine waits, nor after a generator that is never finished.

    Args:
        inner: A generator, or the iterator of an awaitable.
        run: Runs each step.
    """

    def __init__(self, inner: Generator[Any, Any, Any], run: Run) -> None:
        self._inner, self._run = inner, run

    def __iter__(self) -> Iterator[Any]:
        return self

    __await__ = __iter__

    def __next__(self) -> Any:
        return self._run(next, self._inner)

    def send(self, value: Any) -> Any:
        return self._run(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._run(self._inner.throw, *error)

    def close(self) -> Any:
        return self._run(self._inner.close)


class _Tap:
    """An iterator that remembers its first items and passes everything else through."""

    def __init__(self, inner: Any, items: list[Any]) -> None:
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


def relay(observation: "Observation", inner: Generator[Any, Any, Any], *, keep: bool) -> Generator[Any, Any, Any]:
    """A generator that does what another does.

    Args:
        observation: What is entered with the first step and left after the last.
        inner: The other.
        keep: Whether its first items become the observation's prediction.
    """
    with observation:
        run = observation.run
        steps: Any = inner if run is None else Steps(inner, run)
        if not keep:
            return (yield from steps)
        observation.prediction = []
        return (yield from _Tap(steps, observation.prediction))


async def relay_async(observation: "Observation", inner: AsyncGenerator[Any, Any], *, keep: bool) -> AsyncGenerator[Any, Any]:
    """As ``relay``: values, sent values and thrown exceptions, as ``yield from`` does it for generators (PEP 380)."""
    items: list[Any] = []
    with observation:
        if keep:
            observation.prediction = items
        run = observation.run
        try:
            item = await awaited(_begun(inner), run)
            while True:
                if keep and len(items) < STREAM_ITEMS:
                    items.append(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the inner generator to see
                    item = await awaited(inner.athrow(error), run)
                else:
                    item = await awaited(inner.asend(sent), run)
        except StopAsyncIteration:
            return
        finally:
            await awaited(inner.aclose(), run)


def awaited(awaitable: Awaitable[Any], run: Run | None) -> Any:
    """An awaitable whose steps are run by ``run``; itself without."""
    return awaitable if run is None else Steps(awaitable.__await__(), run)


def _begun(inner: AsyncGenerator[Any, Any]) -> Any:
    """Start the inner generator unknown to the event loop, which would close it at shutdown while we do."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return inner.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)
