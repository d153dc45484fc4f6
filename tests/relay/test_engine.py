"""A relay to a destination of the test's own, which is away, refuses and cuts as chance has it: no server is needed."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import RetryPolicy
from holdfast.errors import BrokerRefused, BrokerUnreachable, MessageRefused
from tests.relay.contract import SOON, bus_on, faults, orders, rows, until, working

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from holdfast.relay.ports import Message


class Moody:
    """A target, and the destination that it makes: takes some of a batch, then is away; never takes what is poison."""

    kind, target, where, batch, format = "moody", "place", "moody://place", 25, "binary"
    retry = RetryPolicy(max_attempts=2, base=0)

    def __init__(self, seed: int, trouble: float) -> None:
        self._chance, self._trouble = random.Random(seed), trouble
        self.arrived: list[tuple[str, bytes]] = []
        self.is_away = False
        self.closed = 0

    def destination(self) -> Moody:
        return self

    async def send(self, messages: Sequence[Message]) -> None:
        cut = self._chance.randrange(len(messages) + 1) if self._chance.random() < self._trouble else None
        if self.is_away:
            raise BrokerUnreachable(self.where, "away")
        for number, message in enumerate(messages):
            if number == cut:
                raise self._chance.choice(
                    [BrokerUnreachable(self.where, "cut"), BrokerRefused(self.where, "no rights", "give some")]
                )
            if "poison" in json.loads(message.body):
                raise MessageRefused(self.where, message.id, "poison", final=self._chance.random() < 0.5)
            self.arrived.append((message.id, message.body))

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_PAUSE", "_LONGEST_PAUSE", "_REFUSED_PAUSE"):
        monkeypatch.setattr(f"holdfast.relay.away.{name}", 0.002)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
async def test_whatever_a_destination_does_order_is_kept_and_only_poison_dies(
    seed: int, store: str, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue("dsn" if store == "sqlite" else "other_dsn")
    target, bus = Moody(seed, 0.4), bus_on(dsn)
    bus.relay("order.**", target, name="out")
    sent = orders(300, keys=5)
    poison = [{"name": "order.placed", "payload": {"key": None, "poison": True}, "key": f"k{n}"} for n in range(3)]
    async with working(bus):
        await bus.publish_many([*sent[:100], *poison, *sent[100:]])
        await bus.drain(SOON)
        assert bus.counts.subscriptions["out"].counts.dead == 3
    found = faults(sent, target.arrived)
    assert (found["lost"], found["unknown"], found["disorder"]) == (0, 0, 0)
    assert rows(dsn, "select status, count(*) from event_store where event_name like 'order%' group by 1 order by 1") == [
        ("dead", 3), ("processed", 300),
    ]  # fmt: skip
    assert target.closed == 1


async def test_an_outage_of_any_length_writes_no_rows_and_counts_no_attempts(dsn: str) -> None:
    target, bus = Moody(0, 0), bus_on(dsn)
    target.is_away = True
    bus.relay("order.**", target, name="out", retry=RetryPolicy(max_attempts=1))
    sent = orders(300, keys=5)
    async with working(bus):
        await bus.publish_many(sent)
        await until(lambda: bus.counts.relays["out"].outages > 1200)  # more than Retry may be raised
        counts = bus.counts.subscriptions["out"]
        assert (counts.counts.failed, counts.counts.put_off, counts.is_tripped) == (0, 0, False)
        assert rows(dsn, "select count(*) from deliveries") == [(0,)]
        assert rows(dsn, "select count(*) from event_consumers") == [(0,)]
        target.is_away = False
        await bus.drain(SOON)
    assert faults(sent, target.arrived) == {"lost": 0, "unknown": 0, "repeated": 0, "disorder": 0}


async def test_behind_a_dead_message_its_key_is_held_where_that_is_asked_for(dsn: str) -> None:
    target, bus = Moody(0, 0), bus_on(dsn)
    bus.relay("order.**", target, name="out", on_dead="hold", retry=RetryPolicy(max_attempts=1))

    def numbers() -> set[int]:
        return {json.loads(body)["number"] for _, body in target.arrived}

    async with working(bus):
        for number, content in enumerate(({}, {"poison": True}, {}, {})):
            key = "k" if number < 3 else "other"
            await bus.publish("order.placed", {"number": number, **content}, key=key)
        held = "select count(*) from deliveries where state <> 'dead'"
        await until(lambda: numbers() == {0, 3} and rows(dsn, held) == [(1,)])
        assert bus.counts.subscriptions["out"].counts.dead == 1
    assert numbers() == {0, 3}


async def test_a_bus_closes_though_a_client_swallows_that_its_ingest_shall_end(dsn: str) -> None:
    """As `asyncio.wait_for` does on some Pythons, where the answer comes at the same moment."""
    bus = bus_on(dsn)
    bus.ingest("nats://127.0.0.1/shop", name="in")
    begun = asyncio.Event()

    class Deaf:
        async def receive(self) -> AsyncGenerator[list[Any], None]:
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            await asyncio.sleep(3600)
            yield []

        async def close(self) -> None:
            pass

    bus.ingests["in"]._source = Deaf
    async with working(bus):
        await begun.wait()
        async with asyncio.timeout(10):
            await bus.close()
