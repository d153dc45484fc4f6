"""The handler of a subscription that takes its events in batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.worker.aftermath import BROKER_IS_AWAY
from holdfast.worker.lanes import Lane
from holdfast.worker.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from holdfast.worker.hand import InHand, Key, Slot


class BatchRunner(Runner):
    """
    Runs a handler that takes up to ``batch`` events at once; the ``concurrency`` is of batches.

    A batch that fails is halved until what fails stands alone.
    """

    def _go_on(self, slot: Slot, until: float) -> Awaitable[None] | None:  # noqa: ARG002 - a batch is not divided
        slot.timed_out, slot.probes = False, not self._breaker.is_closed
        assert self.consumer.batch is not None
        slot.items = self._take_batch(slot, self.consumer.batch)
        if slot.probes:
            self._breaker.probe()
        return self._handle_whole_batch(slot, slot.items) if slot.items else None

    def _take_batch(self, slot: Slot, size: int) -> tuple[InHand, ...]:
        """The next deliveries to run; none while paused, stopping or unsure of the leases."""
        items: list[InHand] = []
        while len(items) < size and self._may_hand_out(slot):
            item: InHand | None = self._lanes.take_probe() if slot.probes else self._lanes.take()
            is_first = True
            while item is not None:
                if not item.partition.may_run:
                    self._after.drop(item)
                    break
                if item.due is not None and item.due.handled:
                    self._after.passed(item)
                    if is_first:
                        self._lanes.free(item.key)
                        break
                else:
                    items.append(item)
                    if slot.probes:
                        return (item,)  # a probe is one event
                is_first = False
                item = self._lanes.take_behind(item.key) if len(items) < size else None
        return tuple(items)

    async def _handle_whole_batch(self, slot: Slot, items: tuple[InHand, ...]) -> None:
        ends: dict[Key | None, Lane] = {}
        again: list[InHand] = []
        await self._handle_batch(slot, list(items), ends, again)
        self._lanes.put_back_all(again)
        ends.update({item.key: Lane.AGAIN for item in again})
        if again and self._stopping:
            self.waiting.drop()  # nobody will take them here
        if again and self.apart:
            self.waiting.leave_deferred()
        for key in dict.fromkeys(item.key for item in items):
            lane = ends.get(key, Lane.FREE)
            if lane is Lane.BLOCKED:
                self._after.hold_followers(key)  # only now: the batch's own later members go first
            if lane is not Lane.AGAIN:
                self._after.free(key)

    async def _handle_batch(
        self, slot: Slot, items: list[InHand], ends: dict[Key | None, Lane], again: list[InHand]
    ) -> None:
        """
        Run a batch; if it fails, its halves, down to the member that fails alone.

        *ends* gathers the keys whose lane is not free after it: later members of a key that failed go behind it.
        *again* gathers, in order, what a broker that is away kept from being tried.
        """
        runnable = []
        for item in items:
            if item.key is not None and ends.get(item.key) is Lane.BLOCKED:
                self._after.put_behind(item)
            else:
                runnable.append(item)
        if not runnable:
            return
        if again:  # the broker is away for these too
            again.extend(runnable)
            return
        try:
            if (rest := self._caller.begin_batch(runnable)) is not None:
                await rest
            if slot.timed_out:
                raise asyncio.CancelledError
        except BaseException as error:  # noqa: BLE001 - every error of a handler has its outcome
            slot.items = ()
            if isinstance(error, BROKER_IS_AWAY):
                self._timing.failed(runnable, self._shared.ports.elapsed() - slot.started, error)
                again.extend(runnable)
                await self._reuse_task(slot, error)
                return
            if len(runnable) == 1 or slot.aborted or isinstance(error, SystemExit | KeyboardInterrupt):
                lane = await self._ended(slot, runnable, error)
                if lane in (Lane.BLOCKED, Lane.AGAIN):
                    ends.update({item.key: lane for item in runnable})
                elif lane is Lane.CLOSED:
                    await self._shared.settler.flush()  # on record as dead, before a later one of its key completes
                return
            await self._reuse_task(slot, error)
            middle = len(runnable) // 2
            for half in (runnable[:middle], runnable[middle:]):
                slot.items, slot.started, slot.timed_out = tuple(half), self._shared.ports.elapsed(), False
                await self._handle_batch(slot, half, ends, again)
        else:
            for item in runnable:
                self._after.handled(item, has_receipt=False)
            self._timing.together(runnable, slot.started)
