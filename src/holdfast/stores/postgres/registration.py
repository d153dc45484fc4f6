"""Subscriptions in the database: made durable, changed, listed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.errors import NotFound
from holdfast.patterns import to_regex
from holdfast.stores.registering import check_compatible, differs
from holdfast.stores.values import Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.stores.postgres.session import Connection, Session
    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Declaration


class Registration:
    """The part of the PostgreSQL store that keeps subscriptions."""

    _statements: Statements
    _work: Session
    _channel: str

    async def register(self, declarations: Sequence[Declaration]) -> list[Subscription]:
        stored = {one.name: one for one in await self.subscriptions()}
        for declaration in declarations:
            if declaration.name in stored:
                check_compatible(stored[declaration.name], declaration)
        # Most starts find all as it was: they wait for no lock and no commit.
        changed = [one for one in declarations if one.name not in stored or differs(stored[one.name], one)]
        # A new name is committed on its own: its "now" is its commit, and rivals registering it wait no longer.
        for declaration in changed:
            await self._register_one(declaration)
        if changed:
            stored = {one.name: one for one in await self.subscriptions()}
        return [stored[one.name] for one in declarations if one.name in stored]

    async def _register_one(self, declaration: Declaration) -> None:
        async with self._work.transaction() as connection:
            known = await self._known(connection, declaration.name)
            if known is None and await self._add(connection, declaration):
                await connection.execute(self._statements["bump_generation"])
                return
            known = known or await self._known(connection, declaration.name)
            assert known is not None  # a rival's registration of the name is what made ours insert nothing
            check_compatible(known, declaration)
            if differs(known, declaration):
                await connection.execute(
                    self._statements["change_subscription"], parameters_of(declaration) | {"id": known.id}
                )
                await connection.execute(self._statements["bump_generation"])

    async def _known(self, connection: Connection, name: str) -> Subscription | None:
        cursor = await connection.execute(self._statements["known_subscriptions"], {"names": [name]})
        row = await cursor.fetchone()
        return None if row is None else as_subscription(row)

    async def _add(self, connection: Connection, declaration: Declaration) -> bool:
        parameters = parameters_of(declaration) | start_of(declaration.start)
        cursor = await connection.execute(self._statements["add_subscription"], parameters)
        row = await cursor.fetchone()
        assert row is not None
        added, position = row
        if position is None:
            raise NotFound(
                f"subscription {declaration.name!r} wants to start from event {declaration.start}, which is not stored"
            )
        return added is not None

    async def subscriptions(self) -> list[Subscription]:
        return [as_subscription(row) for row in await self._work.run(self._statements["subscriptions"])]


def as_subscription(row: Sequence[Any]) -> Subscription:
    known_id, name, patterns, partitions, ordering, on_dead, replayable, paused, tenants, *rest = row
    return Subscription(
        known_id, name, tuple(patterns), partitions, ordering, on_dead, replayable, paused, frozenset(tenants),
        *rest,
    )  # fmt: skip


def parameters_of(declaration: Declaration) -> dict[str, Any]:
    return {
        "name": declaration.name,
        "patterns": list(declaration.patterns),
        "regexes": [to_regex(pattern) for pattern in declaration.patterns],
        "partitions": declaration.partitions,
        "ordering": declaration.ordering,
        "on_dead": declaration.on_dead,
        "replayable": declaration.replayable,
        "behind_retention": declaration.behind_retention,
    }


def start_of(start: Any) -> dict[str, Any]:
    """The parameters that say where a new subscription begins."""
    if isinstance(start, datetime):
        return {"start": "time", "time": start, "event": None}
    if isinstance(start, UUID):
        return {"start": "event", "time": None, "event": start}
    return {"start": start, "time": None, "event": None}
