"""Every operation of a store, broken at statement 1, 2, 3 ... until a run meets no fault.

Once only that statement fails, and once all from there on; then what is left is judged by an onlooker who reads past
Holdfast, and the operation is done again. Each statement meets every kind of fault with ``HOLDFAST_LONG=1``, which
takes four minutes; else each of a short operation meets two kinds, about five of a long one meet one, and all of it takes
half a minute.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.statements import hooks, wire
from tests.statements.ground import PostgresGround
from tests.statements.operating import OPERATING
from tests.statements.operation import Fault, broken, rehearse
from tests.statements.publishing import PUBLISHING
from tests.statements.working import WORKING

if TYPE_CHECKING:
    from tests.statements.ground import Ground
    from tests.statements.operation import Operation

LONG = os.environ.get("HOLDFAST_LONG") == "1"
OPERATIONS = {operation.name: operation for operation in (*PUBLISHING, *WORKING, *OPERATING)}

_KINDS: dict[str, list[tuple[Any, bool]]] = {
    "postgres": [
        (wire.Break.CUT, False), (wire.Break.LOST, False), (wire.Break.TERMINATED, True), (wire.Break.REFUSED, False),
        (wire.Break.CANCELLED, False), (wire.Break.LOST, True), (wire.Break.CUT, True),
        (wire.Break.CANCELLED_LATE, False), (wire.Break.REFUSED, True), (wire.Break.TERMINATED, False),
    ],
    "file": [
        (hooks.Break.INTERRUPTED, False), (hooks.Break.DISK, False), (hooks.Break.LOCKED, True),
        (hooks.Break.CANCELLED, False), (hooks.Break.INTERRUPTED, True), (hooks.Break.DISK, True),
        (hooks.Break.LOCKED, False),
    ],
}  # fmt: skip
_SHORT = 4
"""Statements up to which there is time for each of an operation's, and for two kinds of fault at it."""


def faults_at(number: int, operation: Operation, kind: str, statements: int) -> list[Fault]:
    """Those that this run tries: all of them, or as many as there is time for, others at each statement."""
    kinds = [
        (one, lasting) for one, lasting in _KINDS[kind]
        if (operation.cancels or "cancel" not in one) and (hooks.CAN_BREAK_THE_DISK or one is not hooks.Break.DISK)
    ]  # fmt: skip
    few = len(kinds) if LONG else 2 if number <= statements <= _SHORT else 1
    first = number * few + len(operation.name)
    return [Fault(number, *kinds[(first + place) % len(kinds)]) for place in range(few)]


def step(statements: int) -> int:
    return 1 if LONG else max(1, statements // _SHORT)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_is_done_or_not_done_whichever_statement_breaks(ground: Ground, name: str) -> None:
    operation = OPERATIONS[name]
    reference = await rehearse(ground, operation)
    for number in count(1, step(reference.statements)):
        met = False
        for fault in faults_at(number, operation, ground.kind, reference.statements):
            met |= await broken(ground, operation, reference, fault)
        if not met:
            # The driver may add some of its own, as when it forgets prepared statements.
            assert number > reference.statements
            return


async def test_an_operation_ends_within_its_time_when_the_server_falls_silent(
    the_wire: wire.Wire, emptied_dsn: str
) -> None:
    ground = PostgresGround(emptied_dsn, the_wire)
    await ground.open(emptied_dsn, the_wire.dsn, timeout=0.3, lease_ttl=1.0)
    for name in ("append one event", "append several events at once or not at all", "settle everything there is"):
        operation = OPERATIONS[name]
        reference = await rehearse(ground, operation)
        for number in range(1, reference.statements + 1, 1 if LONG else 3):
            assert await broken(ground, operation, reference, Fault(number, wire.Break.SILENT), patience=2.0)
    await ground.close()


def test_a_disk_can_be_broken_here() -> None:
    if not hooks.CAN_BREAK_THE_DISK:
        pytest.skip("not run: the faults of SQLite's disk, which need the descriptors in /proc (Linux)")
