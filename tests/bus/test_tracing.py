"""Traces: what goes on from publish to handler and to what that publishes, with OpenTelemetry and without."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace as ot
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from holdfast import Event, EventBus, RetryPolicy, SyncEventBus
from holdfast.errors import ConfigurationError
from holdfast.telemetry import conventions, opentelemetry

from .waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ONCE = RetryPolicy(max_attempts=1)


class Traced:
    """A provider, and the spans that ended."""

    def __init__(self) -> None:
        self._exporter, self.provider = InMemorySpanExporter(), TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        (found,) = self.spans(name)
        return found


@pytest.fixture
def traced() -> Iterator[Traced]:
    found = Traced()
    yield found
    found.provider.shutdown()


def header_of(span: ReadableSpan) -> str:
    """What an event carries of its publish."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def above(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


async def seen_by(bus: EventBus, pattern: str, name: str) -> list[Event]:
    found: list[Event] = []

    async def see(event: Event) -> None:
        found.append(event)

    bus.subscribe(pattern, see, name=name)
    return found


# ---- without OpenTelemetry


@pytest.mark.parametrize("handles", ["on the loop", "in a thread"])
async def test_trace_and_actor_go_on_to_what_a_handler_publishes(bus: EventBus, handles: str) -> None:
    async def handle(event: Event) -> None:
        await asyncio.sleep(0)
        await bus.publish("b")

    def handle_in_thread(event: Event) -> None:
        asyncio.run(bus.publish("b"))

    bus.subscribe("a", handle if handles == "on the loop" else handle_in_thread, name="s")
    seen = await seen_by(bus, "b", "t")
    cause = await bus.publish(
        "a", tenant_id="acme", headers={"actor": "ann", "traceparent": TRACE, "tracestate": "v=1", "private": "x"}
    )
    await bus.drain(20)
    assert [dict(event.headers) for event in seen] == [
        {
            "correlation_id": str(cause.event_id), "causation_id": str(cause.event_id), "actor": "ann",
            "traceparent": TRACE, "tracestate": "v=1",
        }
    ]  # fmt: skip
    assert (seen[0].tenant_id, seen[0].actor) == ("acme", "ann")


async def test_what_is_given_replaces_what_is_inherited(bus: EventBus) -> None:
    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        await bus.publish("b", headers={"actor": "bob"})

    seen = await seen_by(bus, "b", "t")
    await bus.publish("a", headers={"actor": "ann", "traceparent": TRACE})
    await bus.drain(20)
    assert (seen[0].actor, seen[0].header("traceparent")) == ("bob", TRACE)


async def test_a_trace_of_ones_own_takes_nothing_of_the_inherited_one(bus: EventBus) -> None:
    other = TRACE.replace("b7ad", "0000")

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        await bus.publish("b", headers={"traceparent": other})

    seen = await seen_by(bus, "b", "t")
    await bus.publish("a", headers={"actor": "ann", "traceparent": TRACE, "tracestate": "v=1"})
    await bus.drain(20)
    assert (seen[0].header("traceparent"), seen[0].header("tracestate"), seen[0].actor) == (other, None, "ann")


async def test_an_event_that_nobody_acted_for_has_no_actor(bus: EventBus) -> None:
    seen = await seen_by(bus, "a", "s")
    await bus.publish("a")
    await bus.drain(20)
    assert seen[0].actor is None
    assert dict(seen[0].headers) == {}


# ---- publishing


async def test_a_publish_is_a_span_that_its_event_carries(bus: EventBus, traced: Traced) -> None:
    opentelemetry.trace(bus, tracer_provider=traced.provider)
    seen = await seen_by(bus, "order.placed", "s")
    with traced.provider.get_tracer("app").start_as_current_span("request") as request:
        published = await bus.publish("order.placed", tenant_id="acme")
    await bus.drain(20)
    span = traced.span("publish order.placed")
    assert (span.kind, above(span)) == (SpanKind.PRODUCER, request.get_span_context().span_id)
    assert dict(span.attributes or {}) == {
        conventions.SYSTEM: "holdfast", conventions.OPERATION_NAME: "publish", conventions.OPERATION_TYPE: "send",
        conventions.DESTINATION: "order.placed", conventions.MESSAGE_ID: str(published.event_id),
        conventions.TENANT: "acme",
    }  # fmt: skip
    assert seen[0].header("traceparent") == header_of(span)


