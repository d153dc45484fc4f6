"""The spool of processes that are killed, that share a directory, and that fork."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BusStateError
from holdfast.spool import Spool
from tests.unit.spool_harness import drain, event, events_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Appends groups of three, prints the last number of each once it is accepted, and waits for a line after `count`.
WRITER = """
import sys
from pathlib import Path
from holdfast.spool import Spool
from tests.unit.spool_harness import event
directory, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spool = Spool(directory, limit=2**20)
spool.open()
for number in range(first, first + count, 3):
    spool.append([event(number), event(number + 1), event(number + 2)])
    print(number + 2, flush=True)
sys.stdin.readline()
spool.close()
"""


@contextmanager
def writer(directory: Path, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(first), str(count)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with process:
            yield process
    finally:
        process.kill()


def accepted(process: subprocess.Popen[str], groups: int) -> int:
    """Wait until *groups* more are accepted; the number of the last event."""
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(groups)][-1]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path)
    spool.open()
    yield spool
    spool.close()


@pytest.mark.parametrize("groups", [1, 40, 300])
def test_what_a_killed_process_had_acknowledged_is_adopted(tmp_path: Path, spool: Spool, groups: int) -> None:
    with writer(tmp_path, 0, 10**6) as process:
        accepted(process, groups)
        process.kill()
        assert process.stdout is not None
        last = max([int(line) for line in process.stdout], default=3 * groups - 1)
    assert spool.adopt() > 0
    found = events_of(spool)
    assert found == [event(n) for n in range(len(found))]
    assert last + 1 <= len(found) <= last + 4
    drain(spool)
    assert not list(tmp_path.glob("*.spool"))


def test_the_files_of_the_living_are_left_alone(tmp_path: Path, spool: Spool) -> None:
    spool.append([event(1000)])
    with writer(tmp_path, 0, 3) as one, writer(tmp_path, 100, 3) as two:
        accepted(one, 1)
        accepted(two, 1)
        assert spool.adopt() == 0
        assert drain(spool) == [event(1000)]
        two.communicate("\n")
        assert spool.adopt() == 1
        assert drain(spool) == [event(n) for n in (100, 101, 102)]
        one.kill()
        one.wait()
        assert spool.adopt() == 1
        assert drain(spool) == [event(n) for n in (0, 1, 2)]


def test_writers_at_the_same_time_keep_their_own_order(tmp_path: Path, spool: Spool) -> None:
    with writer(tmp_path, 0, 300) as one, writer(tmp_path, 1000, 300) as two:
        for group in range(100):
            spool.append([event(2000 + group)])
        one.communicate("\n")
        two.communicate("\n")
    assert spool.adopt() == 2
    found = [e.id.int for e in drain(spool)]
    for first, count in ((0, 300), (1000, 300), (2000, 100)):
        assert [n for n in found if first <= n < first + 1000] == list(range(first, first + count))


def in_child(check: object) -> None:
    child = os.fork()
    if child == 0:
        try:
            assert callable(check)
            check()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_fork_writes_into_a_file_of_its_own(tmp_path: Path, spool: Spool) -> None:
    spool.append([event(1)])

    def child() -> None:
        for use in (lambda: spool.append([event(2)]), lambda: spool.peek(1), spool.adopt):
            with pytest.raises(BusStateError, match="fork"):
                use()
        spool.close()
        spool.open()
        assert spool.depth == 0
        spool.append([event(3)])
        spool.close()

    in_child(child)
    spool.append([event(4)])
    assert drain(spool) == [event(1), event(4)]
    assert spool.adopt() == 1
    assert drain(spool) == [event(3)]


def test_a_fork_that_outlives_its_parent_holds_no_lock(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.open()
    spool.append([event(1)])
    ready, parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(parent[1])
        os.write(ready[1], b"!")
        os.read(parent[0], 1)  # until the parent closes its end
        os._exit(0)
    os.read(ready[0], 1)
    spool.close()
    try:
        other = Spool(tmp_path)
        other.open()
        assert drain(other) == [event(1)]
        other.close()
    finally:
        for descriptor in (*ready, *parent):
            os.close(descriptor)
        os.waitpid(child, 0)
