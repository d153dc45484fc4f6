"""Buses as the benchmark makes them."""

from __future__ import annotations

from typing import Any

from holdfast import EventBus
from holdfast.bench.workload import NAME, SUBSCRIPTION


def make_bus(dsn: str) -> EventBus:
    """A bus of this store. Without a spool: what went there would be measured as if it were stored."""
    return EventBus(dsn, auto_migrate=True, spool="off")


async def _ignore(event: Any) -> None:
    """Never called: the subscription's name is what counts."""


def declared(dsn: str) -> EventBus:
    """A bus that registers the subscription when it first publishes."""
    bus = make_bus(dsn)
    bus.subscribe(NAME, _ignore, name=SUBSCRIPTION)
    return bus
