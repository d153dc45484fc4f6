"""`holdfast seal` and `holdfast verify` as a person or a script meets them."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """No spool of this machine, and the store of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("HOLDFAST_DEBUG", raising=False)
    monkeypatch.setenv("HOLDFAST_DSN", f"sqlite:///{tmp_path / 'shop.db'}")


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


def tamper(tmp_path, statement: str) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute(statement)


def test_a_sound_log_and_a_changed_one(tmp_path):
    for _ in range(3):
        run("publish", "order.placed", "{}")
    assert run("seal").stdout == "3 events sealed in 1 link.\n"
    run("publish", "order.placed", "{}")
    assert run("verify").stdout == (
        "Nothing was changed: 3 events as sealed, 1 not sealed yet, 0 dropped by retention; 1 link of 1 day, 0 anchors.\n"
    )
    tamper(tmp_path, "update event_log set payload = '1' where position < 3")
    found = run("verify", "--limit", "1", code=1).stdout.splitlines()
    assert found[0].startswith("edited: event ")
    assert found[0].endswith("payload differs from what was sealed")
    assert found[1] == "and 1 finding more: --limit shows them"
    assert found[2].startswith("This log is not as it was sealed: 1 event as sealed, 2 edited, 1 not sealed yet")


def test_json_has_all_that_a_program_asks_for(tmp_path):
    run("publish", "order.placed", "{}")
    anchors = str(tmp_path / "anchors.jsonl")
    assert json.loads(run("seal", "--json", "--anchors", anchors).stdout) == {"events": 1, "segments": 1, "anchors": 1}
    sound = json.loads(run("verify", "--json", "--anchors", anchors).stdout)
    assert (sound["sound"], sound["summary"]["sealed"], sound["summary"]["anchors"]) == (True, 1, 1)
    tamper(tmp_path, "delete from event_log")
    changed = json.loads(run("verify", "--json", code=1).stdout)
    (finding,) = changed["findings"]
    assert (changed["sound"], finding["kind"], finding["position"]) == (False, "removed", 1)


def test_hostile_text_of_the_log_moves_no_cursor(tmp_path):
    run("publish", "order.placed", "{}")
    run("seal", "--actor", "ann")
    tamper(tmp_path, "update event_log set tenant_id = char(27) || '[2J' || char(8238)")
    output = run("verify", code=1).stdout
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_what_cannot_be_read_or_is_no_day_is_one_clear_line(tmp_path):
    assert "there is no store" in run("verify", code=1).stderr
    run("publish", "order.placed", "{}")
    assert "--day" in run("verify", "--day", "yesterday", code=2).stderr
    bad = tmp_path / "anchors.jsonl"
    bad.write_text("nothing of the kind\n")
    for command in ("seal", "verify"):
        result = run(command, "--anchors", str(bad), code=1)
        assert "line 1 of" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert "does not exist" in run("verify", "--anchors", str(tmp_path / "none"), code=2).stderr


def test_seal_every_goes_on_until_it_is_told_to_stop(tmp_path):
    run("publish", "order.placed", "{}")
    command = [sys.executable, "-m", "holdfast", "seal", "--every", "0.05s", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        rounds = rounds_of(process)
        assert next(rounds)["events"] == 1
        run("publish", "order.placed", "{}")
        assert next(one for one in rounds if one["events"])["events"] == 1
        process.send_signal(signal.SIGTERM)
        for _ in rounds:
            pass
    assert process.returncode == 0
    (row,) = [row for row in json.loads(run("audit", "--json").stdout) if row["action"] == "seal"]
    assert row["count"] == 2


def rounds_of(process: subprocess.Popen[str]) -> Any:
    """What each round printed."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            yield json.loads(text)
            text = ""
