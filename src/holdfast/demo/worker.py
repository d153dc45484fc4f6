"""A worker process of the demo: ``python -m holdfast.demo.worker DSN LEDGER``; ends when its standard input does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import EventBus, RetryPolicy
from holdfast.demo.ledger import LedgerWriter
from holdfast.demo.workload import FAILING_SUBSCRIPTION, MAX_ATTEMPTS, PATTERNS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from holdfast import Delivery, Event

# What the demo shortens so that one can watch it; the defaults are 30 s, 2 s, and up to an hour.
LEASE_TTL = 1.5
STORE_TIMEOUT = 0.5
LONGEST_RETRY_DELAY = 0.2
# A handler's own work: a call to a bank, a line to a printer.
WORK_SECONDS = 0.005
CONCURRENCY = 16


class PaymentRefused(Exception):
    """What a failing handler raises."""


def make_bus(dsn: str, ledger: LedgerWriter) -> EventBus:
    """The shops' bus with its three subscriptions, handled synchronously in threads and asynchronously."""
    bus = EventBus(dsn, auto_migrate=True, spool="off", lease_ttl=LEASE_TTL, store_timeout=STORE_TIMEOUT)

    async def billing(event: Event, delivery: Delivery) -> None:
        await asyncio.sleep(WORK_SECONDS)
        if delivery.attempt <= int(event.headers.get("fails", "0")):
            ledger.write("failed", event, delivery)
            raise PaymentRefused(f"attempt {delivery.attempt}: the bank does not answer")
        ledger.write("handled", event, delivery)

    def dispatch(event: Event, delivery: Delivery) -> None:
        ledger.write("handled", event, delivery)

    async def archive(event: Event, delivery: Delivery) -> None:
        await asyncio.sleep(WORK_SECONDS)
        ledger.write("handled", event, delivery)

    handlers: dict[str, Callable[..., Any]] = {
        FAILING_SUBSCRIPTION: billing, "dispatch": dispatch, "archive": archive,
    }  # fmt: skip
    retry = RetryPolicy(max_attempts=MAX_ATTEMPTS, max_delay=LONGEST_RETRY_DELAY)
    for name, patterns in PATTERNS.items():
        # "beginning": the demo publishes while its first worker still starts.
        bus.subscribe(patterns, handlers[name], name=name, retry=retry, concurrency=CONCURRENCY, start="beginning")
    return bus


def _stop_with_parent() -> None:
    # Not sys.stdin: a thread that waits in it keeps the interpreter from ending in peace.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    dsn, ledger = sys.argv[1:]
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    asyncio.run(make_bus(dsn, LedgerWriter(Path(ledger))).run())


if __name__ == "__main__":
    main()
