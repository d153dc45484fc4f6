"""A spool on a disk that fails at any step, and on a machine that goes down at any step."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import SpoolError
from holdfast.spool import Spool
from holdfast.spool_format import encode
from tests.unit.spool_harness import (
    CountedSystem,
    FailingStep,
    FailingSystem,
    Killed,
    PowerCut,
    ShortWrites,
    UnsyncedSystem,
    drain,
    event,
    events_of,
    is_subsequence,
)

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.event import NewEvent
    from holdfast.spool_file import System

ENDLESS = 10_000


class History:
    """Uses a spool in every way and notes what it was told."""

    def __init__(self) -> None:
        self.accepted: list[NewEvent] = []
        self.refused: list[NewEvent] = []
        self.given: list[NewEvent] = []  # to the store: `remove` was called, whether it came through or not
        self.removed: list[NewEvent] = []  # `remove` came through
        self.set_aside: list[NewEvent] = []
        self.number = 0

    def run(self, spool: Spool) -> None:
        for _ in range(3):
            self.open(spool)
            self.append(spool, 1)
            self.append(spool, 3)
            self.drain(spool, 2)
            self.append(spool, 2)
            self.quarantine(spool)
            self.append(spool, 1)
            spool.close()
        self.open(spool)
        self.drain(spool, ENDLESS)
        self.append(spool, 2)
        spool.close()

    def open(self, spool: Spool) -> None:
        with contextlib.suppress(SpoolError):
            spool.open()
            return
        spool.open()  # the fault was a passing one

    def append(self, spool: Spool, count: int) -> None:
        group = [event(self.number + n) for n in range(count)]
        self.number += count
        try:
            spool.append(group)
        except SpoolError:
            self.refused += group
        else:
            self.accepted += group

    def drain(self, spool: Spool, count: int) -> None:
        with contextlib.suppress(SpoolError):
            records = spool.peek(count)
            self.given += [record.event for record in records]
            spool.remove(records)
            self.removed += [record.event for record in records]

    def quarantine(self, spool: Spool) -> None:
        with contextlib.suppress(SpoolError):
            for record in spool.peek(1):
                self.set_aside.append(record.event)
                spool.quarantine(record, "no")

    def check(self, directory: Path) -> list[NewEvent]:
        """After a restart: all that was accepted is pending, given to the store, or in quarantine."""
        spool = Spool(directory, system=UnsyncedSystem())
        spool.open()
        pending = events_of(spool)
        spool.close()
        lines = directory / "quarantine.jsonl"
        ids = {json.loads(line)["id"] for line in lines.read_text().splitlines()} if lines.exists() else set()
        quarantined = [e for e in self.set_aside if str(e.id) in ids]
        wanted = [e for e in self.accepted if e not in self.given and e not in quarantined]
        assert is_subsequence(wanted, pending)
        assert len(set(pending)) == len(pending)
        assert pending == sorted(pending, key=lambda e: e.id.int)
        return pending


def abandoned(spool: Spool, system: CountedSystem) -> None:
    """The process is gone, and with it its locks."""
    system.end_of_process()
    spool._files = []


def spool_on(directory: Path, system: System) -> Spool:
    return Spool(directory, limit=16 * 400, system=system)


def test_no_accepted_event_is_lost_wherever_the_process_is_killed(tmp_path: Path) -> None:
    for fatal in range(1, ENDLESS):
        directory, history, system = tmp_path / str(fatal), History(), PowerCut(fatal)
        spool = spool_on(directory, system)
        try:
            history.run(spool)
        except Killed:
            abandoned(spool, system)
            assert not set(history.check(directory)) & set(history.removed)
        else:
            break
    assert fatal > 80


def test_no_accepted_event_is_lost_wherever_the_power_is_cut(tmp_path: Path) -> None:
    for fatal in range(1, ENDLESS):
        directory, survivors = tmp_path / f"{fatal}", tmp_path / f"{fatal}-survivors"
        history, system = History(), PowerCut(fatal)
        spool = spool_on(directory, system)
        try:
            history.run(spool)
        except Killed:
            abandoned(spool, system)
            system.survivors(directory, survivors)
            assert not set(history.check(survivors)) & set(history.removed)
            assert not history.accepted or system.keeps(directory)
        else:
            break
    assert {"write", "sync", "sync_directory", "create", "open", "unlink", "make_directory"} <= set(system.steps)


def test_a_passing_fault_at_any_step_loses_nothing_and_accepts_nothing_refused(tmp_path: Path) -> None:
    failed = set()
    for fatal in range(1, ENDLESS):
        history, system = History(), FailingSystem(fatal)
        history.run(spool_on(tmp_path / str(fatal), system))
        pending = history.check(tmp_path / str(fatal))
        assert not set(pending) & set(history.refused)
        assert not set(history.given) & set(history.refused)
        if not system.failed:
            break
        failed.update(system.failed)
    assert {"write", "sync", "sync_directory", "create", "open", "read", "unlink"} <= failed


def test_a_lasting_fault_from_any_step_on_loses_nothing(tmp_path: Path) -> None:
    for fatal in range(1, ENDLESS):
        history, system = History(), FailingSystem(fatal, stays_down=True)
        spool = spool_on(tmp_path / str(fatal), system)
        with contextlib.suppress(SpoolError):  # raised where even `open` fails for good
            history.run(spool)
        spool.close()
        history.check(tmp_path / str(fatal))
        if not system.failed:
            break
    assert fatal > 80


@pytest.mark.parametrize("most", [1, 7, 100])
def test_short_writes_are_carried_on(tmp_path: Path, most: int) -> None:
    spool = Spool(tmp_path, system=ShortWrites(most))
    spool.open()
    spool.append([event(1), event(2)])
    spool.quarantine(spool.peek(1)[0], "no")
    spool.close()
    spool.open()
    assert drain(spool) == [event(2)]
    spool.close()


def test_a_disk_that_fills_up_in_mid_record_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    length = len(encode(event(1)))
    for room in range(length + 1):
        system = ShortWrites(most=2**20)
        directory = tmp_path / str(room)
        spool = Spool(directory, system=system)
        spool.open()
        spool.append([event(1)])
        (file,) = directory.iterdir()
        before = file.read_bytes()
        system.room = room
        with pytest.raises(SpoolError, match="No space left on device"):
            spool.append([event(3), event(5)])
        assert file.read_bytes() == before
        system.room = 2**20
        spool.append([event(7)])
        assert drain(spool) == [event(1), event(7)]
        spool.close()


class TestFailedSync:
    """The kernel may drop the pages it could not write and call the next sync a success."""

    def test_the_file_takes_no_more_and_gives_what_it_had(self, tmp_path: Path) -> None:
        system = FailingStep()
        spool = Spool(tmp_path, system=system)
        spool.open()
        spool.append([event(1)])
        system.failing = {"sync"}
        with pytest.raises(SpoolError, match=r"not accepted.*same event_id"):
            spool.append([event(2)])
        system.failing = set()
        spool.append([event(3)])
        assert len(list(tmp_path.iterdir())) == 2
        assert events_of(spool) == [event(1), event(3)]
        spool.close()
        spool.open()
        assert drain(spool) == [event(1), event(3)]
        spool.close()

    def test_a_disk_that_keeps_failing_fills_no_directory(self, tmp_path: Path) -> None:
        system = FailingStep("sync")
        spool = Spool(tmp_path, system=system)
        spool.open()
        for n in range(5):
            with pytest.raises(SpoolError):
                spool.append([event(n)])
        assert list(tmp_path.iterdir()) == []
        assert (spool.depth, spool.size, spool.oldest_at) == (0, 0, None)
        spool.close()

    def test_of_the_head_is_no_error_and_costs_a_repetition_at_most(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        system = FailingStep()
        spool = Spool(tmp_path, system=system)
        spool.open()
        spool.append([event(1), event(2)])
        system.failing = {"sync"}
        assert drain(spool, 1) == [event(1)]
        assert "a restart may send it again" in caplog.text
        system.failing = set()
        spool.append([event(3)])
        assert len(list(tmp_path.iterdir())) == 2
        assert drain(spool) == [event(2), event(3)]
        spool.close()


def test_a_file_that_cannot_be_cut_back_takes_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    system = FailingStep()
    spool = Spool(tmp_path, system=system)
    spool.open()
    spool.append([event(1)])
    system.failing = {"write", "truncate"}
    with pytest.raises(SpoolError):
        spool.append([event(2)])
    system.failing = set()
    spool.append([event(3)])
    assert "cannot cut" in caplog.text
    assert len(list(tmp_path.iterdir())) == 2
    assert drain(spool) == [event(1), event(3)]
    spool.close()


def test_a_quarantine_that_fails_keeps_the_record(tmp_path: Path) -> None:
    system = FailingStep()
    spool = Spool(tmp_path, system=system)
    spool.open()
    spool.append([event(1)])
    (record,) = spool.peek(1)
    system.failing = {"sync"}
    with pytest.raises(SpoolError, match=r"quarantine\.jsonl"):
        spool.quarantine(record, "no")
    assert (tmp_path / "quarantine.jsonl").read_bytes() == b""
    system.failing = set()
    spool.quarantine(record, "no")
    assert spool.depth == 0
    spool.close()


def test_a_file_that_cannot_be_read_now_is_left_for_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, system=UnsyncedSystem())
    spool.open()
    spool.append([event(1)])
    spool.close()
    system = FailingStep("read")
    spool = Spool(tmp_path, system=system)
    spool.open()
    assert spool.depth == 0
    assert "its events wait there" in caplog.text
    system.failing = set()
    assert spool.adopt() == 1
    system.failing = {"read"}
    with pytest.raises(SpoolError, match="cannot read"):
        spool.peek(1)
    system.failing = set()
    assert drain(spool) == [event(1)]
    spool.close()


LIMITED_WRITER = """
import resource, sys
from pathlib import Path
from holdfast.errors import SpoolError
from holdfast.spool import Spool
from tests.unit.spool_harness import event
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
spool = Spool(Path(sys.argv[1]))
spool.open()
try:
    for number in range(1000):
        spool.append([event(number)])
        print(number, flush=True)
except SpoolError as error:
    print(error, file=sys.stderr)
"""


def test_a_kernel_that_refuses_more_bytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED_WRITER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "File too large" in done.stderr
    accepted = [event(int(line)) for line in done.stdout.split()]
    assert accepted
    spool = Spool(tmp_path)
    spool.open()
    assert drain(spool) == accepted
    spool.close()
    assert list(tmp_path.iterdir()) == []
