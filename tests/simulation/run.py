"""One run: build the world of a seed, let it go wrong, heal it, and check what happened."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from tests.simulation.chaos import pause_tenants, strike
from tests.simulation.checker import check
from tests.simulation.embedded.world import FileWorld
from tests.simulation.expected import behind_breakers, longest_queue, unfinished
from tests.simulation.handlers import PUT_OFFS
from tests.simulation.loop import Stuck
from tests.simulation.paths import Listener, reached
from tests.simulation.size import SIZES, SMALL
from tests.simulation.spool_system import Killed
from tests.simulation.weather import worse
from tests.simulation.workload import publish_in_turns
from tests.simulation.world import TENANTS, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.simulation.size import Size

LAG_SECONDS, BACKOFFS = 3.0 + 30.0, 5 * 2.2
"""Virtual seconds after healing in which the lag must be zero: longest lease and 30, and the backoffs of each delivery
that waits behind one key, one after the other.

Where breakers are open, the longest wait for each of their deliveries on top, as often as one may be put off: there is
one probe at a time, and the last may be the one that succeeds. Each death of a process begins it anew, up to five times.
"""
_LOOK_SECONDS = 0.25


_LOGGERS = [logging.getLogger(name) for name in ("holdfast", "holdfast.worker", "holdfast.publish", "holdfast.spool")]


class Lagging(Stuck):
    """The lag does not return to zero."""


@dataclass
class Result:
    """What came of one seed."""

    seed: int
    size: Size
    store: str = "simulated"
    problems: list[str] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    trace: list[tuple[Any, ...]] = field(default_factory=list, repr=False)
    tail: list[str] = field(default_factory=list)

    def trace_hash(self) -> str:
        """The same for the same seed, always."""
        return hashlib.blake2b("\n".join(map(repr, self.trace)).encode(), digest_size=8).hexdigest()

    def report(self) -> str:
        """What went wrong, how it came to that, and how to see it again."""
        return "\n".join(
            [
                f"seed {self.seed}:",
                *self.problems,
                "the end of its trace:",
                *self.tail,
                repeat(self.seed, self.size, self.store),
            ]
        )


def repeat(seed: int, size: Size, store: str = "simulated") -> str:
    """The command that runs *seed* again."""
    of_size = next(f" SIZE={name}" for name, one in SIZES.items() if one is size) if size is not SMALL else ""
    other = "" if store == "simulated" else f" STORE={store}"
    return f"again:  make simulate SEEDS={seed}..{seed}{of_size}{other}"


STORES: dict[str, type[World]] = {"simulated": World, "sqlite": FileWorld}


def run(seed: int, size: Size = SMALL, *, store: str = "simulated", tail: int = 60) -> Result:
    """Run one seed on a store of `STORES`; with the last *tail* lines of its trace if it fails."""
    result, world, listener = Result(seed, size, store), STORES[store](seed, size), Listener()
    for logger in _LOGGERS:
        logger.addFilter(listener)
        logger.setLevel(logging.INFO)
    gc.disable()  # a run is short and makes little garbage; looking for it costs a fifth of the time
    try:
        try:
            world.loop.run(play(world))
        except Stuck as stuck:
            result.problems.append(f"{type(stuck).__name__}: {stuck}")
        result.problems += [*check(world), *listener.criticals, *_failures(world)]
        result.paths = reached(world) + listener.counts
        result.trace = world.log
        if result.problems:
            result.tail = [f"{at:9.4f}  {' '.join(map(str, facts))}" for at, *facts in world.log[-tail:]]
    finally:
        world.close()
        gc.enable()
        for logger in _LOGGERS:
            logger.removeFilter(listener)
            logger.setLevel(logging.NOTSET)
    return result


async def play(world: World) -> None:
    """The whole story: things go wrong for a while, are healed, settle, and end."""
    size = world.size
    lineages = [f"app{number}" for number in range(world.random.randint(*size.lineages))]
    world.lineages = len(lineages)
    for lineage in lineages:
        world.start(lineage)
    work = [
        asyncio.create_task(publish_in_turns(world, lineage, world.random.randint(*size.publishes)))
        for lineage in lineages
    ]
    work.append(asyncio.create_task(world.publish_with_sql(world.random.randint(*size.transactions))))
    work.append(asyncio.create_task(_declare_late(world)))
    chaos = [asyncio.create_task(strike(world))]
    if world.pauses_tenants:
        chaos.append(asyncio.create_task(pause_tenants(world, world.tenants_random)))
    await asyncio.sleep(size.trouble)
    await _call_off(chaos)
    await asyncio.wait(work)
    if size.outage:
        await _stay_away(world, lineages)
    await _heal(world)
    await _settle(world)
    world.settled = world.history.now()
    await _stop(world)


async def _call_off(chaos: list[asyncio.Task[None]]) -> None:
    """Again and again: a replay that is just writing down its end passes one cancel over."""
    while chaos:
        for one in chaos:
            one.cancel()
        _, left = await asyncio.wait(chaos, timeout=_LOOK_SECONDS)
        chaos = [one for one in chaos if one in left]


async def _declare_late(world: World) -> None:
    for declared in sorted(world.declared, key=lambda one: one.declared_at):
        await asyncio.sleep(max(0.0, declared.declared_at - world.loop.time()))
        for one in list(world.lives.values()):
            one.spawn(one.declare(declared))


async def _stay_away(world: World, lineages: Sequence[str]) -> None:
    before, world.sky.weather = world.sky.weather, worse(world.sky.weather)
    turns = [publish_in_turns(world, lineage, max(world.size.publishes)) for lineage in lineages]
    await asyncio.gather(asyncio.sleep(world.size.outage), *turns)
    world.sky.weather = before


async def _heal(world: World) -> None:
    world.heal()
    for declared in world.declared:
        await world.operator.pause(declared.name, paused=False)
        for tenant in TENANTS[: 2 * world.pauses_tenants]:
            await world.operator.pause(declared.name, paused=False, tenant_id=tenant)


async def _settle(world: World) -> None:
    """Wait until nothing is left to do; `Lagging` if that takes too long."""
    quiet, healed, allowed = 0, world.loop.time(), 0.0
    while True:
        left = list(islice(unfinished(world), 5))
        quiet = 0 if left else quiet + 1
        if quiet == 2:  # twice: what was about to begin has begun
            return
        probes = world.size.breaker_waits[1] * (PUT_OFFS + 1) * behind_breakers(world)
        allowed = max(allowed, LAG_SECONDS + BACKOFFS * longest_queue(world) + probes)
        if left and world.loop.time() > min(world.last_death + allowed, healed + 5 * allowed):
            raise Lagging(f"{world.loop.time() - healed:.0f} s after healing: {', '.join(left)}")
        await asyncio.sleep(_LOOK_SECONDS)


async def _stop(world: World) -> None:
    """Everybody says goodbye; nothing may be left of them."""
    lives = list(world.lives.values())
    await asyncio.gather(*(one.spawn(one.stop()) for one in lives))  # of nobody, where poison took the last one
    await asyncio.sleep(0.1)
    for one in lives:
        world.leftovers += [f"{one.process.name} leaves {task!r}" for task in one.leftovers()]


def _failures(world: World) -> Iterator[str]:
    """Errors that nobody handled, but for the deaths that the run ordered."""
    for failure in world.loop.failures:
        if not isinstance(failure.get("exception"), Killed):
            yield f"unhandled: {failure.get('message')} {failure.get('exception')!r}"
