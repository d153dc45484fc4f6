"""Transactional handlers: the effect and the receipt commit together, or neither does."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

import psycopg
import pytest

from holdfast.errors import LeaseLost, StoreBusy, TransactionError
from holdfast.stores.values import Revised, State
from tests.contract.harness import receipt


class Handling:
    """Runs handlers in transactions of one store, of the one kind or the other."""

    def __init__(self, scene, *, in_thread: bool) -> None:
        self.scene, self.in_thread = scene, in_thread

    async def begun(self, *keys: str):
        """A lease, and the events that its handler is to write into the table ``effects``."""
        await self.scene.sql(f"create table {self._local('effects')} (key text)")
        lease = await self.scene.leased()
        await self.scene.publish(*keys)
        return lease, await self.scene.rows(lease)

    async def run(self, one_receipt, epoch, handler) -> bool:
        """Returns whether the handler was run. *handler* gets ``sql``, which runs a statement in the transaction."""
        if self.in_thread:
            return await asyncio.to_thread(self._run_in_thread, one_receipt, epoch, handler)
        async with self.scene.store.transaction(one_receipt, epoch) as transaction:
            if transaction.passed:
                return False
            await self._drive(transaction.connection, handler)
            return True

    def _run_in_thread(self, one_receipt, epoch, handler) -> bool:
        with self.scene.store.transaction_sync(one_receipt, epoch) as transaction:
            if transaction.passed:
                return False
            for step in handler:
                step(transaction.connection) if callable(step) else transaction.connection.execute(self._local(step))
            return True

    async def _drive(self, connection, handler) -> None:
        for step in handler:
            result = step(connection) if callable(step) else connection.execute(self._local(step))
            if asyncio.iscoroutine(result):
                await result

    def _local(self, statement: str) -> str:
        schema = "public.effects" if self.scene.kind == "postgres" else "effects"
        return statement.replace("effects", schema)

    async def effects(self) -> list[str]:
        return [key for (key,) in await self.scene.sql("select key from effects order by 1")]

    async def results(self) -> tuple[list[str], int]:
        """The effects, and the number of receipts."""
        return await self.effects(), len(await self.scene.consumed())


@pytest.fixture(params=[False, True], ids=["async", "in a thread"])
def handling(scene, request) -> Handling:
    return Handling(scene, in_thread=request.param)


def fail(error: BaseException, _connection) -> None:
    raise error


EFFECT = "insert into effects values ('a')"


class TestTheTransaction:
    async def test_commits_the_effect_and_the_receipt_together(self, handling):
        lease, (row,) = await handling.begun("a")
        assert await handling.run(receipt(lease, row, attempts=3), lease.epoch, [EFFECT])
        assert await handling.results() == (["a"], 1)
        assert [attempts for _, _, attempts in await handling.scene.consumed()] == [3]

    async def test_commits_the_receipt_of_a_handler_that_writes_nothing(self, handling):
        lease, (row,) = await handling.begun("a")
        assert await handling.run(receipt(lease, row), lease.epoch, [])
        assert await handling.results() == ([], 1)

    @pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError()])
    async def test_takes_both_back_when_the_handler_raises_and_lets_its_error_out(self, handling, error):
        lease, (row,) = await handling.begun("a")
        with pytest.raises(type(error)) as raised:
            await handling.run(receipt(lease, row), lease.epoch, [EFFECT, partial(fail, error)])
        assert raised.value is error
        assert await handling.results() == ([], 0)
        assert await handling.run(receipt(lease, row), lease.epoch, [EFFECT])
        assert await handling.results() == (["a"], 1)

    async def test_lets_the_drivers_own_errors_out_as_they_are(self, handling):
        lease, (row,) = await handling.begun("a")
        with pytest.raises((sqlite3.OperationalError, psycopg.errors.UndefinedTable)):
            await handling.run(receipt(lease, row), lease.epoch, [EFFECT, "insert into nowhere values (1)"])
        assert await handling.results() == ([], 0)

    async def test_keeps_savepoints_to_the_handler(self, handling):
        lease, (row,) = await handling.begun("a")
        steps = [
            "savepoint one", EFFECT, "rollback to savepoint one", "insert into effects values ('b')",
            "release savepoint one", "savepoint left_open", "insert into effects values ('c')",
        ]  # fmt: skip
        assert await handling.run(receipt(lease, row), lease.epoch, steps)
        assert await handling.results() == (["b", "c"], 1)

    async def test_is_not_seen_before_it_commits(self, handling):
        if handling.scene.kind == "memory":
            pytest.skip("memory has one connection")
        lease, (row,) = await handling.begun("a")
        seen = []
        if handling.in_thread:

            def look(_connection) -> None:
                seen.append(asyncio.run_coroutine_threadsafe(handling.results(), loop).result(10))

            loop = asyncio.get_running_loop()
        else:

            async def look(_connection) -> None:
                seen.append(await handling.results())

        await handling.run(receipt(lease, row), lease.epoch, [EFFECT, look])
        assert seen == [([], 0)]

    async def test_of_many_events_at_once_does_each(self, handling):
        keys = [f"{number:02}" for number in range(20)]
        lease, rows = await handling.begun(*keys)
        ran = await asyncio.gather(
            *(
                handling.run(receipt(lease, row), lease.epoch, [f"insert into effects values ('{row.key}')"])
                for row in rows
            )
        )
        assert all(ran)
        assert await handling.results() == (keys, 20)


class TestAnEventIsPassedOver:
    async def test_that_was_handled_before(self, handling):
        lease, (row,) = await handling.begun("a")
        await handling.scene.settle(lease, receipts=[receipt(lease, row)])
        assert not await handling.run(receipt(lease, row), lease.epoch, [EFFECT])
        assert await handling.results() == ([], 1)

    async def test_whose_commit_has_lost_its_answer(self, handling):
        lease, (row,) = await handling.begun("a")
        ran = [await handling.run(receipt(lease, row), lease.epoch, [EFFECT]) for _ in range(3)]
        assert ran == [True, False, False]
        assert await handling.results() == (["a"], 1)

    @pytest.mark.parametrize("state", [State.DEAD, State.DISCARDED])
    async def test_that_is_dead_or_discarded(self, handling, state):
        lease, (row,) = await handling.begun("a")
        await handling.scene.park(lease, [row], state)
        assert not await handling.run(receipt(lease, row), lease.epoch, [EFFECT])
        assert await handling.results() == ([], 0)

    async def test_whose_lease_is_lost(self, handling):
        lease, (row,) = await handling.begun("a")
        taken = await handling.scene.usurp(lease)
        assert not await handling.run(receipt(lease, row), lease.epoch, [EFFECT])
        assert await handling.run(receipt(lease, row), taken.epoch, [EFFECT])
        assert await handling.results() == (["a"], 1)

    async def test_but_not_one_that_is_retried(self, handling):
        lease, (row,) = await handling.begun("a")
        await handling.scene.park(lease, [row], State.RUNNING)
        assert await handling.run(receipt(lease, row, attempts=2), lease.epoch, [EFFECT])
        assert await handling.results() == (["a"], 1)

    async def test_by_all_but_one_of_those_that_handle_it_at_once(self, handling):
        lease, (row,) = await handling.begun("a")
        ran = await asyncio.gather(
            *(handling.run(receipt(lease, row), lease.epoch, [EFFECT]) for _ in range(5)), return_exceptions=True
        )
        assert ran.count(True) == 1
        assert all(one in {True, False} or isinstance(one, StoreBusy) for one in ran)
        assert await handling.results() == (["a"], 1)


class TestALeaseThatIsLostMeanwhile:
    async def test_takes_effect_and_receipt_back(self, handling):
        if handling.scene.kind in {"file", "memory"}:
            pytest.skip("SQLite has one writer: nobody takes a lease over while a handler's transaction is open")
        lease, (row,) = await handling.begun("a")
        loop = asyncio.get_running_loop()

        def usurp(_connection):
            taking = handling.scene.usurp(lease)
            return asyncio.run_coroutine_threadsafe(taking, loop).result(10) if handling.in_thread else taking

        with pytest.raises(LeaseLost):
            await handling.run(receipt(lease, row), lease.epoch, [EFFECT, usurp])
        assert await handling.results() == ([], 0)


class TestAReplay:
    async def test_runs_once_more_and_its_row_goes_with_its_effect(self, handling):
        lease, (row,) = await handling.begun("a")
        await handling.run(receipt(lease, row), lease.epoch, [EFFECT])
        await handling.scene.park(lease, [row], State.RUNNING)
        again = receipt(lease, row, attempts=2, replaces=True)
        ran = [await handling.run(again, lease.epoch, [EFFECT]) for _ in range(2)]
        assert ran == [True, False]
        assert await handling.results() == (["a", "a"], 1)
        assert await handling.scene.deliveries() == {}
        assert [attempts for _, _, attempts in await handling.scene.consumed()] == [2]

    async def test_that_fails_leaves_receipt_and_row_as_they_were(self, handling):
        lease, (row,) = await handling.begun("a")
        await handling.run(receipt(lease, row), lease.epoch, [EFFECT])
        await handling.scene.park(lease, [row], State.RUNNING)
        again = receipt(lease, row, attempts=2, replaces=True)
        with pytest.raises(ValueError, match="mine"):
            await handling.run(again, lease.epoch, [EFFECT, partial(fail, ValueError("mine"))])
        assert await handling.results() == (["a"], 1)
        assert await handling.scene.deliveries() == {"a": "running"}
        assert [attempts for _, _, attempts in await handling.scene.consumed()] == [1]

    async def test_under_an_old_epoch_is_passed_over(self, handling):
        lease, (row,) = await handling.begun("a")
        await handling.scene.park(lease, [row], State.RUNNING)
        await handling.scene.usurp(lease)
        assert not await handling.run(receipt(lease, row, replaces=True), lease.epoch, [EFFECT])
        assert await handling.results() == ([], 0)

    async def test_that_was_settled_otherwise_is_passed_over(self, handling):
        lease, (row,) = await handling.begun("a")
        (due,) = await handling.scene.store.take_in(lease.slice, lease.epoch, [row])
        await handling.scene.settle(lease, revised=[Revised(lease.slice, due.delivery, due.claim, State.DEAD, 1)])
        assert not await handling.run(receipt(lease, row, replaces=True), lease.epoch, [EFFECT])
        assert await handling.results() == ([], 0)


class TestAHandlerThatMeddles:
    @pytest.mark.parametrize(
        "meddling",
        [
            ["commit"],
            ["rollback"],
            ["commit", "begin"],
            ["rollback", "begin"],
            [lambda connection: connection.commit()],
            [lambda connection: connection.rollback()],
            [lambda connection: connection.commit(), "insert into effects values ('b')"],
        ],
        ids=["commit", "rollback", "commit; begin", "rollback; begin", "commit()", "rollback()", "commit(), and on"],
    )
    async def test_with_the_transaction_is_told_loudly(self, handling, meddling):
        lease, (row,) = await handling.begun("a")
        with pytest.raises(TransactionError, match="ended the transaction"):
            await handling.run(receipt(lease, row), lease.epoch, [EFFECT, *meddling])

    @pytest.mark.parametrize("meddling", [["commit"], ["commit", "begin"]])
    async def test_and_then_fails_is_told_loudly_too(self, handling, meddling):
        lease, (row,) = await handling.begun("a")
        steps = [EFFECT, *meddling, partial(fail, ValueError("mine"))]
        with pytest.raises(TransactionError, match="ended the transaction") as raised:
            await handling.run(receipt(lease, row), lease.epoch, steps)
        assert isinstance(raised.value.__cause__, ValueError)

    async def test_leaves_the_connection_fit_for_the_next(self, handling):
        lease, rows = await handling.begun("a", "b")
        with pytest.raises(TransactionError):
            await handling.run(receipt(lease, rows[0]), lease.epoch, ["commit", "begin", EFFECT])

        def change_settings(connection) -> None:
            connection.row_factory = psycopg.rows.dict_row if handling.scene.kind == "postgres" else sqlite3.Row

        with pytest.raises(ValueError, match="mine"):
            await handling.run(
                receipt(lease, rows[1]), lease.epoch, [change_settings, partial(fail, ValueError("mine"))]
            )
        factories = []
        steps = ["insert into effects values ('b')", lambda connection: factories.append(connection.row_factory)]
        assert await handling.run(receipt(lease, rows[1]), lease.epoch, steps)
        assert factories[0] in {None, psycopg.rows.tuple_row}
        assert "b" in await handling.effects()
