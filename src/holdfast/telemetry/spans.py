"""Spans of publishing and handling, as OpenTelemetry has them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from time import time_ns
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast.context import CURRENT
from holdfast.event import Event
from holdfast.telemetry import conventions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer

    from holdfast.event import NewEvent, Row
    from holdfast.subscription import Consumer, Delivery, Handler

LINKS_MAX = 128
"""Links of a span: what SDKs keep of them unless they are told otherwise."""

_W3C = TraceContextTextMapPropagator()
_COMMON = {conventions.SYSTEM: conventions.HOLDFAST}
_PROCESS = _COMMON | {
    conventions.OPERATION_NAME: conventions.PROCESS,
    conventions.OPERATION_TYPE: conventions.PROCESS,
}


class Spans:
    """See `holdfast.telemetry.opentelemetry.trace`. A `holdfast.tracing.Tracing`."""

    def __init__(self, tracer: Tracer, handling: Literal["batch", "event"]) -> None:
        self._tracer, self._handling = tracer, handling

    @contextmanager
    def publishing(self, name: str | None, cause: Delivery | None) -> Iterator[PublishSpan]:
        attributes = _COMMON | {
            conventions.OPERATION_NAME: conventions.PUBLISH,
            conventions.OPERATION_TYPE: conventions.SEND,
        }
        # With a span for each batch only, none is open while a handler runs: what it publishes goes on from its event.
        above = (
            None if cause is None or trace.get_current_span().get_span_context().is_valid else context_of(cause.event)
        )
        with self._tracer.start_as_current_span(
            f"{conventions.PUBLISH} {name}" if isinstance(name, str) else conventions.PUBLISH,
            context=above, kind=SpanKind.PRODUCER, attributes=attributes,
        ) as span:  # fmt: skip
            yield PublishSpan(span)

    def of(self, consumer: Consumer) -> SpansOfEvents | SpansOfBatches:
        # A batch handler has a span for each call in any case: that is a batch, and the handler runs in it.
        kind = SpansOfEvents if self._handling == "event" or consumer.batch is not None else SpansOfBatches
        return kind(self._tracer, consumer)


class PublishSpan:
    """A publish that is under way."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}
        _W3C.inject(self.headers, trace.set_span_in_context(span))

    def composed(self, events: Sequence[NewEvent]) -> None:
        if len(events) == 1:
            (event,) = events
            self._span.set_attribute(conventions.DESTINATION, event.name)
            self._span.set_attribute(conventions.MESSAGE_ID, str(event.id))
            self._span.set_attribute(conventions.TENANT, event.tenant_id)
        else:
            self._span.set_attribute(conventions.BATCH_COUNT, len(events))


class SpansOfBatches:
    """One span for all events that were handed out together, made when they have been handled: cheap."""

    def __init__(self, tracer: Tracer, consumer: Consumer) -> None:
        self._tracer, self._name, self.handler = tracer, consumer.name, consumer.called

    def handled(self, rows: Sequence[Row], seconds: float) -> None:
        self._span(rows, seconds, None)

    def failed(self, rows: Sequence[Row], seconds: float, error: BaseException) -> None:
        self._span(rows, seconds, error)

    def _span(self, rows: Sequence[Row], seconds: float, error: BaseException | None) -> None:
        ended = time_ns()
        events = [Event(row) for row in rows]
        span = self._tracer.start_span(
            f"{conventions.PROCESS} {self._name}", kind=SpanKind.CONSUMER, attributes=attributes_of(self._name, events),
            context=trace.set_span_in_context(trace.INVALID_SPAN), links=links_to(events),
            start_time=ended - round(seconds * 1e9),
        )  # fmt: skip
        if error is not None:
            mark_failed(span, error)
        span.end(ended)


class SpansOfEvents:
    """One span for each call of the handler, which runs in it."""

    def __init__(self, tracer: Tracer, consumer: Consumer) -> None:
        self._tracer, self._name = tracer, consumer.name
        self.handler: Handler = self._around(consumer)

    def handled(self, rows: Sequence[Row], seconds: float) -> None:
        """The span has ended with the call."""

    def failed(self, rows: Sequence[Row], seconds: float, error: BaseException) -> None:
        """As `handled`."""

    def _around(self, consumer: Consumer) -> Handler:
        handler: Any = consumer.called
        if consumer.is_async:

            @wraps(handler)
            async def call(given: Event | list[Event], *delivery: Any) -> Any:
                with self._calling(given):
                    return await handler(given, *delivery)

            return call

        @wraps(handler)
        def call_in_thread(given: Event | list[Event], *delivery: Any) -> Any:
            with self._calling(given):
                return handler(given, *delivery)

        return call_in_thread

    @contextmanager
    def _calling(self, given: Event | list[Event]) -> Iterator[None]:
        events, current = given if isinstance(given, list) else [given], CURRENT.get()
        # One event goes on from its publish; several have no common beginning, and are linked to.
        above, links = (context_of(events[0]), ()) if len(events) == 1 else (None, links_to(events))
        attributes = attributes_of(self._name, events)
        if current is not None:
            attributes[conventions.ATTEMPT] = current.attempt
        with self._tracer.start_as_current_span(
            f"{conventions.PROCESS} {self._name}", context=above or trace.set_span_in_context(trace.INVALID_SPAN),
            kind=SpanKind.CONSUMER, attributes=attributes, links=links, record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                yield
            except BaseException as error:
                mark_failed(span, error)
                raise


def attributes_of(subscription: str, events: Sequence[Event]) -> dict[str, Any]:
    """What a span of handling *events* says of them; of a single one also which it is."""
    found: dict[str, Any] = _PROCESS | {conventions.CONSUMER_GROUP: subscription}
    if len(events) != 1:
        return found | {conventions.BATCH_COUNT: len(events)}
    (event,) = events
    return found | {
        conventions.DESTINATION: event.name,
        conventions.MESSAGE_ID: str(event.id),
        conventions.CONVERSATION_ID: event.correlation_id,
        conventions.TENANT: event.tenant_id,
    }


def mark_failed(span: Span, error: BaseException) -> None:
    span.record_exception(error)
    span.set_attribute(conventions.ERROR_TYPE, type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))


def context_of(event: Event) -> Context | None:
    """Where the trace of an event stands, as its header ``traceparent`` says; None without one."""
    if (parent := event.header("traceparent")) is None:
        return None
    carrier = {"traceparent": parent, "tracestate": event.header("tracestate") or ""}
    return _W3C.extract(carrier)


def links_to(events: Sequence[Event]) -> list[Link]:
    """Links to the publishes of *events*, each one once."""
    found: dict[tuple[int, int], SpanContext] = {}
    for event in events:
        if len(found) < LINKS_MAX and (above := context_of(event)) is not None:
            context = trace.get_current_span(above).get_span_context()
            if context.is_valid:
                found[context.trace_id, context.span_id] = context
    return [Link(context) for context in found.values()]
