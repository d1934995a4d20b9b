"""Calls as spans: what a span tells, and that each is ended once, whatever happens."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind, StatusCode

from otel_mlmon import Feature, Monitor, Schema
from otel_mlmon.settings import Settings
from tests.concurrency import in_child
from tests.kinds import KINDS, ROW, Use
from tests.readings import counted
from tests.telemetry import Traces, application, current, duration_exemplars, ids, the_call, told

SCHEMA = Schema((Feature("a"),))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)
SECRET = "4711 is the number of the card"  # noqa: S105 - stands for what a row may hold


@pytest.fixture
def monitor(traces: Traces) -> Iterator[Monitor]:
    with Monitor("m", version="7", schema=SCHEMA, trace=True, settings=SETTINGS) as one:
        yield one


@pytest.mark.parametrize("use", KINDS)
def test_a_call_is_a_span_below_the_users_and_above_what_it_does(monitor: Monitor, traces: Traces, use: Use) -> None:
    with traces.tracer.start_as_current_span("request") as request:
        use(monitor, lambda: traces.tracer.start_span("inside").end())
        assert current() == ids(request)
    call = the_call(monitor, traces)
    inner = [span for span in traces.spans if span.name == "inside"]
    assert call.parent is not None
    assert (call.parent.trace_id, call.parent.span_id) == ids(request)
    assert {span.parent.span_id for span in inner if span.parent} == {ids(call)[1]}
    assert len(inner) in (1, 2)
    times = [(span.start_time or 0, span.end_time or 0) for span in (call, *inner)]
    assert all(times[0][0] <= began <= ended <= times[0][1] for began, ended in times)


def test_a_span_tells_model_version_and_rows(monitor: Monitor, traces: Traces) -> None:
    monitor.watch(lambda rows: np.ones(3))(np.ones((3, 1)))
    call = the_call(monitor, traces)
    assert (call.name, call.kind, call.status.status_code) == ("predict m", SpanKind.INTERNAL, StatusCode.UNSET)
    assert call.attributes == {"model.name": "m", "model.version": "7", "mlmon.rows": 3}
    assert call.events == ()


def test_a_span_ends_with_the_call_and_not_with_the_drain(monitor: Monitor, traces: Traces) -> None:
    monitor.watch(lambda row: 0.5)(ROW)
    traces.tracer.start_span("later").end()
    assert traces.calls == []
    call = the_call(monitor, traces)
    assert (call.end_time or 0) <= next(span.start_time or 0 for span in traces.spans if span.name == "later")


def test_a_duration_points_at_the_span_of_the_call(monitor: Monitor, traces: Traces) -> None:
    """More exactly than at the request's."""
    with traces.tracer.start_as_current_span("request"):
        monitor.watch(lambda row: 0.5)(ROW)
    (found,) = duration_exemplars(monitor)
    assert (found.trace_id, found.span_id) == ids(the_call(monitor, traces))


def test_an_observed_call_is_a_span_as_long_as_it_took(monitor: Monitor, traces: Traces) -> None:
    with traces.tracer.start_as_current_span("request") as request:
        monitor.observe(ROW, 0.5, duration=0.25)
        assert current() == ids(request)
    call = the_call(monitor, traces)
    assert call.parent is not None
    assert call.parent.span_id == ids(request)[1]
    assert 0.25e9 <= (call.end_time or 0) - (call.start_time or 0) < 60e9
    monitor.observe(ROW, 0.5, duration=1e18)
    assert monitor.flush()
    assert min(span.start_time or 0 for span in traces.calls) == 0  # OTLP's times have no sign


def test_an_observed_error_is_told_as_a_watched_one(monitor: Monitor, traces: Traces) -> None:
    monitor.observe(ROW, error=CardError(SECRET))
    call = the_call(monitor, traces)
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, "CardError")
    assert "4711" not in told(call)


