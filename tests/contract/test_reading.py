"""Reading the log: windows, pages, horizons."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from holdfast.stores.values import Cursor, Place, Slice
from tests.contract.harness import event, keys_of, receipt

shared = pytest.mark.parametrize("scene", ["file", "postgres", "simulated"], indirect=True)


async def consumed(scene, **declared) -> tuple[Cursor, object]:
    """A place after which nothing is stored yet, and a reader."""
    lease = await scene.leased(**declared)
    reader = await scene.reader()
    return (await scene.read_all(lease.cursor, reader))[1], reader


class TestCounting:
    """`count_recent`: what a tenant has published."""

    async def test_counts_the_tenants_own_of_that_time_no_further_than_the_limit(self, scene):
        hours_ago = [datetime.now(UTC) - timedelta(hours=hours) for hours in (3, 1)]
        await scene.store.append([event("k", occurred_at=moment) for moment in hours_ago], atomic=True)
        await scene.store.append([event("k")._replace(tenant_id="bell"), event(None)], atomic=True)
        ask = scene.store.count_recent
        assert [await ask("acme", seconds, 10) for seconds in (60, 7_200, 20_000)] == [1, 2, 3]
        assert [await ask("acme", 20_000, limit) for limit in (1, 2, 3)] == [1, 2, 3]
        assert [await ask(tenant, 20_000, 10) for tenant in ("bell", "nobody")] == [1, 0]

    async def test_a_bound_between_two_events_of_a_second_is_exact(self, scene):
        await scene.store.append(
            [event(None, occurred_at=datetime.now(UTC) - timedelta(seconds=0.9 + n)) for n in range(10)], atomic=True
        )
        assert 4 <= await scene.store.count_recent("acme", 5.5, 100) <= 5


class TestReadingOn:
    async def test_gives_each_event_once_in_the_order_of_positions(self, scene):
        cursor, reader = await consumed(scene)
        seen = []
        for batch in (["a"], ["b", "c"], [], ["d"]):
            await scene.publish(*batch)
            page = await scene.read(cursor, reader)
            assert page.cursor.open is None
            seen += keys_of(page.rows)
            cursor = page.cursor
        assert seen == ["a", "b", "c", "d"]

    async def test_of_nothing_new_gives_nothing_and_a_place_to_go_on_from(self, scene):
        await scene.publish("a")
        cursor, reader = await consumed(scene)
        for _ in range(3):
            page = await scene.read(cursor, reader)
            assert (list(page.rows), page.cursor.open) == ([], None)
            assert page.cursor.done == page.horizon
            cursor = page.cursor
        await scene.publish("b")
        assert keys_of((await scene.read(cursor, reader)).rows) == ["b"]

    async def test_from_an_old_place_gives_all_of_it_again(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish("a", "b")
        first = await scene.read(cursor, reader)
        await scene.publish("c")
        again = await scene.read(cursor, reader)
        assert keys_of(first.rows) == ["a", "b"]
        assert keys_of(again.rows) == ["a", "b", "c"]

    async def test_takes_the_persisted_place_of_another_process(self, scene):
        cursor, _ = await consumed(scene)
        await scene.publish("a")
        assert keys_of((await scene.read(Cursor(*cursor))).rows) == ["a"]

    async def test_by_many_readers_at_once_gives_each_of_them_everything(self, scene):
        cursor, _ = await consumed(scene)
        await scene.publish(*map(str, range(200)))
        answers = await asyncio.gather(*(scene.read_all(cursor, limit=9 + n) for n in range(6)))
        assert [keys_of(rows) for rows, _ in answers] == [[str(n) for n in range(200)]] * 6

    async def test_tells_the_same_horizon_as_asking_for_it(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish("a")
        horizon = await reader.horizon()
        page = await scene.read(cursor, reader, horizon=horizon)
        assert (keys_of(page.rows), page.horizon) == (["a"], horizon)


class TestAWindow:
    async def test_is_paged_by_the_limit(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish(*"abcde")
        pages = []
        while True:
            page = await scene.read(cursor, reader, limit=2)
            pages.append(keys_of(page.rows))
            cursor = page.cursor
            if cursor.open is None:
                break
        assert [key for page in pages for key in page] == list("abcde")
        assert max(map(len, pages)) == 2

    @pytest.mark.parametrize("scene", ["postgres"], indirect=True)
    @pytest.mark.parametrize("gap", [1, 100, 300_000])
    async def test_is_read_whole_over_gaps_between_its_positions(self, scene, gap):
        cursor, reader = await consumed(scene)
        for key in "abcde":
            await scene.publish(key)
            await scene.sql(f"select setval('event_position', nextval('event_position') + {gap})")
        rows = []
        for _ in range(30):  # strides double up to a bound
            page = await scene.read(cursor, reader, limit=2)
            rows += page.rows
            cursor = page.cursor
            if cursor.open is None:
                break
        assert (keys_of(rows), cursor.open) == (list("abcde"), None)

    async def test_does_not_grow_while_it_is_paged(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish(*"abc")
        page = await scene.read(cursor, reader, limit=2)
        await scene.publish("later")
        rows, horizon = list(page.rows), page.horizon
        while page.cursor.open is not None:
            page = await scene.read(page.cursor, reader, limit=2)
            rows += page.rows
            assert page.horizon == horizon
        assert keys_of(rows) == list("abc")
        assert keys_of((await scene.read_all(page.cursor, reader))[0]) == ["later"]

    async def test_is_paged_on_by_another_process_from_the_place_in_it(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish(*"abcde")
        page = await scene.read(cursor, reader, limit=2)
        assert page.cursor.open is not None
        assert keys_of((await scene.read_all(page.cursor))[0]) == list("cde")

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 9])
    async def test_of_any_size_loses_nothing_at_the_edge_of_a_page(self, scene, limit):
        cursor, reader = await consumed(scene)
        await scene.publish(*"abcdefgh")
        rows, _ = await scene.read_all(cursor, reader, limit=limit)
        assert keys_of(rows) == list("abcdefgh")

    async def test_is_paged_by_the_bytes_and_always_moves(self, scene):
        cursor, reader = await consumed(scene)
        big = json.dumps("x" * 900).encode()
        await scene.publish(*"abcde", payload=big)
        page = await scene.read(cursor, reader, max_bytes=1800)
        assert 2 <= len(page.rows) <= 3
        assert page.cursor.open is not None
        rows, _ = await scene.read_all(cursor, reader, max_bytes=1)
        assert keys_of(rows) == list("abcde")

    async def test_counts_the_bytes_that_the_reader_will_hold_not_those_on_disk(self, scene):
        cursor, reader = await consumed(scene)
        compressible = json.dumps("x" * 200_000).encode()
        await scene.publish(*"abcdefgh", payload=compressible)
        page = await scene.read(cursor, reader, max_bytes=500_000)
        assert len(page.rows) == 3
        rows, _ = await scene.read_all(page.cursor, reader, max_bytes=500_000)
        assert keys_of(rows) == list("defgh")

    async def test_ends_at_the_horizon_given(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish("a", "b")
        horizon = await reader.horizon()
        await scene.publish("c")
        page = await scene.read(cursor, reader, horizon=horizon)
        assert (keys_of(page.rows), page.horizon) == (["a", "b"], horizon)
        assert keys_of((await scene.read_all(page.cursor, reader))[0]) == ["c"]

    async def test_ends_before_the_position_given_and_goes_on_from_it(self, scene):
        cursor, reader = await consumed(scene)
        await scene.publish(*map(str, range(7)))
        first = await scene.read(cursor, reader, limit=2)
        positions = [row.position for row in (await scene.read_all(cursor, reader))[0]]
        page = await scene.read(first.cursor, reader, before=positions[4], limit=4)
        assert keys_of(page.rows) == ["2", "3"]
        assert page.cursor == first.cursor._replace(position=positions[4])
        rest, after = await scene.read_all(page.cursor, reader)
        assert (keys_of(rest), after.open) == (["4", "5", "6"], None)

    async def test_ends_where_another_one_has_got_to(self, scene):
        behind, reader = await consumed(scene)
        await scene.publish("a", "b")
        ahead = (await scene.read(behind, reader)).cursor
        await scene.publish("c")
        page = await scene.read(behind, reader, horizon=ahead.done)
        assert (keys_of(page.rows), page.cursor) == (["a", "b"], ahead)

    async def test_to_a_horizon_that_is_reached_is_empty_and_does_not_step_back(self, scene):
        cursor, reader = await consumed(scene)
        horizon = await reader.horizon()
        await scene.publish("a")
        after = (await scene.read_all(cursor, reader))[1]
        page = await scene.read(after, reader, horizon=horizon)
        assert (list(page.rows), page.cursor.open) == ([], None)
        assert keys_of((await scene.read_all(page.cursor, reader))[0]) in ([], ["a"])  # again at most, lost never


class TestTheGeneration:
    async def test_grows_when_somebody_registers(self, scene):
        cursor, reader = await consumed(scene)
        before = (await scene.read(cursor, reader)).generation
        await scene.subscribe("another")
        assert (await scene.read(cursor, reader)).generation > before


class TestWhatIsKnown:
    async def test_are_receipts_and_delivery_rows_in_any_state(self, scene):
        lease = await scene.leased()
        await scene.publish(*"abcdefg")
        rows = await scene.rows(lease)
        states = ["pending", "retrying", "running", "dead", "discarded"]
        await scene.park(lease, rows[:5])
        for row, state in zip(rows, states, strict=False):
            await scene.sql(f"update deliveries set state = '{state}' where event_key = '{row.key}'")
        await scene.settle(lease, receipts=[receipt(lease, rows[5])])
        asked = [(row.id, row.day) for row in rows]
        assert await scene.store.known(lease.slice.subscription, asked) == {row.id for row in rows[:6]}

    async def test_is_each_subscriptions_own(self, scene):
        lease, other = await scene.leased("one"), await scene.leased("two")
        await scene.publish("a", "b")
        rows = await scene.rows(lease)
        await scene.park(lease, rows[:1])
        await scene.settle(lease, receipts=[receipt(lease, rows[1])])
        asked = [(row.id, row.day) for row in rows]
        assert await scene.store.known(other.slice.subscription, asked) == set()
        assert await scene.store.known(other.slice.subscription, []) == set()


class TestCursors:
    async def test_of_slices_that_do_not_exist_are_left_out(self, scene):
        lease = await scene.leased()
        assert await scene.store.places([lease.slice, Slice(lease.slice.subscription, 9)]) == {
            lease.slice: Place(lease.cursor)
        }
        assert await scene.store.places([]) == {}

    async def test_are_told_apart_by_what_they_show(self, scene):
        cursor, reader = await consumed(scene)
        places = [cursor.done]
        for key in "abc":
            await scene.publish(key)
            places.append((await scene.read_all(Cursor(places[-1]), reader))[1].done)
        assert [scene.store.latest(two) for two in pairwise(places)] == places[1:]
        assert scene.store.latest(places[::-1]) == places[-1]


@shared
class TestWhileOthersWrite:
    async def test_what_is_not_committed_is_neither_seen_nor_passed(self, scene):
        if scene.kind == "file":
            cursor, reader = await consumed(scene)
            with scene.connect() as connection:
                connection.execute("begin immediate")
                scene.store.append_within_sync(connection, [event("a")])
                page = await scene.read(cursor, reader)
                assert list(page.rows) == []
                connection.commit()
            connection.close()
            assert keys_of((await scene.read_all(page.cursor, reader))[0]) == ["a"]
            return
        cursor, reader = await consumed(scene)
        with scene.connect() as early:
            early.execute("select pg_current_xact_id()")
            await scene.publish("b")
            scene.store.append_within_sync(early, [event("a")])
            page = await scene.read(cursor, reader)
            assert keys_of(page.rows) == ["b"]
        assert keys_of((await scene.read_all(page.cursor, reader))[0]) == ["a"]


@pytest.mark.parametrize("scene", ["postgres", "simulated"], indirect=True)  # elsewhere there is one writer at a time
async def test_places_are_told_apart_where_only_an_early_transaction_has_ended_between_them(scene):
    cursor, reader = await consumed(scene)
    with scene.connect() as early:
        scene.store.append_within_sync(early, [event("a")])
        await scene.publish("b")
        before = (await scene.read_all(cursor, reader))[1].done
    after = (await scene.read_all(Cursor(before), reader))[1].done
    assert before.split(":")[1] == after.split(":")[1]
    assert scene.store.latest([before, after]) == scene.store.latest([after, before]) == after
