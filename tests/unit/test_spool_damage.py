"""Torn, truncated, bit-flipped and overwritten spool files: what was not hit survives, what was is set aside."""

from __future__ import annotations

import logging
import struct
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.errors import SpoolFull
from holdfast.spool import Spool
from holdfast.spool_format import HEADER_SIZE, PREFIX_SIZE, encode, encode_header
from tests.unit.spool_harness import FailingStep, UnsyncedSystem, drain, event, events_of

if TYPE_CHECKING:
    import pytest

    from holdfast.event import NewEvent

EVENTS = [event(n) for n in range(1, 6)]
STARTS = [HEADER_SIZE + sum(len(encode(e)) for e in EVENTS[:n]) for n in range(6)]
REMOVED = 2


def intact_file(directory: Path) -> bytes:
    """The bytes of a file with five records, of which the store has two."""
    spool = Spool(directory, system=UnsyncedSystem())
    spool.open()
    spool.append(EVENTS[:3])
    spool.append(EVENTS[3:])
    drain(spool, REMOVED)
    spool.close()
    (file,) = directory.iterdir()
    return file.read_bytes()


def reopened(directory: Path, content: bytes) -> Spool:
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    (directory / "00000001.spool").write_bytes(content)
    spool = Spool(directory, system=UnsyncedSystem())
    spool.open()
    return spool


def set_aside(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.glob("corrupt-*.bin")))


