"""Takes orders; each one and its event commit together. Where it lives is said from outside."""

import asyncio
import os
import sys

import psycopg

from holdfast import Delivery, Event, EventBus

bus = EventBus(os.environ["SHOP_DSN"], transport=os.environ.get("TRANSPORT"), service="shop", lease_ttl=3)


@bus.subscribe("invoice.sent", name="shop.invoiced", transactional=True)
async def invoiced(event: Event, delivery: Delivery) -> None:
    await delivery.connection.execute(
        "update orders set invoiced = invoiced + 1 where number = %s", (event.payload["order"],)
    )


async def take_orders(first: int, count: int) -> None:
    async with await psycopg.AsyncConnection.connect(os.environ["SHOP_DSN"]) as connection:
        for number in range(first, first + count):
            await connection.execute("insert into orders (number) values (%s)", (number,))
            await bus.publish("order.placed", {"order": number}, key=f"customer-{number % 7}", tx=connection)
            await connection.commit()
    await bus.close()


if __name__ == "__main__":
    if sys.argv[1] == "orders":
        asyncio.run(take_orders(int(sys.argv[2]), int(sys.argv[3])))
    else:
        asyncio.run(bus.run())
