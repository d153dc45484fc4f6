"""Every action on both stores: the question with its count, the deed, the sentence after it, the audit row."""

from __future__ import annotations

import asyncio
import html

import pytest

from .harness import fill, visiting


@pytest.fixture(params=["sqlite", "postgres"])
async def dsn(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'events.db'}"
    return request.getfixturevalue("emptied_dsn")


async def last_audit(client):
    row = (await client.get("/audit.json")).json()["audit"][0]
    return row["actor"], row["action"], row["target"], row["count"], row["allowed"]


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110 - a page has no event to wait for
            await asyncio.sleep(0.01)
    return found


async def test_pause_and_resume(dsn):
    await fill(dsn)
    async with visiting(dsn, role="operator") as client:
        done = await client.act("/actions/pause?subscription=billing")
        assert done.headers["location"] == "/subscription?name=billing"
        page = (await client.get("/subscription?name=billing")).text
        assert "billing is paused." in page
        assert "billing is paused." not in (await client.get("/subscription?name=billing")).text, "said once"
        assert await last_audit(client) == ("operator@example.org", "pause", "billing", 1, True)
        await client.act("/actions/resume?subscription=billing")
        assert "billing goes on." in (await client.get("/overview")).text
        assert await last_audit(client) == ("operator@example.org", "resume", "billing", 1, True)


async def test_retry_concerns_all_that_match_the_filter_and_no_other(dsn):
    ids = await fill(dsn)
    async with visiting(dsn, role="operator") as client:
        question = (await client.get("/actions/retry?subscription=billing&error=declined")).text
        assert "1 dead letter of billing, error declined" in question
        done = await client.act("/actions/retry?subscription=billing&error=declined")
        assert done.headers["location"] == "/dead?subscription=billing&error=declined"
        left = (await client.get("/dead.json")).json()["letters"]
        assert {one["event_id"] for one in left} == {ids["dead"], ids["open"], ids["hostile"]}
        assert await last_audit(client) == ("operator@example.org", "dead retry", "billing", 1, True)


async def test_what_dies_after_the_count_is_not_discarded(dsn):
    ids = await fill(dsn)
    async with visiting(dsn) as client:
        question = (await client.get("/actions/discard?subscription=billing")).text
        assert "4 dead letters" in question
        assert "until=" in question
        await client.act(f"/actions/discard?subscription=billing&event={ids['dead']}")
        assert await last_audit(client) == ("admin@example.org", "dead discard", "billing", 1, True)
        await client.act("/actions/discard?subscription=billing")
        assert (await client.get("/dead.json")).json()["letters"] == []
        assert "3 dead letters are discarded." in (await client.get("/dead")).text
        nothing = (await client.get("/actions/discard?subscription=billing")).text
        assert "Nothing to do" in nothing


async def test_replay_counts_first_and_shows_its_progress(dsn):
    await fill(dsn)
    async with visiting(dsn, role="operator") as client:
        assert "Deliver 6 events of archive" in (await client.get("/actions/replay?subscription=archive")).text
        await client.act("/actions/replay?subscription=archive", rate="100000")

        async def finished():
            replays = (await client.get("/subscription.json?name=archive")).json()["replays"]
            return [one for one in replays if one["state"] == "finished"]

        (replay,) = await until(finished)
        assert (replay["done"], replay["total"], replay["actor"]) == (6, 6, "operator@example.org")
        assert "6 of 6" in (await client.get("/subscription?name=archive")).text
        assert await last_audit(client) == ("operator@example.org", "replay", "archive", 6, True)


async def test_a_replay_that_runs_when_the_dashboard_ends_is_cancelled_and_says_so(dsn):
    await fill(dsn)
    async with visiting(dsn) as client:
        await client.act("/actions/replay?subscription=archive", rate="1")

        async def begun():
            return (await client.get("/subscription.json?name=archive")).json()["replays"]

        await until(begun)
    async with visiting(dsn) as client:
        (replay,) = (await client.get("/subscription.json?name=archive")).json()["replays"]
    assert replay["state"] == "cancelled"


async def test_skip_passes_over_what_waits(dsn):
    await fill(dsn)
    async with visiting(dsn) as client:
        assert "pass over 1 event for good" in (await client.get("/actions/skip?subscription=billing")).text
        await client.act("/actions/skip?subscription=billing")
        assert "1 event was passed over" in (await client.get("/overview")).text
        assert await last_audit(client) == ("admin@example.org", "skip", "billing", 1, True)


