"""The command line as a person or a script meets it: output, exit codes, questions, bad input."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import click
import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main
from holdfast.cli.commands import Commands, as_failure
from holdfast.cli.options import duration, moment
from holdfast.cli.output import ago, without_password
from holdfast.cli.status import error_of
from holdfast.errors import InvalidEvent, StoreUnavailable
from holdfast.event import NewEvent
from holdfast.printable import clean
from holdfast.spool import Spool, default_directory
from holdfast.stores import make_store
from holdfast.stores.records import AttemptRecord
from holdfast.stores.values import Attempt, Declaration, Parked, Settlement, State, WorkerInfo
from holdfast.wording import lasted

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.stores.base import Store


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """No spool of this machine, no DSN of this shell."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HOLDFAST_DSN", "HOLDFAST_DEBUG", "HOLDFAST_SPOOL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def dsn(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def run(dsn, monkeypatch):
    """Run a command on the store of `dsn`."""
    monkeypatch.setenv("HOLDFAST_DSN", dsn)

    def invoke(*arguments: str, code: int = 0, **options: Any) -> Result:
        result = CliRunner().invoke(main, arguments, **options)
        assert result.exit_code == code, result.output
        return result

    return invoke


def with_store(dsn: str, work: Callable[[Store], Any]) -> Any:
    async def there() -> Any:
        store = make_store(dsn)
        await store.migrate()
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(there())


def register(dsn: str, name: str = "billing", **options: Any) -> None:
    with_store(dsn, lambda store: store.register([Declaration(name, ("order.*",), **{"partitions": 1} | options)]))


def lease_all(dsn: str) -> None:
    async def work(store: Store) -> None:
        (subscription,) = await store.subscriptions()
        worker = WorkerInfo(uuid4(), "host", "boot", 1, "then", "0.1.0", (subscription.id,))
        await store.heartbeat(worker, ttl=30)
        await store.acquire(worker.id, {subscription.id: subscription.partitions}, ttl=30)

    with_store(dsn, work)


def keeping(dsn: str, retention: float) -> None:
    """A worker lives that keeps events for so long."""
    info = WorkerInfo(uuid4(), "host", "boot", 1, "then", "0.1.0", (), retention=retention)
    with_store(dsn, lambda store: store.heartbeat(info, ttl=30))


def die(dsn: str) -> None:
    """End everything in the log dead, with an error that wants to trick the terminal."""

    async def work(store: Store) -> None:
        (subscription,) = await store.subscriptions()
        worker = uuid4()
        (lease,) = await store.acquire(worker, {subscription.id: 1}, ttl=30)
        reader = await store.reader()
        rows = (await reader.read(lease.cursor, limit=100, max_bytes=2**20)).rows
        await reader.close()
        settlement = Settlement({lease.slice: lease.epoch})
        for row in rows:
            settlement.parked.append(Parked(lease.slice, row, State.DEAD, 1, reason="\x1b[31mred\u202e"))
            settlement.attempts.append(
                Attempt(lease.slice, row.id, row.day, 1, "failed", "E", "m\x07", "a\n\x1b[2Jb", 0.1)
            )
        await store.settle(settlement)
        # As if the worker had been stopped long ago.
        await store.leave(worker)

    with_store(dsn, work)


