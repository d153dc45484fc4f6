"""Handlers ask for what they need by type, each call in a scope of its own: containers of dishka and registries of svcs."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - read as annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from dishka import Provider, Scope, from_context, make_async_container, make_container

from holdfast import Delivery, Event, EventBus, Retry
from holdfast.errors import InvalidSubscription
from holdfast.integrations import dishka
from holdfast.subscription import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # svcs imports the test clients of all frameworks that are there
    import svcs

    from holdfast.integrations import svcs as svcs_integration


@dataclass
class Mailer:
    """What a call is given, which knows when its scope has ended."""

    event: Any
    thread: int = field(default_factory=threading.get_ident)
    is_closed: bool = False


class Made:
    """All mailers that were made."""

    def __init__(self) -> None:
        self.mailers: list[Mailer] = []

    def one(self, event: Any) -> Iterator[Mailer]:
        self.mailers.append(Mailer(event))
        yield self.mailers[-1]
        self.mailers[-1].is_closed = True


def of_dishka(made: Made, *, is_async: bool) -> Any:
    class Ours(Provider):
        scope = Scope.REQUEST
        event = from_context(provides=Event, scope=Scope.REQUEST)

    provider = Ours()

    def mailer(event: Event) -> Iterator[Mailer]:
        yield from made.one(event)

    async def async_mailer(event: Event) -> AsyncIterator[Mailer]:
        for one in made.one(event):
            yield one

    provider.provide(async_mailer if is_async else mailer, scope=Scope.REQUEST)
    return dishka.scoped((make_async_container if is_async else make_container)(provider))


def of_svcs(made: Made, **_: Any) -> Any:
    registry = svcs.Registry()

    def mailer(svcs_container: svcs.Container) -> Iterator[Mailer]:
        yield from made.one(svcs_container.get(Event))

    registry.register_factory(Mailer, mailer)
    return svcs_integration.scoped(registry)


@pytest.fixture
def made() -> Made:
    return Made()


KINDS = [of_dishka, of_svcs]


@pytest.fixture
async def make_bus() -> AsyncIterator[Callable[..., EventBus]]:
    buses: list[EventBus] = []

    def make(around: Any) -> EventBus:
        buses.append(EventBus("sqlite://", around=around))
        return buses[-1]

    yield make
    for bus in buses:
        await bus.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_each_call_of_an_async_handler_has_a_scope_of_its_own(kind: Any, made: Made, make_bus: Any) -> None:
    bus, seen = make_bus(kind(made, is_async=True)), []

    @bus.subscribe("a", name="s")
    async def handle(event: Event, mailer: Mailer) -> None:
        seen.append((event.payload, mailer.event.payload, mailer.is_closed))

    await bus.publish_many([{"name": "a", "payload": n} for n in (1, 2)])
    await bus.drain(timeout=10)
    assert seen == [(1, 1, False), (2, 2, False)]
    assert [one.is_closed for one in made.mailers] == [True, True]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_handlers_scope_is_in_its_thread(kind: Any, made: Made, make_bus: Any) -> None:
    bus, threads = make_bus(kind(made, is_async=False)), []

    def handle(event: Event, mailer: Mailer, delivery: Delivery) -> None:
        threads.append((threading.get_ident(), mailer.thread, delivery.subscription))

    bus.subscribe("a", handle, name="s")
    await bus.publish("a")
    await bus.drain(timeout=10)
    ((here, there, name),) = threads
    assert (here, name) == (there, "s")
    assert here != threading.get_ident()
    assert made.mailers[0].is_closed


@pytest.mark.parametrize("kind", KINDS)
async def test_the_scope_of_a_failed_attempt_is_closed_and_the_next_has_its_own(
    kind: Any, made: Made, make_bus: Any
) -> None:
    bus = make_bus(kind(made, is_async=True))

    @bus.subscribe("a", name="s", retry=RetryPolicy(base=0))
    async def handle(event: Event, mailer: Mailer, delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise ValueError("no mail")

    await bus.publish("a")
    await bus.drain(timeout=10)
    assert [one.is_closed for one in made.mailers] == [True, True]


async def test_what_needs_nothing_is_called_as_it_is_and_defaults_stay(made: Made, make_bus: Any) -> None:
    bus, seen = make_bus(of_dishka(made, is_async=True)), []

    @bus.subscribe("a", name="one")
    async def one(event: Event) -> None:
        seen.append("one")

    @bus.subscribe("a", name="two")
    async def two(event: Event, delivery) -> None:  # type: ignore[no-untyped-def]
        seen.append(delivery.subscription)

    @bus.subscribe("a", name="three")
    async def three(event: Event, mailer: Mailer, greeting: str = "dear") -> None:
        seen.append(greeting)

    @bus.subscribe("a", name="four", batch=10)
    async def four(events: list[Event]) -> None:
        seen.append(len(events))

    await bus.publish("a")
    await bus.drain(timeout=10)
    assert sorted(map(str, seen)) == ["1", "dear", "one", "two"]
    assert len(made.mailers) == 1


async def test_a_name_and_a_handler_are_still_its_own(made: Made, make_bus: Any) -> None:
    bus = make_bus(of_dishka(made, is_async=True))
    bus.subscribe(["a"], on_module_level)
    bus.subscribe("b", on_module_level)  # again: it adds a pattern
    ((name, patterns),) = [(one.name, one.patterns) for one in bus.consumers]
    assert name.endswith("test_resolving.on_module_level")
    assert patterns == ("a", "b")


async def on_module_level(event: Event, mailer: Mailer) -> None:
    pass


def test_what_cannot_be_served_is_refused_when_it_is_declared(made: Made) -> None:
    bus = EventBus("sqlite://", around=of_dishka(made, is_async=True))

    def plain(event: Event, mailer: Mailer) -> None: ...

    async def untyped(event: Event, delivery: Delivery, mailer) -> None: ...  # type: ignore[no-untyped-def]

    async def unreadable(event: Event, mailer: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for handler, said in (
        (plain, "asynchronous"),
        (untyped, "'mailer' without a type"),
        (unreadable, "cannot be read"),
    ):
        with pytest.raises(InvalidSubscription, match=said):
            bus.subscribe("a", handler, name="s")


@pytest.mark.parametrize(
    ("around", "said"),
    [
        (lambda handler: None, "is surrounded by what is of type NoneType"),
        (lambda handler: lambda event: None, "not both async"),
    ],
)
def test_what_stands_round_a_handler_is_of_its_kind(around: Any, said: str) -> None:
    async def handle(event: Event) -> None: ...

    with pytest.raises(InvalidSubscription, match=said):
        EventBus("sqlite://", around=around).subscribe("a", handle, name="s")


async def test_what_stands_round_handlers_is_called_in_their_place(make_bus: Any) -> None:
    told: list[str] = []

    def around(handler: Any) -> Any:
        @functools.wraps(handler)
        async def call(event: Event) -> None:
            told.append("before")
            try:
                await handler(event)
            finally:
                told.append("after")

        return call

    bus = make_bus(around)

    @bus.subscribe("a", name="s")
    async def handle(event: Event) -> None:
        told.append("handled")
        if told.count("handled") == 1:
            raise Retry(after=0.01)

    await bus.publish("a")
    await bus.drain(timeout=10)
    assert told == ["before", "handled", "after"] * 2
