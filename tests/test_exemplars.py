"""Exemplars: durations and errors point at the trace that they come from, if it is kept."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.calls import DURATION_BOUNDS
from otel_mlmon.integrations.asgi import AsgiMiddleware
from otel_mlmon.integrations.wsgi import WsgiMiddleware
from otel_mlmon.settings import Settings
from tests.concurrency import in_child
from tests.kinds import KINDS, ROW, Use
from tests.readings import buckets, counted
from tests.telemetry import Traces, application, duration_exemplars, exemplars, ids

SCHEMA = Schema((Feature("a"),))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)


@pytest.fixture
def monitor(traces: Traces) -> Iterator[Monitor]:
    with Monitor("m", schema=SCHEMA, settings=SETTINGS) as one:
        yield one


def plain(monitor: Monitor) -> None:
    monitor.watch(lambda row: 0.5)(ROW)


def observed(monitor: Monitor, _: object) -> None:
    monitor.observe(ROW, 0.5, duration=0.25)


@pytest.mark.parametrize("use", [*KINDS, observed])
def test_a_duration_points_at_the_span_that_was_current(monitor: Monitor, traces: Traces, use: Use) -> None:
    before = time.time()
    with traces.tracer.start_as_current_span("request") as span:
        use(monitor, lambda: None)
    (found,) = duration_exemplars(monitor)
    assert (found.trace_id, found.span_id) == ids(span)
    assert before <= found.time <= time.time()


@pytest.mark.parametrize("duration", [0.0, 0.0005, 0.00051, 0.3, 60.0, 61.0])
def test_an_exemplar_is_at_the_bucket_that_counts_its_value(monitor: Monitor, traces: Traces, duration: float) -> None:
    with traces.tracer.start_as_current_span("request"):
        monitor.observe(ROW, 0.5, duration=duration)
    assert monitor.flush()
    snapshot = monitor.collect()
    (series,) = (one for one in snapshot.series if one.family is catalog.CALL_DURATION)
    counted_in = series.index + int(np.argmax(buckets(snapshot, catalog.CALL_DURATION)[: len(DURATION_BOUNDS) + 1]))
    assert {slot: one.value for slot, one in snapshot.exemplars.items()} == {counted_in: duration}


@pytest.mark.parametrize("duration", [None, float("nan"), float("inf"), -1.0])
def test_what_is_no_duration_has_no_exemplar(monitor: Monitor, traces: Traces, duration: float | None) -> None:
    with traces.tracer.start_as_current_span("request"):
        monitor.observe(ROW, 0.5, duration=duration)
    assert duration_exemplars(monitor) == []
    assert counted(monitor) == (1, 0, 0)


@pytest.mark.parametrize("drains", [1, 3])
def test_the_last_call_of_a_bucket_is_kept(monitor: Monitor, traces: Traces, drains: int) -> None:
    for number in range(3):
        with traces.tracer.start_as_current_span("request") as span:
            monitor.observe(ROW, 0.5, duration=0.3 + number / 100)
        if drains == 3:
            assert monitor.flush()
    (found,) = duration_exemplars(monitor)
    assert (found.value, found.trace_id, found.span_id) == (0.32, *ids(span))


def test_errors_point_at_their_span_and_successes_do_not(monitor: Monitor, traces: Traces) -> None:
    with traces.tracer.start_as_current_span("fails") as failed:
        monitor.observe(ROW, error=KeyError("a"))
    with traces.tracer.start_as_current_span("is cancelled") as cancelled:
        monitor.observe(ROW, error=asyncio.CancelledError())
    with traces.tracer.start_as_current_span("succeeds"):
        monitor.observe(ROW, 0.5)
    assert monitor.flush()
    for family, label, span in (
        (catalog.CALL_ERRORS, "KeyError", failed),
        (catalog.CALLS, "error", failed),
        (catalog.CALLS, "cancelled", cancelled),
    ):
        (found,) = exemplars(monitor, family, label)
        assert (found.value, found.trace_id, found.span_id) == (1.0, *ids(span))
    assert exemplars(monitor, catalog.CALLS, "ok") == []


def test_errors_beyond_the_bound_point_from_where_they_are_counted(traces: Traces) -> None:
    with Monitor("m", schema=SCHEMA, settings=Settings(system_seconds=0, drain_seconds=30, max_error_types=1)) as monitor:
        monitor.observe(ROW, error=KeyError("a"))
        with traces.tracer.start_as_current_span("fails") as span:
            monitor.observe(ROW, error=ValueError("a"))
        assert monitor.flush()
        (found,) = exemplars(monitor, catalog.CALL_ERRORS, "__other__")
        assert (found.trace_id, found.span_id) == ids(span)


def test_a_large_call_has_one_exemplar(monitor: Monitor, traces: Traces) -> None:
    with traces.tracer.start_as_current_span("request") as span:
        monitor.observe(np.ones((5000, 1)), np.ones(5000), duration=0.25)
    (found,) = duration_exemplars(monitor)
    assert (found.trace_id, found.span_id) == ids(span)


def test_a_trace_that_is_not_kept_is_not_pointed_at() -> None:
    traces = Traces(ALWAYS_OFF)
    with application(traces), Monitor("m", schema=SCHEMA, settings=SETTINGS) as monitor:
        with traces.tracer.start_as_current_span("request"):
            plain(monitor)
            monitor.request("GET").end(route="/", status=200)
        plain(monitor)
        assert duration_exemplars(monitor) == []
        assert exemplars(monitor, catalog.HTTP_REQUEST_DURATION, "/", "GET") == []
        assert counted(monitor) == (2, 0, 0)


def test_a_provider_that_comes_later_is_found_by_the_next_drain() -> None:
    """Until then nobody is asked for a span, since asking costs."""
    traces = Traces()
    with application(None), Monitor("m", schema=SCHEMA, settings=SETTINGS) as monitor:
        with traces.tracer.start_as_current_span("request"):
            plain(monitor)
        assert duration_exemplars(monitor) == []
        with application(traces), traces.tracer.start_as_current_span("request"):
            plain(monitor)
            assert monitor.flush()
            plain(monitor)
        assert len(duration_exemplars(monitor)) == 1


@pytest.mark.parametrize("named", ["sdk_tracer_provider", "nobody's"])
def test_to_look_for_traces_makes_no_provider_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: str
) -> None:
    """The application's own would come too late; and one that cannot be loaded would be tried, and logged, at each drain."""
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", named)
    traces = Traces()
    with application(None), Monitor("m", schema=SCHEMA, settings=SETTINGS) as monitor:
        plain(monitor)
        assert duration_exemplars(monitor) == []
        assert trace._TRACER_PROVIDER is None
        assert caplog.text == ""
        with application(traces), traces.tracer.start_as_current_span("request"):
            plain(monitor)
        assert len(duration_exemplars(monitor)) == 1


