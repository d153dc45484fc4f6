"""
A bus that lives as long as a FastAPI application does, and comes to its endpoints as a dependency.

::

    app = FastAPI(lifespan=lifespan(bus))

    @app.post("/orders")
    async def place(order: Order, bus: Bus) -> None:
        await bus.publish("order.placed", order.model_dump(), key=order.customer)
"""

from __future__ import annotations

from typing import Annotated

from holdfast.bus import EventBus
from holdfast.errors import MissingExtra
from holdfast.integrations.starlette import Lifespan, Worker, bus_of, lifespan

try:
    from fastapi import Depends
    from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotations
except ImportError as missing:
    raise MissingExtra("fastapi", "fastapi", "holdfast.integrations.fastapi") from missing

__all__ = ["Bus", "Lifespan", "Worker", "bus_of", "lifespan"]


def _bus(connection: HTTPConnection) -> EventBus:
    return bus_of(connection)


Bus = Annotated[EventBus, Depends(_bus)]
"""The bus of the application, for a parameter of an endpoint or of another dependency; of WebSockets too."""
