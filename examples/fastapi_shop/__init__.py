"""
A shop behind FastAPI. An order and its event commit together, and a worker inside of the application sends the receipt.

    pip install 'holdfast[fastapi,web]' 'sqlalchemy[asyncio]' aiosqlite uvicorn
    STAFF_PASSWORD=please uvicorn examples.fastapi_shop:app
    curl -X POST localhost:8000/orders -H 'content-type: application/json' -d '{"customer": "ann", "item": "anchor"}'
    curl localhost:8000/orders/1

The dashboard is at /operations, for whoever has logged in by POST /login.
"""

import hmac
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from holdfast import Event, EventBus, dashboard
from holdfast.dashboard import Actor, Role
from holdfast.integrations.fastapi import Bus, lifespan

bus = EventBus(os.environ.get("HOLDFAST_DSN", "sqlite:///shop.db"), auto_migrate=True)
engine = create_async_engine(
    bus.dsn.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+psycopg:")
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    item: Mapped[str]
    receipt_sent: Mapped[bool] = mapped_column(default=False)


class NewOrder(BaseModel):
    customer: str
    item: str


@asynccontextmanager
async def tables(_: FastAPI) -> AsyncIterator[None]:
    """What is the application's own: it begins before the bus and ends after it."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await operations.close()
    await engine.dispose()


async def session() -> AsyncIterator[AsyncSession]:
    """The transaction of a request: committed when the endpoint returns, undone when it raises."""
    async with sessions.begin() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session, scope="function")]  # committed before the answer is sent


@bus.subscribe("order.placed", name="receipts")
async def send_receipt(event: Event) -> None:
    async with sessions.begin() as opened:
        order = await opened.get_one(Order, event.payload["order_id"])
        order.receipt_sent = True


app = FastAPI(lifespan=lifespan(bus, own=tables))


@app.post("/orders", status_code=201)
async def place(new: NewOrder, bus: Bus, session: Session) -> dict[str, int]:
    order = Order(customer=new.customer, item=new.item)
    session.add(order)
    await session.flush()
    await bus.publish("order.placed", {"order_id": order.id, "item": order.item}, key=order.customer, tx=session)
    if order.item == "albatross":
        raise HTTPException(409, "none is left")  # neither the order nor the event has ever been
    return {"id": order.id}


@app.get("/orders/{number}")
async def look(number: int, session: Session) -> dict[str, object]:
    order = await session.get(Order, number)
    if order is None:
        raise HTTPException(404)
    return {"id": order.id, "item": order.item, "receipt_sent": order.receipt_sent}


# The staff, and the dashboard behind the same login

tickets: set[str] = set()


class Login(BaseModel):
    password: str


@app.post("/login", status_code=204)
async def login(response: Response, given: Login) -> None:
    wanted = os.environ.get("STAFF_PASSWORD", "")
    if not wanted or not hmac.compare_digest(given.password.encode(), wanted.encode()):
        raise HTTPException(401)
    tickets.add(ticket := secrets.token_urlsafe())
    response.set_cookie("ticket", ticket, httponly=True, samesite="strict")


def staff(request: Request) -> Actor | None:
    return Actor("staff", Role.OPERATOR) if request.cookies.get("ticket") in tickets else None


operations = dashboard.app(bus, authenticate=staff)
app.mount("/operations", operations)
