"""Erasing beside transactions that are under way: an UPDATE of the log moves no event in or out of a window."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg

from holdfast import Event, EventBus
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector

if TYPE_CHECKING:
    from tests.contract.harness import Scene

INSERT = """
    insert into holdfast.event_store (tenant_id, event_name, event_key, payload) values ('acme', 'e', 'ann', '"secret"')
"""


async def test_what_commits_late_is_not_missed_by_the_reader_and_found_by_the_next_erasure(scene: Scene) -> None:
    inspector, operator = make_inspector(scene.store)
    lease = await scene.leased()
    reader = await scene.reader()
    with closing(psycopg.connect(scene.dsn)) as late, closing(psycopg.connect(scene.dsn, autocommit=True)) as quick:
        late.execute(INSERT)
        quick.execute(INSERT)
        first, cursor = await scene.read_all(lease.cursor, reader)
        assert (await operator.erase(key="ann", actor="bob")).events == 1
        again, cursor = await scene.read_all(cursor, reader)
        late.commit()
        second, cursor = await scene.read_all(cursor, reader)
        assert (await operator.erase_count(key="ann")).events == 1
        assert (await operator.erase(key="ann", actor="bob")).events == 1
        third, _ = await scene.read_all(cursor, reader)
    await inspector.close()
    assert [len(rows) for rows in (first, again, second, third)] == [1, 0, 1, 0]
    assert first[0].position > second[0].position, "it was the one that came late"


async def test_a_worker_meets_each_event_once_and_in_order_while_its_log_is_being_masked(emptied_dsn: str) -> None:
    bus, seen = EventBus(emptied_dsn, spool="off"), defaultdict[str, list[int]](list)

    @bus.subscribe("e", name="s", partitions=4)
    async def handle(event: Event) -> None:
        seen[event.key or ""].append(int(event.headers.get("causation_id", "0")))

    store = make_store(emptied_dsn, timeout=10)
    inspector, operator = make_inspector(store)
    keys = [f"k{number}" for number in range(10)]

    async def publish() -> None:
        for n in range(40):
            await bus.publish_many([
                {"name": "e", "payload": n, "key": key, "headers": {"causation_id": str(n)}} for key in keys
            ])  # fmt: skip

    async def erase() -> int:
        return sum([(await operator.erase(key=key, actor="bob")).events for key in keys])

    async with bus:
        publishing = asyncio.create_task(publish())
        masked = 0
        while not publishing.done():
            masked += await erase()
        await publishing
        await bus.drain(20)
        masked += await erase()
    await inspector.close()
    await store.close()
    assert masked == 400
    assert dict(seen) == {key: list(range(40)) for key in keys}
