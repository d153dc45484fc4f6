"""Erasing in the spool: no event is lost by it, and no byte of the person stays in files that are ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.erased import MASK
from holdfast.errors import SpoolError
from holdfast.spool import Spool
from holdfast.spool_erasing import SpoolErased, erase_spool
from tests.unit.spool_harness import event, events_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT = "2030-01-31T12:00:00Z"
ANN = {"tenant_id": None, "key": "ann"}
SECRET = b"ann@example.org"


def fill(folder: Path, count: int) -> None:
    """Every second event is Ann's."""
    with_spool(
        folder,
        lambda spool: spool.append([
            event(n + 1, key="ann" if n % 2 else "ben", payload=b'"%s"' % (SECRET if n % 2 else b"ben"))
            for n in range(count)
        ]),
    )  # fmt: skip


def with_spool(folder: Path, work: Callable[[Spool], Any]) -> Any:
    spool = Spool(folder)
    spool.open()
    try:
        return work(spool)
    finally:
        spool.close()


def whole(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_where_there_is_no_spool_none_is_made(tmp_path: Path) -> None:
    assert erase_spool(tmp_path / "spool", ANN, "bob", AT) == SpoolErased()
    assert list(tmp_path.iterdir()) == []


def test_all_events_stay_in_their_order_and_the_others_as_they_were(tmp_path: Path) -> None:
    fill(tmp_path, 2_500)
    before = with_spool(tmp_path, events_of)
    assert erase_spool(tmp_path, ANN, "bob", AT) == SpoolErased(pending=1_250)
    after = with_spool(tmp_path, events_of)
    assert [one.id for one in after] == [one.id for one in before]
    assert after[::2] == before[::2]
    assert {one.payload for one in after[1::2]} == {MASK}
    assert SECRET not in whole(tmp_path)


@pytest.mark.parametrize("verb", ["append", "remove", "peek"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_broken_off_anywhere_it_loses_nothing_and_is_finished_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, nth: int
) -> None:
    fill(tmp_path, 2_500)
    before = {one.id for one in with_spool(tmp_path, events_of)}
    calls, real = 0, getattr(Spool, verb)

    def breaks(spool: Spool, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise SpoolError("broken off")
        return real(spool, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Spool, verb, breaks)
        with pytest.raises(SpoolError, match="broken off"):
            erase_spool(tmp_path, ANN, "bob", AT)
    assert {one.id for one in with_spool(tmp_path, events_of)} == before
    assert erase_spool(tmp_path, ANN, "bob", AT).pending >= 1_250 - 500 * nth
    after = with_spool(tmp_path, events_of)
    assert {one.id for one in after} == before
    assert {one.payload for one in after if one.key == "ann"} == {MASK}
    assert SECRET not in whole(tmp_path)


def test_a_line_in_quarantine_is_as_long_as_before_and_its_neighbours_are_untouched(tmp_path: Path) -> None:
    fill(tmp_path, 4)

    def refuse_all(spool: Spool) -> None:
        while records := spool.peek(1):
            spool.quarantine(records[0], "no")

    with_spool(tmp_path, refuse_all)
    path = tmp_path / "quarantine.jsonl"
    with path.open("ab") as file:
        file.write(b'{"key": "ann", "payl')  # of a process that died
    before = path.read_bytes().split(b"\n")
    assert erase_spool(tmp_path, ANN, "bob", AT).quarantined == 2
    after = path.read_bytes().split(b"\n")
    assert [len(line) for line in after] == [len(line) for line in before]
    assert (after[0], after[2], after[4]) == (before[0], before[2], before[4])
    assert {json.loads(after[n])["erased_at"] for n in (1, 3)} == {AT}
    assert SECRET not in path.read_bytes()
    assert erase_spool(tmp_path, ANN, "bob", AT).quarantined == 0


def test_damaged_pieces_are_named(tmp_path: Path) -> None:
    (tmp_path / "corrupt-00000001-32-0.bin").write_bytes(SECRET)
    (left,) = erase_spool(tmp_path, ANN, "bob", AT).left
    assert left.startswith("1 damaged piece")
    assert str(tmp_path) in left
