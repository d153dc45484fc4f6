"""How many events are handled at once, changed while they are."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector

from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import Event, EventBus


@pytest.mark.parametrize("style", ["async", "sync"])
async def test_more_run_and_then_fewer(shared_dsn: str, make_bus: Callable[..., EventBus], style: str) -> None:
    bus, running, most, gates = make_bus(shared_dsn), set[int](), [0], dict[int, threading.Event]()
    gates.update({n: threading.Event() for n in range(40)})

    def enter(n: int) -> None:
        running.add(n)
        most[0] = max(most[0], len(running))

    async def wait(event: Event) -> None:
        enter(event.payload)
        while not gates[event.payload].is_set():  # noqa: ASYNC110 - the gate is a thread's
            await asyncio.sleep(0.001)
        running.discard(event.payload)

    def wait_in_thread(event: Event) -> None:
        enter(event.payload)
        gates[event.payload].wait()
        running.discard(event.payload)

    bus.subscribe("a", wait if style == "async" else wait_in_thread, name="s", concurrency=2, ordering="none")
    store = make_store(shared_dsn, timeout=10)
    inspector, operator = make_inspector(store)
    try:
        async with bus:
            await bus.publish_many([{"name": "a", "payload": n} for n in range(40)])
            await until(lambda: len(running) == 2)
            await operator.set_concurrency("s", 6, actor="me")
            await until(lambda: len(running) == 6)
            await operator.set_concurrency("s", 1, actor="me")
            runner = next(iter(bus._live.worker._runners.values()))  # type: ignore[union-attr]
            await until(lambda: runner._concurrency == 1)
            for n in list(running)[:4]:
                gates[n].set()
            await until(lambda: len(running) == 2)
            most[0] = 0
            for n in list(running):
                gates[n].set()
            await until(lambda: len(running) == 1 and most[0] >= 1)
            for gate in gates.values():
                gate.set()
            await bus.drain(timeout=10)
            assert most[0] <= 2, "the last of the six and the first after them"
    finally:
        await inspector.close()
        await store.close()
