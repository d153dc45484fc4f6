"""What the server refuses in the midst of things leaves nothing behind that the next call would stumble over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from holdfast import Delivery, Event, EventBus, RetryPolicy
from holdfast.errors import StoreUnavailable
from holdfast.stores import make_store
from holdfast.stores.postgres.session import Acquaintance, Session
from tests.chaos.proxy import Harm, Link, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chaos.protocol import Request

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


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_answer_that_never_comes_costs_a_transactional_handler_one_attempt(
    kind: str, proxy: Proxy, migrated_dsn: str
) -> None:
    """A thread that waits for the answer to its commit can be told by nobody but the connection."""
    tries: list[int] = []
    bus = EventBus(through(proxy, migrated_dsn), spool="off", store_timeout=2, stop_timeout=2)
    options = {
        "name": "mail",
        "start": "beginning",
        "transactional": True,
        "timeout": 0.2,
        "retry": RetryPolicy(base=1.0),
    }

    async def mail(event: Event, delivery: Delivery) -> None:
        tries.append(delivery.attempt)

    def mail_in_thread(event: Event, delivery: Delivery) -> None:
        tries.append(delivery.attempt)

    bus.subscribe("order.placed", mail if kind == "async" else mail_in_thread, **options)

    def is_handlers_commit(link: Link, request: Request) -> bool:
        return link.application == "holdfast handler" and request.commits

    async with bus:
        with proxy.trap(Harm.SWALLOW, is_handlers_commit) as trap:
            await bus.publish("order.placed", {}, key="a")
            await bus.drain(timeout=30)
    assert trap.sprung == 1
    assert len(tries) == 1, "it had committed, which the next look found out"
