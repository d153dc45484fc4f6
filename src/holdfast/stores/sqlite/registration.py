"""Subscriptions in the file: made durable, changed, listed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.errors import NotFound
from holdfast.stores.registering import check_compatible, differs
from holdfast.stores.sqlite.reader import log_state
from holdfast.stores.sqlite.rows import MAX_POSITION, json_text, time_text
from holdfast.stores.values import Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import Declaration


class Registration:
    """The part of the SQLite store that keeps subscriptions."""

    _writer: SessionThread
    _lookup: SessionThread

    async def register(self, declarations: Sequence[Declaration]) -> list[Subscription]:
        return await self._writer.run(register, declarations)

    async def subscriptions(self) -> list[Subscription]:
        return await self._lookup.run(subscriptions)


def register(session: Session, declarations: Sequence[Declaration]) -> list[Subscription]:
    names = {declaration.name for declaration in declarations}
    if all(is_registered(session, declaration) for declaration in declarations):
        # A program that starts again need not wait for whoever writes.
        return [one for one in subscriptions(session) if one.name in names]
    with session.write():
        changed = [_register_one(session, declaration) for declaration in declarations]
        if any(changed):
            session.count("bump_generation", {})
        return [one for one in subscriptions(session) if one.name in names]


def is_registered(session: Session, declaration: Declaration) -> bool:
    """Whether `register` would write nothing for it."""
    row = session.row("known_subscriptions", name=declaration.name)
    if row is None:
        return False
    known = _as_subscription(row)
    return known.partitions == declaration.partitions and not differs(known, declaration)


def _register_one(session: Session, declaration: Declaration) -> bool:
    """Returns whether anything was written."""
    row = session.row("known_subscriptions", name=declaration.name)
    if row is None:
        _add(session, declaration)
        return True
    known = _as_subscription(row)
    check_compatible(known, declaration)
    if not differs(known, declaration):
        return False
    session.count("change_subscription", _parameters(session, declaration) | {"id": known.id})
    return True


def _add(session: Session, declaration: Declaration) -> None:
    horizon, _ = log_state(session)
    position = start_position(session, declaration)
    added = session.row("add_subscription", **_parameters(session, declaration), horizon=horizon, position=position)
    assert added is not None
    place = {"subscription": added[0], "partitions": declaration.partitions}
    session.count("add_leases", place)
    if position > horizon:  # nothing stored so far is wanted
        cursor = {"done": horizon, "open": None, "position": 0}
    else:
        cursor = {"done": 0, "open": horizon, "position": position}
    session.count("add_cursors", place | cursor | {"now": session.now()})


def start_position(session: Session, declaration: Declaration) -> int:
    """Of the events stored so far, those from this position on belong to the subscription."""
    start = declaration.start
    if start == "now":
        return MAX_POSITION
    if start == "beginning":
        return 0
    if isinstance(start, datetime):
        row = session.row("position_at_time", time=time_text(start))
        return MAX_POSITION if row is None or row[0] is None else int(row[0])
    assert isinstance(start, UUID)
    row = session.row("position_of_event", id=str(start))
    if row is None:
        raise NotFound(f"subscription {declaration.name!r} wants to start from event {start}, which is not stored")
    return int(row[0])


def subscriptions(session: Session) -> list[Subscription]:
    return [_as_subscription(row) for row in session.rows("subscriptions")]


def _as_subscription(row: Sequence[Any]) -> Subscription:
    known_id, name, patterns, partitions, ordering, on_dead, replayable, paused, tenants, *rest = row
    return Subscription(
        known_id, name, tuple(msgspec.json.decode(patterns)), partitions, ordering, on_dead, bool(replayable),
        bool(paused), frozenset(msgspec.json.decode(tenants)), *rest,
    )  # fmt: skip


def _parameters(session: Session, declaration: Declaration) -> dict[str, Any]:
    return {
        "name": declaration.name,
        "patterns": json_text(declaration.patterns),
        "partitions": declaration.partitions,
        "ordering": declaration.ordering,
        "on_dead": declaration.on_dead,
        "replayable": declaration.replayable,
        "behind_retention": declaration.behind_retention,
        "now": session.now(),
    }
