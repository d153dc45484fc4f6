"""Skipping and correcting, and what refused actions leave behind, the same on both stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from holdfast.errors import (
    BusStateError,
    ConfigurationError,
    DuplicateSubscription,
    HoldfastError,
    InvalidInput,
    NotFound,
)
from holdfast.stores.filters import DeadFilter, EventFilter, ReplayFilter
from holdfast.stores.values import Parked, Released, Settlement, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.stores.operator import Operator
    from holdfast.stores.values import Lease, Subscription
    from tests.contract.desk import Desk


async def ids_ahead(desk: Desk, lease: Lease) -> list[UUID]:
    rows, _ = await desk.read(lease)
    return [UUID(bytes=row.id) for row in rows]


async def park(desk: Desk, subscription: Subscription, *states: State) -> list[UUID]:
    """Events whose deliveries are in these states, in one partition, which is given back."""
    ids = await desk.publish(n=len(states), key="k")
    (lease,) = await desk.lease(subscription)
    rows, _ = await desk.read(lease)
    parked = [Parked(lease.slice, row, state, reason="no") for row, state in zip(rows, states, strict=True)]
    await desk.store.settle(Settlement({lease.slice: lease.epoch}, parked=parked))
    await desk.store.release(desk.worker, [Released(lease.slice, lease.epoch, lease.cursor, exact=False)])
    return ids


class TestSkip:
    async def test_what_is_stored_is_passed_over_and_what_comes_is_delivered(self, desk: Desk) -> None:
        subscription = await desk.subscribe(partitions=3)
        for key in "abcdefgh":
            await desk.publish(key=key)
        assert (await desk.operator.skip_count("billing")).events == 8
        passed = await desk.operator.skip("billing", actor="ann")
        assert (passed.events, passed.kind) == (8, "exact")
        (status,) = (await desk.inspector.status()).subscriptions
        assert (status.lag, status.blocks_retention) == (0, False)
        assert {(one.status, one.processed_at) for one in (await desk.inspector.events(EventFilter())).events} == {
            ("processed", None)
        }
        coming = [(await desk.publish(key=key))[0] for key in "abcdefgh"]
        leases = await desk.lease(subscription)
        read = {one for lease in leases for one in await ids_ahead(desk, lease)}
        assert read == set(coming)
        assert {(lease.epoch, lease.clean, lease.lost) for lease in leases} == {(2, False, False)}

    async def test_it_is_on_record_how_many(self, desk: Desk) -> None:
        await desk.subscribe()
        await desk.publish(n=3)
        await desk.operator.skip("billing", actor="ann")
        (row,) = await desk.inspector.audit()
        assert (row.action, row.actor, row.target, row.count, row.allowed) == ("skip", "ann", "billing", 3, True)
        assert row.detail == {"counted": "exact", "delivery_rows": 0}

    async def test_rows_that_wait_are_discarded_and_dead_ones_stay(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        ids = await park(desk, subscription, State.DEAD, State.RETRYING, State.PENDING)
        await desk.publish(n=2)
        assert (await desk.operator.skip("billing", actor="me")).events == 4
        states = [(await desk.inspector.event(one)).deliveries[0] for one in ids]
        assert [(one.state, one.reason) for one in states] == [
            ("dead", "no"), ("discarded", "skipped"), ("discarded", "skipped"),
        ]  # fmt: skip
        (lease,) = await desk.lease(subscription)
        assert (await desk.store.claim({lease.slice: lease.epoch}, limit=10)).due == []

    async def test_a_replay_brings_them_back(self, desk: Desk) -> None:
        await desk.subscribe()
        await desk.publish(n=3)
        await desk.operator.skip("billing", actor="me")
        assert await desk.operator.replay("billing", ReplayFilter(), actor="me") == 3

    async def test_it_is_refused_while_a_worker_keeps_a_lease(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        await desk.publish(n=3)
        (lease,) = await desk.lease(subscription)
        with pytest.raises(BusStateError, match="still hold 1 of 1 partition"):
            await desk.operator.skip("billing", actor="me", patience=0)
        assert len(await ids_ahead(desk, lease)) == 3
        assert not (await desk.inspector.subscriptions())[0].paused_at, "as it was"
        refused, *switched = await desk.inspector.audit()
        assert (refused.action, refused.allowed) == ("skip", False)
        assert [(row.action, row.detail) for row in switched] == [
            ("resume", {"after": "skip"}),
            ("pause", {"to": "skip"}),
        ]

    async def test_workers_of_a_paused_one_hold_no_lease_and_run_it_all_the_same(self, desk: Desk) -> None:
        """Nothing else may be done under them than to move its cursors."""
        subscription = await desk.subscribe()
        (lease,) = await desk.lease(subscription)
        await desk.operator.pause("billing", actor="me")
        await desk.store.release(desk.worker, [Released(lease.slice, lease.epoch, lease.cursor, exact=True)])
        for work in (
            desk.operator.rename("billing", "invoicing", actor="me"),
            desk.operator.remove("billing", actor="me"),
            desk.operator.repartition("billing", 3, actor="me"),
        ):
            with pytest.raises(BusStateError, match="1 live worker would go on with 'billing', which is paused"):
                await work
        assert (await desk.operator.skip("billing", actor="me")).events == 0

    async def test_who_slept_through_it_can_write_no_cursor_and_no_failure(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        await desk.publish(n=2)
        (lease,) = await desk.lease(subscription)
        (row, _), _ = await desk.read(lease)
        await desk.store.leave(desk.worker)
        await desk.store.release(desk.worker, [Released(lease.slice, lease.epoch, lease.cursor, exact=False)])
        await desk.operator.skip("billing", actor="me")
        late = Settlement({lease.slice: lease.epoch}, parked=[Parked(lease.slice, row, State.RETRYING)])
        assert await desk.store.settle(late) == {lease.slice}
        ((found,), (event, *_)) = await desk.inspector.leases(), (await desk.inspector.events(EventFilter())).events
        assert (found.epoch, found.owner, event.retries) == (lease.epoch + 1, None, 0)

    @pytest.mark.parametrize("desk_dsn", ["postgres"], indirect=True)
    async def test_a_transaction_that_commits_later_comes_later(self, desk: Desk, desk_dsn: str) -> None:
        subscription = await desk.subscribe()
        async with await psycopg.AsyncConnection.connect(desk_dsn) as slow:
            cursor = await slow.execute(
                "insert into holdfast.event_store (tenant_id, event_name, payload) values ('acme', 'order.placed', '1')"
                " returning id"
            )
            (slow_id,) = await cursor.fetchone()
            await desk.publish(n=3)
            assert (await desk.operator.skip("billing", actor="me")).events == 3
        (lease,) = await desk.lease(subscription)
        assert await ids_ahead(desk, lease) == [slow_id]


class TestCorrect:
    async def test_a_new_event_takes_the_place_of_the_dead_one(self, desk: Desk) -> None:
        _, dead = await desk.died()
        await desk.subscribe("mail", start="beginning")
        new = await desk.operator.correct("billing", dead, {"n": 7}, actor="ann", may_edit=True)
        detail, before = await desk.inspector.event(new), await desk.inspector.event(dead)
        assert (detail.payload, detail.name, detail.tenant_id, detail.key) == ({"n": 7}, "order.placed", "acme", "k")
        assert detail.headers == {
            "correlation_id": str(dead), "causation_id": str(dead), "corrected_by": "ann", "corrected_for": "billing",
        }  # fmt: skip
        assert {one.subscription: one.state for one in detail.deliveries} == {"billing": "pending", "mail": "pending"}
        assert before.payload == {"n": 0}
        assert [one.state for one in before.deliveries if one.subscription == "billing"] == ["discarded"]
        (row,) = await desk.inspector.audit()
        assert (row.action, row.actor, row.target, row.count) == ("dead correct", "ann", "billing", 1)
        assert row.detail == {"event_id": str(dead), "corrected_as": str(new)}
        tree = await desk.inspector.causation(dead)
        assert [node.event.id for node in tree.nodes] == [dead, new]

    async def test_correlation_is_inherited(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        (dead,) = await desk.publish(headers=b'{"correlation_id": "c-1", "other": "x"}')
        (lease,) = await desk.lease(subscription)
        await desk.handle(lease, failing=frozenset([dead]))
        new = await desk.operator.correct("billing", dead, 1, actor="ann", may_edit=True)
        assert (await desk.inspector.event(new)).headers["correlation_id"] == "c-1"

    @pytest.mark.parametrize(
        ("given", "error", "told"),
        [
            ({"may_edit": False}, BusStateError, "is off"),
            ({"payload": {"a": {1, 2}}}, InvalidInput, "payload"),
            ({"payload": "x" * 50, "max_payload": 20}, InvalidInput, "20"),
            ({"event_id": uuid4()}, NotFound, "no dead letter"),
            ({"subscription": "biling"}, NotFound, "did you mean billing"),
        ],
    )
    async def test_what_is_refused_changes_nothing_and_is_on_record(
        self, desk: Desk, given: dict[str, Any], error: type[HoldfastError], told: str
    ) -> None:
        _, dead = await desk.died()
        asked: dict[str, Any] = {"subscription": "billing", "event_id": dead, "payload": 1, "may_edit": True} | given
        with pytest.raises(error, match=told):
            await desk.operator.correct(**asked, actor="ann")
        assert await desk.operator.matching(DeadFilter()) == 1
        assert len((await desk.inspector.events(EventFilter())).events) == 1
        (row,) = await desk.inspector.audit()
        assert (row.action, row.allowed, row.detail["event_id"]) == ("dead correct", False, str(asked["event_id"]))

    async def test_twice_is_once(self, desk: Desk) -> None:
        _, dead = await desk.died()
        await desk.operator.correct("billing", dead, 1, actor="ann", may_edit=True)
        with pytest.raises(NotFound):
            await desk.operator.correct("billing", dead, 2, actor="bob", may_edit=True)
        assert len((await desk.inspector.events(EventFilter())).events) == 2


def refused(
    action: str, error: type[HoldfastError], act: Callable[[Operator], Awaitable[Any]], target: str = "nobody"
) -> Any:
    return pytest.param(action, error, act, target, id=f"{action}-{target}")


class TestRefusals:
    @pytest.mark.parametrize(
        ("action", "error", "act", "target"),
        [
            refused("pause", NotFound, lambda it: it.pause("nobody", actor="ann")),
            refused("resume", NotFound, lambda it: it.resume("nobody", actor="ann")),
            refused("skip", NotFound, lambda it: it.skip("nobody", actor="ann")),
            refused("remove", NotFound, lambda it: it.remove("nobody", actor="ann")),
            refused("rename", NotFound, lambda it: it.rename("nobody", "other", actor="ann")),
            refused("rename", InvalidInput, lambda it: it.rename("billing", "", actor="ann"), "billing"),
            refused("rename", DuplicateSubscription, lambda it: it.rename("billing", "mail", actor="ann"), "billing"),
            refused("repartition", InvalidInput, lambda it: it.repartition("billing", 0, actor="ann"), "billing"),
            refused("replay", NotFound, lambda it: it.replay("nobody", ReplayFilter(), actor="ann")),
            refused(
                "replay", InvalidInput, lambda it: it.replay("billing", ReplayFilter(), actor="ann", rate=0), "billing"
            ),
            refused("dead retry", NotFound, lambda it: it.retry_dead(DeadFilter(subscription="nobody"), actor="ann")),
            refused("dead discard", NotFound, lambda it: it.discard(DeadFilter(subscription="nobody"), actor="ann")),
            refused("after restore", ConfigurationError, lambda it: it.after_restore(actor="ann"), "the store"),
        ],
    )
    async def test_who_was_refused_what_and_why_is_on_record(
        self,
        desk: Desk,
        action: str,
        error: type[HoldfastError],
        act: Callable[[Operator], Awaitable[Any]],
        target: str,
    ) -> None:
        for name in ("billing", "mail"):
            await desk.subscribe(name)
        with pytest.raises(error) as caught:
            await act(desk.operator)
        (row,) = await desk.inspector.audit()
        assert (row.actor, row.action, row.target, row.allowed) == ("ann", action, target, False)
        assert row.detail["refused"] == str(caught.value)

    async def test_who_refuses_by_a_rule_of_its_own_puts_it_on_record(self, desk: Desk) -> None:
        await desk.subscribe()
        await desk.operator.refused("pause", "billing", actor="ann", reason="ann only looks")
        (row,) = await desk.inspector.audit()
        assert (row.actor, row.action, row.target, row.allowed, row.count) == ("ann", "pause", "billing", False, None)
        assert row.detail == {"refused": "ann only looks"}
        assert not (await desk.inspector.subscriptions())[0].paused_at

    @pytest.mark.parametrize("actor", ["", "x" * 1_000, "\x00"])
    async def test_nobody_is_refused_without_a_record(self, desk: Desk, actor: str) -> None:
        await desk.subscribe()
        with pytest.raises(InvalidInput, match="actor"):
            await desk.operator.pause("billing", actor=actor)
        assert await desk.inspector.audit() == []
        assert not (await desk.inspector.subscriptions())[0].paused_at
