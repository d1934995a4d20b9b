"""The trace that a call belongs to, and the span that it is: begun and left on the caller's thread, ended on the worker."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER
from opentelemetry.trace import Span, SpanContext, StatusCode
from opentelemetry.util.types import AttributeValue

from otel_mlmon.worker import settle_at_exit

SCOPE = "otel_mlmon"
"""Name of the instrumentation scope of spans and of prediction logs."""

_NAMES = 32  # features that an event names for each reason


class CallSpan:
    """The span of one call: current while the code of the function runs, and never while its consumer's does.

    Args:
        span: The span, begun.
        tracing: What began it; in a forked child it is another's, and so is the span.
    """

    __slots__ = ("_context", "_ended", "_home", "_raised", "_rows", "_span", "_tracing")

    def __init__(self, span: Span, tracing: "Tracing") -> None:
        self._span = span if span.is_recording() else None
        self._tracing, self._home = tracing, tracing.home
        self._context: Context | None = trace.set_span_in_context(span)
        self._raised: type[BaseException] | None = None
        self._rows = 0
        self._ended: int | None = None

    @property
    def recording(self) -> bool:
        """Whether anybody will see it: it is sampled, or recorded at least, and has not ended."""
        return self._span is not None and self._home is self._tracing.home

    def run(self, step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run one step of the function, up to its return or to its next ``yield`` or ``await``, with the span as the current one.

        A step begins and ends in one context, whoever drives the function, so what was current before is always put back. What
        the function has made current itself, and not undone yet, waits here for the next step.
        """
        token = attach(self._context or get_current())
        try:
            return step(*args, **kwargs)
        finally:
            self._context = get_current()
            detach(token)

    def leave(self, error: BaseException | None) -> None:
        """The call has ended: note when, and the class of what it raised; None unless that was an error."""
        self._context = None
        if self._span is not None:
            self._ended = time.time_ns()
            self._raised = None if error is None else type(error)

    def violated(self, checks: Sequence[str], invalid: Mapping[str, Sequence[str]]) -> None:
        """Tell that rows of the call break the schema.

        Args:
            checks: As a whole: values of the label ``check`` of ``mlmon_schema_violations_total``.
            invalid: Features with invalid values by reason, as the labels of ``mlmon_feature_invalid_total``; never a value.
        """
        if checks or invalid:
            attributes: dict[str, AttributeValue] = {
                f"mlmon.feature.invalid.{one}": names[:_NAMES] for one, names in invalid.items()
            }
            if checks:
                attributes["mlmon.schema.violations"] = checks
            self._guarded(lambda span: span.add_event("mlmon.schema_violation", attributes, timestamp=self._ended))

    def count(self, rows: int) -> None:
        """Add rows that were counted."""
        self._rows += rows

    def end(self, attributes: Mapping[str, AttributeValue]) -> None:
        """End the span, as of when the call ended. Further calls do nothing; neither do those in a child forked meanwhile."""

        def end(span: Span) -> None:
            span.set_attributes({"mlmon.rows": self._rows, **attributes})
            if self._raised is not None:
                span.add_event("exception", {"exception.type": _qualified(self._raised)}, timestamp=self._ended)
                span.set_attribute("error.type", self._raised.__name__)  # as in mlmon_call_errors_total
                span.set_status(StatusCode.ERROR, self._raised.__name__)
            span.end(end_time=self._ended)

        self._guarded(end)
        self._span = None

    def _guarded(self, action: Callable[[Span], object]) -> None:
        span = self._span
        try:
            if span is not None and self.recording and span.is_recording():  # not if the user has ended it
                action(span)
        except Exception as error:  # noqa: BLE001 - processors and exporters are the user's code, whatever they do
            self._tracing.failed("trace", error)


class Origin:
    """What an audit traces a call back by.

    Attributes:
        context: Of the call's own span, else of the one that was current; None outside of a trace.
        span: The call's own span; None where calls are no spans.
        ids: Prediction ids: one of the whole call, or a list of one per row; None if unknown.
        ends: Whether the span ends with this record; not so for the earlier parts of a large call.
    """

    __slots__ = ("context", "ends", "ids", "span")

    def __init__(
        self, context: SpanContext | None = None, span: CallSpan | None = None, ids: Any = None, *, ends: bool = True
    ) -> None:
        self.context, self.span, self.ids, self.ends = context, span, ids, ends

    @property
    def sampled(self) -> bool:
        """Whether the trace is kept, so that it may be pointed at."""
        return self.context is not None and self.context.trace_flags.sampled

    @property
    def recording(self) -> bool:
        """Whether the call has a span that anybody will see."""
        return self.span is not None and self.span.recording

    def part(self, start: int, stop: int, *, ends: bool) -> "Origin":
        """Of some of the rows."""
        ids = self.ids[start:stop] if isinstance(self.ids, list) else self.ids
        return Origin(self.context, self.span, ids, ends=ends)


class Tracing:
    """Tells which trace a call belongs to and, where calls are spans, begins them.

    Args:
        model: Name and version, attributes of each span.
        version: Version of this package.
        spans: Whether each call is a span.
        failed: Called with the place of an error that was caught, and the error.

    Attributes:
        home: What tells this process from its forked children.
    """

    def __init__(self, model: tuple[str, str], version: str, *, spans: bool, failed: Callable[[str, BaseException], None]) -> None:
        self._name = f"predict {model[0]}"  # "{operation} {model}", as for generative models: semconv, gen-ai spans
        self._attributes = {"model.name": model[0], "model.version": model[1]}
        self._spans, self.failed = spans, failed
        self._tracer = trace.get_tracer(SCOPE, version) if spans else None
        self._settles = False
        self.home = object()

    def wanted(self) -> bool:
        """Whether calls are to be asked for their trace: not where the application traces nothing."""
        # A provider that the environment names would be made by the question, and the application's own came too late.
        if self._spans or OTEL_PYTHON_TRACER_PROVIDER in os.environ:
            return True
        return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))

    def current(self) -> SpanContext | None:
        """The context of the current span; None outside of a trace. Never raises."""
        try:
            context = trace.get_current_span().get_span_context()
        except Exception as error:  # noqa: BLE001 - the caller's thread, and a span of whatever class the user made current
            self.failed("trace", error)
            return None
        return context if context.is_valid else None

    def begin(self, started: int | None = None) -> Origin | None:
        """Where a call that begins now comes from. Never raises.

        Args:
            started: Unix time in nanoseconds at which it began; None for now.
        """
        if self._tracer is None:
            context = self.current()
            return None if context is None else Origin(context)
        try:
            span = self._tracer.start_span(self._name, attributes=self._attributes, start_time=started)
            context = span.get_span_context()
            if not context.is_valid:  # there is no provider
                return None
            origin = Origin(context, CallSpan(span, self))
        except Exception as error:  # noqa: BLE001 - the caller's thread, and samplers and processors of the user
            self.failed("trace", error)
            return None
        if not self._settles and span.is_recording():
            self._settles = True
            settle_at_exit()
        return origin

    def reset(self) -> None:
        """Begin anew in a forked child, where the spans that have begun are the parent's."""
        self.home = object()


def _qualified(kind: type[BaseException]) -> str:
    """Name of an exception's class, as the SDK writes it: with the module, but for builtins."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
