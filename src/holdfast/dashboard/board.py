"""What all pages stand on: a store to look at and act on, and the rules of this dashboard."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.dashboard.charting import RECENT_MINUTES
from holdfast.encryption.inspecting import open_inspector
from holdfast.errors import ConfigurationError, HoldfastError, StoreUnavailable
from holdfast.stores import make_store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from holdfast.dashboard.access import Actor
    from holdfast.dashboard.redaction import Redaction
    from holdfast.encryption import KeyProvider
    from holdfast.stores.records import Samples, SpoolFolder, Status

T = TypeVar("T")

logger = logging.getLogger("holdfast.dashboard")

_FRESH_SECONDS = 1.0
# Looking costs the store at most a twentieth of its time, however large it is and however many look.
_REST = 20.0
_KNOWN_MAX = 50
_SAMPLED_SECONDS = 5.0
_AWAY_SECONDS = 3.0


class Board:
    """
    A store with what this dashboard may show and do of it.

    Args:
        dsn: The store. Nothing is opened before the first question.
        schema: Schema of the tables in PostgreSQL.
        redaction: What is never shown.
        read_only: Nobody may do anything, whatever the role.
        may_edit: Admins may correct a dead letter's payload and have it published anew.
        trace_url: Address of a trace, with ``{trace_id}`` in it.
        spool: Reads this machine's spool of the store.
        keys: Has the master keys by which payloads are shown, and corrected ones encrypted.

    Raises:
        ConfigurationError: The store lives in the memory of another process.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str,
        redaction: Redaction,
        read_only: bool,
        may_edit: bool,
        trace_url: str | None,
        spool: Callable[[str], SpoolFolder | None],
        keys: KeyProvider | None = None,
    ) -> None:
        self._store = make_store(dsn, schema=schema, timeout=10.0)
        if not self._store.is_durable:
            raise ConfigurationError("a store in memory ends with its process and has no dashboard: use a file")
        self.inspector, self.operator = open_inspector(self._store, keys)
        if trace_url is not None and not trace_url.startswith(("https://", "http://")):
            raise ConfigurationError(f"trace_url is {trace_url!r}: give an address such as https://traces/{{trace_id}}")
        self.redaction, self.read_only, self.may_edit, self.trace_url = redaction, read_only, may_edit, trace_url
        self._spool = spool
        self._asking = asyncio.Lock()
        self._known: dict[str | None, tuple[Status, float]] = {}
        self._away: StoreUnavailable | None = None
        self._away_until = 0.0
        self._samples: Samples | None = None
        self._samples_until = 0.0
        self._metrics, self._metrics_until = b"", 0.0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        """Which store, without user and password."""
        return self._store.address

    async def status(self, tenant_id: str | None = None) -> Status:
        """How the store, or one tenant in it, is doing: asked once for all who look at it within a moment."""
        async with self._asking:
            known = self._known.get(tenant_id)
            if known is not None and time.monotonic() < known[1]:
                return known[0]
            if self._away is not None and time.monotonic() < self._away_until:
                raise StoreUnavailable(self._away.message, self._away.code)
            begun = time.monotonic()
            spool = await asyncio.to_thread(self._spool, self.address)
            try:
                status = await self.inspector.status(spool=spool, tenant_id=tenant_id)
            except StoreUnavailable as error:
                # To find this out may have taken seconds, and whoever waits for the lock should not find it out again.
                self._away, self._away_until = error, time.monotonic() + _AWAY_SECONDS
                raise
            self._away = None
            took = time.monotonic() - begun
            self._known.pop(tenant_id, None)
            self._known[tenant_id] = status, begun + took + max(_FRESH_SECONDS, took * _REST)
            if len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]
            return status

    async def recent(self) -> Samples:
        """What the workers counted in the last minutes."""
        async with self._asking:
            if self._samples is None or time.monotonic() >= self._samples_until:
                since = datetime.now(UTC) - timedelta(minutes=RECENT_MINUTES)
                self._samples = await self.inspector.samples(since)
                self._samples_until = time.monotonic() + _SAMPLED_SECONDS
            return self._samples

    async def metrics(self) -> bytes:
        """What the store says of itself, as Prometheus reads it. Raises MissingExtra."""
        from holdfast.telemetry.prometheus import exposition

        async with self._asking:
            if time.monotonic() >= self._metrics_until:
                self._metrics = await exposition((), {self.address: self.inspector})
                self._metrics_until = time.monotonic() + _SAMPLED_SECONDS
            return self._metrics

    def changed(self) -> None:
        """Something was done: the next look must show it."""
        self._known.clear()

    async def refuse(self, actor: Actor, action: str, target: str, reason: str) -> None:
        """Write into the audit that *actor* was not let do something. Where that cannot be written, it is logged."""
        try:
            await self.operator.refused(action, target, actor=actor.name, reason=reason)
        except HoldfastError as error:
            logger.warning("%r was refused %s, and the audit cannot say so: %s", actor.name, action, error)

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Go on with *work* after the answer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("what was begun in the dashboard has failed: %s", error)

    async def close(self) -> None:
        """Stop what was begun, and close the store's connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.inspector.close()
        await self._store.close()
