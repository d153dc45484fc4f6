"""From a broker into the log: a batch is stored in one transaction, then acknowledged."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from holdfast.counts import IngestCounts
from holdfast.errors import BrokerRefused, BrokerUnreachable, HoldfastError, InvalidEvent
from holdfast.printable import clean
from holdfast.relay.away import Away
from holdfast.relay.message import event_of, refusal_of
from holdfast.stores.values import Appended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from holdfast.event import NewEvent
    from holdfast.relay.message import Convert
    from holdfast.relay.ports import Incoming, Source

    Store = Callable[[Sequence[NewEvent]], Awaitable[list[Appended]]]
    """Stores what it can in one transaction, and tells of each what became of it."""

logger = logging.getLogger("holdfast.relay")

T = TypeVar("T")

_DEFECT_PAUSE = 5.0
_CONFLICT = "an event with this id and other content is stored already: an id names one fact for ever"


class Ingest:
    """
    Takes messages in, for as long as a worker runs.

    A message whose event is stored already is acknowledged and counted. One that can be no event is stored as an event
    ``holdfast.ingest.refused`` with its content, then refused at the broker: it holds nobody up, and nobody loses it.

    Args:
        name: For people, and for what the broker remembers of us.
        where: The address, without its password.
        source: Makes a new connection's source.
        tenant_id: Of all its events; None: what each message says.
        convert: Reads messages that are neither CloudEvents nor JSON.
        limit: Most bytes of a payload.
        require_tenant: Refuse messages that name none.
    """

    def __init__(
        self, name: str, where: str, source: Callable[[], Source], *, tenant_id: str | None, convert: Convert | None,
        limit: int, require_tenant: bool,
    ) -> None:  # fmt: skip
        self.name, self.where = name, where
        self.counts = IngestCounts()
        self._source, self._tenant_id, self._convert = source, tenant_id, convert
        self._limit, self._require_tenant = limit, require_tenant
        self._away, self._store_away = Away(f"ingest {name!r}"), Away(f"ingest {name!r}", "store")

    @property
    def waits_for_store(self) -> bool:
        """Whether a batch is in hand that the store does not take now."""
        return self._store_away.is_on

    async def run(self, store: Store) -> None:
        """Take messages in until cancelled. What was not acknowledged by then comes again."""
        while True:
            try:
                await self._take(store)
            except (BrokerUnreachable, BrokerRefused) as error:
                self.counts.outages += 1
                self.counts.is_away = True
                await asyncio.sleep(self._away.met(error))
            except Exception:
                self.counts.is_away = True
                logger.exception("ingest %r failed, and is begun again in %g s", self.name, _DEFECT_PAUSE)
                await asyncio.sleep(_DEFECT_PAUSE)

    async def _take(self, store: Store) -> None:
        source = self._source()
        try:
            async with aclosing(source.receive()) as batches:
                async for batch in batches:
                    self.counts.is_away = False
                    self._away.over()
                    self.counts.waiting = getattr(source, "waiting", None)
                    if batch:
                        await self._settle(source, batch, store)
        finally:
            await source.close()

    async def _settle(self, source: Source, batch: Sequence[Incoming], store: Store) -> None:
        events: list[tuple[Incoming, NewEvent]] = []
        refused: list[tuple[Incoming, str]] = []
        for message in await self.chosen(batch):
            try:
                events.append((message, self._event(message)))
            except InvalidEvent as error:
                refused.append((message, str(error)))
        refused += await self._store(events, store)
        if refused:
            await self._keep(refused, store)
        gone = {id(message) for message, _ in refused}
        for message, reason in refused:
            await source.refuse(message, reason)
        if accepted := [message for message in batch if id(message) not in gone]:
            await source.acknowledge(accepted)

    async def chosen(self, batch: Sequence[Incoming]) -> Sequence[Incoming]:
        """What of *batch* is to be stored; the rest is acknowledged only."""
        return batch

    def _event(self, message: Incoming) -> NewEvent:
        return event_of(
            message, convert=self._convert, tenant_id=self._tenant_id, limit=self._limit,
            require_tenant=self._require_tenant,
        )  # fmt: skip

    async def _store(self, events: Sequence[tuple[Incoming, NewEvent]], store: Store) -> list[tuple[Incoming, str]]:
        """Store them, and return those that the store will not have."""
        if not events:
            return []
        try:
            results = await self._append([event for _, event in events], store)
        except InvalidEvent as error:
            if len(events) == 1:
                return [(events[0][0], str(error))]
            return [one for pair in events for one in await self._store([pair], store)]
        self.counts.batches.add(len(events))
        self.counts.stored += results.count(Appended.STORED)
        self.counts.duplicates += results.count(Appended.DUPLICATE)
        return [
            (message, f"id {event.id}: {_CONFLICT}")
            for (message, event), result in zip(events, results, strict=True)
            if result is Appended.CONFLICT
        ]

    async def _keep(self, refused: Sequence[tuple[Incoming, str]], store: Store) -> None:
        kept = [refusal_of(one, why, ingest=self.name, tenant_id=self._tenant_id) for one, why in refused]
        await self._append(kept, store)
        self.counts.refused += len(refused)
        for (message, reason), event in zip(refused, kept, strict=True):
            logger.error(
                "ingest %r: a message of %d bytes from %s is refused, and kept as event %s: %s",
                self.name, len(message.body), clean(message.source), event.id, clean(reason),
            )  # fmt: skip

    async def _append(self, events: Sequence[NewEvent], store: Store) -> list[Appended]:
        return await self._answered(lambda: store(events))

    async def _answered(self, question: Callable[[], Awaitable[T]]) -> T:
        """What the store says, however long it is away: the broker keeps the messages meanwhile."""
        while True:
            try:
                answer = await question()
            except InvalidEvent:
                raise
            except HoldfastError as error:
                await asyncio.sleep(self._store_away.met(error))
            else:
                self._store_away.over()
                return answer

    async def check(self) -> None:
        """
        Connect, and take nothing.

        Raises:
            BrokerUnreachable, BrokerRefused, ConfigurationError
        """
        source = self._source()
        try:
            await source.check()
        finally:
            await source.close()
