"""The first service: it takes orders, in a database of its own. What it publishes goes to the stream."""

import asyncio
import os

from holdfast import EventBus

bus = EventBus("sqlite:///shop.db")
bus.relay("order.**", f"{os.environ['NATS_URL']}/shop?declare=file", name="to-stream", source="/shop")


async def main(count: int) -> None:
    async with bus:
        for number in range(count):
            await bus.publish("order.placed", {"order": number, "total": 10 + number}, key=f"customer-{number % 7}")
        await bus.drain(timeout=60)  # the stream has acknowledged every one


if __name__ == "__main__":
    asyncio.run(main(int(os.environ.get("ORDERS", "200"))))
