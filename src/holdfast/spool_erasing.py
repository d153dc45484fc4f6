"""Erasing in the spool of this machine: what waits there for the store, and what the store has refused."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdfast.erased import MASK, is_masked, masked
from holdfast.errors import SpoolError
from holdfast.spool import Spool
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from holdfast.event import NewEvent

_NO_LIMIT = 2**63
_CHUNK = 1_000


class SpoolErased(NamedTuple):
    """Events masked in files that wait, and lines in ``quarantine.jsonl``; `left` says what was not covered."""

    pending: int = 0
    quarantined: int = 0
    left: tuple[str, ...] = ()


def erase_spool(folder: Path, whose: Mapping[str, Any], actor: str, at: str) -> SpoolErased:
    """
    Mask the events of a tenant, a key or both in the spool in *folder*. Files of processes that live are left to them:
    they are sent to the store as soon as it can be reached, and are then found there.

    Args:
        whose: ``tenant_id`` and ``key``; None where not asked for.

    Raises:
        SpoolError: The folder or a file cannot be read or written; what was spooled is still there.

    Cost: writes anew what waits in files whose process has died.
    """
    if not folder.is_dir():
        return SpoolErased()
    pending, held = _erase_pending(folder, whose, actor, at)
    quarantined = _erase_quarantined(folder / "quarantine.jsonl", whose, at)
    left = []
    if held:
        left.append(f"{counted(held, 'spool file')} of live processes in {folder}: erase again once they are sent")
    if damaged := sum(1 for _ in folder.glob("corrupt-*.bin")):
        left.append(
            f"{counted(damaged, 'damaged piece')} of spool files in {folder}: corrupt-*.bin, delete what is not needed"
        )
    return SpoolErased(pending, quarantined, tuple(left))


def _erase_pending(folder: Path, whose: Mapping[str, Any], actor: str, at: str) -> tuple[int, int]:
    """How many events were masked, and how many files others hold."""
    spool, masked_count = Spool(folder, limit=_NO_LIMIT), 0
    spool.open()
    try:
        # All, in their order, behind what is there. Broken off in between, some are there twice, which their ids settle.
        left = spool.depth
        while left and (records := spool.peek(min(_CHUNK, left))):
            events = [record.event for record in records]
            marked = [masked(event, actor, at) if _is_meant(event, whose) else event for event in events]
            spool.append(marked)
            spool.remove(records)
            masked_count += sum(old is not new for old, new in zip(events, marked, strict=True))
            left -= len(records)
        return masked_count, spool.held_by_others()
    finally:
        spool.close()


def _is_meant(event: NewEvent, whose: Mapping[str, Any]) -> bool:
    return _belongs(event.tenant_id, event.key, whose) and not is_masked(event.payload == MASK, event.headers)


def _belongs(tenant_id: Any, key: Any, whose: Mapping[str, Any]) -> bool:
    return whose["tenant_id"] in (None, tenant_id) and whose["key"] in (None, key)


def _erase_quarantined(path: Path, whose: Mapping[str, Any], at: str) -> int:
    """Each line is written over in its place, with one that is as long: other processes append behind it."""
    try:
        with path.open("r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            marks = [
                (offset, mark.ljust(len(line)))
                for offset, line in _lines(file.read())
                if (mark := _mark(line, whose, at)) is not None
            ]
            for offset, mark in marks:
                os.pwrite(file.fileno(), mark, offset)
            os.fsync(file.fileno())
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise SpoolError(f"cannot erase in {path}: {error.strerror or error}; repair it and erase again") from error
    return len(marks)


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for line in content.split(b"\n"):
        yield offset, line
        offset += len(line) + 1


def _mark(line: bytes, whose: Mapping[str, Any], at: str) -> bytes | None:
    """What is left of a quarantined event: shorter than the whole, as it says less. None where it is not meant."""
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "payload" not in found or not _belongs(found.get("tenant_id"), found.get("key"), whose):
        return None
    mark = {name: found.get(name) for name in ("id", "tenant_id", "name", "key")} | {"erased_at": at}
    return msgspec.json.encode(mark)
