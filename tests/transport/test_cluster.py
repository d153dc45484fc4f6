"""Services over a real cluster of three servers of JetStream, three replicas: what they do, and what may befall them."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from nats.js import api

from tests.relay.contract import until
from tests.relay.wire import Wire

from .cluster import LIMIT
from .databases import name_of
from .judging import GOOD, booked, count, verdict, workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nats.aio.client import Client

    from holdfast import Delivery, Event, EventBus

    from .cluster import NatsCluster
    from .databases import Dsns

    MakeBus = Callable[..., EventBus]

SOON = 60.0


def books(bus: EventBus, patterns: str | list[str] = "order.**", **options: Any) -> None:
    """Have *bus* write a row for each event, in the transaction of its receipt."""

    async def book(event: Event, delivery: Delivery) -> None:
        await delivery.connection.execute(
            "insert into public.booked (id, name, key, place) values (%s, %s, %s, %s)",
            (event.id, event.name, event.key, event.payload["place"]),
        )

    bus.subscribe(patterns, book, name="booking", transactional=True, **options)


def shop_and_billing(make_bus: MakeBus, dsns: Dsns, address: str) -> tuple[EventBus, EventBus]:
    """One that publishes orders, one that books them."""
    shop, billing = make_bus(dsns.shop, address, "shop"), make_bus(dsns.billing, address, "billing")
    books(billing)
    return shop, billing


def orders(number: int, keys: int = 5, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"name": "order.placed", "payload": {"place": first + n // keys}, "key": f"k{n % keys}"} for n in range(number)
    ]


async def placed(bus: EventBus, number: int, **options: Any) -> list[str]:
    """Ids of so many orders, published now."""
    return [str(one.event_id) for one in await bus.publish_many(orders(number, **options))]


async def judged(dsn: str, ids: list[str]) -> None:
    """Every one of *ids* has its effect once, in order; waits for the last."""
    await until(lambda: count(dsn) >= len(ids), SOON)
    assert verdict(booked(dsn), ids) == GOOD


def held(bus: EventBus) -> set[int]:
    """The partitions that a bus's worker takes in."""
    return set(bus.ingests["transport"]._home.held())


# What it does


