"""A store that was moved gives its handlers what they would have got, no less and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast import Reject
from holdfast.encryption import MasterKeys
from holdfast.errors import BusStateError, ConfigurationError
from tests.bus.waiting import sql, until
from tests.moving.conftest import Ends
from tests.moving.desk import command, handled, log_of, move, paused, printed
from tests.moving.mixture import DECLARED, RESUMED, mix

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import EventBus

ORDERS: dict[str, dict[str, Any]] = {"billing": {"patterns": ["order.*"]}}


async def shop(make_bus: Callable[..., EventBus], dsn: str, handler: Any = None, **options: Any) -> EventBus:
    """A bus whose subscription is registered; with a handler it has handled what there is."""
    bus = make_bus(dsn, **options)
    bus.subscribe("order.*", handler or (lambda event: None), name="billing")
    await bus.publish("order.placed", {"n": 0}, key="first")
    return bus


async def waiting(make_bus: Callable[..., EventBus], dsn: str, count: int = 3, **options: Any) -> EventBus:
    """Events that nobody has come to."""
    bus = await shop(make_bus, dsn, **options)
    for number in range(1, count):
        await bus.publish("order.placed", {"n": number}, key=f"key-{number % 2}")
    return bus


async def numbers(make_bus: Callable[..., EventBus], dsn: str) -> list[int]:
    got = await handled(make_bus, dsn, ORDERS)
    return sorted(payload["n"] for found in got.values() for payload, _, _ in found)


async def same_to_handlers(make_bus: Callable[..., EventBus], ends: Ends, seed: int) -> None:
    await mix(ends.source, seed)
    before = log_of(ends.source)
    done = await move(ends)
    assert done.is_sound, done
    assert done.events == len(before)
    assert log_of(ends.destination) == before
    assert paused(ends.destination) == paused(ends.source)
    assert await handled(make_bus, ends.destination, DECLARED, RESUMED) == await handled(
        make_bus, ends.source, DECLARED, RESUMED
    ), f"seed {seed}"


@pytest.mark.parametrize("seed", [1])
async def test_handlers_get_what_they_would_have_got(any_ends, make_bus, seed):
    await same_to_handlers(make_bus, any_ends, seed)


@pytest.mark.parametrize("seed", range(2, 7))
async def test_whatever_state_they_were_left_in(tmp_path, make_bus, seed):
    ends = Ends(f"sqlite:///{tmp_path / 'source.db'}", f"sqlite:///{tmp_path / 'destination.db'}")
    await same_to_handlers(make_bus, ends, seed)


async def test_both_say_so_in_their_audit_and_the_numbers_are_shown(ends, make_bus):
    await (await waiting(make_bus, ends.source)).close()
    shown = json.loads(await printed("move", ends.source, ends.destination, "--actor", "ann", "--json"))
    assert (shown["events"], shown["sound"]) == (3, True)
    log = next(one for one in shown["tables"] if one["table"] == "event_log")
    assert (log["source"], log["destination"], log["source_digest"]) == (3, 3, log["destination_digest"])
    assert sql(ends.source, "select actor, count from audit where action = 'move out'") == [("ann", 3)]
    found = sql(ends.destination, "select actor, action, count from audit order by id")
    assert found == [("ann", "move in", 3), ("ann", "moved in", 3)]
    again = await printed("move", ends.source, ends.destination)
    assert "0 events moved; both stores have the same." in again


async def test_what_is_published_meanwhile_the_next_run_takes(ends, make_bus):
    bus = await waiting(make_bus, ends.source)
    await move(ends)
    await bus.publish("order.placed", {"n": 3})
    await bus.close()
    assert (await move(ends)).events == 1
    assert await numbers(make_bus, ends.destination) == [0, 1, 2, 3]


async def test_what_waits_for_its_time_goes_over_and_comes_due_there(ends, make_bus):
    bus = await waiting(make_bus, ends.source)
    bus.every("0 9 * * *", print, name="report", tz="Europe/Lisbon")
    later = await bus.publish("order.reminder", {"n": 8}, key="k", headers={"a": "b"}, delay=3600)
    soon = await bus.publish("order.reminder", {"n": 9}, delay=7200)
    await bus.close()
    sql(ends.source, "update schedules set last_at = created_at")
    assert (await move(ends)).is_sound
    bus = make_bus(ends.source)
    await bus.reschedule(soon.event_id, delay=0)
    await bus.close()
    assert (await move(ends)).is_sound
    there = make_bus(ends.destination)
    own = await there.publish("order.reminder", {"n": 7}, delay=3600)
    assert await numbers(make_bus, ends.destination) == [0, 1, 2, 9]
    found = sql(ends.destination, "select cast(id as text), event_key from scheduled order by due_at")
    assert found == [(str(later.event_id), "k"), (str(own.event_id), None)]
    asked = "select name, rule, zone, missed, last_at = created_at from schedules"
    assert sql(ends.destination, asked) == sql(ends.source, asked)


async def test_what_commits_late_the_next_run_takes(migrated_dsn, sqlite_dsn, make_bus):
    ends = Ends(migrated_dsn, sqlite_dsn)
    bus = await waiting(make_bus, ends.source, 1)
    with psycopg.connect(ends.source) as late:
        late.execute(
            "insert into holdfast.event_store (tenant_id, event_name, payload) values ('t', 'order.placed', '{\"n\":1}')"
        )
        await bus.publish("order.placed", {"n": 2})
        assert (await move(ends)).is_sound
        assert len(log_of(ends.destination)) == 2
    await bus.close()
    done = await move(ends)
    assert (done.events, done.is_sound) == (1, True)
    assert await numbers(make_bus, ends.destination) == [0, 1, 2]


async def test_what_the_destination_published_itself_is_delivered_beside(ends, make_bus):
    await (await waiting(make_bus, ends.source)).close()
    await move(ends)
    bus = await shop(make_bus, ends.destination)
    await bus.publish("order.placed", {"n": 7})
    await bus.close()
    source = make_bus(ends.source)
    await source.publish("order.placed", {"n": 3})
    await source.close()
    assert (await move(ends)).is_sound
    assert await numbers(make_bus, ends.destination) == [0, 0, 1, 2, 3, 7]


async def test_subscriptions_that_the_destination_knows_already_keep_their_declaration(ends, make_bus):
    await (await waiting(make_bus, ends.source)).close()
    bus = make_bus(ends.destination)
    bus.subscribe("order.*", print, name="billing", partitions=3, start="beginning")
    bus.subscribe("**", print, name="newcomer")
    await bus.drain(10)
    await bus.close()
    sql(ends.destination, "update leases set epoch = 0")
    assert (await move(ends)).is_sound
    assert sql(ends.destination, "select partitions from subscriptions where name = 'billing'") == [(3,)]
    got = await handled(
        make_bus,
        ends.destination,
        {"billing": {"patterns": ["order.*"], "partitions": 3}, "newcomer": {"patterns": ["**"]}},
    )
    assert sorted(payload["n"] for place, found in got.items() for payload, _, _ in found) == [0, 1, 2]


async def test_a_live_worker_is_named_and_nothing_is_moved(ends, make_bus):
    bus = await waiting(make_bus, ends.source)
    async with bus:
        await bus.drain(10)
        with pytest.raises(BusStateError, match=r"not at rest: process \d+ on .*billing"):
            await move(ends)
    assert log_of(ends.destination) == []


async def test_a_store_with_events_of_its_own_is_left_alone(ends, make_bus):
    await (await waiting(make_bus, ends.source)).close()
    bus = make_bus(ends.destination)
    await bus.publish("order.placed", {})
    await bus.close()
    with pytest.raises(ConfigurationError, match="has events"):
        await move(ends)
    assert len(log_of(ends.destination)) == 1


async def test_a_store_is_not_moved_into_itself(own_dsn, make_bus):
    await (await waiting(make_bus, own_dsn)).close()
    with pytest.raises(ConfigurationError, match="into itself"):
        await move(Ends(own_dsn, own_dsn))


async def test_a_store_in_memory_is_wrong_usage(sqlite_dsn, make_bus):
    await (await waiting(make_bus, sqlite_dsn)).close()
    assert (await command("move", sqlite_dsn, "sqlite://")).exit_code == 2


@pytest.mark.parametrize("where", ["source", "destination"])
async def test_after_workers_have_run_it_is_not_gone_on_with(ends, make_bus, where):
    await (await waiting(make_bus, ends.source)).close()
    await move(ends)
    assert await numbers(make_bus, getattr(ends, where)) == [0, 1, 2]
    with pytest.raises(BusStateError, match="workers have run on .* since the move began"):
        await move(ends)


async def test_a_replay_that_has_not_come_to_its_end_is_finished_first(ends, make_bus):
    bus = await shop(make_bus, ends.source)
    async with bus:
        await bus.drain(10)
    await printed("replay", "billing", "--yes", "--dsn", ends.source)
    sql(ends.source, "update replays set state = 'running'")
    with pytest.raises(BusStateError, match=r"replay 1 of 'billing'.*--resume 1"):
        await move(ends)


async def test_replays_and_rows_are_numbered_on(ends, make_bus):
    bus = await shop(make_bus, ends.source)
    async with bus:
        await bus.drain(10)
        await printed("replay", "billing", "--yes", "--dsn", ends.source)
        await bus.drain(10)
    await bus.close()
    assert (await move(ends)).is_sound
    await printed("replay", "billing", "--yes", "--dsn", ends.destination)
    assert sql(ends.destination, "select id from replays order by id") == [(1,), (2,)]
    ((number,),) = sql(ends.destination, "select id from deliveries")
    assert number > sql(ends.source, "select coalesce(max(id), 0) from deliveries")[0][0]


async def test_a_difference_is_found_and_nobody_works_there(ends, make_bus):
    await (await waiting(make_bus, ends.source)).close()
    await move(ends)
    sql(ends.destination, "update event_log set payload = '{\"n\":100}' where event_key = 'first'")
    done = await command("move", ends.source, ends.destination)
    assert done.exit_code == 1
    assert "the stores differ: event_log;" in done.output
    assert paused(ends.destination) == {"billing": True}
    assert "billing is paused already" in await printed("pause", "billing", "--dsn", ends.destination)


async def test_a_worker_that_starts_too_early_gets_nothing(ends, make_bus, monkeypatch):
    await (await waiting(make_bus, ends.source)).close()
    monkeypatch.setattr("holdfast.moving.mover.Mover._compare", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await move(ends)
    monkeypatch.undo()
    early = make_bus(ends.destination)
    early.subscribe("order.*", lambda event: pytest.fail("too early"), name="billing")
    async with early:
        await until(lambda: sql(ends.destination, "select count(*) from workers") == [(1,)])
    assert (await move(ends)).is_sound
    assert await numbers(make_bus, ends.destination) == [0, 1, 2]


async def test_dead_letters_outlive_their_events_there_too(ends, make_bus):
    def refuse(event: Any) -> None:
        raise Reject("no such customer")

    bus = await shop(make_bus, ends.source, refuse)
    async with bus:
        await bus.drain(10)
    log = "event_log" if ends.source.startswith("sqlite") else "event_log where event_name = 'order.placed'"
    sql(ends.source, "update deliveries set payload = (select payload from event_log where id = event_id), occurred_at = "
        "(select occurred_at from event_log where id = event_id)")  # fmt: skip
    sql(ends.source, f"delete from {log}")
    done = await move(ends)
    assert done.is_sound, done
    shown = json.loads(await printed("dead", "list", "--json", "--dsn", ends.destination))
    assert [(one["payload"], one["reason"]) for one in shown] == [({"n": 0}, "no such customer")]
    assert "1 will be tried again" in await printed("dead", "retry", "--all", "--yes", "--dsn", ends.destination)
    assert await numbers(make_bus, ends.destination) == [0]


async def test_encrypted_payloads_are_read_there(ends, make_bus):
    keys = MasterKeys({"first": b"1" * 32})
    await (await waiting(make_bus, ends.source, encryption=keys)).close()
    before = log_of(ends.source)
    assert not any('"n"' in payload for *_, payload, _ in before)
    assert (await move(ends)).is_sound
    assert log_of(ends.destination) == before
    bus, got = make_bus(ends.destination, encryption=keys), []
    bus.subscribe("order.*", lambda event: got.append(event.payload["n"]), name="billing")
    async with bus:
        await bus.drain(10)
    assert sorted(got) == [0, 1, 2]


async def test_erased_events_stay_erased(ends, make_bus):
    await (await waiting(make_bus, ends.source)).close()
    await printed("erase", "--key", "first", "--yes", "--dsn", ends.source)
    assert (await move(ends)).is_sound
    bus, got = make_bus(ends.destination), []
    bus.subscribe("order.*", lambda event: got.append((event.key, event.is_erased)), name="billing")
    async with bus:
        await bus.drain(10)
    assert sorted(got) == [("first", True), ("key-0", False), ("key-1", False)]


async def test_seals_stay_and_are_made_anew(ends, make_bus):
    bus = await waiting(make_bus, ends.source)
    await printed("seal", "--dsn", ends.source)
    assert "seals of 1 day stay with the source" in await printed("move", ends.source, ends.destination)
    await printed("seal", "--dsn", ends.destination)
    await bus.publish("order.placed", {"n": 3})
    await bus.close()
    await move(ends)
    await printed("seal", "--dsn", ends.destination)
    assert "Nothing was changed: 4 events as sealed, 0 not sealed yet" in await printed(
        "verify", "--dsn", ends.destination
    )


async def test_text_that_is_none_is_refused_with_its_place(tmp_path, make_bus):
    ends = Ends(f"sqlite:///{tmp_path / 'source.db'}", f"sqlite:///{tmp_path / 'destination.db'}")
    await (await waiting(make_bus, ends.source)).close()
    sql(ends.source, "update event_log set event_key = cast(x'ff' as text) where event_key = 'first'")
    with pytest.raises(ConfigurationError, match=r"event [0-9a-f-]{36} has text that is not UTF-8"):
        await move(ends)