def test_nested_watched_functions_are_nested_spans(monitor: Monitor, traces: Traces) -> None:
    inner: Any = monitor.watch(lambda row: 0.5)
    monitor.watch(lambda row: inner(row))(ROW)
    assert monitor.flush()
    outer, nested = traces.calls
    assert nested.parent is not None
    assert (nested.parent.span_id, outer.parent) == (ids(outer)[1], None)


# ---------------------------------------------------------------- how it ended


class CardError(Exception):
    pass


@pytest.mark.parametrize("use", KINDS)
def test_an_error_is_told_by_its_class_and_never_by_its_text(monitor: Monitor, traces: Traces, use: Use) -> None:
    def fail() -> None:
        raise CardError(SECRET)

    with pytest.raises(CardError):
        use(monitor, fail)
    call = the_call(monitor, traces)
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, "CardError")
    (event,) = call.events
    assert (event.name, dict(event.attributes or {})) == ("exception", {"exception.type": f"{__name__}.CardError"})
    assert (call.attributes or {})["error.type"] == "CardError"
    assert event.timestamp <= (call.end_time or 0)
    assert "4711" not in told(call)
    assert counted(monitor) == (0, 1, 0)


def test_a_cancelled_call_is_no_error(monitor: Monitor, traces: Traces) -> None:
    @monitor.watch
    async def predict(row: Any) -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.ensure_future(predict(ROW))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    call = the_call(monitor, traces)
    assert (call.status.status_code, call.events) == (StatusCode.UNSET, ())
    assert counted(monitor) == (0, 0, 1)


# ---------------------------------------------------------------- ended in every case


def test_without_a_provider_calls_are_calls() -> None:
    """One that comes later is used at once: whoever asks for spans should not miss the first."""
    traces = Traces()
    with application(None), Monitor("m", schema=SCHEMA, trace=True, settings=SETTINGS) as monitor:
        for use in KINDS:
            use(monitor, lambda: None)
        assert counted(monitor) == (len(KINDS), 0, 0)
        with application(traces):
            monitor.watch(lambda row: 0.5)(ROW)
        the_call(monitor, traces)


def test_what_the_queue_refuses_is_a_span_all_the_same(traces: Traces) -> None:
    with Monitor("m", schema=SCHEMA, trace=True, settings=Settings(system_seconds=0, drain_seconds=30, queue_rows=1)) as monitor:
        predict: Any = monitor.watch(lambda rows: None)
        predict(np.ones((2, 1)))
        (call,) = traces.calls
        assert (call.attributes or {})["mlmon.rows"] == 2
        predict(np.ones((5000, 1)))
        assert [(span.attributes or {})["mlmon.rows"] for span in traces.calls] == [2, 5000]


def test_a_closed_monitor_ends_what_was_queued_and_what_comes_later(traces: Traces) -> None:
    monitor = Monitor("m", schema=SCHEMA, trace=True, settings=SETTINGS)
    predict: Any = monitor.watch(lambda row: 0.5)
    predict(ROW)
    monitor.close()
    assert len(traces.calls) == 1
    predict(ROW)
    assert len(traces.calls) == 2


def test_spans_end_where_the_worker_fails(monitor: Monitor, traces: Traces) -> None:
    """What a reader raises need not be an ``Exception``: a panic of polars is none."""

    class Panic(BaseException):
        pass

    def read() -> None:
        raise Panic

    monitor.watch(lambda row: 0.5)(ROW)
    monitor.observe_lazy(read, weight=1)
    the_call(monitor, traces)
    assert monitor.snapshot().errors["worker"] == 1


def test_spans_end_while_rows_are_held_to_be_learned_from(traces: Traces) -> None:
    with Monitor("m", trace=True, learn_rows=100, settings=SETTINGS) as monitor:
        monitor.watch(lambda row: 0.5)(ROW)
        the_call(monitor, traces)


