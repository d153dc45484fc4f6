"""`EventBus`: publish, subscribe, run."""

from __future__ import annotations

import asyncio
import logging
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from holdfast.bridges import Bridges
from holdfast.composing import compose, compose_items
from holdfast.context import handled_by
from holdfast.errors import (
    BusStateError,
    DuplicateSubscription,
    InvalidSubscription,
    TransactionError,
    TransactionRequired,
)
from holdfast.event_types import Unknown, name_of
from holdfast.live import Live, abandon
from holdfast.options import BusOptions, check_timeout, from_environment
from holdfast.patterns import Patterns, check_patterns
from holdfast.publisher import published_within
from holdfast.running import run_buses
from holdfast.storing import prepare_within, store
from holdfast.subscription import (
    Consumer,
    Handler,
    Limit,
    RetryPolicy,
    describe,
    make_consumer,
    require_same_options,
)  # fmt: skip
from holdfast.timing import Timing
from holdfast.tracing import NO_TRACING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from holdfast.counts import BusCounts
    from holdfast.encryption import KeyProvider
    from holdfast.event import NewEvent, Published
    from holdfast.options import RequireTx
    from holdfast.quotas import Quota
    from holdfast.stores.values import BehindRetention, Declaration
    from holdfast.subscription import Around, SubscribeOptions
    from holdfast.tracing import Tracing

logger = logging.getLogger("holdfast")

H = TypeVar("H", bound=Handler)
T = TypeVar("T")

_NOT_GIVEN: Any = object()


