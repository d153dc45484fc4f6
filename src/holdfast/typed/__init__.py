"""Events with types: declared once by name and version, published as values, given to handlers decoded and checked.

::

    from dataclasses import dataclass

    from holdfast import EventBus
    from holdfast.typed import event, upcast

    bus = EventBus("sqlite:///shop.db")

    @event("order.placed", version=2, key="order_id")
    @dataclass(frozen=True)
    class OrderPlaced:
        order_id: int
        currency: str

    @upcast(OrderPlaced, from_version=1)
    def with_currency(payload: dict) -> dict:
        return payload | {"currency": "EUR"}

    @bus.subscribe(OrderPlaced)
    async def bill(order: OrderPlaced) -> None: ...

    await bus.publish(OrderPlaced(1, "CHF"))

The core knows of all this no more than `holdfast.event_types` says: it asks the class.
"""

from holdfast.typed.declaring import event, upcast
from holdfast.typed.problems import HeldEvent, UndecodableEvent

__all__ = ["HeldEvent", "UndecodableEvent", "event", "upcast"]
