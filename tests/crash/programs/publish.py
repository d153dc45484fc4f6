"""Publishes numbered events until it is told to end (SIGTERM) or has published enough; each one that was
acknowledged goes into the ledger after it was. One task per key, so that a key's numbers are published in order.
Argument: settings as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
import time
from typing import Any

from holdfast import EventBus

SETTINGS = json.loads(sys.argv[1])
LEDGER = os.open(SETTINGS["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
CHANCE = random.Random(7)
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")


def note(key: str, number: int, published: Any) -> None:
    line = {"what": "ok", "at": time.monotonic(), "key": key, "n": number, "id": str(published.event_id),
            "where": published.where}  # fmt: skip
    os.write(LEDGER, (json.dumps(line) + "\n").encode())


async def publish_key(bus: EventBus, key: str, pause: float, stop: asyncio.Event, total: int | None) -> None:
    number = 0
    while not stop.is_set() and (total is None or number < total):
        delay = CHANCE.uniform(0, SETTINGS["delay_max"]) if "delay_max" in SETTINGS else None
        note(key, number, await bus.publish("load.event", {"n": number}, key=key, delay=delay))
        number += 1
        if pause:
            await asyncio.sleep(pause)


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    logging.getLogger("program").info("ready for signals")
    bus = EventBus(SETTINGS["dsn"], spool=SETTINGS["spool"], store_timeout=SETTINGS["store_timeout"])
    keys = SETTINGS["keys"]
    pause = keys / SETTINGS["per_second"] if SETTINGS.get("per_second") else 0.0
    total = SETTINGS.get("per_key")
    await asyncio.gather(*(publish_key(bus, f"key-{one}", pause, stop, total) for one in range(keys)))
    await bus.drain(timeout=30)  # what is in the spool must reach the store, or nobody can see it
    await bus.close()


asyncio.run(main())
