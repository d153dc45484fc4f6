"""The leaf for Kafka, on the mock cluster of librdkafka: real sockets, the real protocol, errors on demand."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import strategies as st

from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused
from holdfast.relay.offsets import Offsets
from holdfast.relay.ports import Message
from tests.relay.contract import until
from tests.relay.kafka_cluster import FIND_COORDINATOR, OFFSET_COMMIT, PRODUCE, KafkaCluster
from tests.relay.leaves import (
    DestinationContract,
    FaultContract,
    Place,
    SourceContract,
    Taken,
    destination,
    message,
    source,
    take,
)

confluent_kafka = pytest.importorskip("confluent_kafka", reason="pip install 'holdfast[kafka]'")

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSPORT, TOO_LARGE, UNKNOWN_TOPIC, NOT_ALLOWED, TOO_FEW_REPLICAS, MEMBER_UNKNOWN = -195, 10, 3, 29, 19, 25
NO_COORDINATOR, NOT_COORDINATOR = 15, 16


class Topic(Place):
    kind = "kafka"

    def __init__(self, cluster: KafkaCluster, partitions: int = 1) -> None:
        from holdfast.relay import kafka as module

        self.module, self.cluster, self.name = module, cluster, f"orders-{uuid4().hex[:8]}"
        self.partitions = partitions
        cluster.make_topic(self.name, partitions)

    @property
    def url(self) -> str:
        return f"kafka://{self.cluster.servers}/{self.name}"

    async def taken(self) -> list[Taken]:
        return [self._taken(one) for one in await asyncio.to_thread(self._read)]

    def records(self) -> list[Any]:
        return self._read()

    def _read(self) -> list[Any]:
        reader = confluent_kafka.Consumer(
            {"bootstrap.servers": self.cluster.servers, "group.id": "reader", "enable.partition.eof": True}
        )
        partitions = [confluent_kafka.TopicPartition(self.name, one, 0) for one in range(self.partitions)]
        reader.assign(partitions)
        found, ended = [], 0
        deadline = time.monotonic() + 20
        while ended < self.partitions and time.monotonic() < deadline:
            for one in reader.consume(500, 1):
                if one.error() is None:
                    found.append(one)
                else:
                    ended += one.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
        reader.close()
        return found

    def committed(self) -> dict[int, int]:
        """How far the group of the ingest has got in each partition."""
        reader = confluent_kafka.Consumer({"bootstrap.servers": self.cluster.servers, "group.id": "ingest:test"})
        asked = [confluent_kafka.TopicPartition(self.name, one) for one in range(self.partitions)]
        found = {one.partition: one.offset for one in reader.committed(asked, timeout=20)}
        reader.close()
        return found

    def _taken(self, record: Any) -> Taken:
        headers = {name.removeprefix("ce_"): value.decode() for name, value in record.headers()}
        return Taken(headers["id"], record.value(), headers)

    def kill(self) -> None:
        self.cluster.kill()

    def start(self) -> None:
        self.cluster.start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    running = KafkaCluster()
    yield running
    running.close()


@pytest.fixture
def place(cluster: KafkaCluster) -> Topic:
    return Topic(cluster)


@pytest.fixture
def wide(cluster: KafkaCluster) -> Topic:
    return Topic(cluster, partitions=4)


class TestOut(DestinationContract):
    async def test_the_record_key_is_tenant_and_key(self, wide: Topic) -> None:
        to = destination(wide)
        await to.send([message(1, "order/1", tenant="acme/eu"), message(2, "eu/order/1"), message(3)])
        await to.close()
        keys = {dict(one.headers())["ce_id"]: one.key() for one in await asyncio.to_thread(wide.records)}
        assert keys == {b"00000001": b"acme%2Feu/order/1", b"00000002": b"acme/eu/order/1", b"00000003": None}

    async def test_events_of_a_key_share_a_partition_in_order(self, wide: Topic) -> None:
        to = destination(wide)
        await to.send([message(number, f"key-{number % 10}") for number in range(200)])
        await to.close()
        places: dict[bytes, set[int]] = {}
        last: dict[bytes, str] = {}
        for one in await asyncio.to_thread(wide.records):
            places.setdefault(one.key(), set()).add(one.partition())
            identity = dict(one.headers())["ce_id"].decode()
            assert identity > last.get(one.key(), "")
            last[one.key()] = identity
        assert {len(found) for found in places.values()} == {1}
        assert len(set.union(*places.values())) > 1

    async def test_a_message_over_the_limit_is_named_and_nothing_is_sent(self, place: Topic) -> None:
        to = destination(place)
        with pytest.raises(MessageRefused, match=r"message\.max\.bytes") as caught:
            await to.send([message(1), message(2, body=b"x" * 1_000_001), message(3)])
        assert (caught.value.message_id, caught.value.final) == ("00000002", True)
        await to.send([message(1), message(3)])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001", "00000003"]

    async def test_a_topic_with_a_smaller_limit_refuses_and_order_is_kept(self, place: Topic) -> None:
        to = destination(place)
        place.cluster.fail(PRODUCE, TOO_LARGE)
        with pytest.raises(MessageRefused, match="topic allows") as caught:
            await to.send([message(number, "key") for number in range(30)])
        assert not caught.value.final
        assert await place.taken() == []
        await to.send([message(number, "key") for number in range(30)])
        await to.close()
        assert [one.id for one in await place.taken()] == [f"{number:08d}" for number in range(30)]

    async def test_of_the_records_that_a_topic_refuses_the_largest_is_named(self, place: Topic) -> None:
        to = destination(place)
        place.cluster.fail(PRODUCE, TOO_LARGE)
        batch = [
            message(number, "key", body=b'"' + b"x" * (900 if number == 17 else 100) + b'"') for number in range(30)
        ]
        with pytest.raises(MessageRefused) as caught:
            await to.send(batch)
        await to.close()
        assert caught.value.message_id == "00000017"

    async def test_a_batch_is_not_done_before_each_of_its_records_is_acknowledged(self, wide: Topic) -> None:
        to = destination(wide)
        await to.send([message(0)])
        wide.cluster.kill(1)  # which leads two of the four partitions
        try:
            sending = asyncio.create_task(to.send([message(number, f"key-{number}") for number in range(1, 9)]))
            done, _ = await asyncio.wait([sending], timeout=1.5)
            assert not done
        finally:
            wide.cluster.start(1)
        await sending
        await to.close()
        assert {one.id for one in await wide.taken()} == {f"{number:08d}" for number in range(9)}

    async def test_where_one_batch_is_given_up_the_others_are_told_at_once(self, wide: Topic) -> None:
        to = destination(wide, "timeout=120")
        await to.send([message(0)])
        wide.cluster.kill()
        try:
            batches = [[message(100 * part + number, f"key-{number}") for number in range(20)] for part in range(1, 4)]
            first, *others = [asyncio.create_task(to.send(batch)) for batch in batches]
            await asyncio.sleep(0)  # until all are under way
            first.cancel()
            async with asyncio.timeout(60):
                ended = await asyncio.gather(*others, return_exceptions=True)
        finally:
            wide.cluster.start()
        assert all(isinstance(one, BrokerUnreachable) for one in ended)
        for batch in batches:
            await to.send(batch)
        await to.close()
        sent = {one.id for batch in batches for one in batch} | {"00000000"}
        assert {one.id for one in await wide.taken()} == sent

    async def test_a_lost_acknowledgement_makes_no_duplicate(self, place: Topic) -> None:
        to = destination(place)
        await to.send([message(0, "key")])
        # The connection ends instead of an answer, three times; the producer asks again under the same number.
        place.cluster.fail(PRODUCE, TRANSPORT, TRANSPORT, TRANSPORT)
        await to.send([message(number, "key") for number in range(1, 50)])
        await to.close()
        assert [one.id for one in await place.taken()] == [f"{number:08d}" for number in range(50)]

    async def test_too_few_replicas_are_waited_out_in_order(self, place: Topic) -> None:
        to = destination(place)
        place.cluster.fail(PRODUCE, TOO_FEW_REPLICAS, TOO_FEW_REPLICAS)
        await to.send([message(number, "key") for number in range(50)])
        await to.close()
        assert [one.id for one in await place.taken()] == [f"{number:08d}" for number in range(50)]

    async def test_no_right_to_write_is_refused(self, place: Topic) -> None:
        to = destination(place)
        place.cluster.fail(PRODUCE, *[NOT_ALLOWED] * 3)
        with pytest.raises(BrokerRefused, match="may not use topic"):
            await to.send([message(1, "key")])
        place.cluster.forget(PRODUCE)
        await to.send([message(1, "key")])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001"]

    async def test_a_missing_topic_is_refused_until_it_is_there(self, place: Topic) -> None:
        place.cluster.topic_error(place.name, UNKNOWN_TOPIC)
        to = destination(place, "timeout=2")
        with pytest.raises(BrokerRefused, match="no topic"):
            await to.send([message(1, "key")])
        place.cluster.topic_error(place.name, 0)
        await to.send([message(1, "key")])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001"]

    async def test_an_outage_is_given_up_on_and_found_again(self, place: Topic) -> None:
        to = destination(place, "timeout=1.5")
        await to.send([message(1, "key")])
        place.kill()
        try:
            with pytest.raises(BrokerUnreachable, match=r"no answer within 1\.5 s"):
                await to.send([message(2, "key"), message(3, "key")])
        finally:
            place.start()
        await to.send([message(2, "key"), message(3, "key")])
        await to.close()
        ids = list(dict.fromkeys(one.id for one in await place.taken()))
        assert ids == ["00000001", "00000002", "00000003"]

    async def test_a_short_outage_is_nobodys_business(self, place: Topic) -> None:
        to = destination(place)
        await to.send([message(0, "key")])
        place.kill()
        sending = asyncio.create_task(to.send([message(number, "key") for number in range(1, 40)]))
        await asyncio.wait([sending], timeout=0.5)
        place.start()
        await sending
        await to.close()
        assert [one.id for one in await place.taken()] == [f"{number:08d}" for number in range(40)]

    def test_what_the_guarantees_rest_on_cannot_be_changed(self, place: Topic) -> None:
        with pytest.raises(ConfigurationError, match=r"enable\.idempotence"):
            destination(place, "enable.idempotence=false")

    async def test_options_of_the_client_go_through(self, place: Topic) -> None:
        to = destination(place, "compression.type=gzip&linger.ms=0")
        await to.send([message(1)])
        await to.close()
        assert [one.id for one in await place.taken()] == ["00000001"]
        with pytest.raises(ConfigurationError, match=r"no\.such\.thing"):
            destination(place, "no.such.thing=1")


class TestIn(SourceContract):
    async def refused_is_kept(self, place: Place) -> None:
        assert "00000002" in [one.id for one in await place.taken()]

    async def test_a_commit_that_fails_is_said_and_the_records_come_again(self, place: Topic) -> None:
        to = destination(place)
        await to.send([message(number, "key") for number in range(5)])
        by = source(place)
        batches = by.receive()
        async with asyncio.timeout(60):
            batch = await anext(batches)
        place.cluster.fail(OFFSET_COMMIT, MEMBER_UNKNOWN)
        with pytest.raises(BrokerUnreachable):
            await by.acknowledge(batch)
        await batches.aclose()  # type: ignore[attr-defined]
        await by.close()
        again = source(place)
        assert len(await take(again, len(batch))) == len(batch)
        await again.close()
        await to.close()

    async def test_where_the_groups_coordinator_goes_away_an_acknowledgement_ends_and_so_does_the_source(
        self, place: Topic
    ) -> None:
        """The client's own wait for the answer has no end, nor has its leaving of the group while one is owed."""
        to, by = destination(place), source(place, "timeout=2")
        await to.send([message(number) for number in range(20)])
        batches = by.receive()
        async with asyncio.timeout(60):
            batch = await anext(batches)
            place.cluster.fail(FIND_COORDINATOR, *[NO_COORDINATOR] * 1_000)
            place.cluster.fail(OFFSET_COMMIT, NOT_COORDINATOR)
            with pytest.raises(BrokerUnreachable):
                await by.acknowledge(batch)
            await batches.aclose()  # type: ignore[attr-defined]
            await by.close()
            place.cluster.forget(FIND_COORDINATOR)
            again = source(place)
            assert [one.id for one in await take(again, len(batch))][: len(batch)] == [one.id for one in batch]
            await again.close()
        await to.close()

    async def test_begun_now_it_misses_nothing_of_a_partition_that_had_brought_nothing_yet(self, place: Topic) -> None:
        to = destination(place)
        await to.send([message(0)])
        first, commits = source(place, "start=now"), place.cluster.asked(OFFSET_COMMIT)
        batches = first.receive()
        waiting = asyncio.ensure_future(anext(batches))
        await until(lambda: place.cluster.asked(OFFSET_COMMIT) > commits, 60)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await batches.aclose()  # type: ignore[attr-defined]
        await first.close()
        await to.send([message(1)])
        second = source(place, "start=now")
        assert [one.headers["ce-id"] for one in await take(second, 1)] == ["00000001"]
        await second.close()
        await to.close()

    async def test_a_missing_topic_is_refused(self, place: Topic) -> None:
        place.cluster.topic_error(place.name, UNKNOWN_TOPIC)
        by = source(place)
        with pytest.raises(BrokerRefused, match="no topic"):
            await take(by, 1)
        place.cluster.topic_error(place.name, 0)
        await by.close()

    async def test_two_share_the_partitions_and_miss_nothing(self, wide: Topic) -> None:
        to = destination(wide)
        await to.send([message(number, f"key-{number % 20}") for number in range(100)])
        seen: set[str] = set()

        async def work() -> None:
            by = source(wide)
            try:
                async for batch in by.receive():
                    seen.update(one.headers["ce-id"] for one in batch)
                    await by.acknowledge(batch)
            finally:
                await by.close()

        workers = [asyncio.create_task(work()) for _ in range(2)]
        await until(lambda: len(seen) == 100, 60)
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await to.close()

    async def test_what_another_member_has_by_now_is_not_committed_again(self, wide: Topic) -> None:
        to, first, second = destination(wide), source(wide), source(wide)
        batches, others = first.receive(), second.receive()

        async def send() -> None:
            await to.send([message(number, f"key-{number}") for number in range(20)])

        async def result(taking: asyncio.Future[Any]) -> Any:
            while not taking.done():
                await send()
                await asyncio.wait([taking], timeout=1)
            return taking.result()

        async with asyncio.timeout(90):
            partitions: set[int] = set()
            while len(partitions) < wide.partitions:
                batch = await result(asyncio.ensure_future(anext(batches)))
                await first.acknowledge(batch)
                partitions |= {one.handle[0] for one in batch}
            mine, its = asyncio.ensure_future(anext(batches)), asyncio.ensure_future(anext(others))
            while not its.done():  # until the second one has partitions, and something of them
                await send()
                await asyncio.wait([mine, its], timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if mine.done() and not its.done():
                    mine = asyncio.ensure_future(anext(batches))
            await result(mine)  # it may have begun before they moved
            batch = await result(asyncio.ensure_future(anext(batches)))
            await second.acknowledge(its.result())
            reached = wide.committed()
            await first.acknowledge(batch)
        now = wide.committed()
        assert all(now[partition] >= offset for partition, offset in reached.items())
        for generator, by in ((batches, first), (others, second)):
            await generator.aclose()  # type: ignore[attr-defined]
            await by.close()
        await to.close()

    async def test_a_tombstone_and_foreign_headers_come_as_they_are(self, place: Topic) -> None:
        producer = confluent_kafka.Producer({"bootstrap.servers": place.cluster.servers})
        producer.produce(place.name, None, b"key", headers=[("Colour", b"red"), ("nothing", None), ("ce_Type", b"a.b")])
        await asyncio.to_thread(producer.flush)
        by = source(place)
        (one,) = await take(by, 1)
        await by.close()
        assert one.body == b""
        assert one.headers == {"colour": "red", "ce-type": "a.b"}
        assert one.id == f"{place.name}/0/0"


class TestFaults(FaultContract):
    kills = 3


class TestRecords:
    @hypothesis.given(
        st.binary(max_size=50), st.none() | st.text(min_size=1, max_size=20),
        st.dictionaries(st.text(max_size=9), st.text(max_size=9)), st.integers(0, 200),
    )  # fmt: skip
    def test_the_cheap_look_at_a_size_lets_nothing_pass(
        self, body: bytes, key: str | None, headers: dict[str, str], largest: int
    ) -> None:
        from holdfast.relay.kafka_producing import record_of

        record = record_of(Message("1", "order.placed", "acme", key, body, headers))
        size = len(body) + len(record.key or b"") + sum(len((name + text).encode()) for name, text in headers.items())
        assert record.size == size
        assert record.may_exceed(largest) or size <= largest

    def test_headers_have_the_names_of_the_binding(self) -> None:
        from holdfast.relay.kafka_producing import record_of

        record = record_of(message(1))
        assert dict(record.headers) == {
            "content-type": "application/json", "ce_id": "00000001", "ce_type": "order.placed", "ce_subject": "für 2 €",
        }  # fmt: skip


class TestOffsets:
    @hypothesis.given(st.lists(st.integers(1, 5), max_size=30), st.randoms(use_true_random=False))
    def test_nothing_in_hand_is_passed(self, gaps: list[int], random: Any) -> None:
        offsets, taken, offset = Offsets(), list[int](), 10
        for gap in gaps:
            offsets.take(0, offset)
            taken.append(offset)
            offset += gap
        waiting = list(taken)
        random.shuffle(waiting)
        while waiting:
            assert offsets.committable() == {0: min(waiting)}
            offsets.done(0, waiting.pop())
        assert offsets.committable() == ({0: taken[-1] + 1} if taken else {})
