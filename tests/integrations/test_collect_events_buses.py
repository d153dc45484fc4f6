"""Which sessions' events go to which bus, how a flush waits for it, and what is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast import Event, EventBus, SyncEventBus
from holdfast.errors import BusStateError, ConfigurationError, SpoolPending, TransactionError, WrongStore
from holdfast.integrations.sqlalchemy import RecordsEvents, collect_events
from tests.bus.waiting import sql

from .collecting import KINDS, Base, Order, named, opened, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine(sqlite_dsn: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(sqlite_dsn)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def sync_bus(sqlite_dsn: str) -> Iterator[SyncEventBus]:
    bus = SyncEventBus(sqlite_dsn, spool="off")
    yield bus
    bus.close()


def place(session: Session, name: str = "order.placed") -> None:
    order = Order()
    order.record(name, lambda: {"id": order.id}, key="one")
    session.add(order)
    session.commit()


# ---- which sessions


async def test_an_asynchronous_session_is_used_as_ever(sqlite_dsn: str) -> None:
    async with opened("aiosqlite", sqlite_dsn) as sessions:
        async with sessions.make.begin() as session:
            order = Order()
            order.record("order.placed", lambda: {"id": order.id})
            session.add(order)
            await session.flush()
            order.record("order.paid")
        async with sessions.make() as session:
            (await session.get_one(Order, 1)).record("order.sent")
            await session.commit()
            (await session.get_one(Order, 1)).record("order.lost")
            await session.rollback()
    assert named(sqlite_dsn) == ["order.placed", "order.paid", "order.sent"]


def of_a_session(engine: sqlalchemy.Engine) -> tuple[Any, Any]:
    session = Session(engine)
    return session, lambda: session


def of_a_class(engine: sqlalchemy.Engine) -> tuple[Any, Any]:
    class Ours(Session):
        pass

    class Below(Ours):
        pass

    return Ours, lambda: Below(engine)


def of_a_maker(engine: sqlalchemy.Engine) -> tuple[Any, Any]:
    made = sessionmaker(engine)
    return made, made


def of_a_scope(engine: sqlalchemy.Engine) -> tuple[Any, Any]:
    made = scoped_session(sessionmaker(engine))
    return made, made


@pytest.mark.parametrize("kind", [of_a_session, of_a_class, of_a_maker, of_a_scope])
def test_sessions_are_named_by_what_makes_them(
    kind: Any, engine: sqlalchemy.Engine, sync_bus: SyncEventBus, sqlite_dsn: str
) -> None:
    sessions, make = kind(engine)
    collect_events(sessions, sync_bus)
    collect_events(sessions, sync_bus)  # again: nothing is published twice
    with make() as session:
        place(session)
    assert named(sqlite_dsn) == ["order.placed"]


async def test_an_asynchronous_class_and_a_scope_can_be_named_too(sqlite_dsn: str) -> None:
    class Ours(AsyncSession):
        pass

    bus, engine = (
        EventBus(sqlite_dsn, spool="off"),
        create_async_engine(sqlite_dsn.replace("sqlite:", "sqlite+aiosqlite:")),
    )
    scope = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        collect_events(Ours, bus)
        collect_events(scope, bus)
        async with Ours(engine) as session:
            await session.run_sync(place)
            collect_events(session, bus)
        async with scope() as session:
            await session.run_sync(place)
        async with AsyncSession(engine) as session:
            with pytest.raises(ConfigurationError, match="nobody collects the events"):
                await session.run_sync(place)
    finally:
        await engine.dispose()
        await bus.close()
    assert named(sqlite_dsn) == ["order.placed"] * 2


def test_the_nearest_bus_counts(engine: sqlalchemy.Engine, sync_bus: SyncEventBus, sqlite_dsn: str) -> None:
    class Ours(Session):
        pass

    elsewhere = SyncEventBus("sqlite://")
    collect_events(Ours, elsewhere)
    maker = sessionmaker(engine, class_=Ours)
    collect_events(maker, elsewhere)
    collect_events(maker, sync_bus)  # the last call counts
    with maker() as session:
        place(session)
    assert named(sqlite_dsn) == ["order.placed"]
    elsewhere.close()


# ---- how it waits


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_use_of_a_bus_may_be_such_a_flush(kind: str, request: pytest.FixtureRequest) -> None:
    """Nothing is registered yet, nor are there tables, and on SQLite the session holds the only write lock."""
    dsn, seen = request.getfixturevalue("sqlite_dsn" if "sqlite" in kind else "postgres_dsn"), list[str]()
    async with opened(kind, dsn, warm=False) as sessions:
        sessions.bus.subscribe("order.**", lambda event: seen.append(event.name), name="h")
        await sessions.do(place)
        if sessions.is_async:
            await sessions.bus.drain(timeout=10)
        else:
            sessions.bus.drain(timeout=10)
    assert seen == ["order.placed"]


async def test_a_synchronous_session_in_a_thread_waits_for_an_event_bus_in_its_loop(
    engine: sqlalchemy.Engine, sqlite_dsn: str
) -> None:
    sessions, bus = sessionmaker(engine), EventBus(sqlite_dsn, spool="off")
    collect_events(sessions, bus)

    def work() -> None:
        with sessions() as session:
            place(session)

    with pytest.raises(BusStateError, match="give collect_events a SyncEventBus"):
        await asyncio.to_thread(work)  # the bus is nowhere at work
    async with bus:
        await asyncio.to_thread(work)
        with pytest.raises(BusStateError, match="use an AsyncSession"):
            work()
    assert (named(sqlite_dsn), statuses(sqlite_dsn)) == (["order.placed"], ["open"])


async def test_what_is_recorded_while_handling_has_its_cause(sqlite_dsn: str) -> None:
    async with opened("aiosqlite", sqlite_dsn) as sessions:

        @sessions.bus.subscribe("cart.paid", name="orders")
        async def handle(event: Event) -> None:
            await sessions.do(place)

        cause = await sessions.bus.publish("cart.paid", tenant_id="acme")
        await sessions.bus.drain(timeout=10)
    ((tenant, headers),) = sql(sqlite_dsn, "select tenant_id, headers from event_log where event_name = 'order.placed'")
    assert tenant == "acme"
    assert str(cause.event_id) in headers


async def test_what_is_in_the_spool_under_the_key_comes_first(sqlite_dsn: str, tmp_path: Path) -> None:
    async with opened("aiosqlite", sqlite_dsn, spool=tmp_path / "spool", store_timeout=0.3) as sessions:
        async with sessions.make() as session:
            session.add(Order())
            await session.flush()  # from here on it keeps everybody else from writing
            assert (await sessions.bus.publish("order.early", key="one")).where == "spool"
            with pytest.raises(SpoolPending):
                await session.run_sync(place)
            await session.rollback()
        await sessions.bus.drain(timeout=10)
        await sessions.do(place)
    assert (named(sqlite_dsn), statuses(sqlite_dsn)) == (["order.early", "order.placed"], ["open"])


# ---- refused


def test_a_session_whose_events_nobody_collects_takes_none(engine: sqlalchemy.Engine, sqlite_dsn: str) -> None:
    with Session(engine) as session:
        order = Order()
        session.add(order)
        with pytest.raises(ConfigurationError, match="nobody collects the events"):
            order.record("order.placed")
        session.commit()  # nothing was recorded
        other = Order()
        other.record("order.placed")
        with pytest.raises(ConfigurationError, match="nobody collects the events"):
            session.add(other)
        session.commit()
    assert statuses(sqlite_dsn) == ["open"]


@pytest.mark.parametrize(
    ("sessions", "bus", "said"),
    [
        (sessionmaker(), "sqlite:///shop.db", "bus is of type str"),
        (async_sessionmaker(), SyncEventBus("sqlite://"), "give an EventBus"),
        (AsyncSession, SyncEventBus("sqlite://"), "give an EventBus"),
        (Order, SyncEventBus("sqlite://"), "give a sessionmaker"),
        (sqlalchemy.create_engine("sqlite://"), SyncEventBus("sqlite://"), "of type sqlalchemy.engine.base.Engine"),
    ],
)
def test_what_is_of_no_use_is_refused_at_once(sessions: Any, bus: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        collect_events(sessions, bus)


def test_what_is_not_mapped_records_nothing() -> None:
    class Note(RecordsEvents):
        pass

    with pytest.raises(ConfigurationError, match="Note is not mapped"):
        Note().record("note.made")


def test_a_session_that_leads_elsewhere_is_refused(
    engine: sqlalchemy.Engine, sync_bus: SyncEventBus, tmp_path: Path, sqlite_dsn: str
) -> None:
    sync_bus.publish("warm.up")
    other = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    Base.metadata.create_all(other)
    sessions = sessionmaker(other)
    collect_events(sessions, sync_bus)
    with sessions() as session, pytest.raises(WrongStore):
        place(session)
    other.dispose()
    assert named(sqlite_dsn) == []


def test_entities_of_two_databases_in_one_flush_are_refused(
    engine: sqlalchemy.Engine, sync_bus: SyncEventBus, tmp_path: Path, sqlite_dsn: str
) -> None:
    class Parcel(RecordsEvents, Base):
        __table__ = sqlalchemy.Table(
            "parcels", sqlalchemy.MetaData(), sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True)
        )

    other = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    Parcel.__table__.create(other)
    sessions = sessionmaker(binds={Order: engine, Parcel: other})
    collect_events(sessions, sync_bus)
    with sessions() as session:
        session.add(Parcel())  # which records nothing
        place(session)
    with sessions() as session:
        parcel = Parcel()
        parcel.record("parcel.sent")
        session.add(parcel)
        with pytest.raises(TransactionError, match="several databases"):
            place(session)
    other.dispose()
    assert named(sqlite_dsn) == ["order.placed"]


async def test_a_synchronous_bus_is_no_use_to_an_asynchronous_session(sqlite_dsn: str) -> None:
    """Named by a class of synchronous sessions, it meets one that an asynchronous session has made of that."""

    class Ours(Session):
        pass

    bus, engine = SyncEventBus(sqlite_dsn), create_async_engine(sqlite_dsn.replace("sqlite:", "sqlite+aiosqlite:"))
    collect_events(Ours, bus)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, sync_session_class=Ours) as session:
        with pytest.raises(BusStateError, match="give it an EventBus"):
            await session.run_sync(place)
    await engine.dispose()