async def test_a_correction_is_an_event_of_its_own_with_its_author(dsn):
    ids = await fill(dsn)
    path = f"/actions/correct?subscription=billing&event={ids['dead']}"
    async with visiting(dsn, may_edit=True) as client:
        assert "4111-1111" in (await client.get(path)).text
        done = await client.act(path, payload='{"order_id": 2}')
        assert done.headers["location"] == f"/events/{ids['dead']}"
        tree = (await client.get(f"/events/{ids['dead']}.json")).json()["causation"]["nodes"]
        (made,) = [
            node["event"]["id"] for node in tree if node["cause"] == ids["dead"] and "placed" in node["event"]["name"]
        ]
        event = (await client.get(f"/events/{made}.json")).json()["event"]
        assert event["payload"] == {"order_id": 2}
        assert event["headers"]["corrected_by"] == "admin@example.org"
        assert (await client.get(f"/events/{ids['dead']}.json")).json()["event"]["payload"]["order_id"] == 13
        assert await last_audit(client) == ("admin@example.org", "dead correct", "billing", 1, True)


async def test_what_is_corrected_is_the_whole_payload_however_large(dsn):
    ids = await fill(dsn)
    async with visiting(dsn, may_edit=True) as client:
        question = (await client.get(f"/actions/correct?subscription=billing&event={ids['hostile']}")).text
        assert html.unescape(question).count("long ") == 200_000
        assert "more characters" not in question


async def test_a_correction_is_off_unless_it_is_enabled_and_never_of_what_is_hidden(dsn):
    ids = await fill(dsn)
    path = f"/actions/correct?subscription=billing&event={ids['dead']}"
    async with visiting(dsn) as client:
        assert (await client.get(path)).status_code == 403
        token = await client.csrf("/actions/pause?subscription=billing")
        assert (await client.post(path, data={"csrf": token, "payload": "{}"})).status_code == 403
        assert await last_audit(client) == ("admin@example.org", "dead correct", "billing", None, False)
    async with visiting(dsn, may_edit=True, redact=["payload.card.number"]) as client:
        answer = await client.get(path)
        assert (answer.status_code, "4111" in answer.text) == (403, False)
    async with visiting(dsn, may_edit=True) as client:
        for payload in ("", "{", "nonsense", "[" * 100_000):
            answer = await client.act(path, payload=payload)
            assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "action"),
    [("/actions/pause?subscription=nobody", "pause"), ("/actions/retry?subscription=nobody", "dead retry"),
     ("/actions/replay?subscription=nobody", "replay"), ("/actions/skip?subscription=nobody", "skip")],
)  # fmt: skip
async def test_what_the_store_refuses_is_audited_too(dsn, path, action):
    await fill(dsn)
    async with visiting(dsn) as client:
        token = await client.csrf("/actions/pause?subscription=billing")
        assert (await client.post(path, data={"csrf": token})).status_code == 404
        assert [row["allowed"] for row in (await client.get("/audit.json")).json()["audit"]] == [False]
        assert await last_audit(client) == ("admin@example.org", action, "nobody", None, False)


async def test_a_rate_that_is_none_begins_no_replay(dsn):
    await fill(dsn)
    async with visiting(dsn) as client:
        token = await client.csrf("/actions/pause?subscription=billing")
        for rate in ("fast", "-1", "0", "1e3", "9" * 30):
            done = await client.post("/actions/replay?subscription=archive", data={"csrf": token, "rate": rate})
            assert done.status_code == 400
        assert (await client.get("/subscription.json?name=archive")).json()["replays"] == []


async def test_a_schedule_is_paused_and_resumed(dsn):
    await fill(dsn)
    async with visiting(dsn, role="operator") as client:
        assert (
            "Make no events of the times of nightly"
            in (await client.get("/actions/pause-schedule?schedule=nightly")).text
        )
        done = await client.act("/actions/pause-schedule?schedule=nightly")
        assert done.headers["location"] == "/schedules"
        assert "nightly is paused." in (await client.get("/schedules")).text
        assert await last_audit(client) == ("operator@example.org", "schedule pause", "nightly", 1, True)
        assert (await client.get("/schedules.json")).json()["schedules"][0]["paused_by"] == "operator@example.org"
        await client.act("/actions/resume-schedule?schedule=nightly")
        assert "nightly goes on." in (await client.get("/schedules")).text
        assert (await client.get("/actions/pause-schedule?schedule=unknown")).status_code == 404


async def test_an_event_for_later_is_cancelled_by_an_admin_alone(dsn):
    ids = await fill(dsn)
    path = f"/actions/cancel-scheduled?event={ids['later']}"
    async with visiting(dsn, role="operator") as client:
        assert (await client.get(path)).status_code == 403
    async with visiting(dsn) as client:
        await client.act(path)
        assert await last_audit(client) == ("admin@example.org", "scheduled cancel", ids["later"], 1, True)
        left = (await client.get("/schedules.json")).json()["scheduled"]
        assert [one["event_id"] for one in left] == [ids["later-hostile"]]
