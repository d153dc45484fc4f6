"""The four scenarios, each played for real."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from holdfast.demo.scene import BURST
from holdfast.demo.workload import FLAKY, mixed, shop_traffic, with_failures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from holdfast.demo.scene import Scene
    from holdfast.demo.workload import Item

WORKERS = 3
FLAKY_EVENTS, POISON_EVENTS = 12, 3


async def worker_killed(scene: Scene) -> None:
    """Kill -9 in mid-run; a new worker takes over."""
    worker = scene.start_worker()
    total = sum(len(item.expected) for item in scene.items)
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(scene.publish(scene.items))
        await scene.until(lambda: len(scene.ledger.handled) >= total // 3, "a moment to kill")
        scene.require(len(scene.ledger.handled) < total, "the worker was through before it could be killed")
        scene.kill_worker(worker)
        scene.say(f"kill -9 {worker.pid} after {len(scene.ledger.handled):,} of {total:,} deliveries")
        killed_at, successor = scene.seconds, scene.start_worker()
        await scene.until(lambda: successor.pid in scene.ledger.pids, "the take-over")
        scene.say(f"worker {successor.pid} has taken over {scene.seconds - killed_at:.2f} s after the kill")
        await publishing


async def database_lost(scene: Scene) -> None:
    """The database goes away and comes back; publishing goes on, through the spool."""
    items, third = iter(scene.items), len(scene.items) // 3
    scene.start_worker()
    await scene.publish(islice(items, third))
    await scene.until(lambda: scene.ledger.handled, "the first handled events")
    async with scene.store_away():
        await scene.publish(islice(items, third))
        scene.say(f"{scene.where['spool']:,} events went into the spool")
        scene.require(scene.where["spool"], "no event went into the spool")
    await scene.publish(items)


async def workers_compete(scene: Scene) -> None:
    """Three workers share the subscriptions; none is handed what another one has."""
    workers = {scene.start_worker().pid for _ in range(WORKERS)}
    items = iter(scene.items)
    await scene.publish(islice(items, BURST))
    await scene.until_shared(WORKERS)
    scene.say(f"{WORKERS} workers have shared the partitions")
    await scene.publish(items)
    await scene.until_settled()
    shares = Counter(line.pid for line in scene.ledger.lines)
    scene.say("handled by each: " + ", ".join(f"{pid}: {count:,}" for pid, count in shares.items()))
    scene.require(shares.keys() >= workers, f"only {len(shares)} of {WORKERS} workers had a share")


async def handlers_fail(scene: Scene) -> None:
    """Some handlers fail twice and then succeed, some always."""
    scene.say(f"{FLAKY_EVENTS} payments fail {FLAKY} times, {POISON_EVENTS} always")
    scene.start_worker()
    await scene.publish(scene.items)


class Scenario(NamedTuple):
    """A scenario: its name in files, its title, and how it is played."""

    name: str
    title: str
    play: Callable[[Scene], Awaitable[None]]
    flaky: int = 0
    poison: int = 0

    def items(self, count: int, others: Sequence[Item]) -> list[Item]:
        """*count* events of the shops mixed with the *others*."""
        shop = shop_traffic(count, seed=len(self.name))
        return mixed(with_failures(shop, flaky=self.flaky, poison=self.poison), others)


SCENARIOS = (
    Scenario("killed", "worker gets SIGKILL", worker_killed),
    Scenario("lost-database", "database goes away", database_lost),
    Scenario("competing", "three workers compete", workers_compete),
    Scenario("failing", "handlers fail", handlers_fail, FLAKY_EVENTS, POISON_EVENTS),
)
