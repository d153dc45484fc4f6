"""Operations that store events and keep subscriptions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from holdfast.errors import TransactionError
from holdfast.stores.values import Declaration
from tests.contract.harness import event
from tests.statements.operation import Operation

if TYPE_CHECKING:
    from holdfast.event import NewEvent
    from holdfast.stores.values import Appended, Subscription
    from tests.contract.harness import Scene
    from tests.statements.ground import Ground

LATER = datetime(2999, 1, 1, tzinfo=UTC)
BILLING = Declaration("billing", ("**",), partitions=2, start="beginning")


async def one(scene: Scene) -> list[NewEvent]:
    return [event("a")]


async def three(scene: Scene) -> list[NewEvent]:
    return [event("a"), event("b"), event(None, name="order.paid")]


async def three_with_old_ids(scene: Scene) -> list[NewEvent]:
    return [event("a", event_id=uuid4()), event("b"), event("c", event_id=uuid4())]


async def three_and_a_repeat(scene: Scene) -> list[NewEvent]:
    return [*await scene.publish("z"), *await three(scene)]


async def three_and_a_contradiction(scene: Scene) -> list[NewEvent]:
    (stored,) = await scene.publish("z")
    return [*await three(scene), stored._replace(name="another.name")]


async def some_for_later(scene: Scene) -> list[NewEvent]:
    return [event("a")._replace(due_at=LATER), event("b"), event(None)._replace(due_at=LATER)]


async def append(ground: Ground, events: list[NewEvent]) -> list[Appended]:
    return await ground.store.append(events, atomic=False)


async def append_atomically(ground: Ground, events: list[NewEvent]) -> list[Appended]:
    return await ground.store.append(events, atomic=True)


async def append_within(ground: Ground, events: list[NewEvent]) -> list[Appended]:
    """The caller writes, publishes and commits."""
    if ground.kind == "file":
        return append_through(ground, events, sqlite3.connect(ground.path, timeout=0.05))
    connection = await psycopg.AsyncConnection.connect(ground.dsn, **_AS_CALLER)
    try:
        async with connection.transaction():
            await connection.execute("insert into effects values (1)")
            return await ground.store.append_within(connection, events)
    finally:
        await connection.close()


async def append_within_sync(ground: Ground, events: list[NewEvent]) -> list[Appended]:
    if ground.kind == "file":
        return append_through(ground, events, sqlite3.connect(ground.path, timeout=0.05))
    return append_through(ground, events, psycopg.connect(ground.dsn, **_AS_CALLER))


def append_through(ground: Ground, events: list[NewEvent], connection: Any) -> list[Appended]:
    with closing(connection), connection:
        connection.execute("insert into effects values (1)")
        return ground.store.append_within_sync(connection, events)


_AS_CALLER: dict[str, Any] = {
    "application_name": "holdfast caller",
    "options": "-c search_path=holdfast,public",
}


async def open_store(ground: Ground, _: None) -> str:
    await ground.store.open()
    return ground.store.identity


async def register(ground: Ground, declarations: list[Declaration]) -> list[Any]:
    return without_ids(await ground.store.register(declarations))


async def a_new_subscription(scene: Scene) -> list[Declaration]:
    await scene.publish("a", "b")
    return [BILLING]


async def two_new_subscriptions(scene: Scene) -> list[Declaration]:
    await scene.publish("a", "b")
    return [BILLING, BILLING._replace(name="mailing", partitions=1)]


async def a_changed_subscription(scene: Scene) -> list[Declaration]:
    await scene.store.register([BILLING])
    return [BILLING._replace(patterns=("order.*",), on_dead="hold")]


async def a_subscription(scene: Scene) -> list[Declaration]:
    await scene.store.register([BILLING])
    return [BILLING]


def without_ids(subscriptions: list[Subscription]) -> list[Any]:
    return sorted(found[1:] for found in subscriptions)


async def list_subscriptions(ground: Ground, _: Any) -> list[Any]:
    return without_ids(await ground.store.subscriptions())


async def stands(ground: Ground, declarations: list[Declaration]) -> bool:
    return await ground.store.stands(declarations)


async def notify(ground: Ground, _: None) -> None:
    await ground.store.notify()


# What a caller's own driver says on his own connection is his to judge; so is a commit that failed.
_CALLERS = {"raises": (psycopg.Error, sqlite3.Error, TransactionError), "cancels": False}

PUBLISHING = [
    Operation("append one event", append, one, tells=True),
    Operation("append several events", append, three, tells=True),
    Operation("append several events at once or not at all", append_atomically, three, tells=True),
    Operation("append events with old ids", append, three_with_old_ids, tells=True),
    Operation("append events of which one is stored", append, three_and_a_repeat, tells=True),
    Operation("append events of which one contradicts", append, three_and_a_contradiction, tells=True),
    Operation("append at once or not at all, and one contradicts", append_atomically, three_and_a_contradiction, stages=1),
    Operation("append some for later", append, some_for_later, tells=True),
    Operation("append some for later within the caller's transaction", append_within, some_for_later, **_CALLERS),
    Operation("append within the caller's transaction", append_within, three, **_CALLERS),
    Operation("append old ids within the caller's transaction", append_within, three_with_old_ids, **_CALLERS),
    Operation("append within a synchronous transaction", append_within_sync, three_and_a_repeat, **_CALLERS),
    Operation("open the store", open_store, stages=1),
    Operation("ask whether the store stands", stands, a_subscription, stages=1, forgives=True),
    Operation("notify", notify, stages=1, forgives=True),
    Operation("register a subscription", register, a_new_subscription),
    Operation("register two subscriptions", register, two_new_subscriptions, stages=None),
    Operation("register a changed subscription", register, a_changed_subscription),
    Operation("list subscriptions", list_subscriptions, a_subscription, stages=1),
]  # fmt: skip
