"""A partition with deferred tenants never passes what is not settled, hands everything out once, and comes together again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.event import Row
from holdfast.stores.deferring import decode, encode
from holdfast.stores.values import Cursor, Lease, Page, Place, Slice
from holdfast.worker.hand import Deferred, InHand, Partition, Phase
from holdfast.worker.lanes import Lanes
from holdfast.worker.places import Places

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdfast.worker.hand import Mark

TENANTS = ("acme", "bell", "coda")

cursors = st.builds(Cursor, st.text(max_size=5), st.none() | st.text(max_size=5), st.integers(0, 2**62))
deferrals = st.dictionaries(st.text(min_size=1, max_size=5), cursors, max_size=3)


@given(cursors, cursors, deferrals)
def test_what_is_kept_beside_a_cursor_is_found_again(cursor: Cursor, own: Cursor, deferred: dict[str, Cursor]) -> None:
    place = Place(own, tuple(sorted(deferred.items())))
    assert decode(cursor, encode(cursor, place)) == place
    assert decode(cursor, encode(cursor, None)) == Place(cursor)
    moved = cursor._replace(position=cursor.position + 1)
    assert decode(moved, encode(cursor, place)) == Place(moved), "somebody else has moved the cursor"


def row_at(position: int, tenant: str, key: str | None = None) -> Row:
    return Row(position, position.to_bytes(16), 0, 0, 0, tenant, "a", key, b"null", None)


def test_what_stands_behind_a_running_event_is_taken_out_too() -> None:
    partition = Partition(Lease(Slice(1, 0), 1, Cursor("0"), clean=True, lost=False, crashes=0))
    lanes = Lanes()
    items = [InHand(row_at(n, "acme", "k"), partition, ("acme", "k"), 0) for n in range(4)]
    other = InHand(row_at(9, "bell", "k"), partition, ("bell", "k"), 0)
    lanes.add_all([*items, other])
    assert lanes.take() is items[0]
    assert lanes.take_behind_all(lambda item: item is not items[2] and item.row.tenant_id == "acme") == [
        items[1], items[3],
    ]  # fmt: skip
    assert lanes.free(("acme", "k"))
    assert [lanes.take(), lanes.take()] == [other, items[2]]


def test_a_goodbye_forgets_whoever_has_caught_up() -> None:
    """Its cursor stands where it joined the others: read from there, what was handled since would be handled again."""
    partition = Partition(Lease(Slice(1, 0), 1, Cursor("0"), clean=True, lost=False, crashes=0))
    partition.phase = Phase.FAST
    hand = Hand(partition)
    first = row_at(1, "acme")
    hand.offer(partition, first, partition.add_page(Page([first], Cursor("1"), "", 0)))
    partition.give_way("acme")
    partition.rejoin()  # it stands where the others stand
    second = row_at(2, "acme")
    hand.offer(partition, second, partition.add_page(Page([second], Cursor("2"), "", 0)))
    for position in (2, 1):
        hand.let_go(position)
    partition.phase = Phase.ENDING
    (released,) = Places(OneLog(), None, {}).goodbye([partition])  # type: ignore[arg-type]
    assert (released.cursor, released.exact, released.place) == (Cursor("2"), True, None)


def test_what_a_tenant_has_in_hand_that_was_deferred_a_moment_ago_is_held_after_a_lost_session() -> None:
    partition = Partition(Lease(Slice(1, 0), 1, Cursor("0"), clean=True, lost=False, crashes=0))
    partition.phase = Phase.FAST
    partition.give_way("acme")
    (part,) = partition.deferred.values()
    row, hand = row_at(1, "acme"), Hand(partition)
    hand.offer(part, row, part.add_page(Page([row], Cursor("1"), "", 0)))
    partition.restart(Place(Cursor("0")), "1")
    assert partition.held == 1
    assert partition.place == Place(Cursor("0"), (("acme", Cursor("0")),))
    hand.let_go(1)
    assert partition.held == 0


def test_rows_of_a_tenant_are_left_to_the_moment_when_it_goes_on_only_where_that_comes() -> None:
    partition = Partition(Lease(Slice(1, 0), 1, Cursor("0"), clean=True, lost=False, crashes=0))
    partition.phase = Phase.FAST
    partition.give_way("acme")
    partition.defer("bell")
    assert not partition.suspects_run_later("acme"), "nobody looks for them later: it has given way, and never waits"
    assert partition.suspects_run_later("bell")
    assert not partition.suspects_run_later("coda")
    partition.deferred["acme"].recovering = True
    assert partition.suspects_run_later("acme"), "they run in their turn"


@dataclass
class Hand:
    """What a worker does with a partition, without the worker."""

    partition: Partition
    in_hand: dict[int, InHand] = field(default_factory=dict)

    def offer(self, part: Partition, row: Row, mark: Mark) -> None:
        item = self.in_hand[row.position] = InHand(row, part, None, 0, mark)
        mark.open += 1
        part.in_hand += 1
        assert item.mark is mark

    def let_go(self, position: int) -> None:
        self.in_hand.pop(position).close()


class OneLog:
    """A store that compares places, and is asked nothing else."""

    def latest(self, places: Collection[str]) -> str:
        return max(places, key=int)


class Deferring(RuleBasedStateMachine):
    """One partition of a log in which a position is a place, read by pages, with events settled in any order."""

    @initialize(events=st.lists(st.sampled_from(TENANTS), min_size=1, max_size=12))
    def begin(self, events: list[str]) -> None:
        self.log = [row_at(n + 1, tenant) for n, tenant in enumerate(events)]
        self.settled: set[int] = set()
        self.handed_out: list[int] = []
        self.paused: set[str] = set()
        self.stored = Place(Cursor("0"))
        self._take_over(clean=True)

    def _take_over(self, *, clean: bool) -> None:
        cursor, deferred = self.stored
        lease = Lease(Slice(1, 0), 1, cursor, clean=clean, lost=False, crashes=0, deferred=deferred)
        self.hand = Hand(Partition(lease))
        self.partition = self.hand.partition
        self.partition.phase = Phase.FAST if clean else Phase.CHECKING
        self.partition.horizon = None if clean else str(len(self.log))
        if clean:
            for one in self.partition.set_apart(self.paused):
                one.phase, one.waits = Phase.FAST, False
        self._align()

    def _align(self) -> None:
        for one in self.partition.set_apart(self.paused):
            one.go_on(str(len(self.log)))
        for position, item in list(self.hand.in_hand.items()):
            if self.partition.holds_back(item.row.tenant_id) and position % 2:  # the even ones are running
                self.hand.let_go(position)
                self.handed_out.remove(position)

    @rule(tenant=st.sampled_from(TENANTS))
    def publish(self, tenant: str) -> None:
        self.log.append(row_at(len(self.log) + 1, tenant))

    @rule(size=st.integers(1, 5), which=st.integers(0, 3))
    def read(self, size: int, which: int) -> None:
        self.partition.rejoin()
        parts = [part for part in self.partition.parts if part.is_readable]
        if not parts:
            return
        part = parts[which % len(parts)]
        start = int(part.cursor.done)
        until = len(self.log) if part.horizon is None else int(part.horizon)
        if any(int(other.cursor.done) > start for other in parts):
            until = min(until, *(int(other.cursor.done) for other in parts if int(other.cursor.done) > start))
        rows = self.log[start : min(start + size, until)]
        end = start + len(rows)
        checked = part.phase is Phase.CHECKING
        mark = part.add_page(Page(rows, Cursor(str(end)), "", 0))
        for row in rows:
            if not part.takes(row.tenant_id):
                continue
            if checked and row.position in self.settled:
                continue
            if checked and (item := self.hand.in_hand.get(row.position)) is not None:
                if item.mark is not None:
                    item.mark.open -= 1
                item.mark = mark
                mark.open += 1
                continue
            self.handed_out.append(row.position)
            self.hand.offer(part, row, mark)
        if checked and part.horizon is not None and end >= int(part.horizon):
            part.phase, part.horizon, part.exact = Phase.FAST, None, True
        part.advance()

    @precondition(lambda self: self.hand.in_hand)
    @rule(which=st.integers(0, 100))
    def settle(self, which: int) -> None:
        position = list(self.hand.in_hand)[which % len(self.hand.in_hand)]
        self.settled.add(position)
        self.hand.let_go(position)

    @rule(tenant=st.sampled_from(TENANTS))
    def pause(self, tenant: str) -> None:
        self.paused.add(tenant)
        self._align()

    @rule(tenant=st.sampled_from(TENANTS))
    def crowd(self, tenant: str) -> None:
        if self.partition.may_split and tenant not in self.partition.deferred:
            self.partition.give_way(tenant)
            self.write()

    @rule(tenant=st.sampled_from(TENANTS))
    def resume(self, tenant: str) -> None:
        self.paused.discard(tenant)
        self._align()

    @rule()
    def write(self) -> None:
        for part in self.partition.parts:
            part.advance()
        self.stored = self.partition.place

    @rule()
    def vanish(self) -> None:
        """Its successor begins at what was written, and looks everything up."""
        self.handed_out = [one for one in self.handed_out if one in self.settled]
        self._take_over(clean=False)

    @rule()
    def give_back(self) -> None:
        """Handlers end, a goodbye is said; its successor looks nothing up where that says it all."""
        self.partition.phase = Phase.ENDING
        while self.hand.in_hand:
            self.settle(0)
        (released,) = Places(OneLog(), None, {}).goodbye([self.partition])  # type: ignore[arg-type]
        self.stored = released.place or Place(released.cursor)
        self._take_over(clean=released.exact)

    @rule()
    def lose_the_session(self) -> None:
        self.partition.restart(self.stored, str(len(self.log)))
        self._align()

    @invariant()
    def nothing_is_handed_out_twice(self) -> None:
        held = [one for one in self.handed_out if one in self.settled or one in self.hand.in_hand]
        assert len(held) == len(set(held))

    @invariant()
    def what_is_in_hand_is_known_to_be_held(self) -> None:
        assert self.partition.held == len(self.hand.in_hand)

    @invariant()
    def what_was_written_passes_nothing(self) -> None:
        self._passes_nothing(self.stored)
        for part in self.partition.parts:
            part.advance()
        self._passes_nothing(self.partition.place)
        passed = self.partition.passed(OneLog().latest)
        self._passes_nothing(Place(passed))

    def _passes_nothing(self, place: Place) -> None:
        deferred = dict(place.deferred)
        for row in self.log:
            if row.position not in self.settled:
                cursor = deferred.get(row.tenant_id, place.cursor)
                assert row.position > int(cursor.done), (row.position, row.tenant_id, place)

    def teardown(self) -> None:
        """All is resumed, read and settled: nobody is deferred any more."""
        if not hasattr(self, "log"):
            return
        self.paused.clear()
        self._align()
        for _ in range(6 * len(self.log) + 60):
            for which in range(4):
                self.read(5, which)
            while self.hand.in_hand:
                self.settle(0)
        self.partition.rejoin()
        self.write()
        assert {row.position for row in self.log} == self.settled
        assert self.stored == Place(Cursor(str(len(self.log))))
        assert not any(isinstance(part, Deferred) for part in self.partition.parts)


TestDeferring = Deferring.TestCase
TestDeferring.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