class TestLooking:
    def test_a_reading_command_makes_no_file(self, run, tmp_path):
        for command in ("status", "events", "audit", "subscriptions", "workers", "leases", "doctor"):
            result = run(command, code=1)
            assert "does not exist" in result.output or "there is no store" in result.output
        assert list(tmp_path.iterdir()) == []

    def test_status_of_a_new_store(self, run):
        run("migrate")
        assert run("status").stdout.startswith("OK, 0 live workers")
        assert json.loads(run("status", "--json").stdout)["verdict"] == {"health": "OK", "reasons": []}

    def test_status_exits_1_when_stalled(self, run, dsn, tmp_path):
        register(dsn)
        (tmp_path / "old").write_text('{"name":"order.placed","payload":1,"occurred_at":"2020-01-01T00:00:00Z"}\n')
        run("publish", "--jsonl", str(tmp_path / "old"))
        result = run("status", code=1)
        assert "STALLED" in result.stdout
        assert "no live worker runs it" in result.stdout
        assert json.loads(run("status", "--json", code=1).stdout)["subscriptions"][0]["lag"] == 1

    def test_events_and_one_event(self, run):
        event_id = run("publish", "order.placed", '{"n": 1}', "--key", "k", "--tenant", "acme").stdout.strip()
        run("publish", "cart.opened")
        listed = json.loads(run("events", "--name", "order.*", "--json").stdout)
        assert [one["id"] for one in listed["events"]] == [event_id]
        assert event_id in run("events", "--tenant", "acme", "--since", "1h").stdout
        assert run("events", "--until", "1h").stdout == "No such event.\n"
        shown = json.loads(run("event", event_id, "--json").stdout)
        assert (shown["payload"], shown["key"], shown["deliveries"]) == ({"n": 1}, "k", [])
        assert 'payload   {\n            "n": 1\n          }\n' in run("event", event_id).stdout
        assert str(uuid4()) not in run("event", str(uuid4()), code=1).stderr[:9]

    def test_control_characters_never_reach_the_terminal(self, run, dsn):
        register(dsn)
        event_id = run("publish", "order.placed").stdout.strip()
        die(dsn)
        for command in (("event", event_id), ("dead", "list")):
            output = run(*command).stdout
            assert "\\x1b[31mred\\u202e" in output
            assert not {"\x1b", "\x07", "\u202e"} & set(output)

    def test_the_type_of_an_error_stands_once(self):
        attempt = AttemptRecord(1, "failed", "RuntimeError", "RuntimeError: no", None, 0.1, datetime.now(UTC))
        assert error_of(attempt) == "RuntimeError: no"
        assert error_of(dataclasses.replace(attempt, message="no")) == "RuntimeError: no"

    def test_doctor_finds_nothing_wrong(self, run):
        run("migrate")
        assert "PROBLEM" not in run("doctor").stdout
        assert {fact["level"] for fact in json.loads(run("doctor", "--json").stdout)} == {"ok"}

    def test_what_the_spool_lost_is_reported_by_doctor_and_status(self, run, dsn):
        run("migrate")
        folder = default_directory(make_store(dsn).address)
        folder.mkdir(parents=True)
        (folder / "quarantine.jsonl").write_text('{"name": "a"}\n{"name": "b"}\n')
        (folder / "corrupt-00000001-0-ffffffff.bin").write_bytes(b"?")
        for command in ("doctor", "status"):
            shown = run(command).stdout
            assert f"2 events that the store refused in {folder}/quarantine.jsonl" in shown
            assert f"1 damaged piece of the spool in {folder}/corrupt-*.bin" in shown

    def test_doctor_keeps_the_level_of_each_reason(self, run, dsn, tmp_path):
        register(dsn)
        (tmp_path / "old").write_text('{"name":"order.placed","payload":1,"occurred_at":"2020-01-01T00:00:00Z"}\n')
        run("publish", "--jsonl", str(tmp_path / "old"))
        die(dsn)
        run("publish", "--jsonl", str(tmp_path / "old"))
        facts = json.loads(run("doctor", "--json", code=1).stdout)
        assert [(fact["level"], bool(fact["fix"])) for fact in facts if fact["name"] == "reason"] == [
            ("problem", True), ("note", True),
        ]  # fmt: skip


