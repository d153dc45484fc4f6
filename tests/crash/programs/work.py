"""A worker whose handlers write down what they do, in a file that only grows. Argument: settings as JSON.

What an event's handler does is in the settings: numbers that wait for a file, stop the loop until it is there, use up
all memory, die, fail, or are put off for an hour.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from holdfast import Delivery, Event, EventBus, Reject, Retry, RetryPolicy

SETTINGS = json.loads(sys.argv[1])
LEDGER = os.open(SETTINGS["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")

if SETTINGS.get("memory_mib"):
    resource.setrlimit(resource.RLIMIT_AS, (SETTINGS["memory_mib"] * 2**20,) * 2)
    # Large pieces go back to the system when they are freed. By itself glibc soon takes them from its heap, which does not
    # shrink below whatever small piece came to lie on top of them.
    _M_MMAP_THRESHOLD = -3
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)

bus = EventBus(SETTINGS["dsn"], spool="off", lease_ttl=SETTINGS["lease_ttl"], stop_timeout=SETTINGS["stop_timeout"])


def note(what: str, subscription: str, event: Event, delivery: Delivery, **more: Any) -> None:
    line = {
        "what": what, "at": time.monotonic(), "pid": os.getpid(), "subscription": subscription, "id": str(event.id),
        "key": event.key, "n": event.payload["n"], "attempt": delivery.attempt, "epoch": delivery.epoch, **more,
    }  # fmt: skip
    os.write(LEDGER, (json.dumps(line) + "\n").encode())


def hoard() -> None:
    """Take memory until the system gives no more."""
    chunks = []
    while True:
        chunks.append(bytes(2**24))


def stand_still(gate: Path) -> None:
    """Keep the loop, and all that runs in it, until the gate is open."""
    while not gate.exists():
        time.sleep(0.01)


async def behave(options: dict[str, Any], event: Event) -> None:
    number = event.payload["n"]
    if options.get("seconds"):
        await asyncio.sleep(options["seconds"])
    if number in options.get("dies", ()):
        os.kill(os.getpid(), signal.SIGKILL)
    if number >= options.get("waits_from", sys.maxsize):
        while not Path(options["gate"]).exists():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(0.01)
    if number in options.get("stands_still", ()):
        stand_still(Path(options["gate"]))
    if number in options.get("hoards", ()):
        hoard()
    if number in options.get("put_off", ()):
        raise Retry(after=3600)
    if number in options.get("rejects", ()):
        raise Reject("as told")
    if number in options.get("fails", ()):
        raise ValueError(f"number {number} fails")


async def add_effect(connection: Any, event: Event, delivery: Delivery) -> None:
    values = (delivery.subscription, str(event.id), event.key, event.payload["n"], os.getpid())
    columns = "insert into effects (subscription, event_id, event_key, n, pid) values"
    if SETTINGS["dsn"].startswith("sqlite"):
        connection.execute(f"{columns} (?, ?, ?, ?, ?)", values)
    else:
        await connection.execute(f"{columns} (%s, %s, %s, %s, %s)", values)


def declare(name: str, options: dict[str, Any]) -> None:
    async def plain(event: Event, delivery: Delivery) -> None:
        note("start", name, event, delivery)
        await behave(options, event)
        note("done", name, event, delivery)
        if event.payload["n"] in options.get("dies_after", ()):
            os.kill(os.getpid(), signal.SIGKILL)

    async def effect(event: Event, delivery: Delivery) -> None:
        note("start", name, event, delivery)
        await add_effect(delivery.connection, event, delivery)
        await behave(options, event)
        note("done", name, event, delivery)
        if event.payload["n"] in options.get("dies_after", ()):
            os.kill(os.getpid(), signal.SIGKILL)

    async def batch(events: list[Event], deliveries: list[Delivery]) -> None:
        for event, delivery in zip(events, deliveries, strict=True):
            note("start", name, event, delivery)
        if options.get("seconds"):
            await asyncio.sleep(options["seconds"])
        for event, delivery in zip(events, deliveries, strict=True):
            note("done", name, event, delivery)

    async def count(event: Event) -> None:
        counted[0] += 1

    counted = [0]
    handlers = {"plain": plain, "effect": effect, "batch": batch, "count": count}
    bus.subscribe(
        options.get("pattern", "load.*"), handlers[options.get("kind", "plain")], name=name, start="beginning",
        partitions=options.get("partitions", 8), concurrency=options.get("concurrency", 64),
        transactional=options.get("kind") == "effect", batch=options.get("batch"),
        timeout=options.get("timeout", 60), breaker=options.get("breaker"), on_dead=options.get("on_dead", "continue"),
        retry=RetryPolicy(max_attempts=options.get("max_attempts", 5), base=options.get("base", 0.1)),
    )  # fmt: skip


for each_name, each_options in SETTINGS["subscriptions"].items():
    declare(each_name, each_options)


if "every" in SETTINGS:

    @bus.every(timedelta(seconds=SETTINGS["every"]), name="ticks", missed="all")
    async def tick(event: Event) -> None: ...


async def main() -> None:
    running = asyncio.create_task(bus.run())
    await asyncio.sleep(0)  # its signal handlers are set before it first waits
    logging.getLogger("program").info("ready for signals")
    await running


asyncio.run(main())
print(json.dumps({"peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), flush=True)
