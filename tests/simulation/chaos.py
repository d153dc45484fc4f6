"""What hits a run: blows at random times, each of a kind that its seed allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.caller import CallersConnection
from tests.simulation.weather import worse
from tests.simulation.world import TENANTS

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.processes import SimulatedProcess
    from tests.simulation.world import World


async def strike(world: World) -> None:
    """Blow after blow, until cancelled."""
    chaos = Chaos(world)
    while world.faults.blows:
        await asyncio.sleep(world.random.expovariate(1 / world.faults.every))
        blow = world.random.choice(world.faults.blows)
        world.trace("blow", blow)
        await getattr(chaos, blow.replace(" ", "_"))()


async def pause_tenants(world: World, draw: Random) -> None:
    """One tenant of a subscription, then another, until cancelled; now and then several at once."""
    while True:
        await asyncio.sleep(draw.expovariate(1 / world.faults.every))
        name, tenant = draw.choice(world.declared).name, draw.choice(TENANTS)
        world.trace("pauses", name, tenant)
        await world.operator.pause(name, paused=True, tenant_id=tenant)
        if draw.random() < 0.8:
            await asyncio.sleep(2 * draw.random())
            await world.operator.pause(name, paused=draw.random() < 0.2, tenant_id=tenant)


class Chaos:
    """A method for each of `tests.simulation.weather.BLOWS`."""

    def __init__(self, world: World) -> None:
        self._world, self._draw = world, world.random

    def _victim(self) -> SimulatedProcess | None:
        lives = self._world.lives
        return lives[self._draw.choice(sorted(lives))] if lives else None

    def _subscription(self) -> str:
        return self._draw.choice(self._world.declared).name

    async def kill(self) -> None:
        if (one := self._victim()) is not None:
            self._world.kill(one)

    async def pause(self) -> None:
        """SIGSTOP, as often past its lease as not, and SIGCONT."""
        if (one := self._victim()) is not None and not one.process.paused:
            one.process.pause()
            seconds = self._world.lease_ttl * self._draw.uniform(0.2, 3.0)
            self._world.loop.call_later(seconds, one.process.resume, self._world.loop)

    async def crash(self) -> None:
        if self._world.server.up:
            await self._roll_back_last()
            self._world.network.crash(sessions_survive=self._world.faults.pooler)
            await asyncio.sleep(self._draw.choice((0.0, self._draw.random())))
            self._world.server.up = True

    async def _roll_back_last(self) -> None:
        """Only ids that reached no disk are handed out again: those of what was rolled back last, and seen by readers."""
        connection = CallersConnection(self._world.server)
        connection.execute("select pg_current_xact_id()")
        connection.rollback()
        await asyncio.sleep(self._world.poll_interval * self._draw.random())

    async def cut_readers(self) -> None:
        if (one := self._victim()) is not None:
            self._world.network.cut_sessions(one.process)

    async def away(self) -> None:
        """The server cannot be reached for a while."""
        sky, before = self._world.sky, self._world.faults.weather
        sky.weather = worse(before)
        await asyncio.sleep(self._draw.uniform(0.1, 4.0))
        sky.weather = before

    async def step_clock(self) -> None:
        self._world.clock_step += self._draw.choice((-5.0, -0.5, 0.5, 5.0)) * self._draw.random()

    async def pause_subscription(self) -> None:
        name, store = self._subscription(), self._world.operator
        await store.pause(name, paused=True)
        await asyncio.sleep(2 * self._draw.random())
        await store.pause(name, paused=False)

    async def retry_dead(self) -> None:
        await self._world.operator.retry_dead(self._subscription())

    async def replay(self) -> None:
        """Some of what was handled, once more."""
        name, server = self._subscription(), self._world.server
        known = [one.record for one in server.tables.subscriptions.values() if one.record.name == name]
        handled = [
            event_id for subscription, event_id in server.tables.receipts if known and known[0].id == subscription
        ]
        if handled:
            await self._world.operator.replay(name, self._draw.sample(handled, min(3, len(handled))))
