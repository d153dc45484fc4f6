"""Passwords of a DSN and payloads of events stand in no error, traceback, log or repr."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast import Event, EventBus, RetryPolicy, SyncEventBus
from holdfast.errors import ConfigurationError, HoldfastError, InvalidEvent
from holdfast.stores import make_store

from .test_tx import url
from .waiting import path_of, sql, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PARTS = ("hunter", "two")
"""Of the password and of the payload; neither may be shown, also where a mistake cuts the password in pieces."""
PAYLOAD = {"card": "hunter", "n": ["two"]}


def shows_nothing(*texts: str) -> None:
    for text in texts:
        assert not [part for part in PARTS if part in text], text


@pytest.mark.parametrize(
    "dsn",
    [
        "ann:hunter@host/db", "host=x password=hunter", "hunter", "postgresql:/ann:hunter@host/db",
        "postgresql://ann:hunter/two@host/db", "postgresql://ann:hunter@two@host/db", "postgresql://ann:hunter",
        "postgresql://ann:hunter%two@host/db", "postgresql://host/db?hunter", "postgresql://host/db?hunter=two",
        "postgresql://host/db?password=hunter&hunter", "postgresql://[hunter", b"postgresql://ann:hunter@host/db",
        ["postgresql://ann:hunter@host/db"], "postgresql://ann:hunter@host:two/db",
    ],
    ids=str,
)  # fmt: skip
def test_a_dsn_with_a_mistake_is_refused_without_a_word_of_it(dsn: Any) -> None:
    refusals = list[str]()
    for make in (EventBus, SyncEventBus, make_store):
        if make is not make_store or isinstance(dsn, str):
            try:
                make(dsn)
            except ConfigurationError as error:
                refusals.append("".join(traceback.format_exception(error)))
    assert refusals
    shows_nothing(*refusals)


@pytest.fixture
async def refusing(own_dsn: str, make_bus: Callable[..., EventBus]) -> AsyncIterator[tuple[EventBus, str]]:
    """A store whose owner has added a rule of his own, which our checks cannot know."""
    bus = make_bus(own_dsn)
    await bus.publish("warm.up")
    if own_dsn.startswith("sqlite"):
        sql(own_dsn, "create trigger mine before insert on event_log begin select raise(abort, 'never'); end")
    else:
        sql(own_dsn, "alter table event_log add constraint mine check (event_name <> 'a')")
    yield bus, own_dsn
    assert stored(own_dsn) == ["warm.up"]


def refused_in_silence(caught: pytest.ExceptionInfo[InvalidEvent]) -> None:
    shows_nothing(str(caught.value), "".join(traceback.format_exception(caught.value)))


async def test_a_row_that_the_store_refuses_is_not_told(refusing: tuple[EventBus, str]) -> None:
    bus, _ = refusing
    with pytest.raises(InvalidEvent) as caught:
        await bus.publish("a", PAYLOAD)
    refused_in_silence(caught)
    with pytest.raises(InvalidEvent) as caught:
        await bus.publish_many([{"name": "a", "payload": PAYLOAD}] * 3)
    refused_in_silence(caught)


async def test_nor_by_the_drivers_of_callers(refusing: tuple[EventBus, str]) -> None:
    bus, dsn = refusing
    if dsn.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(dsn))) as connection:
            await _refused(bus, connection)
        return
    with psycopg.connect(dsn) as connection, suppress(psycopg.Error):
        await _refused(bus, connection)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await _refused(bus, connection)
    with closing(psycopg2.connect(dsn)) as connection:
        await _refused(bus, connection)
    pg = await asyncpg.connect(dsn)
    transaction = pg.transaction()
    await transaction.start()
    await _refused(bus, pg)
    await pg.close()
    for driver in ("psycopg", "psycopg2"):
        engine = sqlalchemy.create_engine(url(dsn, driver))
        with engine.connect() as connection:
            await _refused(bus, connection)
        engine.dispose()
    for driver in ("psycopg", "asyncpg"):
        asynchronous = create_async_engine(url(dsn, driver))
        async with asynchronous.connect() as connection:
            await _refused(bus, connection)
        await asynchronous.dispose()


async def _refused(bus: EventBus, tx: Any) -> None:
    with pytest.raises(InvalidEvent) as caught:
        await bus.publish("a", PAYLOAD, tx=tx)
    refused_in_silence(caught)


async def test_neither_stands_in_logs_or_reprs_while_things_go_wrong(
    shared_dsn: str, make_bus: Callable[..., EventBus], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    bus, seen = make_bus(shared_dsn), list[str]()

    @bus.subscribe("a", name="s", retry=RetryPolicy(max_attempts=2, base=0.01))
    async def fail(event: Event) -> None:
        seen.append(repr(event))
        raise RuntimeError("no")

    published = await bus.publish("a", PAYLOAD, headers={"x": "hunter"})
    await bus.drain(10)
    away = EventBus("postgresql://ann:hunter@127.0.0.1:1/db", spool=tmp_path / "spool", store_timeout=0.2)
    assert (await away.publish("a", PAYLOAD)).where == "spool"
    with pytest.raises(HoldfastError) as caught:
        await away.drain(0.1)
    await away.close()
    silent = EventBus("postgresql://ann:hunter@127.0.0.1:1/db", spool="off", store_timeout=0.2)
    with pytest.raises(HoldfastError) as refused:
        await silent.publish("a", PAYLOAD)
    await silent.close()
    assert len(seen) == 2
    assert any("is dead" in record.getMessage() for record in caplog.records)
    shows_nothing(
        caplog.text, *seen, repr(published), repr(bus), repr(bus.consumers), repr(away),
        *("".join(traceback.format_exception(one.value)) for one in (caught, refused)),
    )  # fmt: skip