class TestActing:
    def test_dead_letters_are_listed_retried_and_discarded(self, run, dsn):
        register(dsn)
        run("publish", "order.placed")
        run("publish", "order.paid")
        die(dsn)
        assert len(json.loads(run("dead", "list", "--json").stdout)) == 2
        assert run("dead", "retry", "--name", "order.paid", input="y\n").stdout.endswith("1 will be tried again.\n")
        assert (
            "Discard 1 dead delivery of all subscriptions for good?"
            in run("dead", "discard", "--all", code=1, input="n\n").output
        )
        assert run("dead", "discard", "--subscription", "billing", "--yes").stdout == "1 is discarded.\n"
        assert run("dead", "list").stdout == "No dead letters.\n"
        assert run("dead", "list", "--blocked").stdout == "Nothing is held.\n"
        actions = [row["action"] for row in json.loads(run("audit", "--json").stdout)]
        assert actions == ["dead discard", "dead retry"]

    def test_an_action_on_everything_must_be_meant(self, run, dsn):
        register(dsn)
        assert "--all" in run("dead", "discard", "--yes", code=2).stderr

    def test_pause_and_resume_of_one_tenant(self, run, dsn):
        register(dsn)
        assert run("pause", "billing", "--tenant", "acme").stdout == "tenant acme of billing is paused.\n"
        assert run("pause", "billing", "--tenant", "acme").stdout == "tenant acme of billing is paused already.\n"
        assert "PAUSED TENANTS" in run("subscriptions").stdout
        assert run("resume", "billing", "--tenant", "acme").stdout == "tenant acme of billing goes on.\n"
        assert run("resume", "billing", "--tenant", "acme").stdout == "tenant acme of billing was not paused.\n"
        assert "PAUSED TENANTS" not in run("subscriptions").stdout
        assert "tenant_id" in run("pause", "billing", "--tenant", "", code=2).stderr

    def test_concurrency(self, run, dsn):
        register(dsn)
        assert run("subscriptions", "concurrency", "billing", "4").stdout == "billing handles 4 events at once.\n"
        assert (
            run("subscriptions", "concurrency", "billing", "4").stdout == "billing handles 4 events at once already.\n"
        )
        declared = run("subscriptions", "concurrency", "billing", "declared").stdout
        assert declared == "billing handles as many events at once as declared.\n"
        assert "10000" in run("subscriptions", "concurrency", "billing", "10001", code=2).stderr

    def test_pause_and_resume(self, run, dsn):
        register(dsn)
        assert run("pause", "billing", "--actor", "ann").stdout == "billing is paused.\n"
        assert run("pause", "billing").stdout == "billing is paused already.\n"
        assert run("resume", "billing").stdout == "billing goes on.\n"
        assert "did you mean billing?" in run("pause", "biling", code=1).stderr
        assert "ann" in run("audit").stdout

    def test_replay_counts_first(self, run, dsn):
        run("publish", "order.placed")
        register(dsn)
        assert run("replay", "billing", "--dry-run").stdout == "1 event of billing matches.\n"
        assert "Deliver 1 event again" in run("replay", "billing", code=1, input="").output
        assert run("replay", "billing", "--yes").stdout.startswith("1 of 1 event is handed to the workers.")
        assert json.loads(run("replay", "--list", "--json").stdout)[0]["state"] == "finished"
        assert "which subscription" in run("replay", code=2).stderr

    def test_not_replayable(self, run, dsn):
        register(dsn, replayable=False)
        assert "replayable" in run("replay", "billing", "--yes", code=2).stderr

    def test_subscriptions_are_renamed_repartitioned_and_removed(self, run, dsn):
        register(dsn)
        run("subscriptions", "rename", "billing", "invoices")
        run("subscriptions", "repartition", "invoices", "3", "--yes")
        (one,) = json.loads(run("subscriptions", "--json").stdout)
        assert (one["name"], one["partitions"]) == ("invoices", 3)
        assert "has 3 partitions" not in run("subscriptions", "repartition", "invoices", "3", code=2).stdout
        assert "Remove invoices: 0 events" in run("subscriptions", "remove", "invoices", code=1, input="n\n").output
        run("subscriptions", "remove", "invoices", "--yes")
        assert run("subscriptions").stdout == "No subscription is registered.\n"

    def test_live_workers_are_looked_for_before_anything_is_asked(self, run, dsn):
        register(dsn)
        lease_all(dsn)
        for command in (("remove", "billing"), ("repartition", "billing", "7")):
            result = run("subscriptions", *command, code=1)
            assert "live workers hold 1 of 1 partition" in result.stderr
            assert "?" not in result.output
        forced = run("subscriptions", "rename", "billing", "invoices", "--force")
        assert "1 live worker runs billing" in forced.stderr

    def test_questions_name_what_is_meant(self, run, dsn):
        register(dsn)
        run("publish", "order.placed", "--key", "k")
        die(dsn)
        asked = run("dead", "retry", "--subscription", "billing", "--key", "k", code=1, input="n\n").output
        assert "Retry 1 dead letter of billing, key k?" in asked
        asked = run("dead", "discard", "--subscription", "billing", "--held", code=1, input="n\n").output
        assert "Discard 1 dead, pending or retrying delivery of billing for good?" in asked

    def test_retention(self, run):
        run("publish", "order.placed")
        assert run("retention").stdout == "0 events may be dropped, 0 older ones are kept.\n"
        assert run("retention", "--run", "--yes").stdout == "0 events dropped, 0 older ones are kept.\n"


