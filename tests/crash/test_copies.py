"""Copies of an SQLite file that others write to: made as the documentation says, and made as it says not to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import ROOT, Bench, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADVICE = """copy with `sqlite3 shop.db "vacuum into 'copy.db'"`, or the backup API in one go"""
# 60 MiB: more than is copied between two commits of others.
LARGE = (
    "with recursive s(i) as (select 1 union all select i + 1 from s where i < 6000) "
    "insert into event_store (event_name, payload) select 'load.large', json_object('text', printf('%.10000c', 'x')) from s"
)


def by_statement(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("vacuum into ?", [str(target)])


def by_interface(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def by_cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", source, target], check=True)


@pytest.fixture
def copied(lite: Bench) -> Iterator[Bench]:
    """What opens the copy, and has its own ledger."""
    folder = lite.folder / "copy"
    folder.mkdir()
    copied = Bench(f"sqlite:///{folder / 'holdfast.db'}", folder)
    yield copied
    copied.close(failed=False)


def file_of(bench: Bench) -> Path:
    return Path(bench.dsn.removeprefix("sqlite:///"))


def log_of(bench: Bench) -> Path:
    """The write-ahead log beside the file."""
    return file_of(bench).with_name("holdfast.db-wal")


def stored(bench: Bench) -> set[str]:
    assert bench.run("pragma integrity_check") == [("ok",)]
    return {event_id for (event_id,) in bench.run("select id from event_log")}


def test_the_documentation_gives_the_advice_that_is_tested_here():
    assert ADVICE in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").replace("\n  ", " ")


@pytest.mark.parametrize("copy", [by_statement, by_interface])
def test_a_backup_of_a_file_in_use_has_all_that_was_acknowledged(
    lite: Bench, copied: Bench, copy: Callable[[Path, Path], None]
):
    subscriptions = {"effects": {"kind": "effect"}, "plain": {}}
    lite.work(subscriptions)
    lite.publish(keys=10, per_second=100, store_timeout=10)
    wait_until(lambda: len(lite.effects("effects")) > 50, "events are published and handled")
    acknowledged = lite.published()
    copy(file_of(lite), file_of(copied))
    assert acknowledged <= stored(copied)
    assert copied.effects("effects") == copied.receipts("effects"), "as of one moment"

    worker = copied.work(subscriptions)
    wait_until(lambda: copied.unsettled() == 0, "what the copy has not handled is handled")
    wait_until(lambda: worker.has_taken_over, "every take-over is through")
    assert worker.terminate() == 0
    assert copied.effects("effects") == copied.receipts("plain") == dict.fromkeys(stored(copied), 1)


class Written:
    """Events of two publishers, the second of which still runs: what it has stored is in the write-ahead log."""

    def __init__(self, bench: Bench) -> None:
        bench.publish(keys=10, per_key=3, store_timeout=10)
        wait_until(lambda: not bench.children[0].is_running, "the first publisher has ended")
        self.before = bench.published()
        self.publisher = bench.publish(keys=30, per_second=5, store_timeout=10)
        wait_until(lambda: len(bench.published()) >= 60, "the second has published")
        self.acknowledged = bench.published()


def test_cp_of_a_file_in_use_gives_what_it_was_some_time_ago_without_an_error(lite: Bench, copied: Bench):
    written = Written(lite)
    by_cp(file_of(lite), file_of(copied))
    assert stored(copied) == written.before != written.acknowledged
    worker = copied.work({"plain": {}})
    wait_until(lambda: copied.receipt_count("plain") == len(written.before), "it can be worked on")
    assert worker.terminate() == 0


def test_after_a_kill_the_file_is_whole_only_with_its_log(lite: Bench, copied: Bench):
    written = Written(lite)
    written.publisher.kill()
    by_cp(file_of(lite), file_of(copied))
    assert stored(copied) == written.before, "without the log: as it was some time ago"
    by_cp(log_of(lite), log_of(copied))
    assert written.acknowledged <= stored(copied)


def test_doctor_finds_a_copy_that_a_checkpoint_has_torn(lite: Bench, copied: Bench):
    published_by_one(lite)
    half = file_of(lite).stat().st_size // 2
    first = file_of(lite).read_bytes()[:half]
    published_by_one(lite)  # its goodbye moves what is in the log into the file
    file_of(copied).write_bytes(first + file_of(lite).read_bytes()[half:])
    assert copied.run("pragma integrity_check") != [("ok",)]
    with pytest.raises(AssertionError, match="integrity"):
        copied.command("doctor")


def published_by_one(bench: Bench) -> None:
    publisher = bench.publish(keys=10, per_key=30, store_timeout=10)
    wait_until(lambda: not publisher.is_running, "the publisher has ended")


def test_a_busy_file_is_looked_at_and_copied_in_one_go(lite: Bench, copied: Bench):
    lite.run(LARGE)
    lite.publish(keys=10, per_second=200, store_timeout=10)
    wait_until(lambda: len(lite.published()) > 20, "events are published")
    by_statement(file_of(lite), file_of(copied))
    before = len(lite.published())
    doctor = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "doctor", "--dsn", lite.dsn],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    try:
        wait_until(lambda: doctor.poll() is not None, "doctor has come to its end", 20)
    finally:
        doctor.kill()
        doctor.wait()
    assert doctor.returncode == 0
    assert len(lite.published()) > before, "others wrote meanwhile"
