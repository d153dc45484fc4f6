"""How far partitions have got is written now and then, whole when it matters, and with the goodbye."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.stores.values import Place, Released
from holdfast.worker.hand import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.stores.base import Store
    from holdfast.stores.values import Slice
    from holdfast.worker.hand import Partition
    from holdfast.worker.settler import Settler

_SECONDS, _IDLE_SECONDS = 1.0, 60.0


class Places:
    """
    Writes places through the settler.

    Args:
        store: Compares places.
        settler: Writes them with the outcomes.
        partitions: What the worker holds; its own mapping, which changes.
    """

    def __init__(self, store: Store, settler: Settler, partitions: Mapping[Slice, Partition]) -> None:
        self._store, self._settler, self._partitions = store, settler, partitions

    async def run(self) -> None:
        """Once a second where something was handed out, once a minute the others, until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(_SECONDS)
            rounds += 1
            self.advance(idle_too=rounds % int(_IDLE_SECONDS / _SECONDS) == 0)

    def advance(self, *, idle_too: bool) -> None:
        """Places that have moved go with the next settlement."""
        for partition in self._partitions.values():
            if partition.phase is Phase.ENDING:
                continue  # its last place is written with the goodbye; written later, this one would take it back
            for part in partition.parts:
                part.advance()
            if partition.place != partition.written and (idle_too or any(part.dirty for part in partition.parts)):
                self._settler.advance(partition)
                for part in partition.parts:
                    part.dirty = part.in_hand > 0

    async def write(self, partitions: Iterable[Partition]) -> None:
        """Write these now; returns when they are durable."""
        for partition in partitions:
            if partition.phase in (Phase.CHECKING, Phase.FAST):
                self._settler.advance(partition)
        await self._settler.flush()

    def goodbye(self, partitions: Iterable[Partition]) -> list[Released]:
        """What to say when these are given back; of those that are another worker's by now, nothing."""
        return [self._goodbye(partition) for partition in partitions if partition.is_alive]

    def _goodbye(self, partition: Partition) -> Released:
        partition.advance()
        partition.rejoin()  # whoever has caught up since the last page would be read again from there
        cursor, place = partition.settled, None
        if partition.deferred:
            cursor, place = partition.passed(self._store.latest), Place(cursor, partition.place.deferred)
        return Released(
            partition.slice, partition.epoch, cursor, partition.ends_exactly, partition.is_lost, partition.placed_in,
            place,
        )  # fmt: skip
