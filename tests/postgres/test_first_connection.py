"""A first connection that fails: whether it passes or is for good is told by the server's code, and within the time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from holdfast import EventBus
from holdfast.errors import ConfigurationError
from holdfast.testing import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that closes its first connection and answers nobody after it."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("timeout", [0.5, 2.5])
async def test_a_server_that_says_nothing_is_away(silent_server: int, tmp_path: Path, timeout: float) -> None:
    bus = EventBus(f"postgresql://me@127.0.0.1:{silent_server}/x", store_timeout=timeout, spool=tmp_path)
    begun = time.monotonic()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.05)
            ticks += 1

    ticking = asyncio.create_task(tick())
    published = await asyncio.wait_for(bus.publish("a"), 10)
    ticking.cancel()
    assert published.where == "spool"
    took = time.monotonic() - begun
    assert took < 2 * timeout + 3
    assert ticks > took / 0.05 / 4, "the rest of the program went on meanwhile"
    await bus.close()


async def test_a_server_without_a_free_connection_is_away(tmp_path: Path) -> None:
    settings = {"max_connections": "16", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with LocalPostgres(fsync=False, settings=settings) as server, ExitStack() as stack:
        taken = []
        while True:
            try:
                taken.append(stack.enter_context(closing(psycopg.connect(server.dsn()))))
            except psycopg.OperationalError:
                break
        bus = EventBus(server.dsn(), auto_migrate=True, store_timeout=0.5, spool=tmp_path)
        assert (await bus.publish("a", 1)).where == "spool"
        for connection in taken:
            connection.close()
        await bus.drain(20)
        await bus.close()
        with closing(psycopg.connect(server.dsn())) as connection:
            assert connection.execute("select event_name from holdfast.event_log").fetchall() == [("a",)]


@pytest.mark.parametrize(("wrong", "said"), [("/no_such_database", "no such database"), ("user", "refuses")])
async def test_what_is_wrong_for_good_is_said(postgres_server: str, tmp_path: Path, wrong: str, said: str) -> None:
    dsn = (
        postgres_server.rpartition("/")[0] + wrong
        if wrong.startswith("/")
        else postgres_server.replace("://", "://nobody_of_that_name:x@", 1).replace("@postgres@", "@", 1)
    )
    bus = EventBus(dsn, spool=tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        await bus.publish("a")
    await bus.close()
    assert not list(tmp_path.rglob("*.spool"))
