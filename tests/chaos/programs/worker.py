"""A worker of the campaign. Each handler tells its history when it begins and when it ends. Argument: settings."""

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

from holdfast import Delivery, Event, EventBus, Reject, Retry, RetryPolicy
from tests.chaos.history import Journal
from tests.chaos.witness import witnessed
from tests.chaos.workload import (
    CONCURRENCY,
    LEASE_TTL,
    MAX_ATTEMPTS,
    RETRY_BASE,
    SPECS,
    SUBSCRIPTIONS,
    THREADS,
    TIMEOUT,
    VISITORS,
    MoodReader,
    Spec,
    end_with_the_campaign,
)  # fmt: skip

SETTINGS = json.loads(sys.argv[1])
end_with_the_campaign()
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
journal = Journal(SETTINGS["journal"])
mood = MoodReader(SETTINGS["mood"])
is_sqlite = SETTINGS["dsn"].startswith("sqlite")
bus = EventBus(witnessed(SETTINGS["dsn"]), spool="off", lease_ttl=LEASE_TTL, stop_timeout=5)
MARK = "?" if is_sqlite else "%s"
INSERT = (
    "insert into effects (subscription, event_id, event_key, n, follow_id, replay) "
    f"values ({', '.join([MARK] * 6)})"
)  # fmt: skip


def note(what: str, name: str, event: Event, delivery: Delivery, **more: Any) -> None:
    journal.note(
        what, subscription=name, id=str(event.id), key=event.key, n=event.payload.get("n", -1),
        attempt=delivery.attempt, epoch=delivery.epoch, replay=delivery.is_replay, **more,
    )  # fmt: skip


def trouble(name: str, event: Event, delivery: Delivery) -> float:
    """Raise, end the process, or return for how long the handler shall sleep: as the kind of the event asks for."""
    if name == "fragile" and mood.now.fragile_down:
        raise ConnectionError("the other side is down")
    match event.name.rpartition(".")[2]:
        case "fails" if delivery.attempt < MAX_ATTEMPTS:
            raise ValueError(f"attempt {delivery.attempt} fails")
        case "dead":
            raise ValueError("always fails")
        case "reject":
            raise Reject("as told")
        case "later" if random.random() < 0.6:
            raise Retry(after=random.uniform(0.05, 1.0))
        case "poison" if name == "mail":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits" if name == "mail" and delivery.attempt == 1:
            raise SystemExit(3)
        case "cancels" if delivery.attempt == 1:
            raise asyncio.CancelledError
        case "blocks" if name == "mail":
            time.sleep(3 * LEASE_TTL)  # the whole process, its heartbeats too
        case "slow" if is_sqlite and SPECS[name].kind == "transactional":
            # It has the file's one write lock: nobody could renew a lease meanwhile, as the documentation says.
            return random.uniform(0.1, LEASE_TTL / 4)
        case "slow":
            return random.uniform(0.2, 1.5 * LEASE_TTL)
        case "never" if name == "loose":
            return 3600.0
    return 0.0


def handle(name: str, spec: Spec) -> Any:
    async def external(event: Event, delivery: Delivery) -> None:
        note("start", name, event, delivery)
        try:
            await asyncio.sleep(trouble(name, event, delivery))
        except BaseException:
            note("failed", name, event, delivery)
            raise
        note("done", name, event, delivery)

    def external_in_thread(event: Event, delivery: Delivery) -> None:
        note("start", name, event, delivery)
        try:
            time.sleep(trouble(name, event, delivery))
        except BaseException:
            note("failed", name, event, delivery)
            raise
        note("done", name, event, delivery)

    async def transactional(event: Event, delivery: Delivery) -> None:
        note("start", name, event, delivery)
        try:
            follow = None
            if name == "books":
                follow = str((await bus.publish("follow.up", {"n": event.payload["n"]}, key=event.key)).event_id)
            inserted = delivery.connection.execute(INSERT, effect(event, delivery, follow))
            if not is_sqlite:
                await inserted
            await asyncio.sleep(trouble(name, event, delivery))
        except BaseException:
            note("failed", name, event, delivery)
            raise
        note("done", name, event, delivery)

    def transactional_in_thread(event: Event, delivery: Delivery) -> None:
        note("start", name, event, delivery)
        try:
            delivery.connection.execute(INSERT, effect(event, delivery, None))
            time.sleep(trouble(name, event, delivery))
        except BaseException:
            note("failed", name, event, delivery)
            raise
        note("done", name, event, delivery)

    def effect(event: Event, delivery: Delivery, follow: str | None) -> tuple[Any, ...]:
        return name, str(event.id), event.key, event.payload["n"], follow, delivery.is_replay

    async def batch(events: list[Event], deliveries: list[Delivery]) -> None:
        both = list(zip(events, deliveries, strict=True))
        for event, delivery in both:
            note("start", name, event, delivery)
        try:
            await asyncio.sleep(max(trouble(name, event, delivery) for event, delivery in both))
        except BaseException:
            for event, delivery in both:
                note("failed", name, event, delivery)
            raise
        for event, delivery in both:
            note("done", name, event, delivery)

    if spec.kind == "batch":
        return batch
    if spec.kind == "transactional":
        return transactional_in_thread if spec.sync else transactional
    return external_in_thread if spec.sync else external


def declare(name: str, spec: Spec) -> None:
    bus.subscribe(
        list(spec.patterns), handle(name, spec), name=name, ordering=spec.ordering,
        partitions=spec.partitions, concurrency=THREADS if spec.sync else CONCURRENCY, transactional=spec.kind == "transactional",
        batch=10 if spec.kind == "batch" else None, timeout=TIMEOUT, breaker=spec.breaker,
        retry=RetryPolicy(max_attempts=MAX_ATTEMPTS, base=RETRY_BASE),
    )  # fmt: skip


for each_name, each_spec in SUBSCRIPTIONS.items():
    declare(each_name, each_spec)
for visitor in mood.now.visitors:
    declare(visitor, VISITORS[visitor])

journal.note("up")
asyncio.run(bus.run())
