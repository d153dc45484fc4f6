"""A bus that lives as long as a Starlette application does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

from holdfast.bus import EventBus
from holdfast.errors import ConfigurationError
from holdfast.names import shown_value, type_name
from holdfast.sync import SyncEventBus

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

Worker = Literal["embedded", "off"]
Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""What Starlette and FastAPI take for ``lifespan=``."""

_STATE = "holdfast"


def lifespan(bus: EventBus, *, worker: Worker = "embedded", own: Lifespan | None = None) -> Lifespan:
    """
    The ``lifespan=`` of an application that uses *bus*: opens it, and closes it gracefully when the application ends.

    With several processes each has a worker, and they share the partitions. In requests the bus is ``request.state.holdfast``.

    Args:
        bus: One that nobody else closes.
        worker: ``"embedded"`` handles events inside of this process; if the store is away, it starts when that is back.
            ``"off"`` only publishes, and ``holdfast worker`` handles elsewhere.
        own: A lifespan of yours. It begins before the bus and ends after it, so that handlers have what it opens, and
            its state is kept.

    Raises:
        ConfigurationError: An argument is of no use.
    """
    given: Any = bus  # callers without a type checker give other things
    if isinstance(given, SyncEventBus):
        raise ConfigurationError("bus is a SyncEventBus, which would block the application: give its .async_bus")
    if not isinstance(given, EventBus):
        raise ConfigurationError(f"bus is of type {type_name(bus)}: give an EventBus")
    if worker not in get_args(Worker):
        raise ConfigurationError(f'worker is {shown_value(worker)}: use "embedded" or "off"')

    @asynccontextmanager
    async def life(application: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with (own or _nothing)(application) as state, _living(bus, worker):
            yield {**(state or {}), _STATE: bus}

    return life


def bus_of(connection: HTTPConnection) -> EventBus:
    """
    The bus of the application that a request or WebSocket has come to.

    Raises:
        ConfigurationError: The application has none, or its lifespan has not been entered.
    """
    found: EventBus | None = getattr(connection.state, _STATE, None)
    if found is None:
        raise ConfigurationError(
            "the application has no bus: make it with lifespan=lifespan(bus), and in tests enter it (with TestClient(app))"
        )
    return found


@asynccontextmanager
async def _living(bus: EventBus, worker: Worker) -> AsyncIterator[None]:
    try:
        if worker == "embedded":
            async with bus:
                yield
        else:
            yield
    finally:
        await bus.close()  # also where a request after that, or a handler of the framework's, has opened it again


@asynccontextmanager
async def _nothing(_: Any) -> AsyncIterator[None]:
    yield
