"""
Three services on three databases, joined by a cluster that has bad days; then what became of every event.

The shop publishes orders in transactions of its own, of which some roll back. Stock books each order and, in the same
transaction, publishes that it is reserved. Billing books both, by two worker processes.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from holdfast import EventBus

from .judging import Verdict, booked, count, verdict, workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from .cluster import NatsCluster
    from .databases import Dsns
    from .judging import Worker

KEYS = 40
_PAUSE = 0.05
_PATIENCE = 90.0
_BEHIND = 500


class Recovery(NamedTuple):
    """How long it took until one event of each key, published after the fault, had its effect in the last service."""

    fault: str
    seconds: float


class Report(NamedTuple):
    """
    Attributes:
        orders: Committed by the shop.
        rolled_back: Of which nothing may be seen.
        verdicts: By service.
        effects: Transactional ones, in both services.
        recoveries: In the order of the faults.
    """

    orders: int
    rolled_back: int
    verdicts: dict[str, Verdict]
    effects: int
    recoveries: tuple[Recovery, ...]


class Shop:
    """Publishes orders until it is told to stop."""

    def __init__(self, bus: EventBus, dsns: Dsns) -> None:
        self._bus, self._dsn, self._last = bus, dsns.shop, dsns.billing
        self.committed: list[str] = []
        self.rolled_back = 0
        self._places = [0] * KEYS
        self._chance = random.Random(7)  # the same orders in every run
        self._taking = asyncio.Lock()
        self.closed = asyncio.Event()

    async def take_orders(self) -> None:
        """Twenty at a time, each lot in a transaction with its rows; not many more than the last service keeps up with."""
        async with await psycopg.AsyncConnection.connect(self._dsn) as connection:
            while not self.closed.is_set():
                keys = [self._chance.randrange(KEYS) for _ in range(20)]
                await self._take(connection, keys, is_good=self._chance.random() < 0.9)
                await asyncio.sleep(_PAUSE)
                while not self.closed.is_set() and self._is_ahead():  # noqa: ASYNC110 - nothing tells it
                    await asyncio.sleep(_PAUSE)

    def _is_ahead(self) -> bool:
        return 2 * len(self.committed) - count(self._last) > _BEHIND

    async def _take(self, connection: psycopg.AsyncConnection[Any], keys: list[int], *, is_good: bool) -> list[str]:
        async with self._taking:
            return await self._take_alone(connection, keys, is_good=is_good)

    async def _take_alone(self, connection: Any, keys: list[int], *, is_good: bool) -> list[str]:
        places, items = list(self._places), []
        for key in keys:
            items.append({"name": "order.placed", "payload": {"place": places[key]}, "key": f"k{key}",
                          "tenant_id": f"t{key % 3}"})  # fmt: skip
            places[key] += 1
        async with connection.cursor() as cursor:
            await cursor.executemany("insert into public.orders (key) values (%s)", [(item["key"],) for item in items])
        published = await self._bus.publish_many(items, tx=connection)
        if not is_good:
            await connection.rollback()
            self.rolled_back += len(items)
            return []
        await connection.commit()
        ids = [str(one.event_id) for one in published]
        self.committed += ids
        self._places = places
        return ids

    async def one_of_each_key(self) -> list[str]:
        """Ids of orders that are taken now."""
        async with await psycopg.AsyncConnection.connect(self._dsn) as connection:
            return await self._take(connection, list(range(KEYS)), is_good=True)


class Day:
    """What a fault may reach for."""

    def __init__(self, cluster: NatsCluster, stream: str, workers: list[Worker]) -> None:
        self.cluster, self.stream, self.workers = cluster, stream, workers

    async def worker_killed(self, recovered: Callable[[], Awaitable[None]]) -> None:
        self.workers[0].kill()
        await recovered()
        self.workers[0].start()

    async def leader_moved(self, recovered: Callable[[], Awaitable[None]]) -> None:
        await self.cluster.step_down(self.stream)
        await recovered()

    async def node_killed(self, recovered: Callable[[], Awaitable[None]]) -> None:
        node = self.cluster.nodes[await self.cluster.leader(self.stream)]
        node.kill()
        await recovered()
        node.start()

    async def node_stopped(self, recovered: Callable[[], Awaitable[None]]) -> None:
        node = self.cluster.nodes[await self.cluster.leader(self.stream)]
        node.freeze()
        await recovered()
        node.thaw()

    async def node_cut_off(self, recovered: Callable[[], Awaitable[None]]) -> None:
        node = self.cluster.nodes[await self.cluster.leader(self.stream)]
        node.configure(cut_off=True)
        node.reload()
        await recovered()
        node.configure()
        node.reload()

    async def engine_away(self, recovered: Callable[[], Awaitable[None]]) -> None:
        for node in self.cluster.nodes:
            node.kill()
        await asyncio.sleep(3)
        for node in self.cluster.nodes:
            node.start()
        await recovered()


FAULTS = ("worker_killed", "leader_moved", "node_killed", "node_stopped", "node_cut_off", "engine_away")


async def campaign(
    cluster: NatsCluster, dsns: Dsns, folder: Path, stream: str, *, faults: tuple[str, ...] = FAULTS, rest: float = 0
) -> Report:
    """
    Have the services work while each of *faults* comes and goes.

    Args:
        folder: For what the processes say.
        rest: Seconds of work before each fault.
    """
    transport = cluster.address(stream, "partitions=6")
    both = {
        "transport": transport,
        "patterns": ["order.placed", "stock.reserved"],
        "service": "billing",
        "dsn": dsns.billing,
    }
    stock = {"transport": transport, "patterns": "order.placed", "service": "stock", "dsn": dsns.stock,
             "answer": "stock.reserved"}  # fmt: skip
    bus = EventBus(dsns.shop, transport=transport, service="shop", spool="off", lease_ttl=2, stop_timeout=5)
    recoveries = []
    with workers(folder, both, both, stock) as processes:
        day = Day(cluster, stream, processes)
        async with bus, _orders(Shop(bus, dsns)) as shop:
            await _all_there(dsns.billing, await shop.one_of_each_key())
            for fault in faults:
                await asyncio.sleep(rest)
                recoveries.append(Recovery(fault, await _recovery(day, fault, shop, dsns.billing)))
                await cluster.heal(stream)
        async with bus:
            await bus.drain(_PATIENCE)
            wanted = 2 * len(shop.committed)
            async with asyncio.timeout(_PATIENCE):
                while count(dsns.billing) < wanted or count(dsns.stock) < len(shop.committed):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE)
    reserved = booked_ids(dsns.stock, "select id::text from event_log where event_name = 'stock.reserved'")
    effects = {"billing": booked(dsns.billing), "stock": booked(dsns.stock)}
    verdicts = {
        "billing": verdict(effects["billing"], [*shop.committed, *reserved]),
        "stock": verdict(effects["stock"], shop.committed),
    }
    return Report(
        len(shop.committed), shop.rolled_back, verdicts, sum(map(len, effects.values())), tuple(recoveries)
    )  # fmt: skip


@asynccontextmanager
async def _orders(shop: Shop) -> AsyncIterator[Shop]:
    taking = asyncio.create_task(shop.take_orders())
    try:
        yield shop
        assert not taking.done(), taking
    finally:
        shop.closed.set()  # not in the midst of a commit, whose orders would be there and not counted
        await asyncio.gather(taking, return_exceptions=True)


async def _recovery(day: Day, fault: str, shop: Shop, dsn: str) -> float:
    seconds = 0.0

    async def recovered() -> None:
        nonlocal seconds
        begun = time.monotonic()
        await _all_there(dsn, await shop.one_of_each_key())
        seconds = time.monotonic() - begun

    await getattr(day, fault)(recovered)
    return seconds


async def _all_there(dsn: str, ids: list[str]) -> None:
    async with asyncio.timeout(_PATIENCE), await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            cursor = await connection.execute("select count(*) from public.booked where id = any(%s::uuid[])", (ids,))
            (found,) = await cursor.fetchone() or (0,)
            if found >= len(ids):
                return
            await asyncio.sleep(_PAUSE)


def booked_ids(dsn: str, query: str) -> list[str]:
    with psycopg.connect(dsn, options="-c search_path=holdfast") as connection:
        return [one for (one,) in connection.execute(query).fetchall()]
