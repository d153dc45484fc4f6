"""A bus whose store breaks at statement 1, 2, 3 ...: what `publish` says is true, and what was published is handled.

All statements count, from the opening of the store on. Publishing meets a fault at each of them until a run meets
none; a worker at some of them (at each with ``HOLDFAST_LONG=1``). The kinds of fault take turns. About fifteen seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import EventBus
from holdfast.errors import DrainTimeout, OutcomeUnknown, StoreUnavailable
from holdfast.ids import new_id
from tests.statements import hooks, wire
from tests.statements.operation import AT_ONCE, Fault
from tests.statements.state import contradictions

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from holdfast import Delivery, Event
    from tests.statements.ground import Ground

LONG = os.environ.get("HOLDFAST_LONG") == "1"
IMPATIENT = 0.15  # seconds for a store that stays down: a test would wait for more

ONCE = {
    "postgres": [wire.Break.CUT, wire.Break.LOST, wire.Break.TERMINATED, wire.Break.REFUSED],
    # Not the disk: descriptors are exchanged safely only where no other thread opens or closes any.
    "file": [hooks.Break.INTERRUPTED],
}
LASTING = {
    "postgres": [wire.Break.LOST, wire.Break.CUT, wire.Break.REFUSED],
    "file": [hooks.Break.INTERRUPTED, hooks.Break.LOCKED],
}
CANCELS = {"postgres": [wire.Break.CANCELLED, wire.Break.CANCELLED_LATE], "file": [hooks.Break.CANCELLED]}


def make_bus(ground: Ground, **options: Any) -> EventBus:
    given = {"spool": "off", "store_timeout": AT_ONCE, "stop_timeout": 5, "lease_ttl": 1.0, **options}
    return EventBus(ground.dsn, **given)


def stored(ground: Ground) -> list[str]:
    return [key for key, *_ in ground.look()["events"]]


async def publish_three(bus: EventBus, ids: list[UUID]) -> list[str]:
    """One, then two at once or not at all; returns the keys of those that were acknowledged."""
    await bus.publish("order.placed", {"n": 0}, key="0", event_id=ids[0])
    items = [{"name": "order.placed", "payload": {"n": n}, "key": str(n), "event_id": ids[n]} for n in (1, 2)]
    await bus.publish_many(items)
    return ["0", "1", "2"]


def faults_at(number: int, kind: str, *, lasting_only: bool) -> list[Fault]:
    """All kinds, or as many as there is time for: others at each statement."""
    found = [Fault(number, one, lasting=True) for one in LASTING[kind]]
    if not lasting_only:
        found += [Fault(number, one) for one in ONCE[kind] + CANCELS[kind]]
    few = len(found) if LONG else 1
    return [found[(number * few + place) % len(found)] for place in range(few)]


@pytest.mark.parametrize("spooling", [False, True], ids=["without a spool", "with a spool"])
async def test_what_publish_says_is_true_whichever_statement_breaks(
    ground: Ground, tmp_path: Path, *, spooling: bool
) -> None:
    for number in count(1):
        met = False
        for fault in faults_at(number, ground.kind, lasting_only=spooling):
            options = {"spool": tmp_path / f"{number}-{fault.kind}"} if spooling else {}
            met |= await publishing_is_true(ground, fault, **options)
        if not met:
            return


async def publishing_is_true(ground: Ground, fault: Fault, **options: Any) -> bool:
    await ground.empty(days=False)
    if fault.lasting:
        options["store_timeout"] = IMPATIENT
    bus, ids = make_bus(ground, **options), [new_id() for _ in range(3)]
    bus.subscribe("order.*", print, name="billing")
    try:
        ground.faults.break_at(fault.number, fault.kind, lasting=fault.lasting)
        task = asyncio.ensure_future(publish_three(bus, ids))
        ground.faults.aim(task)
        await asyncio.wait({task}, timeout=AT_ONCE)
        assert task.done(), "publishing hangs"
        met = ground.faults.heal()
        await ground.require_nothing_held()
        require_truth(ground, fault, task, spooling="spool" in options)
        # Whoever was told nothing, or nothing good, publishes the same again.
        async with asyncio.timeout(AT_ONCE):
            await publish_three(bus, ids)
            await bus._live.publisher.wait_drained()
    finally:
        await bus.close()
    assert stored(ground) == ["0", "1", "2"]
    return bool(met)


def require_truth(ground: Ground, fault: Fault, task: asyncio.Task[list[str]], *, spooling: bool) -> None:
    found = stored(ground)
    assert found in [["0", "1", "2"][:number] for number in (0, 1, 3)], f"{fault}: half of a publish_many, {found}"
    if task.cancelled():
        assert fault.is_cancel
        return
    error = task.exception()
    if error is None:
        assert spooling or found == ["0", "1", "2"], f"{fault}: acknowledged, and not stored: {found}"
        return
    assert not spooling, f"{fault}: the spool should have taken it: {error!r}"
    assert fault.lasting, f"{fault}: a second try would have done: {error!r}"
    assert isinstance(error, OutcomeUnknown | StoreUnavailable), repr(error)
    if isinstance(error, StoreUnavailable):
        assert found in ([], ["0"]), f"{fault}: said not to be stored: {found}"


class Shop:
    """A bus with an ordinary and a transactional subscription, and what its handlers did."""

    def __init__(self, ground: Ground, **settings: Any) -> None:
        self.bus, self.ordinary = make_bus(ground, **settings), Counter[str]()
        options = {"partitions": 1, "start": "beginning"}

        async def ordinary(event: Event) -> None:
            self.ordinary[str(event.key)] += 1

        async def transactional(event: Event, delivery: Delivery) -> None:
            done = delivery.connection.execute(f"insert into {ground.effects} values ({event.key})")
            if ground.kind == "postgres":
                await done

        self.bus.subscribe("order.*", ordinary, name="ordinary", **options)
        self.bus.subscribe("order.*", transactional, name="transactional", transactional=True, **options)

    async def work(self, timeout: float) -> None:
        await self.bus.publish_many({"name": "order.placed", "payload": {}, "key": str(n)} for n in range(3))
        await self.bus.drain(timeout)


async def statements_of_a_worker(ground: Ground) -> int:
    await ground.empty(days=False)
    shop = Shop(ground)
    ground.faults.watch()
    await shop.work(AT_ONCE)
    number: int = ground.faults.heal()
    await shop.bus.close()
    return number


@pytest.mark.timeout(1800 if LONG else 120)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
async def test_a_worker_handles_everything_whichever_statement_breaks(ground: Ground, *, lasting: bool) -> None:
    kinds = (LASTING if lasting else ONCE)[ground.kind]
    statements = await statements_of_a_worker(ground)
    step = 1 if LONG else max(1, statements // (2 if lasting else 5))
    for number in range(1, statements + 1, step):
        await a_worker_survives(ground, Fault(number, kinds[number // step % len(kinds)], lasting))


async def a_worker_survives(ground: Ground, fault: Fault) -> None:
    await ground.empty(days=False)
    shop = Shop(ground, **({"store_timeout": IMPATIENT} if fault.lasting else {}))
    try:
        ground.faults.break_at(fault.number, fault.kind, lasting=fault.lasting)
        try:
            await shop.work(0.5 if fault.lasting else AT_ONCE)
        except (DrainTimeout, OutcomeUnknown, StoreUnavailable):
            assert fault.lasting, f"{fault}: it should have gone on by itself"
        ground.faults.heal()
        if not stored(ground):
            await shop.work(AT_ONCE)
        await shop.bus.drain(AT_ONCE)
    finally:
        await shop.bus.close()
    await ground.require_nothing_held()
    state = ground.look()
    assert contradictions(state) == []
    settled = [(key, name) for key in "012" for name in ("ordinary", "transactional")]
    assert [receipt[:2] for receipt in state["receipts"]] == settled, fault
    assert state["effects"] == [(0,), (1,), (2,)], f"{fault}: effects of transactional handlers"
    assert set(shop.ordinary) == {"0", "1", "2"}, fault
    assert state["workers"] == [], f"{fault}: it has not said goodbye"
