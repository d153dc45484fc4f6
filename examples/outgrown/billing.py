"""Sends an invoice for each order, exactly once. Where it lives is said from outside."""

import asyncio
import os

from holdfast import Delivery, Event, EventBus

bus = EventBus(os.environ["BILLING_DSN"], transport=os.environ.get("TRANSPORT"), service=os.environ["BILLING_SERVICE"],
               lease_ttl=3)  # fmt: skip


@bus.subscribe("order.placed", name="billing.invoice", transactional=True)
async def invoice(event: Event, delivery: Delivery) -> None:
    await delivery.connection.execute(
        "insert into invoices (order_number, customer) values (%s, %s)", (event.payload["order"], event.key)
    )
    await bus.publish("invoice.sent", {"order": event.payload["order"]}, key=event.key)  # commits with the invoice


if __name__ == "__main__":
    asyncio.run(bus.run())
