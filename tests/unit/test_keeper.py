"""Who takes whose leases when nobody could renew in time: two keepers on one store, and a clock that is moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest

from holdfast.ports import SYSTEM
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Declaration, Released, Slice, WorkerInfo
from holdfast.worker.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from holdfast.stores.values import Lease

TTL = 4.0


class Clock:
    """Of the store and of the workers."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def elapsed(self) -> float:
        return self.seconds


class Holder:
    """Holds what its keeper gets, and does nothing with it."""

    def __init__(self, number: int, subscription: int, partitions: int) -> None:
        self.info = WorkerInfo(UUID(int=number), f"host {number}", "", number, "", "0", (subscription,))
        self.partition_counts = {subscription: partitions}
        self.epochs: dict[Slice, int] = {}
        self.lost: dict[Slice, int] = {}

    def acquired(self, leases: Iterable[Lease]) -> None:
        self.epochs |= {lease.slice: lease.epoch for lease in leases}

    def lose(self, epochs: Mapping[Slice, int]) -> None:
        self.lost |= epochs
        for one in epochs:
            self.epochs.pop(one, None)

    def give_back(self, slices: Iterable[Slice]) -> None:
        raise AssertionError(f"{slices} were shared from the beginning")

    def renewed(self) -> None: ...


class Pair(NamedTuple):
    keeper: Keeper
    holder: Holder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(None, clock=clock.now)
    await store.open()
    yield store
    await store.close()


async def keepers(store: SQLiteStore, clock: Clock, partitions: int) -> tuple[Pair, Pair]:
    """Two that share the partitions of a subscription."""
    (record,) = await store.register([Declaration("s", ("a",), partitions=partitions)])
    holders = [Holder(number, record.id, partitions) for number in (1, 2)]
    ports: Any = replace(SYSTEM, elapsed=clock.elapsed)
    for holder in holders:
        await store.heartbeat(holder.info, ttl=TTL)  # each knows of the other before anything is taken
    one, two = (Pair(Keeper(store, holder, ports, ttl=TTL), holder) for holder in holders)
    await one.keeper.tick()
    await two.keeper.tick()
    return one, two


async def test_who_was_silent_as_long_does_not_take_the_other_for_dead(store: SQLiteStore, clock: Clock) -> None:
    one, two = await keepers(store, clock, partitions=4)
    before = dict(one.holder.epochs), dict(two.holder.epochs)
    assert [len(epochs) for epochs in before] == [2, 2]
    clock.seconds += TTL + 1
    for _ in range(2):
        await one.keeper.tick()
        await two.keeper.tick()
    assert (one.holder.epochs, two.holder.epochs) == before
    assert (one.holder.lost, two.holder.lost) == ({}, {})


async def test_who_holds_nothing_neither(store: SQLiteStore, clock: Clock) -> None:
    one, two = await keepers(store, clock, partitions=1)
    before = dict(one.holder.epochs)
    clock.seconds += TTL + 1
    await two.keeper.tick()
    await one.keeper.tick()
    assert (one.holder.epochs, two.holder.epochs) == (before, {})


async def test_who_is_never_silent_takes_what_has_run_out_at_once(store: SQLiteStore, clock: Clock) -> None:
    one, _ = await keepers(store, clock, partitions=4)
    for _ in range(3):
        clock.seconds += TTL / 2
        await one.keeper.tick()
    assert len(one.holder.epochs) == 4


async def test_who_was_silent_takes_what_is_left_soon(store: SQLiteStore, clock: Clock) -> None:
    one, _ = await keepers(store, clock, partitions=4)
    clock.seconds += TTL + 1
    await one.keeper.tick()
    assert len(one.holder.epochs) == 2
    clock.seconds += TTL / 2
    await one.keeper.tick()
    assert len(one.holder.epochs) == 4


async def test_who_is_always_slow_is_patient_once_only(store: SQLiteStore, clock: Clock) -> None:
    one, _ = await keepers(store, clock, partitions=4)
    for _ in range(2):
        clock.seconds += TTL + 1
        await one.keeper.tick()
    assert len(one.holder.epochs) == 4


async def test_what_was_given_back_needs_no_patience(store: SQLiteStore, clock: Clock) -> None:
    one, two = await keepers(store, clock, partitions=4)
    cursors = await store.places(list(two.holder.epochs))
    await store.release(
        two.holder.info.id,
        [
            Released(place, epoch, cursors[place].cursor, True, False, None)
            for place, epoch in two.holder.epochs.items()
        ],
    )
    await store.leave(two.holder.info.id)
    clock.seconds += TTL + 1
    await one.keeper.tick()
    assert len(one.holder.epochs) == 4
