"""Dead letters grouped by what they died of, the same on both stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from holdfast.errors import NotFound
from holdfast.stores import grouping
from holdfast.stores.filters import DeadFilter
from holdfast.stores.values import Attempt, Parked, Released, Settlement, State

if TYPE_CHECKING:
    from uuid import UUID

    from tests.contract.desk import Desk


class Failure(NamedTuple):
    """How an event dies."""

    error: str = "ValueError"
    message: str = "ValueError: no customer 13"
    function: str = "bill"
    tenant: str = "acme"

    @property
    def traceback(self) -> str:
        return f'Traceback:\n  File "/srv/app.py", line 3, in {self.function}\n    raise\n{self.message}\n'


async def die(desk: Desk, *failures: Failure, name: str = "billing") -> list[UUID]:
    """Events that ended dead, in the order given."""
    subscription = await desk.subscribe(name)
    ids = [(await desk.publish(tenant=one.tenant))[0] for one in failures]
    (lease,) = await desk.lease(subscription)
    rows, cursor = await desk.read(lease)
    settlement = Settlement({lease.slice: lease.epoch})
    for row, one in zip(rows, failures, strict=True):
        settlement.parked.append(Parked(lease.slice, row, State.DEAD, attempts=2, reason=one.message))
        for number, message in ((1, "ValueError: something else"), (2, one.message)):
            settlement.attempts.append(
                Attempt(lease.slice, row.id, row.day, number, "failed", one.error, message, one.traceback, 0.1)
            )
    assert await desk.store.settle(settlement) == set()
    await desk.store.release(desk.worker, [Released(lease.slice, lease.epoch, cursor, exact=False)])
    return ids


async def test_the_last_error_makes_the_group_and_the_largest_comes_first(desk: Desk) -> None:
    ids = await die(
        desk, Failure(), Failure("KeyError", "KeyError: 'sku'"), Failure(message="ValueError: no customer 14"),
        Failure(function="ship"),
    )  # fmt: skip
    found = await desk.inspector.dead_groups(DeadFilter())
    assert (found.looked, found.complete) == (4, True)
    first, *others = found.groups
    assert (first.count, first.subscription, first.error, first.message, first.frame, first.sample) == (
        2, "billing", "ValueError", "no customer #", "app.py: bill", ids[2],
    )  # fmt: skip
    assert first.first_seen <= first.last_seen
    assert sorted((one.error, one.message, one.frame) for one in others) == [
        ("KeyError", "'?'", "app.py: bill"), ("ValueError", "no customer #", "app.py: ship"),
    ]  # fmt: skip
    assert len({one.fingerprint for one in found.groups}) == 3


async def test_each_subscription_has_its_own(desk: Desk) -> None:
    await die(desk, Failure())
    await die(desk, Failure(), name="mail")
    found = await desk.inspector.dead_groups(DeadFilter())
    assert [(one.subscription, one.count) for one in found.groups] == [("billing", 1), ("mail", 1)]
    assert len((await desk.inspector.dead_groups(DeadFilter(subscription="mail"))).groups) == 1
    with pytest.raises(NotFound, match="did you mean mail"):
        await desk.inspector.dead_groups(DeadFilter(subscription="mial"))


async def test_a_group_is_listed_retried_and_discarded_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_CHUNK", 2)
    ids = await die(
        desk, *[Failure(message=f"ValueError: no customer {n}") for n in range(5)], Failure("OSError", "no")
    )
    group, other = (await desk.inspector.dead_groups(DeadFilter())).groups
    chosen = DeadFilter(fingerprint=group.fingerprint)
    assert [one.event_id for one in await desk.inspector.dead(chosen)] == ids[4::-1]
    (latest,) = await desk.inspector.dead(chosen, limit=1)
    assert len(await desk.inspector.dead(chosen, before=latest.delivery)) == 4
    assert await desk.operator.matching(chosen) == 5
    assert await desk.operator.retry_dead(chosen, actor="me") == 5
    (audited,) = await desk.inspector.audit()
    assert audited.detail["fingerprint"] == group.fingerprint
    rest = DeadFilter(fingerprint=other.fingerprint, subscription="billing")
    assert await desk.operator.discard(rest, actor="me") == 1
    assert (await desk.inspector.dead_groups(DeadFilter())).groups == ()


async def test_the_filter_holds_for_groups(desk: Desk) -> None:
    await die(desk, Failure(), Failure(tenant="other"))
    (group,) = (await desk.inspector.dead_groups(DeadFilter(tenant_id="other"))).groups
    assert group.count == 1
    both = DeadFilter(fingerprint=group.fingerprint)
    one = DeadFilter(fingerprint=group.fingerprint, tenant_id="other")
    assert [await desk.operator.matching(chosen) for chosen in (both, one)] == [2, 1]


async def test_the_latest_are_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "LOOKED_MAX", 2)
    ids = await die(desk, *[Failure()] * 3)
    found = await desk.inspector.dead_groups(DeadFilter())
    assert (found.looked, found.complete, found.groups[0].count, found.groups[0].sample) == (2, False, 2, ids[2])


async def test_what_takes_its_time_ends_early_and_a_group_is_whole_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "LOOKED_SECONDS", 0)
    monkeypatch.setattr(grouping, "_CHUNK", 2)
    ids = await die(desk, *[Failure()] * 5)
    found = await desk.inspector.dead_groups(DeadFilter())
    assert (found.looked, found.complete, found.groups[0].count, found.groups[0].sample) == (2, False, 2, ids[4])
    assert await desk.operator.matching(DeadFilter(fingerprint=found.groups[0].fingerprint)) == 5


async def test_without_an_attempt_the_reason_counts(desk: Desk) -> None:
    subscription = await desk.subscribe()
    await desk.publish()
    (lease,) = await desk.lease(subscription)
    (row,), _ = await desk.read(lease)
    await desk.store.settle(
        Settlement({lease.slice: lease.epoch}, parked=[Parked(lease.slice, row, State.DEAD, reason="put off 9 times")])
    )
    (group,) = (await desk.inspector.dead_groups(DeadFilter())).groups
    assert (group.error, group.message, group.frame) == ("", "put off # times", None)
