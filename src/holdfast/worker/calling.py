"""Calling a handler: in a context of its own, on the loop or in a thread, in a transaction or not."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import contextmanager
from contextvars import copy_context
from types import coroutine
from typing import TYPE_CHECKING, Any

from holdfast.context import CURRENT
from holdfast.errors import StoreUnavailable, TransactionError
from holdfast.event import Event
from holdfast.stores.values import Receipt
from holdfast.subscription import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
    from contextvars import Context

    from holdfast.ports import Threads
    from holdfast.stores.base import Store
    from holdfast.subscription import Consumer, Handler
    from holdfast.worker.hand import InHand


class Caller:
    """Calls one subscription's handler.

    Args:
        consumer: The subscription.
        store: Gives transactional handlers their connections.
        threads: Where synchronous handlers run.
        bus: What handlers' own publishes are recognised by.
        handler: What is called: the subscription's own, or what stands round it.
    """

    def __init__(self, consumer: Consumer, store: Store, threads: Threads, bus: Any, handler: Handler) -> None:
        self._consumer, self._store, self._threads, self._bus = consumer, store, threads, bus
        self._handler = handler

    def begin(self, item: InHand) -> Awaitable[None] | None:
        """
        Run the handler for one event, as far as it goes without waiting.

        Returns what is to be awaited for the rest; None if there is none. A transactional handler's receipt is
        committed when that ends.

        Raises:
            Whatever the handler raises.
        """
        if self._consumer.transactional:
            return self._call_in_transaction(item)
        delivery = self._delivery(item)
        return self._start(delivery, self._arguments(delivery))

    def begin_batch(self, items: Sequence[InHand]) -> Awaitable[None] | None:
        """Run a batch handler once for *items*, in the same way."""
        deliveries = [self._delivery(item) for item in items]
        events = [delivery.event for delivery in deliveries]
        # Several events have no common cause, so what a batch handler publishes inherits from a batch of one only.
        current = deliveries[0] if len(deliveries) == 1 else None
        return self._start(current, (events, deliveries) if self._consumer.wants_delivery else (events,))

    def _start(self, current: Delivery | None, arguments: tuple[Any, ...]) -> Awaitable[None] | None:
        context = copy_context()
        if not self._consumer.is_async:
            return self._call_in_thread(context, current, arguments)
        step = context.run(_first_step, self._handler, current, arguments)
        return None if step is None else _rest(context, *step)

    async def _call_in_thread(self, context: Context, current: Delivery | None, arguments: tuple[Any, ...]) -> None:
        result = await self._in_thread(lambda: _called(self._handler, current, arguments), context)
        if inspect.isawaitable(result) and (step := context.run(_first_step, _awaited, current, (result,))) is not None:
            await _rest(context, *step)

    async def _call_in_transaction(self, item: InHand) -> None:
        receipt, timeout = receipt_of(item), self._consumer.timeout
        if not self._consumer.is_async:
            await self._in_thread(lambda: self._transaction_in_thread(item, receipt), copy_context())
            return
        async with self._store.transaction(receipt, item.partition.epoch, timeout=timeout) as transaction:
            if not transaction.passed:
                delivery = self._delivery(item, transaction.connection)
                with _own_errors():
                    if (rest := self._start(delivery, self._arguments(delivery))) is not None:
                        await rest

    def _transaction_in_thread(self, item: InHand, receipt: Receipt) -> None:
        timeout = self._consumer.timeout
        with self._store.transaction_sync(receipt, item.partition.epoch, timeout=timeout) as transaction:
            if not transaction.passed:
                delivery = self._delivery(item, transaction.connection)
                with _own_errors():
                    result = _called(self._handler, delivery, self._arguments(delivery))
                if inspect.isawaitable(result):
                    if inspect.iscoroutine(result):
                        result.close()
                    raise TransactionError(
                        f"{self._consumer.name!r} is transactional and a plain function, and returned an awaitable, "
                        f"which cannot run in the transaction's thread: make it async def"
                    )

    def _delivery(self, item: InHand, connection: Any = None) -> Delivery:
        due = item.due
        is_replay = due is not None and due.is_replay
        return Delivery(
            Event(item.row), self._consumer.name, item.attempt, item.partition.epoch, is_replay, connection, self._bus
        )

    def _arguments(self, delivery: Delivery) -> tuple[Any, ...]:
        return (delivery.event, delivery) if self._consumer.wants_delivery else (delivery.event,)

    async def _in_thread(self, function: Callable[[], Any], context: Context) -> Any:
        call = self._threads.run(lambda: context.run(function))
        try:
            outcome = await call.answer
        except asyncio.CancelledError:
            if call.answer.cancelled():
                raise ThreadStillRuns(call.ended) from None
            raise
        return outcome.unwrap()


def _called(handler: Callable[..., Any], current: Delivery | None, arguments: tuple[Any, ...]) -> Any:
    CURRENT.set(current)
    return handler(*arguments)


async def _awaited(awaitable: Any) -> None:
    await awaitable


class RaisedByHandler(Exception):
    """A transactional handler itself met a store that is away, which is not the one that its transaction is in."""

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise RaisedByHandler(error) from error


class ThreadStillRuns(asyncio.CancelledError):
    """The wait for a handler's thread was cancelled; the thread cannot be. ``future`` tells when it returns."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        super().__init__()
        self.future = future


Running = tuple["Coroutine[Any, Any, Any]", Any]
"""A handler that waits, and what for."""


def _first_step(handler: Callable[..., Any], current: Delivery | None, arguments: tuple[Any, ...]) -> Running | None:
    """
    Run an async *handler* until it waits; None if it has ended.

    A task for each event would give it a context too, at ten times the cost: most handlers need a task of their own
    for nothing else. Whatever the handler awaits is awaited by the running task: `_rest`.
    """
    CURRENT.set(current)
    running = handler(*arguments)
    try:
        return running, running.send(None)
    except StopIteration:
        return None


@coroutine
def _rest(context: Context, handler: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, None]:
    step, method, value = context.run, handler.send, None
    while True:
        try:
            value, method = (yield awaited), handler.send
        except GeneratorExit:
            handler.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the handler
            value, method = error, handler.throw
        try:
            awaited = step(method, value)
        except StopIteration:
            return


def receipt_of(item: InHand) -> Receipt:
    """The receipt that the event will have once it is handled."""
    replaces = item.due is not None and item.due.is_replay
    return Receipt(item.partition.slice, item.row.id, item.row.day, item.attempt, replaces)
