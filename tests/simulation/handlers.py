"""The handlers of a simulated process: they do what the run says, and put it into the history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from holdfast.errors import Reject, Retry
from holdfast.stores.values import Slice
from holdfast.subscription import make_consumer
from tests.simulation.history import Call
from tests.simulation.server import Effect
from tests.simulation.spool_system import Killed
from tests.simulation.subscriptions import Act

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.event import Event
    from holdfast.subscription import Consumer, Delivery
    from tests.simulation.processes import SimulatedProcess
    from tests.simulation.subscriptions import Declared

PUT_OFFS = 2


class TroubleError(Exception):
    """What failing handlers raise. Its traceback is short: formatting those is what a run would spend its time on."""


def consumer_of(process: SimulatedProcess, declared: Declared) -> Consumer:
    """The subscription as this process declares it."""
    handler = Handler(process, declared)
    return make_consumer(declared.patterns, handler.as_function(), name=declared.name, **declared.options)


class Handler:
    """One subscription's handler in one process."""

    def __init__(self, process: SimulatedProcess, declared: Declared) -> None:
        self._process, self._declared = process, declared
        self._world = process.world

    def as_function(self) -> Callable[..., Any]:
        """A function of the kind that the subscription asks for."""

        async def handle(event: Event, delivery: Delivery) -> None:
            await self._handle([event], [delivery])

        async def handle_batch(events: list[Event], deliveries: list[Delivery]) -> None:
            await self._handle(events, deliveries)

        def handle_in_thread(event: Event, delivery: Delivery) -> None:
            self._handle_in_thread(event, delivery)

        if self._declared.is_sync:
            return handle_in_thread
        return handle if self._declared.style != "batch" else handle_batch

    async def _handle(self, events: list[Event], deliveries: list[Delivery]) -> None:
        calls = self._begin(events, deliveries)
        try:
            for event, delivery in zip(events, deliveries, strict=True):
                await self._act(event, delivery)
        except BaseException as error:
            if self._process.process.alive:
                self._end(calls, type(error).__name__)
            raise
        self._end(calls, "ok")

    def _end(self, calls: list[Call], outcome: str) -> None:
        self._process.process.busy -= 1
        self._world.history.end(calls, outcome)

    def _begin(self, events: list[Event], deliveries: list[Delivery]) -> list[Call]:
        history = self._world.history
        number = history.now()
        calls = [self._call(event, delivery, number) for event, delivery in zip(events, deliveries, strict=True)]
        history.calls += calls
        self._process.process.busy += 1
        self._world.trace(
            self._process.process.name, self._declared.name, *(call.event_id[-2:].hex() for call in calls)
        )
        return calls

    def _call(self, event: Event, delivery: Delivery, number: int) -> Call:
        row, declared = event.row, self._declared
        record = self._process.records[declared.name]
        slice_ = Slice(record.id, row.slot % record.partitions)
        key = None if row.key is None else (row.tenant_id, row.key)
        live = self._world.is_live(slice_, delivery.epoch)
        return Call(
            self._process.process, declared.name, row.id, key, slice_, delivery.epoch, delivery.attempt,
            delivery.is_replay, live, number, number,
        )  # fmt: skip

    async def _act(self, event: Event, delivery: Delivery) -> None:
        act = self._declared.act_on(event.row.id)
        if (error := self._failure(act, event, delivery)) is not None:
            if self._world.random.random() < 0.5:
                await asyncio.sleep(0.02 * self._world.random.random())
            raise error
        await asyncio.sleep(self._duration(act, delivery))
        if act is Act.KILL:
            self._poison(event)
            await asyncio.get_running_loop().create_future()  # it never comes back
        if act is Act.PUBLISH and event.name.startswith("order."):
            await self._publish(event, delivery)
        self._write_effect(event, delivery)

    def _failure(self, act: Act, event: Event, delivery: Delivery) -> BaseException | None:
        if act is Act.FAIL_ALWAYS or (act is Act.FAIL_FIRST and self._times_before(event) < 1):
            return TroubleError("as the run says")
        if act is Act.REJECT:
            return Reject("as the run says")
        if act is Act.QUIT_FIRST and delivery.attempt == 1 and not self._world.is_healing:
            return SystemExit()
        if act is Act.PUT_OFF and self._times_before(event) < PUT_OFFS:
            return Retry(after=0.2)
        return None

    def _times_before(self, event: Event) -> int:
        return self._world.times_before(self._declared.name, event.row.id)

    def _duration(self, act: Act, delivery: Delivery) -> float:
        draw, timeout = self._world.random.random, float(self._declared.options["timeout"])
        if act is Act.TIME_OUT_FIRST and delivery.attempt == 1:
            return 1.5 * timeout + 0.3
        if act is Act.TAKE_LONG:
            return 0.7 * timeout * draw()
        return 0.02 * draw()

    def _poison(self, event: Event) -> None:
        self._world.history.poisonings.append((self._declared.name, event.row.id))
        self._world.kill(self._process)

    async def _publish(self, event: Event, delivery: Delivery) -> None:
        follower = self._world.follower(event, self._declared.name)
        if self._declared.is_transactional:
            self._world.history.invoke(follower, self._process.lineage, "tx")
            await self._process.store.append_within(delivery.connection, [follower])
        else:
            await self._process.publish(follower)

    def _write_effect(self, event: Event, delivery: Delivery) -> None:
        if self._declared.is_transactional:
            effect = Effect(self._declared.name, event.row.id, delivery.attempt, delivery.epoch)
            self._world.write_effect(delivery.connection, effect)

    # In a thread, where no time passes: it takes its time when the function is through

    def _handle_in_thread(self, event: Event, delivery: Delivery) -> None:
        calls = self._begin([event], [delivery])
        act, threads = self._declared.act_on(event.row.id), self._process.threads
        try:
            if (error := self._failure(act, event, delivery)) is not None:
                raise error
            if act is Act.KILL:
                self._poison(event)
                raise Killed
            self._write_effect(event, delivery)
        except BaseException as error:
            if self._process.process.alive:
                self._end(calls, type(error).__name__)
            raise
        threads.take(self._duration(act, delivery), lambda: self._end(calls, "ok"))
