"""
Events that entities of SQLAlchemy and SQLModel record, published by the flush that writes them.

::

    class Order(RecordsEvents, Base):
        __tablename__ = "orders"

        id: Mapped[int] = mapped_column(primary_key=True)
        status: Mapped[str] = mapped_column(default="open")

        def pay(self) -> None:
            self.status = "paid"
            self.record("order.paid", {"order_id": self.id}, key=f"order-{self.id}")

    sessions = sessionmaker(engine)
    collect_events(sessions, bus)

    with sessions.begin() as session:
        session.get_one(Order, 1).pay()  # the row and its event commit together, or neither is ever seen

An entity keeps what it has recorded until a flush has published it. A session knows which of its entities have something
to publish, and what it has published in the transaction that is open, so that a rollback can take it back.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import event, inspect
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.orm.attributes import flag_dirty

from holdfast.bus import EventBus
from holdfast.composing import compose, compose_items
from holdfast.context import handled_by
from holdfast.errors import BusStateError, ConfigurationError, TransactionError
from holdfast.names import type_name
from holdfast.publisher import published_within
from holdfast.sync import SyncEventBus

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection
    from sqlalchemy.orm import InstanceState, SessionTransaction, UOWTransaction

    from holdfast.event import NewEvent

__all__ = ["RecordsEvents", "collect_events"]

_KEY = "holdfast"  # in the `info` of an entity's state: what it has recorded, and nobody has published

_numbers = itertools.count(1)
"""Of what is recorded, published and begun, so that any two of these are known to be one before the other."""


def collect_events(sessions: Any, bus: EventBus | SyncEventBus) -> None:
    """
    Let flushes publish what entities have recorded, in their own transactions.

    Call it where the sessions are made; the last call counts. A synchronous session goes with a `SyncEventBus`, or, in
    threads, with an `EventBus` that is at work in its loop; an asynchronous one with an `EventBus`.

    Args:
        sessions: A ``sessionmaker`` or ``async_sessionmaker``, a scoped session, a class of sessions (which means all
            of that class and of those below it), or one session. The nearest to a session counts.
        bus: Its store is in the database of these sessions.

    Raises:
        ConfigurationError: It is none of these, or the bus is of the other kind.
    """
    kind = _kind_of(sessions)
    given: Any = bus  # callers without a type checker give other things
    if not isinstance(given, EventBus | SyncEventBus):
        raise ConfigurationError(f"bus is of type {type_name(bus)}: give an EventBus or a SyncEventBus")
    if isinstance(bus, SyncEventBus) and _is_async(kind):
        raise ConfigurationError("bus is a SyncEventBus, which would block the sessions' loop: give an EventBus")
    _BUSES[kind] = bus


class RecordsEvents:
    """
    What lets an entity record events: a mixin for mapped classes, SQLModel's among them.

    What was recorded is published as attributes are written: by the next flush, in its transaction, once the entity is
    in a session. A rollback treats it as attributes, too: one that was new keeps both, every other loses both.
    """

    def record(
        self, name: str, payload: Any = None, *, tenant_id: str | None = None,
        key: str | Callable[[], str] | None = None, event_id: UUID | str | None = None,
        headers: Mapping[str, str] | None = None, occurred_at: datetime | None = None,
        deliver_at: datetime | None = None, delay: float | None = None,
    ) -> None:  # fmt: skip
        """
        Record an event, to be published with this entity. Events of a session are published in the order of the calls.

        Args:
            name, tenant_id, event_id, headers, occurred_at, deliver_at: As for `EventBus.publish`.
            delay: As there, counted from the flush.
            payload: As there, kept as it is now; or a function that makes it when the entity has been written, and has
                the id that the database gave it.
            key: As there, or such a function.

        Raises:
            InvalidEvent: Something breaks a rule. What functions return is looked at by the flush.
            ConfigurationError: The entity is not mapped, or nobody collects the events of its session.

        Cost: none of its own; a flush that publishes has one statement more, however many events it has.
        """
        state: InstanceState[Any] | None = inspect(self, raiseerr=False)
        if state is None:
            raise ConfigurationError(f"{type_name(self)} is not mapped: its events belong to no session")
        session = state.session
        if session is not None:
            _required_bus(session)
        recorded = _Recorded(next(_numbers), _checked({
            "name": name, "payload": payload, "tenant_id": tenant_id, "key": key, "event_id": event_id,
            "headers": headers, "occurred_at": occurred_at, "deliver_at": deliver_at, "delay": delay,
        }))  # fmt: skip
        _waiting(state).append(recorded)
        if session is None or not _outbox_of(session).take(state, self):
            flag_dirty(self)  # a session that has only this to write is flushed for it


class _Recorded(NamedTuple):
    """An event as `publish_many` takes it, but for functions that are still to be called."""

    number: int
    fields: dict[str, Any]

    def item(self) -> dict[str, Any]:
        return {name: value() if callable(value) else value for name, value in self.fields.items()}


class _Published(NamedTuple):
    """What a flush has published, with the number of that flush."""

    number: int
    entity: Any
    recorded: _Recorded


class _Outbox:
    """What the entities of one session have recorded."""

    def __init__(self) -> None:
        self.entities: dict[InstanceState[Any], Any] = {}
        """Those with events that wait. Held: of one that has not changed the session itself would let go."""
        self.published: list[_Published] = []
        """By the transaction that is open."""
        self._flush: Callable[[], UOWTransaction | None] = _no_flush

    @property
    def is_flushing(self) -> bool:
        """Whether a flush is under way, which would not hear of a change: it asks here when it has written all."""
        return self._flush() is not None

    def take(self, state: InstanceState[Any], entity: Any) -> bool:
        """The entity has events that wait; returns whether the flush that is under way publishes them."""
        self.entities[state] = entity
        return self.is_flushing

    def begin(self, flush: UOWTransaction) -> None:
        self._flush = weakref.ref(flush)

    def publish(self, session: Session) -> None:
        """Publish what waits; an entity that is still to be inserted goes with the flush that does that."""
        self._flush = _no_flush
        ready = [state for state in self.entities if state.session is session and not state.pending]
        waiting = sorted((one.number, one, state) for state in ready for one in _waiting(state))
        if not waiting:
            return
        _publish(_required_bus(session), [one.item() for _, one, _ in waiting], _connection(session, ready))
        number, last = next(_numbers), waiting[-1][0]
        self.published += [_Published(number, self.entities[state], one) for _, one, state in waiting]
        for state in ready:
            self._forget(state, since=0, until=last)

    def take_back(self, session: Session, since: int) -> None:
        """Undo what was recorded and published from number *since* on, as that has been rolled back."""
        self._flush = _no_flush
        undone = [one for one in self.published if one.number > since]
        self.published = [one for one in self.published if one.number < since]
        for one in undone:
            state: InstanceState[Any] = inspect(one.entity)
            if state.transient:
                _waiting(state).append(one.recorded)  # it has its attributes, too, and may be added again
            elif state.session is session and one.recorded.number < since:
                _waiting(state).append(one.recorded)
                self.entities[state] = one.entity
        for state in list(self.entities):
            if state.session is session:
                self._forget(state, since=since)
            else:
                del self.entities[state]  # it has left, and what it has recorded with it

    def _forget(self, state: InstanceState[Any], *, since: int, until: float = inf) -> None:
        """What was recorded within these numbers waits no more."""
        left = [one for one in _waiting(state) if not since < one.number <= until]
        if left:
            state.info[_KEY] = left
        else:
            del state.info[_KEY], self.entities[state]


def _no_flush() -> None:
    return None


_BUSES: weakref.WeakKeyDictionary[Any, EventBus | SyncEventBus] = weakref.WeakKeyDictionary()
"""Where the events of a class of sessions, or of one session, go."""
_OWN_CLASSES: weakref.WeakSet[type[AsyncSession]] = weakref.WeakSet()
"""Those that were made for one maker."""
_OUTBOXES: weakref.WeakKeyDictionary[Session, _Outbox] = weakref.WeakKeyDictionary()
_BEGUN: weakref.WeakKeyDictionary[SessionTransaction, int] = weakref.WeakKeyDictionary()
"""Transactions that are open: the number at which a savepoint began, 0 for a whole transaction."""


def _kind_of(sessions: Any) -> Any:
    """What the sessions are known by: a class that is theirs alone, as each maker has one, or the session itself."""
    found = sessions.session_factory if isinstance(sessions, scoped_session | async_scoped_session) else sessions
    if isinstance(found, async_sessionmaker):
        _give_class(found)
    if isinstance(found, sessionmaker | async_sessionmaker):
        found = found.class_
    if isinstance(found, Session | AsyncSession):
        return found
    if isinstance(found, type) and issubclass(found, Session | AsyncSession):
        return found
    raise ConfigurationError(
        f"events cannot be collected from what is of type {type_name(sessions)}: give a sessionmaker, an "
        f"async_sessionmaker, a class of sessions or a session"
    )


def _give_class(maker: Any) -> None:
    """Give an ``async_sessionmaker`` a class that is its alone, as a ``sessionmaker`` makes itself one."""
    if maker.class_ not in _OWN_CLASSES:
        maker.class_ = type(maker.class_.__name__, (maker.class_,), {})
        _OWN_CLASSES.add(maker.class_)


def _is_async(kind: Any) -> bool:
    return isinstance(kind, AsyncSession) or (isinstance(kind, type) and issubclass(kind, AsyncSession))


def _bus_of(session: Session) -> EventBus | SyncEventBus | None:
    faces: tuple[Any, ...] = tuple(face for face in (async_session(session), session) if face is not None)
    nearest = (kind for face in faces for kind in (face, *type(face).__mro__))
    return next((_BUSES[kind] for kind in nearest if kind in _BUSES), None)


def _required_bus(session: Session) -> EventBus | SyncEventBus:
    if (found := _bus_of(session)) is None:
        raise ConfigurationError(
            "an entity has recorded an event, and nobody collects the events of its session: "
            "call collect_events(...) with what makes this session"
        )
    return found


def _outbox_of(session: Session) -> _Outbox:
    return _OUTBOXES.setdefault(session, _Outbox())


def _waiting(state: InstanceState[Any]) -> list[_Recorded]:
    """What the entity has recorded, and no flush has published."""
    found: list[_Recorded] = state.info.setdefault(_KEY, [])
    return found


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """These, with a payload that does not change any more; functions are called, and looked at, later."""
    payload, key = (None if callable(value) else value for value in (fields["payload"], fields["key"]))
    composed = compose(**{**fields, "payload": payload, "key": key}, cause=None, limit=sys.maxsize)
    return fields if callable(fields["payload"]) else {**fields, "payload": composed.payload}


# What sessions tell. Those whose events nobody collects are left alone, unless one of their entities has recorded some.


@event.listens_for(Session, "before_attach")
def _attached(session: Session, entity: Any) -> None:
    if isinstance(entity, RecordsEvents):
        state: InstanceState[Any] = inspect(entity)
        if state.info.get(_KEY):
            _required_bus(session)
            _outbox_of(session).take(state, entity)


@event.listens_for(Session, "before_flush")
def _flush_begun(session: Session, flush: UOWTransaction, _: Any) -> None:
    if session in _OUTBOXES or _bus_of(session) is not None:
        _outbox_of(session).begin(flush)


@event.listens_for(Session, "after_flush_postexec")
def _flushed(session: Session, _: UOWTransaction) -> None:
    if (outbox := _OUTBOXES.get(session)) is not None:
        outbox.publish(session)


@event.listens_for(Session, "before_commit")
def _committing(session: Session) -> None:
    """Publish also what no flush is made for: events of an entity that was deleted, or expired, after it recorded them."""
    outbox = _OUTBOXES.get(session)
    if outbox is not None and outbox.entities and not outbox.is_flushing:
        session.flush()
        outbox.publish(session)


@event.listens_for(Session, "after_transaction_create")
def _transaction_begun(_: Session, transaction: SessionTransaction) -> None:
    if transaction.nested or transaction.parent is None:
        _BEGUN[transaction] = next(_numbers) if transaction.nested else 0


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    savepoint = session.get_nested_transaction()
    if (transaction := savepoint or session.get_transaction()) is not None:
        _BEGUN.pop(transaction, None)
    if savepoint is None and (outbox := _OUTBOXES.get(session)) is not None:
        outbox.published.clear()


@event.listens_for(Session, "after_soft_rollback")
def _rolled_back(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        _take_back(session, transaction)


@event.listens_for(Session, "after_transaction_end")
def _transaction_ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:  # a savepoint that ends because its whole transaction does is part of that
        _take_back(session, transaction)


def _take_back(session: Session, transaction: SessionTransaction) -> None:
    since = _BEGUN.pop(transaction, None)  # of one that was committed it is gone
    if since is not None and (outbox := _OUTBOXES.get(session)) is not None:
        outbox.take_back(session, since)


# Publishing within a flush, which cannot await.


def _connection(session: Session, states: Sequence[InstanceState[Any]]) -> Connection:
    """The connection by which the session has written these."""
    mappers = {state.mapper for state in states}
    first, *others = {session.connection(bind_arguments={"mapper": mapper}) for mapper in mappers}
    if others:
        raise TransactionError(
            "entities of several databases have recorded events in one flush: nothing was published; "
            "let those of the bus's own database alone record them"
        )
    return first


def _publish(bus: EventBus | SyncEventBus, items: list[dict[str, Any]], connection: Connection) -> None:
    """`publish_many` with ``tx=``, in a function that a flush calls."""
    if isinstance(bus, SyncEventBus):
        if connection.dialect.is_async:
            raise BusStateError("a SyncEventBus collects events of an asynchronous session: give it an EventBus")
        bus.publish_many(items, tx=connection)
        return
    cause, options = handled_by(bus), bus._options  # noqa: SLF001 - the same steps as its own, with another way to wait
    with bus.tracing.publishing(None, cause) as span:
        events: Sequence[NewEvent] = compose_items(
            items, cause=cause, limit=options.max_payload, require_tenant=options.require_tenant, trace=span.headers
        )
        span.composed(events)
        live, first, events = _awaited(bus, bus._prepare_within(events), connection)  # noqa: SLF001 - as above
        published_within(events, live.store.append_within_sync(connection, events, first=first))


def _awaited(bus: EventBus, work: Coroutine[Any, Any, Any], connection: Connection) -> Any:
    """The result of *work*: in an asynchronous session by SQLAlchemy's own way to await, in a thread by waiting."""
    if connection.dialect.is_async:
        below: Any = connection.connection.dbapi_connection
        return below.run_async(lambda _: work)
    live = bus._live  # noqa: SLF001 - as above
    if live is None or not live.loop.is_running() or _is_in_a_loop():
        work.close()
        raise BusStateError(
            "an EventBus collects events of a synchronous session, which cannot wait for it here: use an AsyncSession; "
            "or flush in a thread, while the bus is entered in its loop; or give collect_events a SyncEventBus"
        )
    live.require_usable()
    return asyncio.run_coroutine_threadsafe(work, live.loop).result()


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
