"""The demo as a spectator runs it; and what keeps its claims honest: a loss that is planted is seen."""

from __future__ import annotations

import re
import subprocess
import sys
from uuid import UUID

import pytest

from holdfast.demo.audit import Books, Findings, audit
from holdfast.demo.ledger import Line
from holdfast.demo.report import COLUMNS, Row, table_lines, verdict
from holdfast.demo.scenarios import SCENARIOS
from holdfast.demo.workload import DEAD_LETTER, MAX_ATTEMPTS, Item, Manifest, read_items
from holdfast.errors import ConfigurationError

POISONED = 3


def run_demo(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "holdfast.demo", "--quick", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_the_demo_loses_nothing(store, tmp_path):
    tmp_path.joinpath("real.jsonl").write_text('{"name": "from.elsewhere", "payload": {"ü": [1, 2.5, null]}}\n')
    played = run_demo("--only", store, "--jsonl", "real.jsonl", cwd=tmp_path)
    assert played.returncode == 0, played.stdout + played.stderr
    header, *rows = table_of(played.stdout)
    assert header == list(COLUMNS)
    assert [row[1] for row in rows] == [scenario.title for scenario in SCENARIOS]
    for row in rows:
        published, handled, _, lost, dead = map(int, row[2:7])
        expected_dead = POISONED if row[1] == "handlers fail" else 0
        assert (published, handled, lost, dead) == (251, 251 - expected_dead, 0, expected_dead)
    assert "Lost: 0 of 1,004 events." in played.stdout


def table_of(text):
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("store "))
    return [re.split(r" {2,}", line) for line in (lines[start], *lines[start + 2 : start + 2 + len(SCENARIOS)])]


def test_a_bad_line_is_named_before_anything_starts(tmp_path):
    tmp_path.joinpath("bad.jsonl").write_text('{"name": "fine", "payload": 1}\n{"name": "not fine!", "payload": 1}\n')
    played = run_demo("--jsonl", "bad.jsonl", cwd=tmp_path)
    assert played.returncode == 1
    assert "bad.jsonl, line 2 is not an event" in played.stdout
    assert "worker" not in played.stdout


@pytest.mark.parametrize("line", ["{", "[]", '{"payload": 1}', '{"name": "a.b", "payload": NaN}'])
def test_lines_that_are_no_events_are_refused(line, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigurationError, match="line 1 is not an event"):
        read_items(path)


def test_an_id_may_stand_once(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"id": "01950000-0000-7000-8000-000000000001", "name": "a", "payload": 1}\n' * 2)
    with pytest.raises(ConfigurationError, match="line 2 repeats the id"):
        read_items(path)


# ---- the audit


class Played:
    """A small scenario in which all went well: two events of one key, and one that ended dead."""

    def __init__(self):
        self.manifest = Manifest()
        self.lines = []
        self.books = Books()
        for number, item in enumerate(
            [
                Item("order.placed", {"n": 1}, key="order-1"),
                Item("payment.captured", {"n": 2}, key="order-1"),
                Item("payment.captured", {"n": 3}, key="order-2", fails=MAX_ATTEMPTS),
            ],
            start=1,
        ):
            self.send(UUID(int=number), item)
        letter = Line("handled", UUID(int=99), DEAD_LETTER, "archive", 1, 0, "", 1)
        self.lines.append(letter)
        self.books.receipts[letter.event_id, "archive"] += 1

    def send(self, event_id, item):
        sent = self.manifest.prepare(item)
        self.manifest.sent[event_id] = sent
        for subscription in sorted(item.expected):
            line = Line("handled", event_id, item.name, subscription, 1, sent.sequence, sent.digest, 1)
            if subscription == "billing" and item.dies:
                self.lines += [line._replace(outcome="failed")] * item.fails
                self.books.dead.add((event_id, subscription))
            else:
                self.lines.append(line)
                self.books.receipts[event_id, subscription] += 1

    def index(self, number, subscription):
        return next(
            place for place, line in enumerate(self.lines)
            if (line.event_id, line.subscription) == (UUID(int=number), subscription)
        )  # fmt: skip

    def audit(self):
        return audit(self.manifest, self.lines, self.books)


def test_what_went_well_is_found_well():
    found = Played().audit()
    assert (found.published, found.handled, found.repeated, found.lost, found.dead) == (3, 2, 0, 0, 1)
    assert found.problems == []
    assert verdict([Row("SQLite", "planted", found, 1.0)])[0] == 0


def test_a_line_missing_from_the_ledger_is_a_loss_and_the_exit_code_says_so():
    played = Played()
    del played.lines[played.index(2, "billing")]
    found = played.audit()
    assert (found.handled, found.lost) == (1, 1)
    assert "events lost: 1" in found.problems
    assert "receipts for deliveries that no handler saw: 1" in found.problems
    code, lines = verdict([Row("SQLite", "planted", found, 1.0)])
    assert code == 1
    assert lines[0] == "Lost: 1 of 3 events."


def test_an_event_nobody_handled_is_lost_though_the_store_has_its_receipts():
    played = Played()
    played.lines = [line for line in played.lines if line.event_id != UUID(int=1)]
    assert played.audit().lost == 1


def test_repeats_are_counted_and_are_no_violation():
    played = Played()
    played.lines += played.lines[:2]
    found = played.audit()
    assert (found.repeated, found.problems) == (1, [])


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda p: p.lines.reverse(), "events that overtook an earlier one of their key: 2"),
        (lambda p: p.lines.append(p.lines[0]._replace(digest="other")), "handled payloads that differ from what was sent: 1"),
        (lambda p: p.lines.append(p.lines[0]._replace(event_id=UUID(int=7))), "events handled and never published: 1"),
        (lambda p: p.books.receipts.pop((UUID(int=1), "billing")), "handled deliveries without a receipt: 1"),
        (lambda p: p.books.receipts.update([(UUID(int=1), "billing")]), "receipts that stand twice: 1"),
        (lambda p: p.books.dead.clear(), "deliveries that should end dead and did not: 1"),
        (lambda p: p.books.dead.add((UUID(int=1), "archive")), "deliveries that ended dead and should not: 1"),
        (lambda p: p.lines.pop(p.index(3, "billing")), "failing events not tried as often as they should: 1"),
        (lambda p: p.lines.pop(), "dead letters that did not reach the archive: 1"),
    ],
)  # fmt: skip
def test_every_other_fault_is_named(spoil, problem):
    played = Played()
    spoil(played)
    assert any(found.startswith(problem) for found in played.audit().problems)


def test_an_empty_show_is_no_success():
    assert verdict([])[0] == 1


def test_the_table_fits_a_terminal_of_80_columns():
    found = Findings(published=100_251, handled=100_251)
    rows = [Row("PostgreSQL", scenario.title, found, 123.4) for scenario in SCENARIOS]
    assert max(map(len, table_lines(rows))) <= 80
