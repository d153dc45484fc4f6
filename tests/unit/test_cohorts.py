"""Which partitions are read together, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from holdfast.stores.values import Cursor, Lease, Slice
from holdfast.worker.cohorts import NEAR, Cohort, cohorts
from holdfast.worker.hand import Partition

if TYPE_CHECKING:
    from collections.abc import Collection

LOG = 1_000
PAGE = 7


def latest(places: Collection[str]) -> str:
    return max(places, key=int)


def partition_at(number: int, cursor: Cursor, horizon: str | None = None) -> Partition:
    lease = Lease(Slice(1, number), 1, cursor, clean=True, lost=False, crashes=0)
    partition = Partition(lease)
    partition.horizon = horizon
    return partition


def read(*places: Cursor | tuple[Cursor, str]) -> list[tuple[list[int], str | None, int | None]]:
    """Which ones read, up to where, and before which position."""
    partitions = [
        partition_at(number, *((place,) if isinstance(place, Cursor) else place)) for number, place in enumerate(places)
    ]
    return [
        ([one.slice.partition for one in cohort.members], cohort.horizon, cohort.before)
        for cohort in cohorts(partitions, latest)
    ]


def test_nobody_reads_nothing() -> None:
    assert read() == []


def test_those_at_one_place_read_together_up_to_what_can_be_seen() -> None:
    assert read(Cursor("5"), Cursor("5"), Cursor("5")) == [([0, 1, 2], None, None)]


def test_those_behind_read_up_to_the_foremost_which_waits() -> None:
    assert read(Cursor("5"), Cursor("9"), Cursor("7"), Cursor("9")) == [([0], "9", None), ([2], "9", None)]


def test_those_that_are_checked_read_up_to_their_own_horizon_and_nobody_waits_for_them() -> None:
    assert read((Cursor("5"), "8"), Cursor("6"), (Cursor("7"), "8")) == [
        ([0], "8", None), ([1], None, None), ([2], "8", None)
    ]  # fmt: skip


def test_in_one_window_those_ahead_wait_for_those_that_are_not_far_behind() -> None:
    near, far = 100 + NEAR - 1, 100 + 3 * NEAR
    assert read(Cursor("5", "9", near), Cursor("5", "9", 100), Cursor("5", "9", far), Cursor("5", "9", near)) == [
        ([1], None, near), ([2], None, None)
    ]  # fmt: skip


def test_in_another_window_nobody_waits() -> None:
    assert read(Cursor("5", "9", 100), Cursor("4", "9", 101), (Cursor("5", "9", 102), "12"), Cursor("5", "8", 103)) == [
        ([0], None, None), ([1], None, None), ([2], "12", None), ([3], None, None)
    ]  # fmt: skip


HALF = LOG // 2
without_window = st.integers(0, HALF).map(lambda done: Cursor(str(done)))
in_window = st.tuples(st.integers(0, HALF - 1), st.integers(1, HALF)).map(
    lambda place: Cursor(str(place[0]), str(HALF), min(place[0] + place[1], HALF))
)
places = st.lists(without_window | in_window, min_size=1, max_size=8)


@given(places)
def test_all_come_to_the_end_together_and_none_misses_an_event_or_has_it_twice(cursors: list[Cursor]) -> None:
    partitions = [partition_at(number, cursor) for number, cursor in enumerate(cursors)]
    seen: dict[Partition, list[int]] = {partition: [] for partition in partitions}
    for _ in range(len(partitions) * LOG):
        reading = cohorts(partitions, latest)
        for cohort in reading:
            rows, after = page(cohort)
            for partition in cohort.members:
                assert partition.cursor == cohort.cursor
                seen[partition] += rows
                partition.cursor = after
    assert {partition.cursor for partition in partitions} == {Cursor(str(LOG))}
    for partition, cursor in zip(partitions, cursors, strict=True):
        assert seen[partition] == list(range(max(cursor.position, int(cursor.done) + 1), LOG + 1))


def page(cohort: Cohort) -> tuple[list[int], Cursor]:
    """As the SQLite store reads; a log whose positions have no gaps."""
    cursor = cohort.cursor
    end = int(cursor.open or cohort.horizon or LOG)
    last = end if cohort.before is None else min(end, cohort.before - 1)
    rows = list(range(max(cursor.position, int(cursor.done) + 1), last + 1))[:PAGE]
    reached = rows[-1] if rows else last
    return rows, Cursor(str(end)) if reached >= end else Cursor(cursor.done, str(end), reached + 1)
