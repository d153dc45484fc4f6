"""The handler of a relay: batches of events become messages, and are settled once the broker has acknowledged them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.counts import RelayCounts
from holdfast.errors import BrokerRefused, BrokerUnreachable, MessageRefused, Reject
from holdfast.relay.away import Away
from holdfast.relay.message import message_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.event import Event
    from holdfast.relay.ports import Destination, Format, Message, Target


class Relay:
    """
    What a relay's subscription calls.

    A broker that is away, or refuses everything, leaves the batch where it is: the engine tries it again, counts no
    attempt, and writes nothing. A message that is refused is found by halves, and fails as with any handler.

    Args:
        name: Of the subscription.
        target: Where to.
        source: The ``source`` of events that were published here.
        format: Of the CloudEvents on the wire.
    """

    def __init__(self, name: str, target: Target, *, source: str, format: Format) -> None:
        self.name, self.where = name, target.where
        self.counts = RelayCounts()
        self._target, self._source, self._format = target, source, format
        self._destination: Destination | None = None
        self._away = Away(f"relay {name!r}")

    async def __call__(self, events: Sequence[Event]) -> None:
        messages = self.messages(events)
        if not messages:
            return
        if self._destination is None:
            self._destination = self._target.destination()
        counts, clock = self.counts, asyncio.get_running_loop().time
        started = clock()
        try:
            await self._destination.send(messages)
        except (BrokerUnreachable, BrokerRefused) as error:
            counts.outages += 1
            counts.is_away = True
            await asyncio.sleep(self._away.met(error))
            raise
        except MessageRefused as error:
            if len(events) > 1:
                raise
            counts.refused += 1
            if error.final:
                raise Reject(str(error)) from error
            raise
        counts.durations.add(clock() - started)
        counts.batches.add(len(messages))
        counts.sent += len(messages)
        counts.is_away = False
        self._away.over()

    def messages(self, events: Sequence[Event]) -> list[Message]:
        """What of *events* is handed over, as it goes on the wire."""
        return [message_of(event, source=self._source, format=self._format) for event in events]

    async def check(self) -> None:
        """
        Connect, as the first batch would, and hand over nothing.

        Raises:
            BrokerUnreachable, BrokerRefused, ConfigurationError
        """
        destination = self._target.destination()
        try:
            await destination.send([])
        finally:
            await destination.close()

    async def close(self) -> None:
        """Give the connection back; the next batch opens another."""
        destination, self._destination = self._destination, None
        if destination is not None:
            await destination.close()
