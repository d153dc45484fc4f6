"""How far each partition of a topic may be committed. Pure."""

from __future__ import annotations


class Offsets:
    """
    Remembers the records in hand, and up to where all of a partition are done.

    Records of a partition are taken in ascending order; they may be done in any.
    """

    def __init__(self) -> None:
        self._open: dict[int, dict[int, None]] = {}
        self._next: dict[int, int] = {}

    def take(self, partition: int, offset: int) -> None:
        """This record is in hand from now on."""
        self._open.setdefault(partition, {})[offset] = None
        self._next[partition] = offset + 1

    def done(self, partition: int, offset: int) -> None:
        """It is stored, or refused for good."""
        self._open.get(partition, {}).pop(offset, None)

    def committable(self) -> dict[int, int]:
        """By partition, the offset before which nothing is in hand any more."""
        return {
            partition: next(iter(self._open.get(partition, ())), following)
            for partition, following in self._next.items()
        }
