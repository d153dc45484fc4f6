"""A dump restored into another server: refused, said so, repaired; nothing is lost, and what was done is not repeated."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from holdfast import Event, EventBus, Reject, RetryPolicy
from holdfast.errors import ConfigurationError, StoreBusy, WrongStore
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from holdfast.testing import LocalPostgres, find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.stores.records import Restored


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[LocalPostgres, LocalPostgres]]:
    with LocalPostgres(fsync=False) as one, LocalPostgres(fsync=False) as other:
        yield one, other


class Copies:
    """A database on one server, and, after `restore`, its copy on the other one."""

    def __init__(self, one: LocalPostgres, other: LocalPostgres) -> None:
        self.name = f"restored_{uuid4().hex[:8]}"
        self.original, self.copy = one.dsn(self.name), other.dsn(self.name)
        for server in (one, other):
            with psycopg.connect(server.dsn(), autocommit=True) as admin:
                admin.execute(f"create database {self.name}")

    def restore(self) -> None:
        folder = find_binaries()
        assert folder is not None
        dump = subprocess.run([folder / "pg_dump", self.original], capture_output=True, check=True).stdout
        subprocess.run(
            [folder / "psql", "-qX", "-v", "ON_ERROR_STOP=1", self.copy], input=dump, capture_output=True, check=True
        )

    def run(self, dsn: str, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn, autocommit=True, options="-c search_path=holdfast") as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    async def repair(self) -> Restored:
        store = make_store(self.copy, timeout=10)
        inspector, operator = make_inspector(store)
        try:
            return await operator.after_restore(actor="ann")
        finally:
            await inspector.close()
            await store.close()


@pytest.fixture
def copies(servers: tuple[LocalPostgres, LocalPostgres]) -> Copies:
    return Copies(*servers)


class Shop:
    """One program with two subscriptions: 7 is rejected, 9 fails the first time."""

    def __init__(self, dsn: str) -> None:
        self.bus = EventBus(dsn, auto_migrate=True, spool="off", stop_timeout=2)
        self.seen: dict[str, list[int]] = {"all": [], "beginning": []}
        self.bus.subscribe("n", self.handler("all"), name="all", partitions=3, retry=RetryPolicy(base=0))
        self.bus.subscribe("**", self.handler("beginning"), name="beginning", partitions=2, start="beginning")

    def handler(self, name: str) -> Callable[[Event], None]:
        def handle(event: Event) -> None:
            if not isinstance(number := event.payload, int):
                return  # the news of the dead one
            if number == 7 and name == "all":
                raise Reject("seven")
            self.seen[name].append(number)

        return handle

    async def publish(self, *numbers: int) -> None:
        await self.bus.publish_many([{"name": "n", "payload": n, "key": f"k{n % 4}"} for n in numbers])


async def test_what_was_not_handled_is_handled_once_and_what_was_is_not_again(copies: Copies) -> None:
    first = Shop(copies.original)
    await first.publish(*range(10))
    await first.bus.drain(10)
    await first.bus.close()
    # Stored and not handled: committed before and after the place of the cursors, one of them by an older transaction.
    with psycopg.connect(copies.original) as late:
        late.execute("insert into holdfast.event_store (event_name, event_key, payload) values ('n', 'k0', '100')")
        await first.publish(*range(10, 20))
        await first.bus.close()
        late.commit()
    assert first.seen["all"] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    copies.restore()

    copy = Shop(copies.copy)
    with pytest.raises(WrongStore, match="--after-restore"):
        await copy.publish(20)
    await copy.bus.close()
    repaired = await copies.repair()
    assert (repaired.deliveries, repaired.events) == (2 * 11, 22)  # 21 of ours, and the news of the dead one
    with pytest.raises(ConfigurationError, match="nothing to repair"):
        await copies.repair()

    copy = Shop(copies.copy)
    await copy.publish(20)
    await copy.bus.drain(10)
    for seen in copy.seen.values():
        assert sorted(seen) == [*range(10, 21), 100], "all that waited, and what is new, once"
        for key in range(4):
            own = [n for n in seen if n % 4 == key and n != 100]
            assert own == sorted(own), "in the order of their key"
    await copy.bus.close()
    assert copies.run(copies.copy, "select status, count(*) from event_store group by 1 order by 1") == [
        ("dead", 1), ("processed", 22),
    ]  # fmt: skip
    assert copies.run(copies.copy, "select actor, action, count, allowed from audit order by id") == [
        ("ann", "after restore", 22, True), ("ann", "after restore", None, False),
    ]  # fmt: skip


async def test_what_cursors_of_the_old_server_would_hide_is_seen_after_the_repair(copies: Copies) -> None:
    """The old server was far ahead: its cursors show transactions that the new one has yet to run."""
    first = Shop(copies.original)
    await first.publish(0)
    copies.run(copies.original, "begin; select pg_current_xact_id(); rollback;" * 2000)
    await first.bus.drain(10)
    await first.bus.close()
    copies.restore()
    copies.run(copies.copy, "update meta set system_identifier = (pg_control_system()).system_identifier")
    copies.run(copies.copy, "insert into event_store (event_name, payload) values ('n', '1')")
    hidden = """
        select count(*) from event_log
        where payload::text = '1' and pg_visible_in_snapshot(txid, (select max(done::text)::pg_snapshot from cursors))
    """
    assert copies.run(copies.copy, hidden) == [(1,)], "without the check and the repair it would be lost"
    with pytest.raises(WrongStore, match="--after-restore"):
        await Shop(copies.copy).publish(2)
    await copies.repair()
    copy = Shop(copies.copy)
    await copy.publish(2)
    await copy.bus.drain(10)
    await copy.bus.close()
    assert copy.seen["all"][-1] == 2


async def test_publishers_are_kept_out_while_the_repair_waits_for_one(copies: Copies) -> None:
    await Shop(copies.original).publish(0)
    copies.restore()
    with psycopg.connect(copies.copy) as publisher:
        publisher.execute("insert into holdfast.event_store (event_name, payload) values ('n', '1')")
        with pytest.raises(StoreBusy):
            await copies.repair()
    assert (await copies.repair()).events == 2


def test_the_command(copies: Copies, tmp_path: Path) -> None:
    def holdfast(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "holdfast", *arguments, "--dsn", copies.copy],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip

    asyncio.run(Shop(copies.original).publish(1, 2, 3))
    copies.restore()
    assert "--after-restore" in holdfast("doctor").stdout
    refused = holdfast("migrate")
    assert (refused.returncode, "--after-restore" in refused.stderr) == (1, True)
    done = holdfast("migrate", "--after-restore", "--yes")
    assert (done.returncode, done.stdout) == (0, "Repaired: 3 events are kept, 6 deliveries wait to be handled.\n")
    assert holdfast("doctor").returncode == 0
    again = holdfast("migrate", "--after-restore", "--yes")
    assert (again.returncode, "nothing to repair" in again.stderr) == (1, True)
