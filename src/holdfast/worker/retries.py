"""Delivery rows that fall due come back into hand: retries, replays, what was held behind a key."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.worker.hand import InHand, Phase
from holdfast.worker.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from holdfast.counts import WorkerCounts
    from holdfast.stores.base import Store
    from holdfast.stores.values import Due, Slice
    from holdfast.worker.hand import Partition
    from holdfast.worker.runner import Runner
    from holdfast.worker.settler import Settler

_CLAIM_MIN, _CLAIM_MAX = 8, 256
_CLAIM_BYTES = 8 * 2**20
_CLAIMING = frozenset({Phase.FAST, Phase.CHECKING})
_LONGEST_WAIT, _AFTER_ERROR, _JUST_DUE = 5.0, 0.5, 0.005
_LOOK_SECONDS = 30.0


class Retries:
    """Claims what is due, when it is due.

    It looks when a retry falls due, when a delivery row was settled (its key's next one may be free), when somebody
    acted on the store, and every few seconds in case it missed something.
    """

    def __init__(
        self, store: Store, settler: Settler, runners: Mapping[int, Runner],
        partitions: Callable[[], Sequence[Partition]], changed: Callable[[], Awaitable[None]], counts: WorkerCounts,
    ) -> None:  # fmt: skip
        self._store, self._settler, self._runners, self._partitions = store, settler, runners, partitions
        self._changed = changed
        self._generation: int | None = None
        self._wake = asyncio.Event()
        self._wanted_at: float | None = None
        self._limit = _CLAIM_MIN
        self._doubtful: set[Slice] = set()  # a claim's answer was lost: rows may be ours that nobody has in hand
        self._look_at = asyncio.get_running_loop().time() + _LOOK_SECONDS
        self._outage = Outage("due deliveries cannot be claimed now", "due deliveries are claimed", counts)
        self.claiming = asyncio.Lock()
        """Held during a claim: whoever ends a partition waits for it, or a claimed row would be forgotten."""

    def due_in(self, seconds: float) -> None:
        """A delivery row falls due in so many seconds."""
        at = asyncio.get_running_loop().time() + seconds
        if self._wanted_at is None or at < self._wanted_at:
            self._wanted_at = at
            self._wake.set()

    async def run(self) -> None:
        """Claim until cancelled."""
        while True:
            await self._wait()
            self._wanted_at = None
            try:
                async with self.claiming:
                    await self._claim()
            except HoldfastError as error:
                self._outage.met(error)
                self.due_in(_AFTER_ERROR)
            else:
                self._outage.over()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # Also while the next retry is an hour ahead: what was handed back may run long before that.
            left = _LONGEST_WAIT if self._wanted_at is None else min(_LONGEST_WAIT, self._wanted_at - loop.time())
            if left <= 0:
                return
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
                continue
            return

    async def _claim(self) -> None:
        leases: dict[Slice, int] = {}
        owners: dict[Slice, Partition] = {}
        for partition in self._partitions():
            runner = self._runners.get(partition.slice.subscription)
            if partition.phase in _CLAIMING and runner is not None and runner.has_room_for_due:
                leases[partition.slice], owners[partition.slice] = partition.epoch, partition
        if (now := asyncio.get_running_loop().time()) >= self._look_at:
            # A claim that was given up may reach the server after the look that followed it.
            self._look_at = now + _LOOK_SECONDS
            self._doubtful |= leases.keys()
        if self._doubtful and (forgotten := await self._settler.exclusively(self._find_forgotten)):
            await self._changed()  # it is not known of which generation they are
            for partition, due in forgotten:
                self._offer(partition, due)
        if not leases:
            return
        self._doubtful |= leases.keys()
        limit = self._limit
        claim = await self._store.claim(leases, limit=limit)
        self._doubtful -= leases.keys()
        self._limit = next_limit(limit, sum(due.row.size for due in claim.due))
        if claim.due and claim.generation != self._generation:
            # Rows that somebody else has made, by a replay, count for their keys from here on. Settled uncounted, they
            # would be taken off the count of others, and what waits behind those would overtake.
            await self._changed()
            self._generation = claim.generation
        for due in claim.due:
            self._offer(owners[due.slice], due)
        for runner in self._runners.values():
            runner.start()
        if len(claim.due) == limit:
            self.due_in(0.0)
        elif claim.next_in is not None:
            self.due_in(pause_before(claim.next_in))

    async def _find_forgotten(self) -> list[tuple[Partition, Due]]:
        """What a claim took whose answer was lost; asked while nothing else is written about rows."""
        held = {partition.slice: partition for partition in self._partitions()}
        self._doubtful &= held.keys()  # whoever has the others now looks for suspects
        looked_at = {one for one in self._doubtful if held[one].phase in _CLAIMING and not held[one].recovering}
        if not looked_at:
            return []
        suspects = await self._store.suspects(list(looked_at))
        self._doubtful -= looked_at
        return [
            (held[due.slice], due)
            for due in suspects
            if due.row.id not in self._runners[due.slice.subscription].in_hand
            and not held[due.slice].suspects_run_later(due.row.tenant_id)
        ]

    def _offer(self, partition: Partition, due: Due) -> None:
        runner = self._runners[due.slice.subscription]
        item = InHand.of(due, partition, runner.key_of(due.row.tenant_id, due.row.key))
        if due.row.tenant_id in runner.record.paused_tenants:
            runner.hand_back(item)  # paused while it was being claimed
        else:
            runner.offer(item)


def next_limit(limit: int, size: int) -> int:
    """How many to claim next, after so many that took *size* bytes: twice as many, while they are small."""
    if size > _CLAIM_BYTES:
        return max(_CLAIM_MIN, limit * _CLAIM_BYTES // size)
    return min(_CLAIM_MAX, 2 * limit)


def pause_before(next_in: float) -> float:
    """How long to wait for a retry that falls due in so many seconds.

    One that has just fallen due did so during the claim. One that has been due for longer stands behind something,
    and is looked at when that is settled, or now and then.
    """
    if next_in > 0:
        return next_in
    return _JUST_DUE if next_in > -_AFTER_ERROR else _AFTER_ERROR
