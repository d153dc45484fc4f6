"""Relay and ingest over Kafka: the suite that every broker passes, on librdkafka's mock cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.relay.contract import (
    SOON,
    IngestContract,
    RelayContract,
    ServicesContract,
    Taken,
    arrivals,
    bus_on,
    cloud_event,
    faults,
    orders,
    rows,
    until,
)
from tests.relay.kafka_cluster import HEARTBEAT, JOIN_GROUP, PRODUCE, KafkaCluster
from tests.relay.kafka_login import closed_kafka

confluent_kafka = pytest.importorskip("confluent_kafka", reason="pip install 'holdfast[kafka]'")

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.relay.contract import Broker

# Members of a group come and go in seconds.
pytestmark = pytest.mark.timeout(300)

TRANSPORT, UNKNOWN_TOPIC, UNKNOWN_MEMBER = -195, 3, 25
PARTITIONS = 4


class KafkaBroker(KafkaCluster):
    limit = 1_000_000
    forgets_repeats = False
    port = 0
    few = "prefetch=5"

    def __init__(self, closed_port: int = 0) -> None:
        super().__init__()
        self.refused_url = f"kafka://alice:wrong-password@127.0.0.1:{closed_port}/orders?timeout=3"
        self.make_topic("orders", PARTITIONS)
        self.topic_error("nowhere", UNKNOWN_TOPIC)
        self.to_url = f"kafka://{self.servers}/orders?timeout=3"
        # The mock forgets a member that has left only when its session is over.
        self.from_url = f"{self.to_url}&session.timeout.ms=2000&heartbeat.interval.ms=300"
        self.missing_url = self.missing_from_url = f"kafka://{self.servers}/nowhere?timeout=3"
        self.freeze, self.thaw = self.kill, self.start
        self._producer = confluent_kafka.Producer({"bootstrap.servers": self.servers, "linger.ms": 0})

    async def taken(self) -> list[Taken]:
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[Taken]:
        reader = confluent_kafka.Consumer(
            {"bootstrap.servers": self.servers, "group.id": "reader", "enable.partition.eof": True}
        )
        reader.assign([confluent_kafka.TopicPartition("orders", one, 0) for one in range(PARTITIONS)])
        found, ended = [], 0
        while ended < PARTITIONS:
            for one in reader.consume(500, 1):
                if one.error() is not None:
                    ended += one.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                    continue
                headers = {name.replace("ce_", "ce-", 1): value.decode() for name, value in one.headers()}
                found.append(Taken(headers["ce-id"], headers.get("ce-partitionkey"), one.value(), headers))
        reader.close()
        return found

    async def put(self, body: bytes, headers: Mapping[str, str], *, name: str = "order.placed") -> None:
        await asyncio.to_thread(self._put, body, headers)

    def _put(self, body: bytes, headers: Mapping[str, str]) -> None:
        named = [(one.replace("ce-", "ce_", 1), value.encode()) for one, value in headers.items()]
        self._producer.produce("orders", body, headers.get("ce-partitionkey", "none"), headers=named)
        assert self._producer.flush(20) == 0


@pytest.fixture
async def broker() -> Any:
    async with closed_kafka() as port:
        cluster = KafkaBroker(port)
        yield cluster
        del cluster._producer
        cluster.close()


class TestRelay(RelayContract):
    async def test_a_lost_acknowledgement_repeats_the_batch_and_loses_nothing(self, broker: Broker, dsn: str) -> None:
        """Brokers tell their own addresses, so nothing can stand between: the cluster cuts instead of answering."""
        assert isinstance(broker, KafkaBroker)
        bus = bus_on(dsn)
        bus.relay("order.**", broker.to_url, name="out", batch=10)
        sent = orders(10)
        async with bus:
            broker.fail(PRODUCE, TRANSPORT, TRANSPORT)
            await bus.publish_many(sent)
            await bus.drain(60)
        found = faults(sent, await arrivals(broker))
        assert found.pop("repeated") <= len(sent), "the cluster does not compare sequence numbers, as Kafka does"
        assert found == {"lost": 0, "unknown": 0, "disorder": 0}


class TestIngest(IngestContract):
    async def test_a_member_that_is_removed_by_hand_joins_again_and_brings_nothing_twice(
        self, broker: KafkaBroker, dsn: str
    ) -> None:
        async with self._taking(broker, dsn) as (bus, events):
            await broker.put(*cloud_event(0))
            await until(lambda: len(events) == 1)
            joined = broker.asked(JOIN_GROUP)
            broker.fail(HEARTBEAT, UNKNOWN_MEMBER)
            await until(lambda: broker.asked(JOIN_GROUP) > joined)
            await broker.put(*cloud_event(5))
            await until(lambda: len(events) == 2, 60)
            await bus.drain(SOON)
        assert rows(dsn, "select count(*) from event_log") == [(2,)]


class TestServices(ServicesContract):
    pass
