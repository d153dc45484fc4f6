"""Letting go of what subscriptions have left behind, day by day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from holdfast.event import Row
from holdfast.stores.lagging import advanced, all_let_go, identified, news_of, page_of, record_of
from holdfast.stores.values import Laggard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import date
    from uuid import UUID

    from holdfast.stores.postgres.session import Connection, Session
    from holdfast.stores.sql import Statements
    from holdfast.stores.values import LeftBehind

_PROGRESS = ("position", "events", "first_position", "last_position")


class Lagging:
    """The part of the PostgreSQL store that lets go."""

    _statements: Statements
    _background: Session

    async def near_retention(self, seconds: float) -> tuple[str, ...]:
        names = {
            name async for _, keepers in self._old_keepers(seconds) for _, name, choice in keepers if choice != "hold"
        }
        return tuple(sorted(names))

    async def laggards(self, *, retention: float) -> list[Laggard]:
        found: list[Laggard] = []
        async for day, keepers in self._old_keepers(retention):
            if not all_let_go([choice for _, _, choice in keepers]):
                continue
            for subscription, name, choice in keepers:
                begun = await self._run("begin_letting_go", {"subscription": subscription, "day": day})
                found += [Laggard(subscription, name, choice, day, *row) for row in begun]
        return found

    async def _old_keepers(self, seconds: float) -> AsyncIterator[tuple[date, list[tuple[Any, ...]]]]:
        """The days before that age, each with those who keep it; none where nobody lets go of anything."""
        ((lets_go,),) = await self._run("lets_go", {})
        if not lets_go:
            return
        for (suffix,) in await self._run("old_days", {"retention": float(seconds)}):
            day = datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC).date()
            yield day, await self._run("day_keepers", {"suffix": suffix})

    async def left_behind(self, laggard: Laggard, *, limit: int, max_bytes: int) -> LeftBehind:
        place = {"day": laggard.day, "position": laggard.position, "limit": limit, "max_bytes": max_bytes}
        ((last,),) = await self._run("left_behind_page", place)
        if last is None:
            return page_of([], None)
        part = identified(laggard) | {"after": laggard.position, "last": last}
        # In a transaction: row security could hide events, and what is not seen would be let go of unseen.
        async with self._background.transaction() as connection:
            rows = await self._do(connection, "left_behind", part)
        return page_of([(Row._make(row[:-1]), row[-1]) for row in rows], last)

    async def let_go(self, laggard: Laggard, page: LeftBehind) -> Laggard | None:
        async with self._background.transaction() as connection:
            rows = await self._do(connection, "advance_letting_go", advanced(laggard, page))
            if rows and page.deliveries:
                await self._do(connection, "let_go_deliveries", {"deliveries": list(page.deliveries)})
                await self._do(connection, "bump_generation", {})
        return laggard._replace(**dict(zip(_PROGRESS, rows[0], strict=True))) if rows else None

    async def end_letting_go(self, laggard: Laggard, *, archive: str | None, event_id: UUID) -> bool:
        async with self._background.transaction() as connection:
            if not await self._do(connection, "end_letting_go", identified(laggard)):
                return False
            if laggard.events:
                await self._do(connection, "record_let_go", record_of(laggard, archive))
                await self._do(connection, "add_corrected", news_of(laggard, archive, event_id))
        return True

    async def _run(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return await self._background.run(self._statements[statement], parameters)

    async def _do(self, connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(self._statements[statement], parameters, binary=True)
        return await cursor.fetchall() if cursor.description else []
