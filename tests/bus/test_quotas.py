"""Quotas: what a tenant may publish, on every way into the log, and what is let in all the same."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import Event, EventBus, Quota, SyncEventBus
from holdfast.errors import ConfigurationError, QuotaExceeded

from .waiting import path_of, sql, stored, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = timedelta(hours=1)


async def test_what_is_over_it_is_refused_and_nobody_else(dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(dsn, quota=Quota(3, HOUR))
    for number in range(3):
        await bus.publish("a", number, tenant_id="acme")
    with pytest.raises(QuotaExceeded) as refused:
        await bus.publish("a", 3, tenant_id="acme")
    assert (refused.value.tenant_id, refused.value.left, refused.value.number) == ("acme", 0, 1)
    await bus.publish("a", 4, tenant_id="bell")
    assert bus.counts is not None
    assert (bus.counts.publisher.stored, bus.counts.publisher.over_quota) == (4, 1)


async def test_many_callers_at_once_are_let_in_to_the_last_one(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(shared_dsn, quota=Quota(50, HOUR))
    results = await asyncio.gather(*(bus.publish("a", n) for n in range(200)), return_exceptions=True)
    assert sum(isinstance(one, QuotaExceeded) for one in results) == 150
    assert len(stored(shared_dsn)) == 50


async def test_of_a_list_nothing_is_stored(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(shared_dsn, quota=Quota(3, HOUR))
    items = [{"name": "a", "payload": n, "tenant_id": "acme"} for n in range(4)]
    with pytest.raises(QuotaExceeded):
        await bus.publish_many([*items, {"name": "b", "payload": 1, "tenant_id": "bell"}])
    await bus.publish_many(items[:3])
    assert stored(shared_dsn) == ["a"] * 3


async def test_a_transaction_of_the_caller_is_no_way_round_it(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(shared_dsn, quota=Quota(1, HOUR))
    await bus.publish("a", tenant_id="acme")
    connection: Any = (
        sqlite3.connect(path_of(shared_dsn)) if shared_dsn.startswith("sqlite") else psycopg.connect(shared_dsn)
    )
    with closing(connection):
        connection.execute("begin" if shared_dsn.startswith("sqlite") else "select 1")
        with pytest.raises(QuotaExceeded):
            await bus.publish("a", tenant_id="acme", tx=connection)
        await bus.publish("b", tenant_id="bell", tx=connection)
        connection.commit()
    assert stored(shared_dsn) == ["a", "b"]


async def test_every_process_goes_by_the_log(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    first, second = make_bus(shared_dsn, quota=Quota(2, HOUR)), make_bus(shared_dsn, quota=Quota(2, HOUR))
    await first.publish("a")
    sql(shared_dsn, "insert into event_store (event_name, payload) values ('b', '1')")
    with pytest.raises(QuotaExceeded):
        await second.publish("c")


async def test_what_occurred_before_that_time_is_not_counted(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    bus = make_bus(shared_dsn)
    for minutes in (61, 59):
        await bus.publish("a", occurred_at=datetime.now(UTC) - timedelta(minutes=minutes))
    limited = make_bus(shared_dsn, quota=Quota(2, HOUR))
    await limited.publish("b")
    with pytest.raises(QuotaExceeded):
        await limited.publish("c")


async def test_with_time_there_is_room_again(dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(dsn, quota=Quota(1, timedelta(seconds=1)))
    await bus.publish("a")

    async def is_let_in() -> bool:
        try:
            await bus.publish("b")
        except QuotaExceeded as error:
            assert 0 < error.retry_after <= 1
            return False
        return True

    assert not await is_let_in()
    await until(is_let_in)


async def test_what_a_handler_publishes_is_counted_and_let_in(dsn: str, make_bus: Callable[..., EventBus]) -> None:
    bus = make_bus(dsn, quota=Quota(3, HOUR))

    async def bill(event: Event) -> None:
        for number in range(3):
            await bus.publish("bill.sent", number)

    bus.subscribe("order.placed", bill, name="billing", start="beginning")
    await bus.publish("order.placed", tenant_id="acme")
    await bus.drain(timeout=20)
    with pytest.raises(QuotaExceeded):
        await bus.publish("order.placed", tenant_id="acme")


async def test_a_function_gives_each_tenant_its_own(dsn: str, make_bus: Callable[..., EventBus]) -> None:
    plans = {"acme": Quota(1, HOUR), "bell": Quota(2, HOUR)}
    bus = make_bus(dsn, quota=plans.get)
    for tenant, many in (("acme", 1), ("bell", 2), ("free", 5)):
        for _ in range(many):
            await bus.publish("a", tenant_id=tenant)
    for tenant in plans:
        with pytest.raises(QuotaExceeded, match=tenant):
            await bus.publish("a", tenant_id=tenant)
    plans["acme"] = Quota(10, HOUR)
    await bus.publish("a", tenant_id="acme")


async def test_while_the_store_is_away_the_spool_takes_everything(
    make_bus: Callable[..., EventBus], tmp_path: Path
) -> None:
    away = "postgresql://127.0.0.1:1/nowhere"
    bus = make_bus(away, quota=Quota(1, HOUR), spool=str(tmp_path / "spool"), store_timeout=0.2)
    assert [(await bus.publish("a")).where for _ in range(3)] == ["spool"] * 3


def test_the_synchronous_bus_keeps_it_too(shared_dsn: str) -> None:
    bus = SyncEventBus(shared_dsn, auto_migrate=True, spool="off", quota=Quota(4, HOUR))

    def bill(event: Event) -> None:
        bus.publish_many([{"name": "bill.sent", "payload": number} for number in range(3)])

    bus.subscribe("order.placed", bill, name="billing", start="beginning")
    try:
        bus.publish("order.placed")
        bus.publish("order.placed")
        bus.drain(timeout=20)
        with pytest.raises(QuotaExceeded):
            bus.publish("order.placed")
    finally:
        bus.close()
    assert sorted(stored(shared_dsn)) == ["bill.sent"] * 6 + ["order.placed"] * 2


@pytest.mark.parametrize("given", [5, {"acme": Quota(1, HOUR)}, "1/s"])
def test_what_is_no_quota_is_refused_at_the_door(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="quota is of type"):
        EventBus("sqlite://", quota=given)
