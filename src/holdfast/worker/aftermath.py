"""What follows from each attempt at a delivery of one subscription: outcomes, lanes, and what is in hand."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.counts import SubscriptionCounts
from holdfast.errors import BrokerRefused, BrokerUnreachable, LeaseLost, MalformedEvent, Reject, Retry, StoreUnavailable
from holdfast.event import Event
from holdfast.printable import clean
from holdfast.stores.values import Attempt, State
from holdfast.worker.breaker import Breaker
from holdfast.worker.decisions import WorkerLost, one_line, probed, trace, verdict_on
from holdfast.worker.hand import BYTES_BOUND, InHand
from holdfast.worker.lanes import Lane, Lanes
from holdfast.worker.letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.event import Row
    from holdfast.ports import Ports
    from holdfast.stores.base import Store
    from holdfast.stores.values import Subscription
    from holdfast.subscription import Consumer
    from holdfast.tracing import Tracing
    from holdfast.worker.decisions import Verdict
    from holdfast.worker.hand import Key, Mark, Partition
    from holdfast.worker.settler import Settler

logger = logging.getLogger("holdfast.worker")


# What says nothing about how the subscription does as a whole: decisions of its handler, and an event that is no good.
_ABOUT_THE_EVENT = (Retry, Reject, MalformedEvent, WorkerLost)

# Says nothing about any event: a relay's whole batch waits, in its place, for as long as that lasts.
BROKER_IS_AWAY = (BrokerUnreachable, BrokerRefused)


class Leases(Protocol):
    """The guard that is asked before every hand-out."""

    @property
    def valid_until(self) -> float: ...


@dataclass(slots=True)
class Shared:
    """What all subscriptions of a worker have in common."""

    store: Store
    settler: Settler
    ports: Ports
    bus: Any
    leases: Leases
    room: Callable[[], None]  # a delivery left a runner's hands
    due: Callable[[float], None]  # a retry falls due in so many seconds
    stop: Callable[[BaseException], None]  # a handler asked the process to end
    breaker_waits: tuple[float, float]
    tracing: Tracing
    bound: int  # deliveries of a subscription in hand above which no more are read for it
    part: Callable[[int], float]  # of a subscription's partitions, that this worker has


class Aftermath:
    """
    Decides with `decisions`, writes through the settler, and keeps lanes and counts in step.

    Args:
        consumer: Declaration and handler.
        record: What the store says of the subscription; replaced when somebody changes it.
        shared: The worker's common parts.
        lanes: Where deliveries wait to run.
        freed: Called when a lane's next delivery became ready, outside an attempt.
    """

    def __init__(
        self, consumer: Consumer, record: Subscription, shared: Shared, lanes: Lanes, freed: Callable[[], None]
    ) -> None:  # fmt: skip
        self.consumer, self.record = consumer, record
        self._shared, self._freed = shared, freed
        self.lanes = lanes
        self.breaker = Breaker(consumer.breaker, shared.breaker_waits)
        self.counts = SubscriptionCounts()
        self.in_hand: dict[bytes, InHand] = {}
        self.held_now = self.held_due = self.held_done = self.held_bytes = 0
        self.bound = shared.bound
        self._all_settled = self._settle_all  # made once: it is the name under which the settler gathers

    @property
    def is_below_bounds(self) -> bool:
        """Whether more may be read, as far as memory goes."""
        return self.held_now < self.bound and self.held_bytes < BYTES_BOUND

    @property
    def is_crowded(self) -> bool:
        """Whether a share is still to run, which whoever comes next waits for; what is only to be written keeps nobody."""
        return self.held_now - self.held_done >= self.share

    @property
    def share(self) -> int:
        """
        Deliveries in hand from which on a tenant may crowd others out, and above which none is read that has a cursor
        of its own.
        """
        return self.bound // 2

    # In

    def take(self, item: InHand) -> None:
        """A delivery comes into hand: into its key's lane, behind its blocked key, or ready to run."""
        self._account(item)
        self._place(item)

    def _place(self, item: InHand) -> None:
        if item.due is None and item.key in item.partition.blocked and not self.lanes.has_fresh(item.key):
            self._hold(item)
        else:  # also behind events that came before its key was blocked: a row of its own would overtake them
            self.lanes.add(item)

    def take_page(self, rows: Sequence[Row], places: Mapping[int, tuple[Partition, Mark]]) -> None:
        """
        Take those of *rows* into hand whose partition is among *places*: what `take` does, for many.

        One loop with nothing called that need not be: it runs for every event.
        """
        partitions, is_ordered, in_hand = self.record.partitions, self.record.ordering == "key", self.in_hand
        items: list[InHand] = []
        total = 0
        for row in rows:
            _, event_id, _, slot, _, tenant_id, _, event_key, payload, headers = row
            if (place := places.get(slot % partitions)) is None:
                continue
            partition, mark = place
            size = len(payload) if headers is None else len(payload) + len(headers)
            key = (tenant_id, event_key) if is_ordered and event_key is not None else None
            item = in_hand[event_id] = InHand(row, partition, key, size, mark)
            total += size
            mark.open += 1
            items.append(item)
        for partition, mark in places.values():
            partition.in_hand += mark.open
            partition.dirty |= mark.open > 0
        self.held_now += len(items)
        self.held_bytes += total
        if any(partition.blocked for partition, _ in places.values()):
            for item in items:
                self._place(item)
        else:
            self.lanes.add_all(items)

    def bury(self, item: InHand, error: BaseException) -> None:
        """A delivery comes into hand that shall not run any more: it failed with *error*."""
        self._account(item)
        item.waits_for = 1  # for ever: the lane of its key is not its own to free
        self.failed(item, error, 0.0)

    def finish(self, item: InHand) -> None:
        """A delivery row comes into hand that was handled before."""
        self._account(item)
        self.passed(item)

    def _account(self, item: InHand) -> None:
        self.held_now += 1
        self.held_due += item.due is not None
        self.held_bytes += item.size
        self.in_hand[item.row.id] = item
        partition = item.partition
        partition.in_hand += 1
        partition.dirty = True
        if item.mark is not None:
            item.mark.open += 1

    # After an attempt

    def handled(self, item: InHand, *, has_receipt: bool = False) -> None:
        """The handler returned. ``has_receipt``: its transaction wrote it already."""
        if has_receipt or item.due is not None:
            self.counts.delivered += 1
            self._note_success()
            self._shared.settler.handled(item, self._settled, has_receipt=has_receipt)
        else:
            self.completed((item,))

    def completed(self, items: Sequence[InHand]) -> None:
        """The handler returned for each of these, from the fast path; no receipt is written yet."""
        self.counts.delivered += len(items)
        was_crowded = self.is_crowded
        self.held_done += len(items)
        self._note_success()
        self._shared.settler.completed(items, self._all_settled)
        if was_crowded and not self.is_crowded:
            self._shared.room()

    @property
    def _about(self) -> dict[str, str]:
        return {"subscription": self.record.name}

    def _note_success(self) -> None:
        if self.breaker.succeeded():
            logger.info("subscription %s: the breaker closes, a probe succeeded", self.record.name, extra=self._about)

    def passed(self, item: InHand) -> None:
        """It was handled before: only its delivery row is still there."""
        self._shared.settler.handled(item, self._settled, has_receipt=True)

    def failed(
        self, item: InHand, error: BaseException, seconds: float, *, is_handlers: bool = False, is_probe: bool = False
    ) -> Lane:
        """
        The attempt raised *error* after so many seconds.

        Args:
            is_handlers: Of a transactional handler: it came from the handler for sure, and not from its transaction.
            is_probe: The breaker has let it through.
        """
        if isinstance(error, LeaseLost):
            self.drop(item)
            return Lane.CLOSED
        # The store that goes away under a handler's transaction says nothing against the handler.
        if isinstance(error, StoreUnavailable) and self.consumer.transactional and not is_handlers:
            return Lane.AGAIN
        if is_probe and not isinstance(error, _ABOUT_THE_EVENT):
            wait = self.breaker.probe_failed(self._shared.ports.elapsed())
            return self._conclude(item, probed(error, item.attempt, item.put_offs, wait), error, seconds)
        if not isinstance(error, _ABOUT_THE_EVENT):
            self._note_failure(item)
        verdict = verdict_on(
            error, attempts=item.attempt, put_offs=item.put_offs, policy=self.consumer.retry,
            jitter=self._shared.ports.random(),
        )  # fmt: skip
        return self._conclude(item, verdict, error, seconds)

    def _conclude(self, item: InHand, verdict: Verdict, error: BaseException, seconds: float) -> Lane:
        self._count(verdict)
        self._log(item, verdict)
        return self._write(item, verdict, self._attempt(item, verdict, error, seconds))

    def _write(self, item: InHand, verdict: Verdict, attempt: Attempt) -> Lane:
        settler, dead = self._shared.settler, verdict.state is State.DEAD
        letters = (
            dead_letter(item.row, self.record.name, item.attempt, verdict.reason, self._shared.ports.new_event_id)
            if dead
            else ()
        )
        if dead and self.record.on_dead == "continue":
            item.waits_for += 1
            settler.failed(item, verdict, attempt, self._buried, events=letters, blocks=False)
            # A crash before the commit must not find the key's next event handled and this one not dead.
            return Lane.CLOSED
        if item.due is None and item.key is not None:
            item.partition.block(item.key)
        settler.failed(
            item, verdict, attempt, lambda item: self._parked(item, verdict.due_in), events=letters, blocks=True
        )
        if self.consumer.batch is None:
            self.hold_followers(item.key)
        return Lane.BLOCKED

    def _count(self, verdict: Verdict) -> None:
        counts, is_failure = self.counts, verdict.outcome != "put off"
        counts.put_off += not is_failure
        counts.failed += is_failure
        counts.retried += is_failure and verdict.state is State.RETRYING
        counts.dead += verdict.state is State.DEAD

    def _attempt(self, item: InHand, verdict: Verdict, error: BaseException, seconds: float) -> Attempt:
        return Attempt(
            item.partition.slice, item.row.id, item.row.day, item.attempt, verdict.outcome, type(error).__name__,
            one_line(error), trace(error), seconds,
        )  # fmt: skip

    def _log(self, item: InHand, verdict: Verdict) -> None:
        dead, event = verdict.state is State.DEAD, Event(item.row)
        logger.log(
            logging.ERROR if dead else logging.WARNING, "subscription %s: event %s %s at attempt %d: %s",
            self.record.name, event.id, "is dead" if dead else verdict.outcome, item.attempt, clean(verdict.reason),
            extra={
                "event_id": str(event.id), "event_name": event.name, "subscription": self.record.name,
                "tenant_id": event.tenant_id, "correlation_id": event.correlation_id, "attempt": item.attempt,
            },
        )  # fmt: skip

    def _note_failure(self, item: InHand) -> None:
        now = self._shared.ports.elapsed()
        if self.breaker.failed(item.row.id, now):
            logger.error(
                "subscription %s: the breaker trips after %d different events failed in a row; probing in %.0f s",
                self.record.name, self.consumer.breaker, self.breaker.until - now, extra=self._about,
            )  # fmt: skip

    # Without an attempt

    def _hold(self, item: InHand) -> None:
        assert item.key is not None
        item.partition.block(item.key)
        self._shared.settler.held(item, self._held)

    def hold_followers(self, key: Key | None) -> None:
        """What stands in the lane of a key that is blocked now goes behind it, in order."""
        for follower in self.lanes.empty_lane(key):
            self.put_behind(follower)

    def hand_back(self, item: InHand) -> None:
        """A delivery row comes into hand that shall not run now."""
        self._account(item)
        self._shared.settler.handed_back(item, item.attempt - 1, self._let_go)

    def put_behind(self, item: InHand) -> None:
        """It waits behind its key off the fast path: as a new delivery row, or as the row that it is."""
        if item.due is None:
            self._hold(item)
        else:
            self._shared.settler.handed_back(item, item.attempt - 1, self._let_go)

    def drop(self, item: InHand) -> None:
        """Let go of a delivery that did not run; somebody will read or claim it again."""
        item.partition.skipped = True
        item.mark = None  # its page stays open: the cursor must not pass it
        self.leave(item)
        self.free(item.key)

    def leave(self, item: InHand) -> None:
        """Let go of a delivery that did not run. Its page is not kept open: its tenant is deferred from before that page."""
        if item.due is not None and item.partition.is_alive:
            # In the midst of a recovery it stays a suspect for whoever goes on with that.
            state = State.RUNNING if item.partition.lost else State.PENDING
            self._shared.settler.handed_back(item, item.attempt - 1, self._let_go, state)
        else:
            self._let_go(item)

    def put_off(self, item: InHand) -> None:
        """A suspect did not run: the attempt counted for it is taken back, and its key's lane goes on without it.

        It stays a suspect. As a row that is merely due it would run uncounted, and could kill for ever.
        """
        self._shared.settler.handed_back(item, item.attempt - 1, self._let_go, State.RUNNING)
        self.hold_followers(item.key)  # behind it
        self.free(item.key)

    def free(self, key: Key | None) -> None:
        """The key's delivery is done with: its next one may run."""
        if self.lanes.free(key):
            self._freed()

    # After the commit

    def _settled(self, item: InHand) -> None:
        if item.due is not None:
            self._row_is_gone(item)
        self._let_go(item)

    def _settle_all(self, items: Sequence[InHand]) -> None:
        """What `_settled` does, for many from the fast path."""
        was_full = not self.is_below_bounds
        in_hand, size = self.in_hand, 0
        for item in items:
            size += item.size
            event_id = item.row.id
            if in_hand.get(event_id) is item:
                del in_hand[event_id]
            if (mark := item.mark) is not None and item.on_done is None:  # as `close` does it, for nearly all
                mark.open -= 1
                item.partition.in_hand -= 1
            else:
                item.close()
        self.held_now -= len(items)
        self.held_done -= len(items)
        self.held_bytes -= size
        if was_full:
            self._shared.room()

    def _held(self, item: InHand) -> None:
        if self.consumer.limits:
            self._shared.due(0.0)  # it may stand behind nothing but its limit
        self._let_go(item)

    def _parked(self, item: InHand, due_in: float) -> None:
        self._shared.due(due_in)
        self._let_go(item)

    def _buried(self, item: InHand) -> None:
        """The dead row is committed: only now may the key go on."""
        if item.due is not None:
            self._row_is_gone(item)
        self._let_go(item)
        if self.consumer.batch is None:
            self.unwait(item)

    def unwait(self, item: InHand) -> None:
        """One of the things that keep the lane of a dead delivery closed is over: its commit, or its thread."""
        item.waits_for -= 1
        if item.waits_for == 0:
            self.free(item.key)

    def _row_is_gone(self, item: InHand) -> None:
        if item.key is not None:
            item.partition.unblock(item.key)
        self._shared.due(0.0)  # what stood behind it may be due

    def _let_go(self, item: InHand) -> None:
        self.held_now -= 1
        self.held_due -= item.due is not None
        self.held_bytes -= item.size
        if self.in_hand.get(item.row.id) is item:
            del self.in_hand[item.row.id]
        item.close()
