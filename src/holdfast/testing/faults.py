"""
Faults for handlers: what a broken machine does to them, done by the engine itself.

A fault strikes each event once, when its handler has returned for the first time. What becomes of it then is the engine's
own doing: a worker that is given up vanishes with all that it had in memory, and another takes over as it would anywhere.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from holdfast.ports import SYSTEM, process_identity, process_started
from holdfast.tracing import NO_TRACING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Hashable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from holdfast.event import Row
    from holdfast.ports import Ports
    from holdfast.stores.values import Subscription
    from holdfast.subscription import Consumer, Delivery, Handler
    from holdfast.tracing import PublishSpan, SubscriptionTracing, Tracing
    from holdfast.worker import Worker

KINDS = {
    "duplicate": "the worker stood still before it stored the receipt, another one was given the event too, and then "
    "both had handled it",
    "crash": "the worker vanished when the handler had done its work, before the receipt was stored, and another one "
    "handled the event again",
    "lost-connection": "a connection broke at the handler's end, so that the attempt failed, and the event was tried again",
    "reorder": "events of different keys, which have no order, were handled the latest first",
}
"""The faults, and what each one does."""

_STRIKING = ("duplicate", "crash", "lost-connection")
_STOP_SECONDS = 5.0
_FLUSH_SECONDS = 1.0
_REPEAT_SECONDS = 5.0
_LOOK_SECONDS = 0.001
_CALM_LOOKS = 20


class Faults:
    """
    One kind of fault, for the handlers of one bus in one test. The bus takes it for a `Tracing`.

    Args:
        kind: One of `KINDS`.
        only: Names of the subscriptions that are struck; None: all.

    Attributes:
        hit: Names of the subscriptions whose handlers got an event again, or in another order, by the fault.
        followed_by: Who else follows events.
    """

    def __init__(self, kind: str, *, only: Collection[str] | None = None) -> None:
        self.kind, self._only = kind, only
        self.hit: set[str] = set()
        self.followed_by: Tracing = NO_TRACING
        self._workers: Succession | None = None
        self._past = _Past(self.hit)

    def publishing(self, name: str | None, cause: Delivery | None) -> AbstractContextManager[PublishSpan]:
        return self.followed_by.publishing(name, cause)

    def of(self, consumer: Consumer) -> SubscriptionTracing | None:
        """What stands round a subscription's handler."""
        followed = self.followed_by.of(consumer)
        handler = consumer.called if followed is None else followed.handler
        if self._only is not None and consumer.name not in self._only:
            kind = None
        elif consumer.transactional and self.kind == "duplicate":
            kind = None  # its receipt is in its own transaction: of two only one commits
        else:
            kind = self.kind
        assert self._workers is not None
        strikes = _Strikes(consumer, kind, self._past, self._workers)
        if kind == "reorder" and consumer.concurrency > 1 and not consumer.transactional:
            strikes.order = _LatestFirst(consumer.name, self.hit)
        return _Struck(strikes.around(handler, is_async=consumer.is_async), followed)

    def worker(self, make: Callable[..., Worker]) -> Callable[..., Any]:
        """What makes the bus's worker, in place of *make*."""

        def made(store: Any, settings: Any, **others: Any) -> Succession:
            self._workers = Succession(lambda ports: make(store, settings, ports=ports, **others), self._past)
            return self._workers

        return made


@dataclass(frozen=True, slots=True)
class _Struck:
    """What the engine is told of one subscription: another handler; what it tells goes on to whoever follows events."""

    handler: Handler
    followed: SubscriptionTracing | None

    def handled(self, rows: Sequence[Row], seconds: float) -> None:
        if self.followed is not None:
            self.followed.handled(rows, seconds)

    def failed(self, rows: Sequence[Row], seconds: float, error: BaseException) -> None:
        if self.followed is not None:
            self.followed.failed(rows, seconds, error)


