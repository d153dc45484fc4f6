"""Anchors: the ends of chains in a file, one JSON object a line, to be kept where whoever has the database cannot write."""

from __future__ import annotations

import asyncio
import os
from datetime import date, datetime  # noqa: TC003 - msgspec looks at the types when it reads
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003

import msgspec

from holdfast.errors import ConfigurationError, WrongStore
from holdfast.sealing.chain import DIGEST_BYTES
from holdfast.sealing.rows import as_day
from holdfast.stores.columns import as_moment, as_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.stores.inspecting import Inspecting


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    store: UUID
    day: date
    segments: int
    events: int
    head: str
    sealed_at: datetime


class Anchor(msgspec.Struct, frozen=True):
    """How a day's chain ended at a time: with which link, after how many events, with which head."""

    store: UUID
    day: date
    segments: int
    events: int
    head: bytes
    sealed_at: datetime

    def __str__(self) -> str:
        return f"the anchor of {self.sealed_at:%Y-%m-%d %H:%M:%SZ}"

    @property
    def line(self) -> bytes:
        """The anchor as the file has it, with the head in hexadecimal."""
        line = _Line(self.store, self.day, self.segments, self.events, self.head.hex(), self.sealed_at)
        return msgspec.json.encode(line) + b"\n"


async def write_anchors(inspector: Inspecting, path: Path) -> int:
    """
    Append the anchors of all chains that have grown since the file's last anchors of them; returns how many.

    The file is synced to the disk. Existing lines stay: an older anchor says more of the past than a newer one.

    Raises:
        ConfigurationError: The file has a line that is no anchor.
        WrongStore: Its anchors are of another store.
        OSError: It cannot be written.
    """
    return await asyncio.to_thread(_append, path, await store_of(inspector), await ends_of(inspector))


async def read_anchors(inspector: Inspecting, path: Path) -> list[Anchor]:
    """
    The anchors of a file, in its order.

    Raises:
        ConfigurationError, WrongStore, OSError: As `write_anchors`.
    """
    return await asyncio.to_thread(_read_all, path, await store_of(inspector))


def _append(path: Path, store: UUID, ends: Sequence[Anchor]) -> int:
    known = {anchor.day: anchor.head for anchor in _read_all(path, store)} if path.exists() else {}
    grown = [anchor for anchor in ends if known.get(anchor.day) != anchor.head]
    if grown:
        with path.open("ab") as file:
            file.truncate(_whole_lines(path))
            file.write(b"".join(anchor.line for anchor in grown))
            file.flush()
            os.fsync(file.fileno())
    return len(grown)


def _whole_lines(path: Path) -> int:
    """Bytes of the lines that were written to their end: whoever was killed in the middle of one leaves a part of it."""
    return path.read_bytes().rfind(b"\n") + 1


def _read_all(path: Path, store: UUID) -> list[Anchor]:
    lines = path.read_bytes().split(b"\n")[:-1]
    anchors = [_read(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    for anchor in anchors:
        if anchor.store != store:
            raise WrongStore(
                f"the anchors of {path} are of store {anchor.store}, and this is {store}: give the file of this store"
            )
    return anchors


def _read(line: bytes, path: Path, number: int) -> Anchor:
    try:
        found = msgspec.json.decode(line, type=_Line)
        head = bytes.fromhex(found.head)
        if len(head) != DIGEST_BYTES:
            raise ValueError(f"the head has {len(head)} bytes")
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigurationError(
            f"line {number} of {path} is no anchor: {error}; take the file that  holdfast seal --anchors  wrote"
        ) from error
    return Anchor(found.store, found.day, found.segments, found.events, head, found.sealed_at)


async def ends_of(inspector: Inspecting) -> list[Anchor]:
    """The ends of all chains now, by day."""
    store = await store_of(inspector)
    rows: list[Any] = await inspector.rows("seal_days")
    return [
        Anchor(store, as_day(day), segments, events, head, as_moment(sealed_at))
        for day, segments, events, head, sealed_at, _ in rows
    ]


async def store_of(inspector: Inspecting) -> UUID:
    """Id of the store."""
    return as_uuid((await inspector.rows("identity"))[0][0])
