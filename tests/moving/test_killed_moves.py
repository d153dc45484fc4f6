"""A move that is killed at any moment is finished by the next run, as if it had never been."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING

from holdfast.stores import make_store
from holdfast.stores.values import Declaration
from tests.bus.waiting import program_environment, sql, until
from tests.contract.harness import Scene, event
from tests.moving.desk import move, paused

if TYPE_CHECKING:
    from tests.moving.conftest import Ends

EVENTS = 3_000
LIVES = 2


async def fill(dsn: str) -> None:
    """Events of which a third are handled, and the others wait for one of two subscriptions."""
    store = make_store(dsn, timeout=30)
    await store.migrate()
    await store.open()
    scene = Scene("file" if dsn.startswith("sqlite") else "postgres", dsn, store)
    await store.register([Declaration(name, ("**",), partitions=1) for name in ("billing", "ledger")])
    for start in range(0, EVENTS, 1000):
        await store.append([event(f"k{number % 50}") for number in range(start, start + 1000)], atomic=True)
        if start == EVENTS // 3 - 1000:
            (lease,) = await scene.leases(await scene.subscribe("billing"))
            await scene.handle_all(lease)
    sql(dsn, "update leases set owner = null, lease_until = null")
    await scene.close()


def moved(dsn: str) -> int:
    try:
        return int(sql(dsn, "select count(*) from event_log")[0][0])
    except Exception:
        return 0  # there are no tables yet


async def test_whoever_is_killed_leaves_whole_events(ends: Ends) -> None:
    await fill(ends.source)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, lives = random.Random(seed), []
    for _ in range(LIVES):
        wanted = moved(ends.destination) + chance.choice([1, 1001])
        life = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast", "move", ends.source, ends.destination,
            env=program_environment(), stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        ended = asyncio.create_task(life.communicate())
        await until(lambda ended=ended, wanted=wanted: ended.done() or moved(ends.destination) >= wanted, seconds=60)
        if life.returncode is None:
            life.kill()
        output = await ended
        lives.append(life.returncode)
        assert life.returncode in {0, -9}, output
    assert -9 in lives, "no move was killed at work"
    done = await move(ends)
    assert done.is_sound, done
    assert moved(ends.destination) == EVENTS
    found = sql(
        ends.destination,
        "select s.name, d.state, count(*) from deliveries d join subscriptions s on s.id = d.subscription "
        "group by s.name, d.state order by s.name",
    )
    assert found == [("billing", "pending", EVENTS - EVENTS // 3), ("ledger", "pending", EVENTS)]
    assert sql(ends.destination, "select count(*) from event_consumers") == [(EVENTS // 3,)]
    assert set(paused(ends.destination).values()) == {False}
