"""The archive: what it writes, what it reads, and what is left of half a line."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from holdfast.archive import Archive, folder_name, read
from holdfast.errors import InvalidInput
from holdfast.event import Row
from holdfast.spool_file import System

if TYPE_CHECKING:
    from pathlib import Path

NOON = 43_200_000_000  # of the first of January 2000
A_DAY = 2 * NOON


def row(number: int, **fields: Any) -> Row:
    event_id = UUID(int=number).bytes
    found = Row(number, event_id, 0, 0, NOON, "acme", "order.placed", f"k{number}", b'{"n":%d}' % number, None)
    return found._replace(**fields)


def only_file(folder: Path) -> Path:
    (found,) = folder.rglob("*.jsonl")
    return found


class TestAFile:
    def test_is_of_one_subscription_and_of_the_day_on_which_its_events_occurred(self, tmp_path):
        Archive(tmp_path / "new" / "archive").add("billing", [row(1), row(2, occurred_at=NOON + A_DAY)])
        found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jsonl"))
        assert found == ["new/archive/billing/2000-01-01.jsonl", "new/archive/billing/2000-01-02.jsonl"]

    def test_has_one_line_for_each_event(self, tmp_path):
        Archive(tmp_path).add("billing", [row(1, headers=b'{"h":"1"}'), row(2, key=None)])
        first, second = [json.loads(line) for line in only_file(tmp_path).read_text().splitlines()]
        assert first == {
            "subscription": "billing", "id": str(UUID(int=1)), "name": "order.placed", "tenant_id": "acme", "position": 1,
            "occurred_at": "2000-01-01T12:00:00.000000Z", "payload": {"n": 1}, "key": "k1", "headers": {"h": "1"},
        }  # fmt: skip
        assert set(second) == set(first) - {"key", "headers"}

    def test_keeps_the_payload_as_written_but_for_breaks_of_lines(self, tmp_path):
        Archive(tmp_path).add("billing", [row(1, payload=b'{"a":  1.50,\r\n "b": "x\\ny"}')])
        (found,) = read(only_file(tmp_path))
        assert bytes(found.payload) == b'{"a":  1.50,   "b": "x\\ny"}'

    def test_is_for_its_owner_only(self, tmp_path):
        Archive(tmp_path / "archive").add("billing", [row(1)])
        file = only_file(tmp_path)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent, file.parent.parent)]
        assert modes == [0o600, 0o700, 0o700]

    def test_is_on_the_disk_with_its_name_when_it_is_told(self, tmp_path):
        class Watched(System):
            def __init__(self) -> None:
                self.synced: list[int] = []

            def sync(self, descriptor: int) -> None:
                self.synced.append(os.fstat(descriptor).st_ino)
                super().sync(descriptor)

        system = Watched()
        Archive(tmp_path / "archive", system).add("billing", [row(1)])
        folder = tmp_path / "archive" / "billing"
        file = folder / "2000-01-01.jsonl"
        assert system.synced == [one.stat().st_ino for one in (tmp_path, tmp_path / "archive", file, folder)]

    def test_a_disk_that_takes_nothing_is_an_error(self, tmp_path):
        class Full(System):
            def sync(self, descriptor: int) -> None:
                raise OSError(errno.ENOSPC, "full")

        with pytest.raises(OSError, match="full"):
            Archive(tmp_path, Full()).add("billing", [row(1)])


class TestAFolder:
    @pytest.mark.parametrize("name", ["billing", "app.handlers:bill", "a/b", "..", "x" * 200, "a:" * 100])
    def test_can_be_made_for_every_subscription(self, tmp_path, name):
        Archive(tmp_path).add(name, [row(1)])
        assert only_file(tmp_path).parent.parent == tmp_path
        (found,) = read(only_file(tmp_path))
        assert found.subscription == name

    def test_is_not_shared_by_long_names_that_begin_alike(self):
        assert folder_name("a:" * 99 + "b") != folder_name("a:" * 99 + "c")


class TestReading:
    def test_gives_each_event_once_in_the_order_of_the_lines(self, tmp_path):
        archive = Archive(tmp_path)
        archive.add("billing", [row(2), row(1)])
        archive.add("billing", [row(1), row(3)])
        assert [one.position for one in read(only_file(tmp_path))] == [2, 1, 3]

    @pytest.mark.parametrize("cut", [1, 8, 40, 120, -2, -1])
    def test_passes_over_half_a_line_behind_which_somebody_went_on(self, tmp_path, cut):
        archive = Archive(tmp_path)
        archive.add("billing", [row(1), row(2)])
        file = only_file(tmp_path)
        first, second = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(first + second[:cut])
        archive.add("billing", [row(2), row(3)])
        assert [one.position for one in read(file)] == [1, 2, 3]

    @pytest.mark.parametrize(
        "line", [b"no json\n", b"[1]\n", b'{"subscription":"billing"}\n', b'{"other":1}\n', b"\xff\n"]
    )
    def test_refuses_what_is_no_archive_and_names_the_line(self, tmp_path, line):
        Archive(tmp_path).add("billing", [row(1)])
        file = only_file(tmp_path)
        file.write_bytes(file.read_bytes() + line)
        with pytest.raises(InvalidInput, match=r"jsonl, line 2: "):
            list(read(file))
