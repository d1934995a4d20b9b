"""The application's own OpenTelemetry pipelines, in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otel_mlmon import Monitor, catalog
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.store import Exemplar


class Traces:
    """A tracer provider that is the application's, and what it exports.

    Attributes:
        tracer: The user's.
    """

    def __init__(self, sampler: Sampler = ALWAYS_ON, processors: Sequence[SpanProcessor] = ()) -> None:
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        for processor in processors:
            self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("user")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended."""
        return list(self._exporter.get_finished_spans())

    @property
    def calls(self) -> list[ReadableSpan]:
        """Ours among them, in the order in which they began."""
        ours = [span for span in self.spans if span.instrumentation_scope and span.instrumentation_scope.name == "otel_mlmon"]
        return sorted(ours, key=lambda span: span.start_time or 0)


@contextmanager
def application(traces: Traces | None) -> Iterator[None]:
    """The application has set this tracer provider, or none. The API lets it be set once a process: that latch alone is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", None if traces is None else traces.provider)
        yield


def exemplars(monitor: Monitor, family: MetricFamily, *labels: str) -> list[Exemplar]:
    """Those of one series, in the order of its slots."""
    snapshot = monitor.collect()
    (found,) = (one for one in snapshot.series if one.family is family and one.labels[2:] == labels)
    return [snapshot.exemplars[slot] for slot in range(found.index, found.index + found.width) if slot in snapshot.exemplars]


def duration_exemplars(monitor: Monitor) -> list[Exemplar]:
    """Those of the calls' durations."""
    assert monitor.flush()
    return exemplars(monitor, catalog.CALL_DURATION)


def ids(span: trace.Span | ReadableSpan) -> tuple[int, int]:
    """Trace and span identifier."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def told(span: ReadableSpan) -> str:
    """All that a span says in words: no identifier and no time, which may hold any digits."""
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    links = [dict(link.attributes or {}) for link in span.links]
    return repr((span.name, dict(span.attributes or {}), events, links, span.status.description, dict(span.resource.attributes)))


class Unspeakable:
    """What has no text: neither an id nor a category can be made of it."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def current() -> tuple[int, int]:
    """Identifiers of the current span; zeros outside of a trace."""
    return ids(trace.get_current_span())


def the_call(monitor: Monitor, traces: Traces) -> ReadableSpan:
    """The span of the only call."""
    assert monitor.flush()
    (found,) = traces.calls
    return found
