"""Every action on both stores: the question with its count, the deed, the sentence after it, the audit row."""

from __future__ import annotations

import asyncio

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
        assert {one["event_id"] for one in left} == {ids["dead"], ids["hostile"]}
        assert await last_audit(client) == ("operator@example.org", "dead retry", "billing", 1, True)


async def test_what_dies_after_the_count_is_not_discarded(dsn):
    ids = await fill(dsn)
    async with visiting(dsn) as client:
        question = (await client.get("/actions/discard?subscription=billing")).text
        assert "3 dead letters" in question
        assert "until=" in question
        await client.act(f"/actions/discard?subscription=billing&event={ids['dead']}")
        assert await last_audit(client) == ("admin@example.org", "dead discard", "billing", 1, True)
        await client.act("/actions/discard?subscription=billing")
        assert (await client.get("/dead.json")).json()["letters"] == []
        assert "2 dead letters are discarded." in (await client.get("/dead")).text
        nothing = (await client.get("/actions/discard?subscription=billing")).text
        assert "Nothing to do" in nothing


async def test_replay_counts_first_and_shows_its_progress(dsn):
    await fill(dsn)
    async with visiting(dsn, role="operator") as client:
        assert "Deliver 5 events of archive" in (await client.get("/actions/replay?subscription=archive")).text
        await client.act("/actions/replay?subscription=archive", rate="100000")

        async def finished():
            replays = (await client.get("/subscription.json?name=archive")).json()["replays"]
            return [one for one in replays if one["state"] == "finished"]

        (replay,) = await until(finished)
        assert (replay["done"], replay["total"], replay["actor"]) == (5, 5, "operator@example.org")
        assert "5 of 5" in (await client.get("/subscription?name=archive")).text
        assert await last_audit(client) == ("operator@example.org", "replay", "archive", 5, True)


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


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/actions/pause?subscription=nobody", {}, 404),
        ("/actions/replay?subscription=archive", {"rate": "fast"}, 400),
        ("/actions/replay?subscription=archive&since=soon", {}, 400),
        ("/actions/retry?subscription=nobody", {}, 404),
    ],
)
async def test_what_the_store_refuses_is_audited_too(dsn, path, fields, status):
    await fill(dsn)
    async with visiting(dsn) as client:
        token = await client.csrf("/actions/pause?subscription=billing")
        assert (await client.post(path, data={"csrf": token, **fields})).status_code == status
        actor, action, target, _, allowed = await last_audit(client)
    assert (actor, allowed) == ("admin@example.org", False)
    assert f"/actions/{action}?subscription={target}" in path
