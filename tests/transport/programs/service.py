"""A worker of a service, as a process of its own. Its settings come as JSON; it books each event in its own database."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from holdfast import Delivery, Event, EventBus

SETTINGS = json.loads(sys.argv[1])

bus = EventBus(
    SETTINGS["dsn"], transport=SETTINGS["transport"], service=SETTINGS["service"], spool="off", lease_ttl=1.5,
    store_timeout=5, stop_timeout=5,
)  # fmt: skip


@bus.subscribe(SETTINGS["patterns"], name="booking", transactional=True)
async def book(event: Event, delivery: Delivery) -> None:
    await delivery.connection.execute(
        "insert into public.booked (id, name, key, place) values (%s, %s, %s, %s)",
        (event.id, event.name, event.key, event.payload["place"]),
    )
    if answer := SETTINGS.get("answer"):
        await bus.publish(answer, event.payload, key=event.key)


logging.basicConfig(format="%(asctime)s %(message)s")
asyncio.run(bus.run())