class TestPublishing:
    def test_only_the_id_goes_to_standard_output(self, run, monkeypatch):
        given = str(uuid4())
        for _ in range(2):
            result = run("publish", "order.placed", "--id", given)
            assert result.stdout == f"{given}\n"
        assert result.stderr == "it was stored before\n"
        result = run("publish", "order.placed", "--dsn", "postgresql://127.0.0.1:1/nowhere")
        assert UUID(result.stdout.strip())
        assert "it waits in the spool" in result.stderr

    def test_a_file(self, run, webhooks_path, webhooks):
        assert run("publish", "--jsonl", str(webhooks_path)).stdout == f"{len(webhooks)} events stored\n"
        ids = [one["id"] for one in json.loads(run("events", "--limit", "1000", "--json").stdout)["events"]]
        stored = [json.loads(run("event", event_id, "--json").stdout) for event_id in ids[:10]]
        assert [one["payload"] for one in stored] == [one["payload"] for one in webhooks[::-1][:10]]

    def test_standard_input_and_a_safe_repeat(self, run):
        lines = "".join(
            json.dumps({"name": "a.b", "payload": n, "id": str(UUID(int=n + 1))}) + "\n\n" for n in range(1500)
        )
        assert run("publish", "--jsonl", "-", input=lines).stdout == "1500 events stored\n"
        assert (
            run("publish", "--jsonl", "-", input=lines).stdout
            == "1500 events stored, 1500 of them were stored before\n"
        )

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ("{not json", "line 1003 is not JSON at character 1 "),
            ('["a", "b"]', "line 1003 is no JSON object"),
            ('{"name": "a..b", "payload": 1}', "line 1003: name 'a..b' has an empty segment"),
            ('{"payload": 1}', "line 1003: name is missing"),
            ('{"name": "a", "payload": 1, "nmae": 2}', "line 1003: nmae is not a field"),
            ('{"name": "a", "payload": 1, "id": 5}', "line 1003: event_id"),
        ],
    )
    def test_the_first_bad_line_stops(self, run, bad, message):
        lines = '{"name": "a.b", "payload": 1}\n' * 1002 + bad + "\n" + '{"name": "a.b", "payload": 1}\n' * 5
        result = run("publish", "--jsonl", "-", input=lines, code=2)
        assert message in result.stderr
        assert "; 1002 events are stored" in result.stderr
        assert result.stderr.count("\n") == 1

    def test_another_content_under_an_id(self, run):
        line = '{"name": "a.b", "payload": %d, "id": "00000000-0000-4000-8000-000000000001"}\n'
        result = run("publish", "--jsonl", "-", input=line % 1 + line % 2, code=1)
        assert "line 2: event 00000000-0000-4000-8000-000000000001" in result.stderr
        assert "1 event is stored" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("a..b", "1"), "empty segment"),
            (("a.b", "{"), "payload is not JSON at character 1"),
            (("a.b", '"\\u0000"'), "payload"),
            ((), "--jsonl"),
            (("a.b", "--jsonl", "-"), "either"),
            (("--jsonl", "/nowhere/at/all"), "cannot be read"),
            (("--jsonl", "-", "--key", "k"), "stand in the lines"),
            (("a.b", "--id", "x"), "no UUID"),
        ],
    )
    def test_bad_input(self, run, arguments, message):
        assert message in run("publish", *arguments, code=2).stderr

    def test_dead_letters_of_an_unknown_subscription(self, run, dsn):
        register(dsn)
        for command in (("list",), ("list", "--blocked"), ("retry", "--yes"), ("discard", "--yes")):
            assert "did you mean billing?" in run("dead", *command, "--subscription", "biling", code=1).stderr
            shown = run("dead", *command, "--subscription", "elsewhere", code=1).stderr
            assert "no subscription 'elsewhere': holdfast subscriptions" in shown
            assert "billing" not in shown

    def test_a_time_span_that_ends_before_it_begins(self, run, dsn):
        register(dsn)
        for command in (("events",), ("dead", "list"), ("replay", "billing")):
            assert "until" in run(*command, "--since", "1h", "--until", "2h", code=2).stderr

    def test_leases_of_one_subscription(self, run, dsn):
        register(dsn, partitions=2)
        register(dsn, "mail", partitions=3)
        assert len(json.loads(run("leases", "--json").stdout)) == 5
        assert len(json.loads(run("leases", "--json", "--subscription", "mail").stdout)) == 3
        assert "did you mean mail?" in run("leases", "--subscription", "mial", code=1).stderr


