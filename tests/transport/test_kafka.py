"""Services over three brokers of Kafka, as librdkafka's own mock cluster has them: a service is a consumer group."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.relay.contract import until
from tests.relay.kafka_cluster import JOIN_GROUP, OFFSET_COMMIT, PRODUCE, KafkaCluster

from .judging import GOOD, booked, count, verdict, workers
from .test_cluster import books, judged, orders, placed, shop_and_billing

pytest.importorskip("confluent_kafka", reason="pip install 'holdfast[kafka]'")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast import EventBus

    from .databases import Dsns

    MakeBus = Callable[..., EventBus]

# Members of a group come and go in seconds.
pytestmark = pytest.mark.timeout(240)

SOON = 60.0
UNKNOWN_TOPIC, REBALANCE, TRANSPORT = 3, 27, -195
OPTIONS = "timeout=3&session.timeout.ms=2000&heartbeat.interval.ms=300"


@pytest.fixture
def kafka() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster()
    cluster.make_topic("shop", 6)
    yield cluster
    cluster.close()


@pytest.fixture
def address(kafka: KafkaCluster) -> str:
    return f"kafka://{kafka.servers}/shop?{OPTIONS}"


async def test_a_group_that_is_rebalanced_in_the_midst_of_a_key_keeps_its_order_and_each_effect_comes_once(
    kafka: KafkaCluster, address: str, dsns: Dsns, make_bus: MakeBus, tmp_path: Path
) -> None:
    """A second member joins while a key is under way, and is killed while another is; stock answers meanwhile."""
    shop = make_bus(dsns.shop, address, "shop")
    billing = {"dsn": dsns.billing, "transport": address, "service": "billing",
               "patterns": ["order.placed", "stock.reserved"]}  # fmt: skip
    stock = {"dsn": dsns.stock, "transport": address, "service": "stock", "patterns": "order.placed",
             "answer": "stock.reserved"}  # fmt: skip
    ids: list[str] = []
    enough = asyncio.Event()

    async def publish() -> None:
        while not enough.is_set():
            ids.extend(await placed(shop, 10, keys=5, first=len(ids) // 5))
            while 2 * len(ids) - count(dsns.billing) > 200:  # noqa: ASYNC110 - no more than a slow machine keeps up with
                await asyncio.sleep(0.02)

    with workers(tmp_path, billing, stock) as (first, _):
        async with shop:
            publishing = asyncio.create_task(publish())
            await until(lambda: count(dsns.billing) > 20, SOON)
            joined = kafka.asked(JOIN_GROUP)
            with workers(tmp_path / "..", billing) as (second,):
                await until(lambda: kafka.asked(JOIN_GROUP) > joined + 1, SOON)
                before = count(dsns.billing)
                await until(lambda: count(dsns.billing) > before + 40, SOON)
                second.kill()
            before = count(dsns.billing)
            await until(lambda: count(dsns.billing) > before + 40, SOON)
            enough.set()  # not in the midst of a publish, whose events would be there and not counted
            await publishing
            await shop.drain(SOON)
            await until(lambda: count(dsns.billing) >= 2 * len(ids), SOON)
        assert first.process is not None
        assert first.process.poll() is None
    reserved = [event_id for event_id, name, *_ in booked(dsns.billing) if name == "stock.reserved"]
    assert len(reserved) == len(ids)
    assert verdict(booked(dsns.billing), [*ids, *reserved]) == GOOD
    assert verdict(booked(dsns.stock), ids) == GOOD


async def test_brokers_are_killed_and_started_again_and_each_effect_comes_once(
    kafka: KafkaCluster, address: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, address)
    async with shop, billing:
        ids = await placed(shop, 20)
        await until(lambda: count(dsns.billing) == 20, SOON)
        kafka.kill()
        ids += await placed(shop, 40, first=4)
        await until(lambda: shop.counts.relays["transport"].is_away, SOON)
        assert count(dsns.shop, "select count(*) from deliveries") == 0
        kafka.start()
        await judged(dsns.billing, ids)


async def test_a_lost_acknowledgement_brings_no_second_effect(
    kafka: KafkaCluster, address: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop, billing = shop_and_billing(make_bus, dsns, address)
    async with shop, billing:
        ids = await placed(shop, 10)
        await until(lambda: count(dsns.billing) == 10, SOON)
        kafka.fail(PRODUCE, TRANSPORT, TRANSPORT)
        kafka.fail(OFFSET_COMMIT, REBALANCE, REBALANCE)
        ids += await placed(shop, 40, first=2)
        await judged(dsns.billing, ids)
        ids += await placed(shop, 10, first=10)
        await judged(dsns.billing, ids)


async def test_a_missing_topic_is_told_and_waited_for(
    kafka: KafkaCluster, address: str, dsns: Dsns, make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.topic_error("shop", UNKNOWN_TOPIC)
    shop, billing = shop_and_billing(make_bus, dsns, address)
    async with shop, billing:
        ids = await placed(shop, 5)
        await until(lambda: "there is no topic 'shop'" in caplog.text, SOON)
        kafka.topic_error("shop", 0)
        await judged(dsns.billing, ids)
    assert count(dsns.shop, "select count(*) from deliveries") == 0


async def test_a_record_over_the_limit_is_a_dead_letter_here_and_holds_nobody_up(
    address: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    url = f"{address}&message.max.bytes=100000"
    shop, billing = make_bus(dsns.shop, url, "shop"), make_bus(dsns.billing, url, "billing")
    books(billing)
    async with shop, billing:
        items: list[dict[str, Any]] = orders(20)
        large = {"name": "order.placed", "payload": {"place": 99, "filler": "x" * 100_000}, "key": "k0"}
        published = await shop.publish_many([*items[:10], large, *items[10:]])
        ids = [str(one.event_id) for one in published if one is not published[10]]
        await judged(dsns.billing, ids)
    assert count(dsns.shop, "select count(*) from deliveries where state = 'dead'") == 1


async def test_what_a_service_published_itself_is_passed_over_and_lag_is_told(
    address: str, dsns: Dsns, make_bus: MakeBus
) -> None:
    shop = make_bus(dsns.shop, address, "shop")
    books(shop)
    async with shop:
        ids = await placed(shop, 20)
        await judged(dsns.shop, ids)
        counts = shop.counts.ingests["transport"]
        await until(lambda: counts.passed_over == 20, SOON)
        assert (counts.stored, counts.duplicates, counts.waiting) == (0, 0, 0)
