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
    from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
    from contextvars import Context

    from holdfast.ports import Threads
    from holdfast.stores.base import Store
    from holdfast.subscription import Consumer
    from holdfast.worker.hand import InHand


class Caller:
    """Calls one subscription's handler.

    Args:
        consumer: The subscription.
        store: Gives transactional handlers their connections.
        threads: Where synchronous handlers run.
        bus: What handlers' own publishes are recognised by.
    """

    def __init__(self, consumer: Consumer, store: Store, threads: Threads, bus: Any) -> None:
        self._consumer, self._store, self._threads, self._bus = consumer, store, threads, bus

    async def call(self, item: InHand) -> bool:
        """
        Run the handler for one event; returns whether its receipt is committed already.

        Raises:
            Whatever the handler raises.
        """
        if not self._consumer.transactional:
            await self._run(self._arguments([self._delivery(item)]))
            return False
        receipt = receipt_of(item)
        if not self._consumer.is_async:
            await self._in_thread(lambda: self._transaction_in_thread(item, receipt), copy_context())
            return True
        timeout = self._consumer.timeout
        async with self._store.transaction(receipt, item.partition.epoch, timeout=timeout) as transaction:
            if not transaction.passed:
                with _own_errors():
                    await self._run(self._arguments([self._delivery(item, transaction.connection)]))
        return True

    async def call_batch(self, items: Sequence[InHand]) -> None:
        """Run a batch handler once for *items*."""
        await self._run(self._arguments([self._delivery(item) for item in items]))

    def _transaction_in_thread(self, item: InHand, receipt: Receipt) -> None:
        timeout = self._consumer.timeout
        with self._store.transaction_sync(receipt, item.partition.epoch, timeout=timeout) as transaction:
            if not transaction.passed:
                delivery = self._delivery(item, transaction.connection)
                CURRENT.set(delivery)
                with _own_errors():
                    result = self._consumer.handler(*self._arguments([delivery]))
                if inspect.isawaitable(result):
                    if inspect.iscoroutine(result):
                        result.close()
                    raise TransactionError(
                        f"{self._consumer.name!r} is transactional and a plain function, and returned an awaitable, "
                        f"which cannot run in the transaction's thread: make it async def"
                    )

    def _delivery(self, item: InHand, connection: Any = None) -> Delivery:
        replay = item.due is not None and item.due.is_replay
        return Delivery(
            Event(item.row), self._consumer.name, item.attempt, epoch=item.partition.epoch, is_replay=replay,
            connection=connection, bus=self._bus,
        )  # fmt: skip

    def _arguments(self, deliveries: list[Delivery]) -> tuple[Any, ...]:
        # Several events have no common cause, so what a batch handler publishes inherits from a batch of one only.
        CURRENT.set(deliveries[0] if len(deliveries) == 1 else None)
        if self._consumer.batch is None:
            (delivery,) = deliveries
            return (delivery.event, delivery) if self._consumer.wants_delivery else (delivery.event,)
        events = [delivery.event for delivery in deliveries]
        return (events, deliveries) if self._consumer.wants_delivery else (events,)

    async def _run(self, arguments: tuple[Any, ...]) -> None:
        context = copy_context()
        if self._consumer.is_async:
            await in_context(context, context.run(self._consumer.handler, *arguments))
            return
        result = await self._in_thread(lambda: self._consumer.handler(*arguments), context)
        if inspect.isawaitable(result):
            await in_context(context, _awaited(result))

    async def _in_thread(self, function: Callable[[], Any], context: Context) -> Any:
        future = self._threads.run(lambda: context.run(function))
        try:
            outcome = await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                raise ThreadStillRuns(future) from None
            raise
        return outcome.unwrap()


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


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


@coroutine
def in_context(context: Context, handler: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """
    Drive *handler* in *context*, inside the task that awaits this.

    A task for each event would give it a context too, at ten times the cost: most handlers need a task of their own
    for nothing else. Whatever the handler awaits is awaited by the running task.
    """
    step, value = context.run, None
    method: Callable[[Any], Any] = handler.send
    while True:
        try:
            awaited = step(method, value)
        except StopIteration as done:
            return done.value
        try:
            value = yield awaited
            method = handler.send
        except GeneratorExit:
            handler.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the handler
            value, method = error, handler.throw


def receipt_of(item: InHand) -> Receipt:
    """The receipt that the event will have once it is handled."""
    replaces = item.due is not None and item.due.is_replay
    return Receipt(item.partition.slice, item.row.id, item.row.day, item.attempt, replaces)
