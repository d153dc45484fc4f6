"""The spool as its user sees it: order, bounds, quarantine, refusals."""

from __future__ import annotations

import json
import logging
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BusStateError, ConfigurationError, SpoolError, SpoolFull
from holdfast.event import NewEvent
from holdfast.spool import AnySpool, MemorySpool, Spool, default_directory
from holdfast.spool_format import encode
from tests.unit.spool_harness import NOW, UnsyncedSystem, drain, event, events_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, system=UnsyncedSystem())
    spool.open()
    yield spool
    spool.close()


@pytest.fixture(params=["file", "memory"])
def any_spool(request: pytest.FixtureRequest, directory: Path) -> Iterator[AnySpool]:
    spool: AnySpool = Spool(directory, system=UnsyncedSystem()) if request.param == "file" else MemorySpool()
    spool.open()
    yield spool
    drain(spool)
    spool.close()


class TestAnySpool:
    def test_gives_back_what_it_took_in_order(self, any_spool: AnySpool) -> None:
        any_spool.append([event(1), event(2, key=None)])
        any_spool.append([event(3, payload="ü\U0001f600".encode())])
        assert events_of(any_spool) == [event(1), event(2, key=None), event(3, payload="ü\U0001f600".encode())]
        assert any_spool.depth == 3

    def test_peek_is_bounded_in_records_and_bytes_but_gives_one(self, any_spool: AnySpool) -> None:
        any_spool.append([event(n) for n in range(10)])
        assert [record.event for record in any_spool.peek(3)] == [event(0), event(1), event(2)]
        assert [record.event for record in any_spool.peek(10, max_bytes=1)] == [event(0)]
        assert any_spool.peek(0) == []

    def test_removes_only_the_first_records_of_the_last_peek(self, any_spool: AnySpool) -> None:
        any_spool.append([event(n) for n in range(4)])
        records = any_spool.peek(4)
        with pytest.raises(ValueError, match="not the first"):
            any_spool.remove(records[1:2])
        any_spool.remove(records[:1])
        any_spool.remove(records[1:3])
        with pytest.raises(ValueError, match="not the first"):
            any_spool.remove(records[:1])
        assert events_of(any_spool) == [event(3)]

    def test_knows_which_keys_wait(self, any_spool: AnySpool) -> None:
        any_spool.append([event(1, key="a"), event(2, key="a"), event(3, key="b"), event(4, key=None)])
        drain(any_spool, 1)
        assert any_spool.pending("acme", "a")
        assert not any_spool.pending("other", "a")
        drain(any_spool, 1)
        assert not any_spool.pending("acme", "a")
        assert any_spool.pending("acme", "b")

    def test_says_how_old_the_oldest_is(self, any_spool: AnySpool) -> None:
        assert any_spool.oldest_at is None
        any_spool.append([event(1), event(2)])
        any_spool.append([event(3)])
        assert any_spool.peek(0) == []
        assert any_spool.oldest_at == event(1).occurred_at
        any_spool.remove(any_spool.peek(3)[:1])
        assert any_spool.oldest_at == event(2).occurred_at
        drain(any_spool)
        assert any_spool.oldest_at is None

    @pytest.mark.parametrize("year", [1, 9999])
    def test_keeps_every_field_exactly(self, any_spool: AnySpool, year: int) -> None:
        moment = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
        odd = NewEvent(event(7).id, "t" * 255, "a.b", "ключ", b"[" + b"1," * 200_000 + b"1]", b"{}", moment)
        any_spool.append([odd, odd._replace(occurred_at=None, headers=None, key=None)])
        assert events_of(any_spool) == [odd, odd._replace(occurred_at=None, headers=None, key=None)]

    def test_takes_nothing_when_given_nothing(self, any_spool: AnySpool) -> None:
        any_spool.append([])
        any_spool.remove([])
        assert (any_spool.depth, any_spool.size) == (0, 0)


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_full_spool_refuses_the_whole_group_and_takes_more_once_drained(directory: Path, kind: str) -> None:
    spool: AnySpool = (
        Spool(directory, limit=2000, system=UnsyncedSystem()) if kind == "file" else MemorySpool(limit=2000)
    )
    spool.open()
    accepted = 0
    length = len(encode(event(0)))
    while spool.size + length + 32 < 2000:
        spool.append([event(accepted)])
        accepted += 1
    with pytest.raises(SpoolFull) as caught:
        spool.append([event(n) for n in range(2)])
    assert (caught.value.size, caught.value.limit) == (spool.size, 2000)
    assert 1000 < spool.size <= 2000
    with pytest.raises(SpoolFull):
        spool.append([event(n) for n in range(100)])
    assert drain(spool, 5) == [event(n) for n in range(5)]
    spool.append([event(100)])
    assert drain(spool) == [event(n) for n in range(5, accepted)] + [event(100)]
    assert spool.size == 0
    spool.close()


def test_files_and_directories_are_private_and_gone_when_empty(spool: Spool, directory: Path) -> None:
    spool.append([event(1)])
    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    drain(spool)
    assert list(directory.iterdir()) == []


