"""
A shop behind Litestar. Orders record their events, and the flush that writes an order publishes them with it; a worker
inside of the application sends the receipt.

    pip install 'holdfast[litestar,web]' 'sqlalchemy[asyncio]' aiosqlite uvicorn
    STAFF_PASSWORD=please uvicorn examples.litestar_shop:app
    curl -X POST localhost:8000/orders -H 'content-type: application/json' -d '{"customer": "ann", "item": "anchor"}'
    curl -X POST localhost:8000/orders/1/payments
    curl localhost:8000/orders/1

The dashboard is at /operations, for whoever has logged in by POST /login. ``litestar --app examples.litestar_shop:app
holdfast status`` looks at the bus.
"""

import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotAuthorizedException, NotFoundException
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from holdfast import Event, EventBus, dashboard
from holdfast.dashboard import Actor, Role
from holdfast.integrations.litestar import HoldfastPlugin, mounted
from holdfast.integrations.sqlalchemy import RecordsEvents, collect_events

bus = EventBus(os.environ.get("HOLDFAST_DSN", "sqlite:///shop.db"), auto_migrate=True)
engine = create_async_engine(
    bus.dsn.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+psycopg:")
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
collect_events(sessions, bus)


class Base(DeclarativeBase):
    pass


class Order(RecordsEvents, Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    item: Mapped[str]
    receipt_sent: Mapped[bool] = mapped_column(default=False)

    @classmethod
    def placed(cls, customer: str, item: str) -> "Order":
        order = cls(customer=customer, item=item)
        order.record("order.placed", lambda: {"order_id": order.id, "item": item}, key=customer)
        return order


@dataclass
class NewOrder:
    customer: str
    item: str


@asynccontextmanager
async def tables(_: Litestar) -> AsyncIterator[None]:
    """What is the application's own: it begins before the bus and ends after it."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await operations.close()
    await engine.dispose()


async def opened_session() -> AsyncIterator[AsyncSession]:
    """The transaction of a request: committed when the handler returns, before the answer is sent; undone when it raises."""
    async with sessions.begin() as opened:
        yield opened


Session = NamedDependency[AsyncSession]


@bus.subscribe("order.placed", name="receipts")
async def send_receipt(event: Event) -> None:
    async with sessions.begin() as opened:
        order = await opened.get_one(Order, event.payload["order_id"])
        order.receipt_sent = True


@post("/orders")
async def place(data: JSONBody[NewOrder], session: Session) -> dict[str, int]:
    order = Order.placed(data.customer, data.item)
    session.add(order)
    await session.flush()  # the order and its event are written, and seen by nobody yet
    if order.item == "albatross":
        raise HTTPException(status_code=409, detail="none is left")  # neither of them has ever been
    return {"id": order.id}


@post("/orders/{number:int}/payments")
async def pay(number: FromPath[int], session: Session, bus: NamedDependency[EventBus]) -> dict[str, str]:
    order = await found(number, session)
    published = await bus.publish("order.paid", {"order_id": order.id}, key=order.customer, tx=session)
    return {"event": str(published.event_id)}


@get("/orders/{number:int}")
async def look(number: FromPath[int], session: Session) -> dict[str, Any]:
    order = await found(number, session)
    return {"id": order.id, "item": order.item, "receipt_sent": order.receipt_sent}


async def found(number: int, session: AsyncSession) -> Order:
    order = await session.get(Order, number)
    if order is None:
        raise NotFoundException
    return order


# The staff, and the dashboard behind the same login


@dataclass
class Login:
    password: str


@post("/login", status_code=204)
async def login(data: JSONBody[Login], request: Request[Any, Any, Any]) -> None:
    wanted = os.environ.get("STAFF_PASSWORD", "")
    if not wanted or not hmac.compare_digest(data.password.encode(), wanted.encode()):
        raise NotAuthorizedException
    request.set_session({"user": "staff"})


def staff(request: Any) -> Actor | None:
    user = request.session.get("user")  # the session that Litestar keeps
    return Actor(user, Role.OPERATOR) if user else None


operations = dashboard.app(bus, authenticate=staff)

app = Litestar(
    [place, pay, look, login, mounted("/operations", operations)],
    plugins=[HoldfastPlugin(bus)],
    dependencies={"session": Provide(opened_session)},
    lifespan=[tables],
    middleware=[ServerSideSessionConfig(samesite="strict").middleware],
)
