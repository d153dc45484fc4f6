"""A bus in a Litestar application: how long it lives, how handlers get it, its commands, what is mounted beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from litestar import Litestar, WebSocket, post, websocket
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from starlette.responses import JSONResponse

from holdfast import Event, EventBus, SyncEventBus
from holdfast.errors import ConfigurationError
from holdfast.integrations.litestar import HoldfastPlugin, mounted
from tests.bus.waiting import program_environment, receipts, stored, until
from tests.relay.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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


@post("/orders")
async def place(bus: NamedDependency[EventBus]) -> str:
    return (await bus.publish("order.placed", {"order_id": 1})).where


@websocket("/live")
async def live(socket: WebSocket[Any, Any, Any], bus: NamedDependency[EventBus]) -> None:
    await bus.publish("live.joined")
    await socket.accept()
    await socket.close()


def shop(bus: EventBus, *, worker: Any = "embedded", **options: Any) -> Litestar:
    return Litestar([place, live], plugins=[HoldfastPlugin(bus, worker=worker)], **options)


async def test_the_embedded_worker_handles_what_requests_publish(bus: EventBus, sqlite_dsn: str) -> None:
    seen: list[Any] = []

    @bus.subscribe("order.placed", name="billing")
    async def bill(event: Event) -> None:
        seen.append(event.payload["order_id"])

    async with asking(shop(bus)) as client:
        assert (await client.post("/orders")).text == "store"
        await until(lambda: receipts(sqlite_dsn) == 1)
    assert seen == [1]
    assert bus.counts is None  # it is closed


async def test_with_the_worker_off_it_only_publishes(bus: EventBus, sqlite_dsn: str) -> None:
    bus.subscribe("order.placed", lambda event: None, name="billing")
    async with asking(shop(bus, worker="off")) as client:
        await client.post("/orders")
        assert bus.counts is not None
        assert bus.counts.worker is None
    assert (stored(sqlite_dsn), receipts(sqlite_dsn), bus.counts) == (["order.placed"], 0, None)


async def test_the_worker_is_there_while_all_that_the_application_opens_is(bus: EventBus) -> None:
    told: list[str] = []

    def at_work() -> bool:
        return bus.counts is not None and bus.counts.worker is not None

    def noting(moment: str) -> Any:
        def note() -> None:
            told.append(f"{moment}: {at_work()}")

        return note

    @asynccontextmanager
    async def own(_: Litestar) -> AsyncIterator[None]:
        told.append(f"lifespan begins: {at_work()}")
        yield
        told.append(f"lifespan ends: {at_work()}")

    app = shop(bus, lifespan=[own], on_startup=[noting("startup")], on_shutdown=[noting("shutdown")])
    async with asking(app):
        assert at_work()
    assert told == ["lifespan begins: False", "startup: False", "lifespan ends: False", "shutdown: False"]


async def test_where_the_application_cannot_start_the_bus_is_closed(bus: EventBus) -> None:
    def fail() -> None:
        raise RuntimeError("no mail")

    app = Litestar(plugins=[HoldfastPlugin(bus)])
    app.on_startup.append(fail)
    with pytest.raises(ExceptionGroup) as failed:
        async with app.lifespan():
            pass
    assert failed.group_contains(RuntimeError, match="no mail")
    assert bus.counts is None


async def test_while_the_store_is_away_the_application_starts_and_takes_orders(tmp_path: Path) -> None:
    bus = EventBus("postgresql://127.0.0.1:1/nowhere", spool=str(tmp_path / "spool"), store_timeout=0.2)
    bus.subscribe("order.placed", lambda event: None, name="billing")
    async with asking(shop(bus)) as client:
        assert (await client.post("/orders")).text == "spool"


async def test_it_comes_to_websockets_too(bus: EventBus, sqlite_dsn: str) -> None:
    app, sent = shop(bus, worker="off"), list[str]()

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "path": "/live",
        "raw_path": b"/live",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
    }
    async with app.lifespan():
        await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent == ["websocket.accept", "websocket.close"]
    assert stored(sqlite_dsn) == ["live.joined"]


def test_another_dependency_of_its_name_is_refused(bus: EventBus) -> None:
    with pytest.raises(ConfigurationError, match="give that one another name"):
        shop(bus, dependencies={"bus": Provide(lambda: 1, sync_to_thread=False)})


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
        HoldfastPlugin(given, **options)


# ---- mounted


async def where_it_is(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse([scope["root_path"], scope["path"]])(scope, receive, send)


@pytest.mark.parametrize(
    ("mount", "asked", "told"),
    [
        ("/operations", "/operations", ["/operations", "/operations/"]),
        ("/operations", "/operations/", ["/operations", "/operations/"]),
        ("operations/", "/operations/static/a.css", ["/operations", "/operations/static/a.css"]),
        ("/", "/events", ["", "/events"]),
    ],
)
async def test_a_mounted_application_knows_where_it_is(mount: str, asked: str, told: list[str]) -> None:
    async with asking(Litestar([mounted(mount, where_it_is)])) as client:
        assert (await client.get(asked)).json() == told


async def test_guards_stand_before_what_is_mounted() -> None:
    def nobody(*_: Any) -> None:
        raise NotAuthorizedException

    async with asking(Litestar([mounted("/operations", where_it_is, guards=[nobody])])) as client:
        assert (await client.get("/operations/")).status_code == 401


# ---- commands

PROGRAM = """
from contextlib import asynccontextmanager

from litestar import Litestar

from holdfast import EventBus
from holdfast.integrations.litestar import HoldfastPlugin

bus = EventBus({dsn!r}, spool="off")
opened = []


@bus.subscribe("order.placed", name="receipts", start="beginning")
async def send_receipt(event):
    print("receipt", opened, event.payload["order_id"], flush=True)


@asynccontextmanager
async def mail(app):
    opened.append("anchor")
    yield
    opened.clear()


app = Litestar(plugins=[HoldfastPlugin(bus, worker={worker!r})], lifespan=[mail])
"""


@pytest.mark.parametrize(
    ("store", "worker", "asked", "code", "said"),
    [("sqlite", "off", ["subscriptions"], 0, "receipts"), ("postgresql", "embedded", ["event", "no-id"], 2, "no-id")],
)
def test_its_command_line_works_on_its_store(
    tmp_path: Path, request: pytest.FixtureRequest, store: str, worker: str, asked: list[str], code: int, said: str
) -> None:
    dsn = request.getfixturevalue("sqlite_dsn" if store == "sqlite" else "emptied_dsn")
    (tmp_path / "shop.py").write_text(PROGRAM.format(dsn=dsn, worker=worker), "utf-8")
    with SyncEventBus(dsn, spool="off") as bus:
        bus.publish("order.placed", {"order_id": 7})
    litestar = [sys.executable, "-m", "litestar", "--app", "shop:app", "holdfast"]
    elsewhere = program_environment({"HOLDFAST_DSN": "sqlite:///elsewhere.db"})
    with subprocess.Popen(
        [*litestar, "worker"], cwd=tmp_path, env=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert line == "receipt ['anchor'] 7\n", line + rest + errors
    done = subprocess.run([*litestar, *asked], cwd=tmp_path, env=elsewhere, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert not (tmp_path / "elsewhere.db").exists()
    if store == "sqlite":
        assert (stored(dsn), receipts(dsn)) == (["order.placed"], 1)
