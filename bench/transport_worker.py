"""A worker that `transporting.py` measures. Settings come as JSON; it says when it is there, and what each event took."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from holdfast import Event, EventBus

SETTINGS = json.loads(sys.argv[1])

bus = EventBus(
    SETTINGS["dsn"], transport=SETTINGS.get("transport"), service=SETTINGS["service"], spool="off", lease_ttl=5
)  # fmt: skip

if "times" in SETTINGS:
    times = Path(SETTINGS["times"]).open("a", encoding="ascii")  # noqa: SIM115 - it ends with the process

    @bus.subscribe("bench.timed", name="timed", partitions=SETTINGS["partitions"])
    async def note(event: Event) -> None:
        times.write(f"{time.time() - event.payload['at']:.6f}\n")
        times.flush()


if SETTINGS["handles"]:

    @bus.subscribe("bench.plain", name="plain", partitions=SETTINGS["partitions"])
    async def nothing(event: Event) -> None:
        pass


asyncio.run(bus.run())
