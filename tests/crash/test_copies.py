"""Copies of an SQLite file that others write to: made as the documentation says, and made as it says not to."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import ROOT, Bench, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADVICE = 'copy with `sqlite3 shop.db ".backup copy.db"` or the backup API, never with `cp` while something runs'


def by_command(source: Path, target: Path) -> None:
    subprocess.run(["sqlite3", source, f".backup {target}"], check=True)


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


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(
            by_command,
            marks=pytest.mark.skipif(not shutil.which("sqlite3"), reason="the command sqlite3 is not installed"),
        ),
        by_interface,
    ],
)
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
