"""`SyncEventBus`: the same bus for threaded code. An event loop in a background thread does the work."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - its own call at exit must be registered before ours
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from holdfast.bus import EventBus
from holdfast.composing import compose, compose_items
from holdfast.context import handled_by
from holdfast.errors import BusStateError
from holdfast.event_types import name_of
from holdfast.ports import BackgroundLoop
from holdfast.publisher import published_within

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from holdfast.counts import BusCounts
    from holdfast.encryption import KeyProvider
    from holdfast.event import NewEvent, Published
    from holdfast.patterns import Patterns
    from holdfast.subscription import Consumer, Handler, SubscribeOptions
    from holdfast.tracing import Tracing

H = TypeVar("H", bound="Handler")
T = TypeVar("T")


class SyncEventBus:
    """
    A durable event bus for threads: Django, Flask, scripts.

    It takes the same options, keeps the same subscriptions and means the same as `EventBus`; methods wait instead of
    being awaited, and may be called from any thread. Handlers are usually synchronous; async ones run too.

    Args:
        dsn: As for `EventBus`, and so are all options.
    """

    def __init__(self, dsn: str | None = None, **options: Any) -> None:
        self._bus = EventBus(dsn, **options)
        self._background = BackgroundLoop("holdfast")
        self._closes_at_exit = False

    @property
    def dsn(self) -> str:
        """The DSN, with its password if it has one: not for logs."""
        return self._bus.dsn

    @property
    def async_bus(self) -> EventBus:
        """The bus that does the work, for ``holdfast worker`` and others that bring an event loop of their own."""
        return self._bus

    @property
    def schema(self) -> str:
        return self._bus.schema

    @property
    def encryption(self) -> KeyProvider | None:
        """Who has the master keys of the payloads; None: they are not encrypted."""
        return self._bus.encryption

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """The subscriptions that this program has declared."""
        return self._bus.consumers

    @property
    def tracing(self) -> Tracing:
        """Who follows events through programs; set it before the bus is used."""
        return self._bus.tracing

    @tracing.setter
    def tracing(self, tracing: Tracing) -> None:
        self._bus.tracing = tracing

    @property
    def counts(self) -> BusCounts | None:
        """What this process has counted; see `EventBus.counts`."""
        return self._bus.counts

    @overload
    def subscribe(self, patterns: Patterns, handler: H, **options: Unpack[SubscribeOptions]) -> H: ...
    @overload
    def subscribe(
        self, patterns: Patterns, handler: None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[H], H]: ...

    def subscribe(self, patterns: Patterns, handler: Handler | None = None, **options: Any) -> Any:
        """Declare a durable subscription; see `EventBus.subscribe`."""
        subscribe: Any = self._bus.subscribe
        return subscribe(patterns, handler, **options)

    def relay(self, patterns: str | list[str], to: Any, **options: Any) -> None:
        """Declare a relay; see `EventBus.relay`."""
        self._bus.relay(patterns, to, **options)

    def ingest(self, from_: str, **options: Any) -> None:
        """Declare an ingest; see `EventBus.ingest`."""
        self._bus.ingest(from_, **options)

    def publish(
        self, name: str | Any, payload: Any = None, *, tenant_id: str | None = None, key: str | None = None,
        event_id: UUID | str | None = None, headers: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None, deliver_at: datetime | None = None, delay: float | None = None,
        tx: Any = None,
    ) -> Published:  # fmt: skip
        """Store an event; see `EventBus.publish`. ``tx=`` takes synchronous connections and sessions."""
        cause, options = handled_by(self._bus), self._bus._options  # noqa: SLF001 - the other face of the same bus
        with self.tracing.publishing(name_of(name), cause) as span:
            event = compose(
                name, payload, tenant_id=tenant_id, key=key, event_id=event_id, headers=headers,
                occurred_at=occurred_at, cause=cause, limit=options.max_payload,
                require_tenant=options.require_tenant, trace=span.headers, deliver_at=deliver_at, delay=delay,
                now=options.now,
            )  # fmt: skip
            span.composed([event])
            (published,) = self._publish([event], tx, atomic=False)
        return published

    def publish_many(self, items: Iterable[Any], *, tx: Any = None) -> list[Published]:
        """Store several events in one transaction, all or none; see `EventBus.publish_many`."""
        cause, options = handled_by(self._bus), self._bus._options  # noqa: SLF001 - as above
        with self.tracing.publishing(None, cause) as span:
            events = compose_items(
                items, cause=cause, limit=options.max_payload, require_tenant=options.require_tenant, trace=span.headers,
                now=options.now,
            )  # fmt: skip
            span.composed(events)
            return self._publish(events, tx, atomic=True) if events else []

    def _publish(self, events: Sequence[NewEvent], tx: Any, *, atomic: bool, caller: int = 4) -> list[Published]:
        """*caller*: as in `EventBus._transaction`."""
        transaction = self._bus._transaction(tx, caller=caller)  # noqa: SLF001 - as above
        if transaction is None:
            return self._wait(self._bus._publish(events, None, atomic=atomic))  # noqa: SLF001 - as above
        # The connection belongs to the calling thread: only the preparation happens in the background.
        live, first, events = self._wait(self._bus._prepare_within(events))  # noqa: SLF001 - as above
        return published_within(events, live.store.append_within_sync(transaction, events, first=first))

    def every(self, rule: str | timedelta, handler: Handler | None = None, **options: Any) -> Any:
        """Declare a schedule; see `EventBus.every`."""
        every: Any = self._bus.every
        return every(rule, handler, **options)

    def cancel(self, event_id: UUID | str) -> bool:
        """Call off an event that was published for later; see `EventBus.cancel`."""
        return self._wait(self._bus.cancel(event_id))

    def reschedule(
        self, event_id: UUID | str, *, deliver_at: datetime | None = None, delay: float | None = None
    ) -> bool:
        """Change when such an event comes into the log; see `EventBus.reschedule`."""
        return self._wait(self._bus.reschedule(event_id, deliver_at=deliver_at, delay=delay))

    def start(self) -> None:
        """Start the worker in the background; returns when it runs."""
        self._wait(self._start())

    async def _start(self) -> None:
        await self._bus.__aenter__()

    def drain(self, timeout: float | None = None) -> None:
        """Wait until everything stored so far is settled; see `EventBus.drain`."""
        self._wait(self._bus.drain(timeout))

    def run(self) -> None:
        """
        Work until SIGTERM or SIGINT, in the main thread; see `EventBus.run`.

        The bus must not have been used in the background before.
        """
        if self._background.is_running:
            self._done(self._bus.close())
            self._background.close()
        asyncio.run(self._bus.run())

    def close(self) -> None:
        """Stop the worker gracefully and close every connection; the bus can be used again."""
        if self._background.is_running:
            self._done(self._bus.close())
            self._background.close()

    def __enter__(self) -> Self:
        """Start the worker in the background."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """As `_done`, for all but closing: another face may have something to see to before it."""
        return self._done(work)

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which runs in the background."""
        if self._background.is_this_thread:
            work.close()
            raise BusStateError(
                "an async handler called the synchronous bus, which would wait for itself: "
                "make the handler a plain function, or use EventBus"
            )
        self._close_at_exit()
        return self._background.run(work)

    def _close_at_exit(self) -> None:
        """A program that ends without `close` hands its partitions back, too."""
        if not self._closes_at_exit:
            self._closes_at_exit = True
            _before_exit(_close, weakref.ref(self))


def _close(bus: weakref.ref[SyncEventBus]) -> None:
    if (found := bus()) is not None:
        found.close()


# The interpreter joins the threads of executors before it calls what `atexit` knows: too late for whoever works in
# such threads. They end by this hook, which has no public name; the latest call is made first, so theirs must be there.
_before_exit: Callable[..., object] = getattr(threading, "_register_atexit", atexit.register)
