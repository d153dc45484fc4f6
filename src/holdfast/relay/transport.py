"""
``EventBus(transport=…)``: what is published here goes to a stream that services share, what others publish comes in.

Made of a relay out and an ingest in, with the service's own store between them: what came in is stored once, and is
handled as if it had been published here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from zlib import crc32

from holdfast.errors import ConfigurationError
from holdfast.patterns import Matcher
from holdfast.ports import elapsed
from holdfast.relay.address import parse_address
from holdfast.relay.declaring import BATCH, CONCURRENCY, Broker
from holdfast.relay.ingesting import Ingest
from holdfast.relay.message import message_of
from holdfast.relay.relaying import Relay
from holdfast.subscription import RetryPolicy, make_consumer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from holdfast.event import Event
    from holdfast.live import Live
    from holdfast.relay.ports import Incoming, Message, Source, Target
    from holdfast.subscription import Consumer

NAME = "transport"
"""Of the relay's subscription and of the ingest: a bus has one transport."""

DEFAULT_TARGET = "holdfast"
"""Stream or topic where the address names none."""

_KINDS = ("kafka", "nats")
_SERVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN = "holdfast."
_ATTRIBUTE = "ce-holdfastorigin"
_HEADER = "ce_holdfastorigin"  # the same, as the event has it


class Home:
    """What a transport asks of the bus in whose worker it runs.

    Args:
        live: What the bus has in its loop now; None where it has nothing.
    """

    def __init__(self, live: Callable[[], Live | None]) -> None:
        self._live = live

    @property
    def store(self) -> str:
        """Id of the service's store."""
        return self._now.store.identity

    def held(self) -> dict[int, int]:
        """
        The partitions that are this worker's, each with the epoch of its lease. Of none where the leases may have run out:
        a worker that does not reach the store must not take back what another has got.
        """
        live = self._live()
        if live is None or live.worker is None or elapsed() >= live.worker.keeper.valid_until:
            return {}
        _, record = live.registered[NAME]
        return {one.partition: epoch for one, epoch in live.worker.epochs.items() if one.subscription == record.id}

    async def patterns(self) -> frozenset[str]:
        """
        What the subscriptions of the store listen to, whichever program runs them; the way out is not counted.

        Raises:
            StoreUnavailable
        """
        known = await self._now.store.subscriptions()
        return frozenset(pattern for one in known if one.name != NAME for pattern in one.patterns)

    @property
    def _now(self) -> Live:
        live = self._live()
        assert live is not None, "a transport runs in a worker"
        return live


class Way:
    """
    Which events are whose: on their way each one says over which stream it goes, and from which service.

    Args:
        place: Kind and target of the address.
        service: This one.
    """

    def __init__(self, place: str, service: str) -> None:
        self._prefix, self.origin = f"{place}/", f"{place}/{service}"

    def goes_out(self, event: Event) -> bool:
        """Whether it was published here. What a store says about itself is nobody else's business."""
        return not event.name.startswith(_OWN) and not (event.header(_HEADER) or "").startswith(self._prefix)

    def marked(self, message: Message) -> Message:
        message.headers[_ATTRIBUTE] = self.origin
        return message

    def comes_in(self, message: Incoming) -> bool:
        """Whether somebody else has published it."""
        return message.headers.get(_ATTRIBUTE) != self.origin


class TransportRelay(Relay):
    """The way out: a relay of what was published here. What came in over the same stream is settled and stays."""

    def __init__(self, target: Target, way: Way, *, service: str) -> None:
        super().__init__(NAME, target, source=service, format="binary")
        self._way = way

    def messages(self, events: Sequence[Event]) -> list[Message]:
        return [
            self._way.marked(message_of(event, source=self._source, format=self._format))
            for event in events
            if self._way.goes_out(event)
        ]


class TransportIngest(Ingest):
    """
    The way in: an ingest of what others have published and a subscription of this store listens to.

    Whether any does is asked of the store before a message is passed over: one that was published after a subscription
    was registered finds it, whichever program has registered it.
    """

    def __init__(self, where: str, source: Callable[[], Source], way: Way, home: Home, **options: Any) -> None:
        super().__init__(NAME, where, source, tenant_id=None, convert=None, **options)
        self._way, self._home = way, home
        self._patterns: frozenset[str] = frozenset()
        self._wants = Matcher(())

    async def chosen(self, batch: Sequence[Incoming]) -> Sequence[Incoming]:
        foreign = [message for message in batch if self._way.comes_in(message)]
        if not all(map(self._is_wanted, foreign)):
            patterns = await self._answered(self._home.patterns)
            if patterns != self._patterns:
                self._patterns, self._wants = patterns, Matcher(patterns)
            foreign = [message for message in foreign if self._is_wanted(message)]
        self.counts.passed_over += len(batch) - len(foreign)
        return foreign

    def _is_wanted(self, message: Incoming) -> bool:
        name = message.headers.get("ce-type")
        return name is None or self._wants(name)  # what no Holdfast has sent is told apart when it is stored


def partition_of(message: Message, partitions: int) -> int:
    """The partition of a message: that of its tenant and key, the same in every service; of its id where it has no key."""
    own = message.id if message.key is None else message.key
    return crc32(f"{message.tenant_id}\x1f{own}".encode()) % partitions


def declare_transport(
    url: str, *, service: str | None, home: Home, limit: int, require_tenant: bool
) -> tuple[Consumer, TransportRelay, TransportIngest]:
    """
    Both ways of a transport. No I/O.

    Raises:
        ConfigurationError: The address, its options, or the service's name; a broker that can be no transport.
        MissingExtra: The broker's client is not installed.
    """
    address = parse_address(url)
    if address.kind not in _KINDS:
        raise ConfigurationError(
            f"{address} can be no transport: it has no partitions that keep order and are shared by many; use nats:// or "
            f"kafka://, or relay to it beside the transport"
        )
    address = replace(address, target=address.target or DEFAULT_TARGET)
    service = _checked_service(service)
    module = _module(address.kind)
    partitions = module.partitions(address)
    target, way = Broker(address, module), Way(f"{address.kind}:{address.target}", service)
    target.destination()  # options that break a rule are told here, and not to a worker
    source = partial(module.source, address, service=service, home=home)
    source()
    relay = TransportRelay(target, way, service=service)
    consumer = make_consumer(
        "**", relay, name=NAME, batch=BATCH, concurrency=CONCURRENCY, partitions=partitions, retry=RetryPolicy()
    )
    return consumer, relay, TransportIngest(
        str(address), source, way, home, limit=limit, require_tenant=require_tenant
    )  # fmt: skip


def _module(kind: str) -> ModuleType:
    """Imported when it is needed: each has a client of its own."""
    if kind == "nats":
        from holdfast.relay import nats_transport

        return nats_transport
    from holdfast.relay import kafka_transport

    return kafka_transport


def _checked_service(service: Any) -> str:
    if service is None:
        raise ConfigurationError(
            "transport= needs service=: the name under which the broker remembers how far this database has got, such as "
            '"billing"; the same in every program on it, and another one for each database'
        )
    if not isinstance(service, str) or _SERVICE.fullmatch(service) is None:
        raise ConfigurationError(f"service is {str(service)[:80]!r}: use 1 to 64 characters of A-Z a-z 0-9 _ -")
    return service
