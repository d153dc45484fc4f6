"""The part of `EventBus` that leads beyond its store: relays, ingests, the transport, inboxes, the feed. `holdfast.relay` is imported when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from holdfast.errors import DuplicateSubscription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.counts import FeedCounts, InboxCounts
    from holdfast.live import Live
    from holdfast.options import BusOptions
    from holdfast.relay.declaring import RelayOptions
    from holdfast.relay.ingesting import Ingest
    from holdfast.relay.message import Convert
    from holdfast.relay.ports import Format, Target
    from holdfast.relay.relaying import Relay
    from holdfast.subscription import Consumer


class Bridges:
    """What a bus declares to and from brokers."""

    _options: BusOptions
    _live: Live | None

    def __init__(self) -> None:
        self._relays: dict[str, Relay] = {}
        self._ingests: dict[str, Ingest] = {}
        self.inbox_counts: dict[str, InboxCounts] = {}  # inboxes and the feed count here, see `holdfast.counts`
        self.feed_counts: FeedCounts | None = None

    def _declare(self, consumer: Consumer) -> None:
        raise NotImplementedError

    def _declare_transport(self) -> None:
        """Declare both ways of the transport that the options name."""
        options = self._options
        if options.transport is None:
            return
        from holdfast.relay.transport import Home, declare_transport

        consumer, relay, ingest = declare_transport(
            options.transport, service=options.service, home=Home(lambda: self._live), limit=options.max_payload,
            require_tenant=options.require_tenant,
        )  # fmt: skip
        self._declare(consumer)
        self._relays[consumer.name], self._ingests[ingest.name] = relay, ingest

    @property
    def relays(self) -> Mapping[str, Relay]:
        """The relays that this program has declared, by the names of their subscriptions."""
        return self._relays

    @property
    def ingests(self) -> Mapping[str, Ingest]:
        """The ingests that this program has declared, by name."""
        return self._ingests

    def relay(
        self, patterns: str | list[str], to: str | Target, *, name: str | None = None, batch: int | None = None,
        format: Format | None = None, source: str = "holdfast", **options: Unpack[RelayOptions],
    ) -> None:  # fmt: skip
        """
        Declare a relay: a subscription that hands events to a broker as CloudEvents, and has their receipts once the
        broker has acknowledged them. Order per key is kept; while the broker is away, events wait.

        Args:
            patterns: As for `subscribe`.
            to: ``nats://host/stream``, ``kafka://host/topic``, ``amqp://host/exchange``, ``redis://host/stream``,
                ``https://…``, or an object such as `holdfast.relay.webhook.Webhook`.
            name: Its durable name; default ``"relay:<kind>:<target>"``.
            batch: Most events handed over at once; 100, webhooks 1.
            format: ``"binary"``: attributes as headers, the payload as the body (brokers); ``"structured"``: all in the
                body (webhooks).
            source: The CloudEvents ``source`` of events that were published here.
            options: Those of `subscribe`; concurrency, batches under way at once in a process, is 4.

        Raises:
            ConfigurationError: The address breaks a rule.
            MissingExtra: The broker's client is not installed.
            InvalidSubscription, DuplicateSubscription: As `subscribe`.
        """
        from holdfast.relay.declaring import declare_relay

        consumer, relay = declare_relay(
            patterns, to, name=name, batch=batch, format=format, source=source, options=options
        )
        self._declare(consumer)
        self._relays[consumer.name] = relay

    def ingest(
        self, from_: str, *, name: str | None = None, tenant_id: str | None = None, convert: Convert | None = None
    ) -> None:
        """
        Declare an ingest: workers of this bus take messages from a broker, store each as an event, then acknowledge it.

        The id of a message becomes the event's, so that one which comes twice is one event. CloudEvents are read in
        both modes; any other message is JSON, and its subject, topic or stream the name. One that can be no event is
        kept as an event ``holdfast.ingest.refused``, and holds nobody up.

        Args:
            from_: ``nats://host/stream``, ``kafka://…``, ``amqp://…``, ``redis://…``.
            name: Its durable name, also at the broker; default ``"ingest:<kind>:<target>"``.
            tenant_id: Of all its events. None believes what messages say, else ``"default"``.
            convert: Makes an item as `publish_many` takes it from a message of another kind.

        Raises:
            ConfigurationError, MissingExtra: As `relay`.
            DuplicateSubscription: Another ingest has the name.
        """
        from holdfast.relay.declaring import declare_ingest

        options = self._options
        ingest = declare_ingest(
            from_, name=name, tenant_id=tenant_id, convert=convert, limit=options.max_payload,
            require_tenant=options.require_tenant,
        )  # fmt: skip
        if (known := self._ingests.get(ingest.name)) is not None:
            raise DuplicateSubscription(ingest.name, f"the ingest from {known.where}", f"the one from {ingest.where}")
        self._ingests[ingest.name] = ingest
        if (live := self._live) is not None and live.worker is not None:
            live.loop.call_soon_threadsafe(live.start_ingests)
