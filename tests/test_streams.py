"""Watched generators, plain and asynchronous: one call each, from the first item to the end."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.settings import Settings
from tests.readings import counted, reading, readings

ROW = {"a": 1.0}
WAYS: list[Callable[[Monitor], Callable[[Any], Any]]] = [
    lambda monitor: monitor.watch,
    lambda monitor: monitor.watch(features=lambda call: call.args[0], prediction=lambda call: call.result),
]


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=Schema((Feature("a"),)), settings=Settings(system_seconds=0, drain_seconds=30)) as one:
        yield one


def generator(row: Any) -> Generator[Any, Any, Any]:
    yield from [2.0] * 3
    return "done"


async def async_generator(row: Any) -> AsyncGenerator[Any, Any]:
    for _ in range(3):
        yield 2.0


# ---------------------------------------------------------------- generators


def conversation(row: Any) -> Generator[Any, Any, str]:
    """Answers what it is sent or thrown; ends when it is told to."""
    answer: Any = "hello"
    try:
        while answer != "end":
            try:
                answer = yield answer
            except LookupError as error:
                answer = f"caught {error.args[0]}"
    except GeneratorExit:
        row["closed"] = True
        raise
    return "bye"


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
def test_a_generator_receives_what_is_sent_and_thrown_and_returns(monitor: Monitor, way: Callable[[Monitor], Any]) -> None:
    stream = way(monitor)(conversation)({"a": 1.0})
    assert [inspect.isgenerator(stream)] == [True]  # in a list: mypy would narrow the type to what can be sent nothing
    assert next(stream) == "hello"
    assert stream.send("one") == "one"
    assert stream.throw(LookupError("two")) == "caught two"
    assert next(stream) is None
    assert counted(monitor) == (0, 0, 0)
    assert reading(monitor, catalog.CALLS_ACTIVE) == 1
    with pytest.raises(StopIteration) as end:
        stream.send("end")
    assert end.value.value == "bye"
    assert counted(monitor) == (1, 0, 0)
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0
    assert list(stream) == []
    assert counted(monitor) == (1, 0, 0)


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
@pytest.mark.parametrize("leave", [lambda stream: stream.close(), lambda stream: None], ids=["close", "garbage"])
def test_a_generator_left_early_is_closed_and_counts_as_cancelled(
    monitor: Monitor, way: Callable[[Monitor], Any], leave: Callable[[Any], None]
) -> None:
    row: dict[str, Any] = {"a": 1.0}
    stream = way(monitor)(conversation)(row)
    next(stream)
    leave(stream)
    del stream
    assert row["closed"] is True
    assert counted(monitor) == (0, 0, 1)
    assert readings(monitor, catalog.CALL_ERRORS) == {}
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0


def test_what_is_thrown_into_a_generator_and_not_caught_comes_back_itself(monitor: Monitor) -> None:
    error = KeyboardInterrupt()
    stream = monitor.watch(conversation)({"a": 1.0})
    next(stream)
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.throw(error)
    assert caught.value is error
    assert error.__context__ is None
    assert counted(monitor) == (0, 1, 0)


def test_a_generator_that_raises_counts_as_an_error(monitor: Monitor) -> None:
    @monitor.watch
    def failing(row: Any) -> Iterator[int]:
        yield 1
        raise KeyError("mine")

    stream = failing(ROW)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="mine"):
        next(stream)
    assert counted(monitor) == (0, 1, 0)


@pytest.mark.parametrize("function", [generator, async_generator], ids=lambda one: one.__name__)
@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
def test_a_stream_that_is_never_started_counts_nothing(monitor: Monitor, function: Any, way: Callable[[Monitor], Any]) -> None:
    """Nor does it warn: warnings are errors here, unraisable ones too."""
    way(monitor)(function)(ROW)
    assert counted(monitor) == (0, 0, 0)
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0


def test_a_stream_is_delegated_to_like_any_other(monitor: Monitor) -> None:
    def outer(row: Any) -> Generator[Any, Any, Any]:
        return (yield from monitor.watch(generator)(row))

    stream = outer(ROW)
    assert [next(stream), next(stream), next(stream)] == [2.0] * 3
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value == "done"


def test_the_extractor_is_shown_all_items_however_they_came_out(monitor: Monitor) -> None:
    shown = []
    stream = monitor.watch(prediction=lambda call: shown.append(call.result))(conversation)({"a": 1.0})
    next(stream)
    stream.send("one")
    stream.throw(LookupError("two"))
    with pytest.raises(StopIteration):
        stream.send("end")
    assert shown == [["hello", "one", "caught two"]]


def test_the_extractor_is_shown_the_first_1024_items_of_a_stream(monitor: Monitor) -> None:
    """A stream may be endless; what is kept of it is not."""
    shown = []

    @monitor.watch(prediction=lambda call: shown.append(call.result))
    def many(row: Any) -> Iterator[int]:
        yield from range(5000)

    @monitor.watch(prediction=lambda call: shown.append(call.result))
    async def many_later(row: Any) -> AsyncIterator[int]:
        for number in range(5000):
            yield number

    async def items() -> list[int]:
        return [item async for item in many_later(ROW)]

    assert list(many(ROW)) == asyncio.run(items()) == list(range(5000))
    assert shown == [list(range(1024))] * 2


# ---------------------------------------------------------------- asynchronous generators


async def async_conversation(row: Any) -> AsyncGenerator[Any, Any]:
    """Answers what it is sent or thrown; ends when it is told to."""
    answer: Any = "hello"
    try:
        while answer != "end":
            try:
                answer = yield answer
                await asyncio.sleep(0)
            except LookupError as error:
                answer = f"caught {error.args[0]}"
    finally:
        await asyncio.sleep(0)
        row["closed"] = True


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
def test_an_async_generator_receives_what_is_sent_and_thrown(monitor: Monitor, way: Callable[[Monitor], Any]) -> None:
    async def talk() -> None:
        stream = way(monitor)(async_conversation)({"a": 1.0})
        assert [inspect.isasyncgen(stream)] == [True]
        assert await stream.__anext__() == "hello"
        assert await stream.asend("one") == "one"
        assert await stream.athrow(LookupError("two")) == "caught two"
        assert await anext(stream) is None
        assert counted(monitor) == (0, 0, 0)
        assert reading(monitor, catalog.CALLS_ACTIVE) == 1
        with pytest.raises(StopAsyncIteration):
            await stream.asend("end")
        assert [item async for item in stream] == []

    asyncio.run(talk())
    assert counted(monitor) == (1, 0, 0)
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
def test_what_is_thrown_into_an_async_generator_and_not_caught_comes_back_itself(
    monitor: Monitor, way: Callable[[Monitor], Any]
) -> None:
    error = KeyError("mine")
    row: dict[str, Any] = {"a": 1.0}

    @way(monitor)  # type: ignore[untyped-decorator]  # it is any of WAYS
    async def stubborn(row: Any) -> AsyncGenerator[Any, Any]:
        try:
            yield 1
        finally:
            row["closed"] = True

    async def talk() -> None:
        stream = stubborn(row)
        await anext(stream)
        with pytest.raises(KeyError) as caught:
            await stream.athrow(error)
        assert caught.value is error

    asyncio.run(talk())
    assert error.__context__ is None
    assert row["closed"] is True
    assert counted(monitor) == (0, 1, 0)


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
def test_an_async_generator_closed_early_has_cleaned_up_when_aclose_returns(
    monitor: Monitor, way: Callable[[Monitor], Any]
) -> None:
    row: dict[str, Any] = {"a": 1.0}

    async def leave() -> None:
        stream = way(monitor)(async_conversation)(row)
        await anext(stream)
        await stream.aclose()
        assert row["closed"] is True

    asyncio.run(leave())
    assert counted(monitor) == (0, 0, 1)
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "garbage"])
def test_an_async_generator_left_to_the_loop_is_closed_once(monitor: Monitor, kept: bool) -> None:
    """The loop closes what is left when it ends: ours, and through it the user's, which is not to be closed twice."""
    row: dict[str, Any] = {"a": 1.0}
    complaints: list[Any] = []
    streams: list[Any] = []

    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        for _ in range(5):  # the loop's order is that of a set
            stream = monitor.watch(async_conversation)(row)
            await anext(stream)
            streams.append(stream)
        del stream
        if not kept:
            streams.clear()
            while "closed" not in row:  # the loop's hook has scheduled it
                await asyncio.sleep(0)

    asyncio.run(leave())
    assert complaints == []
    assert row["closed"] is True
    assert counted(monitor) == (0, 0, 5)