async def test_what_one_service_publishes_each_other_handles_once_and_nothing_goes_round(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    address = cluster.address(stream)
    buses = [make_bus(dsn, address, service) for dsn, service in zip(dsns, dsns._fields, strict=True)]
    seen: dict[str, list[tuple[str, str]]] = {service: [] for service in dsns._fields}
    for bus, service in zip(buses, dsns._fields, strict=True):
        bus.subscribe("**", partial(_note, seen[service]), name="seeing")
    async with buses[0], buses[1], buses[2]:
        for bus, service in zip(buses, dsns._fields, strict=True):
            await bus.publish(f"{service}.said", {"place": 1}, key=service, tenant_id="acme")
        await until(lambda: all(len(own) == 3 for own in seen.values()), SOON)
        await buses[0].publish("shop.said", {"place": 2}, key="shop")
        await until(lambda: all(len(own) == 4 for own in seen.values()), SOON)
        assert [bus.counts.ingests["transport"].duplicates for bus in buses] == [0, 0, 0]
        assert sum(bus.counts.ingests["transport"].passed_over for bus in buses) == 4  # each came back to its own once
    assert (await cluster.stream(stream))["state"]["messages"] == 4
    assert sorted(seen["shop"]) == sorted(seen["billing"]) == sorted(seen["stock"])
    (headers,) = [
        json.loads(one) for one in _texts(dsns.billing, "select headers from event_log where event_key = 'stock'")
    ]
    assert headers["ce_source"] == "stock"
    assert headers["ce_holdfastorigin"] == f"nats:{stream}/stock"


async def test_what_rolls_back_reaches_nobody_and_what_commits_does(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, cluster.address(stream))
    async with shop, billing:
        async with await psycopg.AsyncConnection.connect(dsns.shop) as connection:
            await shop.publish("order.placed", {"place": 0}, key="k", tx=connection)
            await connection.rollback()
            kept = await shop.publish("order.placed", {"place": 1}, key="k", tx=connection)
            await connection.commit()
        await judged(dsns.billing, [str(kept.event_id)])
    assert count(dsns.billing, "select count(*) from event_log") == 1


async def test_what_no_subscription_of_the_store_listens_to_is_not_stored(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    """Also where another program on the same store has registered the subscription, while this one is at work."""
    address = cluster.address(stream)
    shop, billing, late = make_bus(dsns.shop, address, "shop"), make_bus(dsns.billing, address, "billing"), make_bus(
        dsns.billing, address, "billing")  # fmt: skip
    books(billing, "order.placed")
    async with shop, billing:
        await shop.publish("parcel.sent", {"place": 0})
        ids = await placed(shop, 5)
        await judged(dsns.billing, ids)
        await until(lambda: billing.counts.ingests["transport"].passed_over >= 1)
        late.subscribe("parcel.*", lambda event: None, name="parcels")
        await (await late.open()).prepare()  # registered; its worker does not run
        await shop.publish("parcel.sent", {"place": 1})
        await until(lambda: count(dsns.billing, "select count(*) from event_log where event_name = 'parcel.sent'") == 1)


async def test_a_service_that_begins_now_takes_what_comes_while_it_is_away_and_nothing_from_before(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    """Also where nothing had come yet when its worker went away, twice."""
    shop = make_bus(dsns.shop, cluster.address(stream), "shop")
    async with shop, cluster.client() as client:
        await placed(shop, 10)
        await shop.drain(SOON)
        for generation in (1, 2):
            billing = make_bus(dsns.billing, cluster.address(stream, "start=now"), "billing")
            books(billing)
            async with billing:
                await _consumers(client, stream, {f"billing-{number}-{generation}" for number in range(8)})
            await billing.close()
        ids = await placed(shop, 10, first=2)
        await shop.drain(SOON)
        billing = make_bus(dsns.billing, cluster.address(stream, "start=now"), "billing")
        books(billing)
        async with billing:
            await judged(dsns.billing, ids)
    assert count(dsns.billing, "select count(*) from event_log") == 10


async def _consumers(client: Client, stream: str, wanted: set[str]) -> None:
    async with asyncio.timeout(SOON):
        while not wanted <= {one.name for one in await client.jetstream().consumers_info(stream)}:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.05)


async def test_a_message_with_a_header_of_the_protocol_stops_no_partition(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, cluster.address(stream))
    async with shop, billing, cluster.client() as client:
        ids = await placed(shop, 10)
        await judged(dsns.billing, ids)
        for number in range(8):
            headers = {"Status": "100", "ce-id": f"n{number}", "ce-type": "noise.made", "ce-source": "x"}
            await client.jetstream().publish(f"{stream}.{number}.noise.made", b"{}", headers=headers)
        ids += await placed(shop, 10, first=2)
        await judged(dsns.billing, ids)
        assert billing.counts.ingests["transport"].outages == 0


async def test_what_a_store_says_about_itself_stays_there(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop = make_bus(dsns.shop, cluster.address(stream), "shop")
    async with shop:
        await shop.publish("holdfast.delivery.dead", {"place": 0})
        await shop.publish("order.placed", {"place": 0})
        await shop.drain(SOON)
    assert (await cluster.stream(stream))["state"]["messages"] == 1


# Who takes in what


async def test_workers_share_the_partitions_and_take_over_from_each_other(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    address = cluster.address(stream)
    shop = make_bus(dsns.shop, address, "shop")
    first, second, third = (make_bus(dsns.billing, address, "billing") for _ in range(3))
    books(first), books(second), books(third)
    async with shop, first:
        await until(lambda: held(first) == set(range(8)), SOON)
        ids = await placed(shop, 50)
        async with second, third:
            await until(lambda: sorted(len(held(one)) for one in (first, second, third)) == [2, 3, 3], SOON)
            assert held(first) | held(second) | held(third) == set(range(8))
            ids += await placed(shop, 50, first=10)
            await judged(dsns.billing, ids)
        await until(lambda: held(first) == set(range(8)), SOON)
        ids += await placed(shop, 50, first=20)
        await judged(dsns.billing, ids)
    async with cluster.client() as client:
        names = {one.name for one in await client.jetstream().consumers_info(stream)}
    assert {name.rpartition("-")[0] for name in names} == {
        f"{one}-{n}" for n in range(8) for one in ("shop", "billing")
    }
    assert len(names) == 16  # of each partition the last generation alone


async def test_another_store_under_the_same_name_is_refused_and_takes_nothing(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    address = cluster.address(stream)
    billing, stranger = make_bus(dsns.billing, address, "billing"), make_bus(dsns.stock, address, "billing")
    books(billing)
    async with billing:
        await until(lambda: held(billing) == set(range(8)), SOON)
        shop = make_bus(dsns.shop, address, "shop")
        ids = await placed(shop, 5)
        async with shop:
            await judged(dsns.billing, ids)
        async with stranger:
            await until(lambda: "belongs to another store" in caplog.text, SOON)
            assert stranger.counts.ingests["transport"].is_away
    assert count(dsns.stock, "select count(*) from event_log") == 0


# Bad days


async def test_while_the_engine_is_away_the_log_holds_and_handlers_here_go_on(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, cluster.address(stream))
    books(shop)
    async with shop, billing:
        ids = await placed(shop, 10)
        await judged(dsns.billing, ids)
        for node in cluster.nodes:
            node.kill()
        ids += await placed(shop, 40, first=2)
        await judged(dsns.shop, ids)  # its own handlers
        await until(
            lambda: shop.counts.relays["transport"].is_away and billing.counts.ingests["transport"].is_away, SOON
        )
        assert count(dsns.shop, "select count(*) from deliveries") == 0  # no attempt is counted
        await until(lambda: shop.counts.subscriptions["transport"].in_hand == 40, SOON)
        for node in cluster.nodes:
            node.start()
        await judged(dsns.billing, ids)


async def test_a_lost_acknowledgement_brings_messages_again_and_no_second_effect(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop = make_bus(dsns.shop, cluster.address(stream), "shop")
    async with shop, Wire(cluster.nodes[0].port) as wire:
        address = f"nats://127.0.0.1:{wire.port}/{stream}?timeout=1&replicas=3"
        billing = make_bus(dsns.billing, address, "billing")
        books(billing)
        async with billing:
            ids = await placed(shop, 10)
            await judged(dsns.billing, ids)
            async with await psycopg.AsyncConnection.connect(dsns.billing) as blocking:
                await blocking.execute(
                    "lock table holdfast.event_log in share mode"
                )  # the batch is in hand, not stored
                ids += await placed(shop, 10, first=2)
                await shop.drain(SOON)
                await until(lambda: count(dsns.billing, _BLOCKED) > 0, SOON)
                wire.cut()
                await blocking.rollback()
            await until(lambda: billing.counts.ingests["transport"].duplicates >= 1, SOON)
            await until(lambda: count(dsns.billing, "select count(*) from event_log") == 20, SOON)
            ids += await placed(shop, 10, first=4)
            await judged(dsns.billing, ids)


async def test_consumers_that_somebody_removes_are_made_again_and_nothing_comes_twice(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    """Removed while messages of theirs are in hand: who acknowledges them is told that nobody is there."""
    shop, billing = shop_and_billing(make_bus, dsns, cluster.address(stream))
    async with shop, billing, cluster.client() as client:
        ids = await placed(shop, 10)
        await judged(dsns.billing, ids)
        async with await psycopg.AsyncConnection.connect(dsns.billing) as blocking:
            await blocking.execute("lock table holdfast.event_log in share mode")
            ids += await placed(shop, 10, first=2)
            await shop.drain(SOON)
            await until(lambda: count(dsns.billing, _BLOCKED) > 0, SOON)
            for number in range(8):
                await client.jetstream().delete_consumer(stream, f"billing-{number}-1")
            await blocking.rollback()
        ids += await placed(shop, 10, first=4)
        await judged(dsns.billing, ids)
        assert billing.counts.ingests["transport"].duplicates > 0


async def test_a_redelivery_after_the_window_brings_nothing_twice_nor_out_of_order(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    """The service's own database takes nothing for longer than the engine waits for an acknowledgement."""
    shop = make_bus(dsns.shop, cluster.address(stream), "shop")
    billing = make_bus(dsns.billing, cluster.address(stream, "ack_wait=1&batch=5"), "billing", store_timeout=20)
    books(billing)
    async with shop, billing:
        ids = await placed(shop, 10)
        await judged(dsns.billing, ids)
        async with await psycopg.AsyncConnection.connect(dsns.billing) as blocking:
            await blocking.execute("lock table holdfast.event_log in share mode")
            ids += await placed(shop, 100, first=2)
            await shop.drain(SOON)
            async with cluster.client() as client:
                stream_context = client.jetstream()

                async def redelivered() -> int:
                    known = await stream_context.consumers_info(stream)
                    return sum(one.num_redelivered or 0 for one in known if one.name.startswith("billing-"))

                async with asyncio.timeout(SOON):
                    while not await redelivered():  # noqa: ASYNC110 - nothing tells it
                        await asyncio.sleep(0.05)
            await blocking.rollback()
        await judged(dsns.billing, ids)


async def test_while_its_own_database_is_away_messages_wait_at_the_engine(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus, postgres_server: str
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, cluster.address(stream))
    name = name_of(dsns.billing)
    async with shop, billing:
        ids = await placed(shop, 10)
        await judged(dsns.billing, ids)
        with psycopg.connect(postgres_server, autocommit=True) as admin:
            admin.execute(f'alter database "{name}" allow_connections false')
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            ids += await placed(shop, 50, first=2)
            await shop.drain(SOON)  # the shop does not wait for billing
            await until(lambda: billing.ingests["transport"].waits_for_store or not held(billing), SOON)
            admin.execute(f'alter database "{name}" allow_connections true')
        await judged(dsns.billing, ids)


async def test_a_message_over_the_engine_s_limit_is_a_dead_letter_here_and_holds_nobody_up(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, cluster.address(stream))
    async with shop, billing:
        ids = await placed(shop, 10)
        await shop.publish("order.placed", {"place": 2, "filler": "x" * LIMIT}, key="k0")
        ids += await placed(shop, 10, first=3)
        await shop.drain(SOON)
        await judged(dsns.billing, ids)
    (found,) = _texts(dsns.shop, "select message from attempts")
    assert "max_payload" in found


async def test_a_missing_stream_that_nobody_may_make_is_told_and_waited_for(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make_bus(dsns.shop, cluster.address(stream, "declare=no"), "shop")
    async with shop:
        await shop.publish("order.placed", {"place": 0})
        await until(lambda: caplog.text.count(f"there is no stream '{stream}'") >= 2, SOON)  # both ways
        await _make_stream(cluster, stream, partitions=8)
        await shop.drain(SOON)
    assert count(dsns.shop, "select count(*) from deliveries") == 0


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"partitions": 4}, "and not 8 partitions"),
        ({"num_replicas": 1}, "has 1 replicas, not 3"),
        ({"retention": api.RetentionPolicy.INTEREST}, "does not keep what one service has taken"),
    ],
)
async def test_a_stream_that_is_set_up_otherwise_is_told_and_gets_nothing(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus, caplog: pytest.LogCaptureFixture,
    made: dict[str, Any], said: str,
) -> None:  # fmt: skip
    await _make_stream(cluster, stream, **made)
    shop = make_bus(dsns.shop, cluster.address(stream), "shop")
    async with shop:
        await shop.publish("order.placed", {"place": 0})
        await until(lambda: said in caplog.text, SOON)
    levels = {record.levelno for record in caplog.records if said in record.getMessage()}
    assert levels == {logging.ERROR}
    assert (await cluster.stream(stream))["state"]["messages"] == 0
    assert count(dsns.shop, "select count(*) from deliveries") == 0


async def test_a_service_that_is_killed_goes_on_where_it_was(
    cluster: NatsCluster, stream: str, dsns: Dsns, make_bus: MakeBus, tmp_path: Path
) -> None:
    shop = make_bus(dsns.shop, cluster.address(stream), "shop")
    settings = {"dsn": dsns.billing, "transport": cluster.address(stream), "service": "billing", "patterns": "order.**"}
    with workers(tmp_path, settings) as (worker,):
        async with shop:
            ids = await placed(shop, 300)
            await until(lambda: count(dsns.billing) > 20, SOON)
            worker.kill()
            ids += await placed(shop, 100, first=60)
            worker.start()
            await judged(dsns.billing, ids)


def _note(seen: list[tuple[str, str | None]], event: Event) -> None:
    seen.append((event.name, event.key))


async def _make_stream(cluster: NatsCluster, name: str, *, partitions: int = 8, **config: Any) -> None:
    config = {"num_replicas": 3, **config}
    async with cluster.client() as client:
        await client.jetstream().add_stream(
            api.StreamConfig(name=name, subjects=[f"{name}.{n}.>" for n in range(partitions)], **config)
        )


def _texts(dsn: str, query: str) -> list[str]:
    with psycopg.connect(dsn, options="-c search_path=holdfast") as connection:
        return [one if isinstance(one, str) else json.dumps(one) for (one,) in connection.execute(query).fetchall()]


_BLOCKED = "select count(*) from pg_locks where not granted and relation = 'holdfast.event_log'::regclass"
