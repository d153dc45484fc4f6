"""Holdfast: a durable event bus.

::

    from holdfast import EventBus, Event

    bus = EventBus("sqlite:///shop.db")

    @bus.subscribe("order.placed")
    async def send_receipt(event: Event) -> None: ...

    await bus.publish("order.placed", {"order_id": 1}, key="order-1")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from holdfast.bus import EventBus
    from holdfast.errors import HoldfastError, Reject, Retry
    from holdfast.event import Event, Published
    from holdfast.everywhere import global_bus, global_sync_bus
    from holdfast.quotas import Quota
    from holdfast.subscription import Delivery, Limit, RetryPolicy
    from holdfast.sync import SyncEventBus

_HOMES = {
    "Delivery": "subscription",
    "Event": "event",
    "EventBus": "bus",
    "HoldfastError": "errors",
    "Limit": "subscription",
    "Published": "event",
    "Quota": "quotas",
    "Reject": "errors",
    "Retry": "errors",
    "RetryPolicy": "subscription",
    "SyncEventBus": "sync",
    "global_bus": "everywhere",
    "global_sync_bus": "everywhere",
}

__all__ = [
    "Delivery",
    "Event",
    "EventBus",
    "HoldfastError",
    "Limit",
    "Published",
    "Quota",
    "Reject",
    "Retry",
    "RetryPolicy",
    "SyncEventBus",
    "global_bus",
    "global_sync_bus",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for: ``import holdfast`` itself stays light and loads no driver."""
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"holdfast.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
