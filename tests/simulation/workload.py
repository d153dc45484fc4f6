"""Who publishes in a run: the processes themselves, and programs that know only SQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, SpoolPending
from tests.simulation.caller import CallersConnection
from tests.simulation.store_log import new_row

if TYPE_CHECKING:
    from holdfast.event import NewEvent
    from tests.simulation.processes import SimulatedProcess
    from tests.simulation.world import World

KEYS = ("a", "b", "c", None)


async def publish_in_turns(world: World, lineage: str, count: int) -> None:
    """Publish from whatever process of the lineage lives."""
    draw = world.random
    for _ in range(count):
        await asyncio.sleep(draw.expovariate(4.0 * world.size.pace))
        if (one := world.lives.get(lineage)) is None:
            continue
        work = (
            publish_within(world, one) if draw.random() < 0.2 and world.lends_transactions else publish_some(world, one)
        )
        task = one.spawn(work)
        if draw.random() < 0.5:
            await asyncio.wait([task], timeout=1.0)
        elif draw.random() < 0.1:
            world.loop.call_later(0.01 * draw.random(), task.cancel)


def _some(world: World, most: int = 3) -> list[NewEvent]:
    draw = world.random
    return [world.new_event(draw.choice(KEYS), draw.choice(("order.placed", "order.paid", "other"))) for _ in
            range(draw.randint(1, most))]  # fmt: skip


async def publish_some(world: World, one: SimulatedProcess) -> None:
    """Publish; now and then once more as soon as that has been answered."""
    for _ in range(world.random.choice((1, 1, 1, 2))):
        events = _some(world)
        await one.publish(*events, atomic=len(events) > 1)


async def publish_within(world: World, one: SimulatedProcess) -> None:
    """``publish(tx=...)``: through a connection of the program's own, behind what the spool holds of the key."""
    (event,) = _some(world, 1)
    note = world.history.invoke(event, one.lineage, "tx")
    connection = CallersConnection(world.server)
    try:
        await one.publisher.settle_spool([(event.tenant_id, event.key)])
        connection.transaction.client = one.process
        await one.store.append_within(connection, [event])
        await asyncio.sleep(0.3 * world.random.random())
    except (SpoolPending, HoldfastError):
        connection.rollback()
        world.history.ended(note, "rolled back")
        return
    except asyncio.CancelledError:
        connection.rollback()
        world.history.ended(note, "rolled back")
        raise
    _end(world, connection, [event], commits=world.random.random() < 0.8)


async def publish_with_sql(world: World, count: int) -> None:
    """Programs without Holdfast: early ids, early positions, long transactions, rollbacks."""
    for _ in range(count):
        await asyncio.sleep(world.random.expovariate(2.0 * world.size.pace))
        world.loop.create_task(_one_transaction(world))


async def _one_transaction(world: World) -> None:
    draw, server = world.random, world.server
    connection, events = CallersConnection(server), _some(world)
    if not server.up:
        return
    if draw.random() < 0.3:
        connection.execute("select pg_current_xact_id()")
        await _think(world)
    for event in events:
        if not (server.up and connection.transaction.is_open):
            break
        world.history.invoke(event, "sql", "sql")
        row = new_row(server, event)  # the sequence is asked first: another may get its id and commit meanwhile
        if draw.random() < 0.3:
            await _think(world)
        if not connection.transaction.is_open:
            break
        connection.transaction.insert(row)
        await _think(world)
    _end(world, connection, events, commits=draw.random() < 0.75)


async def _think(world: World) -> None:
    await asyncio.sleep(world.random.choice((0.0, 0.01, 0.3, 2.0)) * world.random.random())


def _end(world: World, connection: CallersConnection, events: list[NewEvent], *, commits: bool) -> None:
    if commits and connection.transaction.is_open:
        connection.commit()
        outcome = "ok"
    else:
        connection.rollback()
        outcome = "rolled back"
    for event in events:
        if (note := world.history.publishes.get(event.id.bytes)) is not None:
            world.history.ended(note, outcome)
