"""What a broker's module offers to the relay, and what goes through it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from holdfast.subscription import RetryPolicy

Format = Literal["binary", "structured"]
"""How CloudEvents has it: attributes in headers and the payload as the body, or everything in the body."""


class Message(msgspec.Struct, frozen=True):
    """An event as it goes on the wire.

    Attributes:
        id, name, tenant_id, key: Those of the event.
        body: What a consumer reads.
        headers: ``content-type``, and ``ce-…`` for the attributes of CloudEvents where they are not in the body.
    """

    id: str
    name: str
    tenant_id: str
    key: str | None
    body: bytes
    headers: dict[str, str]


class Incoming(msgspec.Struct, frozen=True):
    """A message from a broker.

    Attributes:
        name: Subject, topic, routing key or stream.
        body: As the broker has it.
        headers: Lower-case names; ``ce-…`` for the attributes of CloudEvents, whatever the broker's binding calls them.
        source: Where it came from, such as ``kafka:orders``.
        id: What identifies it where it carries no ``ce-id``; None where the broker gives nothing.
        handle: Of the broker's module alone.
    """

    name: str
    body: bytes
    headers: dict[str, str]
    source: str
    id: str | None
    handle: Any


class Target(Protocol):
    """What ``to=`` of a relay may be besides a URL, and what a URL is made into.

    Attributes:
        kind, target: For the relay's default name.
        where: The address for people, without secrets.
        batch: Most events in one `Destination.send`, unless the relay says.
        format: ``binary`` or ``structured``, unless the relay says.
        retry: What becomes of messages that are refused, unless the relay says.
    """

    @property
    def kind(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def format(self) -> Format: ...
    @property
    def retry(self) -> RetryPolicy: ...

    def destination(self) -> Destination:
        """A new one, which connects at its first use."""


class Destination(Protocol):
    """Where a relay sends to."""

    async def send(self, messages: Sequence[Message]) -> None:
        """
        Hand over *messages*, in order per key; returns when the broker has acknowledged every one.

        May be called again while an earlier call waits, for other keys. After BrokerUnreachable the next call connects
        again. With no messages it connects, and finds out whether it could send any.

        Raises:
            BrokerUnreachable: Nobody knows which of them arrived; send all of them again.
            BrokerRefused: Something is set up wrongly.
            MessageRefused: The broker will not have this one; others of the batch may have arrived.
        """

    async def close(self) -> None:
        """Give back connections and threads."""


class Source(Protocol):
    """
    Where an ingest takes from. After an error it is closed, and another made.

    Where several workers run one ingest, one of them takes and the others stand by in `receive`: order per key is the
    broker's as long as batches are stored one after the other.
    """

    def receive(self) -> AsyncGenerator[Sequence[Incoming], None]:
        """
        Batches in the broker's order. What was yielded and not acknowledged comes again, from another source.

        Raises:
            BrokerUnreachable, BrokerRefused
        """

    async def check(self) -> None:
        """
        Connect, and take nothing.

        Raises:
            BrokerUnreachable, BrokerRefused
        """

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """They are stored; the broker may forget them."""

    async def refuse(self, message: Incoming, reason: str) -> None:
        """It will never be stored: keep it where a person can see it, and go on."""

    async def close(self) -> None:
        """Give back connections and threads."""
