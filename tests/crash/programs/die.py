"""
Lives of a process that writes to SQLite. Each is killed a little later than the one before, until one meets no kill:
before its next statement, or where the write-ahead log would grow by some more bytes. Argument: settings as JSON.

Each life has a file of its own, and writes down what has been acknowledged to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Advance, Finished, Parked, Revised, State
from tests.contract.harness import Scene, event, failed, receipt, settlement_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from holdfast.event import Row
    from holdfast.stores.values import Cursor, Due, Lease

SETTINGS = json.loads(sys.argv[1])
FOLDER = Path(SETTINGS["folder"])
LEDGER = os.open(SETTINGS["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
BYTES = 2747  # two thirds of a page of the log, so that headers and pages are cut in different places


class Hand(NamedTuple):
    """What a worker has in hand: four events, of which two are being tried again."""

    lease: Lease
    rows: list[Row]
    cursor: Cursor
    due: Sequence[Due]


async def prepare(scene: Scene) -> Hand:
    (lease,) = await scene.leases(await scene.subscribe(), ttl=3600)
    await scene.publish(*"abcd")
    rows, cursor = await scene.read_all(lease.cursor)
    await scene.park(lease, rows[:2])
    claimed = await scene.store.claim({lease.slice: lease.epoch}, limit=10)
    return Hand(lease, rows, cursor, claimed.due)


async def publish(store: SQLiteStore, hand: Hand, number: int) -> None:
    await store.append([event(f"{key}{number}") for key in "xyz"], atomic=True)


async def settle(store: SQLiteStore, hand: Hand, number: int) -> None:
    """First a receipt alone, then all that a settlement may hold."""
    place, rows = hand.lease.slice, hand.rows
    if number == 0:
        await store.settle(settlement_of(receipts=[receipt(hand.lease, rows[3])]))
        return
    done, dead = hand.due
    await store.settle(
        settlement_of(
            {place: hand.lease.epoch},
            receipts=[receipt(hand.lease, rows[0], attempts=2)],
            finished=[Finished(place, done.delivery, done.claim)],
            revised=[Revised(place, dead.delivery, dead.claim, State.DEAD, attempts=5, reason="no")],
            parked=[Parked(place, rows[2], State.RETRYING, attempts=1, due_in=3600.0)],
            attempts=[failed(place, rows[1], attempt=5), failed(place, rows[2])],
            events=[(place, event("letter", name="holdfast.dead"))],
            advances=[Advance(place, hand.cursor)],
        )
    )


async def handle(store: SQLiteStore, hand: Hand, number: int) -> None:
    """A handler that writes, and publishes, in the transaction that it was handed."""
    async with store.transaction(receipt(hand.lease, hand.rows[2 + number]), hand.lease.epoch) as transaction:
        assert not transaction.passed
        transaction.connection.execute("insert into effects values (?)", (number,))
        await store.append_within(transaction.connection, [event(f"caused by {number}")])


STEPS: dict[str, Callable[[SQLiteStore, Hand, int], Awaitable[None]]] = {
    "publish": publish, "settle": settle, "handle": handle,
}  # fmt: skip


class Countdown:
    """Ends the process before a statement. Not armed, it lets all pass."""

    def __init__(self) -> None:
        self.left = 0
        self._connect = sqlite3.connect
        sqlite3.connect = self._watched  # type: ignore[assignment]

    def _watched(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = self._connect(*arguments, **options)
        connection.set_trace_callback(self._begins)
        return connection

    def _begins(self, statement: str) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def limit_the_log(path: Path, more: int) -> None:
    """The system kills whoever would make a file larger, after it has written what still fits."""
    size = path.with_name(f"{path.name}-wal").stat().st_size + more
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


async def live(path: Path, kill: str, number: int) -> None:
    countdown = Countdown()
    store = SQLiteStore(str(path), timeout=10)
    await store.open()
    hand = await prepare(Scene("file", f"sqlite:///{path}", store))
    if kill == "statement":
        countdown.left = number + 1
    elif kill == "write":
        limit_the_log(path, number * BYTES)
    for step in range(2):
        if kill == "step" and step == number:
            os.kill(os.getpid(), signal.SIGKILL)
        await STEPS[SETTINGS["step"]](store, hand, step)
        os.write(LEDGER, (json.dumps({"life": path.stem, "done": step + 1}) + "\n").encode())


def was_killed(kill: str, number: int) -> bool:
    """Live once, in a process of its own."""
    path = FOLDER / f"{kill}-{number}.db"
    shutil.copyfile(FOLDER / "empty.db", path)
    if (child := os.fork()) == 0:
        asyncio.run(live(path, kill, number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"{path.stem} has failed"
    return os.WIFSIGNALED(status)


for each_kill in ("step", SETTINGS["kill"]):
    lives = count()
    while was_killed(each_kill, next(lives)):
        pass
