"""What the contract's tests share: an open store, short ways to do what the engine does, and a look at its tables."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg

from holdfast.event import NewEvent
from holdfast.ids import new_id
from holdfast.stores import make_store
from holdfast.stores.values import (
    Advance,
    Attempt,
    Cursor,
    Declaration,
    Lease,
    Parked,
    Receipt,
    Settlement,
    Slice,
    State,
    WorkerInfo,
)
from tests.simulation.caller import CallersConnection
from tests.simulation.onlooker import run as run_sql
from tests.simulation.store import SimulatedStore
from tests.simulation.wire import DirectWire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from holdfast.event import Row
    from holdfast.stores.base import Reader, Store
    from holdfast.stores.values import Page, Subscription

TTL = 30.0
LONG_AGO, FAR_AHEAD = "2001-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"  # as both databases read them
EVERYTHING_IS_OLD = -2 * 86_400.0
"""A retention time by which even what is stored now should have gone."""


def event(
    key: str | None = None,
    *,
    name: str = "order.placed",
    payload: bytes = b'{"order_id":1}',
    event_id: UUID | None = None,
    headers: bytes | None = None,
    occurred_at: datetime | None = None,
) -> NewEvent:
    return NewEvent(event_id or new_id(), "acme", name, key, payload, headers, occurred_at)


def keys_of(rows: Sequence[Row]) -> list[str | None]:
    return [row.key for row in rows]


def worker_info(worker: UUID, *subscriptions: int, **fields: Any) -> WorkerInfo:
    facts = {"host": "host", "boot_id": "boot", "pid": 7, "pid_started": "then", "version": "1"} | fields
    return WorkerInfo(id=worker, subscriptions=subscriptions, **facts)


def failed(slice_: Slice, row: Row, attempt: int = 1, **fields: Any) -> Attempt:
    facts = {"outcome": "failed", "error": "ValueError", "message": "no", "traceback": None, "seconds": 0.5} | fields
    return Attempt(slice_, row.id, row.day, attempt, **facts)


def receipt(lease: Lease, row: Row, **fields: Any) -> Receipt:
    return Receipt(lease.slice, row.id, row.day, **fields)


def settlement_of(
    epochs: dict[Slice, int] | None = None, *, receipts: Iterable[Receipt] = (), **outcomes: Any
) -> Settlement:
    found = Settlement(epochs or {}, **outcomes)
    for one in receipts:
        found.add(one)
    return found


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 10) -> Any:
    """Wait until *condition* gives something true; returns it."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110 - the database has no event to wait for
            await asyncio.sleep(0.002)
    return found