async def test_several_events_share_the_span_of_their_publish(bus: EventBus, traced: Traced) -> None:
    opentelemetry.trace(bus, tracer_provider=traced.provider)
    seen = await seen_by(bus, "a", "s")
    await bus.publish_many([{"name": "a", "payload": n} for n in range(3)])
    await bus.drain(20)
    span = traced.span("publish")
    assert (span.attributes or {})[conventions.BATCH_COUNT] == 3
    assert {event.header("traceparent") for event in seen} == {header_of(span)}


async def test_a_publish_that_is_refused_is_a_failed_span(bus: EventBus, traced: Traced) -> None:
    opentelemetry.trace(bus, tracer_provider=traced.provider)
    with pytest.raises(ValueError, match="name"):
        await bus.publish("not a name")
    assert traced.span("publish not a name").status.status_code is StatusCode.ERROR


def test_the_synchronous_bus_is_traced_as_well(sqlite_dsn: str, traced: Traced) -> None:
    bus = SyncEventBus(sqlite_dsn, spool="off")
    opentelemetry.trace(bus, handling="event", tracer_provider=traced.provider)

    @bus.subscribe("a", name="s")
    def handle(event: Event) -> None:
        bus.publish("b")

    with bus:
        bus.publish("a")
        bus.publish_many([{"name": "c", "payload": 1}])
        until_sync(lambda: traced.spans("publish b"))
    assert above(traced.span("publish b")) == traced.span("process s").get_span_context().span_id
    assert len(traced.spans("publish")) == 1


# ---- handling


def linked(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


async def test_events_that_are_handed_out_together_are_one_span_with_links(bus: EventBus, traced: Traced) -> None:
    opentelemetry.trace(bus, tracer_provider=traced.provider)
    seen = await seen_by(bus, "a", "s")
    await asyncio.gather(*(bus.publish("a", n) for n in range(20)))
    await bus.drain(20)
    spans, publishes = traced.spans("process s"), traced.spans("publish a")
    assert len(seen) == 20
    assert len(spans) < 20
    assert set.union(*(linked(span) for span in spans)) == {one.get_span_context().span_id for one in publishes}
    for span in spans:
        assert (span.kind, span.parent) == (SpanKind.CONSUMER, None)
        assert (span.attributes or {})[conventions.CONSUMER_GROUP] == "s"
        assert span.start_time is not None
        assert span.end_time is not None
        assert 0 <= span.end_time - span.start_time < 20e9


async def test_with_spans_of_batches_a_publish_goes_on_from_the_event_handled(bus: EventBus, traced: Traced) -> None:
    opentelemetry.trace(bus, tracer_provider=traced.provider)

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        await bus.publish("b")

    await bus.publish("a")
    await bus.drain(20)
    assert above(traced.span("publish b")) == traced.span("publish a").get_span_context().span_id


@pytest.mark.parametrize("handles", ["on the loop", "in a thread", "in a transaction"])
async def test_a_span_for_each_event_is_the_one_its_handler_runs_in(
    bus: EventBus, traced: Traced, handles: str
) -> None:
    opentelemetry.trace(bus, handling="event", tracer_provider=traced.provider)
    inside: list[Any] = []

    async def handle(event: Event, delivery: Any) -> None:
        inside.append(ot.get_current_span().get_span_context().span_id)
        await asyncio.sleep(0)
        inside.append(ot.get_current_span().get_span_context().span_id)
        await bus.publish("b")

    def handle_in_thread(event: Event, delivery: Any) -> None:
        inside.extend([ot.get_current_span().get_span_context().span_id] * 2)
        asyncio.run(bus.publish("b"))

    bus.subscribe(
        "a", handle_in_thread if handles == "in a thread" else handle, name="s",
        transactional=handles == "in a transaction",
    )  # fmt: skip
    published = await bus.publish("a")
    await bus.drain(20)
    span = traced.span("process s")
    assert above(span) == traced.span("publish a").get_span_context().span_id
    assert inside == [span.get_span_context().span_id] * 2
    assert above(traced.span("publish b")) == span.get_span_context().span_id
    attributes = span.attributes or {}
    assert attributes[conventions.MESSAGE_ID] == str(published.event_id)
    assert attributes[conventions.ATTEMPT] == 1


@pytest.mark.parametrize("handling", ["batch", "event"])
async def test_an_attempt_that_fails_is_a_span_with_the_error(bus: EventBus, traced: Traced, handling: Any) -> None:
    opentelemetry.trace(bus, handling=handling, tracer_provider=traced.provider)

    @bus.subscribe("a", name="s", retry=ONCE)
    async def handle(event: Event) -> None:
        raise LookupError("no such thing")

    await bus.publish("a")
    await bus.drain(20)
    span = traced.span("process s")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})[conventions.ERROR_TYPE] == "LookupError"
    (recorded,) = span.events
    assert (recorded.attributes or {})["exception.message"] == "no such thing"


