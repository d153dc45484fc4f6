"""What entities record is published by the flush that writes them: with it, in order, once, or not at all."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from holdfast.errors import InvalidEvent
from tests.bus.waiting import sql

from .collecting import KINDS, Invoice, Order, Sessions, named, opened, statuses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sqlalchemy.orm import Session


def dsn_for(kind: str, request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue("sqlite_dsn" if "sqlite" in kind else "emptied_dsn")
    return found


@pytest.fixture(params=KINDS)
async def sessions(request: pytest.FixtureRequest) -> AsyncIterator[Sessions]:
    async with opened(request.param, dsn_for(request.param, request)) as made:
        yield made


@pytest.fixture
def listening() -> Iterator[Callable[..., None]]:
    """``listening(target, name, function)``, until the test ends."""
    heard: list[tuple[Any, str, Any]] = []

    def listen(target: Any, name: str, function: Any) -> None:
        event.listen(target, name, function)
        heard.append((target, name, function))

    yield listen
    for one in heard:
        event.remove(*one)


def add_order(session: Session, **values: Any) -> Order:
    order = Order(**values)
    session.add(order)
    session.commit()
    return order


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entity", [Order, Invoice])
async def test_an_entity_and_what_it_records_commit_together(
    request: pytest.FixtureRequest, kind: str, entity: Any
) -> None:
    dsn = dsn_for(kind, request)

    def work(session: Session) -> int:
        one = entity(status="new")
        one.record("thing.made", lambda: {"id": one.id}, key=lambda: f"thing-{one.id}", tenant_id="acme")
        session.add(one)
        session.flush()
        assert named(dsn) == []  # nobody else sees it yet
        one.status = "changed"
        one.record("thing.changed", {"to": "changed"}, headers={"by": "ann"})
        session.commit()
        number: int = one.id
        return number

    async with opened(kind, dsn, models=entity is Invoice) as sessions:
        number = await sessions.do(work)
    rows = sql(dsn, "select event_name, payload, event_key, tenant_id from event_log order by position")[1:]
    found = [(name, json.loads(said) if isinstance(said, str) else said, *rest) for name, said, *rest in rows]
    assert found == [
        ("thing.made", {"id": number}, f"thing-{number}", "acme"),
        ("thing.changed", {"to": "changed"}, None, "default"),
    ]
    assert sql(dsn, f"select status from {entity.__tablename__}") == [("changed",)]


async def test_a_flush_that_publishes_has_one_statement_more(sessions: Sessions) -> None:
    def cost(session: Session, *, records: bool) -> int:
        sessions.statements.clear()
        for number in range(3):
            order = Order(status=str(number))
            session.add(order)
            if records:
                order.record("order.placed", lambda made=order: {"id": made.id}, key="one")
                order.record("order.checked")
        session.flush()
        return len(sessions.statements)

    plain = await sessions.do(lambda session: cost(session, records=False))
    assert await sessions.do(lambda session: cost(session, records=True)) == plain + 1


async def test_they_are_published_in_the_order_in_which_they_were_recorded(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        first, second = Order(), Order()
        second.record("order.a")
        first.record("order.b")
        session.add(first)
        session.flush()  # the second one is in no session yet
        first.record("order.c")
        session.add(second)
        first.record("order.d")
        second.record("order.e")
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.b", "order.a", "order.c", "order.d", "order.e"]


async def test_a_flush_that_fails_publishes_nothing(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.paid")
        again = Order(id=order.id)
        again.record("order.placed")
        session.expunge(order)
        session.add(again)
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        session.commit()

    await sessions.do(work)
    assert (named(sessions.dsn), statuses(sessions.dsn)) == ([], ["open"])


async def test_an_event_that_cannot_be_fails_the_flush(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        with pytest.raises(InvalidEvent, match="name"):
            Order().record("not a name")
        with pytest.raises(InvalidEvent, match=r"payload\.when"):
            Order().record("order.placed", {"when": {1}})
        order = Order()
        order.record("order.placed", lambda: {"when": {1}})
        session.add(order)
        with pytest.raises(InvalidEvent, match=r"payload\.when"):
            session.commit()
        session.rollback()
        session.commit()

    await sessions.do(work)
    assert (named(sessions.dsn), statuses(sessions.dsn)) == ([], [])


async def test_what_is_for_later_waits_and_a_rollback_takes_it_along(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.forgotten", deliver_at=datetime(2100, 1, 1, tzinfo=UTC))
        session.flush()
        session.rollback()
        order.record("order.reminded", delay=3600)
        session.commit()
        with pytest.raises(InvalidEvent, match="delay"):
            order.record("order.reminded", delay="soon")  # type: ignore[arg-type]

    await sessions.do(work)
    assert named(sessions.dsn) == []
    assert sql(sessions.dsn, "select event_name from scheduled") == [("order.reminded",)]


async def test_a_payload_is_kept_as_it_was(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order, said = add_order(session), {"n": 1}
        order.record("order.changed", said)
        said["n"] = 2
        session.commit()

    await sessions.do(work)
    ((payload,),) = sql(sessions.dsn, "select payload from event_log where event_name = 'order.changed'")
    assert payload in ({"n": 1}, '{"n":1}')


async def test_an_entity_with_nothing_else_to_write_is_published_and_not_forgotten(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        number = add_order(session).id
        session.expunge_all()
        session.get_one(Order, number).record("order.seen")
        gc.collect()
        session.commit()
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.seen"]


# ---- rolled back


async def test_a_rollback_takes_along_what_a_known_entity_recorded(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.flushed")
        session.flush()
        order.record("order.waiting")
        session.rollback()
        session.commit()
        order.record("order.kept")
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.kept"]


async def test_a_new_entity_that_is_added_again_after_a_rollback_publishes_all(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = Order()
        order.record("order.placed", lambda: {"id": order.id})
        session.add(order)
        session.flush()
        order.record("order.paid")
        session.rollback()
        session.commit()
        assert named(sessions.dsn) == []
        session.add(order)
        session.commit()
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.placed", "order.paid"]


async def test_a_savepoint_takes_back_what_was_recorded_in_it_alone(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.before")
        with session.begin_nested() as savepoint:
            order.record("order.gone")
            session.flush()
            order.record("order.gone")
            savepoint.rollback()
        order.record("order.between")
        with session.begin_nested():
            order.record("order.inside")
            with session.begin_nested() as deeper:
                order.record("order.gone")
                deeper.rollback()
        order.record("order.after")
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.before", "order.between", "order.inside", "order.after"]


async def test_what_was_recorded_before_a_savepoint_survives_it_even_if_that_published_it(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.before")
        session.expire(order)  # the session has nothing to write, so the savepoint begins without a flush
        with session.begin_nested() as savepoint:
            session.add(Order())
            session.flush()
            savepoint.rollback()
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.before"]


async def test_a_flush_that_fails_in_a_savepoint_leaves_the_rest(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.before")
        session.flush()
        known = order.id
        session.expunge(order)
        with pytest.raises(IntegrityError), session.begin_nested():
            again = Order(id=known)
            again.record("order.gone")
            session.add(again)
            session.flush()
        other = Order()
        other.record("order.after")
        session.add(other)
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.before", "order.after"]


async def test_a_new_entity_of_a_savepoint_that_was_open_when_all_was_rolled_back_keeps_its_events(
    sessions: Sessions,
) -> None:
    def work(session: Session) -> None:
        order = Order()
        session.begin_nested()
        session.add(order)
        order.record("order.placed")
        session.flush()
        session.rollback()
        session.add(order)
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.placed"]


# ---- recorded at odd times


async def test_what_is_recorded_while_a_flush_is_under_way_goes_with_it(
    sessions: Sessions, listening: Callable[..., None]
) -> None:
    """Each of these is told of another, clean entity, of which the flush itself does not hear."""

    def work(session: Session) -> None:
        clean = add_order(session)

        def once(name: str) -> Any:
            left = [name]

            def note(*_: Any) -> None:
                if left:
                    clean.record(left.pop())

            return note

        listening(session, "before_flush", once("order.a"))
        listening(Order, "after_insert", once("order.b"))
        listening(session, "after_flush", once("order.c"))
        session.add(Order())
        session.flush()
        listening(session, "after_flush_postexec", once("order.d"))
        listening(session, "before_commit", once("order.e"))
        session.add(Order())
        session.commit()

    await sessions.do(work)
    assert sorted(named(sessions.dsn)) == ["order.a", "order.b", "order.c", "order.d", "order.e"]


async def test_a_deleted_entity_publishes_too(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order, other = add_order(session), add_order(session)
        order.record("order.cancelled", {"id": order.id})
        session.delete(order)
        session.commit()
        session.delete(other)
        session.flush()
        other.record("order.gone")  # nothing is to be written any more
        session.commit()
        session.commit()

    await sessions.do(work)
    assert (named(sessions.dsn), statuses(sessions.dsn)) == (["order.cancelled", "order.gone"], [])


async def test_an_entity_that_leaves_a_session_takes_its_events_along(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.moved")
        session.expunge(order)
        session.commit()
        assert named(sessions.dsn) == []
        session.add(order)
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.moved"]


async def test_a_session_that_is_closed_publishes_nothing_and_what_it_flushed_is_gone(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        order = add_order(session)
        order.record("order.flushed")
        session.flush()
        order.record("order.waiting")
        session.close()
        session.add(order)
        session.commit()

    await sessions.do(work)
    assert named(sessions.dsn) == ["order.waiting"]


async def test_what_no_session_ever_gets_is_not_published(sessions: Sessions) -> None:
    def work(session: Session) -> None:
        Order().record("order.dreamt")
        session.add(Order())
        session.commit()

    await sessions.do(work)
    assert (named(sessions.dsn), statuses(sessions.dsn)) == ([], ["open"])
