"""Connections that a process takes: few, and each says what it is for, as docs/operations.md tells."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import psycopg
from psycopg.rows import scalar_row

from holdfast import EventBus
from tests.bus.waiting import until

_PUBLISHER = {"publish": 1, "lease": 1}
_WORKER = _PUBLISHER | {"background": 1, "listen": 1, "reader": 1, "settle": 1, "work": 1}


async def test_each_is_named(migrated_dsn):
    publisher, bus = EventBus(migrated_dsn, spool="off"), EventBus(migrated_dsn, spool="off")
    handled = 0

    @bus.subscribe("order.placed", name="billing", transactional=True, concurrency=4)
    async def bill(event):
        nonlocal handled
        handled += 1

    with closing(psycopg.connect(migrated_dsn, autocommit=True, row_factory=scalar_row)) as onlooker:

        def named() -> Counter[str]:
            names = onlooker.execute(
                "select application_name from pg_stat_activity "
                "where datname = current_database() and application_name like 'holdfast %'"
            )
            return Counter(name.removeprefix("holdfast ") for name in names)

        await publisher.publish("order.placed", 0)
        await until(lambda: named() == _PUBLISHER)
        await publisher.close()
        async with bus:
            await bus.publish_many([{"name": "order.placed", "payload": n} for n in range(50)])
            await until(lambda: handled == 50)
            await until(lambda: (now := named()) - Counter(handler=now["handler"]) == _WORKER)
            assert 1 <= named()["handler"] <= 4
        await until(lambda: not named())
