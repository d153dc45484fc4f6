"""What was found by breaking statements, each by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import StoreUnavailable
from holdfast.stores.values import Appended
from tests.contract.harness import event
from tests.statements import hooks, wire
from tests.statements.publishing import three
from tests.statements.working import handle_in_a_transaction, three_read

if TYPE_CHECKING:
    from tests.statements.ground import Ground

on_postgres = pytest.mark.parametrize("ground", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("ground", ["file"], indirect=True)


@on_postgres
async def test_a_session_whose_commit_was_refused_takes_the_next_call(ground: Ground) -> None:
    events = await three(ground.scene)
    ground.faults.break_at(3, wire.Break.REFUSED)
    with pytest.raises(StoreUnavailable):
        await ground.store.append(events, atomic=True)
    assert ground.faults.heal() == 1
    assert await ground.store.append(events, atomic=True) == [Appended.STORED] * 3


@on_postgres
async def test_an_error_after_the_insert_says_that_it_may_have_been_done(ground: Ground) -> None:
    events = [*await ground.scene.publish("a"), event("b"), event("c")]
    ground.faults.break_at(2, wire.Break.REFUSED)
    with pytest.raises(StoreUnavailable) as caught:
        await ground.store.append(events, atomic=False)
    ground.faults.heal()
    assert await ground.scene.stored() == ["a", "b", "c"]
    assert caught.value.maybe_done


@on_sqlite
async def test_a_rollback_that_fails_leaves_no_lock(ground: Ground) -> None:
    ground.faults.break_at(2, hooks.Break.INTERRUPTED, lasting=True)
    with pytest.raises(StoreUnavailable):
        await ground.store.append([event("a")], atomic=True)
    ground.faults.heal()
    await ground.require_nothing_held()
    assert await ground.store.append([event("a")], atomic=True) == [Appended.STORED]


@on_sqlite
async def test_a_store_that_fails_at_the_end_is_not_taken_for_a_handler_that_meddles(ground: Ground) -> None:
    for _ in range(2):  # the first time connects
        await ground.empty(days=False)
        found = await three_read(ground.scene)
        ground.faults.watch()
        await handle_in_a_transaction(ground, found)
        statements = ground.faults.heal()
    await ground.empty(days=False)
    found = await three_read(ground.scene)
    ground.faults.break_at(statements - 1, hooks.Break.INTERRUPTED)  # the release of our savepoint, before the commit
    with pytest.raises(StoreUnavailable):
        await handle_in_a_transaction(ground, found)
    ground.faults.heal()
    assert await handle_in_a_transaction(ground, found) is False


@on_sqlite
async def test_a_caller_can_close_his_connection_while_he_looks_at_the_error(ground: Ground) -> None:
    events = await ground.scene.publish("a")
    with closing(sqlite3.connect(ground.path, timeout=0.05)) as connection:
        connection.execute("insert into effects values (1)")
        ground.faults.watch()
        assert ground.store.append_within_sync(connection, events) == [Appended.DUPLICATE]
        ground.faults.break_at(ground.faults.heal(), hooks.Break.INTERRUPTED)  # the question which one it was
        with pytest.raises(StoreUnavailable) as caught:
            ground.store.append_within_sync(connection, events)
    ground.faults.heal()
    await ground.require_nothing_held()
    assert caught.value.__traceback__ is not None
