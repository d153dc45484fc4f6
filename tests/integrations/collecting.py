"""Sessions of SQLAlchemy on each store and driver, whose events a bus collects; what tests do with them is written once."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlmodel import Field, SQLModel
from sqlmodel import Session as SQLModelSession
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelAsyncSession

from holdfast import EventBus, SyncEventBus
from holdfast.integrations.sqlalchemy import RecordsEvents, collect_events
from tests.bus.waiting import sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Engine

T = TypeVar("T")

KINDS = ["sqlite3", "aiosqlite", "psycopg", "asyncpg"]
DRIVERS = {"sqlite3": "sqlite", "aiosqlite": "sqlite+aiosqlite", "psycopg": "postgresql+psycopg"}


class Base(DeclarativeBase):
    pass


class Order(RecordsEvents, Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="open")


class Invoice(RecordsEvents, SQLModel, table=True):
    __tablename__ = "invoices"

    id: int | None = Field(default=None, primary_key=True)
    status: str = "open"


class Sessions:
    """Sessions of one kind, and the bus that collects their events.

    Attributes:
        statements: What was sent by them, whoever has sent it.
    """

    def __init__(self, kind: str, dsn: str, bus: Any, *, models: bool = False) -> None:
        self.dsn, self.bus = dsn, bus
        self.is_async = kind in ("aiosqlite", "asyncpg")
        url = dsn.replace(
            "sqlite:" if "sqlite" in kind else "postgresql:", DRIVERS.get(kind, f"postgresql+{kind}") + ":"
        )
        self.make: Any
        self.statements: list[str] = []
        if self.is_async:
            self._engine: Any = create_async_engine(url)
            self.make = async_sessionmaker(self._engine, **({"class_": SQLModelAsyncSession} if models else {}))
        else:
            self._engine = sqlalchemy.create_engine(url)
            self.make = sessionmaker(self._engine, **({"class_": SQLModelSession} if models else {}))
        engine: Engine = self._engine.sync_engine if self.is_async else self._engine
        if engine.dialect.name == "sqlite":
            let_it_begin(engine)
        event.listen(engine, "before_cursor_execute", lambda *given: self.statements.append(given[2]))
        collect_events(self.make, bus)

    async def do(self, work: Callable[[Session], T]) -> T:
        """What *work* makes of a session, which is closed afterwards."""
        if self.is_async:
            async with self.make() as session:
                result: T = await session.run_sync(work)
                return result
        with self.make() as session:
            return work(session)

    async def close(self) -> None:
        if self.is_async:
            await self._engine.dispose()
            await self.bus.close()
        else:
            self._engine.dispose()
            self.bus.close()

    async def prepare(self) -> None:
        """Make the tables of the entities."""
        for metadata in (Base.metadata, SQLModel.metadata):
            await self.do(lambda session, tables=metadata: tables.create_all(session.connection()) or session.commit())  # type: ignore[misc]


def let_it_begin(engine: Engine) -> None:
    """SQLAlchemy begins transactions of SQLite itself, as the driver does it too late for savepoints."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        connection.exec_driver_sql("begin immediate")


@asynccontextmanager
async def opened(
    kind: str, dsn: str, *, warm: bool = True, models: bool = False, **options: Any
) -> AsyncIterator[Sessions]:
    """Sessions with tables, and a bus that was used before where *warm*. *models*: they are SQLModel's."""
    is_async = kind in ("aiosqlite", "asyncpg")
    given = {"auto_migrate": True, "spool": "off", "store_timeout": 5, **options}
    bus: Any = (EventBus if is_async else SyncEventBus)(dsn, **given)
    sessions = Sessions(kind, dsn, bus, models=models)
    try:
        if warm and is_async:
            await bus.publish("warm.up")
        elif warm:
            bus.publish("warm.up")
        await sessions.prepare()
        yield sessions
    finally:
        await sessions.close()


def named(dsn: str) -> list[str]:
    """Names of all events but the first one, in the order in which they were stored."""
    rows = sql(dsn, "select event_name from event_log where event_name <> 'warm.up' order by position")
    return [name for (name,) in rows]


def statuses(dsn: str) -> list[str]:
    return [status for (status,) in sql(dsn, "select status from orders order by id")]
