"""A partition of a JetStream stream that is taken in: what its consumer sends, and whether something of it is missing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from nats import errors as nats_errors
from nats.js import api

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

# A consumer whose leader is away gets another one, who goes on where that was; to make it anew would take as long.
ELECTION_SECONDS = 15.0


class Taken:
    """
    A partition that is taken in here.

    Args:
        epoch: Of the lease under which it is.
        arrived: Where what may be stored goes.
    """

    subscription: Subscription

    def __init__(self, epoch: int, arrived: asyncio.Queue[tuple[Taken, Msg]]) -> None:
        self.epoch = epoch
        self._clock = asyncio.get_running_loop().time
        self.heard, self.waiting = self._clock(), 0
        self.is_lost = False
        """Whether something may be missing: it has to be taken in anew, from the last acknowledgement."""
        self.is_ended = False
        self._arrived = arrived
        self._delivered = self._newest = 0
        self._doubted: int | None = None  # how far it was when a heartbeat told of more

    @property
    def is_silent(self) -> bool:
        return self._clock() - self.heard > ELECTION_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be had of it."""
        return self.is_lost or self.is_ended or self.is_silent

    async def end(self) -> None:
        """Take nothing more, neither of what is on its way nor of what waits here."""
        self.is_ended = True
        with suppress(nats_errors.ConnectionClosedError, nats_errors.BadSubscriptionError):
            await self.subscription.unsubscribe()

    async def take(self, message: Msg) -> None:
        """
        What the consumer sends. One acknowledgement stands for all before it: behind a message that was lost on its way
        here, as happens where a server dies, nothing may be taken.
        """
        self.heard = self._clock()
        if not message.reply:  # a heartbeat
            self._compare(int((message.headers or {}).get(api.Header.LAST_CONSUMER, 0)))
            return
        about = message.metadata
        self.is_lost |= about.sequence.consumer != self._delivered + 1
        if self.is_lost or self.is_ended:
            return
        self._delivered, self.waiting = about.sequence.consumer, about.num_pending
        if about.sequence.stream > self._newest:  # it comes again and again while it waits here for the store
            self._newest = about.sequence.stream
            self._arrived.put_nowait((self, message))

    def _compare(self, told: int) -> None:
        """With what a heartbeat tells. It may be ahead of a message that waits for the replicas, and is not lost."""
        if told <= self._delivered:
            self._doubted = None
        elif self._doubted == self._delivered:
            self.is_lost = True
        else:
            self._doubted = self._delivered
