"""The loop of the simulation: time that jumps, an order that the seed chooses, processes that vanish."""

from __future__ import annotations

import asyncio
from contextvars import Context
from random import Random

import pytest

from tests.simulation.loop import PROCESS, Deadlock, Livelock, Process, SimulatedLoop


def loop_of(seed: int = 0, disorder: float = 0.5) -> SimulatedLoop:
    return SimulatedLoop(Random(seed), disorder=disorder)


def spawn(loop, process, work):
    context = Context()
    context.run(PROCESS.set, process)
    return context.run(loop.create_task, work)


def order_of(loop) -> list[int]:
    """The order in which ten tasks that do not wait for each other get to run."""
    order = []

    async def one(number):
        order.append(number)

    async def main():
        await asyncio.gather(*(one(number) for number in range(10)))

    loop.run(main())
    return order


def test_time_jumps_to_the_next_timer():
    loop = loop_of()
    loop.run(asyncio.sleep(3600))
    assert loop.time() == 3600


def test_timeouts_of_asyncio_work():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().create_future()

    loop = loop_of()
    loop.run(main())
    assert loop.time() == 5


def test_the_seed_chooses_the_order_and_repeats_it():
    assert order_of(loop_of(1)) == order_of(loop_of(1))
    assert len({tuple(order_of(loop_of(seed))) for seed in range(20)}) > 10


def test_without_disorder_it_is_the_order_of_asyncio():
    assert order_of(loop_of(disorder=0.0)) == list(range(10))


def test_waiting_for_nothing_is_a_deadlock():
    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        loop_of().run(main())


def test_running_on_the_spot_is_a_livelock():
    async def main():
        while True:  # noqa: ASYNC110 - that is the livelock
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        loop_of().run(main())


def test_a_killed_process_cleans_nothing_up():
    loop, process, seen = loop_of(), Process("app"), []

    async def live():
        try:
            seen.append("begins")
            await asyncio.sleep(10)
        finally:
            seen.append("cleans up")

    async def main():
        spawn(loop, process, live())
        await asyncio.sleep(5)
        process.kill()
        await asyncio.sleep(60)

    loop.run(main())
    assert seen == ["begins"]
    loop.bury(process.tasks)


def test_a_paused_process_does_later_what_fell_due():
    loop, process, seen = loop_of(), Process("app"), []

    async def live():
        await asyncio.sleep(10)
        seen.append(loop.time())

    async def main():
        task = spawn(loop, process, live())
        await asyncio.sleep(1)
        process.pause()
        loop.call_later(30, process.resume, loop)
        await task

    loop.run(main())
    assert seen == [31]
