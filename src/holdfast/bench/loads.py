"""What lies in a database before something is measured on it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from holdfast.bench.buses import declared, make_bus
from holdfast.bench.workload import KEYS, NAME, key, name_of, payload
from holdfast.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from holdfast import EventBus

_CHUNK = 10_000
_DAY_MILLIS = 86_400_000


@dataclass(frozen=True, slots=True)
class Load:
    """
    What a database holds.

    Attributes:
        events: Stored, and handled by nobody yet.
        keys: So many different ones among them.
        history: Events that were handled before these came: below every cursor, each with its receipt.
        is_old: The history is of yesterday, in a partition of its own; PostgreSQL only.
        subscriptions: Each wants the events of one name, and the names take turns.
    """

    events: int = 0
    keys: int = KEYS
    history: int = 0
    is_old: bool = False
    subscriptions: int = 1


def item(number: int, load: Load = Load()) -> dict[str, Any]:
    """An event as `publish_many` takes it."""
    return {
        "name": name_of(number, load.subscriptions), "payload": payload(number), "key": key(number, load.keys),
    }  # fmt: skip


def fill(dsn: str, load: Load) -> None:
    """Make the tables and publish what *load* says; the receipts of the history are the place's to write."""
    asyncio.run(_fill(dsn, load))


async def _fill(dsn: str, load: Load) -> None:
    if load.history:
        await _store_history(dsn, load)
    bus = declared(dsn, load.subscriptions)
    if not load.events:
        await _publish_for_nobody(bus)  # it registers the subscriptions
    await _publish(bus, (item(number, load) for number in range(load.events)))
    await bus.close()


async def _store_history(dsn: str, load: Load) -> None:
    bus = make_bus(dsn)  # nobody has subscribed yet: whoever does begins behind all this
    items: Iterable[dict[str, Any]] = map(item, range(load.history))
    if load.is_old:
        await _publish_for_nobody(bus)  # it makes the tables
        _make_yesterday(dsn)
        items = ({**one, "event_id": _yesterdays_id()} for one in items)
    await _publish(bus, items)
    await bus.close()


async def _publish_for_nobody(bus: EventBus) -> None:
    await bus.publish(f"{NAME}.of.nobody", {})


async def _publish(bus: EventBus, items: Iterable[dict[str, Any]]) -> None:
    remaining = iter(items)
    while chunk := list(islice(remaining, _CHUNK)):
        await bus.publish_many(chunk)


def _make_yesterday(dsn: str) -> None:
    """The partition; the day of an event is that of its id, where that is at most a day off the clock."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select holdfast.make_day((clock_timestamp() at time zone 'UTC')::date - 1)")


def _yesterdays_id() -> UUID:
    return uuid7(time.time_ns() // 1_000_000 - _DAY_MILLIS, os.urandom(10))
