"""The contract for plain SQL: ``event_store`` to read and to insert into, ``event_consumers`` to read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from holdfast.event import Event
from holdfast.ids import is_uuid7
from holdfast.stores.values import Advance, Appended, Parked, State
from tests.contract.harness import event, failed, keys_of, receipt


class TestTheStatusOfAnEvent:
    async def test_is_processed_where_nothing_subscribes(self, scene):
        await scene.subscribe(patterns=("other.*",))
        await scene.publish("a")
        assert await scene.status() == {"a": "processed"}
        assert await scene.sql("select processed_at, retries from event_store") == [(None, 0)]

    async def test_goes_from_pending_to_processed(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        before = await scene.status()
        await scene.settle(lease, receipts=[receipt(lease, row) for row in await scene.rows(lease)])
        assert (before, await scene.status()) == ({"a": "pending"}, {"a": "processed"})
        ((processed_at, consumed_at),) = await scene.sql(
            "select s.processed_at, c.processed_at from event_store as s join event_consumers as c on c.event_id = s.id"
        )
        assert processed_at == consumed_at is not None

    @pytest.mark.parametrize(
        ("state", "status"),
        [
            (State.PENDING, "pending"), (State.RUNNING, "processing"), (State.RETRYING, "failed"),
            (State.DEAD, "dead"), (State.DISCARDED, "processed"),
        ],
    )  # fmt: skip
    async def test_off_the_fast_path_is_that_of_its_delivery(self, scene, state, status):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.park(lease, await scene.rows(lease), state)
        assert await scene.status() == {"a": status}

    async def test_is_processing_in_the_open_window_of_a_live_lease(self, scene):
        lease = await scene.leased()
        await scene.publish("a", "b", "c")
        start = (await scene.read(lease.cursor)).cursor if lease.cursor.open is not None else lease.cursor
        page = await scene.read(start, limit=1)
        await scene.settle(lease, receipts=[receipt(lease, page.rows[0])], advances=[Advance(lease.slice, page.cursor)])
        await scene.publish("later")
        assert await scene.status() == {"a": "processed", "b": "processing", "c": "processing", "later": "pending"}
        await scene.lapse(lease)
        assert set((await scene.status()).values()) == {"processed", "pending"}

    async def test_is_the_worst_of_its_subscriptions(self, scene):
        states = [None, State.PENDING, State.RUNNING, State.RETRYING, State.DEAD]
        await scene.publish("a")
        seen = []
        for number, state in enumerate(states):
            lease = await scene.leased(f"subscription-{number}")
            (row,) = await scene.rows(lease)
            if state is None:
                await scene.settle(lease, receipts=[receipt(lease, row)])
            else:
                await scene.park(lease, [row], state)
            seen += (await scene.status()).values()
        assert seen == ["processed", "pending", "processing", "failed", "dead"]
        assert await scene.sql("select processed_at from event_store") == [(None,)]

    async def test_counts_failed_attempts_of_all_subscriptions_but_no_put_offs(self, scene):
        await scene.publish("a", "b")
        for name in ("one", "two"):
            lease = await scene.leased(name)
            row, _ = await scene.rows(lease)
            attempts = [failed(lease.slice, row, number) for number in (1, 2)]
            await scene.settle(lease, attempts=[*attempts, failed(lease.slice, row, 3, outcome="put off")])
        assert await scene.sql("select event_key, retries from event_store order by 1") == [("a", 4), ("b", 0)]

    async def test_ignores_what_came_before_the_subscriptions_start(self, scene):
        await scene.publish("before")
        await scene.leased(start="now")
        await scene.publish("after")
        assert await scene.status() == {"before": "processed", "after": "pending"}

    async def test_ignores_what_the_cursor_passed_before_the_pattern_was_added(self, scene):
        lease = await scene.leased(patterns=("other.*",))
        await scene.publish("passed")
        _, cursor = await scene.read_all(lease.cursor)
        await scene.settle(lease, advances=[Advance(lease.slice, cursor)])
        await scene.subscribe(patterns=("order.*", "other.*"))
        await scene.publish("new")
        assert await scene.status() == {"passed": "processed", "new": "pending"}

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("a.b", {"a.b"}), ("a.*", {"a.b"}), ("*.b", {"a.b", "c.b"}), ("**", {"a", "a.b", "a.b.c", "c.b"}),
            ("a.**", {"a.b", "a.b.c"}), ("*", {"a"}), ("*.*", {"a.b", "c.b"}), ("*.b.**", {"a.b.c"}),
        ],
    )  # fmt: skip
    async def test_follows_the_patterns(self, scene, pattern, names):
        await scene.leased(patterns=(pattern,))
        for name in ("a", "a.b", "a.b.c", "c.b"):
            await scene.publish(name, name=name)
        assert {name for name, status in (await scene.status()).items() if status == "pending"} == names


class TestAPlainInsert:
    PLAIN = "insert into event_store (tenant_id, event_name, payload) values ('acme', 'order.placed', '{\"n\": 1}')"

    async def test_is_an_event_like_any_other(self, scene):
        lease = await scene.leased()
        before = datetime.now(UTC)
        await scene.sql(self.PLAIN)
        (row,) = await scene.rows(lease)
        found = Event(row)
        assert (found.tenant_id, found.name, found.key, found.payload) == ("acme", "order.placed", None, {"n": 1})
        assert is_uuid7(found.id)
        assert abs((found.occurred_at - before).total_seconds()) < 60
        assert await scene.status() == {None: "pending"}

    async def test_takes_id_key_headers_and_time(self, scene):
        lease = await scene.leased()
        event_id = uuid4()
        await scene.sql(
            "insert into event_store (id, tenant_id, event_name, event_key, payload, headers, occurred_at) values "
            f"('{event_id}', 'acme', 'order.placed', 'k', '[]', '{{\"h\": \"x\"}}', '2024-05-06T07:08:09.123456Z')"
        )
        found = Event((await scene.rows(lease))[0])
        assert (found.id, found.row.key, found.headers) == (event_id, "k", {"h": "x"})
        assert found.occurred_at == datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
        again = event("k", event_id=event_id, payload=b"[]")
        assert await scene.store.append([again], atomic=True) == [Appended.DUPLICATE]

    async def test_of_many_rows_keeps_their_order(self, scene):
        lease = await scene.leased()
        values = ", ".join(f"('acme', 'a', 'k{number}', '{number}')" for number in range(50))
        await scene.sql(f"insert into event_store (tenant_id, event_name, event_key, payload) values {values}")
        assert keys_of(await scene.rows(lease)) == [f"k{number}" for number in range(50)]

    @pytest.mark.parametrize(
        ("tenant_id", "name", "payload"),
        [
            ("acme", "not a name", "{}"), ("acme", ".a", "{}"), ("acme", "a..b", "{}"), ("acme", "", "{}"),
            ("acme", "a" * 201, "{}"), ("", "a", "{}"), ("t" * 256, "a", "{}"), ("acme", "a", "not json"),
        ],
    )  # fmt: skip
    async def test_that_breaks_a_rule_is_refused(self, scene, tenant_id, name, payload):
        with pytest.raises(Exception, match=r"(?i)constraint|json"):
            await scene.sql(
                "insert into event_store (tenant_id, event_name, payload) "
                f"values ('{tenant_id}', '{name}', '{payload}')"
            )
        assert await scene.stored() == []

    async def test_of_an_id_that_is_there_is_refused(self, scene):
        (first,) = await scene.publish("a")
        with pytest.raises(Exception, match=r"(?i)unique|constraint"):
            await scene.sql(
                "insert into event_store (id, tenant_id, event_name, payload) "
                f"values ('{first.id}', 'acme', 'order.placed', '{{}}')"
            )


class TestTheConsumers:
    async def test_are_one_row_for_each_event_and_subscription(self, scene):
        (published,) = await scene.publish("a")
        for name in ("one", "two"):
            lease = await scene.leased(name)
            (row,) = await scene.rows(lease)
            for _ in range(2):
                await scene.settle(lease, receipts=[receipt(lease, row, attempts=2)])
        assert await scene.consumed() == [(str(published.id), "one", 2), (str(published.id), "two", 2)]

    async def test_leave_out_what_failed(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        (row,) = await scene.rows(lease)
        await scene.settle(lease, parked=[Parked(lease.slice, row, State.DEAD, 1)], attempts=[failed(lease.slice, row)])
        assert await scene.consumed() == []

    async def test_have_the_time_of_the_receipt(self, scene):
        lease = await scene.leased()
        await scene.publish("a")
        await scene.handle_all(lease)
        ((processed_at,),) = await scene.sql("select cast(processed_at as text) from event_consumers")
        assert abs((datetime.fromisoformat(processed_at) - datetime.now(UTC)).total_seconds()) < 60


class TestTheColumns:
    @pytest.mark.parametrize(
        ("view", "columns"),
        [
            (
                "event_store",
                "id tenant_id event_name payload status retries occurred_at processed_at event_key headers",
            ),
            ("event_consumers", "event_id consumer_name processed_at attempts"),
        ],
    )
    async def test_are_those_of_the_contract(self, scene, view, columns):
        (published,) = await scene.publish("a", payload=b'{"a": 1}')
        lease = await scene.leased()
        await scene.handle_all(lease)
        ((first, *_),) = await scene.sql(f"select {', '.join(columns.split())} from {view}")
        assert UUID(str(first)) == published.id

    async def test_of_the_payload_is_what_was_written(self, scene):
        text = '{"b":1,  "a": 2.50}'
        await scene.publish("a", payload=text.encode())
        ((found,),) = await scene.sql("select cast(payload as text) from event_store")
        assert found == text
        assert json.loads(found) == {"a": 2.5, "b": 1}
