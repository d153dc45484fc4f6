"""A standby takes over: a synchronous one has everything, and what an asynchronous one lacks is counted, not hidden."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import Delivery, Event, EventBus
from holdfast.errors import OutcomeUnknown, StoreUnavailable, WrongStore
from holdfast.testing import LocalPostgres
from tests.chaos.proxy import Proxy
from tests.chaos.servers import BASEBACKUP, Standby, cut_off, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not BASEBACKUP.is_met, reason=f"not run: needs {BASEBACKUP}")
KEYS = 5
LEASE_TTL = 2.0


@contextmanager
def pair(*, synchronous: bool) -> Iterator[tuple[LocalPostgres, Standby]]:
    """A primary with a database, and its standby."""
    with LocalPostgres(fsync=False) as primary:
        with psycopg.connect(primary.dsn(), autocommit=True) as admin:
            admin.execute("create database shop")
        with psycopg.connect(primary.dsn("shop")) as connection:
            connection.execute("create table effects (n integer)")
        standby = Standby(primary)
        try:
            follow(primary, standby, synchronous=synchronous)
            yield primary, standby
        finally:
            standby.close()


def promote(primary: LocalPostgres, standby: Standby) -> None:
    primary.kill()
    standby.promote()
    # Whoever promotes a standby says what commits wait for from now on; it would be a standby that is not there.
    standby.run("alter system reset synchronous_standby_names")
    standby.run("select pg_reload_conf()")


class Shop:
    """A bus that publishes and works, and ledgers of what was acknowledged and of what ran."""

    def __init__(self, dsn: str, spool: Path, runs: list[tuple[str, int]], numbers: count[int]) -> None:
        self.bus = EventBus(dsn, auto_migrate=True, spool=spool, lease_ttl=LEASE_TTL, store_timeout=1, stop_timeout=5)
        self.acknowledged: dict[int, str] = {}
        self.unknown = set[int]()
        self.bus.subscribe("n", self._run, name="plain", concurrency=8)
        self.bus.subscribe("n", self._write, name="within", transactional=True)
        self._runs, self._numbers = runs, numbers

    def _run(self, event: Event) -> None:
        self._runs.append((event.key or "", event.payload))

    async def _write(self, event: Event, delivery: Delivery) -> None:
        await delivery.connection.execute("insert into effects values (%s)", [event.payload])

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """One after the other, inside of the block."""
        task = asyncio.ensure_future(self._publish_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _publish_on(self) -> None:
        for number in self._numbers:
            try:
                published = await self.bus.publish("n", number, key=f"k{number % KEYS}")
            except (OutcomeUnknown, StoreUnavailable):
                self.unknown.add(number)
            else:
                self.acknowledged[number] = published.where


async def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"after {seconds:g} s still not: {what}"
        await asyncio.sleep(0.01)


async def goes_on(shop: Shop) -> None:
    before = len(shop.acknowledged)
    await until(lambda: list(shop.acknowledged.values())[before:].count("store") > 50, "publishing goes on by itself")


def numbers(dsn: str, sql: str) -> Counter[int]:
    with psycopg.connect(dsn) as connection:
        return Counter(int(n) for (n,) in connection.execute(sql))


def stored(dsn: str) -> Counter[int]:
    return numbers(dsn, "select payload::text from holdfast.event_log where event_name = 'n'")


def received(dsn: str, subscription: str) -> Counter[int]:
    return numbers(
        dsn,
        "select e.payload::text from holdfast.event_log as e join holdfast.event_consumers as c on c.event_id = e.id "
        f"where c.consumer_name = '{subscription}'",
    )


def effects(dsn: str) -> Counter[int]:
    return numbers(dsn, "select n from effects")


def in_order(runs: list[tuple[str, int]], which: Counter[int]) -> None:
    """Per key, the first runs of what is left came in the order of publishing."""
    first: dict[str, list[int]] = defaultdict(list)
    for key, number in runs:
        if number in which and number not in first[key]:
            first[key].append(number)
    for key, found in first.items():
        assert found == sorted(found), f"{key}: {found}"


async def test_a_synchronous_standby_loses_nothing_and_the_bus_goes_on_by_itself(tmp_path: Path) -> None:
    with pair(synchronous=True) as (primary, standby):
        # The way of libpq: both hosts, whichever takes writes.
        dsn = (
            f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/shop"
            f"?target_session_attrs=read-write"
        )
        runs: list[tuple[str, int]] = []
        shop = Shop(dsn, tmp_path / "spool", runs, count())
        async with shop.bus:
            async with shop.publishing():
                await until(lambda: len(runs) > 100, "events are handled before the failover")
                await asyncio.to_thread(promote, primary, standby)
                await goes_on(shop)
            await shop.bus.drain(30)

        new = standby.dsn("shop")
        left = stored(new)
        lost = shop.acknowledged.keys() - left.keys()
        print(f"synchronous: {len(shop.acknowledged)} acknowledged, {len(lost)} lost, {len(shop.unknown)} in doubt")
        assert not lost
        assert set(left.values()) == {1}
        assert left.keys() <= shop.acknowledged.keys() | shop.unknown | {max(shop.acknowledged) + 1}
        assert effects(new) == received(new, "within") == received(new, "plain") == left
        assert {number for _, number in runs} == left.keys()
        in_order(runs, left)


async def test_an_asynchronous_standby_lacks_what_it_had_not_got_and_the_rest_goes_on(tmp_path: Path) -> None:
    with pair(synchronous=False) as (primary, standby):
        async with Proxy(primary.port) as proxy:
            runs: list[tuple[str, int]] = []
            common = count()
            shop = Shop(proxy.dsn("shop"), tmp_path / "spool", runs, common)
            late = Shop(proxy.dsn("shop"), tmp_path / "late", runs, common)
            async with shop.bus, AsyncExitStack() as later:
                async with shop.publishing():
                    await until(lambda: len(runs) > 100, "events are handled while the standby follows")
                    await asyncio.to_thread(cut_off, primary, standby)
                    # From here on the standby gets nothing: no event, no receipt, no cursor, and no change of owner.
                    kept = stored(standby.dsn("shop"))
                    await later.enter_async_context(late.bus)
                    reached = len(runs)
                    await until(
                        lambda: len(runs) > reached + 300, "events are handled that the standby will never know"
                    )
                    await asyncio.to_thread(primary.kill)
                    gone = {number for number, where in shop.acknowledged.items() if where == "store"} - kept.keys()
                    await asyncio.to_thread(promote, primary, standby)
                    proxy.target = "127.0.0.1", standby.port
                    proxy.cut()
                    await goes_on(shop)
                await shop.bus.drain(30)

            new = standby.dsn("shop")
            left = stored(new)
            lost = shop.acknowledged.keys() - left.keys()
            print(
                f"asynchronous: {len(shop.acknowledged)} acknowledged, {len(lost)} lost, {len(shop.unknown)} in doubt"
            )
            # Exactly what had not reached the standby is lost, and whoever looks at the ledger can tell which.
            assert lost == gone
            assert len(lost) > 50
            assert kept.keys() <= left.keys()
            assert set(left.values()) == {1}
            # A worker that had a lost event in its hands may still come to its end on the new server: once, too.
            written = effects(new)
            assert written - left <= Counter(lost)
            assert written & left == left
            assert received(new, "within") == left
            assert received(new, "plain") == left
            assert left.keys() <= {number for _, number in runs}
            in_order(runs, left)


async def test_a_standby_is_refused_as_a_store() -> None:
    with pair(synchronous=False) as (primary, standby):
        store = EventBus(primary.dsn("shop"), auto_migrate=True, spool="off")
        await store.publish("n", 1)
        await store.close()
        await until(lambda: has_log(standby), "the standby has the tables")
        bus = EventBus(standby.dsn("shop"))
        with pytest.raises(WrongStore, match="standby"):
            await bus.publish("n", 2)
        with pytest.raises(WrongStore, match="standby"):
            await bus.drain(5)
        await bus.close()


def has_log(standby: Standby) -> bool:
    with psycopg.connect(standby.dsn("shop")) as connection:
        return connection.execute("select to_regclass('holdfast.event_log') is not null").fetchone() == (True,)
