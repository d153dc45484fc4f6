"""What the server refuses in the midst of things leaves nothing behind that the next call would stumble over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from holdfast import Event, EventBus
from holdfast.errors import StoreUnavailable
from holdfast.stores import make_store
from holdfast.stores.postgres.session import Acquaintance, Session
from tests.chaos.proxy import Harm, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OUT_OF_MEMORY = "53200"


@pytest.fixture
async def proxy(postgres_server: str) -> AsyncIterator[Proxy]:
    async with Proxy(urlsplit(postgres_server).port or 5432) as proxy:
        yield proxy


def through(proxy: Proxy, dsn: str) -> str:
    return proxy.dsn(urlsplit(dsn).path[1:])


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_transaction_that_would_not_end_takes_nothing_later_with_it(
    end: str, proxy: Proxy, postgres_dsn: str
) -> None:
    session = Session(through(proxy, postgres_dsn), where="here", timeout=5, name="test", acquaintance=Acquaintance())
    await session.run("create table kept (n integer)")
    with proxy.trap(Harm.REFUSE, lambda _, request: end.encode() in request.data, code=OUT_OF_MEMORY) as trap:
        with pytest.raises(StoreUnavailable if end == "commit" else ZeroDivisionError):
            async with session.transaction() as connection:
                await connection.execute("insert into kept values (1)")
                if end == "rollback":
                    raise ZeroDivisionError
    assert trap.sprung == 1
    await session.run("insert into kept values (2)")
    assert await session.run("select n from kept") == [(2,)]
    await session.close()


async def test_a_worker_starts_when_what_kept_it_from_starting_is_put_right(
    proxy: Proxy, postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    handled = asyncio.Event()
    bus = EventBus(through(proxy, postgres_dsn), spool="off", store_timeout=1, stop_timeout=2)

    @bus.subscribe("order.placed", name="mail", start="beginning")
    async def mail(event: Event) -> None:
        handled.set()

    store = make_store(postgres_dsn, timeout=10)
    async with asyncio.timeout(30):
        async with proxy.refusing():
            await bus.__aenter__()
        while "the worker cannot start: no Holdfast tables" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
        await store.migrate()
        await bus.publish("order.placed", {})
        await handled.wait()
    await store.close()
    await bus.close()