def test_a_consumer_that_breaks_out_and_closes_gets_the_first_items(monitor: Monitor) -> None:
    async def first() -> Any:
        stream = monitor.watch(async_generator)(ROW)
        try:
            async for item in stream:
                return item
        finally:
            await stream.aclose()

    assert asyncio.run(first()) == 2.0
    assert counted(monitor) == (0, 0, 1)


# ---------------------------------------------------------------- what is in flight


def test_coroutines_and_streams_are_active_while_they_run(monitor: Monitor) -> None:
    @monitor.watch
    async def predict(row: Any, go_on: asyncio.Event) -> None:
        await go_on.wait()

    async def run() -> list[float]:
        go_on = asyncio.Event()
        tasks = [asyncio.create_task(predict(ROW, go_on)) for _ in range(5)]
        streams = [monitor.watch(async_generator)(ROW) for _ in range(3)]
        active = [reading(monitor, catalog.CALLS_ACTIVE)]
        await asyncio.sleep(0)  # the tasks begin
        for stream in streams:
            await anext(stream)
        active.append(reading(monitor, catalog.CALLS_ACTIVE))
        for stream in streams:
            await stream.aclose()
        active.append(reading(monitor, catalog.CALLS_ACTIVE))
        go_on.set()
        await asyncio.gather(*tasks)
        return [*active, reading(monitor, catalog.CALLS_ACTIVE)]

    assert asyncio.run(run()) == [0, 8, 5, 0]
    assert counted(monitor) == (5, 0, 3)