class _Past:
    """Which events handlers have begun and ended, in all workers of a test. Handlers in threads ask it, too."""

    def __init__(self, hit: set[str]) -> None:
        self._hit, self._lock = hit, Lock()
        self._ended: dict[Hashable, bool] = {}  # whether the handler returned; False: it was cut off, or runs
        self._repeated: dict[Hashable, Event] = {}
        self.running = 0
        """Handlers that have begun and not ended."""

    def begin(self, name: str, events: Sequence[Any]) -> None:
        with self._lock:
            self.running += 1
            if any((name, event.id) in self._ended for event in events):
                self._hit.add(name)
            for event in events:
                self._ended.setdefault((name, event.id), False)

    def end(self) -> None:
        with self._lock:
            self.running -= 1

    def returned(self, name: str, events: Sequence[Any]) -> list[Event]:
        """The handler has returned. Of each event that it has handled for the first time: what tells when it has again."""
        with self._lock:
            fresh = [(name, event.id) for event in events if not self._ended.get((name, event.id))]
            for event in events:
                self._ended[name, event.id] = True
                if (repeated := self._repeated.get((name, event.id))) is not None:
                    repeated.set()
            return [self._repeated.setdefault(one, Event()) for one in fresh]

    def raised(self, name: str, events: Sequence[Any]) -> None:
        """The handler itself failed: that it is called again is no fault's doing."""
        with self._lock:
            for event in events:
                if not self._ended.get((name, event.id)):
                    self._ended.pop((name, event.id), None)
                if (repeated := self._repeated.get((name, event.id))) is not None:
                    repeated.set()


class _Strikes:
    """The fault for one subscription, in the worker that is being made."""

    def __init__(self, consumer: Consumer, kind: str | None, past: _Past, workers: Succession) -> None:
        self._name, self._is_transactional, self._kind = consumer.name, consumer.transactional, kind
        self._past, self._workers, self._number = past, workers, workers.number
        self.order: _LatestFirst | None = None

    def around(self, handler: Any, *, is_async: bool) -> Any:
        """*handler* with the fault behind it, of the same kind."""

        async def struck(*arguments: Any) -> None:
            events = _events_of(arguments)
            with self._in_turn() as may_go:
                while not may_go():  # noqa: ASYNC110 - turns change in threads, too
                    await asyncio.sleep(_LOOK_SECONDS)
                with self._on_record(events):
                    await handler(*arguments)
            if repeated := self._returned(events):
                await self._strike(repeated)

        def struck_in_thread(*arguments: Any) -> Any:
            events = _events_of(arguments)
            with self._in_turn() as may_go:
                while not may_go():
                    time.sleep(_LOOK_SECONDS)
                with self._on_record(events):
                    result = handler(*arguments)
            if repeated := self._returned(events):
                self._workers.run(self._strike(repeated))
            return result

        return struck if is_async else struck_in_thread

    @contextmanager
    def _in_turn(self) -> Iterator[Callable[[], bool]]:
        """Gives what tells whether the handler may begin; its turn ends with the context."""
        if self.order is None:
            yield lambda: True
            return
        ticket = self.order.enter()
        try:
            yield partial(self.order.may_go, ticket)
        finally:
            self.order.leave(ticket)

    @contextmanager
    def _on_record(self, events: Sequence[Any]) -> Iterator[None]:
        self._past.begin(self._name, events)
        try:
            yield
        except Exception:
            self._past.raised(self._name, events)
            raise
        finally:
            self._past.end()

    def _returned(self, events: Sequence[Any]) -> list[Event]:
        """As `_Past.returned`; nothing where no fault strikes."""
        repeated = self._past.returned(self._name, events)
        return repeated if self._kind in _STRIKING else []

    async def _strike(self, repeated: Sequence[Event]) -> None:
        if self._kind == "lost-connection":
            raise ConnectionResetError("the connection broke at the handler's end (a fault of the test)")
        if self._kind == "crash":
            await self._workers.crash(self._number, flush=not self._is_transactional)
        elif self._kind == "duplicate":
            await self._workers.stand_still(self._number, repeated)


def _events_of(arguments: tuple[Any, ...]) -> Sequence[Any]:
    given = arguments[0]
    return given if isinstance(given, list) else [given]


