"""Transactions that handlers and callers share with the SQLite store, and who waits for whom."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from holdfast.errors import StoreBusy, StoreUnavailable, TransactionError, WrongStore
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Appended, Parked, Receipt, State
from tests.unit.sqlite_harness import event, leased, rows_of, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from holdfast.event import Row
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.values import Lease

FILE, MEMORY = "file", "memory"


@pytest.fixture(params=[FILE, MEMORY])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(str(tmp_path / "events.db") if request.param == FILE else None, timeout=0.2)
    await store.open()
    await store._writer.run(lambda session: session.connection.execute("create table orders (id integer)"))
    yield store
    await store.close()


@pytest.fixture
async def lease(store: SQLiteStore) -> Lease:
    return await leased(store)


@pytest.fixture
async def row(store: SQLiteStore, lease: Lease) -> Row:
    await store.append([event()], atomic=True)
    (row,) = await rows_of(store)
    return row


def write(connection: sqlite3.Connection) -> None:
    connection.execute("insert into orders values (1)")


async def handle(
    store: SQLiteStore,
    receipt: Receipt,
    epoch: int,
    meddle: Callable[[sqlite3.Connection], object] = lambda _: None,
    error: Exception | None = None,
) -> bool:
    """A transactional handler that writes an order; returns whether it was passed over."""
    async with store.transaction(receipt, epoch) as transaction:
        if not transaction.passed:
            write(transaction.connection)
            meddle(transaction.connection)
            if error:
                raise error
        return transaction.passed


async def orders(store: SQLiteStore) -> int:
    ((count,),) = await store._writer.run(
        lambda session: session.connection.execute("select count(*) from orders").fetchall()
    )
    return count


async def has_receipt(store: SQLiteStore, lease: Lease, row: Row) -> bool:
    return bool(await store.known(lease.slice.subscription, [(row.id, 0)]))


class TestHandlerTransactions:
    async def test_effect_and_receipt_come_together_once(self, store, lease, row):
        receipt = Receipt(lease.slice, row.id, 0)
        assert [await handle(store, receipt, lease.epoch) for _ in range(3)] == [False, True, True]

        assert (await orders(store), await has_receipt(store, lease, row)) == (1, True)

    async def test_whoever_commits_waits_for_the_disk(self, store, lease, row):
        def waits(connection: sqlite3.Connection) -> bool:
            return connection.execute("pragma synchronous").fetchone() == (2,)  # FULL: the log is synced at each commit

        assert await store._writer.run(lambda session: waits(session.connection))
        async with store.transaction(Receipt(lease.slice, row.id, 0), lease.epoch) as transaction:
            assert waits(transaction.connection)

    async def test_in_a_thread_too(self, store, lease, row):
        def in_thread() -> bool:
            with store.transaction_sync(Receipt(lease.slice, row.id, 0), lease.epoch) as transaction:
                if not transaction.passed:
                    write(transaction.connection)
                return transaction.passed

        assert await asyncio.gather(*(asyncio.to_thread(in_thread) for _ in range(4))) in (
            [False, True, True, True],
            [True, False, True, True],
            [True, True, False, True],
            [True, True, True, False],
        )
        assert await orders(store) == 1

    async def test_an_error_leaves_neither(self, store, lease, row):
        with pytest.raises(ZeroDivisionError):
            await handle(store, Receipt(lease.slice, row.id, 0), lease.epoch, error=ZeroDivisionError())

        assert (await orders(store), await has_receipt(store, lease, row)) == (0, False)

    async def test_a_lost_lease_and_a_dead_event_pass(self, store, lease, row):
        receipt = Receipt(lease.slice, row.id, 0)
        async with store.transaction(receipt, lease.epoch + 1) as transaction:
            assert transaction.passed
        await settle(store, lease, parked=[Parked(lease.slice, row, State.DEAD, 5)])
        async with store.transaction(receipt, lease.epoch) as transaction:
            assert transaction.passed

    async def test_a_replay_has_one_effect_and_takes_its_row_along(self, store, lease, row):
        await settle(
            store, lease, receipts=[Receipt(lease.slice, row.id, 0)], parked=[Parked(lease.slice, row, State.RUNNING)]
        )
        replay = Receipt(lease.slice, row.id, 0, attempts=3, replaces=True)
        with pytest.raises(ZeroDivisionError):
            await handle(store, replay, lease.epoch, error=ZeroDivisionError())
        assert len(await store.suspects([lease.slice])) == 1

        assert [await handle(store, replay, lease.epoch) for _ in range(2)] == [False, True]
        assert (await orders(store), await store.suspects([lease.slice])) == (1, [])

    @pytest.mark.parametrize(
        "meddle",
        [
            lambda connection: connection.commit(),
            lambda connection: connection.rollback(),
            lambda connection: connection.execute("commit").connection.execute("begin"),
            lambda connection: connection.executescript("select 1"),
            lambda connection: connection.__exit__(None, None, None),
        ],
    )
    async def test_a_handler_that_ends_the_transaction_is_told_loudly(self, store, lease, row, meddle):
        for error in (None, ValueError()):
            with pytest.raises(TransactionError, match="ended the transaction") as caught:
                await handle(store, Receipt(lease.slice, uuid4().bytes, 0), lease.epoch, meddle, error)
            assert caught.value.__cause__ is error

        await store.append([event()], atomic=True)

    async def test_savepoints_of_the_handler_are_its_own(self, store, lease, row):
        async with store.transaction(Receipt(lease.slice, row.id, 0), lease.epoch) as transaction:
            write(transaction.connection)
            transaction.connection.execute("savepoint mine")
            write(transaction.connection)
            transaction.connection.execute("rollback to mine")

        assert await orders(store) == 1

    async def test_settings_of_one_handler_do_not_reach_the_next(self, store, lease):
        for _ in range(2):
            async with store.transaction(Receipt(lease.slice, uuid4().bytes, 0), lease.epoch) as transaction:
                assert transaction.connection.execute("select 'a'").fetchone() == ("a",)
                transaction.connection.row_factory = sqlite3.Row
                transaction.connection.text_factory = bytes

    async def test_they_queue_and_everyone_gets_a_turn(self, store, lease):
        writes = [store.append([event()], atomic=True) for _ in range(30)]
        handlers = [handle(store, Receipt(lease.slice, uuid4().bytes, 0), lease.epoch) for _ in range(30)]
        await asyncio.gather(*handlers, *writes)

        assert await orders(store) == 30
        assert len(await rows_of(store)) == 30

    async def test_a_cancelled_handler_frees_the_lock(self, store, lease, row):
        inside, entered = asyncio.Event(), []

        async def hang() -> None:
            async with store.transaction(Receipt(lease.slice, row.id, 0), lease.epoch) as transaction:
                entered.append(write(transaction.connection))
                inside.set()
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(hang()) for _ in range(3)]  # two of them wait to come in
        await inside.wait()
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async with store.transaction(Receipt(lease.slice, row.id, 0), lease.epoch) as transaction:
            assert not transaction.passed
        assert (await orders(store), len(entered)) == (0, 1)

    async def test_others_are_told_that_the_store_is_busy(self, store, lease, row):
        async with store.transaction(Receipt(lease.slice, row.id, 0), lease.epoch):
            with pytest.raises(StoreBusy):
                await store.append([event()], atomic=True)
        await store.append([event()], atomic=True)

    async def test_publishing_inside_joins(self, store, lease, row):
        receipt, inside = Receipt(lease.slice, row.id, 0), event()

        def publish(connection: sqlite3.Connection) -> None:
            assert store.append_within_sync(connection, [inside]) == [Appended.STORED]

        with pytest.raises(ZeroDivisionError):
            await handle(store, receipt, lease.epoch, publish, ZeroDivisionError())
        assert len(await rows_of(store)) == 1
        await handle(store, receipt, lease.epoch, publish)
        assert len(await rows_of(store)) == 2

    async def test_closing_lets_go_who_queues_and_lets_end_who_is_in(self, store, lease, row):
        async with store.transaction(Receipt(lease.slice, row.id, 0), lease.epoch) as transaction:
            write(transaction.connection)
            late = asyncio.create_task(handle(store, Receipt(lease.slice, row.id, 0), lease.epoch))
            await asyncio.sleep(0)  # it queues now
            store._transactions.close()
            with pytest.raises(StoreUnavailable):
                await late

        assert (await orders(store), await has_receipt(store, lease, row)) == (1, True)


class TestTheCallersTransaction:
    @pytest.fixture
    async def store(self, tmp_path) -> AsyncIterator[SQLiteStore]:
        store = SQLiteStore(str(tmp_path / "events.db"))
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    def shop(self, tmp_path):
        with closing(sqlite3.connect(tmp_path / "events.db", timeout=0.1)) as connection:
            yield connection

    async def test_events_come_and_go_with_it(self, store, shop):
        assert store.append_within_sync(shop, [event(key=str(number)) for number in range(3)]) == [Appended.STORED] * 3
        shop.rollback()
        assert await rows_of(store) == []

        await store.append_within(shop, [event(key=str(number)) for number in range(3)])
        shop.commit()
        assert [row.key for row in await rows_of(store)] == ["0", "1", "2"]

    async def test_known_ids_are_told_apart(self, store, shop):
        known = event()
        await store.append([known], atomic=True)
        batch = [known, new := event(), known._replace(key="other"), new]

        assert store.append_within_sync(shop, batch) == [
            Appended.DUPLICATE,
            Appended.STORED,
            Appended.CONFLICT,
            Appended.DUPLICATE,
        ]
        shop.commit()
        assert len(await rows_of(store)) == 2

    async def test_whatever_its_factories_are(self, store, shop):
        known = event()
        await store.append([known], atomic=True)
        shop.row_factory, shop.text_factory = sqlite3.Row, lambda raw: raw.decode().upper()

        assert store.append_within_sync(shop, [event()]) == [Appended.STORED]

    async def test_another_store_is_refused(self, store, tmp_path):
        other = SQLiteStore(str(tmp_path / "other.db"))
        await other.open()
        with closing(sqlite3.connect(tmp_path / "other.db")) as shop, pytest.raises(WrongStore):
            store.append_within_sync(shop, [event()])
        assert await rows_of(other) == []
        await other.close()
        with closing(sqlite3.connect(":memory:")) as shop, pytest.raises(WrongStore):
            store.append_within_sync(shop, [event()])

    async def test_a_transaction_that_read_before_another_wrote_may_try_again(self, store, shop):
        shop.execute("begin")
        shop.execute("select count(*) from event_log").fetchall()
        await store.append([event()], atomic=True)

        with pytest.raises(StoreBusy) as caught:
            store.append_within_sync(shop, [event()])
        assert caught.value.code == "SQLITE_BUSY_SNAPSHOT"
        shop.rollback()
        assert store.append_within_sync(shop, [event()]) == [Appended.STORED]

    async def test_a_writer_that_keeps_the_lock_is_waited_for_and_then_named(self, store, shop, tmp_path):
        busy = SQLiteStore(str(tmp_path / "events.db"), timeout=0.1)
        await busy.open()
        shop.execute("begin immediate")

        with pytest.raises(StoreBusy):
            await busy.append([event()], atomic=True)
        shop.rollback()
        assert await busy.append([event()], atomic=True) == [Appended.STORED]
        await busy.close()

    async def test_waits_for_a_write_of_the_store_from_its_beginning(self, store, tmp_path):
        def write_slowly(session: Session) -> None:
            with session.write(), closing(sqlite3.connect(tmp_path / "events.db", timeout=0)) as shop:
                session.rows("horizon")  # no write yet
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    shop.execute("begin immediate")

        await store._writer.run(write_slowly)
