"""Who should own how many partitions. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from holdfast.stores.values import LeaseState, Roster, Slice, WorkerInfo


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker should do now: partitions to acquire by subscription, and those to give back."""

    acquire: dict[int, int] = field(default_factory=dict)
    give_back: tuple[Slice, ...] = ()
    dead: frozenset[UUID] = frozenset()


def plan(
    me: UUID, roster: Roster, held: Mapping[int, tuple[Slice, ...]], partitions: Mapping[int, int],
    dead: frozenset[UUID],
) -> Plan:  # fmt: skip
    """
    Fair share: each live worker that runs a subscription owns its N partitions divided by their number.

    The remainder goes to the workers with the lowest ids, so that the shares add up to N exactly and nobody takes
    what another must give back.

    Args:
        me: This worker.
        roster: Answer to the heartbeat.
        held: What this worker holds, by subscription.
        partitions: Number of partitions of each subscription that this worker runs.
        dead: Owners on this host whose process is gone.
    """
    acquire: dict[int, int] = {}
    give_back: list[Slice] = []
    for subscription, count in partitions.items():
        rivals = sorted(
            {
                worker.id
                for worker in roster.workers
                if subscription in worker.subscriptions and not worker.draining and worker.id not in dead
            }
            | {me}
        )
        share = count // len(rivals) + (rivals.index(me) < count % len(rivals))
        mine = held.get(subscription, ())
        if len(mine) > share:
            give_back += sorted(mine)[share:]
        elif len(mine) < share and _available(roster.leases, subscription, dead):
            acquire[subscription] = share - len(mine)
    return Plan(acquire, tuple(give_back), dead)


def _available(leases: tuple[LeaseState, ...], subscription: int, dead: frozenset[UUID]) -> bool:
    return any(lease.slice.subscription == subscription and (lease.free or lease.owner in dead) for lease in leases)


def dead_neighbours(
    me: WorkerInfo, workers: tuple[WorkerInfo, ...], started: Callable[[int], str | None]
) -> frozenset[UUID]:
    """Workers of this host and boot whose process does not exist any more, or is another one with the same number.

    Args:
        started: When the process with that number started; None if there is none, empty if nobody can tell.
    """
    return frozenset(
        worker.id
        for worker in workers
        if (worker.host, worker.boot_id) == (me.host, me.boot_id)
        and me.boot_id
        and worker.id != me.id
        and worker.pid_started
        and (now := started(worker.pid)) != worker.pid_started
        and now != ""
    )
