"""`holdfast scheduled`, `holdfast schedules` and `holdfast publish --at`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from holdfast import EventBus
from holdfast.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a new store."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOLDFAST_DSN", f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.delenv("HOLDFAST_SPOOL", raising=False)

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def _report(run: Run) -> None:
    """A schedule, registered by its program."""

    async def declare() -> None:
        async with EventBus(spool="off") as bus:
            bus.every("0 9 * * 1-5", lambda event: None, tz="Europe/Lisbon", name="report")
            await bus.publish("a")

    asyncio.run(declare())


def listed(run: Run, *command: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*command, "--json").output)
    return found


class TestScheduled:
    def test_what_is_published_for_later_is_listed_cancelled_and_moved(self, run: Run) -> None:
        event_id = run("publish", "order.reminder", '{"n": 1}', "--key", "k", "--at", "2h").output.strip()
        (found,) = listed(run, "scheduled")
        assert (found["event_id"], found["name"], found["key"]) == (event_id, "order.reminder", "k")
        due = datetime.fromisoformat(found["due_at"]) - datetime.now(UTC)
        assert timedelta(hours=1.9) < due < timedelta(hours=2)
        table = run("scheduled").output
        assert all(word in table for word in (event_id, "order.reminder", "DUE"))
        assert "is due at 2030-01-31T12:00:00+00:00" in run("scheduled", "move", event_id, "2030-01-31T12:00:00").output
        assert listed(run, "scheduled")[0]["due_at"] == "2030-01-31T12:00:00Z"
        assert listed(run, "scheduled", "--tenant", "other") == []
        assert "is cancelled" in run("scheduled", "cancel", event_id, "--actor", "ann").output
        assert "No event waits" in run("scheduled").output
        assert [one["action"] for one in listed(run, "audit")] == ["scheduled cancel", "scheduled move"]

    def test_what_does_not_wait_is_said(self, run: Run) -> None:
        run("publish", "a")
        unknown = str(uuid4())
        assert "does not wait" in run("scheduled", "cancel", unknown, code=1).output
        assert "does not wait" in run("scheduled", "move", unknown, "2h", code=1).output

    @pytest.mark.parametrize("when", ["tomorrow", "-2h", ""])
    def test_a_time_that_cannot_be_is_wrong_usage(self, run: Run, when: str) -> None:
        assert "in two hours" in run("publish", "a", "--at", when, code=2).output

    def test_lines_of_a_file_say_it_themselves(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "events.jsonl"
        file.write_text('{"name": "a", "payload": 1, "delay": 60}\n{"name": "b", "payload": 2}\n')
        run("publish", "--jsonl", str(file))
        assert [one["name"] for one in listed(run, "scheduled")] == ["a"]
        assert "stand in the lines" in run("publish", "--jsonl", str(file), "--at", "2h", code=2).output


@pytest.mark.usefixtures("_report")
class TestSchedules:
    def test_they_are_listed_with_when_they_come_next(self, run: Run) -> None:
        (found,) = listed(run, "schedules")
        assert (found["name"], found["rule"], found["zone"], found["missed"]) == (
            "report", "0 9 * * 1-5", "Europe/Lisbon", "once",
        )  # fmt: skip
        assert datetime.fromisoformat(found["next_at"]) > datetime.now(UTC)
        assert all(word in run("schedules").output for word in ("report", "0 9 * * 1-5", "NEXT"))

    def test_one_is_paused_and_goes_on(self, run: Run) -> None:
        assert "report is paused" in run("schedules", "pause", "report", "--actor", "ann").output
        assert "was paused already" in run("schedules", "pause", "report").output
        assert listed(run, "schedules")[0]["paused_by"] == "ann"
        assert "ann" in run("schedules").output
        assert "report goes on" in run("schedules", "resume", "report").output
        assert "was not paused" in run("schedules", "resume", "report").output

    def test_one_is_removed_and_one_that_is_not_there_is_named(self, run: Run) -> None:
        assert "no schedule 'reports'" in run("schedules", "pause", "reports", code=1).output
        run("schedules", "remove", "report")
        assert "There is no schedule" in run("schedules").output


class TestDoctor:
    def test_what_is_in_order_is_said(self, run: Run) -> None:
        run("publish", "a", "--at", "2h")
        assert "nothing is overdue" in run("doctor").output

    @pytest.mark.usefixtures("_report")
    def test_what_nobody_brings_into_the_log_is_a_problem(self, run: Run, tmp_path: Path) -> None:
        waiting = run("publish", "a", "--at", "2h").output.strip()
        refused = run("publish", "b", "--at", "3h").output.strip()
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as connection:
            connection.execute("update scheduled set due_at = '2001-01-01T00:00:00.000000Z' where id = ?", (waiting,))
            connection.execute("update scheduled set refused_at = due_at where id = ?", (refused,))
            connection.execute("update schedules set next_at = '2001-01-01T00:00:00.000000Z'")
        said = " ".join(run("doctor", code=1).output.split())
        assert "1 event overdue, the first since 2001-01-01 00:00:00Z" in said
        assert f"refused when due, as another event has the id: {refused}" in said
        assert "nobody makes events of report" in said
        assert "holdfast schedules remove NAME" in said
