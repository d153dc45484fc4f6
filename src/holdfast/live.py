"""What a bus has while one event loop runs: the opened store, the publisher, the worker."""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.context import handled_by
from holdfast.counts import BusCounts
from holdfast.errors import (
    BusStateError,
    ConfigurationError,
    HoldfastError,
    QuotaExceeded,
    SpoolError,
    StoreUnavailable,
)
from holdfast.ports import DaemonThreads, elapsed, process_number
from holdfast.publisher import Publisher
from holdfast.quotas import Quotas
from holdfast.schedule import first_after
from holdfast.spool import MemorySpool, Spool, default_directory, directory_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from holdfast.encryption.store import EncryptedStore
    from holdfast.event import NewEvent
    from holdfast.options import BusOptions
    from holdfast.spool import AnySpool
    from holdfast.stores.base import Store
    from holdfast.stores.values import Appended, Declaration, Subscription
    from holdfast.subscription import Consumer
    from holdfast.worker import Worker

logger = logging.getLogger("holdfast")

_CANCEL_SECONDS = 1.0
_NO_SPOOL = "there is no spool, so publishing will fail while the store is away (HOLDFAST_SPOOL names a place): %s"


class Live:
    """The connections and tasks of one bus in one loop.

    Args:
        options: The bus's settings.
        consumers: The bus's declared subscriptions by name; the bus's own mapping, which grows.
        bus: The bus, which handlers' publishes are recognised by.
    """

    def __init__(self, options: BusOptions, consumers: Mapping[str, Consumer], bus: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.process = process_number()
        self._options, self._consumers, self._bus = options, consumers, bus
        self.store: Store = options.new_store(
            options.dsn, schema=options.schema, timeout=options.store_timeout, lease_ttl=options.lease_ttl,
            handler_connections=max(4, sum(c.concurrency for c in consumers.values() if c.transactional)),
        )  # fmt: skip
        self._encrypted: EncryptedStore | None = None
        if options.encryption is not None and self.store.is_durable:  # what is in memory only is read by nobody else
            from holdfast.encryption.store import encrypted_store  # who does not encrypt is spared the import

            self._encrypted = encrypted_store(self.store, options.encryption)
            self.store = self._encrypted.face
        self._opening = asyncio.Lock()
        self._opened = False
        self.registered: dict[str, tuple[tuple[str, ...], Subscription]] = {}
        self._spool_thread = DaemonThreads("holdfast-spool", 1)
        self.publisher = Publisher(
            self.store, self.prepare, self._spool(), in_thread=self._in_spool_thread,
            timeout=options.store_timeout, stored=self._stored, now=lambda: datetime.now(UTC),
        )  # fmt: skip
        self._publisher_open = False
        self.quotas = None if options.quota is None else Quotas(options.quota, self._count_recent, elapsed)
        self.worker: Worker | None = None
        self.worker_ending: Worker | None = None
        self._ingesting: dict[str, asyncio.Task[None]] = {}
        self._starting: asyncio.Task[None] | None = None
        self._minder: asyncio.Task[None] | None = None
        self._stopping = False
        # A bus that is dropped, or a program that ends, must not leave open connections to complain about.
        self._finalizer = weakref.finalize(self, abandon, self.store, self.process)

    def _spool(self) -> AnySpool | None:
        spool = self._make_spool()
        if spool is None or self._encrypted is None:
            return spool
        from holdfast.encryption.spool import encrypted_spool

        return encrypted_spool(spool, self._encrypted.codec)

    def _make_spool(self) -> AnySpool | None:
        options = self._options
        if options.spool == "off" or (options.spool is None and not self.store.is_durable):
            return None
        if options.spool == "memory":
            return MemorySpool(limit=options.spool_limit)
        if options.spool is not None:  # two stores must not share one spool
            return Spool(Path(options.spool) / directory_name(self.store.address), limit=options.spool_limit)
        try:
            return Spool(default_directory(self.store.address), limit=options.spool_limit)
        except ConfigurationError as error:
            logger.warning(_NO_SPOOL, error)
            return None

    async def _in_spool_thread(self, function: Any, *arguments: Any) -> Any:
        return (await self._spool_thread.run(lambda: function(*arguments)).answer).unwrap()

    def _stored(self) -> None:
        if self.worker is not None:
            self.worker.wake()

    @property
    def counts(self) -> BusCounts:
        worker = self.worker
        return BusCounts(
            self.store.address, self.publisher.counts, self.publisher.spool_depth,
            None if worker is None else worker.counts, {} if worker is None else worker.work,
            {name: relay.counts for name, relay in self._bus.relays.items()},
            {name: ingest.counts for name, ingest in self._bus.ingests.items()},
            self._bus.inbox_counts, self._bus.feed_counts,
        )  # fmt: skip

    async def sealed_within(self, events: Sequence[NewEvent], *, stands: bool) -> Sequence[NewEvent]:
        """What `Store.append_within` is given: *events*, encrypted if they are to be. *stands*: as `Store.stands` said."""
        return events if self._encrypted is None else await self._encrypted.sealed_within(events, stands=stands)

    # Opening

    async def prepare(self) -> None:
        """Open the store and register what is declared; cheap once that is done."""
        if self._is_prepared():
            return
        async with self._opening:
            if not self._opened:
                await self._open_store()
            await self._register()

    async def prepare_beside_a_transaction(self) -> list[Declaration] | None:
        """
        Prepare, while a transaction of the caller's may keep us from writing.

        Returns:
            What the caller's transaction has to set up by itself, because we cannot; None, as a rule: nothing.
        """
        if self._is_prepared():
            return None
        declarations = [consumer.declaration for consumer in self._consumers.values()]
        if not await self.store.stands(declarations):
            return declarations
        await self.prepare()
        return None

    def _is_prepared(self) -> bool:
        return self._opened and len(self.registered) == len(self._consumers) and not self._undeclared()

    async def _open_store(self) -> None:
        if self._options.auto_migrate:
            await self.store.migrate()
        await self.store.open()
        self._opened = True

    def _undeclared(self) -> list[Consumer]:
        return [
            consumer
            for consumer in self._consumers.values()
            if (known := self.registered.get(consumer.name)) is None or known[0] != consumer.patterns
        ]

    async def _register(self) -> None:
        if not (missing := self._undeclared()):
            return
        records = await self.store.register([consumer.declaration for consumer in missing])
        await self._add_schedules([consumer.name for consumer in missing])
        by_name = {record.name: record for record in records}
        for consumer in missing:
            self.registered[consumer.name] = (consumer.patterns, by_name[consumer.name])
            if self.worker is not None:
                self.worker.add(consumer, by_name[consumer.name])

    async def _add_schedules(self, names: Iterable[str]) -> None:
        now, schedules = self._options.now(), self._bus.schedules
        declared = [schedules[name] for name in names if name in schedules]
        if declared:
            await self.store.add_schedules([(one, first_after(one.rule, one.zone, now)) for one in declared])

    async def open_publisher(self) -> Publisher:
        """The publisher, with what an earlier process left in the spool taken over."""
        if not self._publisher_open:
            async with self._opening:
                if not self._publisher_open:
                    if self._encrypted is not None:
                        await self._encrypted.codec.open_spool()
                    await self._open_spool()
                    self._publisher_open = True
        return self.publisher

    async def _open_spool(self) -> None:
        try:
            await self.publisher.open()
        except SpoolError as error:
            if self._options.spool is not None:
                raise
            # Nobody has asked for a spool in that place: a home that cannot be written must not keep events out.
            logger.warning(_NO_SPOOL, error)
            self.publisher.go_without_spool()

    @asynccontextmanager
    async def admitted(self, events: Sequence[NewEvent], quotas: Quotas) -> AsyncIterator[None]:
        """
        Let *events* in, to be published within, unless a tenant's quota is used up.

        What a handler publishes is let in: it belongs to an event that was. So is everything while the store is away.

        Raises:
            QuotaExceeded: Nothing is to be published.
        """
        async with AsyncExitStack() as stack:
            if handled_by(self._bus) is not None or self.publisher.is_spooling:
                quotas.count(events)
            else:
                try:
                    await stack.enter_async_context(quotas.admitted(events))
                except QuotaExceeded:
                    self.publisher.counts.over_quota += len(events)
                    raise
                except StoreUnavailable as error:
                    logger.info("quotas wait for the store: %s", error)
            yield

    async def _count_recent(self, tenant_id: str, seconds: float, limit: int) -> int:
        if not self._opened:
            await self.prepare()
        return await self.store.count_recent(tenant_id, seconds, limit)

    # Working

    @property
    def is_started(self) -> bool:
        """Whether a worker runs here, or will as soon as the store is back."""
        return self.worker is not None or self._starting is not None

    async def start(self) -> None:
        """Start the worker; if the store is away, go on trying in the background.

        Raises:
            HoldfastError: Something is set up wrongly.
        """
        if self.is_started:
            return
        await self.open_publisher()
        try:
            await self._start_worker()
        except StoreUnavailable as error:
            logger.warning("the store is away, the worker starts when it is back: %s", error)
            self._starting = self.loop.create_task(self._start_later())

    async def _start_later(self) -> None:
        """Whatever keeps it from starting may be put right while it waits: tables that are missing, a right."""
        from holdfast.worker.outage import Outage

        pause, outage = 0.2, Outage("the worker cannot start", "the worker starts")
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
            try:
                await self._start_worker()
            except HoldfastError as error:
                outage.met(error)
            else:
                outage.over()
                self._starting = None
                return

    async def _start_worker(self) -> None:
        await self.prepare()
        if self.worker is not None:
            return
        from holdfast.archive import Archive
        from holdfast.worker import Worker, WorkerOptions  # who only publishes is spared the imports

        options = self._options
        archive = (
            None if options.archive is None else Archive(Path(options.archive), takes_dropped=options.archive_dropped)
        )
        settings = WorkerOptions(
            options.lease_ttl, options.poll_interval, options.retention_seconds,
            retention_warning=options.warning_seconds, archive=archive, schedules=self._bus.schedules,
        )  # fmt: skip
        new_worker = options.new_worker or Worker
        worker = new_worker(self.store, settings, bus=self._bus, tracing=self._bus.tracing)
        for name, (_, record) in self.registered.items():
            worker.add(self._consumers[name], record)
        worker.start()
        self.worker = worker
        self._minder = self.loop.create_task(self._mind(worker))
        self.start_ingests()

    def start_ingests(self) -> None:
        """Begin to take in what the bus's ingests bring, those that have begun already excepted."""
        for name, ingest in self._bus.ingests.items():
            if name not in self._ingesting and not self._stopping:
                self._ingesting[name] = self.loop.create_task(ingest.run(self._take_in))

    async def _take_in(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Store what an ingest brings: never in the spool, as the broker keeps what the store does not take."""
        await self.prepare()
        results = await self.store.append(events, atomic=False)
        self._stored()
        with suppress(HoldfastError):  # a hint: workers poll as well
            await self.store.notify()
        return results

    async def _mind(self, worker: Worker) -> None:
        """Stop the worker when a handler ends it, or when the loop ends and nobody has said goodbye."""
        try:
            await worker.stop_requested.wait()
        except asyncio.CancelledError:
            if not self._stopping:
                await self.stop()
            raise
        logger.error("the worker stops: %r", worker.cause)
        await worker.stop(self._options.stop_timeout)

    async def stop(self) -> BaseException | None:
        """End worker and publisher gracefully and close the store; returns what a handler ended the process with."""
        self._stopping = True
        worker = self.worker_ending = self.worker
        self.worker = None
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            self._starting = None
        await self._end_ingests()
        if worker is not None and self._minder is not None:
            await self._stop_worker(worker, self._minder)
        for relay in self._bus.relays.values():
            await relay.close()
        if self._publisher_open:
            await self.publisher.close()
        self._spool_thread.close()
        await self.store.close()
        self._finalizer.detach()
        return None if worker is None else worker.cause

    async def _end_ingests(self) -> None:
        while left := [task for task in self._ingesting.values() if not task.done()]:
            for task in left:
                task.cancel()  # again: a wait in a broker's client swallows one that comes with its answer
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)

    async def _stop_worker(self, worker: Worker, minder: asyncio.Task[None]) -> None:
        if worker.stop_requested.is_set():
            await asyncio.gather(minder, return_exceptions=True)  # it is stopping the worker already
            return
        worker.halt()
        if minder is not asyncio.current_task():
            minder.cancel()
            await asyncio.gather(minder, return_exceptions=True)
        await worker.stop(self._options.stop_timeout)

    async def drain(self, timeout: float | None) -> None:
        """Wait until everything stored so far, and what it causes, is settled; see `EventBus.drain`."""
        from holdfast.draining import drain  # who only publishes is spared the import

        await drain(self, timeout)

    def hurry(self) -> None:
        """An event was scheduled by this process."""
        if self.worker is not None:
            self.worker.timekeeper.hurry()

    def require_usable(self) -> None:
        """Raise where this process is a fork of the one that opened the connections."""
        if self.process != process_number():
            raise BusStateError(
                "this bus was used before the process forked: its connections belong to the parent; "
                "make the bus in the child, or use it first there"
            )


def abandon(store: Store, process: int) -> None:
    """Let go of the store's connections, in the process that opened them: a fork's end must not end its parent's."""
    if process == process_number():
        store.abandon()
