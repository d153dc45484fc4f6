"""Which partitions are read together, and how far: those that are behind catch up first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from holdfast.worker.hand import PAGE_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from holdfast.stores.values import Cursor
    from holdfast.worker.hand import Partition

    _Places = dict[tuple[Cursor, str | None], list[Partition]]

NEAR = 512 * PAGE_EVENTS
"""
Positions by which another may be behind in the same window and be waited for: a second or two of reading. Less, and the
partitions that a take-over recovers at different speeds would each read the rest of a large backlog on their own.
"""


class Cohort(NamedTuple):
    """
    Partitions at the same place, and their next page.

    Attributes:
        cursor: Where all of them stand.
        horizon: Up to what they read; None: to what can be seen.
        before: Position before which the page ends; None: wherever it is full.
        members: The partitions.
    """

    cursor: Cursor
    horizon: str | None
    before: int | None
    members: list[Partition]


def cohorts(partitions: Iterable[Partition], latest: Callable[[Collection[str]], str]) -> list[Cohort]:
    """
    What to read in this round, a page for each cohort.

    Read apart, each cohort reads the whole log once more; so whoever is behind reads up to where the next one stands,
    which waits meanwhile, and from there on the two are one. Of those that have no window open all wait for the ones
    behind, whose windows take a page or are open in the next round. In the same window one waits for those that are
    less than `NEAR` behind: who is further behind reads on its own.

    Args:
        partitions: Those that may be read.
        latest: Tells which of several places in the log (`Cursor.done`) shows the most.
    """
    places: dict[tuple[Cursor, str | None], list[Partition]] = {}
    cursor: Cursor | None = None
    horizon: str | None = None
    members: list[Partition] = []
    for partition in partitions:
        # Those that read their last page together have the very same cursor.
        if partition.cursor is not cursor or partition.horizon is not horizon:
            cursor, horizon = partition.cursor, partition.horizon
            members = places.setdefault((cursor, horizon), [])
        members.append(partition)
    if len(places) == 1:
        (((cursor, horizon), members),) = places.items()
        return [Cohort(cursor, horizon, None, members)]
    return [*_in_windows(places), *_without_window(places, latest)]


def _in_windows(places: _Places) -> Iterator[Cohort]:
    windows: dict[tuple[str, str, str | None], list[Cursor]] = {}
    for cursor, horizon in places:
        if cursor.open is not None:
            windows.setdefault((cursor.done, cursor.open, horizon), []).append(cursor)
    for (_, _, horizon), cursors in windows.items():
        cursors.sort(key=_position)
        for behind, cursor, ahead in zip([None, *cursors], cursors, [*cursors[1:], None], strict=False):
            if behind is None or cursor.position - behind.position >= NEAR:
                yield Cohort(cursor, horizon, None if ahead is None else ahead.position, places[cursor, horizon])


def _without_window(places: _Places, latest: Callable[[Collection[str]], str]) -> Iterator[Cohort]:
    free = {cursor.done for cursor, horizon in places if cursor.open is None and horizon is None}
    front = latest(free) if len(free) > 1 else None
    for (cursor, horizon), members in places.items():
        if cursor.open is None and (front is None or horizon is not None or cursor.done != front):
            yield Cohort(cursor, horizon or front, None, members)


def _position(cursor: Cursor) -> int:
    return cursor.position
