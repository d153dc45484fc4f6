"""Every page on both stores: what it says, its twin, and that nothing hostile comes through."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.dashboard import board, for_store
from holdfast.dashboard.pages import PAGES
from holdfast.errors import StoreUnavailable

from .harness import IMAGE, SCRIPT, TURNED, by_header, client_of, visiting

PATHS = [
    "/overview", "/events", "/events?status=dead", "/events?name=order.*&tenant=acme&since=1h", "/events/{hostile}",
    "/events/{fine}", "/events/{dead}", "/subscriptions", "/subscription?name=billing", "/dead",
    "/dead?subscription=billing&error=script", "/schedules", "/schedules?tenant=acme", "/workers", "/storage",
    "/storage?older_than=1d", "/audit",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_shows_nothing_that_a_browser_would_run(store, path):
    dsn, ids = store
    async with visiting(dsn) as client:
        page = await client.get(path.format(**ids))
    assert page.status_code == 200, page.text[:2000]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    body = page.text.partition("<main")[2]
    for hostile in (SCRIPT, IMAGE, TURNED, "\u202e", "\x00", "\x1b", "<script"):
        assert hostile not in body
    assert len(page.text) < 1_000_000
    assert " style=" not in page.text
    assert " onclick=" not in page.text


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_has_a_json_twin_for_the_same_question(store, path):
    dsn, ids = store
    where, _, query = path.format(**ids).partition("?")
    async with visiting(dsn) as client:
        page = await client.get(where, params=query)
        twin = await client.get(f"{where}.json", params=query)
    assert f'href="{where}.json' in page.text
    assert twin.status_code == 200
    assert twin.headers["content-type"] == "application/json"
    assert twin.json()


async def test_every_page_is_asked_for_above():
    asked = {path.partition("?")[0] for path in PATHS}
    assert {page.replace("{event:uuid}", "{fine}") for page in PAGES} <= asked


async def test_the_verdict_stands_on_every_page(store):
    dsn, _ = store
    async with visiting(dsn) as client:
        for path in ("/overview", "/events", "/workers"):
            assert "DEGRADED" in (await client.get(path)).text
        assert "4 dead" in (await client.get("/overview.json")).json()["sentence"]


async def test_the_audit_is_filtered_by_what_the_url_asks_for(store):
    dsn, _ = store
    async with visiting(dsn) as client:
        for subscription in ("billing", "archive"):
            for verb in ("pause", "resume"):
                await client.act(f"/actions/{verb}?subscription={subscription}")

        async def found(query):
            rows = (await client.get(f"/audit.json?{query}")).json()["audit"]
            return [f"{one['action']} {one['target']}" for one in rows]

        assert await found("who=admin@example.org&action=pause") == ["pause archive", "pause billing"]
        assert await found("subscription=billing&outcome=allowed&since=1h") == ["resume billing", "pause billing"]
        assert await found("outcome=refused&subscription=archive") == []
        assert await found("who=nobody") == []
        assert (await client.get("/audit.json?outcome=perhaps")).status_code == 400
        page = (await client.get("/audit?subscription=archive&action=pause")).text
        assert 'name="subscription" value="archive"' in page, "the form says what was asked for"
        assert "subscription=billing" not in page
        assert "Nothing of that was done" in (await client.get("/audit?tenant=nobody")).text


async def test_events_are_found_by_what_the_url_asks_for(store):
    dsn, ids = store
    async with visiting(dsn) as client:

        async def found(query):
            return [one["id"] for one in (await client.get(f"/events.json?{query}")).json()["page"]["events"]]

        assert await found("key=order-1&tenant=acme") == [ids["fine"]]
        assert await found("status=pending&name=order.*") == [ids["waiting"]]
        assert ids["rejected"] in await found("status=dead")
        assert await found("until=1h") == []
        assert await found("path=order_id&value=14") == [ids["rejected"]]
        effects = await found(f"correlation={ids['fine']}")
        assert effects[-1] == ids["fine"]
        assert len(effects) == 2
        assert (await client.get(f"/find?event={ids['fine']}")).headers["location"] == f"/events/{ids['fine']}"


async def test_how_far_a_search_looked_is_said(store):
    dsn, _ = store
    async with visiting(dsn) as client:
        assert "events are stored" in (await client.get("/events")).text
        assert "Looked at " in (await client.get("/events?path=order_id&value=999")).text


async def test_a_field_that_is_hidden_cannot_be_searched(store):
    dsn, _ = store
    async with visiting(dsn, redact=["payload.card.*"]) as client:
        for path in ("card.number", "payload.card.number", "Card.Number", "card"):
            assert (await client.get("/events", params={"path": path, "value": "4111-1111"})).status_code == 400


async def test_what_an_event_caused_is_drawn(store):
    dsn, ids = store
    async with visiting(dsn) as client:
        page = (await client.get(f"/events/{ids['fine']}")).text
    assert "<svg" in page
    assert "invoice.sent" in page


async def test_dead_letters_are_grouped_by_what_they_died_of(store):
    dsn, ids = store
    async with visiting(dsn) as client:
        groups = (await client.get("/dead.json")).json()["groups"]["groups"]
        one = next(group for group in groups if "declined" in group["message"])
        within = (await client.get(f"/dead.json?subscription=billing&fingerprint={one['fingerprint']}")).json()
        assert [letter["event_id"] for letter in within["letters"]] == [ids["rejected"]]
        question = await client.get(f"/actions/retry?subscription=billing&fingerprint={one['fingerprint']}")
        assert "1 dead letter" in question.text


async def test_charts_have_their_lines(store):
    dsn, _ = store
    async with visiting(dsn) as client:
        found = (await client.get("/samples.json?hours=6")).json()
        assert 358 <= len(found["minutes"]) <= 361
        assert {len(line) for line in found.values()} == {len(found["minutes"])}
        assert (await client.get("/samples.json?hours=49")).status_code == 400
        assert (
            'data-source="/samples.json?subscription=billing"' in (await client.get("/subscription?name=billing")).text
        )


async def test_the_store_is_asked_once_for_all_who_look(store, monkeypatch):
    dsn, _ = store
    monkeypatch.setattr(board, "_FRESH_SECONDS", 60.0)
    dashboard = for_store(dsn, authenticate=by_header)
    asked = []
    status = dashboard._board.inspector.status

    async def counted(**options):
        asked.append(options)
        return await status(**options)

    dashboard._board.inspector.status = counted
    async with client_of(dashboard, headers={"x-role": "viewer"}) as client:
        await asyncio.gather(*(client.get("/workers") for _ in range(20)))
        await client.get("/overview?tenant=acme")
    assert [options["tenant_id"] for options in asked] == [None, "acme"]


async def test_a_tenant_has_an_overview_of_its_own(store):
    dsn, _ = store
    async with visiting(dsn) as client:

        async def dead(query):
            found = (await client.get(f"/overview.json{query}")).json()["status"]["subscriptions"]
            return sum(one["dead"] for one in found)

        assert (await dead(""), await dead("?tenant=acme"), await dead("?tenant=nobody")) == (4, 3, 0)


async def test_an_event_shows_what_became_of_it(store):
    dsn, ids = store
    async with visiting(dsn) as client:
        shown = (await client.get(f"/events/{ids['rejected']}.json")).json()["event"]
        page = (await client.get(f"/events/{ids['dead']}")).text
    states = {one["subscription"]: one["state"] for one in shown["deliveries"]}
    assert states == {"archive": "processed", "billing": "dead"}
    assert "Traceback" in page
    assert "await bus.publish(" in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/events?before=x", 400), ("/events?before=-1", 400), ("/events?before=99999999999999999999", 400),
        ("/events?name=a..b", 400), ("/events?since=yesterday", 400), ("/events?status=odd", 400),
        ("/events?since=1h&until=2h", 400), ("/find?event=1", 400), ("/find", 400), ("/events/1", 404),
        ("/events/01a2093d-50dd-746b-9db7-0eadea990fab", 404), ("/subscription?name=bill", 404),
        ("/subscription", 400), ("/nowhere", 404), ("/dead?subscription=bill", 404), ("/dead?key=%00", 400),
        ("/overview?tenant=%00", 400), ("/subscriptions?tenant=%00", 400), ("/events?correlation=%00", 400),
        ("/events?path=a&value=%00", 400), ("/events?path=a..b&value=1", 400), ("/subscription?name=%00", 400),
        ("/dead?fingerprint=%00", 400),
        ("/storage?older_than=soon", 400), ("/actions/nothing", 404), ("/static/../seal.py", 404),
        ("/static/%2e%2e/seal.py", 404),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_asked_is_refused_with_a_sentence(store, path, status):
    dsn, _ = store
    async with visiting(dsn) as client:
        page = await client.get(path)
    assert page.status_code == status
    assert "Traceback" not in page.text


async def test_a_store_that_is_not_there_is_said_and_not_made(tmp_path):
    async with visiting(f"sqlite:///{tmp_path / 'none.db'}") as client:
        page = await client.get("/overview")
    assert page.status_code == 503
    assert list(tmp_path.glob("none*")) == []


async def first_event(dashboard, path="/overview/live", before=lambda: None):
    """The first event of a stream, read as a browser does: it does not end by itself. *before*: once it has begun."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.start":
            before()
        elif message["body"]:
            dashboard.streams.close()

    headers = [(b"host", b"localhost"), (b"x-role", b"viewer")]
    await dashboard(
        {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
         "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
         "headers": headers, "client": ("127.0.0.1", 1), "server": None},
        receive, send,
    )  # fmt: skip
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
    text = b"".join(message.get("body", b"") for message in sent).decode()
    assert text.endswith("\n\n")
    assert all(line.startswith(("event: ", "data: ")) for line in text.splitlines() if line)
    return text


