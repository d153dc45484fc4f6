"""What a subscription has in hand that does not run: let go of, and counted by tenant."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from holdfast.stores.values import Slice
    from holdfast.worker.aftermath import Aftermath
    from holdfast.worker.hand import InHand


class Waiting:
    """
    Deliveries in the lanes of one subscription.

    Args:
        after: Keeps the lanes and what is in hand.
    """

    def __init__(self, after: Aftermath) -> None:
        self._after, self._lanes = after, after.lanes
        self._kept: dict[str, int] = {}  # tenants that are aside, and how many of their events were kept in hand

    @property
    def aside(self) -> Collection[str]:
        """Tenants that wait for a limit, and are deferred so that others have room."""
        return self._kept.keys()

    @property
    def is_crowded(self) -> bool:
        """Whether a share is to run: whoever has much of it may keep others out."""
        return self._after.is_crowded

    def crowding(self) -> list[str]:
        """Tenants that have half of a share or more in hand. Cost: looks at all in hand."""
        held = Counter(item.row.tenant_id for item in self._after.in_hand.values())
        return [tenant for tenant, number in held.items() if 2 * number >= self._after.share]

    @property
    def has_room_for_due(self) -> bool:
        """Whether delivery rows may be claimed: they are not let go of, and a limited tenant may have any number."""
        return 2 * self._after.held_due < self._after.share or not self._lanes.tenants_held_up

    def balance(self) -> bool:
        """
        Let those who wait for a limit leave room to others; True where other tenants than before are aside.

        Once they have a share in hand: tenants keep a part of it, or what they may handle in a second, and come back
        when half of that is left. Behind a key that waits its events become delivery rows, as behind one that failed.
        """
        held_up = self._lanes.tenants_held_up
        if self._after.held_now >= self._after.share:
            for item in self._lanes.take_lanes_held_up(max(1, self._after.bound // 100)):
                self._after.put_behind(item)
        if not held_up and not self._kept:
            return False
        held = Counter(item.row.tenant_id for item in self._after.in_hand.values())
        kept = {tenant: number for tenant, number in self._kept.items() if 2 * held[tenant] > number}
        if sum(held[tenant] for tenant in held_up) >= self._after.share:
            part = max(1, self._after.share // (2 * len(held_up)))
            more = {tenant: max(part, in_a_second) for tenant, in_a_second in held_up.items()}
            kept |= {tenant: number for tenant, number in more.items() if held[tenant] > number}
        is_changed, self._kept = kept != self._kept, kept
        return is_changed

    def drop(self, slices: Collection[Slice] | None = None) -> None:
        """Drop what does not run, of these slices or of all."""
        self._take_out(lambda item: slices is None or item.partition.slice in slices, self._after.drop)

    def put_off(self, item: InHand) -> bool:
        """Hand a suspect back that is ready, as a suspect; False, and nothing done, where it runs already."""
        if found := self._lanes.remove(item):
            self._after.put_off(item)
        return found

    def leave_deferred(self) -> None:
        """Let go of what does not run of tenants that wait in its partition, but for what those keep that are aside."""
        kept = self._to_be_kept()

        def is_left(item: InHand) -> bool:
            return id(item) not in kept and waits(item)

        for follower in self._lanes.take_behind_all(is_left):  # also where the lane's first runs
            self._after.leave(follower)
        self._take_out(is_left, self._leave)

    def _to_be_kept(self) -> set[int]:
        """The first ones of each tenant that is aside, in order of arrival, and with them what is on record."""
        left, kept = dict(self._kept), set[int]()
        for item in self._after.in_hand.values() if left else ():
            tenant = item.row.tenant_id
            if tenant in left and (left[tenant] > 0 or item.due is not None):
                left[tenant] -= 1
                kept.add(id(item))
        return kept

    def _leave(self, item: InHand) -> None:
        self._after.leave(item)
        self._lanes.free(item.key)

    def _take_out(self, concerned: Callable[[InHand], bool], let_go: Callable[[InHand], None]) -> None:
        kept = []
        while (item := self._lanes.draw()) is not None:
            if concerned(item):
                let_go(item)  # the next one of its lane comes to the end, and is let go in its turn
            else:
                kept.append(item)
        for item in reversed(kept):
            self._lanes.put_back(item)


def waits(item: InHand) -> bool:
    """Whether its tenant waits now in the partition that it was read for, from before it on."""
    return item.partition.whole.holds_back(item.row.tenant_id)
