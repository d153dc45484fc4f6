"""A bus in a Starlette or FastAPI application: how long it lives, beside what, and how requests come to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from holdfast import Event, EventBus, SyncEventBus
from holdfast.errors import ConfigurationError
from holdfast.integrations.fastapi import Bus  # noqa: TC001 - as above
from holdfast.integrations.starlette import bus_of, lifespan
from tests.bus.waiting import receipts, stored, until
from tests.relay.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request


@pytest.fixture
async def bus(sqlite_dsn: str) -> AsyncIterator[EventBus]:
    made = EventBus(sqlite_dsn, spool="off")
    yield made
    await made.close()


@asynccontextmanager
async def asking(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app* behind a real server."""
    async with served(app) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        yield client


def shop(**options: Any) -> Starlette:
    async def place(request: Request) -> JSONResponse:
        published = await bus_of(request).publish("order.placed", {"order_id": 1})
        return JSONResponse({"where": published.where})

    async def closed(request: Request) -> JSONResponse:
        try:
            bus_of(request)
        except ConfigurationError as error:
            return JSONResponse({"error": str(error)})
        raise AssertionError

    return Starlette(routes=[Route("/orders", place, methods=["POST"]), Route("/closed", closed)], **options)


async def test_the_embedded_worker_handles_what_requests_publish(bus: EventBus, sqlite_dsn: str) -> None:
    seen: list[Any] = []

    @bus.subscribe("order.placed", name="billing")
    async def bill(event: Event) -> None:
        seen.append(event.payload["order_id"])

    async with asking(shop(lifespan=lifespan(bus))) as client:
        assert (await client.post("/orders")).json() == {"where": "store"}
        await until(lambda: receipts(sqlite_dsn) == 1)
    assert seen == [1]
    assert bus.counts is None  # it is closed


async def test_with_the_worker_off_it_only_publishes(bus: EventBus, sqlite_dsn: str) -> None:
    bus.subscribe("order.placed", lambda event: None, name="billing")
    async with asking(shop(lifespan=lifespan(bus, worker="off"))) as client:
        await client.post("/orders")
        assert bus.counts is not None
        assert bus.counts.worker is None
    assert (stored(sqlite_dsn), receipts(sqlite_dsn), bus.counts) == (["order.placed"], 0, None)


async def test_an_application_that_starts_again_goes_on_where_it_was(bus: EventBus, sqlite_dsn: str) -> None:
    bus.subscribe("order.placed", lambda event: None, name="billing")
    async with asking(shop(lifespan=lifespan(bus, worker="off"))) as client:
        await client.post("/orders")
    async with asking(shop(lifespan=lifespan(bus))):
        await until(lambda: receipts(sqlite_dsn) == 1)


async def test_a_lifespan_of_ones_own_goes_round_it_and_keeps_its_state(bus: EventBus) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def own(_: Any) -> AsyncIterator[dict[str, Any]]:
        told.append(f"begins, bus at work: {bus.counts is not None}")
        yield {"mail": "smtp"}
        told.append(f"ends, bus at work: {bus.counts is not None}")

    async def look(request: Request) -> JSONResponse:
        return JSONResponse(
            {"mail": request.state.mail, "is it": bus_of(request) is bus, "works": bus.counts is not None}
        )

    async with asking(Starlette(routes=[Route("/", look)], lifespan=lifespan(bus, own=own))) as client:
        assert (await client.get("/")).json() == {"mail": "smtp", "is it": True, "works": True}
    assert told == ["begins, bus at work: False", "ends, bus at work: False"]


async def test_where_ones_own_fails_the_bus_is_not_begun(bus: EventBus) -> None:
    @asynccontextmanager
    async def own(_: Any) -> AsyncIterator[None]:
        raise RuntimeError("no mail")
        yield

    with pytest.raises(RuntimeError, match="no mail"):
        async with lifespan(bus, own=own)(shop()):
            pass
    assert bus.counts is None


async def test_while_the_store_is_away_the_application_starts_and_takes_orders(tmp_path: Path) -> None:
    bus = EventBus("postgresql://127.0.0.1:1/nowhere", spool=str(tmp_path / "spool"), store_timeout=0.2)
    bus.subscribe("order.placed", lambda event: None, name="billing")
    async with asking(shop(lifespan=lifespan(bus))) as client:
        assert (await client.post("/orders")).json() == {"where": "spool"}


async def test_in_fastapi_it_is_a_dependency_of_endpoints_and_websockets(bus: EventBus, sqlite_dsn: str) -> None:
    app = FastAPI(lifespan=lifespan(bus))

    @app.post("/orders")
    async def place(bus: Bus) -> str:
        return (await bus.publish("order.placed")).where

    @app.websocket("/live")
    async def live(socket: WebSocket, bus: Bus) -> None:
        await bus.publish("live.joined")
        await socket.close()

    async with asking(app) as client:
        assert (await client.post("/orders")).json() == "store"
        assert await talked(app, "/live", {"holdfast": bus}) == ["websocket.close"]
    assert stored(sqlite_dsn) == ["order.placed", "live.joined"]


async def talked(app: Any, path: str, state: dict[str, Any]) -> list[str]:
    """What a WebSocket is sent that connects and says nothing: by the protocol of ASGI, without a library for it."""
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "state": state,
    }
    await app(scope, receive, send)
    return sent


async def test_without_a_lifespan_the_reason_is_said(bus: EventBus) -> None:
    async with asking(shop()) as client:
        assert "the application has no bus: make it with lifespan=" in (await client.get("/closed")).json()["error"]


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (SyncEventBus("sqlite://"), {}, r"give its \.async_bus"),
        ("sqlite:///shop.db", {}, "bus is of type str"),
        (EventBus("sqlite://"), {"worker": "on"}, "worker is 'on'"),
    ],
)
def test_what_is_of_no_use_is_refused_at_once(given: Any, options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        lifespan(given, **options)