async def test_what_refreshes_itself_is_the_page_without_its_frame(store):
    dsn, _ = store
    dashboard = for_store(dsn, authenticate=by_header)
    async with client_of(dashboard):
        text = await first_event(dashboard)
    assert text.startswith("event: page\ndata: ")
    assert "hx-swap-oob" in text
    assert "<html" not in text


async def away(**_options):
    raise StoreUnavailable("the server <b>is away</b>")


async def test_a_page_that_cannot_be_made_anew_stays_and_says_so(store):
    dsn, _ = store
    dashboard = for_store(dsn, authenticate=by_header)

    def goes_away():
        dashboard._board.changed()
        dashboard._board.inspector.status = away

    async with client_of(dashboard):
        text = await first_event(dashboard, before=goes_away)
    assert text.startswith("event: trouble\ndata: ")
    assert "the server &lt;b&gt;is away" in text


async def test_a_store_that_is_away_is_not_asked_by_everybody(store):
    dsn, _ = store
    dashboard = for_store(dsn, authenticate=by_header)
    asked = []

    async def counted(**options):
        asked.append(options)
        await away()

    dashboard._board.inspector.status = counted
    async with client_of(dashboard, headers={"x-role": "viewer"}) as client:
        answers = await asyncio.gather(*(client.get("/overview") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    assert len(asked) < 5, "one, and another where it takes more than seconds here"
