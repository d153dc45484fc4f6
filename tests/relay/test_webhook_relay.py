"""`bus.relay` to webhooks, and two services joined by them: what was stored here arrives there, once, in order."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter

import pytest

from holdfast import RetryPolicy
from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError
from holdfast.relay.inbox import CloudEvents, Inbox
from holdfast.relay.webhook import Webhook
from holdfast.stores import make_store
from holdfast.stores.filters import DeadFilter
from holdfast.stores.inspector import make_inspector

from .receiving import receiving, status
from .serving import served
from .wire import Wire

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()


def here(url, **options):
    return Webhook(url, **{"secret": SECRET, "allow_private": ["127.0.0.1"], **options})


def content(request):
    return json.loads(request.body)


async def dead_letters(bus):
    found = []
    bus.subscribe("holdfast.delivery.dead", found.append, name="test.dead", start="beginning")
    await bus.drain(timeout=20)
    return [event.payload for event in found]


async def test_a_relay_is_a_subscription_that_posts(bus):
    async with receiving() as receiver:
        bus.relay("order.**", to=here(receiver.url), source="/shop", start="beginning")
        assert [consumer.name for consumer in bus.consumers] == [f"relay:webhook:127.0.0.1:{receiver.port}"]
        for number in range(30):
            await bus.publish("order.placed", number, key=str(number % 3), tenant_id="acme")
        await bus.publish("user.made", "not for them")
        await bus.drain(timeout=30)
        sent = [content(request) for request in receiver.requests]
    assert {(one["source"], one["type"], one["tenantid"]) for one in sent} == {("/shop", "order.placed", "acme")}
    for key in "012":
        assert [one["data"] for one in sent if one["partitionkey"] == key] == list(range(int(key), 30, 3))


async def test_a_receiver_that_fails_is_asked_again_in_order(bus):
    async with receiving() as receiver:
        seen = Counter()

        def answer(request):
            seen[content(request)["data"]] += 1
            number, times = content(request)["data"], seen[content(request)["data"]]
            return status({1: 503, 2: 500, 3: 429}.get(times, 204) if number % 5 == 0 else 204)

        receiver.answer = answer
        bus.relay("order.**", to=here(receiver.url), retry=RetryPolicy(max_attempts=5, base=0.01), start="beginning")
        for number in range(20):
            await bus.publish("order.placed", number, key=str(number % 2))
        await bus.drain(timeout=30)
        accepted = [one["data"] for one in map(content, receiver.requests)]
    assert {number: times for number, times in seen.items() if times > 1} == dict.fromkeys((0, 5, 10, 15), 4)
    for key in (0, 1):
        firsts = list(dict.fromkeys(number for number in accepted if number % 2 == key))
        assert firsts == sorted(firsts)
    assert await dead_letters(bus) == []


async def test_an_event_that_is_refused_is_dead_at_once_and_the_others_go_on(bus):
    async with receiving() as receiver:
        receiver.answer = lambda request: status(422 if content(request)["data"] == "bad" else 204)
        bus.relay("order.**", to=here(receiver.url), start="beginning")
        for number in ("a", "bad", "b"):
            await bus.publish("order.placed", number, key="k")
        await bus.drain(timeout=30)
        assert [one["data"] for one in map(content, receiver.requests)] == ["a", "bad", "b"]
        (dead,) = await dead_letters(bus)
    told = json.dumps(dead)
    assert "answered 422" in told
    assert not any(word in told for word in (SECRET, SECRET[6:], "in-the-query", "/hooks"))


async def test_a_receiver_that_says_when_is_asked_again_then(bus):
    async with receiving() as receiver:
        times = []

        def answer(_request):
            times.append(asyncio.get_running_loop().time())
            return status(204) if len(times) > 3 else status(429, "retry-after: 0")

        receiver.answer = answer
        # Not one attempt counts, or it would be dead.
        bus.relay("order.**", to=here(receiver.url), retry=RetryPolicy(max_attempts=1), start="beginning")
        await bus.publish("order.placed", 1)
        await bus.drain(timeout=30)
        assert len(times) == 4
        assert await dead_letters(bus) == []


@pytest.mark.parametrize("trouble", ["nobody there", "a redirect", "a private address"])
async def test_while_nothing_can_be_delivered_events_wait_and_none_is_dead(bus, trouble, caplog):
    caplog.set_level(logging.WARNING)
    async with receiving() as receiver:
        receiver.answer = status(302, "location: http://169.254.169.254/") if trouble == "a redirect" else status(204)
        port = receiver.port if trouble != "nobody there" else 1
        allowed = ["10.0.0.0/8"] if trouble == "a private address" else ["127.0.0.1"]
        webhook = here(f"http://127.0.0.1:{port}/hooks", allow_private=allowed)
        bus.relay("order.**", to=webhook, retry=RetryPolicy(max_attempts=1), name="out", start="beginning")
        async with bus:
            await bus.publish("order.placed", 1)
            async with asyncio.timeout(20):
                while bus.relays["out"].counts.outages < 1:  # noqa: ASYNC110 - there is nothing that tells
                    await asyncio.sleep(0.01)
        assert await dead_letters_of(bus.dsn) == []
        words = {
            "nobody there": "cannot be reached",
            "a redirect": "a redirect",
            "a private address": "not a public address",
        }
        assert f"relay 'out' waits: http://127.0.0.1:{port}" in caplog.text
        assert words[trouble] in caplog.text
        assert "/hooks" not in caplog.text


async def dead_letters_of(dsn):
    """Without waiting for what cannot be delivered."""
    store = make_store(dsn)
    await store.open()
    inspector, _ = make_inspector(store)
    try:
        return await inspector.dead(DeadFilter())
    finally:
        await inspector.close()
        await store.close()


async def test_a_receiver_that_goes_and_comes_loses_nothing(make_bus, either_dsn, tmp_path):
    """Two services: the inbox of the second one is stopped and started again while events come."""
    shop, billing = make_bus(either_dsn), make_bus(f"sqlite:///{tmp_path / 'billing.db'}")
    arrived = []
    billing.subscribe(
        "order.**", lambda event: arrived.append((event.key, event.payload)), name="bill", start="beginning"
    )
    inbox = Inbox(billing, {"shop": CloudEvents(SECRET)})
    async with served(inbox) as (_, port):
        pass  # the port is known now, and nobody is there
    shop.relay(
        "order.**", to=here(f"http://127.0.0.1:{port}/ingest/shop"), concurrency=8, name="out", start="beginning"
    )
    async with shop:
        for part in range(3):
            for number in range(part * 20, part * 20 + 20):
                await shop.publish("order.placed", number, key=str(number % 4))
            if part == 0:
                continue
            async with served(inbox, port=port):
                async with asyncio.timeout(30):
                    while shop.relays["out"].counts.sent < (part + 1) * 10:  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.005)
        async with served(inbox, port=port):
            await shop.drain(timeout=30)
    await billing.drain(timeout=30)
    assert len(arrived) == 60
    for key in "0123":
        assert [payload for its, payload in arrived if its == key] == list(range(int(key), 60, 4))


async def test_a_relay_is_checked_without_sending(make_bus, sqlite_dsn):
    bus = make_bus(sqlite_dsn)
    async with receiving() as receiver:
        for name, webhook in (
            ("fine", here(receiver.url)), ("closed", here("http://127.0.0.1:1/")),
            ("private", here(receiver.url, allow_private=())),
        ):  # fmt: skip
            bus.relay("**", to=webhook, name=name)
        await bus.relays["fine"].check()
        with pytest.raises(BrokerUnreachable):
            await bus.relays["closed"].check()
        with pytest.raises(BrokerRefused):
            await bus.relays["private"].check()
        assert receiver.requests == []


def test_a_url_alone_takes_its_secret_from_the_environment(make_bus, sqlite_dsn, monkeypatch):
    bus = make_bus(sqlite_dsn)
    with pytest.raises(ConfigurationError, match="HOLDFAST_WEBHOOK_SECRET"):
        bus.relay("**", to="https://hooks.example.org/orders")
    monkeypatch.setenv("HOLDFAST_WEBHOOK_SECRET", SECRET)
    bus.relay("**", to="https://hooks.example.org/orders")
    (consumer,) = bus.consumers
    assert (consumer.name, consumer.batch, consumer.retry.max_attempts) == ("relay:webhook:hooks.example.org", 1, 20)


async def test_lost_answers_repeat_requests_and_are_one_event_there(make_bus, either_dsn, tmp_path):
    """Two services: requests arrive, their answers do not."""
    shop, billing = make_bus(either_dsn), make_bus(f"sqlite:///{tmp_path / 'billing.db'}")
    arrived = []
    billing.subscribe(
        "order.**", lambda event: arrived.append((event.key, event.payload)), name="bill", start="beginning"
    )
    async with served(Inbox(billing, {"shop": CloudEvents(SECRET)})) as (_, port), Wire(port) as wire:
        url = f"http://127.0.0.1:{wire.port}/ingest/shop"
        retry = RetryPolicy(max_attempts=20, base=0.01)
        shop.relay("order.**", to=here(url, timeout=2), retry=retry, name="out", start="beginning")
        async with shop:
            with wire.losing_answers():
                for number in range(20):
                    await shop.publish("order.placed", number, key=str(number % 2))
                await asyncio.wait_for(wire.passed.wait(), 20)
            await shop.drain(timeout=60)
    await billing.drain(timeout=30)
    assert len(arrived) == 20
    for key in "01":
        assert [payload for its, payload in arrived if its == key] == list(range(int(key), 20, 2))
