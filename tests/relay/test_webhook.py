"""Webhooks out: what is sent, where it may go, and what every answer leads to."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import socket
import time
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook as StandardWebhook

from holdfast import Retry
from holdfast.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessageRefused
from holdfast.event import Event
from holdfast.ids import new_id
from holdfast.relay.cloudevents import of_event, to_binary, to_structured
from holdfast.relay.inbox import CloudEvents, Inbox
from holdfast.relay.ports import Message
from holdfast.relay.webhook import RESPONSE_BYTES_MAX, Webhook, refusal_of, seconds_of, target

from .receiving import certificate_for, receiving, status
from .serving import served

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()
HERE = ["127.0.0.1"]


def message(payload=None, *, mode=to_structured, **options):
    event = Event.build("order.placed", payload or {"order_id": 1}, event_id=new_id(), **options)
    headers, body = mode(of_event(event, source="/shop"))
    return Message(str(event.id), event.name, event.tenant_id, event.key, body, headers)


@asynccontextmanager
async def sending(url, **options):
    destination = Webhook(url, **{"secret": SECRET, "allow_private": HERE, **options}).destination()
    try:
        yield destination
    finally:
        await destination.close()


async def test_an_event_is_a_signed_cloudevent_that_others_can_check():
    async with receiving() as receiver, sending(receiver.url, headers={"Authorization": "Bearer token"}) as destination:
        given = message(key="order-1", tenant_id="acme")
        await destination.send([given])
    (request,) = receiver.requests
    assert request.line == "POST /hooks?token=in-the-query HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["authorization"] == "Bearer token"
    assert request.headers["webhook-id"] == given.id
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 10
    content = StandardWebhook(SECRET).verify(request.body, request.headers)
    assert (content["id"], content["type"], content["partitionkey"]) == (given.id, "order.placed", "order-1")
    found = from_http(HTTPMessage(request.headers, request.body), JSONFormat())
    assert (found.get_data(), found.get_extension("tenantid")) == ({"order_id": 1}, "acme")


async def test_the_binary_mode_is_readable_for_the_official_sdk():
    async with receiving() as receiver, sending(receiver.url) as destination:
        await destination.send([message(mode=to_binary, key="grün 100 %")])
    (request,) = receiver.requests
    assert request.headers["ce-partitionkey"] == "gr%C3%BCn%20100%20%25"
    found = from_http(HTTPMessage(request.headers, request.body), JSONFormat())
    assert (found.get_extension("partitionkey"), found.get_data()) == ("grün 100 %", {"order_id": 1})


async def test_while_one_secret_replaces_another_each_of_them_verifies():
    old = "whsec_" + base64.b64encode(b"another of twenty-four..").decode()
    async with receiving() as receiver, sending(receiver.url, secret=[SECRET, old]) as destination:
        await destination.send([message()])
    (request,) = receiver.requests
    for secret in (SECRET, old):
        StandardWebhook(secret).verify(request.body, request.headers)


async def test_messages_are_sent_in_their_order_over_one_connection():
    async with receiving() as receiver, sending(receiver.url) as destination:
        given = [message() for _ in range(20)]
        await destination.send(given)
    assert [request.headers["webhook-id"] for request in receiver.requests] == [one.id for one in given]
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("code", "retry_after", "outcome"),
    [
        (200, None, None), (201, None, None), (202, None, None), (204, None, None), (299, None, None),
        (301, None, BrokerRefused), (302, "5", BrokerRefused), (307, None, BrokerRefused), (308, None, BrokerRefused),
        (400, "5", "dead"), (401, None, "dead"), (403, None, "dead"), (404, None, "dead"), (410, None, "dead"),
        (413, None, "dead"), (422, None, "dead"),
        (408, None, "again"), (425, None, "again"), (429, None, "again"), (429, "soon", "again"), (429, "-1", "again"),
        (408, "1", 1.0), (425, "2", 2.0), (429, "3", 3.0), (429, "9" * 400, 86_400.0), (503, "120", 120.0), (503, "1", 30.0), (429, "0", 1.0),
        (500, None, "again"), (502, None, "again"), (503, None, "again"), (504, None, "again"), (599, None, "again"),
    ],
)  # fmt: skip
async def test_an_answer_is_judged_by_its_class(code, retry_after, outcome):
    async with receiving() as receiver, sending(receiver.url) as destination:
        receiver.answer = status(code, *([f"retry-after: {retry_after}"] if retry_after else []))
        given = message()
        if outcome is None:
            await destination.send([given])
            return
        with pytest.raises((BrokerRefused, MessageRefused, Retry)) as refused:
            await destination.send([given])
    error = refused.value
    if outcome in {"again", "dead"}:
        assert isinstance(error, MessageRefused)
        assert (error.final, error.message_id) == (outcome == "dead", given.id)
        assert f"answered {code}" in str(error)
    elif outcome is BrokerRefused:
        assert isinstance(error, BrokerRefused)
    else:
        assert isinstance(error, Retry)
        assert error.after == outcome


def test_a_retry_after_may_be_a_date():
    assert seconds_of(formatdate(1_000_060, usegmt=True), 1_000_000) == 60
    assert seconds_of(formatdate(999_000, usegmt=True), 1_000_000) == 0
    assert seconds_of(formatdate(10_000_000, usegmt=True), 1_000_000) == 86_400
    assert seconds_of("Sun, 99 Foo 2026", 0) is None
    assert isinstance(refusal_of(429, "7", where="w", message_id="m", now=0), Retry)


async def test_a_redirect_is_not_followed():
    async with receiving() as secret_place, receiving() as receiver, sending(receiver.url) as destination:
        receiver.answer = status(307, f"location: {secret_place.url}")
        with pytest.raises(BrokerRefused, match="redirect"):
            await destination.send([message()])
        assert (len(receiver.requests), secret_place.connections) == (1, 0)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]"]
)
async def test_no_spelling_leads_to_this_machine(host):
    async with receiving() as receiver:
        async with sending(f"https://{host}:{receiver.port}/", allow_private=()) as destination:
            with pytest.raises((BrokerRefused, BrokerUnreachable)) as refused:
                await destination.send([message()])
        assert receiver.connections == 0
    if isinstance(refused.value, BrokerRefused):
        assert "not a public address" in str(refused.value)


@pytest.fixture
def resolving(monkeypatch):
    """``resolving("one", "two")``: what a name leads to, lookup by lookup; numbers lead to themselves."""

    def answers(*addresses):
        left = list(addresses)
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def getaddrinfo(host, port, **options):
            if host == "hooks.example.org":
                one = left.pop(0)
                if isinstance(one, OSError):
                    raise one
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in one.split()]
            return await real(host, port, **options)

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        return left

    return answers


async def test_a_name_that_is_bound_anew_does_not_lead_inside(resolving):
    async with receiving() as receiver, sending(f"http://hooks.example.org:{receiver.port}/") as destination:
        left = resolving("127.0.0.1", "127.0.0.2")
        await destination.send([message()])
        # One lookup for each request: it was judged, and what it found was connected to.
        assert left == ["127.0.0.2"]
        assert receiver.requests[0].headers["host"] == f"hooks.example.org:{receiver.port}"
        with pytest.raises(BrokerRefused, match=r"leads to 127\.0\.0\.2"):
            await destination.send([message()])
        assert len(receiver.requests) == 1


async def test_of_several_addresses_those_that_may_be_reached_are_tried_in_turn(resolving):
    async with receiving() as receiver:
        url = f"http://hooks.example.org:{receiver.port}/"
        async with sending(url, allow_private=["127.0.0.1", "127.0.0.9"]) as destination:
            resolving("10.0.0.1 127.0.0.9 127.0.0.1")  # nobody listens at the second
            await destination.send([message()])
        assert len(receiver.requests) == 1


async def test_the_certificate_is_that_of_the_name_though_the_address_is_connected_to(resolving, tmp_path):
    serving, trusting = certificate_for("hooks.example.org", tmp_path)
    async with receiving(serving) as receiver:
        async with sending(f"https://hooks.example.org:{receiver.port}/", tls=trusting) as destination:
            resolving("127.0.0.1")
            await destination.send([message()])
        assert len(receiver.requests) == 1
        for url, tls in (
            (f"https://127.0.0.1:{receiver.port}/", trusting),
            (f"https://127.0.0.1:{receiver.port}/", None),
        ):
            async with sending(url, tls=tls) as destination:
                with pytest.raises(BrokerUnreachable, match=r"(?i)certificate"):
                    await destination.send([message()])
        assert len(receiver.requests) == 1


async def test_plain_http_is_for_addresses_that_were_allowed(resolving):
    async with sending("http://hooks.example.org/") as destination:
        resolving("93.184.215.14")
        with pytest.raises(BrokerRefused, match="plain http"):
            await destination.send([message()])


async def test_nobody_there_is_told_apart_from_a_refusal(resolving):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with sending(f"http://127.0.0.1:{port}/") as destination:
        with pytest.raises(BrokerUnreachable, match="no connection"):
            await destination.send([message()])
    # No server of names is asked, which may take its time to say no.
    for name in ("hooks..example.org", "x" * 64 + ".example.org", "hooks.example.org"):
        async with sending(f"https://{name}/") as destination:
            resolving(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
            with pytest.raises(BrokerUnreachable, match="cannot be resolved"):
                await destination.send([message()])


async def test_a_receiver_that_is_slow_is_not_waited_for():
    async def never(_request):
        await asyncio.Event().wait()
        return b""

    async with receiving() as receiver, sending(receiver.url, timeout=0.2) as destination:
        receiver.answer = never
        with pytest.raises(MessageRefused, match=r"no answer within 0\.2 s") as refused:
            await destination.send([message()])
        assert not refused.value.final


async def test_a_receiver_that_drips_is_not_waited_for():
    async with receiving() as receiver, sending(receiver.url, timeout=0.3) as destination:
        receiver.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx"  # and the rest never comes
        with pytest.raises(MessageRefused, match="no answer"):
            await destination.send([message()])


async def test_an_answer_without_end_is_not_read():
    async with receiving() as receiver, sending(receiver.url) as destination:
        receiver.answer = status(200, body=b"x" * 50_000_000)
        await destination.send([message()])
        await asyncio.wait_for(receiver.left.wait(), 10)
    assert RESPONSE_BYTES_MAX < 1_000_000


async def test_an_answer_that_is_packed_is_not_unpacked():
    async with receiving() as receiver, sending(receiver.url) as destination:
        receiver.answer = status(200, "content-encoding: gzip", body=b"no gzip at all")
        await destination.send([message()])


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"SSH-2.0-x\r\n", b"\0" * 100])
async def test_a_connection_that_ends_without_an_answer_counts_against_the_message(answer):
    async with receiving() as receiver, sending(receiver.url, timeout=2) as destination:
        receiver.answer = answer
        with pytest.raises(MessageRefused) as refused:
            await destination.send([message()])
        assert not refused.value.final


async def test_nothing_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with receiving() as receiver, sending(receiver.url) as destination:
        receiver.answer = status(204, "set-cookie: a=b")
        await destination.send([message(), message()])
    assert "cookie" not in receiver.requests[1].headers


async def test_nothing_secret_is_in_any_error():
    async with receiving() as receiver:
        receiver.answer = status(500, body=b"the payload again: card 4242")
        webhook = Webhook(receiver.url, secret=SECRET, allow_private=HERE, headers={"Authorization": "Bearer hidden"})
        destination = webhook.destination()
        with pytest.raises(MessageRefused) as refused:
            await destination.send([message({"card": "4242"})])
        await destination.close()
    shown = f"{refused.value} {refused.value!r} {webhook!r} {webhook.where} {webhook.target} {pickle.loads(pickle.dumps(refused.value))}"
    assert not any(word in shown for word in (SECRET, SECRET[6:], "hidden", "4242", "in-the-query", "/hooks"))


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.org", "ftp://a/", "https://", "https:///x", "https://a:b/", "https://a\n/", "https://[::1/",
     "https://ann:hidden@a/", "https://a:99999/", "file:///etc/passwd", "gopher://a/"],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_said_at_once(url):
    with pytest.raises(ConfigurationError) as refused:
        Webhook(url, secret=SECRET)
    assert "hidden" not in str(refused.value)


def test_a_secret_is_needed_and_may_come_from_the_environment(monkeypatch):
    with pytest.raises(ConfigurationError, match="HOLDFAST_WEBHOOK_SECRET"):
        target("https://hooks.example.org/")
    monkeypatch.setenv("HOLDFAST_WEBHOOK_SECRET", SECRET)
    assert target("https://hooks.example.org/x").where == "https://hooks.example.org"


@pytest.mark.parametrize(
    "options",
    [{"secret": "short"}, {"secret": ""}, {"secret": []}, {"secret": "whsec_!!!!!!!!!!!!!!"}, {"timeout": 0}, {"timeout": 1e9},
     {"timeout": float("nan")}, {"allow_private": ["x"]}, {"headers": {"Host": "b"}}, {"headers": {"content-length": "1"}}],
)  # fmt: skip
def test_what_is_set_up_wrongly_is_said_at_once(options):
    with pytest.raises(ConfigurationError):
        Webhook("https://hooks.example.org/", **{"secret": SECRET, **options})


async def test_a_header_that_http_cannot_carry_ends_the_message():
    async with receiving() as receiver, sending(receiver.url, headers={"x-mine": "a\r\nb: c"}) as destination:
        with pytest.raises(MessageRefused, match="cannot be sent") as refused:
            await destination.send([message()])
        assert refused.value.final


async def test_what_goes_out_here_comes_in_there(bus):
    """Two buses joined by a webhook: the same event, once, however often it is sent."""
    async with served(Inbox(bus, {"shop": CloudEvents(SECRET)})) as (host, port):
        async with sending(f"http://{host}:{port}/ingest/shop") as destination:
            given = [message({"n": number}, key="k", tenant_id="acme", headers={"actor": "ann"}) for number in range(5)]
            await destination.send(given)
            await destination.send(given)
        events = []
        bus.subscribe("**", events.append, name="test.all", start="beginning")
        await bus.drain(timeout=20)
    assert [str(event.id) for event in events] == [one.id for one in given]
    assert [event.payload for event in events] == [{"n": number} for number in range(5)]
    assert {(event.tenant_id, event.key, event.actor) for event in events} == {("acme", "k", "ann")}
    assert json.loads(given[0].body)["source"] == "/shop" == events[0].headers["ce_source"]