def test_a_span_of_a_foreign_class_that_fails_costs_the_exemplar_and_not_the_call(monitor: Monitor) -> None:
    class Odd(trace.NonRecordingSpan):
        def get_span_context(self) -> trace.SpanContext:
            raise RuntimeError("odd")

    with trace.use_span(Odd(trace.INVALID_SPAN_CONTEXT)):
        plain(monitor)
    assert duration_exemplars(monitor) == []
    assert counted(monitor) == (1, 0, 0)
    assert monitor.snapshot().errors["trace"] == 1


def test_a_request_points_at_the_servers_span(monitor: Monitor, traces: Traces) -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"{}"]

    async def get() -> None:
        transport = httpx.ASGITransport(app=AsgiMiddleware(asgi, monitor, route=lambda _: "/asgi"))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get("/asgi")

    with traces.tracer.start_as_current_span("asgi") as first:
        asyncio.run(get())
    with traces.tracer.start_as_current_span("wsgi") as second:
        transport = httpx.WSGITransport(app=WsgiMiddleware(wsgi, monitor, route=lambda _: "/wsgi"))
        with httpx.Client(transport=transport, base_url="http://test") as client:
            client.get("/wsgi")
    assert monitor.flush()
    for route, span in (("/asgi", first), ("/wsgi", second)):
        (found,) = exemplars(monitor, catalog.HTTP_REQUEST_DURATION, route, "GET")
        assert (found.trace_id, found.span_id) == ids(span)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_none_of_its_parents(monitor: Monitor, traces: Traces) -> None:
    with traces.tracer.start_as_current_span("request"):
        plain(monitor)
    assert len(duration_exemplars(monitor)) == 1

    def child() -> None:
        assert duration_exemplars(monitor) == []

    in_child(child)
