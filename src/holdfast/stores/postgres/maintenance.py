"""Background duties: partitions ahead, stored snapshots, retention, forgetting the dead."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreBusy
from holdfast.event import EPOCH, rows_of
from holdfast.stores.values import LAG_COUNTED_MAX, Maintenance, Sampled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID

    from holdfast.archive import Archive, Draft
    from holdfast.stores.postgres.session import Session
    from holdfast.stores.sql import Statements

logger = logging.getLogger("holdfast.store")

_DAYS_AHEAD = 7
_PAGE: dict[str, Any] = {"limit": 1_000, "max_bytes": 8 * 2**20}
_SAMPLE_COLUMNS = ("subscriptions", "delivered", "failed", "retried", "dead", "durations")
_OUTDATED = (
    "%s was not done: its transaction would not see what is committed while it waits. A pooler gives each "
    "transaction another session, with the defaults of role and database: "
    "alter role ... set default_transaction_isolation to 'read committed'"
)


class Keeping:
    """The part of the PostgreSQL store that keeps house."""

    _statements: Statements
    _background: Session

    async def maintain(self, *, retention: float | None, archive: Archive | None = None) -> Maintenance:
        await self.make_days()
        for row in await self._background.run(self._statements["snapshot_now"]):
            snap, day = row
            await self._background.run(self._statements["store_snapshot"], {"snap": snap, "day": _days(day)})
        await self._background.run(self._statements["forget"])
        await self._background.run(self._statements["redate"])
        if retention is None:
            return Maintenance(0, ())
        return await self._drop_old(retention, archive)

    async def add_samples(self, worker: UUID, samples: Sequence[Sampled]) -> None:
        columns = zip(*samples, strict=True) if samples else [()] * len(Sampled._fields)
        counted = dict(zip(_SAMPLE_COLUMNS, map(list, columns), strict=True))
        counted["durations"] = [str(list(buckets)) for buckets in counted["durations"]]
        await self._background.run(self._statements["add_samples"], {"worker": worker} | counted)
        await self._background.run(self._statements["forget_samples"])

    async def add_lags(self, worker: UUID) -> None:
        await self._background.run(self._statements["add_lags"], {"worker": worker, "bound": LAG_COUNTED_MAX})

    async def make_days(self) -> None:
        """Make the partitions of today and the days ahead that are missing; a busy lock waits for the next time."""
        for (day,) in await self._background.run(self._statements["missing_days"], {"ahead": _DAYS_AHEAD}):
            try:
                row = await self._looking_again("make_day", {"day": _days(day)})
            except StoreBusy:
                logger.info("partitions of %s are not made yet: somebody holds a lock on the log", _days(day))
                return
            if row is None:
                return
            if not row[0]:
                logger.warning("events of %s stay in the default partition: no partition was there in time", _days(day))

    async def _drop_old(self, retention: float, archive: Archive | None) -> Maintenance:
        dropped, blocking = 0, set[str]()
        for (name,) in await self._background.run(self._statements["old_days"], {"retention": float(retention)}):
            try:
                row = await (self._drop(name) if archive is None else self._drop_archived(name, archive))
            except StoreBusy:
                logger.info("partition event_log_%s is not dropped yet: somebody holds a lock on it", name)
                break
            if row is None:
                break
            dropped += row[0]
            blocking |= set(row[1])
        return Maintenance(dropped, tuple(sorted(blocking)))

    async def _drop(self, suffix: str) -> tuple[Any, ...] | None:
        return await self._looking_again("drop_day", {"suffix": suffix})

    async def _drop_archived(self, suffix: str, archive: Archive) -> tuple[Any, ...] | None:
        """As `_drop`, with the day's events on the archive's disk before; where it is not dropped, no file is left."""
        if keepers := await self._background.run(self._statements["day_keepers"], {"suffix": suffix}):
            return 0, [name for _, name, _ in keepers]
        ((shown, incarnation),) = await self._background.run(self._statements["horizon"])
        day = datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC).date()
        draft = await asyncio.to_thread(archive.draft, day.isoformat())
        row: tuple[Any, ...] | None = (0, [])
        may_be_gone = False
        try:
            await self._write_day(day, draft)
            if draft.events:
                await asyncio.to_thread(draft.keep)
            if await self._is_as_shown(suffix, {"day": day, "shown": shown, "incarnation": incarnation}):
                may_be_gone = True  # also where the answer is lost
                row = await self._drop(suffix)
                may_be_gone = bool(row and row[0])
        except StoreBusy:
            may_be_gone = False
            raise
        finally:
            if not (may_be_gone and draft.events):
                await asyncio.to_thread(draft.undo)
        return row

    async def _write_day(self, day: date, draft: Draft) -> None:
        place = {"day": day, "position": -(2**63)} | _PAGE
        while (last := (await self._background.run(self._statements["left_behind_page"], place))[0][0]) is not None:
            # In a transaction: row security could hide events, and what is not seen would be dropped unseen.
            async with self._background.transaction() as connection:
                part = {"day": day, "after": place["position"], "last": last}
                cursor = await connection.execute(self._statements["events_to_drop"], part, binary=True)
                rows = rows_of(await cursor.fetchall())
            await asyncio.to_thread(draft.add, rows)
            place["position"] = last

    async def _is_as_shown(self, suffix: str, day: dict[str, Any]) -> bool:
        """Whether nothing has come into a day since. Nobody publishes into an old one; who has been at it for long may."""
        ((is_written,),) = await self._background.run(self._statements["day_writers"], {"suffix": suffix})
        ((has_grown,),) = await self._background.run(self._statements["day_came_since"], day)
        if is_written or has_grown:
            logger.info("partition event_log_%s is not dropped yet: somebody writes into it", suffix)
        return not (is_written or has_grown)

    async def _looking_again(self, function: str, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
        """
        Call a function that looks once more when it has its lock: each of its statements must see what is committed.
        By the default of role or database it might see the time before it waited, and drop what has come since. Where
        a pooler gives the setting to another session, the statement does nothing: None.
        """
        await self._background.run("set default_transaction_isolation to 'read committed'")
        rows = await self._background.run(self._statements[function], parameters)
        if not rows:
            logger.error(_OUTDATED, function)
        return rows[0] if rows else None


def _days(day: int) -> date:
    return (EPOCH + timedelta(days=day)).date()
