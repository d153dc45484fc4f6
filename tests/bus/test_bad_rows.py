"""Rows that another program put into the store, past every rule of ours: handled as far as can be, or dead and visible."""

from __future__ import annotations

import sqlite3
import traceback
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import Event, RetryPolicy
from holdfast.stores import make_store
from holdfast.stores.filters import DeadFilter, EventFilter
from holdfast.stores.inspector import make_inspector

from .waiting import path_of, sql

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import EventBus

NOT_UTF_8 = "cast(x'7b2278223a2268756e746572ff227d' as text)"  # {"x":"hunter?"} with a byte that no UTF-8 has
DEEP = "[" * 5_000 + "]" * 5_000


async def settled_and_seen(bus: EventBus, dsn: str, columns: str, values: str) -> tuple[list[str], list[str]]:
    """Names of what was handled, and errors of what ended dead, of a bad row between two good ones."""
    handled, dead = list[str](), list[str]()

    @bus.subscribe("a.*", name="h", retry=RetryPolicy(max_attempts=1))
    async def handle(event: Event) -> None:
        assert event.headers is not None
        assert event.payload is not event
        handled.append(event.name)

    @bus.subscribe("holdfast.delivery.dead", name="letters")
    async def bury(event: Event) -> None:
        dead.append(event.payload["error"])

    async with bus:
        await bus.publish("a.first")
        sql(dsn, f"insert into event_store ({columns}) values ({values})")
        await bus.publish("a.last")
        await bus.drain(15)
    return handled, dead


async def looked_at(dsn: str) -> str:
    """Whatever an inspector shows of the store."""
    store = make_store(dsn)
    inspector, _ = make_inspector(store)
    try:
        page = await inspector.events(EventFilter())
        shown = [await inspector.event(one.id) for one in page.events]
        return repr([shown, await inspector.status(), await inspector.dead(DeadFilter())])
    finally:
        await inspector.close()
        await store.close()


@pytest.mark.parametrize("column", ["payload", "headers", "tenant_id", "event_key"])
async def test_text_that_is_not_utf_8_stops_no_worker_and_hides_no_other_event(
    make_bus: Callable[..., EventBus], sqlite_dsn: str, column: str
) -> None:
    """SQLite stores the bytes that it is given; PostgreSQL checks its encoding."""
    row = {"tenant_id": "'t'", "event_name": "'a.bad'", "payload": "'1'", column: NOT_UTF_8}
    handled, dead = await settled_and_seen(make_bus(sqlite_dsn), sqlite_dsn, ", ".join(row), ", ".join(row.values()))
    if column in {"payload", "headers"}:
        assert handled == ["a.first", "a.last"]
        assert dead[0].startswith(f"MalformedEvent: {column} of event ")
        assert "hunter" not in dead[0]
    else:
        assert (sorted(handled), dead) == (["a.bad", "a.first", "a.last"], [])
    assert "a.bad" in await looked_at(sqlite_dsn)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", DEEP), ("headers", DEEP), ("payload", '"\\ud800"'), ("headers", '{"correlation_id": "\\ud800"}'),
        ("headers", '{"correlation_id": ["not", "text"]}'), ("headers", "5"), ("payload", "1e999"),
    ],
    ids=lambda one: one[:24],
)  # fmt: skip
async def test_json_that_is_not_ours_stops_no_worker(
    make_bus: Callable[..., EventBus], shared_dsn: str, column: str, value: str
) -> None:
    row = {"tenant_id": "'t'", "event_name": "'a.bad'", "payload": "'1'", column: f"'{value}'"}
    try:
        handled, dead = await settled_and_seen(
            make_bus(shared_dsn), shared_dsn, ", ".join(row), ", ".join(row.values())
        )
    except (sqlite3.Error, psycopg.Error):
        return  # refused by the store itself, and never in it
    assert {"a.first", "a.last"} <= set(handled)
    assert len(handled) + len(dead) == 3
    assert "a.bad" in await looked_at(shared_dsn)


async def test_an_error_of_the_store_shows_no_text_that_it_could_not_read(
    make_bus: Callable[..., EventBus], sqlite_dsn: str
) -> None:
    bus = make_bus(sqlite_dsn)
    published: Any = await bus.publish("a.first", "x")
    with closing(sqlite3.connect(path_of(sqlite_dsn), isolation_level=None)) as connection:
        connection.execute(f"update event_log set payload = {NOT_UTF_8}")
    with pytest.raises(Exception) as caught:  # whatever it is, it must not tell
        await bus.publish("a.first", "x", event_id=published.event_id)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))
