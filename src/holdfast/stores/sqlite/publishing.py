"""Appending events: in transactions of our own, and through the caller's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreUnavailable, WrongStore
from holdfast.stores.repeats import compare, repeat
from holdfast.stores.sqlite.guest import GuestSession, set_up_within, stands
from holdfast.stores.sqlite.rows import json_text, time_text
from holdfast.stores.values import Appended
from holdfast.transactions import adapt

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from holdfast.event import NewEvent
    from holdfast.stores.sql import Statements
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import Declaration
    from holdfast.transactions import Caller


class Publishing:
    """The part of the SQLite store that takes events."""

    _statements: Statements
    _writer: SessionThread
    _lookup: SessionThread
    _path: str | None
    _clock: Callable[[], datetime]
    _where: str

    @property
    def identity(self) -> str:
        raise NotImplementedError

    async def append(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        return await self._writer.run(append, events, atomic=atomic)

    async def notify(self) -> None:
        """Nothing to do: a commit changes ``data_version``, which every listener watches."""

    async def stands(self, declarations: Sequence[Declaration]) -> bool:
        if self._path is None:
            return True  # whatever connection the caller has, it is to another database
        try:
            return await self._lookup.run(stands, declarations)
        except StoreUnavailable:  # there is no file yet, or the caller's transaction keeps even readers out
            return False

    async def append_within(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        caller = adapt(transaction, "sqlite")
        if not caller.is_async:
            return self._append_through(caller, events, first)
        caller.require_transaction()
        store_id = self.identity if first is None else await caller.lend(self._setting_up(first))
        stored = [row for one in self._insertions(events, store_id) for row in await caller.run(*one)]
        if len(stored) == len(events):
            return [Appended.STORED] * len(events)
        existing = [row for one in self._questions(events, store_id) for row in await caller.run(*one)]
        return self._compared(events, stored, existing)

    def append_within_sync(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        return self._append_through(adapt(transaction, "sqlite"), events, first)

    def _append_through(
        self, caller: Caller, events: Sequence[NewEvent], first: Sequence[Declaration] | None
    ) -> list[Appended]:
        caller.require_transaction()
        store_id = self.identity if first is None else caller.lend_sync(self._setting_up(first))
        stored = [row for one in self._insertions(events, store_id) for row in caller.run_sync(*one)]
        if len(stored) == len(events):
            return [Appended.STORED] * len(events)
        existing = [row for one in self._questions(events, store_id) for row in caller.run_sync(*one)]
        return self._compared(events, stored, existing)

    def _setting_up(self, declarations: Sequence[Declaration]) -> Callable[[sqlite3.Connection], str]:
        return lambda connection: set_up_within(
            GuestSession(connection, self._statements, self._clock), declarations, self._statements, self._path,
            self._where,
        )  # fmt: skip

    def _insertions(self, events: Sequence[NewEvent], store_id: str) -> Iterator[tuple[str, dict[str, str]]]:
        now = time_text(self._clock())
        if rows := [_columns(event, now) for event in events if event.due_at is None]:
            yield self._statements["append_within"], {"events": json_text(rows), "store_id": store_id}
        if rows := [_columns_due(event) for event in events if event.due_at is not None]:
            later = {"events": json_text(rows), "store_id": store_id, "now": now}
            yield self._statements["append_scheduled_within"], later

    def _questions(self, events: Sequence[NewEvent], store_id: str) -> Iterator[tuple[str, dict[str, str]]]:
        given = {"ids": json_text([str(event.id) for event in events]), "store_id": store_id}
        yield self._statements["existing_within"], given
        if any(event.due_at is not None for event in events):
            yield self._statements["existing_scheduled_within"], given

    def _compared(
        self, events: Sequence[NewEvent], stored: Sequence[tuple[Any, ...]], existing: Sequence[tuple[Any, ...]]
    ) -> list[Appended]:
        if not existing:
            raise WrongStore(
                f"the connection given as tx= leads to another store than {self._where}: nothing was published; "
                f"pass a connection to the bus's own database"
            )
        return compare(events, stored, [row for row in existing if row[0] is not None])


def append(session: Session, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
    """Store *events* in one transaction; with *atomic* none of them beside a conflict."""
    outcomes: list[Appended] = []
    try:
        with session.write():
            now = session.now()
            for event in events:
                outcomes.append(append_one(session, event, now))  # noqa: PERF401 - the rollback below needs the list
            if atomic and Appended.CONFLICT in outcomes:
                raise _Conflict
    except _Conflict:
        pass
    return outcomes


class _Conflict(Exception):
    """Ends the transaction with a rollback."""


def append_one(session: Session, event: NewEvent, now: str) -> Appended:
    """Store an event: in the log, or apart from it until it is due."""
    if event.due_at is not None:
        return _append_scheduled(session, event, now)
    if session.count("append_one", append_parameters(event, now)) == 1:
        return Appended.STORED
    row = session.row("existing", id=str(event.id))
    if row is None:
        raise StoreUnavailable(f"event {event.id} was neither stored nor found: the file has changed underneath")
    return repeat(event, row)


def _append_scheduled(session: Session, event: NewEvent, now: str) -> Appended:
    given = {"id": str(event.id)}
    row = session.row("existing", **given) or session.row("existing_scheduled", **given)
    if row is not None:
        return repeat(event, row)
    session.count("append_scheduled", dict(zip((*_COLUMNS, "due_at"), _columns_due(event), strict=True)) | {"now": now})
    return Appended.STORED


def append_parameters(event: NewEvent, now: str) -> dict[str, str | None]:
    """Parameters of ``append_one``."""
    return dict(zip(_COLUMNS, _columns(event, now), strict=True))


_COLUMNS = ("id", "occurred_at", "tenant_id", "event_name", "event_key", "payload", "headers")


def _columns(event: NewEvent, now: str) -> tuple[str | None, ...]:
    return (
        str(event.id), now if event.occurred_at is None else time_text(event.occurred_at), event.tenant_id,
        event.name, event.key, event.payload.decode(), None if event.headers is None else event.headers.decode(),
    )  # fmt: skip


def _columns_due(event: NewEvent) -> tuple[str | None, ...]:
    """Of a scheduled event, which gets its time when it comes into the log, unless the publisher has said it."""
    event_id, _, *rest = _columns(event, "")
    moments = (None if one is None else time_text(one) for one in (event.occurred_at, event.due_at))
    occurred_at, due_at = moments
    return (event_id, occurred_at, *rest, due_at)