class TestErrors:
    def test_an_unknown_command_gets_a_hint(self, run):
        assert "Did you mean status?" in run("stauts", code=2).stderr

    def test_an_unknown_scheme(self, run):
        for command in (("status",), ("migrate",), ("publish", "a.b")):
            assert "use postgresql://" in run(*command, "--dsn", "mysql://x", code=2).stderr

    @pytest.mark.parametrize(
        "dsn", ["garbage", "postgresql://host:abc/shop", "postgresql://h/db?no=such", "sqlite://x"]
    )
    def test_a_dsn_of_no_use_is_wrong_usage(self, run, dsn):
        assert run("status", "--dsn", dsn, code=2).stderr.startswith("holdfast: ")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--nonsense",), "--nonsense (main --help tells more)"),
            (("event",), "Missing argument ID (main event --help tells more)"),
            (("events", "--since", "x"), "x is no time"),
            (("dead", "discard", "--yes"), "say which"),
        ],
    )
    def test_wrong_usage_is_one_line_whoever_finds_it(self, run, arguments, message):
        shown = run(*arguments, code=2).stderr
        assert shown.startswith("holdfast: ")
        assert shown.count("\n") == 1
        assert message in shown.replace("'", "")

    def test_a_file_that_is_no_database(self, run, tmp_path):
        (tmp_path / "shop.db").write_text("hello " * 100)
        assert "not an SQLite database" in run("status", code=1).stderr

    def test_passwords_are_never_shown(self):
        for text in (
            "postgresql://ann:s3:cr/et@host/db failed",
            "host=x password='s3:cr/et' user=ann",
            "postgresql://host/db?password=s3:cr/et&user=ann",
        ):
            assert "s3:cr/et" not in without_password(text)
            assert "ann" in without_password(text)

    def test_a_server_that_is_not_there(self, run):
        result = run("status", "--dsn", "postgresql://ann:s3cret@127.0.0.1:1/db", code=1)
        assert "s3cret" not in result.output
        assert result.stderr.count("\n") == 1
        assert result.stderr.count("connection") == 1
        shown = run("doctor", "--dsn", "postgresql://127.0.0.1:1/db", code=1).stdout
        assert "\\n" not in shown

    def test_suggested_commands_lead_to_the_same_store(self, run, tmp_path, dsn):
        (tmp_path / "other.db").touch()
        other = f"sqlite:///{tmp_path / 'other.db'}"
        assert f"run holdfast migrate --dsn {other}" in run("status", "--dsn", other, code=1).stderr
        assert f"run  holdfast migrate --dsn {other}" in run("doctor", "--dsn", other, code=1).stdout
        (tmp_path / "shop.db").touch()
        assert "--dsn" not in run("status", "--dsn", dsn, code=1).stderr

    @pytest.mark.parametrize(
        ("error", "code"),
        [(InvalidEvent("name", "is bad", "mend it"), 2), (StoreUnavailable("away"), 1), (TypeError("x"), 1)],
    )
    def test_exit_codes(self, error, code):
        assert as_failure(error).exit_code == code

    def test_debugging_shows_the_traceback(self, run, monkeypatch):
        monkeypatch.setenv("HOLDFAST_DEBUG", "1")
        run("migrate")
        monkeypatch.setattr("holdfast.cli.status.show_status", lambda found: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            CliRunner().invoke(main, ["status"], catch_exceptions=False)


class TestRetention:
    @pytest.mark.parametrize(("retention", "said"), [(60.0, "1 event may"), (7 * 86_400.0, "0 events may")])
    def test_it_goes_by_what_the_workers_keep(self, run, dsn, retention, said):
        run("publish", "order.placed", "1")
        with closing(sqlite3.connect(dsn.removeprefix("sqlite:///"))) as connection:
            hour_ago = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S.%fZ}"
            connection.execute("insert into snapshots values (?, 1)", [hour_ago])
            connection.commit()
        keeping(dsn, retention)
        assert said in run("retention").stdout

    def test_of_those_that_keep_events_for_ever_nothing_can_be_said(self, run, dsn):
        run("publish", "order.placed", "1")
        keeping(dsn, math.inf)
        result = run("retention", code=1)
        assert "keep events for ever: say how old they are to be by --older-than" in result.stderr
        assert "0 events may" in run("retention", "--older-than", "30d").stdout


