"""Arrays in PostgreSQL's binary format, joined from bytes at once.

The driver's own list adaptation looks at every element in Python; for the arrays of a bulk insert that is a
third of the whole cost. Format: manual, "array_recv" in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UUID, TEXT, INT4, INT8 = 2950, 25, 23, 20
_ARRAY_OIDS = {UUID: 2951, TEXT: 1009, INT4: 1007, INT8: 1016}

_header = struct.Struct("!iiIii").pack
_length = struct.Struct("!i").pack
_NULL = _length(-1)
_UUID_LENGTH = _length(16)


class BinaryArray:
    """An encoded array, to be passed as one parameter."""

    __slots__ = ("data", "oid")

    def __init__(self, oid: int, elements: int, body: bytes, *, nulls: bool) -> None:
        self.oid = _ARRAY_OIDS[oid]
        self.data = _header(1, nulls, oid, elements, 1) + body if elements else _header_empty(oid)


def _header_empty(oid: int) -> bytes:
    return struct.pack("!iiI", 0, 0, oid)


def uuids(ids: Sequence[bytes]) -> BinaryArray:
    """``uuid[]`` of 16-byte ids."""
    return BinaryArray(UUID, len(ids), b"".join([_UUID_LENGTH + one for one in ids]), nulls=False)


def integers(values: Sequence[int]) -> BinaryArray:
    """``integer[]``."""
    return BinaryArray(INT4, len(values), b"".join([struct.pack("!ii", 4, one) for one in values]), nulls=False)


def bigints(values: Sequence[int | None]) -> BinaryArray:
    """``bigint[]``; None is null."""
    parts = [_NULL if one is None else struct.pack("!iq", 8, one) for one in values]
    return BinaryArray(INT8, len(values), b"".join(parts), nulls=None in values)


def texts(values: Iterable[bytes | None], elements: int) -> BinaryArray:
    """``text[]`` of UTF-8 bytes; None is null."""
    nulls = False
    parts: list[bytes] = []
    for one in values:
        if one is None:
            nulls = True
            parts.append(_NULL)
        else:
            parts += (_length(len(one)), one)
    return BinaryArray(TEXT, elements, b"".join(parts), nulls=nulls)


class BinaryArrayDumper(Dumper):
    """Passes a `BinaryArray` on as it is."""

    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> bytes:
        return obj.data

    def upgrade(self, obj: BinaryArray, format: object) -> Dumper:  # noqa: ARG002 - the driver's own signature
        upgraded = _dumpers.get(obj.oid)
        if upgraded is None:
            upgraded = _dumpers[obj.oid] = type(self)(self.cls)
            upgraded.oid = obj.oid
        return upgraded

    def get_key(self, obj: BinaryArray, format: object) -> Any:  # noqa: ARG002 - the driver's own signature
        return (self.cls, obj.oid)


_dumpers: dict[int, BinaryArrayDumper] = {}
