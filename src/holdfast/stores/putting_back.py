"""Putting back: archived events are delivered to the subscription that let go of them."""

from __future__ import annotations

from abc import ABC
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from holdfast.archive import as_parameters
from holdfast.stores.refusing import Refusing, count_in_audit, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.archive import Archived
    from holdfast.stores.records import SubscriptionRecord
    from holdfast.stores.refusing import Action

CHUNK = 500


class PuttingBack(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that puts back what was archived."""

    async def put_back(self, subscription: str, events: Iterable[Archived], *, actor: str) -> int:
        async with self.refusals(actor, "put back", subscription):
            found = await self._find(subscription)
            audit = await self.perform(record(actor, "put back", subscription, count=0))
            left, placed = iter(events), 0
            while chunk := list(islice(left, CHUNK)):
                placed += await self.perform(put_back_chunk(found, chunk, audit))
        return placed


def put_back_chunk(subscription: SubscriptionRecord, events: Sequence[Archived], audit: int) -> Action[int]:
    text = msgspec.json.encode(as_parameters(events)).decode()
    placed = len((yield "put_back", {"subscription": subscription.id, "events": text}))
    yield from count_in_audit(audit, placed)
    yield "bump_generation", {}
    return placed
