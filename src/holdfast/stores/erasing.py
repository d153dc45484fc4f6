"""Erasing personal data: what was said of a tenant or a key is masked where the store keeps it.

The log is append-only but for this. An UPDATE leaves position, txid, day and slot of an event as they are, and these
alone say what a cursor, a window or a snapshot has seen: no event is skipped or seen twice for it. It is done part by
part of the log, each in a transaction of its own; what is masked already is passed over, so that an erasure that was
broken off is finished by another.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdfast.erased import MASK, WORD, Erasable, Erased, is_masked, masked_headers
from holdfast.errors import InvalidInput
from holdfast.event import from_micros
from holdfast.ports import wall_micros
from holdfast.spool_erasing import SpoolErased, erase_spool
from holdfast.stores.filters import EventFilter
from holdfast.stores.refusing import Refusing, count_in_audit, record
from holdfast.stores.repeats import as_uuid
from holdfast.stores.values import KEY_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from holdfast.stores.refusing import Action, Rows

PART = 5_000
"""Events of the log that are looked at together."""
CHUNK = 500
"""Delivery rows that are looked at together."""
_KEY_MARGIN_SECONDS = 1.0

ELSEWHERE = (
    "tenant, key, name, id, times, correlation_id and causation_id of the events, and the audit",
    "events of transactions that were not committed yet, and what workers had in hand: erase again to be sure",
    "events with another key that say something of it, such as those that handlers published",
    "spools of other machines and users, and of buses with spool= elsewhere",
    "archives and exports, where payloads are not encrypted",
    "brokers, backups, logs, and what handlers wrote into tables of their own",
)

KEYS_ELSEWHERE = (
    "backups and archives of subject_keys: with the master key, what is in a copy of the log can be read again"
)


class Masking(NamedTuple):
    """
    A row with something to erase.

    Attributes:
        number: Its position in the log, or its id among the deliveries.
        is_masked: Its content is; what attempts say was written later.
    """

    number: int
    day: int | None
    event_id: str
    headers: bytes | None
    is_masked: bool


class Erasing(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that erases."""

    @property
    @abstractmethod
    def residue(self) -> str:
        """Where the database itself still has what an UPDATE has replaced, and how that goes."""

    async def erase_count(self, *, tenant_id: str | None = None, key: str | None = None) -> Erasable:
        whose = of_whom(tenant_id, key)
        events = sum([len(part) async for part in self._events(whose, await self._newest())])
        deliveries = sum([len(part) async for part in self._deliveries(whose)])
        ((keys,),) = await self._inspector.rows("count_keys", tenant_id=tenant_id, key=key)
        ((scheduled,),) = await self._inspector.rows("count_scheduled", **_masks(whose))
        return Erasable(events + int(scheduled), deliveries, keys)

    async def erase(
        self,
        *,
        actor: str,
        tenant_id: str | None = None,
        key: str | None = None,
        spool: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Erased:
        target = described(tenant_id, key)
        asked = {"tenant_id": tenant_id, "key": key}
        async with self.refusals(actor, "erase", target, asked):
            whose = of_whom(tenant_id, key)
            audit = await self.perform(record(actor, "erase", target, detail=asked, count=0))
            at = from_micros(wall_micros()).isoformat(timespec="seconds").replace("+00:00", "Z")
            # The spool first: what is drained meanwhile is found in the log.
            spooled = SpoolErased()
            if spool is not None:
                spooled = await asyncio.to_thread(erase_spool, spool, whose, actor, at)
            keys = await self._drop_keys(tenant_id, key)
            deliveries = attempts = 0
            # What waits for its time before the log: what comes due meanwhile is found there.
            events = len(await self.perform(one_masking(whose, actor, at)))
            newest = await self._newest()
            # The log before the deliveries: retention hands the content of events to dead letters, not the other way.
            async for part in self._events(whose, newest):
                attempts += await self.perform(erase_events(part, audit, actor, at))
                events += len(part)
                if progress is not None:
                    progress(events)
            async for part in self._deliveries(whose):
                attempts += await self.perform(erase_deliveries(part, actor, at))
                deliveries += len(part)
                if progress is not None:
                    progress(events + deliveries)
            left = (*ELSEWHERE, *((KEYS_ELSEWHERE,) if keys else ()), self.residue, *spooled.left)
            outcome = Erased(events, deliveries, attempts, spooled.pending, spooled.quarantined, left, keys)
            # The position tells who verifies a seal which masks are explained by this.
            detail = asked | counts(outcome) | {"position": newest}
            await self.perform(record(actor, "erased", target, detail=detail, count=events))
        return outcome

    async def _drop_keys(self, tenant_id: str | None, key: str | None) -> int:
        """
        Drop the data keys, in two steps: whoever remembers one may encrypt with it for a moment, and what that makes must
        not come to the log after the keys are gone, from somebody who does not know it.
        """
        whose = {"tenant_id": tenant_id, "key": key}
        ((found,),) = await self._inspector.rows("count_keys", **whose)
        if found:
            await self.perform(one_statement("retire_keys", whose))
            await asyncio.sleep(KEY_SECONDS + _KEY_MARGIN_SECONDS)
            await self.perform(one_statement("drop_keys", whose))
        return int(found)

    async def _newest(self) -> int:
        ((_, _, newest),) = await self._inspector.rows("replay_range", first_id=None, last_id=None)
        return int(newest or 0)

    async def _events(self, whose: dict[str, Any], newest: int) -> AsyncIterator[list[Masking]]:
        """What is to be masked in each part of the log up to position *newest*. Each part is read once."""
        after = 0
        while True:
            ((last,),) = await self._inspector.rows("replay_window", after=after, until_position=newest, limit=PART)
            if last is None:
                return
            rows = await self._inspector.rows("erasable_events", **whose, after=after, until_position=last)
            if found := [maskable for row in rows if (maskable := as_maskable(row)) is not None]:
                yield found
            after = last

    async def _deliveries(self, whose: dict[str, Any]) -> AsyncIterator[list[Masking]]:
        after = 0
        while rows := await self._inspector.rows("erasable_deliveries", **whose, after=after, limit=CHUNK):
            if found := [maskable for row in rows if (maskable := as_maskable(row)) is not None]:
                yield found
            after = rows[-1][0]


def one_masking(whose: dict[str, Any], actor: str, at: str) -> Action[Rows]:
    """Mask the scheduled events."""
    return (yield "erase_scheduled", _masks(whose) | {"actor": actor, "at": at})


def _masks(whose: dict[str, Any]) -> dict[str, Any]:
    return {name: whose[name] for name in ("tenant_id", "key", "mask")}


def one_statement(statement: str, parameters: dict[str, Any]) -> Action[None]:
    yield statement, parameters


def of_whom(tenant_id: str | None, key: str | None) -> dict[str, Any]:
    """
    Whose events are meant, as parameters.

    Raises:
        InvalidInput: Neither is given, or no store holds such a text.
    """
    if tenant_id is None and key is None:
        raise InvalidInput(
            "tenant_id", "is missing, and so is key", "say whose data is to be erased: tenant, key or both"
        )
    EventFilter(tenant_id=tenant_id, key=key)
    return {"tenant_id": tenant_id, "key": key, "mask": MASK.decode(), "word": WORD}


def described(tenant_id: str | None, key: str | None) -> str:
    """Whose data it is, for the audit and for questions."""
    parts = (("tenant", tenant_id), ("key", key))
    return ", ".join(f"{name} {value}" for name, value in parts if value is not None) or "nobody"


def counts(outcome: Erased) -> dict[str, int]:
    names = ("events", "deliveries", "attempts", "spooled", "quarantined", "keys")
    return {name: getattr(outcome, name) for name in names}


def as_maskable(row: tuple[Any, ...]) -> Masking | None:
    """A row of number, day, event, whether its payload is the mask, headers, and whether texts beside it are none."""
    number, day, event_id, payload_is_mask, headers, texts_are_masked = row
    raw = headers.encode() if isinstance(headers, str) else headers
    content_is_masked = is_masked(bool(payload_is_mask), raw)
    if texts_are_masked and content_is_masked:
        return None
    return Masking(number, day, str(as_uuid(event_id)), raw, content_is_masked)


def erase_events(part: list[Masking], audit: int, actor: str, at: str) -> Action[int]:
    """Mask some events of the log, and what their attempts have said; returns how many attempts."""
    yield "erase_events", masks(part, actor, at) | {"first": part[0].number, "last": part[-1].number}
    yield from count_in_audit(audit, len(part))
    return len((yield from erase_attempts(part)))


def erase_deliveries(part: list[Masking], actor: str, at: str) -> Action[int]:
    """Mask what delivery rows keep of an event that the log has no more, their reasons, and their attempts."""
    yield "erase_deliveries", masks(part, actor, at)
    return len((yield from erase_attempts(part)))


def erase_attempts(part: list[Masking]) -> Action[Rows]:
    ids = msgspec.json.encode([one.event_id for one in part]).decode()
    return (yield "erase_attempts", {"ids": ids, "word": WORD})


def masks(part: list[Masking], actor: str, at: str) -> dict[str, Any]:
    """Parameters: the rows as one JSON text, which both databases take apart. Who has erased before stays on record."""
    rows = [
        {
            "number": one.number,
            "day": one.day,
            "headers": (one.headers or b"{}" if one.is_masked else masked_headers(one.headers, actor, at)).decode(),
        }
        for one in part
    ]
    return {"rows": msgspec.json.encode(rows).decode(), "mask": MASK.decode(), "word": WORD}
