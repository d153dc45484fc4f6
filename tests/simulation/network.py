"""The wire of a simulated process: requests take time, get lost on either way, and the server may crash under them."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import HoldfastError, StoreBusy, StoreUnavailable
from tests.simulation.server import Transaction
from tests.simulation.wire import Pause, run_through

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.simulation.loop import Process, SimulatedLoop
    from tests.simulation.server import Server
    from tests.simulation.weather import Sky

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds after which a client that waits for a lock, or a server that waits for a client, gives up."""
NOBODY = Context()
"""Callbacks in this context belong to no process: the server outlives its clients."""


def unavailable(what: str, *, maybe_done: bool = False) -> StoreUnavailable:
    return StoreUnavailable(f"simulated: {what}", maybe_done=maybe_done)


class Session:
    """A connection that lasts: `cut` once, it is of no use any more."""

    __slots__ = ("is_cut",)

    def __init__(self) -> None:
        self.is_cut = False


class Network:
    """What lies between all processes and the server."""

    def __init__(self, loop: SimulatedLoop, server: Server, sky: Sky, trace: Callable[..., None]) -> None:
        self.loop, self.server, self.sky, self.trace = loop, server, sky, trace
        self.under_way: dict[Request, None] = {}
        self.sessions: list[tuple[Process, Session]] = []

    def crash(self, *, sessions_survive: bool) -> None:
        """The server crashes: every request under way ends without an answer."""
        self.server.crash()
        for request in list(self.under_way):
            request.crash()
        if not sessions_survive:
            self.cut_sessions(None)

    def cut_sessions(self, process: Process | None) -> None:
        """Cut the reading sessions of one process, or of all."""
        for owner, session in self.sessions:
            if process is None or owner is process:
                session.is_cut = True
        self.sessions = [one for one in self.sessions if not one[1].is_cut]

    def disconnect(self, process: Process) -> None:
        """A process is gone. What it had sent may still be carried out."""
        self.server.disconnect(process)


class NetworkWire:
    """See `tests.simulation.wire.Wire`."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process

    @property
    def client(self) -> Process:
        return self._process

    async def call(self, name: str, steps: Generator[Pause, None, T]) -> T:
        network, fate = self._network, self._network.sky.fate()
        if fate.refused or not network.server.up:
            network.trace(self.client.name, name, "refused")
            steps.close()
            await asyncio.sleep(fate.delay)
            raise unavailable(f"{name} is refused")
        request = Request(network, self.client, name, steps)
        network.loop.call_later(fate.delay, request.step, context=NOBODY)
        if fate.cut_after is not None:
            network.loop.call_later(fate.cut_after, request.cut, context=NOBODY)
        try:
            result: T = await request.answer
        except asyncio.CancelledError:
            request.abandon()
            raise
        return result

    def call_sync(self, name: str, steps: Generator[Pause, None, T]) -> T:
        network, fate = self._network, self._network.sky.fate()
        if fate.refused or not network.server.up:
            steps.close()
            raise unavailable(f"{name} is refused")
        result = run_through(steps, _refuse_to_wait)
        network.trace(self.client.name, name, "in a thread")
        if fate.cut_after is not None:
            _forget(result)
            raise unavailable(f"the answer to {name} is lost", maybe_done=True)
        return result

    def hint(self, wake: Callable[[], None]) -> None:
        if not self._network.sky.loses_hint():
            wake()

    def opened(self) -> Session:
        session = Session()
        self._network.sessions.append((self.client, session))
        return session

    def is_cut(self, session: Any) -> bool:
        return bool(session.is_cut)


def _refuse_to_wait(pause: Pause) -> None:
    if pause is Pause.BLOCKED:
        raise StoreBusy("simulated: a lock is in the way")


def _forget(value: object) -> None:
    """Nobody will use it: a transaction that was begun ends."""
    if isinstance(value, Transaction):
        value.roll_back()


class Request:
    """One request on its way, carried out step by step by the server."""

    __slots__ = ("_began", "_client", "_name", "_network", "_pause", "_steps", "answer")

    def __init__(self, network: Network, client: Process, name: str, steps: Generator[Pause, None, Any]) -> None:
        self._network, self._client, self._name, self._steps = network, client, name, steps
        self._pause: Pause | None = None
        self._began = network.loop.time()
        self.answer: asyncio.Future[Any] = network.loop.create_future()
        network.under_way[self] = None

    def step(self) -> None:
        """Go on, if the server still does and, where that matters, the client too."""
        network = self._network
        if self not in network.under_way:
            return
        if self._pause is Pause.ROUND_TRIP and self.is_given_up():
            self._end("given up")
            return
        if self._has_to_wait():
            return
        try:
            self._pause = next(self._steps)
        except StopIteration as done:
            self._succeed(done.value)
        except HoldfastError as error:
            self._end(type(error).__name__, error)
        else:
            delay = 0.01 if self._pause is Pause.BLOCKED else network.sky.pause()
            network.loop.call_later(delay, self.step, context=NOBODY)

    def is_given_up(self) -> bool:
        """Whether nobody waits for its answer any more; the server may carry it out all the same."""
        return self.answer.done() or not self._client.alive

    def _has_to_wait(self) -> bool:
        """For a paused client's next message, or for a lock: neither for ever."""
        waits_for_client = self._pause is Pause.ROUND_TRIP and self._client.paused
        if not waits_for_client and self._pause is not Pause.BLOCKED:
            return False
        if self._network.loop.time() - self._began > PATIENCE:
            self._end("timed out", unavailable(f"{self._name} takes too long", maybe_done=True))
            return True
        if waits_for_client:
            self._network.loop.call_later(0.05, self.step, context=NOBODY)
        return waits_for_client

    def _succeed(self, value: Any) -> None:
        self._network.under_way.pop(self)
        self._network.trace(self._client.name, self._name, "done")
        if not self.answer.done() and self._client.alive:
            self.answer.set_result(value)
        else:
            _forget(value)

    def _end(self, how: str, error: HoldfastError | None = None) -> None:
        self._network.under_way.pop(self, None)
        self._network.trace(self._client.name, self._name, how)
        self._steps.close()
        if error is not None and not self.answer.done():
            self.answer.set_exception(error)

    def cut(self) -> None:
        """The client hears that its connection is lost; the server does not know yet."""
        if not self.answer.done():
            self._network.trace(self._client.name, self._name, "cut")
            self.answer.set_exception(unavailable(f"the answer to {self._name} is lost", maybe_done=True))

    def abandon(self) -> None:
        """Whoever asked was cancelled, and will never see what was begun for it."""
        answer = self.answer
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            _forget(answer.result())

    def crash(self) -> None:
        self._end("crashed", unavailable(f"the server crashed during {self._name}", maybe_done=True))
