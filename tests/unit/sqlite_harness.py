"""What the tests of the SQLite store share: a clock that tests set, events, and short ways through the protocol."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from holdfast.event import NewEvent
from holdfast.stores.values import Cursor, Declaration, Lease, Slice
from tests.contract.harness import settlement_of

if TYPE_CHECKING:
    from holdfast.event import Row
    from holdfast.stores.sqlite import SQLiteStore

TTL = 30.0


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def event(
    name: str = "order.placed",
    payload: bytes = b'{"order_id":1}',
    *,
    key: str | None = None,
    event_id: UUID | None = None,
    headers: bytes | None = None,
    occurred_at: datetime | None = None,
) -> NewEvent:
    return NewEvent(event_id or uuid4(), "acme", name, key, payload, headers, occurred_at)


async def leased(
    store: SQLiteStore, *, worker: UUID | None = None, name: str = "billing", **declaration: object
) -> Lease:
    """The only partition of a new subscription of everything, leased."""
    values: dict[str, object] = {"patterns": ("**",), "partitions": 1, "start": "beginning"} | declaration
    (subscription,) = await store.register([Declaration(name, **values)])  # type: ignore[arg-type]
    (lease,) = await store.acquire(worker or uuid4(), {subscription.id: 1}, ttl=TTL)
    return lease


async def rows_of(store: SQLiteStore) -> list[Row]:
    reader = await store.reader()
    try:
        page = await reader.read(Cursor("0"), limit=10_000, max_bytes=2**30)
        return list(page.rows)
    finally:
        await reader.close()


async def settle(store: SQLiteStore, lease: Lease, **outcomes: list[object]) -> set[Slice]:
    return await store.settle(settlement_of({lease.slice: lease.epoch}, **outcomes))  # type: ignore[arg-type]
