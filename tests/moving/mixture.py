"""A store in every state that a worker, a crash and an operator can leave it in, chosen by a seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.event import NewEvent
from holdfast.ids import new_id
from holdfast.patterns import matches
from holdfast.stores import make_store
from holdfast.stores.filters import DeadFilter, ReplayFilter
from holdfast.stores.inspector import make_inspector
from holdfast.stores.values import Advance, Cursor, Declaration, Parked, Released, Settlement, State
from tests.contract.harness import Scene, failed, receipt

if TYPE_CHECKING:
    from holdfast.event import Row
    from holdfast.stores.operator import Operator
    from holdfast.stores.values import Lease, Subscription

DECLARED: dict[str, dict[str, Any]] = {
    "billing": {"patterns": ["order.*"], "partitions": 3},
    "ledger": {"patterns": ["**"], "partitions": 2, "on_dead": "hold"},
    "report": {"patterns": ["order.placed", "stock.*"], "partitions": 1, "ordering": "none"},
    "late": {"patterns": ["order.**"], "partitions": 2},
    "waits": {"patterns": ["**"], "partitions": 2},
}
RESUMED = [["resume", "waits"], ["resume", "ledger", "--tenant", "umbra"]]


async def mix(dsn: str, seed: int) -> None:
    """Fill an empty store."""
    store = make_store(dsn, timeout=10)
    await store.migrate()
    await store.open()
    inspector, operator = make_inspector(store)
    scene = Scene("file" if dsn.startswith("sqlite") else "postgres", dsn, store)
    mixture = Mixture(scene, operator, random.Random(seed))
    try:
        await mixture.fill()
    finally:
        await inspector.close()
        await scene.close()


class Mixture:
    def __init__(self, scene: Scene, operator: Operator, chance: random.Random) -> None:
        self.scene, self.operator, self.chance, self.published = scene, operator, chance, 0

    async def fill(self) -> None:
        known = [await self.declare(name) for name in ("billing", "ledger", "report", "waits")]
        await self.publish(30)
        known.append(await self.declare("late"))
        await self.publish(15)
        for one in known:
            await self.work(one)
        await self.operator.replay("billing", ReplayFilter(tenant_id="acme"), actor="ann", rate=100_000)
        await self.operator.retry_dead(DeadFilter(subscription="ledger", tenant_id="acme"), actor="ann")
        if self.chance.random() < 0.5:
            await self.operator.skip("report", actor="ann")
        await self.publish(10)
        for one in self.chance.sample(known, 2):
            await self.work(one)
        await self.operator.pause("waits", actor="ann")
        await self.operator.pause("ledger", actor="ann", tenant_id="umbra")
        await self.operator.set_concurrency("billing", 7, actor="ann")
        await self.publish(10)

    async def declare(self, name: str) -> Subscription:
        options = DECLARED[name]
        rest = {key: value for key, value in options.items() if key != "patterns"}
        (found,) = await self.scene.store.register([Declaration(name, tuple(options["patterns"]), **rest)])
        return found

    async def publish(self, count: int) -> None:
        await self.scene.store.append([self._event() for _ in range(count)], atomic=True)

    def _event(self) -> NewEvent:
        self.published += 1
        choice = self.chance.choice
        payload = msgspec.json.encode(
            {"n": self.published, "text": choice(["", "äöü €", '"\\u0000-free"', "\U0001f600"])}
        )
        return NewEvent(
            choice([new_id(), new_id(), UUID(int=self.chance.getrandbits(128), version=4)]),
            choice(["acme", "umbra"]), choice(["order.placed", "order.paid.late", "order.paid", "stock.moved"]),
            choice([None, "a", "b", "c", "d", "ü' \""]), payload,
            choice([None, b'{"actor":"bob"}', b'{ "spaced" : "yes" }']),
            choice([None, datetime(1, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)]),
        )  # fmt: skip

    async def work(self, subscription: Subscription) -> None:
        """As a worker that comes to somewhere in the log, and then is gone, now and then in the midst of something."""
        for lease in await self.scene.leases(subscription):
            page = await self.scene.read(lease.cursor)
            blocked = set((await self.scene.store.blocked_keys([lease.slice]))[lease.slice])
            mine = [row for row in page.rows if self._is_of(row, subscription, lease)]
            known = await self.scene.store.known(subscription.id, [(row.id, row.day) for row in mine])
            cut = self.chance.randint(0, len(mine))
            settlement = Settlement({lease.slice: lease.epoch})
            for place, row in enumerate(mine):
                if row.id not in known:
                    self._settle(settlement, subscription, lease, row, blocked, is_passed=place < cut)
            cursor = page.cursor if cut == len(mine) else Cursor(lease.cursor.done, page.horizon, mine[cut].position)
            settlement.advances.append(Advance(lease.slice, cursor))
            assert await self.scene.store.settle(settlement) == set()
            await self.scene.store.release(self.scene.worker, [Released(lease.slice, lease.epoch, cursor, exact=False)])

    def _is_of(self, row: Row, subscription: Subscription, lease: Lease) -> bool:
        return row.slot % subscription.partitions == lease.slice.partition and any(
            matches(pattern, row.name) for pattern in subscription.patterns
        )

    def _settle(
        self, settlement: Settlement, subscription: Subscription, lease: Lease, row: Row, blocked: set[Any], *, is_passed: bool
    ) -> None:  # fmt: skip
        key = None if row.key is None or subscription.ordering == "none" else (row.tenant_id, row.key)

        def park(state: State, **fields: Any) -> None:
            settlement.parked.append(Parked(lease.slice, row, state, **fields))

        if key in blocked and key is not None:
            if is_passed:
                park(State.PENDING)
            return
        if not is_passed and self.chance.random() < 0.7:
            blocked.add(key)
            return
        match self.chance.choices(["done", "retrying", "dead", "discarded", "running"], [12, 3, 2, 1, 2])[0]:
            case "done":
                settlement.add(receipt(lease, row, attempts=self.chance.randint(1, 3)))
            case "retrying":
                park(State.RETRYING, attempts=1, reason="ValueError: no")
                settlement.attempts.append(failed(lease.slice, row, seconds=0.1, traceback="Traceback ..."))
                blocked.add(key)
            case "dead":
                park(State.DEAD, attempts=1, reason="it broke")
                settlement.attempts.append(failed(lease.slice, row, outcome="rejected"))
                if subscription.on_dead == "hold":
                    blocked.add(key)
            case "discarded":
                park(State.DISCARDED, reason="nobody wants it")
            case "running":
                park(State.RUNNING)
                blocked.add(key)
