"""Which span is current: the call's inside of its function, and nowhere else, however a function is run."""

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler

from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.settings import Settings
from tests.concurrency import in_threads
from tests.kinds import ROW
from tests.readings import counted
from tests.telemetry import Traces, application, current, ids, the_call

SCHEMA = Schema((Feature("a"),))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)


@pytest.fixture
def monitor(traces: Traces) -> Iterator[Monitor]:
    with Monitor("m", version="7", schema=SCHEMA, trace=True, settings=SETTINGS) as one:
        yield one


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenTelemetry logs what is put back in a wrong context, or done to a span that has ended."""
    with caplog.at_level(logging.WARNING):
        yield
    assert [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")] == []


@pytest.mark.usefixtures("quiet")
def test_a_consumer_does_not_see_the_span_of_a_generator(monitor: Monitor, traces: Traces) -> None:
    seen: list[tuple[int, int]] = []

    @monitor.watch
    def predict(row: Any) -> Iterator[float]:
        with traces.tracer.start_as_current_span("inside") as inside:
            yield 0.5
            seen.append(current())
            assert current() == ids(inside)  # its own span is still current to it
        yield 0.6
        seen.append(current())

    with traces.tracer.start_as_current_span("request") as request:
        for _ in predict(ROW):
            assert current() == ids(request)
        assert current() == ids(request)
    assert seen[1] == ids(the_call(monitor, traces))


@pytest.mark.usefixtures("quiet")
def test_a_generator_that_is_left_leaves_no_span_behind(monitor: Monitor, traces: Traces) -> None:
    @monitor.watch
    def predict(row: Any) -> Iterator[float]:
        with traces.tracer.start_as_current_span("inside"):
            yield 0.5
        yield 0.6

    stream = predict(ROW)
    next(stream)
    assert current() == (0, 0)
    del stream
    gc.collect()
    assert current() == (0, 0)
    assert counted(monitor) == (0, 0, 1)
    assert [span.name for span in traces.spans] == ["inside", "predict m"]


@pytest.mark.usefixtures("quiet")
def test_a_generator_may_go_from_thread_to_thread(monitor: Monitor, traces: Traces) -> None:
    @monitor.watch
    def predict(row: Any) -> Iterator[float]:
        for _ in range(3):
            traces.tracer.start_span("inside").end()
            yield 0.5

    stream = predict(ROW)

    def step(_: int) -> None:
        before = current()
        next(stream)
        assert current() == before == (0, 0)

    for _ in range(3):
        in_threads(1, step)
    contextvars.Context().run(stream.close)  # type: ignore[attr-defined]  # a generator
    call = the_call(monitor, traces)
    assert {span.parent.span_id for span in traces.spans if span.name == "inside" and span.parent} == {ids(call)[1]}


@pytest.mark.usefixtures("quiet")
def test_an_asynchronous_generator_may_be_closed_by_another_task(monitor: Monitor, traces: Traces) -> None:
    """As the event loop does with what nobody finishes."""

    @monitor.watch
    async def predict(row: Any) -> AsyncIterator[float]:
        try:
            yield 0.5
        finally:
            traces.tracer.start_span("inside").end()
            await asyncio.sleep(0)

    async def leave() -> None:
        stream = predict(ROW)
        async for _ in stream:
            assert current() == (0, 0)
            break
        assert current() == (0, 0)
        await asyncio.create_task(stream.aclose())  # type: ignore[attr-defined]  # a generator
        assert current() == (0, 0)

    asyncio.run(leave())
    call = the_call(monitor, traces)
    assert [span.parent.span_id for span in traces.spans if span.name == "inside" and span.parent] == [ids(call)[1]]


@pytest.mark.usefixtures("quiet")
def test_a_coroutine_may_be_driven_by_several_contexts(monitor: Monitor, traces: Traces) -> None:
    """And be closed by the garbage collector's."""

    @monitor.watch
    async def predict(row: Any) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    waiting = predict(ROW)
    contextvars.Context().run(waiting.send, None)
    contextvars.Context().run(waiting.send, None)
    assert current() == (0, 0)
    waiting.close()
    assert counted(monitor) == (0, 0, 1)
    assert len(traces.calls) == 1


def test_what_a_function_puts_into_the_context_stays_with_it(monitor: Monitor) -> None:
    """Baggage and the like that is attached in one step is there in the next, and not outside."""

    @monitor.watch
    async def predict(row: Any) -> object:
        token = context.attach(context.set_value("who", "inside"))
        await asyncio.sleep(0)
        found = context.get_value("who")
        context.detach(token)
        return found, context.get_value("who")

    async def run() -> object:
        token = context.attach(context.set_value("who", "outside"))
        found = await predict(ROW)
        assert context.get_value("who") == "outside"
        context.detach(token)
        return found

    assert asyncio.run(run()) == ("inside", "outside")


def test_concurrent_tasks_have_a_trace_each(monitor: Monitor, traces: Traces) -> None:
    @monitor.watch
    async def predict(row: Any) -> tuple[int, int]:
        await asyncio.sleep(0)
        before = current()
        await asyncio.sleep(0.001 * (int(row["a"]) % 3))
        assert current() == before
        return before

    async def request(number: int) -> None:
        with traces.tracer.start_as_current_span("request") as span:
            inside = await predict({"a": float(number)})
            assert current() == ids(span)
            assert inside[0] == ids(span)[0]
            assert inside[1] != ids(span)[1]

    async def all_at_once() -> None:
        await asyncio.gather(*map(request, range(20)))

    asyncio.run(all_at_once())
    assert monitor.flush()
    assert len({ids(span)[0] for span in traces.calls}) == 20
    assert all(span.parent and span.parent.trace_id == ids(span)[0] for span in traces.calls)


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)])
def test_a_call_that_is_not_sampled_keeps_the_trace_whole(sampler: Sampler) -> None:
    """If its span were not current, each span inside would begin a trace of its own, and might be sampled."""
    traces = Traces(sampler)
    with application(traces), Monitor("m", schema=SCHEMA, trace=True, settings=SETTINGS) as monitor:
        seen: list[tuple[int, int]] = []
        with traces.tracer.start_as_current_span("request") as request:
            monitor.watch(lambda row: seen.append(current()))(ROW)
        assert seen[0][0] == ids(request)[0]
        assert counted(monitor) == (1, 0, 0)
    assert traces.spans == []


def test_threads_have_a_trace_each(monitor: Monitor, traces: Traces) -> None:
    predict: Any = monitor.watch(lambda row: current())
    barrier = threading.Barrier(8)

    def work(_: int) -> None:
        with traces.tracer.start_as_current_span("request") as span:
            barrier.wait(20)
            assert predict(ROW)[0] == ids(span)[0]

    in_threads(8, work)
    assert monitor.flush()
    assert len({ids(span)[0] for span in traces.calls}) == 8
