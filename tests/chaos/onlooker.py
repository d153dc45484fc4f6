"""Whoever looks at the store during a run, and acts on it as an operator does."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from holdfast.errors import HoldfastError
from holdfast.ids import IdFactory
from holdfast.stores import make_store
from holdfast.stores.filters import ReplayFilter
from holdfast.stores.inspector import make_inspector
from holdfast.worker.hand import PAGE_EVENTS
from tests.chaos.acting import insist
from tests.chaos.workload import BULK_NAME, SPECS, VISITORS

if TYPE_CHECKING:
    from tests.chaos.scene import Stage

_LOOK_S = 1.0
_ORPHAN_S = 10.0
_BULK = 3 * PAGE_EVENTS
_NAME = "operator"
# Every error that a store in trouble may give to somebody who only looks: he looks again.
_ANY = (HoldfastError, OSError, AssertionError)


class Onlooker:
    """Samples the lag, notices registrations, and does an operator's work. Goes past the proxy."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._store = make_store(stage.dsn, timeout=3)
        self._inspector, self._operator = make_inspector(self._store)
        self.registered: dict[str, float] = {}
        self.lags: list[tuple[float, int]] = []

    async def watch(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            with suppress(psycopg.Error, OSError):
                await self.end_prepared(older_than=_ORPHAN_S)
            await asyncio.sleep(_LOOK_S)

    async def end_prepared(self, *, older_than: float) -> None:
        """
        Roll back what killed publishers have left prepared, as whoever looks after the server would do: it keeps its
        locks, and a fault that needs a table alone would wait for ever.
        """
        if self._stage.server is None:
            return
        for (gid,) in await self._stage.run_sql(
            "select gid from pg_prepared_xacts where database = current_database() and gid like 'campaign-%' "
            f"and prepared < clock_timestamp() - make_interval(secs => {older_than})"
        ):
            with suppress(psycopg.Error):  # its own publisher was faster
                await self._stage.run_sql(f"rollback prepared '{gid}'")

    async def look(self) -> int | None:
        """The deliveries that are not settled; None if the store did not say."""
        try:
            async with asyncio.timeout(10):
                status = await self._inspector.status()
        except (*_ANY, TimeoutError):
            return None
        at = time.monotonic()
        for subscription in status.subscriptions:
            self.registered.setdefault(subscription.name, at)
        lag = sum(subscription.lag for subscription in status.subscriptions)
        self.lags.append((at, lag))
        return lag

    async def operate(self) -> None:
        """Pause and resume, replay, let visitors come and go, until cancelled; what was paused goes on then."""
        stage = self._stage
        doings = (self._pause, self._replay, self._visit, self._fragile)
        turn = stage.random.randrange(len(doings))
        while True:
            await asyncio.sleep(stage.random.uniform(1.0, 3.0))
            with suppress(*_ANY, TimeoutError):
                async with asyncio.timeout(20):
                    await doings[turn % len(doings)]()
            turn += 1

    async def _pause(self) -> None:
        name = self._stage.random.choice(list(SPECS))
        self._stage.note(f"{name} paused", "operator")
        await self._operator.pause(name, actor=_NAME)
        await asyncio.sleep(self._stage.random.uniform(0.2, 3.0))
        await self._operator.resume(name, actor=_NAME)

    async def _replay(self) -> None:
        name = self._stage.random.choice(["mail", "books", "loose"])
        self._stage.note(f"{name} replayed", "operator")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stage.random.uniform(0.5, 3.0)):
                await self._operator.replay(name, ReplayFilter(name="load.plain"), actor=_NAME, rate=50)

    async def _visit(self) -> None:
        """From now on workers that start know this visitor, or do not; one starts."""
        name = self._stage.random.choice(list(VISITORS))
        visitors = set(self._stage.mood.visitors) ^ {name}
        self._stage.set_mood(replace(self._stage.mood, visitors=tuple(sorted(visitors))))
        workers = [process for process in self._stage.processes if process.role == "worker"]
        if workers:
            self._stage.random.choice(workers).terminate()

    async def _fragile(self) -> None:
        self._stage.set_mood(replace(self._stage.mood, fragile_down=not self._stage.mood.fragile_down))

    async def bulk(self) -> None:
        """Store three pages of events in one transaction, while nobody reads; only one subscription wants them."""
        stage = self._stage
        await self._until_registered("loose")
        # On SQLite, who is stopped inside of a write keeps the whole file locked.
        workers = [process for process in stage.processes if process.role == "worker" and stage.server is not None]
        new_id = IdFactory()
        ids = [str(new_id()) for _ in range(_BULK)]
        for n, event_id in enumerate(ids):
            stage.journal.note("invoke", id=event_id, name=BULK_NAME, key=None, n=n)
        for worker in workers:
            worker.pause()
        try:
            values = ", ".join(f"('{event_id}', '{BULK_NAME}', '{{\"n\": {n}}}')" for n, event_id in enumerate(ids))
            h = "" if stage.server is None else "holdfast."
            sql = f"insert into {h}event_store (id, event_name, payload) values {values}"
            await (stage.run_sql(sql) if stage.server is None else insist(stage, sql))
            for event_id in ids:
                stage.journal.note("ok", id=event_id)
        finally:
            for worker in workers:
                worker.resume()

    async def _until_registered(self, name: str) -> None:
        async with asyncio.timeout(60):
            while name not in self.registered:  # noqa: ASYNC110 - `watch` notices it
                await asyncio.sleep(0.1)

    async def heal(self) -> None:
        """Nothing is paused any more. The server may need a while until it can be told so."""
        async with asyncio.timeout(60):
            for name in self.registered:
                while not await self._is_resumed(name):  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.2)

    async def _is_resumed(self, name: str) -> bool:
        with suppress(*_ANY):
            await self._operator.resume(name, actor=_NAME)
            return True
        return False

    async def close(self) -> None:
        await self._inspector.close()
        await self._store.close()
