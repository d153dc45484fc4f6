"""Buses as the benchmark makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast import EventBus
from holdfast.bench.workload import name_of, subscription_of

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 60.0


def make_bus(dsn: str) -> EventBus:
    """
    A bus of this store.

    Without a spool: what went there would be measured as if it were stored. And patient: a slow publish is a result.
    """
    return EventBus(dsn, auto_migrate=True, spool="off", store_timeout=_PATIENCE)


def subscribe(
    bus: EventBus, handler: Callable[..., Any], subscriptions: int = 1, *, transactional: bool = False
) -> None:
    """Let *handler* handle what so many subscriptions want."""
    for number in range(subscriptions):
        name, subscription = name_of(number, subscriptions), subscription_of(number, subscriptions)
        bus.subscribe(name, handler, name=subscription, transactional=transactional)


async def _ignore(event: Any) -> None:
    """Never called: the names of the subscriptions are what counts."""


def declared(dsn: str, subscriptions: int = 1) -> EventBus:
    """A bus that registers the subscriptions when it first publishes."""
    bus = make_bus(dsn)
    subscribe(bus, _ignore, subscriptions)
    return bus
