"""Who takes whose leases when nobody could renew in time: two real keepers on a real store, and a clock that is moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from holdfast.ports import SYSTEM
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Declaration, Slice, WorkerInfo
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

    def __init__(self, number: int, subscription: int) -> None:
        self.info = WorkerInfo(UUID(int=number), f"host {number}", "", number, "", "0", (subscription,))
        self.partition_counts = {subscription: 4}
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


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def two(clock: Clock) -> AsyncIterator[list[tuple[Keeper, Holder]]]:
    """Two keepers that share four partitions."""
    store = SQLiteStore(None, clock=clock.now)
    await store.open()
    (record,) = await store.register([Declaration("s", ("a",), partitions=4)])
    holders = [Holder(number, record.id) for number in (1, 2)]
    ports: Any = replace(SYSTEM, elapsed=clock.elapsed)
    for holder in holders:
        await store.heartbeat(holder.info, ttl=TTL)  # each knows of the other before anything is taken
    keepers = [Keeper(store, holder, ports, ttl=TTL) for holder in holders]
    for keeper in keepers:
        await keeper.tick()
    assert [len(holder.epochs) for holder in holders] == [2, 2]
    yield list(zip(keepers, holders, strict=True))
    await store.close()


async def test_who_could_not_renew_in_time_does_not_take_the_others_for_dead(
    clock: Clock, two: list[tuple[Keeper, Holder]]
) -> None:
    before = [dict(holder.epochs) for _, holder in two]
    clock.seconds += TTL + 1
    for _ in range(2):
        for keeper, _ in two:
            await keeper.tick()
    assert [holder.epochs for _, holder in two] == before
    assert [holder.lost for _, holder in two] == [{}, {}]


async def test_who_renews_in_time_takes_what_has_run_out_at_once(
    clock: Clock, two: list[tuple[Keeper, Holder]]
) -> None:
    (keeper, holder), _ = two
    for _ in range(3):
        clock.seconds += TTL / 2
        await keeper.tick()
    assert len(holder.epochs) == 4


async def test_who_could_not_renew_in_time_takes_what_is_left_soon(
    clock: Clock, two: list[tuple[Keeper, Holder]]
) -> None:
    (keeper, holder), _ = two
    clock.seconds += TTL + 1
    await keeper.tick()
    assert len(holder.epochs) == 2
    clock.seconds += TTL / 2
    await keeper.tick()
    assert len(holder.epochs) == 4
