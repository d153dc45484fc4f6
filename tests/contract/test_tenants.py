"""Looking and acting for one tenant alone, the same on both stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import NotFound
from holdfast.health import Health
from holdfast.stores.filters import DeadFilter, EventFilter, ReplayFilter
from holdfast.stores.values import Parked, Released, Settlement, State

if TYPE_CHECKING:
    from uuid import UUID

    from tests.contract.desk import Desk

TENANTS = ("acme", "other")


@pytest.fixture
async def two(desk: Desk) -> dict[str, list[UUID]]:
    """Of each tenant a dead, a retrying and a processed event, and of acme three more that nobody has seen."""
    subscription = await desk.subscribe()
    ids = {tenant: await desk.publish(n=3, tenant=tenant) for tenant in TENANTS}
    (lease,) = await desk.lease(subscription)
    rows, cursor = await desk.read(lease)
    settlement = Settlement({lease.slice: lease.epoch})
    for tenant in TENANTS:
        dead, retrying, _ = [row for row in rows if row.tenant_id == tenant]
        settlement.parked.append(Parked(lease.slice, dead, State.DEAD, reason="no"))
        settlement.parked.append(Parked(lease.slice, retrying, State.RETRYING, reason="no", due_in=60.0))
    await desk.store.settle(settlement)
    await desk.store.release(desk.worker, [Released(lease.slice, lease.epoch, cursor, exact=True)])
    await desk.publish(n=3)
    return ids


@pytest.mark.usefixtures("two")
class TestStatus:
    async def test_figures_are_those_of_the_tenant(self, desk: Desk) -> None:
        found = {}
        for tenant in (None, *TENANTS, "nobody"):
            (one,) = (await desk.inspector.status(tenant_id=tenant)).subscriptions
            found[tenant] = (one.backlog, one.retrying, one.dead, one.lag)
        assert found == {None: (3, 2, 2, 5), "acme": (3, 1, 1, 4), "other": (0, 1, 1, 1), "nobody": (0, 0, 0, 0)}

    async def test_so_is_the_verdict(self, desk: Desk) -> None:
        await desk.store.leave(desk.worker)
        await desk.publish(tenant="late", at=datetime.now(UTC) - timedelta(hours=1))
        assert (await desk.inspector.status(tenant_id="late")).verdict.health is Health.STALLED
        assert (await desk.inspector.status(tenant_id="other")).verdict.health is Health.DEGRADED
        assert (await desk.inspector.status(tenant_id="nobody")).verdict.health is Health.OK


class TestLooking:
    async def test_events_dead_letters_and_groups(self, desk: Desk, two: dict[str, list[UUID]]) -> None:
        for tenant in TENANTS:
            page = await desk.inspector.events(EventFilter(tenant_id=tenant))
            assert {event.tenant_id for event in page.events} == {tenant}
            (letter,) = await desk.inspector.dead(DeadFilter(tenant_id=tenant))
            assert letter.event_id == two[tenant][0]
            (group,) = (await desk.inspector.dead_groups(DeadFilter(tenant_id=tenant))).groups
            assert (group.count, group.sample) == (1, two[tenant][0])

    async def test_an_event_of_another_tenant_is_not_there(self, desk: Desk, two: dict[str, list[UUID]]) -> None:
        (theirs, *_) = two["other"]
        assert (await desk.inspector.event(theirs, tenant_id="other")).id == theirs
        for look in (desk.inspector.event, desk.inspector.causation):
            with pytest.raises(NotFound, match="of tenant 'acme'"):
                await look(theirs, tenant_id="acme")

    async def test_in_a_tree_what_belongs_to_others_is_left_out(self, desk: Desk, two: dict[str, list[UUID]]) -> None:
        (mine, *_) = two["acme"]
        caused = b'{"causation_id": "%s"}' % str(mine).encode()
        for tenant in TENANTS:
            await desk.publish(tenant=tenant, headers=caused)
        assert len((await desk.inspector.causation(mine)).nodes) == 3
        tree = await desk.inspector.causation(mine, tenant_id="acme")
        assert [node.event.tenant_id for node in tree.nodes] == ["acme", "acme"]


class TestActing:
    async def test_retry_discard_and_replay(self, desk: Desk, two: dict[str, list[UUID]]) -> None:
        assert await desk.operator.retry_dead(DeadFilter(tenant_id="acme"), actor="me") == 1
        assert await desk.operator.discard(DeadFilter(tenant_id="other"), held=True, actor="me") == 2
        assert await desk.operator.matching(DeadFilter(tenant_id="other"), held=True) == 0
        assert await desk.operator.replay("billing", ReplayFilter(tenant_id="other"), actor="me") == 3
        replayed = [(await desk.inspector.event(one)).deliveries[0] for one in two["other"]]
        assert {(one.state, one.is_replay) for one in replayed} == {("pending", True)}
        assert not (await desk.inspector.event(two["acme"][0])).deliveries[0].is_replay
        assert [row.detail.get("tenant_id") for row in await desk.inspector.audit()] == ["other", "other", "acme"]

    async def test_a_dead_letter_of_another_tenant_is_not_corrected(
        self, desk: Desk, two: dict[str, list[UUID]]
    ) -> None:
        (theirs, *_) = two["other"]
        with pytest.raises(NotFound):
            await desk.operator.correct("billing", theirs, 1, actor="me", may_edit=True, tenant_id="acme")
        new = await desk.operator.correct("billing", theirs, 1, actor="me", may_edit=True, tenant_id="other")
        assert (await desk.inspector.event(new)).tenant_id == "other"
