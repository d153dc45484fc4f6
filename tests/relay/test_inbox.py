"""Webhooks in: who is let in, what becomes an event, and what every bad day is answered."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from standardwebhooks import Webhook as StandardWebhook
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast import EventBus, Quota
from holdfast.errors import ConfigurationError, InvalidEvent
from holdfast.relay.cloudevents import made_identity
from holdfast.relay.inbox import CloudEvents, GitHub, Inbox, Stripe

from .serving import served

NOW = 1_800_000_000.0
GITHUB, STRIPE = "github-secret-of-the-test", "whsec_stripe-secret-of-the-test"
STANDARD = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()
UUID_TEXT = "0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41"
PUSH = {"action": "opened", "repository": {"full_name": "octo-org/octo-repo"}, "text": "ä\u2028"}


def github(
    payload=PUSH, *, secret=GITHUB, delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958", event="pull_request", **changes
):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers = {
        "content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery,
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }  # fmt: skip
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {"content": body, "headers": {name: value for name, value in headers.items() if value is not None}}


def stripe(payload=None, *, secret=STRIPE, at=NOW, signature=None):
    given = {"id": "evt_1", "type": "charge.succeeded", "created": 1_700_000_000, "pending_webhooks": 2}
    body = json.dumps({**given, **(payload or {})}).encode()
    made = hmac.new(secret.encode(), f"{at:.0f}.".encode() + body, hashlib.sha256).hexdigest()
    return {"content": body, "headers": {"stripe-signature": signature or f"t={at:.0f},v1={'0' * 64},v1={made},v0=abc"}}


def standard(attributes=None, *, secret=STANDARD, at=NOW, id="msg_1"):
    event = {"specversion": "1.0", "id": "order-1", "source": "/shop", "type": "order.placed", "data": {"order_id": 1}}
    body = json.dumps({**event, **(attributes or {})}).encode()
    signature = StandardWebhook(secret).sign(id, datetime.fromtimestamp(at, UTC), body.decode())
    return {"content": body, "headers": {
        "content-type": "application/cloudevents+json", "webhook-id": id, "webhook-timestamp": f"{at:.0f}",
        "webhook-signature": f"v1,AAAA {signature}",
    }}  # fmt: skip


def senders():
    return {"github": GitHub(GITHUB), "stripe": Stripe(STRIPE), "shop": CloudEvents(STANDARD)}


@asynccontextmanager
async def asking(bus, sources=None, **options):
    """A client of an inbox behind a real server."""
    inbox = Inbox(bus, sources or senders(), now=lambda: NOW, **options)
    async with served(inbox) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        yield client


async def stored(bus):
    """Every event of the store, as a subscription that begins at the beginning gets it."""
    events = []
    bus.subscribe("**", events.append, name="test.all", start="beginning")
    await bus.drain(timeout=20)
    return events


async def test_a_webhook_of_github_is_stored_before_the_answer(bus):
    async with asking(bus) as client:
        answer = await client.post("/ingest/github", **github())
        (event,) = await stored(bus)
    made = made_identity("github", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
    assert (answer.status_code, answer.json()) == (
        200,
        {"event_id": str(made), "deduplicated": False, "where": "store"},
    )
    assert (event.id, event.name, event.payload, event.tenant_id) == (
        made,
        "github.pull_request.opened",
        PUSH,
        "default",
    )
    assert event.headers == {"webhook_source": "github", "webhook_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}


async def test_real_webhooks_of_github_go_through(make_bus, sqlite_dsn, webhooks):
    bus = make_bus(sqlite_dsn)
    keyed = {
        "github": GitHub(GITHUB, tenant_id="octo", key=lambda payload: payload.get("repository", {}).get("full_name"))
    }
    async with asking(bus, keyed) as client:
        for number, one in enumerate(webhooks):
            event = one["name"].split(".")[1]
            answer = await client.post("/ingest/github", **github(one["payload"], event=event, delivery=str(number)))
            assert answer.status_code == 200, (one["name"], answer.text)
        events = {event.headers["webhook_id"]: event for event in await stored(bus)}
    assert len(events) == len(webhooks)
    for number, one in enumerate(webhooks):
        found = events[str(number)]
        action = one["payload"].get("action")
        assert found.name == ".".join(["github", one["name"].split(".")[1], *([action] if action else [])])
        assert (found.payload, found.tenant_id) == (one["payload"], "octo")
        assert found.key == one["payload"].get("repository", {}).get("full_name")


async def test_a_webhook_of_stripe_is_an_event_of_its_time(bus):
    async with asking(bus) as client:
        assert (await client.post("/ingest/stripe", **stripe())).status_code == 200
        (event,) = await stored(bus)
    assert (event.id, event.name) == (made_identity("stripe", "evt_1"), "stripe.charge.succeeded")
    assert event.occurred_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert event.headers["webhook_id"] == "evt_1"


async def test_a_cloudevent_keeps_its_tenant_key_and_id(bus):
    async with asking(bus) as client:
        given = standard({"id": UUID_TEXT, "tenantid": "acme", "partitionkey": "order-1", "correlationid": "c"})
        answer = await client.post("/ingest/shop", **given)
        (event,) = await stored(bus)
    assert answer.json()["event_id"] == UUID_TEXT
    assert (event.id, event.name, event.payload) == (UUID(UUID_TEXT), "order.placed", {"order_id": 1})
    assert (event.tenant_id, event.key, event.correlation_id) == ("acme", "order-1", "c")


async def test_the_tenant_of_a_source_wins_over_what_the_sender_says(bus):
    async with asking(bus, {"shop": CloudEvents(STANDARD, tenant_id="acme")}) as client:
        await client.post("/ingest/shop", **standard({"tenantid": "victim"}))
        (event,) = await stored(bus)
    assert event.tenant_id == "acme"


@pytest.mark.parametrize(
    ("source", "repeat"),
    [
        ("github", [github(), github()]),
        ("stripe", [stripe(), stripe(at=NOW - 200)]),
        ("stripe", [stripe(), stripe({"pending_webhooks": 0})]),
        ("shop", [standard(), standard(id="msg_2", at=NOW + 200)]),
    ],
    ids=["github", "stripe", "stripe counts down", "cloudevents"],
)
async def test_a_repeated_webhook_is_one_event(bus, source, repeat):
    async with asking(bus) as client:
        answers = [await client.post(f"/ingest/{source}", **one) for one in repeat * 2]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert [answer.json()["deduplicated"] for answer in answers] == [False, True, True, True]
        assert len({answer.json()["event_id"] for answer in answers}) == 1
        assert len(await stored(bus)) == 1


async def test_webhooks_repeated_at_the_same_moment_are_one_event(bus):
    async with asking(bus) as client:
        answers = await asyncio.gather(*(client.post("/ingest/github", **github()) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(await stored(bus)) == 1


async def test_the_same_delivery_for_two_sources_is_two_events(bus):
    async with asking(bus, {"one": GitHub(GITHUB), "two": GitHub(GITHUB)}) as client:
        for source in ("one", "two"):
            assert (await client.post(f"/ingest/{source}", **github())).json()["deduplicated"] is False
        assert len(await stored(bus)) == 2


async def test_a_known_delivery_with_other_content_is_refused(bus):
    async with asking(bus) as client:
        await client.post("/ingest/github", **github())
        answer = await client.post("/ingest/github", **github({"action": "closed"}))
        assert answer.status_code == 409
        (event,) = await stored(bus)
    assert event.payload == PUSH


FORGED = {
    "github, no signature": ("github", github(x_hub_signature_256=None)),
    "github, empty": ("github", github(x_hub_signature_256="")),
    "github, another secret": ("github", github(secret="another secret, long enough")),
    "github, old way": ("github", github(x_hub_signature_256=None, x_hub_signature="sha1=" + "0" * 40)),
    "github, no prefix": ("github", {**github(), "headers": {**github()["headers"], "x-hub-signature-256": github()["headers"]["x-hub-signature-256"][7:]}}),
    "github, other body": ("github", {**github(), "content": b"{}"}),
    "github, not ASCII": ("github", github(x_hub_signature_256=b"sha256=\xe4")),
    "stripe, another secret": ("stripe", stripe(secret="another secret, long enough")),
    "stripe, no signature": ("stripe", {**stripe(), "headers": {}}),
    "stripe, old way only": ("stripe", stripe(signature=f"t={NOW:.0f},v0={'0' * 64}")),
    "stripe, no time": ("stripe", stripe(signature=f"v1={'0' * 64}")),
    "stripe, two times": ("stripe", stripe(signature=f"t={NOW:.0f},t=1,v1={'0' * 64}")),
    "stripe, nonsense": ("stripe", stripe(signature="=,,=;")),
    "stripe, another time": ("stripe", stripe(signature=stripe(at=NOW - 1)["headers"]["stripe-signature"].replace(f"t={NOW - 1:.0f}", f"t={NOW:.0f}"))),
    "stripe, too old": ("stripe", stripe(at=NOW - 301)),
    "stripe, from the future": ("stripe", stripe(at=NOW + 301)),
    "cloudevents, another secret": ("shop", standard(secret="whsec_" + base64.b64encode(b"b" * 24).decode())),
    "cloudevents, another id": ("shop", {**standard(), "headers": {**standard()["headers"], "webhook-id": "msg_2"}}),
    "cloudevents, another time": ("shop", {**standard(), "headers": {**standard()["headers"], "webhook-timestamp": f"{NOW - 1:.0f}"}}),
    "cloudevents, too old": ("shop", standard(at=NOW - 301)),
    "cloudevents, from the future": ("shop", standard(at=NOW + 301)),
    "cloudevents, no id": ("shop", {**standard(), "headers": {**standard()["headers"], "webhook-id": ""}}),
    "cloudevents, unsigned": ("shop", {"content": standard()["content"], "headers": {"content-type": "application/cloudevents+json"}}),
}  # fmt: skip


@pytest.mark.parametrize(("source", "request_"), FORGED.values(), ids=FORGED.keys())
async def test_what_is_forged_or_replayed_too_late_is_refused(source, request_, make_bus, sqlite_dsn, caplog):
    bus = make_bus(sqlite_dsn)
    async with asking(bus) as client:
        answer = await client.post(f"/ingest/{source}", **request_)
        assert answer.status_code == 401, answer.text
        assert await stored(bus) == []
    assert f"a webhook to {source} is refused with 401" in caplog.text
    assert not {GITHUB, STRIPE, STANDARD} & {word for text in (caplog.text, answer.text) for word in text.split()}


async def test_a_replay_within_the_window_is_the_same_event(bus):
    captured = stripe(at=NOW - 299)
    async with asking(bus) as client:
        answers = [await client.post("/ingest/stripe", **captured) for _ in range(3)]
        assert [(one.status_code, one.json()["deduplicated"]) for one in answers] == [
            (200, False),
            (200, True),
            (200, True),
        ]
        assert len(await stored(bus)) == 1


@pytest.mark.parametrize("secret", ["the old secret, long enough", "the new secret, long enough"])
async def test_while_one_secret_replaces_another_both_are_good(make_bus, sqlite_dsn, secret):
    both = ["the new secret, long enough", "the old secret, long enough"]
    sources = {"github": GitHub(both), "stripe": Stripe(both)}
    async with asking(make_bus(sqlite_dsn), sources) as client:
        assert (await client.post("/ingest/github", **github(secret=secret))).status_code == 200
        assert (await client.post("/ingest/stripe", **stripe(secret=secret))).status_code == 200
        assert (await client.post("/ingest/github", **github(secret="neither of them, long"))).status_code == 401


MALFORMED = {
    "no JSON": ("github", github(b"{")),
    "not UTF-8": ("github", github(b'{"a": "\xff"}')),
    "an array": ("github", github(b"[]")),
    "empty": ("github", github(b"")),
    "too deep": ("github", github(b'{"a":' * 100 + b"1" + b"}" * 100)),
    "far too deep": ("github", github(b"[" * 200_000)),
    "NaN": ("github", github(b'{"a": NaN}')),
    "a key twice": ("github", github(b'{"a": 1, "a": 2}')),
    "U+0000": ("github", github({"a": "\0"})),
    "a large integer": ("github", github({"a": 2**64})),
    "a form": ("github", github(content_type="application/x-www-form-urlencoded")),
    "no delivery": ("github", github(x_github_delivery=None)),
    "no event": ("github", github(x_github_event=None)),
    "an action that is no text": ("github", github({"action": 1})),
    "a name that is none": ("github", github(event="pull request")),
    "stripe, no id": ("stripe", stripe({"id": None})),
    "stripe, no time": ("stripe", stripe({"created": 10**18})),
    "cloudevents, no type": ("shop", standard({"type": ""})),
    "cloudevents, another version": ("shop", standard({"specversion": "0.3"})),
    "cloudevents, a tenant too long": ("shop", standard({"tenantid": "x" * 256})),
}


@pytest.mark.parametrize(("source", "request_"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_malformed_is_refused_and_harms_nobody(source, request_, make_bus, sqlite_dsn):
    bus = make_bus(sqlite_dsn)
    async with asking(bus) as client:
        answer = await client.post(f"/ingest/{source}", **request_)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
        assert (await client.post("/ingest/github", **github())).status_code == 200
        assert len(await stored(bus)) == 1


@pytest.mark.parametrize(
    "path", ["/ingest/nobody", "/ingest/", "/ingest", "/", "/ingest/github/x", "/ingest/git%68ub%00"]
)
async def test_an_unknown_source_is_not_found(make_bus, sqlite_dsn, path):
    async with asking(make_bus(sqlite_dsn)) as client:
        assert (await client.post(path, **github())).status_code == 404


async def test_only_posts_are_taken(make_bus, sqlite_dsn):
    async with asking(make_bus(sqlite_dsn)) as client:
        answer = await client.get("/ingest/github")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("length", ["content-length: 50000000", "transfer-encoding: chunked", "content-length: +1"])
async def test_an_oversized_body_is_refused_before_it_has_come(make_bus, sqlite_dsn, length):
    async with served(Inbox(make_bus(sqlite_dsn), senders(), limit=100_000)) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"POST /ingest/github HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n".encode())
        if "chunked" in length:
            writer.write(b"186a1\r\n" + b"x" * 100_001 + b"\r\n")
        assert (await reader.readline()).split()[1] in ({b"400"} if "+" in length else {b"413"})
        writer.close()
        await writer.wait_closed()


async def test_a_payload_over_the_limit_of_the_bus_is_refused(make_bus, sqlite_dsn):
    async with asking(make_bus(sqlite_dsn, max_payload=100)) as client:
        assert (await client.post("/ingest/github", **github({"a": "x" * 100}))).status_code == 413


async def test_a_body_that_does_not_come_is_not_waited_for(make_bus, sqlite_dsn):
    async with served(Inbox(make_bus(sqlite_dsn), senders(), timeout=0.05)) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /ingest/github HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
        await writer.wait_closed()


async def test_over_the_quota_a_sender_is_asked_to_come_later(make_bus, sqlite_dsn):
    bus = make_bus(sqlite_dsn, quota=Quota(1, timedelta(hours=1)))
    async with asking(bus) as client:
        assert (await client.post("/ingest/github", **github())).status_code == 200
        answer = await client.post("/ingest/github", **github(delivery="another"))
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    assert "may publish 1 event" in answer.json()["error"]
    assert bus.inbox_counts["github"].refused["quota"] == 1


async def test_while_the_store_is_away_webhooks_go_to_the_spool(make_bus, tmp_path):
    bus = make_bus("postgresql://localhost:1/nowhere", spool=str(tmp_path / "spool"), store_timeout=0.1)
    async with asking(bus) as client:
        answer = await client.post("/ingest/github", **github())
    assert (answer.status_code, answer.json()["where"]) == (200, "spool")


@pytest.mark.parametrize("spool_limit", [None, 1], ids=["no spool", "a full one"])
async def test_where_nothing_can_take_it_the_sender_shall_repeat_it(make_bus, tmp_path, spool_limit, caplog):
    spool = {"spool": "off"} if spool_limit is None else {"spool": str(tmp_path / "spool"), "spool_limit": 64 * 1024}
    bus = make_bus("postgresql://localhost:1/nowhere", store_timeout=0.1, **spool)
    async with asking(bus) as client:
        body = {"a": "x" * 40_000}
        answers = [await client.post("/ingest/github", **github(body, delivery=str(number))) for number in range(3)]
    assert answers[-1].status_code == 503
    assert answers[-1].headers["retry-after"] == "5"
    assert answers[-1].json() == {"error": "it cannot be stored now; send it again", "retry_after": 5}
    assert "its sender shall repeat it" in caplog.text


async def test_what_becomes_of_webhooks_is_counted_by_source(bus):
    async with asking(bus, limit=2000) as client:
        for _ in range(2):
            await client.post("/ingest/github", **github())
        await client.post("/ingest/github", **github(b"{"))
        await client.post("/ingest/github", **github({"a": "x" * 3000}))
        await client.post("/ingest/github", **github({"other": "content"}))
        await client.post("/ingest/stripe", **stripe(secret="whsec_another"))
        await client.get("/ingest/shop")
        await client.post("/ingest/nowhere", **github())
        await client.post("/elsewhere", **github())
        counts = bus.counts.inboxes
    assert (counts["github"].stored, counts["github"].duplicates, counts["github"].spooled) == (1, 1, 0)
    refused = {source: {why: count for why, count in one.refused.items() if count} for source, one in counts.items()}
    assert refused == {
        "github": {"malformed": 1, "too large": 1, "conflict": 1}, "stripe": {"signature": 1}, "shop": {"no POST": 1},
        "?": {"no such source": 2},
    }  # fmt: skip


async def test_an_inbox_can_be_mounted(make_bus, sqlite_dsn):
    app = Starlette(routes=[Mount("/hooks", Inbox(make_bus(sqlite_dsn), senders()))])
    async with served(app) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        assert (await client.post("/hooks/ingest/github", **github())).status_code == 200
        assert (await client.post("/hooks/ingest/nobody", **github())).status_code == 404


async def test_the_binary_mode_is_taken_where_it_is_allowed(make_bus, sqlite_dsn):
    body = b'{"order_id": 1}'
    signature = StandardWebhook(STANDARD).sign("m", datetime.fromtimestamp(NOW, UTC), body.decode())
    sent = {"content": body, "headers": {
        "content-type": "application/json", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/shop",
        "ce-type": "order.placed", "ce-partitionkey": "gr%C3%BCn", "webhook-id": "m",
        "webhook-timestamp": f"{NOW:.0f}", "webhook-signature": signature,
    }}  # fmt: skip
    bus = make_bus(sqlite_dsn)
    async with asking(bus, {"safe": CloudEvents(STANDARD), "shop": CloudEvents(STANDARD, binary=True)}) as client:
        refused = await client.post("/ingest/safe", **sent)
        assert refused.status_code == 400
        assert "attributes are not signed" in refused.json()["error"]
        assert (await client.post("/ingest/shop", **sent)).status_code == 200
        (event,) = await stored(bus)
    assert (event.name, event.key, event.payload) == ("order.placed", "grün", {"order_id": 1})


@pytest.mark.parametrize(
    "make",
    [
        lambda: GitHub(""), lambda: GitHub([]), lambda: GitHub("short"), lambda: Stripe(["long enough for a secret", "x"]),
        lambda: CloudEvents("whsec_no base64 at all"), lambda: GitHub(GITHUB, tenant_id=""),
        lambda: Inbox(EventBus("sqlite://"), {}), lambda: Inbox(EventBus("sqlite://"), {"a/b": GitHub(GITHUB)}),
        lambda: Inbox(EventBus("sqlite://"), {"": GitHub(GITHUB)}),
    ],
)  # fmt: skip
def test_what_is_set_up_wrongly_is_said_at_once(make):
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert "short" not in str(refused.value).split()
    assert "no base64 at all" not in str(refused.value)


async def test_a_key_that_cannot_be_made_is_told(make_bus, sqlite_dsn):
    async with asking(
        make_bus(sqlite_dsn), {"github": GitHub(GITHUB, key=lambda payload: payload["missing"]["x"])}
    ) as client:
        answer = await client.post("/ingest/github", **github())
    assert answer.status_code == 400
    assert "KeyError" in answer.json()["error"]


async def test_a_sender_of_ones_own_may_refuse(make_bus, sqlite_dsn):
    class Mine:
        repeats_may_differ = False

        def item(self, source, headers, body, now):
            if headers.get("x-twice") != "a, b":
                raise InvalidEvent("x-twice", "is missing", "send it")
            return {"name": f"{source}.came", "payload": body}

    async with asking(make_bus(sqlite_dsn), {"mine": Mine()}) as client:
        assert (await client.post("/ingest/mine", content=b"1")).status_code == 400
        assert (
            await client.post("/ingest/mine", content=b"1", headers=[("X-Twice", "a"), ("x-twice", "b")])
        ).status_code == 200