class TestOnPostgres:
    def test_the_whole_round(self, postgres_dsn, monkeypatch):
        monkeypatch.setenv("HOLDFAST_DSN", postgres_dsn)

        def invoke(*arguments: str, code: int = 0) -> Result:
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == code, result.output
            return result

        assert "run  holdfast migrate" in invoke("status", code=1).stderr.replace("run holdfast", "run  holdfast")
        assert "create table" in invoke("migrate", "--sql").stdout
        assert "applied 0001" in invoke("migrate").stdout
        assert invoke("migrate").stdout == f"store {postgres_dsn}, schema holdfast\nthe tables are up to date\n"
        event_id = invoke("publish", "order.placed", "{}").stdout.strip()
        register(postgres_dsn)
        assert invoke("replay", "billing", "--yes").stdout.startswith("1 of 1")
        assert invoke("event", event_id).exit_code == 0
        assert invoke("status").stdout.startswith("OK")
        assert "PROBLEM" not in invoke("doctor").stdout
        assert invoke("retention", "--run", "--yes").stdout.startswith("0 events dropped")
        assert "PostgreSQL drops days" in invoke("retention", "--older-than", "0s").stdout

    def test_a_missing_database_is_to_be_made(self, postgres_dsn):
        missing = f"{postgres_dsn}_gone"
        result = CliRunner().invoke(main, ["status", "--dsn", missing])
        assert f"make it with createdb {missing.rpartition('/')[2]}" in result.stderr


class TestSmallThings:
    @pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5h", 5400), ("30d", 2_592_000), ("1 w", 604_800)])
    def test_durations(self, text, seconds):
        assert duration(text) == seconds

    @pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1y"])
    def test_no_durations(self, text):
        with pytest.raises(click.BadParameter):
            duration(text)

    def test_times(self):
        assert moment("2030-01-31").isoformat() == "2030-01-31T00:00:00+00:00"
        assert moment("2030-01-31T12:00:00+02:00").isoformat() == "2030-01-31T10:00:00+00:00"
        with pytest.raises(click.BadParameter):
            moment("yesterday")

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("héllo 手", "héllo 手"),
            ("a\x1b[0m\n", "a\\x1b[0m\\n"),
            ("\u202e\u2028", "\\u202e\\u2028"),
            ("\ud800", "\\ud800"),
        ],
    )
    def test_clean(self, text, shown):
        assert clean(text) == shown

    def test_lengths_of_time(self):
        assert [lasted(s) for s in (0.25, 90, 600, 7300, 200_000)] == ["250 ms", "90 s", "10 min", "2 h", "2 d"]

    def test_times_as_seen_from_now(self):
        now = datetime.now(UTC)
        assert [ago(now + timedelta(seconds=s)) for s in (0, -180, 7500)] == ["now", "3 min ago", "in 2 h"]

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion(self, run, shell):
        assert "_HOLDFAST_COMPLETE" in run("completion", shell).stdout

    def test_every_command_has_help(self, run):
        assert isinstance(main, Commands)
        for name in main.homes:
            assert "Usage:" in run(name, "--help").stdout

    @pytest.mark.parametrize("group", [(), ("dead",), ("subscriptions",)])
    def test_no_line_of_a_list_of_commands_is_cut(self, run, group):
        listed = run(*group, "--help", terminal_width=80).stdout.partition("Commands:")[2]
        assert [line for line in listed.splitlines() if line.endswith("...") and "bench" not in line] == []

    def test_the_start_loads_little_and_no_driver(self):
        script = (
            "import sys; before = len(sys.modules); import holdfast.cli;"
            "assert not {'psycopg', 'sqlite3', 'rich', 'asyncio', 'holdfast.bus'} & set(sys.modules);"
            "assert len(sys.modules) - before < 150, sorted(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", script], check=True)