def test_a_restart_finds_what_is_pending_and_only_that(directory: Path) -> None:
    spool = Spool(directory, limit=3000, system=UnsyncedSystem())  # files of some 190 bytes
    spool.open()
    for n in range(10):
        spool.append([event(n)])
    drain(spool, 3)
    spool.close()
    spool.open()
    assert spool.oldest_at == event(3).occurred_at
    assert spool.pending("acme", "k")
    assert spool.depth == 7
    spool.append([event(10)])
    assert drain(spool) == [event(n) for n in range(3, 11)]
    spool.close()
    assert list(directory.iterdir()) == []


def test_two_spools_of_one_process_share_a_directory(spool: Spool, directory: Path) -> None:
    spool.append([event(1)])
    other = Spool(directory, system=UnsyncedSystem())
    other.open()
    other.append([event(2)])
    assert (events_of(spool), events_of(other)) == ([event(1)], [event(2)])
    other.close()
    assert spool.adopt() == 1
    assert spool.adopt() == 0
    assert drain(spool) == [event(2), event(1)]  # left-overs first


def test_records_peeked_before_an_adoption_can_be_removed_after_it(spool: Spool, directory: Path) -> None:
    other = Spool(directory, system=UnsyncedSystem())
    other.open()
    other.append([event(1)])
    spool.append([event(2), event(3)])
    records = spool.peek(1)
    other.close()
    spool.adopt()
    spool.remove(records)
    assert events_of(spool) == [event(1), event(3)]


def test_quarantine_moves_the_first_record_aside(
    spool: Spool, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append([event(1, payload=b'{"secret":"\xff"}'), event(2)])
    first, second = spool.peek(2)
    with pytest.raises(ValueError, match="not the first"):
        spool.quarantine(second, "x")
    path = directory / "quarantine.jsonl"
    path.write_text('{"torn')  # by a process that died here
    spool.quarantine(first, "IdConflict")
    torn, line = path.read_text().splitlines()
    kept = json.loads(line)
    assert torn == '{"torn'
    assert (kept["id"], kept["tenant_id"], kept["key"]) == (str(event(1).id), "acme", "k")
    assert (kept["name"], kept["payload"], kept["reason"]) == ("order.placed", '{"secret":"\\xff"}', "IdConflict")
    assert datetime.fromisoformat(kept["time"]) > NOW
    assert events_of(spool) == [event(2)]
    (report,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(event(1).id) in report.getMessage()
    assert "secret" not in report.getMessage()


def test_memory_quarantine_and_close_say_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    spool = MemorySpool()
    spool.append([event(1), event(2)])
    spool.quarantine(spool.peek(1)[0], "IdConflict")
    assert events_of(spool) == [event(2)]
    spool.close()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "1 events of the memory spool are lost" in caplog.text


@pytest.mark.parametrize("below", ["", "sub/sub"])
def test_a_directory_that_cannot_be_is_refused(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()
    spool = Spool(file / below)
    with pytest.raises(SpoolError, match=r"cannot use .*file"):
        spool.open()
    spool.close()


def test_a_directory_that_vanishes_is_an_error_at_append(spool: Spool, directory: Path) -> None:
    directory.rmdir()
    with pytest.raises(SpoolError, match="cannot make a spool file"):
        spool.append([event(1)])


def test_a_file_deleted_by_somebody_else_takes_no_more_events(
    spool: Spool, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append([event(1)])
    (file,) = directory.iterdir()
    file.unlink()
    spool.append([event(2)])
    assert drain(spool, 1) == [event(1)]
    assert len(list(directory.iterdir())) == 1
    assert "deleted by somebody else" in caplog.text
    assert drain(spool) == [event(2)]


def test_a_closed_spool_refuses(directory: Path) -> None:
    spool = Spool(directory)
    for use in (lambda: spool.append([event(1)]), lambda: spool.peek(1), lambda: spool.remove([]), spool.adopt):
        with pytest.raises(BusStateError, match="not open"):
            use()
    spool.open()
    with pytest.raises(BusStateError, match="open already"):
        spool.open()
    spool.close()
    spool.close()


class TestDefaultDirectory:
    def test_follows_the_xdg_specification(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/me")
        assert default_directory("shop_1", {"XDG_STATE_HOME": "/state"}) == Path("/state/holdfast/shop_1")
        assert default_directory("shop", {"XDG_STATE_HOME": "relative"}) == Path("/home/me/.local/state/holdfast/shop")
        assert default_directory("shop", {}) == Path("/home/me/.local/state/holdfast/shop")

    def test_odd_ids_stay_inside_and_apart(self) -> None:
        ids = ["", ".", "..", "../../etc", "a/b", "a_b", "A_B", "a b", "é", "\0", "x" * 300, "x" * 301]
        paths = {default_directory(store_id, {"XDG_STATE_HOME": "/state"}) for store_id in ids}
        assert len(paths) == len(ids)
        assert {path.parent for path in paths} == {Path("/state/holdfast")}
        assert all(len(path.name) < 100 and path.name.isascii() and "." not in path.name for path in paths)

    def test_without_a_home_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        with pytest.raises(ConfigurationError, match="XDG_STATE_HOME"):
            default_directory("shop", {})
