"""What `EventBus(transport=…, service=…)` takes and refuses, and whose event goes where. No broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from nats.aio.msg import Msg

from holdfast import Event, EventBus
from holdfast.errors import ConfigurationError, DuplicateSubscription
from holdfast.ports import elapsed
from holdfast.relay.address import parse_address
from holdfast.relay.message import message_of
from holdfast.relay.nats_taken import Taken
from holdfast.relay.ports import Incoming
from holdfast.relay.transport import Way, partition_of
from tests.relay.contract import until

if TYPE_CHECKING:
    from pathlib import Path

NATS = "nats://one,two,three"


@pytest.mark.parametrize(
    ("transport", "service", "said"),
    [
        (NATS, None, "transport= needs service="),
        (NATS, "the shop", "service is 'the shop': use 1 to 64 characters"),
        (NATS, "", "use 1 to 64 characters"),
        (NATS, 7, "use 1 to 64 characters"),
        ("redis://localhost/shop", "shop", "redis://localhost/shop can be no transport"),
        ("amqp://localhost/shop", "shop", "can be no transport"),
        ("https://example.com/hook", "shop", "are webhooks"),
        ("gopher://localhost", "shop", "is no broker"),
        (7, "shop", "is of type int"),
        (f"{NATS}/a.b", "shop", "is no name of a stream"),
        (f"{NATS}?partitions=0", "shop", "option partitions"),
        (f"{NATS}?replicas=9", "shop", "option replicas"),
        (f"{NATS}?subject=x", "shop", "there is no option 'subject'"),
        ("kafka://localhost/shop?group=mine", "shop", "leave option group out"),
        ("kafka://localhost/shop?acks=1", "shop", "there is no option 'acks'"),
    ],
)
def test_what_cannot_be_is_told_at_the_door(transport: Any, service: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        EventBus("sqlite://", transport=transport, service=service)
    assert said in str(told.value)


def test_no_password_is_told() -> None:
    with pytest.raises(ConfigurationError) as told:
        EventBus("sqlite://", transport="nats://me:secret-word@localhost?partitions=none", service="shop")
    assert "secret-word" not in str(told.value)


@pytest.mark.parametrize(
    ("transport", "where"), [(NATS, "holdfast"), (f"{NATS}/shop", "shop"), ("kafka://k", "holdfast")]
)
def test_a_transport_is_a_relay_and_an_ingest(transport: str, where: str) -> None:
    bus = EventBus("sqlite://", transport=transport, service="billing")
    assert [consumer.name for consumer in bus.consumers] == ["transport"]
    assert bus.relays["transport"].where == bus.ingests["transport"].where
    assert bus.relays["transport"].where.endswith(f"/{where}")


def test_its_name_is_taken() -> None:
    bus = EventBus("sqlite://", transport=NATS, service="billing")
    with pytest.raises(DuplicateSubscription):
        bus.subscribe("order.**", print, name="transport")
    with pytest.raises(DuplicateSubscription):
        bus.ingest("nats://localhost/other", name="transport")


def test_without_a_transport_the_service_s_name_says_nothing(tmp_path: Path) -> None:
    bus = EventBus(f"sqlite:///{tmp_path}/a.db", transport=None, service="billing")
    assert not bus.relays
    assert not bus.ingests


def event(name: str = "order.placed", **headers: str) -> Event:
    return Event.build(name, {}, event_id=uuid4(), tenant_id="acme", key="k", headers=headers)


def incoming(message: Any) -> Incoming:
    return Incoming("s", message.body, message.headers, "nats:shop", None, None)


def test_what_came_in_over_the_same_stream_does_not_go_out_again_and_over_another_it_does() -> None:
    here, there, elsewhere = Way("nats:shop", "a"), Way("nats:shop", "b"), Way("kafka:shop", "b")
    assert here.goes_out(event())
    assert not here.goes_out(event("holdfast.ingest.refused"))
    came_in = event(ce_holdfastorigin=there.origin)
    assert not here.goes_out(came_in)
    assert elsewhere.goes_out(came_in)
    sent = elsewhere.marked(message_of(came_in, source="b", format="binary"))
    assert not elsewhere.comes_in(incoming(sent))
    assert Way("kafka:shop", "c").comes_in(incoming(sent))


def test_a_key_has_one_partition_and_keys_are_spread() -> None:
    def partition(tenant: str, key: str | None) -> int:
        made = Event.build("a", {}, event_id=UUID(int=len(tenant) + 1), tenant_id=tenant, key=key)
        return partition_of(message_of(made, source="s", format="binary"), 8)

    assert {partition("acme", "k1") for _ in range(3)} == {partition("acme", "k1")}
    assert len({partition(f"t{n}", "k") for n in range(100)}) == 8
    spread = Counter(partition("acme", f"k{n}") for n in range(8000))
    assert min(spread.values()) > 800
    assert partition("acme", "order-1") == 4  # fixed for ever: other services compute the same


def delivered(consumer: int, stream: int) -> Msg:
    return Msg(None, reply=f"$JS.ACK.s.c.1.{stream}.{consumer}.1700000000000000000.4")  # type: ignore[arg-type]


async def test_behind_a_message_that_was_lost_on_its_way_nothing_is_taken() -> None:
    """As one acknowledgement stands for all before it, it would be lost for ever."""
    arrived: asyncio.Queue[Any] = asyncio.Queue()
    taken = Taken(1, arrived)
    for consumer, stream in ((1, 10), (2, 14), (3, 10), (4, 15)):  # the third is delivered again
        await taken.take(delivered(consumer, stream))
    assert [message.metadata.sequence.stream for _, message in (arrived.get_nowait() for _ in range(3))] == [10, 14, 15]
    assert (taken.is_lost, taken.waiting) == (False, 4)
    await taken.take(delivered(6, 17))
    await taken.take(delivered(7, 18))
    assert taken.is_lost
    assert arrived.empty()


async def test_a_heartbeat_tells_of_a_message_that_was_lost_and_had_none_behind_it() -> None:
    taken = Taken(1, asyncio.Queue())
    await taken.take(delivered(1, 10))
    await taken.take(Msg(None, headers={"Status": "100", "Nats-Last-Consumer": "1"}))  # type: ignore[arg-type]
    assert not taken.is_lost
    await taken.take(Msg(None, headers={"Status": "100", "Nats-Last-Consumer": "2"}))  # type: ignore[arg-type]
    assert not taken.is_lost, "the message may wait for the replicas"
    await taken.take(Msg(None, headers={"Status": "100", "Nats-Last-Consumer": "2"}))  # type: ignore[arg-type]
    assert taken.is_lost


async def test_a_worker_whose_leases_may_have_run_out_takes_in_nothing(tmp_path: Path) -> None:
    """Else it would take back what another worker has got meanwhile, and they would take from each other in turns."""
    bus = EventBus(f"sqlite:///{tmp_path}/a.db", transport="nats://localhost:9", service="billing", spool="off")
    home = bus.ingests["transport"]._home
    assert home.held() == {}
    async with bus:
        await until(lambda: len(home.held()) == 8)
        assert set(home.held()) == set(range(8))
        keeper = bus._live.worker.keeper
        until_then, keeper.valid_until = keeper.valid_until, elapsed()
        assert home.held() == {}
        keeper.valid_until = until_then
        assert len(home.held()) == 8
        assert await home.patterns() == frozenset()


def test_addresses_without_a_place_are_refused_to_plain_relays() -> None:
    assert parse_address(NATS).target == ""
    with pytest.raises(ConfigurationError, match="is no name of a stream"):
        EventBus("sqlite://").relay("**", NATS)
