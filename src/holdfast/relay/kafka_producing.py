"""A producer of Kafka: records go in by batches, and one answer comes back for each batch."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import lru_cache, partial
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from confluent_kafka import KafkaError, KafkaException, Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.relay.ports import Message

logger = logging.getLogger("holdfast.relay.kafka")
# librdkafka calls it experimental, at each start. It is chosen with care: see docs/relay-kafka.md.
logger.addFilter(lambda record: "enable.gapless.guarantee is experimental" not in record.getMessage())

LOGIN = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
PREFIX = "ce_"  # as the Kafka binding of CloudEvents has it

_POLL = 0.1  # seconds


class Record(NamedTuple):
    """A message as Kafka has it."""

    message: Message
    key: bytes | None
    headers: list[tuple[str, str | bytes | None]]

    def may_exceed(self, largest: int) -> bool:
        """False only where `size` is at most *largest*; cheaper, as nothing is encoded."""
        headers = self.message.headers
        characters = sum(map(len, headers)) + sum(map(len, headers.values()))
        return len(self.message.body) + len(self.key or b"") + 4 * characters > largest

    @property
    def size(self) -> int:
        """Bytes of key, headers and payload."""
        headers = self.message.headers.items()
        texts = sum(len((name + value).encode()) for name, value in headers)
        return len(self.message.body) + len(self.key or b"") + texts


def record_of(message: Message) -> Record:
    """*message* with the key and the headers that it has in Kafka."""
    # The tenant is quoted so that no two pairs of tenant and key look alike.
    key = None if message.key is None else f"{_quoted(message.tenant_id)}/{message.key}".encode()
    return Record(message, key, [*zip(_named(tuple(message.headers)), message.headers.values(), strict=True)])


_quoted = lru_cache(1000)(partial(quote, safe=""))


@lru_cache(1000)  # most messages have the same few
def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(PREFIX + name[3:] if name.startswith("ce-") else name for name in names)


class Producing:
    """A producer, with the thread in which it reports."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[list[tuple[Any, KafkaError]]]] = set()
        self._ended = False
        self._refusal: KafkaError | None = None
        self._producer = Producer({**config, "error_cb": self._trouble}, logger=logger)
        Thread(target=self._serve, name="holdfast-kafka", daemon=True).start()

    async def produce(self, topic: str, records: Sequence[Record]) -> list[tuple[Record, KafkaError]]:
        """
        Hand *records* over in order; returns those that failed, once all have been reported.

        Raises:
            KafkaException, BufferError: Not all of them could be queued, or the login is refused.
        """
        answer: asyncio.Future[list[tuple[Any, KafkaError]]] = self._loop.create_future()
        failed: list[tuple[Any, KafkaError]] = []
        left = len(records)

        # One for the whole batch: it is called for each record, in the thread, under the interpreter's lock.
        def report(error: KafkaError | None, reported: Any) -> None:
            nonlocal left
            left -= 1
            if error is not None:
                failed.append((reported, error))
            if not left:
                self._tell(_set_result, answer, failed)

        produce = self._producer.produce
        for message, key, headers in records:
            produce(topic, message.body, key, headers=headers, on_delivery=report)
        self._waiting.add(answer)
        try:
            await answer
        finally:
            self._waiting.discard(answer)
        return [(_reported(one, records), error) for one, error in failed]

    async def require(self, look: Callable[[Producer], None]) -> None:
        """
        Have *look* ask the brokers, in a thread.

        Raises:
            KafkaException: What it raises, or that the login is refused, which tells more.
        """
        try:
            await asyncio.to_thread(look, self._producer)
        except KafkaException:
            if self._refusal is not None:
                raise KafkaException(self._refusal) from None
            raise

    def end(self) -> None:
        """Throw away what is not sent; whoever waits for it is told."""
        self._ended = True
        self._producer.purge()

    def _serve(self) -> None:
        while not self._ended or self._waiting:
            try:
                if self._ended:
                    self._producer.purge()  # again: what was on its way from one queue to the next was not seen
                self._producer.poll(_POLL)
            except KafkaException:
                # Fatal: going on would leave a gap. The reports say of which message; the others of all batches are
                # reported as thrown away.
                self._producer.purge()

    def _trouble(self, error: KafkaError) -> None:
        # Others pass: the producer tries again by itself.
        if error.code() in LOGIN:
            self._refusal = error
            self._tell(self._give_up, error)

    def _give_up(self, error: KafkaError) -> None:
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(KafkaException(error))

    def _tell(self, what: Callable[..., None], *given: Any) -> None:
        """Have the loop do it."""
        with suppress(RuntimeError):  # it has ended before the producer
            self._loop.call_soon_threadsafe(what, *given)


def _set_result(answer: asyncio.Future[list[tuple[Any, KafkaError]]], failed: list[tuple[Any, KafkaError]]) -> None:
    if not answer.done():
        answer.set_result(failed)


def _reported(report: Any, records: Sequence[Record]) -> Record:
    """Which of *records* a report is of. It has payload and key alone: of records that have both in common, the first."""
    known = (report.value() or b"", report.key())
    return next(one for one in records if (one.message.body, one.key) == known)