class _LatestFirst:
    """Lets the events that are in hand together run one after the other, the latest first."""

    def __init__(self, name: str, hit: set[str]) -> None:
        self._name, self._hit, self._lock = name, hit, Lock()
        self._waiting: list[object] = []
        self._calm = 0  # looks since the last one came or went

    def enter(self) -> object:
        ticket = object()
        with self._lock:
            self._waiting.append(ticket)
            self._calm = 0
            if len(self._waiting) > 1:
                self._hit.add(self._name)
        return ticket

    def may_go(self, ticket: object) -> bool:
        """Whether it is the turn of *ticket*: nobody has come after it for some looks."""
        with self._lock:
            if self._waiting[-1] is not ticket:
                return False
            self._calm += 1
            return self._calm > _CALM_LOOKS

    def leave(self, ticket: object) -> None:
        with self._lock:
            self._waiting.remove(ticket)
            self._calm = 0


class Succession:
    """
    Workers one after the other, which a bus takes for one: each is to the next one a process that is gone.

    Args:
        make: Makes a worker that sees the world by the ports given.
        past: Knows whether handlers run.
    """

    def __init__(self, make: Callable[[Ports], Worker], past: _Past) -> None:
        self._make, self._past = make, past
        self._subscriptions: dict[str, tuple[Consumer, Subscription]] = {}
        self._loop = asyncio.get_running_loop()
        self._replacing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.number = 1
        self._worker = make(self._ports(1))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def _begin(self) -> None:
        """Start the next worker."""
        self.number += 1
        self._worker = self._make(self._ports(self.number))
        for consumer, record in self._subscriptions.values():
            self._worker.add(consumer, record)
        self._worker.start()

    def _ports(self, number: int) -> Ports:
        me = process_identity()

        def started(pid: int) -> str | None:
            return f"{me.pid_started}/{self.number}" if pid == me.pid else process_started(pid)

        mine = replace(me, boot_id=me.boot_id or "this machine", pid_started=f"{me.pid_started}/{number}")
        return replace(SYSTEM, identity=lambda: mine, process_started=started)

    def add(self, consumer: Consumer, record: Subscription) -> None:
        """As `Worker.add`; whoever comes next runs it, too."""
        self._subscriptions[consumer.name] = (consumer, record)
        self._worker.add(consumer, record)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* in the loop and wait for it here, in the thread of a handler."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def crash(self, number: int, *, flush: bool) -> None:
        """
        Worker *number* is gone, with all that it has in memory, and another one takes over. Its handlers are cut off.

        Args:
            flush: Not from within a transaction, which the write would wait for; see `_replace`.
        """
        await self._succeed(number, flush=flush, abrupt=True)

    async def stand_still(self, number: int, repeated: Sequence[Event]) -> None:
        """Worker *number* stands still until another one, which has its leases, has handled what is to be *repeated*."""
        await self._succeed(number, flush=True, abrupt=False)
        until = self._loop.time() + _REPEAT_SECONDS
        while not all(one.is_set() for one in repeated) and self._loop.time() < until:  # noqa: ASYNC110 - set in threads, too
            await asyncio.sleep(_LOOK_SECONDS)

    async def _succeed(self, number: int, *, flush: bool, abrupt: bool) -> None:
        """Once for all handlers of worker *number* that are struck meanwhile."""
        if self._replacing is None and number == self.number:
            self._replacing = self._loop.create_task(self._replace(flush=flush, abrupt=abrupt))
        if self._replacing is not None:
            await asyncio.shield(self._replacing)

    async def _replace(self, *, flush: bool, abrupt: bool) -> None:
        """*flush*: what others have in hand is finished and stored first: the fault is to strike one event, no neighbour."""
        try:
            if flush:
                with suppress(TimeoutError):  # they may take long, and somebody's transaction may keep the store
                    async with asyncio.timeout(_FLUSH_SECONDS):
                        while self._past.running:  # noqa: ASYNC110 - they end in threads, too
                            await asyncio.sleep(_LOOK_SECONDS)
                        await asyncio.sleep(_LOOK_SECONDS)  # the worker hears of it
                        await self._worker.flush()
            if abrupt:
                await self._worker.abort()
            else:  # its running handlers are waited for, and what they did is stored late
                leaving = self._loop.create_task(self._worker.stop(_STOP_SECONDS))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
            self._begin()
        finally:
            self._replacing = None

    async def stop(self, grace: float) -> None:
        """As `Worker.stop`, for all of them."""
        if self._replacing is not None:
            await asyncio.wait({self._replacing})
        await self._worker.stop(grace)
        if self._leaving:
            await asyncio.wait(self._leaving)
