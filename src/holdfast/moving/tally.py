"""Counts and digests of rows, whatever order they come in. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_BYTES = 16


class Tally:
    """How many rows there were, and the sum of their digests: a row that is missing, changed or there twice shows."""

    __slots__ = ("_sum", "count")

    def __init__(self) -> None:
        self.count = self._sum = 0

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.count += 1
            self._sum += int.from_bytes(blake2b(msgspec.msgpack.encode(tuple(row)), digest_size=_BYTES).digest())

    @property
    def digest(self) -> str:
        return f"{self._sum % (1 << 8 * _BYTES):0{2 * _BYTES}x}"


class Table(NamedTuple):
    """What was found of a table in both stores."""

    name: str
    source: Tally
    destination: Tally

    @property
    def agrees(self) -> bool:
        return (self.source.count, self.source.digest) == (self.destination.count, self.destination.digest)

    @property
    def facts(self) -> dict[str, Any]:
        """For people, programs and the audit."""
        return {
            "table": self.name, "source": self.source.count, "destination": self.destination.count,
            "source_digest": self.source.digest, "destination_digest": self.destination.digest,
        }  # fmt: skip


def table(name: str) -> Table:
    return Table(name, Tally(), Tally())
