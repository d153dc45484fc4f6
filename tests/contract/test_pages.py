"""A page finds the status of its events by a statement of its own, and must agree with the view that others read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from holdfast.stores.filters import DeadFilter, EventFilter
from holdfast.stores.inspector import make_inspector
from holdfast.stores.values import Advance, Cursor, Receipt, State

if TYPE_CHECKING:
    from tests.contract.harness import Scene

pytestmark = pytest.mark.parametrize("scene", ["file", "memory", "postgres"], indirect=True)


async def every_kind(scene: Scene) -> None:
    """Events of every status: of nobody, handled, parked in each state, read under a lease, and unread."""
    await scene.publish("early", "early")
    lease = await scene.leased("mail")
    await scene.subscribe("billing", partitions=3, start="now")
    await scene.subscribe("orders", patterns=("order.*",), start="now")
    await scene.publish(*"abcdefghij")
    await scene.publish("k", "l", name="other.thing")
    rows, cursor = await scene.read_all(lease.cursor)
    states = [State.DEAD, State.DEAD, State.RETRYING, State.PENDING, State.RUNNING]
    for row, state in zip(rows[2:], states, strict=False):
        await scene.park(lease, [row], state, attempts=1)
    await scene.settle(
        lease,
        advances=[Advance(lease.slice, Cursor(lease.cursor.done, cursor.done, rows[8].position))],
        receipts=[Receipt(lease.slice, row.id, row.day) for row in (*rows[:2], rows[7])],
    )
    for (other,) in [await scene.leases(one) for one in await scene.store.subscriptions() if one.name == "orders"]:
        await scene.handle_all(other)
    await scene.publish("m", "n")


async def test_every_status_is_that_of_the_view(scene: Scene) -> None:
    await every_kind(scene)
    inspector, operator = make_inspector(scene.store)
    try:
        first, *_ = await inspector.dead(DeadFilter(subscription="mail"))
        await operator.discard(DeadFilter(subscription="mail", event_id=first.event_id), actor="me")
        shown = {one.id: one.status for one in (await inspector.events(EventFilter(), limit=100)).events}
        seen = {
            UUID(str(event_id)): status for event_id, status in await scene.sql("select id, status from event_store")
        }
        assert shown == seen
        assert set(seen.values()) == {"dead", "failed", "processing", "pending", "processed"}
        for status in set(seen.values()):
            page = await inspector.events(EventFilter(), status=status, limit=100)
            assert {one.id for one in page.events} == {one for one, its in seen.items() if its == status}
    finally:
        await inspector.close()
