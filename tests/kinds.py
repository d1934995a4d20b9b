"""One call of a watched function of every kind."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from otel_mlmon import Monitor

ROW = {"a": 1.0}

Use = Callable[[Monitor, Callable[[], None]], None]
"""Calls a watched function once that does this inside, twice where it can."""


def plain(monitor: Monitor, inside: Callable[[], None]) -> None:
    @monitor.watch
    def predict(row: Any) -> float:
        inside()
        return 0.5

    assert predict(ROW) == 0.5


def method(monitor: Monitor, inside: Callable[[], None]) -> None:
    class Model:
        @monitor.watch
        def predict(self, row: Any) -> float:
            inside()
            return 0.5

    assert Model().predict(ROW) == 0.5


def wrapped(monitor: Monitor, inside: Callable[[], None]) -> None:
    class Model:
        @monitor.watch
        @classmethod
        def predict(cls, row: Any) -> float:
            inside()
            return 0.5

    assert Model.predict(ROW) == 0.5


def coroutine(monitor: Monitor, inside: Callable[[], None]) -> None:
    @monitor.watch
    async def predict(row: Any) -> float:
        inside()
        await asyncio.sleep(0)
        inside()
        return 0.5

    assert asyncio.run(predict(ROW)) == 0.5


def generator(monitor: Monitor, inside: Callable[[], None]) -> None:
    @monitor.watch
    def predict(row: Any) -> Generator[float, float, str]:
        inside()
        assert (yield 0.5) == 7
        inside()
        return "done"

    stream = predict(ROW)
    assert next(stream) == 0.5
    with pytest.raises(StopIteration, match="done"):
        stream.send(7)


def async_generator(monitor: Monitor, inside: Callable[[], None]) -> None:
    @monitor.watch
    async def predict(row: Any) -> AsyncGenerator[float, float]:
        inside()
        await asyncio.sleep(0)
        assert (yield 0.5) == 7
        inside()

    async def consume() -> None:
        stream = predict(ROW)
        assert await stream.asend(None) == 0.5  # type: ignore[arg-type]  # how an asynchronous generator begins
        with pytest.raises(StopAsyncIteration):
            await stream.asend(7)

    asyncio.run(consume())


KINDS: list[Use] = [plain, method, wrapped, coroutine, generator, async_generator]
