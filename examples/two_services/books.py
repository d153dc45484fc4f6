"""The second service: it books orders, in a database of its own, each exactly once."""

import asyncio
import os

from holdfast import Delivery, Event, EventBus

bus = EventBus("sqlite:///books.db")
bus.ingest(f"{os.environ['NATS_URL']}/shop?declare=file&ack_wait=2", name="from-stream")


@bus.subscribe("order.placed", name="booking", transactional=True, start="beginning")
def book(event: Event, delivery: Delivery) -> None:
    delivery.connection.execute("create table if not exists booked (order_number integer, customer text)")
    delivery.connection.execute("insert into booked values (?, ?)", (event.payload["order"], event.key))


if __name__ == "__main__":
    asyncio.run(bus.run())