@dataclass
class Scene:
    """An open store of one kind."""

    kind: str
    dsn: str
    store: Store
    worker: UUID = field(default_factory=uuid4)
    others: list[Store] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    onlooker: psycopg.AsyncConnection | None = None

    # What the engine does

    async def publish(self, *keys: str | None, **fields: Any) -> list[NewEvent]:
        """Store one event for each key."""
        events = [event(key, **fields) for key in keys]
        await self.store.append(events, atomic=True)
        return events

    async def subscribe(self, name: str = "billing", **declared: Any) -> Subscription:
        values = {"patterns": ("**",), "partitions": 1, "start": "beginning"} | declared
        (subscription,) = await self.store.register([Declaration(name, **values)])
        return subscription

    async def leases(self, subscription: Subscription, worker: UUID | None = None, **options: Any) -> list[Lease]:
        """All partitions of the subscription that can be had."""
        wanted = {subscription.id: options.pop("count", subscription.partitions)}
        return await self.store.acquire(worker or self.worker, wanted, **{"ttl": TTL} | options)

    async def leased(self, name: str = "billing", **declared: Any) -> Lease:
        """The only partition of a new subscription of everything."""
        (lease,) = await self.leases(await self.subscribe(name, **declared))
        return lease

    async def usurp(self, lease: Lease) -> Lease:
        """Another worker takes the lease over, because it has lapsed."""
        await self.lapse(lease)
        (taken,) = await self.store.acquire(uuid4(), {lease.slice.subscription: 1}, ttl=TTL)
        return taken

    async def lapse(self, lease: Lease, lease_until: str = LONG_AGO) -> None:
        subscription, partition = lease.slice
        await self.sql(
            f"update leases set lease_until = '{lease_until}' "
            f"where subscription = {subscription} and partition = {partition}"
        )

    async def reader(self) -> Reader:
        reader = await self.store.reader()
        self.readers.append(reader)
        return reader

    async def read(self, cursor: Cursor, reader: Reader | None = None, **bounds: Any) -> Page:
        """One page, by a reader of its own unless one is given."""
        reader = reader or await self.reader()
        return await reader.read(cursor, **{"limit": 1000, "max_bytes": 2**24} | bounds)

    async def read_all(self, cursor: Cursor, reader: Reader | None = None, **bounds: Any) -> tuple[list[Row], Cursor]:
        """Page by page, window by window, until there is nothing more."""
        reader = reader or await self.reader()
        rows: list[Row] = []
        while True:
            page = await self.read(cursor, reader, **bounds)
            rows += page.rows
            # In a window between two stored snapshots nothing may have come, and more behind it.
            if not page.rows and page.cursor.open is None and page.cursor == cursor:
                return rows, page.cursor
            cursor = page.cursor

    async def rows(self, lease: Lease) -> list[Row]:
        return (await self.read_all(lease.cursor))[0]

    async def settle(self, lease: Lease, **outcomes: list[Any]) -> set[Slice]:
        return await self.store.settle(settlement_of({lease.slice: lease.epoch}, **outcomes))

    async def park(self, lease: Lease, rows: Sequence[Row], state: State = State.PENDING, **fields: Any) -> None:
        await self.settle(lease, parked=[Parked(lease.slice, row, state, **fields) for row in rows])

    async def handle_all(self, lease: Lease) -> list[Row]:
        """Handle what there is and advance the cursor over it."""
        rows, cursor = await self.read_all(lease.cursor)
        receipts = [receipt(lease, row) for row in rows]
        assert await self.settle(lease, receipts=receipts, advances=[Advance(lease.slice, cursor)]) == set()
        return rows

    async def claim(self, lease: Lease, limit: int = 100) -> list[str | None]:
        """Keys of the deliveries taken."""
        claimed = await self.store.claim({lease.slice: lease.epoch}, limit=limit)
        return [due.row.key for due in claimed.due]

    # A look at the tables

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL that both databases understand, past the store."""
        if self.kind == "postgres":
            if self.onlooker is None or self.onlooker.closed:
                self.onlooker = await psycopg.AsyncConnection.connect(
                    self.dsn, autocommit=True, prepare_threshold=None, options="-c search_path=holdfast,public"
                )
            cursor = await self.onlooker.execute(statement)
            return await cursor.fetchall() if cursor.description else []
        if self.kind == "memory":
            return await self.store._writer.run(lambda session: session.connection.execute(statement).fetchall())
        with closing(self.connect()) as connection, connection:
            return connection.execute(statement).fetchall()

    def connect(self) -> Any:
        """A connection of the caller's own, as a program would open it. Not to memory."""
        if self.kind == "postgres":
            return psycopg.connect(self.dsn)
        return sqlite3.connect(self.dsn.removeprefix("sqlite:///"), timeout=10)

    async def deliveries(self) -> dict[str, str]:
        """State of each delivery row by the key of its event."""
        return dict(await self.sql("select event_key, state from deliveries order by id"))

    async def consumed(self) -> list[tuple[str, str, int]]:
        """(event id, subscription, attempts) of each receipt."""
        return await self.sql(
            "select cast(event_id as text), consumer_name, attempts from event_consumers order by 1, 2"
        )

    async def stored(self) -> list[str | None]:
        """Keys of the events stored, in their order."""
        return [key for (key,) in await self.sql("select event_key from event_log order by position")]

    async def status(self) -> dict[str | None, str]:
        """Status of each event by its key, as plain SQL sees it."""
        return dict(await self.sql("select event_key, status from event_store"))

    # Rivals

    async def rival(self) -> Store:
        """The same store as another process sees it. Not for memory."""
        other = make_store(self.dsn, timeout=10)
        self.others.append(other)
        await other.open()
        return other

    async def close(self) -> None:
        if self.onlooker is not None:
            await self.onlooker.close()
        for reader in self.readers:
            await reader.close()
        for store in (*self.others, self.store):
            await store.close()


@dataclass
class SimulatedScene(Scene):
    """An open simulated store: its server is shared by all stores of the scene."""

    server: Any = None

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return run_sql(self.server, statement)

    def connect(self) -> Any:
        return CallersConnection(self.server)

    async def rival(self) -> Store:
        return SimulatedStore(self.server, DirectWire())