def test_cut_anywhere_the_records_before_the_cut_survive(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = intact_file(tmp_path / "intact")
    for length in range(len(content) + 1):
        caplog.clear()
        spool = reopened(tmp_path / "cut", content[:length])
        whole = [n for n in range(5) if STARTS[n + 1] <= length]
        expected = [EVENTS[n] for n in whole if n >= REMOVED or length < PREFIX_SIZE + 12]
        assert events_of(spool) == expected, length
        torn = max([start for start in STARTS if start <= length], default=length)
        if length > STARTS[REMOVED]:
            assert set_aside(tmp_path / "cut") == content[torn:length], length
            assert bool(caplog.records) == (bool(expected) or torn < length)
        assert drain(spool) == expected
        spool.close()
        assert not list((tmp_path / "cut").glob("*.spool"))


def test_any_bit_flipped_the_other_records_survive_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = intact_file(tmp_path / "intact")
    pending = EVENTS[REMOVED:]
    for at in range(len(content)):
        for bit in range(8):
            caplog.clear()
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            spool = reopened(tmp_path / "flip", bytes(flipped))
            hit = next((n for n in range(5) if STARTS[n] <= at < STARTS[n + 1]), None)
            head_hit = PREFIX_SIZE <= at < PREFIX_SIZE + 12
            expected = EVENTS if head_hit else [e for e in pending if hit is None or e != EVENTS[hit]]
            assert events_of(spool) == expected, (at, bit)
            if hit is not None and hit >= REMOVED:
                assert set_aside(tmp_path / "flip") == flipped[STARTS[hit] : STARTS[hit + 1]], (at, bit)
                assert any(record.levelno == logging.ERROR for record in caplog.records)
            else:
                assert set_aside(tmp_path / "flip") == b""
            spool.close()


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_is_overwritten_or_cut_out_the_rest_survives(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    events = data.draw(st.lists(st.builds(event, st.integers(1, 2**64)), min_size=1, max_size=8, unique=True))
    records = [encode(e) for e in events]
    hits = data.draw(st.sets(st.integers(0, len(events) - 1)))
    content = encode_header()
    for n, record in enumerate(records):
        if n in hits:
            start = data.draw(st.integers(0, len(record) - 1))
            end = data.draw(st.integers(start + 1, len(record)))
            content += record[:start] + data.draw(st.binary(max_size=40)) + record[end:]
        else:
            content += record
    spool = reopened(directory, content)
    survivors = events_of(spool)
    untouched = [e for n, e in enumerate(events) if n not in hits]
    assert [e for e in survivors if e in untouched] == untouched
    assert set(survivors) <= set(events)
    assert spool.depth == len(survivors)
    spool.close()


def test_damage_under_our_hands_is_noticed_while_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, system=UnsyncedSystem())
    spool.open()
    spool.append([event(1, key="a"), event(2, key="b"), event(3, key="c")])
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    second = content.index(b'{"n":2}')
    with file.open("r+b") as handle:
        handle.seek(second)
        handle.write(b"X")
    assert events_of(spool) == [event(1, key="a"), event(3, key="c")]
    assert [spool.pending("acme", key) for key in "abc"] == [True, False, True]
    assert spool.depth == 2
    assert b'X"n":2}' in set_aside(tmp_path)
    spool.append([event(4)])
    assert len(list(tmp_path.glob("*.spool"))) == 2, "a damaged file takes no more records"
    assert drain(spool) == [event(1, key="a"), event(3, key="c"), event(4)]
    assert len(caplog.records) == 1
    spool.close()


def test_a_file_that_is_nothing_but_damage_leaves_only_the_evidence(tmp_path: Path) -> None:
    spool = reopened(tmp_path, b"\xf5\xffHR" * 50)
    assert (spool.depth, events_of(spool)) == (0, [])
    spool.close()
    (evidence,) = tmp_path.iterdir()
    assert evidence.name.startswith("corrupt-00000001-32-")


def test_damage_that_cannot_be_copied_keeps_the_whole_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(intact_file(tmp_path / "intact"))
    content[STARTS[3] + 20] ^= 1
    reopened(tmp_path / "spool", bytes(content)).close()
    for path in (tmp_path / "spool").glob("corrupt*"):
        path.unlink()
    system = FailingStep("open_or_create")
    spool = Spool(tmp_path / "spool", system=system)
    spool.open()
    assert drain(spool) == [EVENTS[2], EVENTS[4]]
    (kept,) = (tmp_path / "spool").iterdir()
    assert kept.name.startswith("corrupt-")
    assert bytes(content)[HEADER_SIZE:] == kept.read_bytes()[HEADER_SIZE:]
    assert "cannot be copied" in caplog.text
    spool.close()


def test_a_file_of_a_later_release_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prefix = struct.pack("<8sI", b"HOLDFAST", 2)
    content = prefix + struct.pack("<I", zlib.crc32(prefix)) + bytes(100)
    spool = reopened(tmp_path, content)
    assert spool.depth == 0
    spool.append([event(1)])
    assert drain(spool) == [event(1)]
    spool.close()
    assert (tmp_path / "00000001.spool").read_bytes() == content
    assert "another release" in caplog.text


class SpoolAgainstList(RuleBasedStateMachine):
    """A spool does what a list does, whatever the restarts, kills, torn tails and quarantines in between."""

    @initialize(limit=st.sampled_from([1_000, 10_000, 2**28]))
    def start(self, limit: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.spool = Spool(Path(self.folder.name), limit=limit, system=UnsyncedSystem())
        self.spool.open()
        self.model: list[NewEvent] = []
        self.number = 0

    @rule(keys=st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=6), size=st.integers(0, 60))
    def append(self, keys: list[str | None], size: int) -> None:
        first = self.number + 1
        self.number += len(keys)
        group = [event(first + n, key=key, payload=b"x" * size) for n, key in enumerate(keys)]
        try:
            self.spool.append(group)
        except SpoolFull:
            assert self.spool.size + sum(len(encode(e)) for e in group) > self.spool.limit
        else:
            self.model += group

    @rule(peeked=st.integers(0, 9), removed=st.integers(0, 9))
    def drain(self, peeked: int, removed: int) -> None:
        records = self.spool.peek(peeked)
        assert [record.event for record in records] == self.model[:peeked]
        self.spool.remove(records[:removed])
        del self.model[: min(peeked, removed)]

    @rule()
    def quarantine(self) -> None:
        for record in self.spool.peek(1):
            self.spool.quarantine(record, "no")
            assert record.event == self.model.pop(0)

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.spool.open()

    @rule(length=st.integers(1, 40))
    def restart_with_a_torn_tail(self, length: int) -> None:
        self.spool.close()
        files = sorted(self.spool.directory.glob("*.spool"))
        if files:
            with files[-1].open("ab") as handle:
                handle.write(encode(event(2**100))[:length])
        self.spool.open()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.spool.depth == len(self.model)
        assert events_of(self.spool) == self.model
        for key in ("a", "b", "c"):
            assert self.spool.pending("acme", key) == any(e.key == key for e in self.model)
        assert self.spool.oldest_at == (self.model[0].occurred_at if self.model else None)
        assert bool(list(self.spool.directory.glob("*.spool"))) == bool(self.model)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()


TestSpoolAgainstList = SpoolAgainstList.TestCase
TestSpoolAgainstList.settings = settings(max_examples=60, stateful_step_count=30)
