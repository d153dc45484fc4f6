"""
A publisher of the campaign: lanes, each with a key and a counter of its own, which publish in every way there is.
Each tells what it is about to do, and how that ended. Argument: settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sqlite3
import sys
from contextlib import suppress
from typing import Any

import psycopg

from holdfast import EventBus
from holdfast.errors import HoldfastError, OutcomeUnknown
from holdfast.ids import IdFactory
from tests.chaos.history import Journal
from tests.chaos.workload import MoodReader, choose_name, end_with_the_campaign

SETTINGS = json.loads(sys.argv[1])
end_with_the_campaign()
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
journal = Journal(SETTINGS["journal"])
mood = MoodReader(SETTINGS["mood"])
dsn: str = SETTINGS["dsn"]
is_sqlite = dsn.startswith("sqlite")
bus = EventBus(dsn, spool=SETTINGS["spool"], store_timeout=1.0)
new_id = IdFactory()
_DEADLINE_S = 8.0


class Lane:
    """One key. Its numbers are published one after the other."""

    def __init__(self, number: int, pause: float) -> None:
        self.key, self.pause, self._n = f"{os.getpid()}-{number}", pause, 0

    def invoke(self) -> dict[str, Any]:
        """Say that the next event is about to be published; returns it as `publish_many` takes it."""
        self._n += 1
        name, event_id = choose_name(random.Random(), mood.now), new_id()
        journal.note("invoke", id=str(event_id), name=name, key=self.key, n=self._n)
        return {"name": name, "payload": {"n": self._n}, "key": self.key, "event_id": event_id}

    async def run(self, stop: asyncio.Event) -> None:
        ways = {plain: 55, group: 10, cancelled: 5, commit: 12, roll_back: 6, savepoint: 6, late: 3, asynchronous: 3}
        if not is_sqlite:
            ways |= {prepared: 3}
        while not stop.is_set():
            if mood.now.publishing:
                several = random.choices(list(ways), list(ways.values()))[0] if mood.now.transactions else plain
                await several(self)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.pause * random.uniform(0.5, 1.5))


def tell(what: str, *items: dict[str, Any], **more: Any) -> None:
    for item in items:
        journal.note(what, id=str(item["event_id"]), **more)


# ---- without a transaction of one's own


async def plain(lane: Lane) -> None:
    item = lane.invoke()
    for _ in range(3):
        try:
            published = await bus.publish(**item)
        except OutcomeUnknown:
            continue  # a repeat with the same id is safe
        except HoldfastError as error:
            return tell("unknown", item, error=repr(error))
        return tell("ok", item, where=published.where)
    return tell("unknown", item)


async def group(lane: Lane) -> None:
    items = [lane.invoke() for _ in range(random.randint(2, 6))]
    try:
        published = await bus.publish_many(items)
    except HoldfastError as error:
        return tell("unknown", *items, error=repr(error))
    return tell("ok", *items, where=published[0].where)


async def cancelled(lane: Lane) -> None:
    item = lane.invoke()
    publishing = asyncio.ensure_future(bus.publish(**item))
    await asyncio.sleep(random.choice((0.0, 0.001, 0.005, 0.02)))
    publishing.cancel()
    try:
        published = await publishing
    except (asyncio.CancelledError, HoldfastError):
        return tell("unknown", item)
    return tell("ok", item, where=published.where)


# ---- in a transaction


async def commit(lane: Lane) -> None:
    await in_transaction(lane, random.randint(1, 3), "commit")


async def roll_back(lane: Lane) -> None:
    await in_transaction(lane, random.randint(1, 3), "rollback")


async def late(lane: Lane) -> None:
    """The transaction has its id long before it publishes, and commits long after."""
    await in_transaction(lane, 1, "commit", before="create temporary table if not exists notes (n integer)", wait=1.0)


async def asynchronous(lane: Lane) -> None:
    """A publishing transaction commits synchronously whatever it is told."""
    before = "select 1" if is_sqlite else "set local synchronous_commit = off"
    await in_transaction(lane, 1, "commit", before=before)


async def savepoint(lane: Lane) -> None:
    await in_transaction(lane, 1, "commit", undone=1)


async def prepared(lane: Lane) -> None:
    await in_transaction(lane, 1, "prepare")


async def in_transaction(
    lane: Lane, count: int, ending: str, *, before: str = "", wait: float = 0.0, undone: int = 0
) -> None:
    """
    Publish *count* events, and *undone* others that a savepoint takes back. What did not come to its commit has
    failed; what fails in the commit is unknown.
    """
    taken_back = [lane.invoke() for _ in range(undone)]
    kept = [lane.invoke() for _ in range(count)]
    outcome = "fail"
    connection = None
    try:
        async with asyncio.timeout(_DEADLINE_S):
            connection = await connect()
            await execute(connection, "begin immediate" if is_sqlite else "begin")
            if before:
                await execute(connection, before)
                await asyncio.sleep(random.uniform(0, wait))
            if taken_back:
                await execute(connection, "savepoint one")
                await publish(connection, taken_back)
                await execute(connection, "rollback to savepoint one")
            await publish(connection, kept)
            await asyncio.sleep(0 if is_sqlite else random.uniform(0, 0.05 + wait))
            if ending == "rollback":
                await execute(connection, "rollback")
                return
            gid = f"campaign-{new_id()}"
            assert is_sqlite or connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
            outcome = "unknown"
            if ending == "prepare":
                await execute(connection, f"prepare transaction '{gid}'")
                await asyncio.sleep(random.uniform(0, 0.5))
                await execute(connection, f"commit prepared '{gid}'")
            else:
                await execute(connection, "commit")
            outcome = "ok"
    except (HoldfastError, psycopg.Error, sqlite3.Error, TimeoutError, AssertionError) as error:
        logging.getLogger("publisher").info("%s: %r", outcome, error)
    finally:
        if connection is not None:
            connection.close() if is_sqlite else connection.pgconn.finish()
        tell("fail", *taken_back)
        tell(outcome, *kept)


async def connect() -> Any:
    if is_sqlite:
        return sqlite3.connect(dsn.removeprefix("sqlite:///"), isolation_level=None, timeout=2)
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=3)


async def execute(connection: Any, sql: str) -> None:
    result = connection.execute(sql)
    if not is_sqlite:
        cursor = await result
        # A commit of a transaction that has failed is a rollback, and no error.
        assert sql != "commit" or cursor.statusmessage == "COMMIT"


async def publish(connection: Any, items: list[dict[str, Any]]) -> None:
    for item in items:
        await bus.publish(**item, tx=connection)


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    journal.note("up")
    lanes = SETTINGS["lanes"]
    # The first publish takes over what the dead have left in the spool, also when no more are to be published.
    await plain(Lane(lanes, 0.0))
    # Two of them are hot: half of all events are theirs.
    pauses = [4 / SETTINGS["per_second"]] * 2 + [2 * (lanes - 2) / SETTINGS["per_second"]] * (lanes - 2)
    await asyncio.gather(*(Lane(number, pause).run(stop) for number, pause in enumerate(pauses)))
    await bus.close()


asyncio.run(main())
