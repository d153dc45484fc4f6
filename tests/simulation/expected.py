"""What a run still owes, by the server's own tables: every committed event of every subscription that wants it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from holdfast.stores.values import State
from tests.simulation.server import UNSETTLED
from tests.simulation.store_subscriptions import is_wanted
from tests.simulation.subscriptions import FAILS_EACH_PROBE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.subscriptions import Declared
    from tests.simulation.tables import DeliveryRow, KnownSubscription, LoggedEvent
    from tests.simulation.world import World


def subscriptions(world: World) -> Iterator[tuple[Declared, KnownSubscription]]:
    """Those that were registered."""
    by_name = {known.record.name: known for known in world.server.tables.subscriptions.values()}
    for declared in world.declared:
        if (known := by_name.get(declared.name)) is not None:
            yield declared, known


def wanted(world: World, declared: Declared, known: KnownSubscription) -> Iterator[LoggedEvent]:
    """The events that a subscription has to settle."""
    for entry in world.server.committed():
        if declared.matches(entry.row.name) and is_wanted(known, entry.txid, entry.row.position):
            yield entry


def unfinished(world: World) -> Iterator[str]:
    """What keeps the run from being over."""
    for one in world.lives.values():
        if not one.is_idle:
            yield f"{one.process.name} has {one.publisher.spool_depth} events in its spool, or declares something"
        if one.worker is None:
            yield f"{one.process.name} has not started"
    if len(world.lives) < world.lineages:
        yield "a process is not back yet"
    if any(publish.is_under_way for publish in world.history.publishes.values()):
        yield "a publish is under way"
    if any(request.is_given_up() for request in world.network.under_way):
        yield "a request that its client has given up may still arrive"
    if world.server.open:
        yield f"{len(world.server.open)} transactions are open"
    for row in world.server.tables.deliveries.values():
        if row.state in UNSETTLED and not is_held(world, row) and not waits_for_the_breaker(world, row):
            yield f"delivery of {row.row.id.hex()[-6:]} in {tuple(row.slice)} is {row.state}"
    yield from unhandled(world)


def unhandled(world: World) -> Iterator[str]:
    """Wanted events that have neither receipt nor delivery row; not those that a probe caused as all was ending."""
    tables = world.server.tables
    for declared, known in subscriptions(world):
        for entry in wanted(world, declared, known):
            key = known.record.id, entry.row.id
            if entry.drawn > world.settled:
                continue
            if key not in tables.receipts and key not in tables.delivery_of:
                yield f"{declared.name} has not handled {entry.row.id.hex()[-6:]} (position {entry.row.position})"


def behind_breakers(world: World) -> int:
    """How many deliveries are unsettled whose subscription's breaker is open in some process."""
    rows = world.server.tables.deliveries.values()
    return sum(row.state in UNSETTLED and is_tripped(world, row.slice.subscription) for row in rows)


def longest_queue(world: World) -> int:
    """How many deliveries stand behind one key, at most: they run one after the other."""
    rows = world.server.tables.deliveries.values()
    queues = Counter(
        (row.slice.subscription, row.key) for row in rows if row.key is not None and row.state in UNSETTLED
    )
    return max(queues.values(), default=1)


def is_tripped(world: World, subscription: int) -> bool:
    return any(one.is_tripped(subscription) for one in world.lives.values())


def waits_for_the_breaker(world: World, row: DeliveryRow) -> bool:
    """Whether an open breaker never lets it end: no probe counts an attempt, and it, or one before it, fails each."""
    tables = world.server.tables
    record = tables.subscriptions[row.slice.subscription].record
    if not is_tripped(world, record.id):
        return False
    declared = next(one for one in world.declared if one.name == record.name)
    before = [row]
    if record.ordering == "key" and row.key is not None:
        before += [one for one in tables.deliveries.values() if one.key == row.key and one.id < row.id]
    return any(one.state in UNSETTLED and declared.act_on(one.row.id) in FAILS_EACH_PROBE for one in before)


def is_held(world: World, row: DeliveryRow) -> bool:
    """Whether it waits behind a dead one of its key, as its subscription wants it."""
    tables = world.server.tables
    record = tables.subscriptions[row.slice.subscription].record
    if record.on_dead != "hold" or record.ordering != "key" or row.key is None:
        return False
    return any(
        before.id < row.id and before.key == row.key and before.state is State.DEAD
        for before in tables.deliveries.values()
    )