@pytest.mark.parametrize("handling", ["batch", "event"])
async def test_a_call_of_a_batch_handler_is_a_span_with_links(bus: EventBus, traced: Traced, handling: Any) -> None:
    opentelemetry.trace(bus, handling=handling, tracer_provider=traced.provider)
    inside: list[int] = []

    @bus.subscribe("a", name="s", batch=50)
    async def handle(events: list[Event]) -> None:
        inside.append(ot.get_current_span().get_span_context().span_id)

    await asyncio.gather(*(bus.publish("a", n) for n in range(10)))
    await bus.drain(20)
    spans = traced.spans("process s")
    assert [span.get_span_context().span_id for span in spans] == inside
    publishes = {span.get_span_context().span_id for span in traced.spans("publish a")}
    alone = {above(span) for span in spans} - {None}  # a batch of one goes on from its publish
    assert set.union(alone, *(linked(span) for span in spans)) == publishes


async def test_events_without_a_trace_are_handled_all_the_same(bus: EventBus, traced: Traced) -> None:
    seen = await seen_by(bus, "a", "s")
    await bus.publish_many(
        [{"name": "a", "payload": 1}, {"name": "a", "payload": 2, "headers": {"traceparent": "rubbish"}}]
    )
    opentelemetry.trace(bus, tracer_provider=traced.provider)
    await bus.drain(20)
    assert len(seen) == 2
    assert all(not span.links for span in traced.spans("process s"))


async def test_another_way_of_handling_is_refused(bus: EventBus) -> None:
    with pytest.raises(ConfigurationError, match="give 'batch' or 'event'"):
        opentelemetry.trace(bus, handling="all")  # type: ignore[arg-type]


# ---- metrics


def points(reader: InMemoryMetricReader) -> dict[str, dict[tuple[Any, ...], float]]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: {tuple((point.attributes or {}).values()): point.value for point in metric.data.data_points}
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def test_metrics_of_bus_and_store_are_told_when_an_exporter_asks(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus, reader = make_bus(shared_dsn), InMemoryMetricReader()
    provider = MeterProvider([reader])
    measuring = opentelemetry.measure([bus], meter_provider=provider)

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        pass

    await bus.publish_many([{"name": "a", "payload": n} for n in range(3)])
    await bus.drain(20)
    assert bus.counts is not None
    store = bus.counts.store
    found = await asyncio.to_thread(points, reader)
    assert found["holdfast_delivered_events"][store, "s"] == 3
    assert found["holdfast_handler_duration_seconds_count"][store, "s"] == 3
    assert found["holdfast_handler_duration_seconds_bucket"][store, "s", "+Inf"] == 3
    assert found["holdfast_publish_batch_events_sum"][(store,)] == 3
    assert found["holdfast_store_up"][(store,)] == 1
    assert found["holdfast_live_workers"][store, "s"] == 1
    assert found["holdfast_lag_events"][store, "s"] == 0
    await asyncio.to_thread(measuring.close)
    found = await asyncio.to_thread(points, reader)
    assert found["holdfast_delivered_events"][store, "s"] == 3
    assert not found.get("holdfast_store_up")
    provider.shutdown()
