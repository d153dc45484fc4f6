"""Verifying holds some pages and links at a time, however long the log is, and however much of it is gone."""

from __future__ import annotations

import tracemalloc
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import pytest

from holdfast.sealing import Kind, Verifier
from holdfast.sealing.chain import ABSENT, GENESIS, LoggedEvent, link

if TYPE_CHECKING:
    from holdfast.stores.inspecting import Inspecting

DAY = date(2026, 11, 26)
DAYS_SINCE_2000 = (DAY - date(2000, 1, 1)).days
LINK = 200
LATE = 250
"""Each so many events one that was sealed at the very end: its link lies across all others."""


def event(position: int) -> LoggedEvent:
    return LoggedEvent(position, position.to_bytes(16, "big"), DAY, 7, "t", "n", f"k{position % 9}", ABSENT, b"p" * 32)


class EndlessLog:
    """An inspector of a log that is made up as it is read."""

    def __init__(self, events: int, *, is_gone: bool) -> None:
        self.events, self.is_gone = events, is_gone
        in_time = [position for position in range(1, events + 1) if position % LATE]
        self.links = [in_time[start : start + LINK] for start in range(0, len(in_time), LINK)]
        self.links.append([position for position in range(1, events + 1) if position % LATE == 0])
        self.chain = []
        head = GENESIS
        for number, members in enumerate(self.links, 1):
            made = link(head, DAY, number, members[0], members[-1], self.content(number))
            self.chain.append(made)
            head = made.head
        self.by_first = sorted(self.chain, key=lambda made: made.first)

    def content(self, number: int) -> bytes:
        return b"".join(event(position).packed for position in self.links[number - 1])

    async def rows(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        return list(getattr(self, statement)(**given))

    def sealing(self):
        return [(1, "done", None, 0, self.events, False, 0)]

    def seal_days(self):
        return [(DAYS_SINCE_2000, len(self.links), self.events, self.chain[-1].head, 0, None)]

    def erasures(self):
        return []

    def seal_segments(self, *, after, limit, **_):
        return [(DAYS_SINCE_2000, *made[1:], self.content(made.number)) for made in self.chain[after : after + limit]]

    def sealed_entries(self, *, after, after_number, limit, **_):
        later = [made for made in self.by_first if (made.first, made.number) > (after, after_number)][:limit]
        return [(made.first, DAYS_SINCE_2000, made.number, self.content(made.number)) for made in later]

    def log_page(self, *, after, limit, **_):
        first = max(0, after) + 1
        if self.is_gone:
            return
        for position in range(first, min(first + limit, self.events + 1)):
            one = event(position)
            yield (position, one.id, DAYS_SINCE_2000, *one[3:7], None, one.payload)


async def peak_of(log: EndlessLog) -> tuple[int, Verifier]:
    """Most bytes held by a verification; its findings are looked at and let go."""
    verifier = Verifier(cast("Inspecting", log))
    tracemalloc.start()
    try:
        async for finding in verifier.findings():
            assert finding.kind is Kind.REMOVED
        return tracemalloc.get_traced_memory()[1], verifier
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_gone", [False, True], ids=["sound", "all gone"])
async def test_memory_does_not_grow_with_the_log(is_gone):
    short, long = EndlessLog(8_000, is_gone=is_gone), EndlessLog(24_000, is_gone=is_gone)
    await peak_of(short)  # what is cached for ever is cached now
    less, _ = await peak_of(short)
    more, verifier = await peak_of(long)
    print(f"{less} bytes for {short.events} events, {more} for {long.events}")
    late = len(long.links[-1]) - len(short.links[-1])
    assert more < 1.2 * less + 120 * late
    assert (verifier.summary.sealed, verifier.summary.found) == (
        (0, {Kind.REMOVED: 24_000}) if is_gone else (24_000, {})
    )
