"""Appending events: grouped, single, old ids, and through a connection that belongs to the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import InvalidEvent, StoreUnavailable, WrongStore
from holdfast.event import to_micros
from holdfast.ids import is_uuid7
from holdfast.ports import wall_millis
from holdfast.stores.postgres import arrays
from holdfast.stores.postgres.errors import translated
from holdfast.stores.postgres.pipelines import pipelined
from holdfast.stores.postgres.session import rows_of
from holdfast.stores.repeats import as_uuid, compare, repeat
from holdfast.stores.values import Appended
from holdfast.transactions import adapt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from holdfast.event import NewEvent
    from holdfast.stores.postgres.session import Connection, Session
    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Declaration
    from holdfast.transactions import Caller

_OLD_MILLIS = 20 * 3600 * 1000
_PART = 1_000  # events of one statement, where several can go


class Publishing:
    """The part of the PostgreSQL store that appends."""

    _statements: Statements
    _publish: Session
    _lease: Session
    _where: str
    _channel: str
    identity: str

    async def append(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        if all(event.is_new for event in events):
            return await self._append_new(events, atomic=atomic)
        if has_unmet(events):
            return await self._append_unmet(events, atomic=atomic)
        if len(events) == 1:
            stored = await self._publish.run(self._statements["append_one"], one_row(events[0]))
        elif not atomic:
            stored = await self._publish.run(self._statements["append"], columns(events))
        else:
            return await self._append_atomic(events)
        if len(stored) == len(events):
            return [Appended.STORED] * len(stored)
        try:
            existing = await self._publish.run(self._statements["existing"], {"ids": [event.id for event in events]})
        except StoreUnavailable as error:
            error.maybe_done = True  # what was new among them is committed, whatever became of the question
            raise
        return compare(events, stored, existing)

    async def _append_new(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        try:
            if len(events) == 1:
                await self._publish.run(self._statements["append_one_new"], one_row(events[0]))
            elif len(events) <= _PART:
                await self._publish.run(self._statements["append_new"], columns(events))
            else:
                async with self._publish.transaction() as connection:
                    await self._append_parts(connection, "append_new", events)
        except InvalidEvent:
            # A value that the server refuses, which it will again; or an id that is taken after all, as where a running
            # machine was copied with its randomness: a conflict like any other.
            return await self.append([event._replace(is_new=False) for event in events], atomic=atomic)
        return [Appended.STORED] * len(events)

    async def _append_atomic(self, events: Sequence[NewEvent]) -> list[Appended]:
        async with self._publish.transaction() as connection:
            stored = await self._append_parts(connection, "append", events)
            if len(stored) == len(events):
                return [Appended.STORED] * len(stored)
            results = compare(events, stored, await self._existing(connection, events))
            if Appended.CONFLICT in results:
                await connection.execute("rollback; begin", prepare=False)
            return results

    async def _append_parts(
        self, connection: Connection, name: str, events: Sequence[NewEvent]
    ) -> list[tuple[Any, ...]]:
        """Append in parts: the next one is encoded while the server stores the last. Returns what the statement does."""
        statement, cursors = self._statements[name], []
        async with pipelined(connection):
            for start in range(0, len(events), _PART):
                part = columns(events[start : start + _PART])
                cursors.append(await connection.execute(statement, part, binary=True))
        return [row for cursor in cursors for row in await rows_of(cursor)]

    async def _append_unmet(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        """Ids that meet no common unique index: lock them, look, then insert."""
        async with self._publish.transaction() as connection:
            await connection.execute(self._statements["lock_ids"], {"ids": id_list(events)})
            existing = await self._existing(connection, events)
            if scheduled := _scheduled(events):
                existing += await self._existing(connection, scheduled, "existing_scheduled")
            fresh, results = without(events, existing)
            if fresh and not (atomic and Appended.CONFLICT in results):
                if now := [event for event in fresh if event.due_at is None]:
                    await connection.execute(self._statements["append"], columns(now), binary=True)
                if later := _scheduled(fresh):
                    await connection.execute(self._statements["append_scheduled"], columns_due(later), binary=True)
            return results

    async def _existing(
        self, connection: Connection, events: Sequence[NewEvent], statement: str = "existing"
    ) -> list[tuple[Any, ...]]:
        parameters = {"ids": [event.id for event in events]}
        cursor = await connection.execute(self._statements[statement], parameters, binary=True)
        return await cursor.fetchall()

    async def notify(self) -> None:
        # Not on the publishing session: the next publish would wait for the hint about the last one.
        await self._lease.run(self._statements["notify"], {"channel": self._channel})

    async def stands(self, declarations: Sequence[Declaration]) -> bool:  # noqa: ARG002
        return True  # writers do not keep each other out here

    async def append_within(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        assert first is None, "the store stands"
        caller = adapt(transaction, "postgresql")
        if not caller.is_async:
            return self._append_through(caller, events)
        caller.require_transaction()
        with translated(self._where):
            if has_unmet(events):
                await caller.run(self._statements["lock_ids_within"], {"ids": id_list(events)})
                known = [row for one in self._questions(events) for row in await caller.run(*one)]
                fresh, results = without(events, known)
                if Appended.CONFLICT not in results:
                    for one in self._insertions(fresh):
                        self._stored(await caller.run(*one))
                return results
            stored = self._stored(await caller.run(self._statements["append_within"], self._within(events)))
            if len(stored) == len(events):
                return [Appended.STORED] * len(stored)
            existing = await caller.run(self._statements["existing_within"], {"ids": id_list(events)})
        return compare(events, stored, existing)

    def append_within_sync(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        assert first is None, "the store stands"
        return self._append_through(adapt(transaction, "postgresql"), events)

    def _append_through(self, caller: Caller, events: Sequence[NewEvent]) -> list[Appended]:
        caller.require_transaction()
        with translated(self._where):
            if has_unmet(events):
                caller.run_sync(self._statements["lock_ids_within"], {"ids": id_list(events)})
                known = [row for one in self._questions(events) for row in caller.run_sync(*one)]
                fresh, results = without(events, known)
                if Appended.CONFLICT not in results:
                    for one in self._insertions(fresh):
                        self._stored(caller.run_sync(*one))
                return results
            stored = self._stored(caller.run_sync(self._statements["append_within"], self._within(events)))
            if len(stored) == len(events):
                return [Appended.STORED] * len(stored)
            existing = caller.run_sync(self._statements["existing_within"], {"ids": id_list(events)})
        return compare(events, stored, existing)

    def _questions(self, events: Sequence[NewEvent]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What tells which of these are stored already."""
        yield self._statements["existing_within"], {"ids": id_list(events)}
        if scheduled := _scheduled(events):
            yield self._statements["existing_scheduled_within"], {"ids": id_list(scheduled)}

    def _insertions(self, fresh: Sequence[NewEvent]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What stores these, whose ids are locked and not stored yet."""
        if now := [event for event in fresh if event.due_at is None]:
            yield self._statements["append_within"], self._within(now)
        if later := _scheduled(fresh):
            yield self._statements["append_scheduled_within"], self._within(later)

    def _within(self, events: Sequence[NewEvent]) -> dict[str, Any]:
        return {"events": as_json(events), "store_id": self.identity}

    def _stored(self, rows: Sequence[Sequence[Any]]) -> list[tuple[str]]:
        stored, right_store = rows[0]
        if not right_store:
            raise WrongStore(
                f"the connection given as tx= leads to another database than {self._where}: "
                f"nothing was published; pass a connection to the bus's own database"
            )
        return [(one,) for one in msgspec.json.decode(stored)]


def has_unmet(events: Sequence[NewEvent]) -> bool:
    """
    Whether there is one that meets no common unique index where it is stored: its id's own time says little about the day
    (not version 7, or 20 hours old), or it waits for its time apart from the log.
    """
    now = wall_millis()
    return any(
        event.due_at is not None or not is_uuid7(event.id) or abs(now - (event.id.int >> 80)) > _OLD_MILLIS
        for event in events
    )


def _scheduled(events: Sequence[NewEvent]) -> list[NewEvent]:
    return [event for event in events if event.due_at is not None]


def one_row(event: NewEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "micros": None if event.occurred_at is None else to_micros(event.occurred_at),
        "tenant": event.tenant_id,
        "name": event.name,
        "key": event.key,
        "payload": event.payload.decode(),
        "headers": None if event.headers is None else event.headers.decode(),
    }


def columns(events: Sequence[NewEvent]) -> dict[str, Any]:
    """The events as arrays, a column each."""
    n = len(events)
    times = [None if event.occurred_at is None else to_micros(event.occurred_at) for event in events]
    return {
        "ids": arrays.uuids([event.id.bytes for event in events]),
        "micros": arrays.bigints(times),
        "tenants": arrays.texts((event.tenant_id.encode() for event in events), n),
        "names": arrays.texts((event.name.encode() for event in events), n),
        "keys": arrays.texts((None if event.key is None else event.key.encode() for event in events), n),
        "payloads": arrays.texts((event.payload for event in events), n),
        "headers": arrays.texts((event.headers for event in events), n),
    }


def columns_due(events: Sequence[NewEvent]) -> dict[str, Any]:
    """`columns` of scheduled events."""
    dues = [None if event.due_at is None else to_micros(event.due_at) for event in events]
    return columns(events) | {"dues": arrays.bigints(dues)}


def as_json(events: Sequence[NewEvent]) -> str:
    """The events as one JSON array: a text that every driver can pass. Payloads are taken over as written."""
    items = [
        {
            "id": str(event.id),
            "at": event.occurred_at,
            "due": event.due_at,
            "tenant": event.tenant_id,
            "name": event.name,
            "key": event.key,
            "payload": msgspec.Raw(event.payload),
            "headers": None if event.headers is None else msgspec.Raw(event.headers),
        }
        for event in events
    ]
    return msgspec.json.encode(items).decode()


def without(events: Sequence[NewEvent], existing: Sequence[Sequence[Any]]) -> tuple[list[NewEvent], list[Appended]]:
    """Split off the events whose id is not among *existing*; the results say what becomes of each."""
    known = {as_uuid(row[0]): row for row in existing}
    fresh: dict[UUID, NewEvent] = {}
    results = []
    for event in events:
        row = known.get(event.id)
        if row is None:
            row = known[event.id] = (event.id, event.tenant_id, event.name, event.key, event.payload)
            fresh[event.id] = event
            results.append(Appended.STORED)
        else:
            results.append(repeat(event, row))
    return list(fresh.values()), results


def id_list(events: Sequence[NewEvent]) -> str:
    return msgspec.json.encode([str(event.id) for event in events]).decode()