def test_a_large_call_is_one_span(monitor: Monitor, traces: Traces) -> None:
    """It queues in parts of 1,024 rows."""
    monitor.watch(lambda rows: np.ones(5000))(np.ones((5000, 1)))
    assert (the_call(monitor, traces).attributes or {})["mlmon.rows"] == 5000


def test_a_span_that_the_user_has_ended_is_left_alone(monitor: Monitor, traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry logs what is done to one that has ended."""
    monitor.watch(lambda row: trace.get_current_span().end())({"b": 1.0})
    assert (the_call(monitor, traces).attributes or {}).keys() == {"model.name", "model.version"}
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


class Broken(SpanProcessor):
    """Fails where it is told to."""

    def __init__(self, place: str) -> None:
        self._place = place

    def on_start(self, span: object, parent_context: object = None) -> None:
        if self._place == "start":
            raise RuntimeError(SECRET)

    def on_end(self, span: object) -> None:
        if self._place == "end":
            raise RuntimeError(SECRET)


@pytest.mark.parametrize("place", ["start", "end"])
def test_a_broken_pipeline_costs_the_span_and_not_the_call(place: str, caplog: pytest.LogCaptureFixture) -> None:
    traces = Traces(processors=[Broken(place)])
    with application(traces), Monitor("m", schema=SCHEMA, trace=True, settings=SETTINGS) as monitor:
        for use in KINDS:
            use(monitor, lambda: None)
        assert counted(monitor) == (len(KINDS), 0, 0)
        assert monitor.snapshot().errors["trace"] == len(KINDS)
        monitor.close()
        monitor.watch(lambda row: 0.5)(ROW)  # is ended by the caller
    assert "4711" not in caplog.text


def test_a_broken_sampler_costs_the_span_and_not_the_call() -> None:
    class Odd(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(SECRET)

        def get_description(self) -> str:
            return "odd"

    with application(Traces(Odd())), Monitor("m", schema=SCHEMA, trace=True, settings=SETTINGS) as monitor:
        assert monitor.watch(lambda row: 0.5)(ROW) == 0.5
        assert counted(monitor) == (1, 0, 0)
        assert monitor.snapshot().errors["trace"] == 1


def test_a_call_that_cannot_be_recorded_ends_its_span(monitor: Monitor, traces: Traces) -> None:
    class Nameless(type):
        __name__ = property(lambda cls: cls.nothing)  # no class should be so

    class OddError(Exception, metaclass=Nameless):
        pass

    def fail(row: Any) -> None:
        raise OddError

    with pytest.raises(OddError):
        monitor.watch(fail)(ROW)
    assert len(traces.calls) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_in_a_forked_child_the_parents_spans_do_not_end(monitor: Monitor, traces: Traces) -> None:
    """Of calls in flight, which end in both; of calls in the queue, which are the parent's. Its own calls are spans."""
    queue: Any = monitor.watch(lambda row: 0.5)
    queue(ROW)

    def child() -> None:
        stream.close()
        assert monitor.flush()
        assert traces.calls == []
        queue(ROW)
        assert monitor.flush()
        assert len(traces.calls) == 1

    stream: Any = monitor.watch(lambda row: (yield 1))(ROW)
    next(stream)
    in_child(child)
    stream.close()
    assert monitor.flush()
    assert len(traces.calls) == 2


EXITS = """
from opentelemetry import trace
import otel_mlmon
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
monitor = otel_mlmon.Monitor("m", schema=otel_mlmon.Schema((otel_mlmon.Feature("a"),)), trace=True)
monitor.flush()  # the worker is there before the provider, as after monitor.serve()
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\\n")))
trace.set_tracer_provider(provider)
monitor.watch(lambda row: 0.5)({"a": 1.0})
"""


def test_a_script_that_ends_exports_its_last_spans() -> None:
    """The provider shuts down at exit, too: the calls that still wait must be handled before."""
    ran = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line)["name"] for line in ran.stdout.splitlines()] == ["predict m"]