class TestSearching:
    def test_by_payload_and_correlation(self, run):
        first = run("publish", "order.placed", '{"order": {"id": 13}}').stdout.strip()
        run("publish", "order.placed", '{"order": {"id": 14}}')
        for asked in (("--payload", "order.id=13"), ("--correlation", first)):
            listed = json.loads(run("events", *asked, "--json").stdout)
            assert [one["id"] for one in listed["events"]] == [first]
        assert "write PATH=VALUE" in run("events", "--payload", "order.id", code=2).stderr

    def test_about_how_many(self, run):
        for _ in range(3):
            run("publish", "order.placed")
        run("publish", "cart.opened")
        assert run("events", "--count").stdout == "about 4 events\n"
        assert run("events", "--count", "--name", "order.*").stdout == "3 events\n"
        assert json.loads(run("events", "--count", "--json").stdout) == {"events": 4, "kind": "estimate"}
        assert "--count goes with" in run("events", "--count", "--status", "dead", code=2).stderr

    def test_how_far_it_looked_and_what_would_help(self, run, monkeypatch):
        for _ in range(3):
            run("publish", "order.placed")
        monkeypatch.setattr("holdfast.stores.searching.LOOKED_MAX", 2)
        told = run("events", "--tenant", "other").stderr
        assert "Looked at 2 events, back to 20" in told
        assert "holdfast indexes add tenant" in told
        assert run("indexes", "add", "tenant").stdout == "The index tenant is ready.\n"
        assert run("indexes", "add", "tenant").stdout == "The index tenant is ready already.\n"
        assert run("events", "--tenant", "other").stderr == ""
        assert json.loads(run("indexes", "--json").stdout)[4]["state"] == "ready"
        assert "search indexes: tenant" in run("doctor").stdout
        assert run("indexes", "drop", "tenant", "--yes").stdout == "The index tenant is dropped.\n"
        assert "there are causation" in run("indexes", "add", "tenants", code=1).stderr

    def test_the_causation_tree(self, run, tmp_path):
        first = run("publish", "order.placed").stdout.strip()
        line = {"name": "order.paid", "payload": 1, "headers": {"causation_id": first}}
        (tmp_path / "more").write_text(json.dumps(line))
        run("publish", "--jsonl", str(tmp_path / "more"))
        shown = run("event", first, "--causation").stdout.splitlines()
        assert shown[0].startswith(f"* {first} order.placed, tenant default, ")
        assert shown[1].startswith("  - ")
        assert len(json.loads(run("event", first, "--causation", "--json").stdout)["nodes"]) == 2

    def test_storage(self, run):
        run("publish", "order.placed")
        shown = run("storage").stdout
        assert "left on the disk" in shown
        assert [line.split() for line in shown.splitlines()][2:] == [
            ["TABLE", "ROWS"], ["attempts", "0"], ["audit", "0"], ["deliveries", "0"], ["event_log", "1"],
            ["receipts", "-"], ["scheduled", "0"], ["schedules", "0"], ["subscriptions", "0"],
        ]  # fmt: skip
        assert "deliveries_due_idx" in run("storage", "--indexes").stdout
        assert json.loads(run("storage", "--json").stdout)["tables"][3]["rows"] == 1


class TestGroups:
    def test_they_are_listed_and_retried_whole(self, run, dsn):
        register(dsn)
        for _ in range(3):
            run("publish", "order.placed")
        die(dsn)
        (group,) = json.loads(run("dead", "list", "--groups", "--json").stdout)["groups"]
        assert (group["count"], group["subscription"], group["error"]) == (3, "billing", "E")
        shown = run("dead", "list", "--groups").stdout
        assert group["fingerprint"] in shown
        assert "\x07" not in shown
        assert run("dead", "retry", "--fingerprint", "0" * 12, "--yes").stdout == "0 will be tried again.\n"
        asked = run("dead", "retry", "--fingerprint", group["fingerprint"], input="y\n").output
        assert f"Retry 3 dead letters of all subscriptions, fingerprint {group['fingerprint']}?" in asked
        assert run("dead", "list", "--groups").stdout == "No dead letters.\n"

    def test_two_lists_at_once_are_refused(self, run):
        run("migrate")
        assert "give one of them" in run("dead", "list", "--groups", "--blocked", code=2).stderr


