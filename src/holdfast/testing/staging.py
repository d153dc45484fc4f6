"""A test's stage: the bus of a program, with its subscriptions, on a store that is there for one test."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.bus import EventBus
from holdfast.errors import BusStateError, ConfigurationError
from holdfast.live import abandon
from holdfast.ports import SYSTEM
from holdfast.stores import make_store
from holdfast.sync import SyncEventBus
from holdfast.testing.clock import Clock
from holdfast.testing.published import PublishedEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from holdfast.event import Event
    from holdfast.ports import Ports
    from holdfast.stores.base import Store
    from holdfast.testing.faults import Faults
    from holdfast.testing.watched import WatchedStore
    from holdfast.worker import Worker

_CLOSING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """
    What a test has.

    Attributes:
        bus: The bus, which works on the test's store now.
        threaded: The `SyncEventBus` that it belongs to, if it does.
        published: The events that were published, for assertions.
        clock: The store's.
    """

    bus: EventBus
    threaded: SyncEventBus | None
    published: PublishedEvents
    clock: Clock

    def require_threaded(self) -> SyncEventBus:
        """
        The bus for tests that are plain functions.

        Raises:
            ConfigurationError: It is an `EventBus`, which only a test that is async can use.
        """
        if self.threaded is None:
            raise ConfigurationError(
                "the bus under test is an EventBus: make the test async and use the fixture bus, or declare a SyncEventBus"
            )
        return self.threaded


def bus_at(place: str) -> EventBus | SyncEventBus:
    """
    The bus that ``MODULE:BUS`` names.

    Raises:
        ConfigurationError: There is none. What the module itself raises while it is imported is let through.
    """
    name, _, attribute = place.partition(":")
    if not name or name.startswith("."):
        raise ConfigurationError(f"holdfast_bus is {place!r}: write MODULE:BUS, such as shop.events:bus")
    try:
        module: Any = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is the module's own import that fails
        raise ConfigurationError(
            f"holdfast_bus is {place!r}, and there is no module {error.name!r} on the Python path: run  python -m pytest  "
            f"in its folder, or set pytest's option pythonpath"
        ) from error
    try:
        found = reduce(getattr, (attribute or "bus").split("."), module)
    except AttributeError as error:
        raise ConfigurationError(f"holdfast_bus is {place!r}, and {error}: write MODULE:BUS") from error
    if not isinstance(found, EventBus | SyncEventBus):
        raise ConfigurationError(f"holdfast_bus is {place!r}, which is of type {type(found).__name__} and no bus")
    return found


@contextmanager
def stage(
    bus: EventBus | SyncEventBus, dsn: str = "sqlite://", *, clock: Clock | None = None, faults: Faults | None = None
) -> Iterator[Stage]:
    """
    Let *bus* work on the store *dsn* instead of its own.

    It is the same object with the same subscriptions, so handlers and programs that have imported it publish there, too.
    Relays and ingests stay out: nothing goes to a broker. What is subscribed meanwhile is gone afterwards. There is no
    spool, payloads are not encrypted, and nothing is dropped by retention, however far the clock is moved.

    Args:
        dsn: Memory by default; PostgreSQL makes its tables if need be.
        clock: The time of the store, if it is SQLite.
        faults: What its handlers go through.

    Raises:
        BusStateError: The bus is at work, or is in the end, in the loop that leaves this.
    """
    threaded, inner = (bus, bus.async_bus) if isinstance(bus, SyncEventBus) else (None, bus)
    _require_idle(inner)
    clock = clock or Clock()
    new_store, events = _new_store(dsn, inner.schema, clock)
    clock.tell(partial(_wake, inner))
    with _moved(inner, dsn, new_store, clock.now, faults):
        try:
            yield Stage(inner, threaded, PublishedEvents(events), clock)
        finally:
            _close(inner, threaded)


def _new_store(dsn: str, schema: str, clock: Clock) -> tuple[Callable[..., Store], Callable[[], list[Event]]]:
    """What makes the store, and what tells its events."""
    if dsn.partition("://")[0].lower() == "sqlite":
        log = _WatchedLog(clock)
        return log.new_store, log.events
    from holdfast.testing.databases import PostgresLog

    clock.belongs_to("a PostgreSQL store")
    return make_store, PostgresLog(dsn, schema).events


class _WatchedLog:
    """The stores that a bus makes one after the other, as each one that it closes is gone, and all events of theirs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stores: list[WatchedStore] = []

    def new_store(self, dsn: str, *, timeout: float, **_: Any) -> Store:
        from holdfast.stores.sqlite.files import path_of
        from holdfast.testing.watched import WatchedStore

        path = path_of(dsn)
        if path is not None:
            self._stores.clear()  # a file has what was published before, too
        store = WatchedStore(path, self._clock, timeout=timeout)
        self._stores.append(store)
        return store

    def events(self) -> list[Event]:
        return [event for store in self._stores for event in store.events()]


@contextmanager
def _moved(
    bus: EventBus, dsn: str, new_store: Callable[..., Store], now: Callable[[], datetime], faults: Faults | None
) -> Iterator[None]:
    """Give the bus other options for a while, and take from it afterwards what it has been given meanwhile."""
    options, tracing = bus._options, bus.tracing
    parts: list[dict[str, Any]] = [bus._consumers, bus._relays, bus._ingests]
    before = [dict(part) for part in parts]
    for name in bus.relays:
        del bus._consumers[name]
    for name, consumer in bus._consumers.items():
        bus._consumers[name] = replace(consumer)
    bus._relays.clear()
    bus._ingests.clear()
    bus._options = replace(
        options, dsn=dsn, auto_migrate=True, spool="off", encryption=None, retention=None, new_store=new_store, now=now,
        new_worker=_new_worker if faults is None else faults.worker(_new_worker),
    )  # fmt: skip
    if faults is not None:
        bus.tracing, faults.followed_by = faults, tracing
    try:
        yield
    finally:
        bus._options, bus.tracing = options, tracing
        for part, content in zip(parts, before, strict=True):
            part.clear()
            part.update(content)


def _new_worker(store: Store, settings: Any, *, ports: Ports = SYSTEM, **others: Any) -> Worker:
    from holdfast.worker import Worker

    # Without jitter: what is due after 2 seconds is due when the clock was moved by 2.
    return Worker(store, settings, ports=replace(ports, random=lambda: 0.0), **others)


def _wake(bus: EventBus) -> None:
    """The clock was moved: whatever waits for its time looks at it again."""
    live = bus._live
    if live is not None and live.worker is not None and not live.loop.is_closed():
        live.loop.call_soon_threadsafe(partial(live.worker.wake, due=True))


def _require_idle(bus: EventBus) -> None:
    live = bus._live
    if live is not None and not live.loop.is_closed():
        raise BusStateError(
            "this bus is at work on its own store: close it before a test takes it, or do not start it when the program "
            "is imported (HOLDFAST_WORKER=off for global_bus)"
        )


def _close(bus: EventBus, threaded: SyncEventBus | None) -> None:
    """Close the bus in the loop where it lives, wherever that is now."""
    if threaded is not None:
        threaded.close()
    live = bus._live
    if live is None:
        return
    if live.loop.is_closed():
        bus._live = None
        abandon(live.store, live.process)
    elif not live.loop.is_running():
        live.loop.run_until_complete(bus.close())
    elif live.loop is _running_loop():
        raise BusStateError("the stage is left in the loop where its bus works: await bus.close() before that")
    else:
        asyncio.run_coroutine_threadsafe(bus.close(), live.loop).result(_CLOSING_SECONDS)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
