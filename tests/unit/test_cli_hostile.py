"""Hostile text on its way through the command line: names, errors, arguments, files. What a terminal obeys stays text."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main
from holdfast.cli.publish import LINE_BYTES_MAX, read_lines
from holdfast.cli.worker import OneLine
from holdfast.printable import clean_json
from holdfast.stores.values import Attempt, Parked, Settlement, State
from tests.bus.waiting import sql
from tests.unit.test_cli import register, with_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.stores.base import Store

# Colour, clear, title and C1's own CSI; a bidi override; line ends that forge a line; delete; a tag character.
OBEYED = "\x1b[31m\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2066\r\x08\x7f\u2028\U000e0041"
ID = "019b0000-0000-7000-8000-00000000000a"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOLDFAST_DSN", f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.delenv("HOLDFAST_DEBUG", raising=False)

    def invoke(*arguments: str, code: int = 0, **options: Any) -> Result:
        result = CliRunner().invoke(main, arguments, **options)
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def hostile(run: Callable[..., Result], tmp_path: Path) -> str:
    """DSN of a store where everything that a stranger can choose is hostile."""
    dsn = f"sqlite:///{tmp_path / 'shop.db'}"
    register(dsn)
    line = {"name": "order.placed", "payload": {OBEYED: OBEYED}, "headers": {OBEYED: OBEYED},
            "tenant_id": f"t{OBEYED}", "key": f"k{OBEYED}", "id": ID}  # fmt: skip
    run("publish", "--jsonl", "-", input=json.dumps(line) + "\n")

    async def die(store: Store) -> None:
        (subscription,) = await store.subscriptions()
        worker = UUID(int=1)
        (lease,) = await store.acquire(worker, {subscription.id: 1}, ttl=30)
        reader = await store.reader()
        (row,) = (await reader.read(lease.cursor, limit=9, max_bytes=2**20)).rows
        await reader.close()
        settlement = Settlement({lease.slice: lease.epoch})
        settlement.parked.append(Parked(lease.slice, row, State.DEAD, 1, reason=f"r{OBEYED}"))
        settlement.attempts.append(
            Attempt(lease.slice, row.id, row.day, 1, "failed", f"E{OBEYED}", f"m{OBEYED}", f"a\n{OBEYED}", 0.1)
        )
        await store.settle(settlement)
        await store.leave(worker)

    with_store(dsn, die)
    run("pause", "billing", "--actor", f"a{OBEYED}")
    # What our own door refuses, another program can still write.
    sql(dsn, "update subscriptions set name = ?, patterns = ?", f"s{OBEYED}", json.dumps([f"p{OBEYED}"]))
    sql(
        dsn, "insert into workers (id, host, boot_id, pid, pid_started, version, subscriptions, started_at, heartbeat_at) "
        "select ?, ?, ?, 1, ?, ?, ?, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'", UUID(int=2).bytes, *[f"h{OBEYED}"] * 4, "[1]",
    )  # fmt: skip
    return dsn


LOOKING = [
    ("status",), ("events",), ("event", ID), ("dead", "list"), ("dead", "list", "--blocked"), ("subscriptions",),
    ("workers",), ("leases",), ("audit",), ("replay", "--list"), ("doctor",), ("retention",),
]  # fmt: skip


class TestWhatATerminalObeys:
    @pytest.mark.parametrize("command", LOOKING, ids=" ".join)
    def test_never_reaches_it_as_a_table_or_as_json(self, run, hostile, command):
        for form in ((), ("--json",)) if command != ("retention",) else ((),):
            result = CliRunner().invoke(main, [*command, *form])
            assert result.exit_code in {0, 1}, result.output
            assert "unexpected" not in result.stderr, result.stderr
            self.is_harmless(result)
            if form:
                json.loads(result.stdout)

    def test_is_shown_as_what_it_is(self, run, hostile):
        assert "t\\x1b[31m\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202e\\u2066\\r\\x08\\x7f\\u2028\\U000e0041" in (
            run("event", ID).stdout
        )
        shown = json.loads(run("event", ID, "--json").stdout)
        assert (shown["tenant_id"], shown["payload"]) == (f"t{OBEYED}", {OBEYED: OBEYED})

    @pytest.mark.parametrize(
        "command",
        [
            ("pause", OBEYED), ("resume", OBEYED), ("replay", OBEYED), ("event", OBEYED), ("leases", "--subscription", OBEYED),
            ("publish", OBEYED), ("publish", "a", OBEYED), ("publish", "a", "--id", OBEYED), ("publish", "--jsonl", OBEYED),
            ("events", "--since", OBEYED), ("events", "--name", OBEYED), ("events", "--status", OBEYED), (OBEYED,),
            ("events", f"--{OBEYED}"), ("worker", f"{OBEYED}:x"), ("worker", f"json:{OBEYED}"), ("dead", OBEYED),
            ("subscriptions", "rename", OBEYED, "x"), ("subscriptions", "remove", OBEYED, "--yes"), ("completion", OBEYED),
            ("status", "--dsn", f"sqlite:///{OBEYED}"), ("status", "--dsn", OBEYED), ("bench", "--dsn", OBEYED),
            ("status", "--dsn", "postgresql://127.0.0.1:1/x", "--schema", OBEYED), ("migrate", OBEYED),
        ],
        ids=lambda command: ascii(" ".join(command))[:40],
    )  # fmt: skip
    def test_comes_back_harmless_in_the_one_line_of_an_error(self, run, command):
        result = CliRunner().invoke(main, command)
        assert result.exit_code in {1, 2}
        self.is_harmless(result)
        assert result.stderr.startswith("holdfast: ")
        assert result.stderr.count("\n") == 1
        assert "unexpected" not in result.stderr

    @staticmethod
    def is_harmless(result: Result) -> None:
        shown = result.stdout + result.stderr
        assert not set(OBEYED).intersection(shown) - set("[31m2J]0;owned"), ascii(shown)

    def test_neither_forges_a_line_of_a_workers_log_nor_moves_its_cursor(self):
        try:
            raise RuntimeError(OBEYED)
        except RuntimeError:
            record = logging.LogRecord("n", 40, "p", 1, "event %s\nERROR forged", (OBEYED,), sys.exc_info())
        message, *trace = OneLine("%(levelname)s %(message)s").format(record).split("\n")
        assert message.endswith("\\nERROR forged")
        assert trace[0].startswith("Traceback")
        assert not set("\x1b\x9b\u202e\x07\x7f\u2028") & set(message + "".join(trace))

    def test_json_says_the_same_with_and_without(self):
        text = json.dumps({"a": [OBEYED, "é", "日本", "😀"]}, ensure_ascii=False, indent=2)
        assert json.loads(clean_json(text)) == json.loads(text)
        assert clean_json(text).replace("\n", "").isprintable()
        assert "😀" in clean_json(text)


class TestArgumentsThatNoStoreHolds:
    @pytest.mark.parametrize("text", ["\udcff", "a\x00b"], ids=ascii)
    @pytest.mark.parametrize("option", ["--tenant", "--key", "--error", "--subscription"])
    def test_are_wrong_usage_that_names_the_field(self, run, option, text):
        run("migrate")
        for command in (("dead", "list"), ("dead", "retry", "--yes"), ("events",)):
            if option in {"--error", "--subscription"} and command == ("events",):
                continue
            assert option.removeprefix("--") in run(*command, option, text, code=2).stderr

    def test_numbers_beyond_64_bits(self, run):
        run("migrate")
        for command in (("events",), ("dead", "list"), ("audit",)):
            for number in ("0", "-1", str(2**63), "9" * 5000):
                assert "--before" in run(*command, "--before", number, code=2).stderr

    @pytest.mark.parametrize("actor", ["", "\udcff", "a\x00", "x" * 256], ids=lambda one: ascii(one)[:10])
    def test_an_actor_who_could_not_be_recorded_acts_not(self, run, tmp_path, actor):
        register(f"sqlite:///{tmp_path / 'shop.db'}")
        assert "actor" in run("pause", "billing", "--actor", actor, code=2).stderr
        assert run("audit").stdout == "Nothing was done yet.\n"
        assert run("pause", "billing").stdout == "billing is paused.\n"


GOOD = b'{"name": "a.b", "payload": 1}\n'


class TestFiles:
    @pytest.mark.parametrize(
        ("bad", "problem"),
        [
            (b'\xef\xbb\xbf{"name": "a", "payload": 1}', "line 4 is not JSON at character 0"),
            (b'{"name": "a", "payload": "\xff"}', "line 4 is not UTF-8 at byte 26"),
            ('{"name": "a", "payload": 1}'.encode("utf-16"), "line 4 is not UTF-8 at byte 0"),
            (b"\x00", "line 4 is not JSON at character 0"),
            (b'{"name": "a\x00", "payload": 1}', "line 4 is not JSON at character 11"),
            (b'{"name": "a", "payl', "line 4 is not JSON at character 19"),
            (b'{"name": "a", "payload": 1} {}', "line 4 is not JSON at character 28"),
            (b'"name"', "line 4 is no JSON object"),
            (b"[" * 100_000, "line 4 is nested deeper than 64"),
            (b'{"name": "a", "payload": ' + b"[" * 65 + b"]" * 65 + b"}", "is nested deeper than 64"),
            (b'{"name": "a", "name": "b", "payload": 1}', "line 4: name is a key that appears twice"),
            (b'{"name": "a", "payload": {"x": [{"y": 1, "y": 2}]}}', "line 4: payload.x[0].y is a key that appears twice"),
            (b'{"name": "a", "payload": {"x": "\\u0000"}}', "line 4: payload.x has the character U+0000"),
            (b'{"name": "a", "payload": ["\\ud800"]}', "line 4: payload[0] has the lone surrogate U+D800"),
            (b'{"name": "a", "payload": NaN}', "line 4: payload is NaN or infinite"),
            (b'{"name": "a", "payload": 1e999}', "line 4: payload is NaN or infinite"),
            (b'{"name": "a", "payload": ' + b"9" * 5000 + b"}", "line 4: payload is an integer beyond 64 bits"),
            (b'{"name": 5, "payload": 1}', "line 4: name is of type int"),
            (b'{"name": "a", "payload": 1, "tenant_id": 5}', "line 4: tenant_id is of type int"),
            (b'{"name": "a", "payload": 1, "key": []}', "line 4: key is of type list"),
            (b'{"name": "a", "payload": 1, "headers": {"h": 1}}', "line 4: headers.h is of type int"),
            (b'{"name": "a", "payload": 1, "occurred_at": "2020-01-01T00:00:00"}', "line 4: occurred_at is naive"),
            (b'{"name": "a", "payload": 1, "id": "00000000-0000-0000-0000-000000000000"}', "line 4: event_id is the nil"),
            (b'{"name": "a", "payload": 1, "__class__": "os.system"}', "line 4: __class__ is not a field"),
            (b'{"name": "a", "payload": "' + b"x" * 2**20 + b'"}', "line 4: payload has 1048578 bytes"),
            (b"x" * (LINE_BYTES_MAX + 1), "line 4 is longer than 32.0 MiB"),
        ],
        ids=lambda one: ascii(one)[:40],
    )  # fmt: skip
    def test_a_bad_line_is_named_with_the_count_of_what_is_stored(self, run, bad, problem):
        result = run("publish", "--jsonl", "-", input=GOOD + b"\r\n \t\n"[:2] + GOOD + bad + b"\n" + GOOD, code=2)
        assert problem in result.stderr
        assert "; 2 events are stored" in result.stderr
        assert result.stderr.count("\n") == 1
        assert len(json.loads(run("events", "--json").stdout)["events"]) == 2

    def test_line_ends_of_either_kind_blank_lines_and_none_at_the_end(self, run):
        text = GOOD.replace(b"\n", b"\r\n") + b"\r\n \t\n\n" + GOOD + GOOD.rstrip()
        assert run("publish", "--jsonl", "-", input=text).stdout == "3 events stored\n"
        assert run("publish", "--jsonl", "-", input=b"").stdout == "0 events stored\n"

    def test_a_file_without_line_ends_is_not_read_into_memory(self):
        class Endless(io.RawIOBase):
            asked = 0

            def readable(self) -> bool:
                return True

            def readline(self, size: int | None = -1, /) -> bytes:
                assert size is not None
                assert 0 < size <= LINE_BYTES_MAX + 1
                Endless.asked += 1
                return b"x" * size

        with pytest.raises(ValueError, match="line 1 is longer than"):
            next(read_lines(Endless()))  # type: ignore[arg-type]
        assert Endless.asked == 1

    def test_an_argument_is_checked_as_it_was_written(self, run):
        assert "payload.a is a key that appears twice" in run("publish", "a", '{"a": 1, "a": 2}', code=2).stderr
        assert "payload is not UTF-8 at byte 1" in run("publish", "a", '"\udcff"', code=2).stderr
        assert "payload is NaN" in run("publish", "a", "NaN", code=2).stderr
