"""Letting go of what subscriptions have left behind, up to the position that retention has come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.patterns import matches
from holdfast.stores.lagging import advanced, all_let_go, identified, news_of, page_of, record_of
from holdfast.stores.sqlite.rows import MAX_POSITION, json_text, row_of, slot_of_row
from holdfast.stores.values import Laggard

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import LeftBehind


class Lagging:
    """The part of the SQLite store that lets go."""

    _writer: SessionThread
    _lookup: SessionThread

    async def near_retention(self, seconds: float) -> tuple[str, ...]:
        return await self._lookup.run(near_retention, seconds)

    async def laggards(self, *, retention: float) -> list[Laggard]:
        if not (behind := await self._lookup.run(left_alone, retention)):
            return []
        return await self._writer.run(begin, behind)

    async def left_behind(self, laggard: Laggard, *, limit: int, max_bytes: int) -> LeftBehind:
        return await self._lookup.run(left_behind, laggard, limit, max_bytes)

    async def let_go(self, laggard: Laggard, page: LeftBehind) -> Laggard | None:
        return await self._writer.run(let_go, laggard, page)

    async def end_letting_go(self, laggard: Laggard, *, archive: str | None, event_id: UUID) -> bool:
        return await self._writer.run(end, laggard, archive, event_id)


def near_retention(session: Session, seconds: float) -> tuple[str, ...]:
    """Names of those that let go, and still wait for something that old."""
    _, waiting = old(session, seconds)
    return tuple(sorted(name for _, name, choice, _ in waiting if choice != "hold"))


def left_alone(session: Session, retention: float) -> list[tuple[int, str, Any, int]]:
    """Those that alone keep the oldest events, and up to which position: before the first that another one holds."""
    last, waiting = old(session, retention)
    last = min([last, *(first - 1 for _, _, choice, first in waiting if choice == "hold")])
    behind = [(one, name, choice, last) for one, name, choice, first in waiting if first <= last]
    return behind if all_let_go([choice for _, _, choice, _ in behind]) else []


def old(session: Session, seconds: float) -> tuple[int, list[tuple[int, str, Any, int]]]:
    """The last position that is that old, and who waits for one up to it: id, name, choice, the first such position."""
    with session.snapshot():
        if not session.rows("lets_go")[0][0]:
            return 0, []
        row = session.row("old_horizon", since=session.now(-seconds))
        last = 0 if row is None or row[0] is None else int(row[0])
        waiting = session.rows("waited_for", horizon=last, none=MAX_POSITION)
    return last, [(subscription, name, choice, first) for name, first, subscription, choice in waiting if first <= last]


def begin(session: Session, behind: list[tuple[int, str, Any, int]]) -> list[Laggard]:
    found: list[Laggard] = []
    with session.write():
        for subscription, name, choice, last in behind:
            begun = session.rows("begin_letting_go", subscription=subscription, shown=last, now=session.now())
            found += [Laggard(subscription, name, choice, None, str(shown), *rest) for shown, *rest in begun]
    return found


def left_behind(session: Session, laggard: Laggard, limit: int, max_bytes: int) -> LeftBehind:
    session.connection.create_function("holdfast_matches", 2, matches, deterministic=True)
    session.connection.create_function("holdfast_slot", 3, slot_of_row, deterministic=True)
    with session.snapshot():
        ((last,),) = session.rows(
            "left_behind_page", position=laggard.position, shown=int(laggard.shown), limit=limit, max_bytes=max_bytes
        )
        if last is None:
            return page_of([], None)
        rows = session.rows("left_behind", subscription=laggard.subscription, after=laggard.position, last=last)
    return page_of([(row_of(*row[:-1]), row[-1]) for row in rows], last)


def let_go(session: Session, laggard: Laggard, page: LeftBehind) -> Laggard | None:
    with session.write():
        rows = session.rows("advance_letting_go", **_place(advanced(laggard, page)))
        if not rows:
            return None
        if page.deliveries:
            session.rows("let_go_deliveries", deliveries=json_text(list(page.deliveries)), now=session.now())
            session.count("bump_generation", {})
    position, events, first, last = rows[0]
    return laggard._replace(position=position, events=events, first_position=first, last_position=last)


def end(session: Session, laggard: Laggard, archive: str | None, event_id: UUID) -> bool:
    """One writer at a time: what was not there when it began cannot have come, so the cursors pass it all."""
    with session.write():
        now = {"now": session.now()}
        if not session.rows("end_letting_go", **_place(identified(laggard)), **now):
            return False
        place = {"subscription": laggard.subscription, "shown": int(laggard.shown)} | now
        session.count("let_go_leases", place)
        session.count("let_go_cursors", place)
        session.count("bump_generation", {})
        if laggard.events:
            session.count("record_let_go", record_of(laggard, archive) | now)
            session.count("add_corrected", news_of(laggard, archive, event_id) | {"id": str(event_id)} | now)
    return True


def _place(parameters: dict[str, Any]) -> dict[str, Any]:
    """As SQLite takes them: it has no days, and a horizon is a position."""
    return {name: value for name, value in parameters.items() if name != "day"} | {"shown": int(parameters["shown"])}