class TestSkippingAndCorrecting:
    def test_skip_counts_first_and_asks(self, run, dsn):
        register(dsn)
        run("publish", "order.placed")
        assert run("skip", "billing", "--dry-run").stdout == "1 event would be passed over.\n"
        asked = run("skip", "billing", code=1, input="n\n").output
        assert "Pass over 1 event of billing for good?" in asked
        assert run("skip", "billing", "--yes").stdout == "billing goes on from now; 1 event passed over.\n"
        assert json.loads(run("status", "--json").stdout)["subscriptions"][0]["lag"] == 0

    def test_correcting_is_off_until_it_is_turned_on(self, run, dsn, monkeypatch):
        register(dsn)
        event_id = run("publish", "order.placed", '{"n": 1}').stdout.strip()
        die(dsn)
        command = ("dead", "correct", event_id, '{"n": 2}', "--subscription", "billing", "--yes")
        assert "is off" in run(*command, code=1).stderr
        monkeypatch.setenv("HOLDFAST_MAY_EDIT", "1")
        assert "payload" in run(*command[:3], "{", *command[4:], code=2).stderr
        new = run(*command).stdout.strip()
        assert json.loads(run("event", new, "--json").stdout)["payload"] == {"n": 2}
        rows = json.loads(run("audit", "--json").stdout)
        assert [(row["action"], row["allowed"]) for row in rows] == [
            ("dead correct", True), ("dead correct", False), ("dead correct", False),
        ]  # fmt: skip


class TestErase:
    def test_it_counts_asks_erases_and_tells_what_it_did_not_cover(self, run, dsn):
        register(dsn)
        event_id = run("publish", "order.placed", '{"mail": "ann@example.org"}', "--key", "ann").stdout.strip()
        die(dsn)
        whose = ("--tenant", "default", "--key", "ann")
        told = run("erase", *whose, "--dry-run").stdout
        assert told == "1 event and 1 delivery row of tenant default, key ann would be erased.\n"
        assert "for good?" in run("erase", *whose, code=1, input="n\n").output
        assert "ann@example.org" in run("event", event_id).stdout
        told = run("erase", *whose, "--yes", "--actor", "bob").stdout
        assert told.startswith("1 event and 1 delivery row and 1 error of an attempt are erased.\n")
        assert "\nNot covered:\n  tenant, key, name" in told
        shown = run("event", event_id).stdout
        assert "ann@example.org" not in shown
        assert "erased_by" in shown
        assert "bob" in shown
        found = json.loads(run("erase", *whose, "--dry-run", "--json").stdout)
        assert found == {"events": 0, "deliveries": 0, "keys": 0}

    def test_it_has_to_be_said_whose(self, run):
        run("migrate")
        assert "--tenant, --key or both" in run("erase", "--yes", code=2).stderr

    def test_the_spool_of_this_machine_is_covered(self, run, dsn):
        run("migrate")
        spool = Spool(default_directory(store_address(dsn)))
        spool.open()
        spool.append([NewEvent(uuid4(), "acme", "a", None, b'"ann@example.org"')])
        spool.close()
        found = json.loads(run("erase", "--tenant", "acme", "--yes", "--json").stdout)
        assert (found["events"], found["spooled"]) == (0, 1)
        assert not any(b"ann@example.org" in path.read_bytes() for path in spool.directory.iterdir())


def store_address(dsn: str) -> str:
    return make_store(dsn).address


class TestTenants:
    def test_status_and_one_event_of_a_tenant(self, run, dsn):
        register(dsn)
        event_id = run("publish", "order.placed", "--tenant", "acme").stdout.strip()
        for tenant, lag in (("acme", 1), ("other", 0)):
            found = json.loads(run("status", "--tenant", tenant, "--json").stdout)
            assert found["subscriptions"][0]["lag"] == lag
        assert event_id in run("event", event_id, "--tenant", "acme").stdout
        for more in ((), ("--causation",)):
            told = run("event", event_id, "--tenant", "other", *more, code=1).stderr
            assert "of tenant 'other'" in told