class EventBus(Timing, Bridges):
    """A durable event bus for asyncio programs.

    Making one does no I/O. Publishing needs no more than that; to handle events, enter it (``async with bus``) or
    `run` it as a worker.

    Args:
        dsn: ``postgresql://…``, ``sqlite:///file.db``, ``sqlite://`` (memory). Default: ``HOLDFAST_DSN``, else
            ``sqlite:///holdfast.db``.
        schema: Schema of the tables in PostgreSQL.
        auto_migrate: Make or change the tables at the first use. SQLite always does.
        spool: Takes events while the store is away: a directory, ``"memory"`` (not durable) or ``"off"``. Default:
            a folder of this store under ``$XDG_STATE_HOME/holdfast``; off for a store in memory.
        spool_limit: Bytes that the spool may take.
        lease_ttl: Seconds, 1 to 3,600, after which a silent worker's partitions are taken over.
        poll_interval: Longest pause between two looks at the log, seconds.
        store_timeout: Seconds for which the store may be away before publishing turns to the spool.
        stop_timeout: Seconds that running handlers are given when the worker stops.
        max_payload: Most bytes of a payload as JSON.
        retention: How long settled events are kept at least; None keeps them for ever.
        archive: Folder of what subscriptions archive that lag behind it. Default: ``HOLDFAST_ARCHIVE``, else none.
        archive_dropped: Archive there whatever retention drops, before it does.
        retention_warning: How long before it a subscription that lags is named; a tenth of it.
        require_tx: What publishing without ``tx=`` gets: an error, a warning, or nothing.
        require_tenant: Refuse to publish where neither the call nor the event being handled names a tenant.
        quota: How many events a tenant may publish: a `Quota` for each, or a function that gives a tenant's, or None.
        around: Stands round every handler: takes one, and returns what is called in its place, sync or async as that is.
        transport: A stream or topic over which services share their events: ``nats://h1,h2,h3/shop``, ``kafka://…``.
        service: The name of this database among them; needed with *transport*.
        encryption: Has the master keys under which payloads are encrypted, per tenant and key: `holdfast.encryption`.
            Default: ``HOLDFAST_MASTER_KEYS_FILE``, else none. A store in memory is never encrypted.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    def __init__(
        self, dsn: str | None = None, *, schema: str = "holdfast", auto_migrate: bool | None = None,
        spool: str | Path | None = None, spool_limit: int = 256 * 2**20, lease_ttl: float = 30,
        poll_interval: float = 0.04, store_timeout: float = 2, stop_timeout: float = 25, max_payload: int = 2**20,
        retention: timedelta | None = _NOT_GIVEN, require_tx: RequireTx = "allow", require_tenant: bool = False,
        encryption: KeyProvider | None = None, archive: str | Path | None = None, archive_dropped: bool = False,
        retention_warning: timedelta | None = None, quota: Quota | Callable[[str], Quota | None] | None = None,
        around: Around | None = None, transport: str | None = None, service: str | None = None,
    ) -> None:  # fmt: skip
        given: dict[str, Any] = from_environment()
        chosen = {
            "dsn": dsn, "auto_migrate": auto_migrate, "spool": spool, "encryption": encryption, "archive": archive,
        }  # fmt: skip
        given |= {name: value for name, value in chosen.items() if value is not None}
        if retention is not _NOT_GIVEN:
            given["retention"] = retention
        self._options = BusOptions(
            **given, schema=schema, spool_limit=spool_limit, lease_ttl=lease_ttl, poll_interval=poll_interval,
            store_timeout=store_timeout, stop_timeout=stop_timeout, max_payload=max_payload, require_tx=require_tx,
            require_tenant=require_tenant, retention_warning=retention_warning, quota=quota, around=around,
            archive_dropped=archive_dropped, transport=transport, service=service,
        )  # fmt: skip
        self.tracing: Tracing = NO_TRACING
        """Who follows events through programs; set it before the bus is used."""
        super().__init__()
        self._consumers: dict[str, Consumer] = {}
        self._live: Live | None = None
        self._closed = False
        self._declare_transport()

    @property
    def dsn(self) -> str:
        """The DSN, with its password if it has one: not for logs."""
        return self._options.dsn

    @property
    def schema(self) -> str:
        return self._options.schema

    @property
    def encryption(self) -> KeyProvider | None:
        """Who has the master keys of the payloads; None: they are not encrypted."""
        return self._options.encryption

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """The subscriptions that this program has declared."""
        return tuple(self._consumers.values())

    @property
    def counts(self) -> BusCounts | None:
        """What this process has counted since it first used the bus; None before that, and after `close`. Cheap."""
        return None if self._live is None else self._live.counts

    # Subscribing

    @overload
    def subscribe(self, patterns: Patterns, handler: H, **options: Unpack[SubscribeOptions]) -> H: ...
    @overload
    def subscribe(
        self, patterns: Patterns, handler: None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[H], H]: ...

    def subscribe(
        self, patterns: Patterns, handler: Handler | None = None, *, name: str | None = None,
        ordering: Literal["key", "none"] = "key", partitions: int = 8, concurrency: int | None = None,
        retry: RetryPolicy | None = None, timeout: float = 300, transactional: bool = False, batch: int | None = None,
        start: Any = "now", on_dead: Literal["continue", "hold"] = "continue", replayable: bool = True,
        breaker: int | None = 20, limits: Limit | Sequence[Limit] = (), behind_retention: BehindRetention = "hold",
        unknown: Unknown | None = None,
    ) -> Any:  # fmt: skip
        """
        Declare a durable subscription, as a decorator or with *handler*.

        Args:
            patterns: Event names: exact, ``*`` for one segment, ``**`` at the end for one or more; declared types; or several.
            handler: ``handler(event)`` or ``handler(event, delivery)``; async, or sync (runs in a thread).
            name: Its name for ever; default ``"<module>.<function>"``.
            ordering: ``"key"``: events of one key one after the other, in order; ``"none"``.
            partitions: How many workers can share it, 1 to 1,024; fixed once registered.
            concurrency: Events handled at once in a process; 64, sync handlers 16.
            retry: When failures are repeated.
            timeout: Seconds for one attempt.
            transactional: The handler writes on ``delivery.connection``, which commits with the receipt.
            batch: Call ``handler(list_of_events)`` with up to so many.
            start: For a new subscription: ``"now"``, ``"beginning"``, an aware datetime, or an event's id.
            on_dead: Whether a key goes on behind a dead event, or is held until somebody decides.
            replayable: Whether operators may replay events to it.
            breaker: Different events failing in a row that pause it until a probe succeeds; None: never.
            limits: How many events of each tenant or key run at once, or in a second: a `Limit`, or one of each kind.
            behind_retention: Events it has not handled by then: ``"hold"`` keeps them, ``"archive"``, ``"drop"``.
            unknown: Events that the handler's declared types do not know: ``"hold"`` them, ``"skip"``, ``"dead"``.

        Returns:
            The handler, unchanged.

        Raises:
            InvalidSubscription: An argument breaks a rule.
            DuplicateSubscription: Another handler has the name.
        """
        options = {
            "ordering": ordering, "partitions": partitions, "concurrency": concurrency, "unknown": unknown,
            "retry": retry if retry is not None else RetryPolicy(), "timeout": timeout,
            "transactional": transactional, "batch": batch, "start": start, "on_dead": on_dead,
            "replayable": replayable, "breaker": breaker, "limits": limits, "behind_retention": behind_retention,
        }  # fmt: skip

        check_patterns(patterns)  # at once: as @bus.subscribe without parentheses it gets the handler

        def declare(function: H) -> H:
            self._declare(make_consumer(patterns, function, name=name, around=self._options.around, **options))
            return function

        return declare if handler is None else declare(handler)

    def _declare(self, consumer: Consumer) -> None:
        if consumer.behind_retention == "archive" and self._options.archive is None:
            raise InvalidSubscription(
                "behind_retention", 'is "archive", and this bus has no archive', "give EventBus(archive=) a folder"
            )
        known = self._consumers.get(consumer.name)
        if known is None:
            self._consumers[consumer.name] = consumer
        elif known.handler == consumer.handler:
            require_same_options(known, consumer)
            known.patterns += tuple(one for one in consumer.patterns if one not in known.patterns)
        else:
            raise DuplicateSubscription(consumer.name, describe(known.handler), describe(consumer.handler))
        live = self._live
        if live is not None and live.worker is not None:
            live.loop.call_soon_threadsafe(self._register_soon, live)

    def _register_soon(self, live: Live) -> None:
        task = live.loop.create_task(live.prepare())
        task.add_done_callback(_log_failure)

    # Publishing

    async def publish(
        self, name: str | Any, payload: Any = None, *, tenant_id: str | None = None, key: str | None = None,
        event_id: UUID | str | None = None, headers: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None, deliver_at: datetime | None = None, delay: float | None = None,
        tx: Any = None,
    ) -> Published:  # fmt: skip
        """
        Store an event; it is durable when this returns.

        Args:
            name: Dotted segments of ``[A-Za-z0-9_:/-]``, at most 200 characters; or a value of a type declared as an event.
            payload: What JSON can say; datetime, UUID, Decimal and Enum become strings.
            tenant_id: 1 to 255 characters; default: that of the event being handled, else ``"default"``.
            key: 1 to 255 characters; events of one key are handled in order. None asks for no order.
            event_id: A UUID; the same id and content again is the same event.
            headers: Strings by name.
            occurred_at: Aware datetime; default: the store's clock.
            deliver_at: Aware datetime until which the event waits, stored, apart from the log; or *delay*, in seconds.
            tx: A connection or session of yours: the event commits, or rolls back, with it. False: never join a
                handler's transaction.

        Raises:
            InvalidEvent: Something breaks a rule; nothing was stored.
            IdConflict: The id exists with other content.
            OutcomeUnknown: The store's answer was lost and there is no spool; repeat with the same ``event_id``.
            StoreUnavailable: The store is away, there is no spool, and nothing was stored.
            QuotaExceeded: The tenant has published as much as it may; never raised to a handler.
            SpoolFull, SpoolPending, TransactionError, BusStateError: See `holdfast.errors`.

        Cost: one commit, shared by concurrent calls. With ``tx``, one statement and no commit.
        """
        cause = handled_by(self)
        with self.tracing.publishing(name_of(name), cause) as span:
            event = compose(
                name, payload, tenant_id=tenant_id, key=key, event_id=event_id, headers=headers,
                occurred_at=occurred_at, cause=cause, limit=self._options.max_payload,
                require_tenant=self._options.require_tenant, trace=span.headers, deliver_at=deliver_at, delay=delay,
                now=self._options.now,
            )  # fmt: skip
            span.composed([event])
            (published,) = await self._publish([event], self._transaction(tx, caller=3), atomic=False)
        return published

    async def publish_many(self, items: Iterable[Any], *, tx: Any = None) -> list[Published]:
        """
        Store several events in one transaction, all or none, in this order.

        Args:
            items: Mappings, or objects with attributes: ``name, payload`` and optionally ``tenant_id, key,
                event_id`` (or ``id``)``, headers, occurred_at, deliver_at, delay``; or values of declared types.
            tx: As in `publish`.

        Raises:
            InvalidEvent, IdConflict: With the index of the item; nothing was stored.
            PublishError, StoreError: As `publish`.
        """
        cause, options = handled_by(self), self._options
        with self.tracing.publishing(None, cause) as span:
            events = compose_items(
                items, cause=cause, limit=options.max_payload, require_tenant=options.require_tenant, trace=span.headers,
                now=options.now,
            )  # fmt: skip
            span.composed(events)
            if not events:
                return []
            return await self._publish(events, self._transaction(tx, caller=3), atomic=True)

    def _transaction(self, tx: Any, *, caller: int) -> Any:
        """The caller's transaction, the handler's, or None. *caller*: how many frames up the publishing code is."""
        cause = handled_by(self)
        handlers = None if cause is None else cause.connection
        if tx is False and handlers is not None and self._options.dsn.startswith("sqlite"):
            raise TransactionError(
                "tx=False inside a transactional handler on SQLite would wait for the handler's own lock: "
                "leave tx= out, the event commits with the handler's writes"
            )
        if tx is None:
            tx = handlers
        if tx is not None and tx is not False:
            return tx
        if self._options.require_tx == "strict":
            raise TransactionRequired(
                'this bus was made with require_tx="strict": pass the session or connection of the caller as tx='
            )
        if self._options.require_tx == "warn":
            warnings.warn(
                "publishing without tx=: the event is stored even if your transaction fails", stacklevel=caller
            )
        return None

    async def _publish(self, events: Sequence[NewEvent], tx: Any, *, atomic: bool) -> list[Published]:
        if tx is not None:
            return await self._publish_within(events, tx)
        return await self._at_home(lambda live: store(live, events, atomic=atomic))

    async def _publish_within(self, events: Sequence[NewEvent], tx: Any) -> list[Published]:
        live, first, events = await self._prepare_within(events)
        return published_within(events, await live.store.append_within(tx, events, first=first))

    async def _prepare_within(
        self, events: Sequence[NewEvent]
    ) -> tuple[Live, list[Declaration] | None, Sequence[NewEvent]]:
        # The caller's connection belongs to the caller's loop or thread: only the preparation goes elsewhere.
        return await self._at_home(lambda live: prepare_within(live, events))

    # Working

    async def __aenter__(self) -> Self:
        """Start the worker inside this process; if the store is away, it starts when that is back.

        Raises:
            ConfigurationError: Something is set up wrongly.
        """
        try:
            await (await self.open()).start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> BaseException | None:
        """
        Stop the worker gracefully and close every connection; the bus can be used again.

        Returns:
            The SystemExit or KeyboardInterrupt by which a handler asked the process to end, if one did.
        """
        live, self._live = self._live, None
        return None if live is None or live.loop.is_closed() else await live.stop()

    async def run(self) -> None:
        """
        Work until SIGTERM or SIGINT, then stop gracefully: nothing more is handed out, running handlers get
        ``stop_timeout`` seconds, the rest goes back without an attempt counted. A second signal aborts.

        Raises:
            SystemExit, KeyboardInterrupt: A handler raised it; everything else was finished before.
        """
        await run_buses([self])

    async def drain(self, timeout: float | None = None) -> None:
        """
        Wait until every event stored so far, by whomever, and what these cause, is settled for this bus's
        subscriptions that are not paused. Starts a worker if none runs here.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            DrainTimeout: With the number of unsettled events by subscription.
        """
        check_timeout(timeout)
        await self._at_home(lambda live: live.drain(timeout))

    # Where the bus lives

    async def open(self) -> Live:
        """What the bus has in this loop; made at the first use, and again where the loop before is gone. Internal."""
        live = self._live
        loop = asyncio.get_running_loop()
        if live is not None and live.loop is not loop and not live.loop.is_closed():
            raise BusStateError("this bus works in another event loop: make one bus for each loop")
        if live is None or live.loop is not loop:
            if live is not None:
                abandon(live.store, live.process)
            live = self._live = Live(self._options, self._consumers, self)
        live.require_usable()
        return live

    async def _at_home(self, work: Callable[[Live], Awaitable[T]]) -> T:
        """Do *work* in the loop where the bus lives: this one, or, called from another thread's, that one."""
        live = self._live
        if live is None or not live.loop.is_running():
            return await work(await self.open())
        live.require_usable()  # first: in a forked child the parent's loop seems to run, and is not here
        if live.loop is asyncio.get_running_loop():
            return await work(live)

        async def there() -> T:
            return await work(live)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), live.loop))


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a subscription declared while the bus runs is not registered: %s", error)
