"""Looking and acting, the same on both stores: what a person sees after the engine's own verbs, and what actions do."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from holdfast.errors import (
    BusStateError,
    DuplicateSubscription,
    InvalidInput,
    InvalidSubscription,
    NotFound,
    SchemaMismatch,
)
from holdfast.event import NewEvent
from holdfast.health import Health
from holdfast.ids import new_id
from holdfast.stores import make_store
from holdfast.stores.filters import AuditFilter, DeadFilter, EventFilter, ReplayFilter
from holdfast.stores.inspector import make_inspector
from holdfast.stores.values import (
    Advance,
    Parked,
    Receipt,
    Released,
    Settlement,
    Slice,
    State,
    WorkerInfo,
)
from tests.contract.harness import until

if TYPE_CHECKING:
    from holdfast.stores.records import Fact
    from holdfast.stores.values import Subscription
    from tests.contract.desk import Desk


@pytest.fixture
def dsn(desk_dsn: str) -> str:
    return desk_dsn


@pytest.fixture
def scene(desk: Desk) -> Desk:
    return desk


class TestStatus:
    async def test_an_empty_store_is_ok(self, scene):
        status = await scene.inspector.status()
        assert status.verdict.health is Health.OK
        assert status.subscriptions == ()
        assert status.workers == 0

    async def test_the_backlog_is_counted_up_to_a_bound(self, scene):
        await scene.subscribe()
        await scene.publish(n=7)
        await scene.publish("other.thing", n=2)
        (exact,) = (await scene.inspector.status(backlog_max=10)).subscriptions
        (bounded,) = (await scene.inspector.status(backlog_max=9)).subscriptions
        assert (exact.lag, exact.backlog_estimated) == (7, False)
        assert bounded.backlog_estimated
        assert bounded.lag > 0
        assert 0 <= exact.lag_seconds < 60

    async def test_beyond_the_bound_it_is_about_right(self, scene):
        """Half of the names match, and of these the first half has receipts that the cursor does not tell of."""
        subscription = await scene.subscribe()
        ids = []
        for _ in range(200):
            ids += await scene.publish(n=10)
            await scene.publish("other.thing", n=10)
        (lease,) = await scene.lease(subscription)
        settlement, settled = Settlement(), 0
        for row in (await scene.read(lease))[0]:
            if UUID(bytes=row.id) in ids[:1000]:
                settlement.add(Receipt(lease.slice, row.id, row.day))
                settled += 1
        await scene.store.settle(settlement)
        (one,) = (await scene.inspector.status(backlog_max=100)).subscriptions
        assert one.backlog_estimated
        assert abs(one.lag - (2000 - settled)) < 400
        assert one.lag_seconds is not None, "what waits lies beyond what was counted"
        (other,) = (await scene.inspector.status(backlog_max=100, tenant_id="nobody")).subscriptions
        assert other.lag == 0

    async def test_what_is_settled_is_no_lag_though_the_cursor_stands(self, scene):
        subscription = await scene.subscribe()
        await scene.publish(n=3)
        (lease,) = await scene.lease(subscription)
        rows, _ = await scene.read(lease)
        settlement = Settlement()
        for row in rows[:2]:
            settlement.add(Receipt(lease.slice, row.id, row.day))
        await scene.store.settle(settlement)
        (one,) = (await scene.inspector.status()).subscriptions
        assert (one.lag, one.owned, one.free, one.workers) == (1, 1, 0, 1)
        assert one.idle_seconds < 60

    async def test_events_of_any_partition_are_counted_once(self, scene):
        await scene.subscribe(partitions=5)
        for key in "abcdefgh":
            await scene.publish(key=key)
        (one,) = (await scene.inspector.status()).subscriptions
        assert (one.lag, one.free) == (8, 5)

    async def test_old_events_of_a_start_in_the_middle_are_no_lag(self, scene):
        ids = await scene.publish(n=5)
        await scene.subscribe(start=ids[3])
        (one,) = (await scene.inspector.status()).subscriptions
        assert one.lag == 2

    async def test_dead_letters_degrade(self, scene):
        await scene.died()
        status = await scene.inspector.status()
        assert status.verdict.health is Health.DEGRADED
        assert status.subscriptions[0].dead == 1
        assert status.subscriptions[0].lag == 0

    async def test_without_a_worker_old_events_stall(self, scene):
        await scene.subscribe()
        await scene.publish(at=datetime.now(UTC) - timedelta(hours=1))
        status = await scene.inspector.status()
        assert status.verdict.health is Health.STALLED
        assert "no live worker" in status.verdict.reasons[0].text


class TestEvents:
    async def test_pages_go_from_the_newest_to_the_oldest(self, scene):
        ids = await scene.publish(n=5)
        first = await scene.inspector.events(EventFilter(), limit=3)
        second = await scene.inspector.events(EventFilter(), limit=3, before=first.next_before)
        assert [event.id for event in (*first.events, *second.events)] == ids[::-1]
        assert second.next_before is None

    @pytest.mark.parametrize(
        ("filter", "names"),
        [
            ({"name": "order.*"}, ["order.placed"]),
            ({"name": "*.placed.**"}, ["cart.placed.twice"]),
            ({"name": "**"}, ["cart.placed.twice", "order.placed"]),
            ({"tenant_id": "other"}, ["cart.placed.twice"]),
            ({"key": "k"}, ["order.placed"]),
            ({"since": datetime(2021, 1, 1, tzinfo=UTC)}, ["cart.placed.twice"]),
            ({"until": datetime(2021, 1, 1, tzinfo=UTC)}, ["order.placed"]),
        ],
    )
    async def test_filters(self, scene, filter, names):
        await scene.publish("order.placed", key="k", at=datetime(2020, 1, 1, tzinfo=UTC))
        await scene.publish("cart.placed.twice", tenant="other", at=datetime(2022, 1, 1, tzinfo=UTC))
        page = await scene.inspector.events(EventFilter(**filter))
        assert [event.name for event in page.events] == names

    async def test_by_status(self, scene):
        _, dead = await scene.died()
        (pending,) = await scene.publish()
        assert [one.id for one in (await scene.inspector.events(EventFilter(), status="dead")).events] == [dead]
        assert [one.id for one in (await scene.inspector.events(EventFilter(), status="pending")).events] == [pending]

    async def test_only_a_processed_event_has_a_processed_time(self, scene):
        billing, mail = await scene.subscribe("billing"), await scene.subscribe("mail")
        await scene.publish()
        seen = []
        for subscription in (billing, mail):
            (lease,) = await scene.lease(subscription)
            await scene.handle(lease)
            (event,) = (await scene.inspector.events(EventFilter())).events
            seen.append((event.status, event.processed_at is not None))
        assert seen == [("pending", False), ("processed", True)]

    def test_a_bad_pattern_is_refused(self):
        with pytest.raises(InvalidInput):
            EventFilter(name="a..b")

    async def test_one_event_with_its_deliveries_and_their_attempts(self, scene):
        subscription, event_id = await scene.died()
        await scene.subscribe("other")
        detail = await scene.inspector.event(event_id)
        assert (detail.name, detail.payload, detail.in_log) == ("order.placed", {"n": 0}, True)
        (delivery,) = detail.deliveries
        assert (delivery.subscription, delivery.state, delivery.reason) == (subscription.name, "dead", "it broke")
        (attempt,) = delivery.history
        assert (attempt.outcome, attempt.error, attempt.traceback) == ("failed", "ValueError", "Traceback ...")

    async def test_states_of_an_event_without_trouble(self, scene):
        subscription = await scene.subscribe()
        (event_id,) = await scene.publish()
        assert [one.state for one in (await scene.inspector.event(event_id)).deliveries] == ["pending"]
        (lease,) = await scene.lease(subscription)
        await scene.handle(lease)
        (delivery,) = (await scene.inspector.event(event_id)).deliveries
        assert delivery.state == "processed"
        assert delivery.processed_at is not None

    async def test_an_unknown_event(self, scene):
        with pytest.raises(NotFound):
            await scene.inspector.event(uuid4())


class TestDeadLetters:
    @pytest.mark.parametrize(
        ("filter", "found"),
        [
            ({}, 1),
            ({"subscription": "billing"}, 1),
            ({"name": "order.*"}, 1),
            ({"name": "cart.*"}, 0),
            ({"key": "k"}, 1),
            ({"error": "valueERROR"}, 1),
            ({"error": "bad thing"}, 1),
            ({"error": "broke"}, 1),
            ({"error": "%"}, 0),
            ({"since": datetime(2020, 1, 1, tzinfo=UTC)}, 1),
            ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, 0),
        ],
    )
    async def test_filters(self, scene, filter, found):
        await scene.died()
        assert len(await scene.inspector.dead(DeadFilter(**filter))) == found
        assert await scene.operator.matching(DeadFilter(**filter)) == found

    async def test_an_unknown_subscription_is_no_empty_answer(self, scene):
        await scene.died()
        unknown = DeadFilter(subscription="biling")
        for asked in (
            scene.inspector.dead(unknown), scene.inspector.blocked(unknown), scene.inspector.leases("biling"),
            scene.operator.matching(unknown), scene.operator.discard(unknown, actor="me"),
        ):  # fmt: skip
            with pytest.raises(NotFound, match="did you mean billing"):
                await asked

    def test_a_span_that_ends_before_it_begins_is_refused(self):
        now = datetime.now(UTC)
        with pytest.raises(InvalidInput, match="before until"):
            DeadFilter(since=now, until=now - timedelta(hours=1))

    async def test_it_shows_what_happened(self, scene):
        _, event_id = await scene.died()
        (letter,) = await scene.inspector.dead(DeadFilter())
        assert (letter.event_id, letter.error, letter.message, letter.payload) == (
            event_id, "ValueError", "Bad Thing", {"n": 0},
        )  # fmt: skip
        assert await scene.inspector.dead(DeadFilter(), before=letter.delivery) == []

    async def test_retry_gives_fresh_attempts_and_keeps_the_history(self, scene):
        subscription, event_id = await scene.died()
        seen: list[int] = []
        assert await scene.operator.retry_dead(DeadFilter(), actor="me", progress=seen.append) == 1
        assert seen == [1]
        (lease,) = await scene.lease(subscription)
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
        assert [(UUID(bytes=due.row.id), due.attempts) for due in claim.due] == [(event_id, 0)]
        assert len((await scene.inspector.event(event_id)).deliveries[0].history) == 1
        assert await scene.operator.retry_dead(DeadFilter(), actor="me") == 0

    async def test_discard_settles_and_keeps_a_record(self, scene):
        _, event_id = await scene.died()
        assert await scene.operator.discard(DeadFilter(subscription="billing"), actor="me") == 1
        (delivery,) = (await scene.inspector.event(event_id)).deliveries
        assert delivery.state == "discarded"
        (one,) = (await scene.inspector.status()).subscriptions
        assert (one.dead, one.discarded) == (0, 1)

    async def test_what_is_held_behind_a_dead_one(self, scene):
        subscription, event_id = await scene.died(on_dead="hold")
        await scene.publish(key="k", n=2)
        await scene.publish(key="free")
        (lease,) = await scene.lease(subscription)
        rows, _ = await scene.read(lease)
        held = [Parked(lease.slice, row, State.PENDING) for row in rows if row.key == "k"]
        await scene.store.settle(Settlement({lease.slice: lease.epoch}, parked=held))
        (blocked,) = await scene.inspector.blocked(DeadFilter())
        assert (blocked.event_id, blocked.state, blocked.key, blocked.held) == (event_id, "dead", "k", 2)
        assert blocked.next_try_at is None
        (delivery,) = (await scene.inspector.event(UUID(bytes=held[-1].row.id))).deliveries
        assert (delivery.state, delivery.held_behind, delivery.next_try_at) == ("pending", event_id, None)
        assert (await scene.inspector.event(event_id)).deliveries[0].held_behind is None
        assert await scene.inspector.blocked(DeadFilter(key="free")) == []
        assert await scene.operator.matching(DeadFilter(), held=True) == 3
        assert await scene.operator.discard(DeadFilter(), held=True, actor="me") == 3
        assert await scene.inspector.blocked(DeadFilter()) == []


class TestActions:
    async def test_pause_and_resume(self, scene):
        await scene.subscribe()
        assert await scene.operator.pause("billing", actor="ann")
        assert not await scene.operator.pause("billing", actor="ann")
        (record,) = await scene.inspector.subscriptions()
        assert record.paused_by == "ann"
        assert (await scene.store.subscriptions())[0].paused
        assert await scene.operator.resume("billing", actor="ann")
        assert not (await scene.store.subscriptions())[0].paused

    async def test_every_action_reaches_running_workers(self, scene):
        subscription, _ = await scene.died()
        (lease,) = await scene.lease(subscription)

        async def generation() -> int:
            reader = await scene.store.reader()
            try:
                return (await reader.read(lease.cursor, limit=10, max_bytes=2**20)).generation
            finally:
                await reader.close()

        before = await generation()
        await scene.operator.pause("billing", actor="me")
        assert await generation() > before
        before = await generation()
        await scene.operator.retry_dead(DeadFilter(), actor="me")
        assert await generation() > before

    async def test_every_action_is_audited(self, scene):
        await scene.died()
        await scene.operator.pause("billing", actor="ann")
        await scene.operator.retry_dead(DeadFilter(name="order.*"), actor="bob")
        retried, paused = await scene.inspector.audit()
        assert (paused.actor, paused.action, paused.target, paused.count) == ("ann", "pause", "billing", 1)
        assert (retried.actor, retried.action, retried.count) == ("bob", "dead retry", 1)
        assert retried.detail == {"name": "order.*", "held": False}
        assert (await scene.inspector.audit(before=retried.id)) == [paused]

    async def test_an_unknown_name_gets_a_hint(self, scene):
        await scene.subscribe("billing")
        with pytest.raises(NotFound, match="did you mean billing"):
            await scene.operator.pause("biling", actor="me")

    async def test_rename(self, scene):
        await scene.subscribe("billing")
        await scene.subscribe("mail")
        with pytest.raises(DuplicateSubscription):
            await scene.operator.rename("billing", "mail", actor="me")
        await scene.operator.rename("billing", "invoices", actor="me")
        assert [one.name for one in await scene.inspector.subscriptions()] == ["invoices", "mail"]
        assert [row.allowed for row in await scene.inspector.audit()] == [True, False]

    async def test_remove_is_refused_while_a_worker_runs_it(self, scene):
        subscription, _ = await scene.died()
        await scene.lease(subscription)
        with pytest.raises(BusStateError):
            await scene.operator.remove("billing", actor="me")
        assert len(await scene.inspector.subscriptions()) == 1
        assert not (await scene.inspector.audit(limit=1))[0].allowed
        assert await scene.operator.remove("billing", actor="me", force=True) == 1
        assert await scene.inspector.subscriptions() == []

    async def test_workers_and_leases_are_shown(self, scene):
        subscription = await scene.subscribe(partitions=2)
        await scene.lease(subscription)
        (worker,) = await scene.inspector.workers()
        assert (worker.id, worker.live, worker.leases, worker.subscriptions) == (scene.worker, True, 2, ("billing",))
        leases = await scene.inspector.leases()
        assert [(one.partition, one.owner, one.live, one.epoch) for one in leases] == [
            (0, scene.worker, True, 1), (1, scene.worker, True, 1),
        ]  # fmt: skip

    async def test_a_breaker_that_is_open_is_told_until_it_closes(self, scene):
        subscription = await scene.subscribe()
        await scene.lease(subscription)
        for tripped in ((), (subscription.id,), ()):
            info = WorkerInfo(scene.worker, "host", "boot", 1, "then", "0.1.0", (subscription.id,), tripped=tripped)
            await scene.store.heartbeat(info, ttl=30)
            (one,) = (await scene.inspector.status()).subscriptions
            assert (one.tripped, one.workers) == (len(tripped), 1)


class TestHowLongEventsAreKept:
    """By what live workers say."""

    @pytest.mark.parametrize(
        ("said", "rule"),
        [
            ([], (30 * 86_400, 3 * 86_400)),
            ([(math.inf, 0.0)], (None, 0.0)),
            ([(math.inf, 0.0), (7 * 86_400.0, 3_600.0), (8 * 86_400.0, 60.0)], (7 * 86_400, 3_600)),
            ([(60.0, 1.0), (60.0, 20.0)], (60, 20)),
            ([(None, 0.0)], (30 * 86_400, 3 * 86_400)),
        ],
    )
    async def test_the_shortest_counts(self, scene, said, rule):
        subscription = await scene.subscribe()
        for retention, warning in said:
            info = WorkerInfo(
                uuid4(), "host", "boot", 1, "then", "0.1.0", (subscription.id,),
                retention=retention, retention_warning=warning,
            )  # fmt: skip
            await scene.store.heartbeat(info, ttl=30)
        assert await scene.inspector.retention_rule() == rule

    async def test_one_that_has_left_does_not_count(self, scene):
        subscription = await scene.subscribe()
        info = WorkerInfo(uuid4(), "host", "boot", 1, "then", "0.1.0", (subscription.id,), retention=60.0)
        await scene.store.heartbeat(info, ttl=30)
        await scene.store.leave(info.id)
        assert await scene.inspector.retention_rule() == (30 * 86_400, 3 * 86_400)


class TestRepartition:
    async def test_refused_while_a_worker_holds_a_lease(self, scene):
        await scene.lease(await scene.subscribe())
        with pytest.raises(BusStateError):
            await scene.operator.repartition("billing", 4, actor="me")

    async def test_all_cursors_start_from_the_oldest_not_clean(self, scene):
        subscription = await scene.subscribe(partitions=2)
        for key in "abcdefgh":
            await scene.publish(key=key)
        first, _second = await scene.lease(subscription)
        await scene.handle(first)
        await scene.store.release(scene.worker, [Released(_second.slice, _second.epoch, _second.cursor, exact=True)])
        await scene.operator.repartition("billing", 3, actor="me")
        leases = await scene.inspector.leases()
        assert [(one.owner, one.clean, one.epoch) for one in leases] == [(None, False, 2)] * 3
        assert {(one.done, one.open, one.position) for one in leases} == {_second.cursor}
        assert (await scene.store.subscriptions())[0].partitions == 3

    async def test_a_start_in_the_middle_stays_there(self, scene):
        ids = await scene.publish(n=5)
        await scene.subscribe(partitions=2, start=ids[3])
        await scene.operator.repartition("billing", 3, actor="me")
        (one,) = (await scene.inspector.status()).subscriptions
        assert one.lag == 2

    async def test_delivery_rows_move_with_their_keys(self, scene):
        subscription, event_id = await scene.died()
        await scene.operator.retry_dead(DeadFilter(), actor="me")
        await scene.operator.repartition("billing", 7, actor="me")
        (found,) = await scene.store.subscriptions()
        leases = await scene.lease(found)
        claim = await scene.store.claim({lease.slice: lease.epoch for lease in leases}, limit=10)
        (due,) = claim.due
        assert UUID(bytes=due.row.id) == event_id
        assert due.slice == Slice(subscription.id, due.row.slot % 7)

    async def test_the_number_that_it_has_is_refused(self, scene):
        await scene.subscribe(partitions=2)
        with pytest.raises(InvalidSubscription, match="is 2 already"):
            await scene.operator.repartition("billing", 2, actor="me")

    @pytest.mark.parametrize("number", [0, 1025])
    async def test_a_number_out_of_range_is_refused(self, scene, number):
        with pytest.raises(InvalidSubscription):
            await scene.operator.repartition("billing", number, actor="me")


class TestReplay:
    async def handled(self, scene: Desk, **options: Any) -> tuple[Subscription, list[UUID]]:
        subscription = await scene.subscribe(**options)
        ids = await scene.publish(n=5, key="k") + await scene.publish("cart.opened")
        (lease,) = await scene.lease(subscription)
        rows, cursor = await scene.read(lease)
        settlement = Settlement({lease.slice: lease.epoch})
        for row in rows:
            if row.name == "order.placed":
                settlement.add(Receipt(lease.slice, row.id, row.day))
        settlement.advances.append(Advance(lease.slice, cursor))
        await scene.store.settle(settlement)
        await scene.store.release(scene.worker, [Released(lease.slice, lease.epoch, cursor, exact=True)])
        return subscription, ids

    async def claimed(self, scene: Desk, subscription: Subscription) -> list[UUID]:
        (lease,) = await scene.lease(subscription)
        claim = await scene.store.claim({lease.slice: lease.epoch}, limit=100)
        assert all(due.is_replay for due in claim.due)
        return [UUID(bytes=due.row.id) for due in claim.due]

    async def test_what_was_handled_comes_again_in_order(self, scene):
        subscription, ids = await self.handled(scene)
        assert await scene.operator.replay_count("billing", ReplayFilter()) == 5
        assert await scene.operator.replay("billing", ReplayFilter(), actor="me") == 5
        assert await self.claimed(scene, subscription) == ids[:5]
        (replay,) = await scene.inspector.replays()
        assert (replay.total, replay.done, replay.state) == (5, 5, "finished")
        (audited,) = await scene.inspector.audit()
        assert (audited.action, audited.count, audited.detail) == ("replay", 5, {"rate": 1000.0})

    async def test_a_range_of_ids(self, scene):
        subscription, ids = await self.handled(scene)
        chosen = ReplayFilter(first_id=ids[1], last_id=ids[3])
        assert await scene.operator.replay("billing", chosen, actor="me", rate=50_000) == 3
        assert await self.claimed(scene, subscription) == ids[1:4]

    async def test_history_from_before_the_subscription(self, scene):
        ids = await scene.publish(n=3)
        subscription = await scene.subscribe()
        assert await scene.operator.replay("billing", ReplayFilter(), actor="me") == 3
        assert await self.claimed(scene, subscription) == ids

    async def test_what_is_still_to_come_anyway_is_left_alone(self, scene):
        await self.handled(scene)
        await scene.publish(n=4)
        assert await scene.operator.replay_count("billing", ReplayFilter()) == 5

    async def test_a_dead_one_is_revived_and_an_unsettled_one_left_alone(self, scene):
        subscription, dead = await scene.died()
        assert await scene.operator.replay("billing", ReplayFilter(), actor="me") == 1
        assert await scene.operator.replay("billing", ReplayFilter(), actor="me") == 0
        assert await self.claimed(scene, subscription) == [dead]

    async def test_a_slow_rate_goes_chunk_by_chunk(self, scene):
        await self.handled(scene)
        seen: list[int] = []
        await scene.operator.replay("billing", ReplayFilter(), actor="me", rate=4, total=5, progress=seen.append)
        assert seen == [4, 5]

    async def test_cancelled_it_stops_after_a_chunk_and_says_so(self, scene):
        await self.handled(scene)
        first = asyncio.Event()
        replay = asyncio.create_task(
            scene.operator.replay("billing", ReplayFilter(), actor="me", rate=1, progress=lambda _done: first.set())
        )
        await first.wait()
        replay.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replay
        (record,) = await scene.inspector.replays()
        assert (record.state, record.done, record.total) == ("cancelled", 1, 5)

    async def test_not_replayable(self, scene):
        await self.handled(scene, replayable=False)
        with pytest.raises(InvalidSubscription):
            await scene.operator.replay_count("billing", ReplayFilter())
        with pytest.raises(InvalidSubscription):
            await scene.operator.replay("billing", ReplayFilter(), actor="me")
        assert [row.allowed for row in await scene.inspector.audit()] == [False]

    async def test_unknown_ends(self, scene):
        await scene.subscribe()
        with pytest.raises(NotFound):
            await scene.operator.replay_count("billing", ReplayFilter(first_id=uuid4()))

    @pytest.mark.parametrize("rate", [0, -1, float("nan"), 1e9])
    async def test_a_rate_out_of_range_is_refused(self, scene, rate):
        with pytest.raises(InvalidInput):
            await scene.operator.replay("billing", ReplayFilter(), actor="me", rate=rate)


class TestRetention:
    async def test_nothing_is_old(self, scene):
        await scene.publish()
        preview = await scene.inspector.retention_preview(86_400)
        assert (preview.droppable, preview.kept, preview.blocking) == (0, 0, ())
        done = await scene.operator.retention_run(86_400, actor="me")
        assert done.droppable == 0
        assert [row.action for row in await scene.inspector.audit()] == ["retention"]

    async def test_old_events_go_unless_somebody_needs_them(self, scene, dsn):
        await self.publish_long_ago(scene, dsn)
        preview = await scene.inspector.retention_preview(30 * 86_400)
        assert (preview.droppable, preview.kept, preview.blocking) == (1, 0, ())
        await scene.subscribe("late", start="beginning")
        preview = await scene.inspector.retention_preview(30 * 86_400)
        assert (preview.droppable, preview.kept, preview.blocking) == (0, 1, ("late",))
        status = await scene.inspector.status()
        assert status.subscriptions[0].blocks_retention
        assert (await scene.operator.retention_run(30 * 86_400, actor="me")).blocking == ("late",)
        await scene.operator.remove("late", actor="me")
        done = await scene.operator.retention_run(30 * 86_400, actor="me")
        assert (done.droppable, done.kept) == (1, 0)
        assert [(row.action, row.count) for row in (await scene.inspector.audit())[::-1]] == [
            ("retention", 0), ("remove", 0), ("retention", 1),
        ]  # fmt: skip

    async def test_a_dead_letter_outlives_its_event(self, scene, dsn):
        subscription = await scene.subscribe()
        event_id = await self.publish_long_ago(scene, dsn)
        (lease,) = await scene.lease(subscription)
        await scene.handle(lease, failing=frozenset([event_id]))
        assert (await scene.operator.retention_run(30 * 86_400, actor="me")).droppable == 1
        (letter,) = await scene.inspector.dead(DeadFilter())
        assert letter.payload == {"old": True}
        detail = await scene.inspector.event(event_id)
        assert (detail.payload, detail.in_log, detail.deliveries[0].state) == ({"old": True}, False, "dead")
        assert await scene.operator.retry_dead(DeadFilter(), actor="me") == 1

    async def publish_long_ago(self, scene: Desk, dsn: str) -> UUID:
        """An event stored 100 days ago, as far as the store can tell."""
        if dsn.startswith("sqlite"):
            (event_id,) = [new_id()]
            then = datetime.now(UTC) - timedelta(days=100)
            await scene.store.append(
                [NewEvent(event_id, "acme", "order.placed", "k", b'{"old":true}', None, then)], atomic=True
            )
            snapshot = "insert into snapshots (at, horizon) select ?, max(position) from event_log"
            text = then.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
            await scene.store._writer.run(lambda session: session.connection.execute(snapshot, [text]).rowcount)
            return event_id
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            await connection.execute("select holdfast.make_day(current_date - 100)")
            cursor = await connection.execute(
                "insert into holdfast.event_log (day, tenant_id, event_name, event_key, payload)"
                """ values (current_date - 100, 'acme', 'order.placed', 'k', '{"old":true}') returning id"""
            )
            row = await cursor.fetchone()
        return row[0]

    async def test_what_waits_for_its_day_is_told(self, scene, dsn):
        await scene.publish(n=2)
        preview = await scene.inspector.retention_preview(0)
        assert preview.with_their_day == (2 if dsn.startswith("postgresql") else 0)


async def test_days_ahead_are_told_where_the_log_has_a_partition_for_each(scene):
    kind = type(scene.store).__name__
    assert await scene.inspector.days_ahead() == {"PostgresStore": 7, "SQLiteStore": None}[kind]


class TestFacts:
    async def test_a_good_store_has_no_problem(self, scene):
        facts = await scene.inspector.facts()
        assert [fact for fact in facts if fact.level == "problem"] == []

    async def test_results_become_json(self, scene):
        _, event_id = await scene.died()
        for result in (
            await scene.inspector.status(),
            await scene.inspector.event(event_id),
            await scene.inspector.dead(DeadFilter()),
            await scene.inspector.events(EventFilter()),
            await scene.inspector.leases(),
            await scene.inspector.facts(),
        ):
            assert msgspec.json.decode(msgspec.json.encode(result))


class TestDoctorOnPostgres:
    @pytest.fixture
    async def facts(self, postgres_dsn):
        """The facts by name after some SQL, for a role."""
        store = make_store(postgres_dsn)
        await store.migrate()
        await store.close()

        async def after(*statements: str, role: str | None = None) -> dict[str, Fact]:
            async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
                for statement in statements:
                    await connection.execute(statement)
            options = "" if role is None else f"?options=-crole%3D{role}"
            looked_at = make_store(postgres_dsn + options)
            inspector, _ = make_inspector(looked_at)
            try:
                return {fact.name: fact for fact in await inspector.facts()}
            finally:
                await inspector.close()
                await looked_at.close()

        return after

    @pytest.mark.parametrize(
        ("statement", "name", "level", "value"),
        [
            ("update holdfast.meta set system_identifier = 1", "origin", "problem", "restored or copied"),
            ("update holdfast.schema_migrations set version = 99 where version = 1", "schema", "problem", "version 99"),
            ("delete from holdfast.schema_migrations where version > 1", "schema", "problem", "version 1"),
            (
                "insert into holdfast.event_log (day, event_name, payload) values ('1999-01-01', 'a', '1')",
                "default partition", "note", "1 event",
            ),
            (
                "insert into holdfast.snapshots (at, day, snap) values ('2999-01-01', '2999-01-01', '1:1:')",
                "stored snapshots", "note", "1 from the future",
            ),
        ],
    )  # fmt: skip
    async def test_what_it_finds(self, facts, statement, name, level, value):
        found = (await facts(statement))[name]
        assert (found.level, value in found.value, bool(found.fix)) == (level, True, True)

    @pytest.fixture
    async def role(self, facts):
        name = f"holdfast_test_{uuid4().hex[:12]}"
        await facts(f"create role {name}")
        yield name
        await facts(f"drop owned by {name}", f"drop role {name}")

    @pytest.mark.parametrize(
        ("grants", "value"),
        [
            ((), "may not use"),
            (("grant usage on schema holdfast to {role}",), "may not read"),
            (
                ("grant usage on schema holdfast to {role}", "grant select on all tables in schema holdfast to {role}"),
                "insert on event_log",
            ),
        ],
    )
    async def test_a_role_that_lacks_privileges_gets_the_sql_that_gives_them(self, facts, role, grants, value):
        found = await facts(*(grant.format(role=role) for grant in grants), role=role)
        assert found["permissions"].level == "problem"
        assert value in found["permissions"].value
        assert "holdfast migrate --roles" in found["permissions"].fix
        assert f'grant "holdfast_worker" to "{role}"' in found["permissions"].fix

    @pytest.mark.parametrize("off", ["off", "OFF", "false", "no", "0"])
    async def test_commits_that_do_not_wait(self, facts, off):
        found = (await facts(on_database(f"set synchronous_commit = '{off}'")))["synchronous_commit"]
        assert "off for database" in found.value
        await facts(found.fix)  # it is ready to be run
        assert (await facts())["synchronous_commit"].level == "ok"

    async def test_commits_that_do_not_wait_for_one_role(self, facts, role):
        found = (await facts(f"alter role {role} set synchronous_commit = no"))["synchronous_commit"]
        assert found.fix == f"alter role {role} reset synchronous_commit"

    async def test_a_read_only_database(self, facts):
        assert (await facts())["read-only"].level == "ok"
        found = (await facts(on_database("set default_transaction_read_only = on")))["read-only"]
        assert found.level == "problem"
        assert found.fix.startswith("alter database ")
        await facts("set default_transaction_read_only = off", found.fix.partition(";")[0])
        assert (await facts())["read-only"].level == "ok"

    async def test_a_read_only_dsn(self, postgres_dsn):
        store = make_store(f"{postgres_dsn}?options=-cdefault_transaction_read_only%3Don")
        inspector, _ = make_inspector(store)
        found = {fact.name: fact for fact in await inspector.facts()}["read-only"]
        await inspector.close()
        assert "out of the DSN" in found.fix

    @pytest.mark.parametrize(
        "idle_after",
        ["create table written (n int)", "set transaction isolation level repeatable read; select 1 from pg_class"],
    )
    async def test_an_idle_transaction_holds_vacuum_back(self, postgres_dsn, idle_after):
        async with await psycopg.AsyncConnection.connect(postgres_dsn, application_name="forgetful") as connection:
            await connection.execute(idle_after)
            store = make_store(postgres_dsn)
            inspector, _ = make_inspector(store)
            statements = inspector._statements
            statements._texts["facts_server"] = statements["facts_server"].replace("10 minutes", "0 minutes")
            found = {fact.name: fact for fact in await inspector.facts()}["vacuum held back"]
            await inspector.close()
            assert "forgetful" in found.value


def on_database(setting: str) -> str:
    """SQL that alters the current database."""
    return (
        f"do $do$ begin execute format('alter database %I {setting.replace(chr(39), 2 * chr(39))}', "
        f"current_database()); end $do$"
    )


class TestDoctorOnSQLite:
    @pytest.fixture
    async def facts(self, tmp_path):
        """The problems found by name, after something was done to a good file."""
        path = tmp_path / "shop.db"
        store = make_store(f"sqlite:///{path}")
        await store.open()
        await store.close()

        async def after(spoil=None) -> dict[str, Fact]:
            if spoil is not None:
                spoil(path)
            looked_at = make_store(f"sqlite:///{path}")
            inspector, _ = make_inspector(looked_at)
            try:
                return {fact.name: fact for fact in await inspector.facts() if fact.level == "problem"}
            finally:
                await inspector.close()
                await looked_at.close()

        return after

    async def test_a_newer_schema_asks_for_a_newer_package(self, facts):
        found = await facts(
            run_sql("insert into schema_migrations values (99, 'later', '2030-01-01T00:00:00.000000Z')")
        )
        assert "upgrade the package" in found["schema"].fix

    async def test_a_file_of_another_program_gets_no_wording_of_postgresql(self, facts):
        def replace(path):
            path.unlink()
            run_sql("create table tracks (n)")(path)

        found = await facts(replace)
        assert found["schema"].value == "no Holdfast tables"
        assert "path of a Holdfast file" in found["schema"].fix

    async def test_a_malformed_file_is_to_be_restored_or_recovered(self, facts):
        def spoil(path):
            content = bytearray(path.read_bytes())
            content[4096:] = b"\xff" * (len(content) - 4096)
            path.write_bytes(content)

        (found,) = (await facts(spoil)).values()
        assert "restore a backup" in found.fix
        assert ".recover" in found.fix

    async def test_a_read_only_file_system_is_named(self, facts, monkeypatch):
        monkeypatch.setattr("holdfast.stores.sqlite.inspecting.is_read_only", lambda folder: True)
        (found,) = (await facts()).values()
        assert "mounted read-only" in found.value

    async def test_a_missing_file_is_one_problem(self, facts):
        assert list(await facts(lambda path: path.unlink())) == ["file"]


def run_sql(statement: str):
    def run(path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    return run


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_an_empty_database_is_named_and_stays_empty(kind, request, tmp_path):
    if kind == "postgres":
        dsn = request.getfixturevalue("postgres_dsn")
    else:
        (tmp_path / "empty.db").touch()
        dsn = f"sqlite:///{tmp_path / 'empty.db'}"
    store = make_store(dsn)
    inspector, operator = make_inspector(store)
    try:
        with pytest.raises(SchemaMismatch, match="holdfast migrate"):
            await inspector.status()
        with pytest.raises(SchemaMismatch):
            await operator.pause("x", actor="me")
        assert "problem" in {fact.level for fact in await inspector.facts()}
    finally:
        await inspector.close()
        await store.close()
    if kind == "sqlite":
        assert (tmp_path / "empty.db").stat().st_size == 0


async def test_a_missing_file_is_named_and_not_made(tmp_path):
    store = make_store(f"sqlite:///{tmp_path / 'none.db'}")
    inspector, _ = make_inspector(store)
    facts = await inspector.facts()
    assert any("does not exist" in fact.value for fact in facts)
    await inspector.close()
    await store.close()
    assert list(tmp_path.iterdir()) == []


class TestGoingOn:
    """A replay that was stopped is taken up where it was, by whoever may act."""

    async def stopped_after(self, scene, chunks: int) -> int:
        """A replay of 7 events, two at a time, that was cancelled."""
        replaying = asyncio.Event()

        def progress(seen: int) -> None:
            if seen >= 2 * chunks:
                replaying.set()

        work = asyncio.create_task(
            scene.operator.replay("billing", ReplayFilter(tenant_id="acme"), actor="ann", rate=2, progress=progress)
        )
        await replaying.wait()
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        (found,) = await scene.inspector.replays()
        assert (found.state, found.stopped, found.done, found.total) == ("cancelled", True, 2 * chunks, 7)
        return found.id

    async def test_the_rest_is_handed_over_and_nothing_twice(self, scene):
        subscription = await scene.subscribe()
        await scene.publish(n=7)
        await scene.publish(n=2, tenant="other")
        (lease,) = await scene.lease(subscription)
        await scene.handle(lease)
        number = await self.stopped_after(scene, 1)
        await scene.publish(n=3)
        seen = []
        assert await scene.operator.go_on_replaying(number, actor="bob", progress=seen.append) == 5
        (found,) = await scene.inspector.replays()
        assert (found.state, found.stopped, found.done, seen[-1]) == ("finished", False, 7, 7)
        latest, first = await scene.inspector.audit(AuditFilter(action="replay"))
        assert (latest.actor, latest.count, latest.detail) == ("bob", 5, {"goes_on": number, "done": 2})
        assert (first.actor, first.count) == ("ann", 2)

    async def test_one_that_is_over_or_under_way_is_left_alone(self, scene):
        subscription = await scene.subscribe()
        await scene.publish(n=7)
        (lease,) = await scene.lease(subscription)
        await scene.handle(lease)
        with pytest.raises(NotFound, match="no replay 1"):
            await scene.operator.go_on_replaying(1, actor="bob")
        number = await self.stopped_after(scene, 1)
        work = asyncio.create_task(scene.operator.go_on_replaying(number, actor="bob"))

        async def is_running() -> bool:
            return (await scene.inspector.replays())[0].state == "running"

        await until(is_running)
        with pytest.raises(BusStateError, match="is running"):
            await scene.operator.go_on_replaying(number, actor="ann")
        assert await work == 5
        with pytest.raises(BusStateError, match="is finished"):
            await scene.operator.go_on_replaying(number, actor="ann")
