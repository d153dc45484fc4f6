"""Operations of people: looking at a store, and acting on it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.errors import ConfigurationError, NotFound
from holdfast.stores.filters import DeadFilter, EventFilter, PayloadMatch, ReplayFilter
from holdfast.stores.values import Advance, Parked, Released, State
from tests.contract.harness import EVERYTHING_IS_OLD, LONG_AGO, failed, worker_info
from tests.statements.operation import Operation
from tests.statements.working import all_handled, four_parked, hand

if TYPE_CHECKING:
    from tests.contract.harness import Scene
    from tests.statements.ground import Ground
    from tests.statements.working import Hand

ALL = DeadFilter()


async def three_dead(scene: Scene) -> Hand:
    found = await hand(scene, "a", "b", "c", "d")
    place = found.lease.slice
    parked = [Parked(place, row, State.DEAD, attempts=5, reason="no") for row in found.rows[:3]]
    tried = [failed(place, row, attempt=5) for row in found.rows[:3]]
    moved = [Advance(place, found.cursor)]
    await scene.settle(found.lease, receipts=[found.receipt(3)], parked=parked, attempts=tried, advances=moved)
    return found


async def given_back(scene: Scene) -> Hand:
    """Nobody works on it any more."""
    found = await three_dead(scene)
    await scene.store.release(found.worker, [Released(found.lease.slice, found.lease.epoch, found.cursor, exact=True)])
    return found


async def everything(scene: Scene) -> UUID:
    """Some of everything that there is to see; returns the id of a dead event."""
    found = await three_dead(scene)
    await scene.store.heartbeat(worker_info(found.worker, found.lease.slice.subscription), ttl=30)
    return UUID(bytes=found.rows[0].id)


# Looking


async def status(ground: Ground, _: Any) -> Any:
    found = await ground.inspector.status()
    return len(found.subscriptions)


async def events(ground: Ground, _: Any) -> int:
    return len((await ground.inspector.events(EventFilter(), status="dead")).events)


async def one_event(ground: Ground, event: UUID) -> int:
    return len((await ground.inspector.event(event)).deliveries)


async def subscriptions(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.subscriptions())


async def dead(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.dead(ALL))


async def blocked(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.blocked(ALL))


async def workers(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.workers())


async def leases(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.leases("billing"))


async def audit(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.audit())


async def replays(ground: Ground, _: Any) -> int:
    return len(await ground.inspector.replays())


async def retention_preview(ground: Ground, _: Any) -> Any:
    return (await ground.inspector.retention_preview(EVERYTHING_IS_OLD)).blocking


async def facts(ground: Ground, _: Any) -> None:
    await ground.inspector.facts()


async def search(ground: Ground, _: Any) -> int:
    page = await ground.inspector.events(EventFilter(tenant_id="acme"), payload=PayloadMatch("order_id", "1"))
    return len(page.events)


async def estimate(ground: Ground, _: Any) -> None:
    await ground.inspector.estimate(EventFilter(tenant_id="acme"))


async def causation(ground: Ground, event: UUID) -> int:
    return len((await ground.inspector.causation(event)).nodes)


async def dead_groups(ground: Ground, _: Any) -> int:
    return len((await ground.inspector.dead_groups(ALL)).groups)


async def storage(ground: Ground, _: Any) -> None:
    await ground.inspector.storage()


async def skip_count(ground: Ground, _: Any) -> int:
    return (await ground.operator.skip_count("billing")).events


# Acting


async def pause(ground: Ground, _: Any) -> bool:
    return await ground.operator.pause("billing", actor="me")


async def put_a_refusal_on_record(ground: Ground, _: Any) -> None:
    await ground.operator.refused("pause", "billing", actor="me", reason="me only looks")


async def a_paused_subscription(scene: Scene) -> None:
    await scene.subscribe()
    await scene.sql(f"update subscriptions set paused_at = '{LONG_AGO}', paused_by = 'somebody'")


async def a_subscription(scene: Scene) -> None:
    await scene.subscribe()


async def resume(ground: Ground, _: Any) -> bool:
    return await ground.operator.resume("billing", actor="me")


async def matching(ground: Ground, _: Any) -> int:
    return await ground.operator.matching(ALL)


async def retry_dead(ground: Ground, _: Any) -> int:
    return await ground.operator.retry_dead(ALL, actor="me")


async def discard(ground: Ground, _: Any) -> int:
    return await ground.operator.discard(ALL, actor="me", held=True)


async def replay_count(ground: Ground, _: Any) -> int:
    return await ground.operator.replay_count("billing", ReplayFilter())


async def replay(ground: Ground, _: Any) -> int:
    return await ground.operator.replay("billing", ReplayFilter(), actor="me", rate=100_000)


async def rename(ground: Ground, _: Any) -> str:
    """Done already is done, for who asks again."""
    names = [one.name for one in await ground.inspector.subscriptions()]
    if "billing" in names:
        await ground.operator.rename("billing", "mailing", actor="me")
    return "mailing"


async def remove(ground: Ground, _: Any) -> str:
    if await ground.inspector.subscriptions():
        await ground.operator.remove("billing", actor="me")
    return "gone"


async def repartition(ground: Ground, _: Any) -> int:
    (found,) = await ground.inspector.subscriptions()
    if found.partitions != 3:
        await ground.operator.repartition("billing", 3, actor="me")
    return 3


async def skip(ground: Ground, _: Any) -> None:
    await ground.operator.skip("billing", actor="me")


async def correct(ground: Ground, found: Hand) -> None:
    """Done already is done, for who asks again: then it is dead no more."""
    with suppress(NotFound):
        await ground.operator.correct("billing", UUID(bytes=found.rows[0].id), 2, actor="me", may_edit=True)


async def erase_count(ground: Ground, _: Any) -> Any:
    return await ground.operator.erase_count(tenant_id="acme")


async def erase(ground: Ground, _: Any) -> None:
    await ground.operator.erase(tenant_id="acme", actor="me")


async def retention_run(ground: Ground, _: Any) -> Any:
    return (await ground.operator.retention_run(EVERYTHING_IS_OLD, actor="me")).blocking


async def restored_elsewhere(scene: Scene) -> Hand:
    found = await hand(scene, "a", "b")
    if scene.kind == "postgres":
        await scene.sql("update meta set system_identifier = 1")
    return found


async def after_restore(ground: Ground, _: Any) -> None:
    with suppress(ConfigurationError):  # it is repaired already
        await ground.operator.after_restore(actor="me")


# Each begins with an audit row of its own, so that a repeat leaves one more behind.
_RECORDED = frozenset({"audit", "generation"})
_REPLAYED = _RECORDED | {"replays"}

OPERATING = [
    Operation("look at the status", status, everything, stages=1),
    Operation("look at events", events, everything, stages=1),
    Operation("look at one event", one_event, everything, stages=1),
    Operation("look at subscriptions", subscriptions, everything, stages=1),
    Operation("look at dead letters", dead, everything, stages=1),
    Operation("look at what is blocked", blocked, four_parked, stages=1),
    Operation("look at workers", workers, everything, stages=1),
    Operation("look at leases", leases, everything, stages=1),
    Operation("look at the audit", audit, everything, stages=1),
    Operation("look at replays", replays, everything, stages=1),
    Operation("preview retention", retention_preview, all_handled, stages=1),
    Operation("search in payloads", search, everything, stages=1),
    Operation("estimate", estimate, everything, stages=1),
    Operation("look at the causation of one event", causation, everything, stages=1),
    Operation("look at groups of dead letters", dead_groups, everything, stages=1),
    Operation("look at what it takes up", storage, everything, stages=1),
    Operation("count what a skip would take", skip_count, three_dead, stages=1),
    Operation("collect facts", facts, everything, stages=1, forgives=True),
    Operation("pause", pause, a_subscription),
    Operation("resume", resume, a_paused_subscription),
    Operation("put a refusal on record", put_a_refusal_on_record, a_subscription),
    Operation("count what matches", matching, three_dead, stages=1),
    Operation("retry the dead", retry_dead, three_dead, stages=None, leaves_out=_RECORDED),
    Operation("discard", discard, four_parked, stages=None, leaves_out=_RECORDED),
    Operation("count what a replay would take", replay_count, three_dead, stages=1),
    Operation("replay", replay, three_dead, stages=None, leaves_out=_REPLAYED),
    Operation("rename a subscription", rename, given_back),
    Operation("remove a subscription", remove, given_back),
    Operation("repartition a subscription", repartition, given_back),
    Operation("skip", skip, given_back),
    Operation("correct a dead letter", correct, three_dead),
    Operation("count what would be erased", erase_count, three_dead, stages=1),
    Operation("erase", erase, three_dead, stages=None, leaves_out=_RECORDED),
    Operation("repair after a restore", after_restore, restored_elsewhere, stages=None, forgives=True),
    Operation("run retention", retention_run, all_handled, stages=None, leaves_out=_RECORDED, drops_days=True),
]  # fmt: skip
