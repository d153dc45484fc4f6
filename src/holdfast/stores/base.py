"""The seam between the engine and a database: what a store keeps, and what it promises.

The engine (``holdfast.worker``, ``holdfast.bus``) decides; a store remembers. A store never runs handlers, never
retries on its own and never looks at a clock other than the database's. It is done when ``tests/contract`` is green.

Horizons and cursors
    A **horizon** is an opaque text that says which events can be seen: on PostgreSQL a snapshot
    (``pg_current_snapshot()``), on SQLite the highest position. ``Cursor(done, open, position)`` says what is
    settled: everything that ``done`` shows, and of what ``open`` shows everything with a smaller ``position``.
    The events that ``open`` shows and ``done`` does not are a **window**; it is delivered in position order.
    A tenant that is **deferred** in a partition has a cursor of its own there, and the partition's says nothing of it.

Fences
    Whatever may only be written by the owner of a partition (delivery rows, cursors) carries the epoch of the
    lease; the store locks the lease row with that epoch first and leaves out what no longer matches. Receipts
    state a fact and need no epoch, but for those that replace (replays).

Errors
    Every method raises `StoreUnavailable` when the database cannot be reached or its answer was lost, after
    which nothing, or all, of a writing call happened; each such call may be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from holdfast.stores.scheduling import Scheduling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from uuid import UUID

    from holdfast.archive import Archive
    from holdfast.event import NewEvent, Row
    from holdfast.stores.values import (
        Appended,
        Claim,
        Cursor,
        Declaration,
        Due,
        Laggard,
        Lease,
        LeftBehind,
        Maintenance,
        Page,
        Place,
        Receipt,
        Released,
        Roster,
        Sampled,
        Settlement,
        Slice,
        Subscription,
        WorkerInfo,
    )


class HandlerTransaction(Protocol):
    """A transaction that a handler's writes and its receipt share."""

    connection: Any
    """psycopg.AsyncConnection, psycopg.Connection or sqlite3.Connection."""
    passed: bool
    """The receipt is there already, the event is dead, or the lease is lost: do not run the handler."""


class Reader(Protocol):
    """One session that reads the log. Horizons it returned are worth nothing once it raised."""

    async def read(
        self,
        cursor: Cursor,
        *,
        horizon: str | None = None,
        before: int | None = None,
        without: Collection[str] = (),
        limit: int,
        max_bytes: int,
    ) -> Page:
        """
        Read on from *cursor*: at most *limit* events, stopping after the one that passes *max_bytes*.

        In a window that is open, events of the tenants *without* are left out, or not: many of them are passed over at
        once, and the page ends after some ten thousand positions even if nothing was found.

        Where ``cursor.open`` is set, the next page of that window; one that would reach the position *before* ends
        there. Otherwise a new window opens, up to *horizon* (taken by an earlier read of this session, or the place of
        a cursor that is not behind this one), or, None, up to what can be seen now.

        Raises:
            StoreUnavailable: The session is lost, or the server is not the one it was (crash, failover): drop
                every horizon taken here, reload the persisted cursors, and take a new reader; this one stays void.

        Cost: one statement for a small window; one more, once, to find the lowest position of a large one.
        """
        ...

    async def horizon(self) -> str:
        """What can be seen now."""
        ...

    async def generation(self) -> int:
        """As `Page.generation`, without reading anything."""
        ...

    async def close(self) -> None: ...


class Store(Scheduling, Protocol):
    """Where events, receipts, deliveries, leases and cursors rest; and, see `Scheduling`, what waits for its time."""

    @property
    def address(self) -> str:
        """Where the store is, for messages and for the spool's folder: no password, the same in every process."""
        ...

    @property
    def is_durable(self) -> bool:
        """False for a store in memory."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether it works in another process, so that this one can do something else meanwhile."""
        ...

    @property
    def identity(self) -> str:
        """Id of the store; known once `open` has returned."""
        ...

    async def open(self) -> None:
        """Connect and check: reachable, right version, right role, not a standby, not a restored copy.

        Raises:
            StoreUnavailable, SchemaMismatch, WrongStore, PermissionDenied, MissingExtra
        """
        ...

    def latest(self, places: Collection[str]) -> str:
        """Which of some cursors' ``done`` shows the most; any two of one log show more and less."""
        ...

    async def close(self) -> None: ...

    def abandon(self) -> None:
        """Let go of every connection without waiting: the loop that could wait is gone."""
        ...

    async def migrate(self) -> list[str]:
        """Bring the schema to this release; safe when many do it at once. Returns the names of what was applied."""
        ...

    # Publishing

    async def append(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        """
        Store *events* in this order in one transaction, durable when it returns: those with ``due_at`` apart from the log.

        With *atomic* one CONFLICT stores none of them; without, the others are stored.

        Raises:
            InvalidEvent: The database refused a value; nothing was stored.
        """
        ...

    async def stands(self, declarations: Sequence[Declaration]) -> bool:
        """
        Whether `open` and `register` go through beside an open transaction of the caller's: because they have
        nothing to write, or because there is more than one writer at a time. Writes nothing.
        """
        ...

    async def append_within(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        """
        Store *events* through the caller's connection or session: one statement (two more for ids older than 20 hours
        or not UUIDv7, and for scheduled events), no commit. Synchronous connections are used in the calling thread, without waiting.

        Args:
            first: Given where `stands` said no: what `open` and `register` of these would write is written through
                that connection too, and commits or is undone with the rest.

        Raises:
            NotInTransaction, TransactionAborted, WrongStore, TransactionError (not a kind this store knows)
            With *first*, also as `migrate` and `register`.
        """
        ...

    def append_within_sync(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        """The same for synchronous connections and sessions, from any thread."""
        ...

    async def count_recent(self, tenant_id: str, seconds: float, limit: int) -> int:
        """
        How many events of a tenant occurred in the last so many seconds, counted no further than *limit*.

        Cost: a step for each event counted where the log has the search index ``tenant``; else the log is read.
        """
        ...

    async def notify(self) -> None:
        """Tell workers in other processes that events were stored. A hint: it may be lost, and never raises."""
        ...

    # Subscriptions

    async def register(self, declarations: Sequence[Declaration]) -> list[Subscription]:
        """
        Make the subscriptions durable, each with its leases and cursors; a known name gets the new patterns and
        policies. "now" is the commit of this transaction.

        Raises:
            IncompatibleSubscription: The number of partitions differs; nothing was changed.
        """
        ...

    async def subscriptions(self) -> list[Subscription]: ...

    # Leases

    async def heartbeat(self, worker: WorkerInfo, *, ttl: float) -> Roster:
        """Write this worker's row; answer with who lives and who holds what, of the subscriptions it runs."""
        ...

    async def acquire(
        self, worker: UUID, wanted: Mapping[int, int], *, ttl: float, dead: Collection[UUID] = (), patient: bool = False
    ) -> list[Lease]:
        """
        Lease up to ``wanted[subscription]`` partitions that are free, owned by one of *dead*, or, if not *patient*, expired.

        The lowest partitions first, in the order of their slices. Never waits for a rival. Epoch + 1, ``clean`` false
        in the store until released; ``crashes`` + 1 when lost. A lease more than twice the ttl ahead of the database's clock counts as expired.
        """
        ...

    async def renew(self, worker: UUID, leases: Mapping[Slice, int], *, ttl: float) -> set[Slice]:
        """Prolong the leases (slice: epoch); returns those that are still this worker's, expired or not."""
        ...

    async def release(self, worker: UUID, released: Sequence[Released]) -> None:
        """
        Give leases back with their cursors; those that are not this worker's any more are left alone.

        From then on nothing is written under these epochs, but plain receipts: a late settlement would move the cursor
        back behind what the goodbye called exact.
        """
        ...

    async def mark_fast(self, worker: UUID, leases: Mapping[Slice, int]) -> None:
        """What the owner before may have had in hand is finished: ``crashes`` starts from 0 again."""
        ...

    async def leave(self, worker: UUID) -> None:
        """Delete this worker's row, and free the leases that it holds without knowing, as their answer was lost."""
        ...

    # Reading

    async def reader(self) -> Reader:
        """A new session for reading the log."""
        ...

    async def places(self, slices: Collection[Slice]) -> dict[Slice, Place]:
        """Where these partitions stand, by what is persisted."""
        ...

    async def known(self, subscription: int, events: Sequence[tuple[bytes, int]]) -> set[bytes]:
        """Of these (id, day): the ids with a receipt of *subscription*, or a delivery row in any state."""
        ...

    # Off the fast path

    async def blocked_keys(self, slices: Collection[Slice]) -> dict[Slice, dict[tuple[str, str], int]]:
        """Per slice, (tenant, key) → number of delivery rows that later events of the key wait behind.

        Unsettled rows count; dead ones too where the subscription says ``on_dead="hold"``. Rows without a key and
        subscriptions with ``ordering="none"`` never block.
        """
        ...

    async def claim(self, leases: Mapping[Slice, int], *, limit: int) -> Claim:
        """
        Take up to *limit* deliveries that are due, lowest id first, and commit them as ``running``.

        Not taken: what stands behind a row of its key that is running, not yet due, or dead and held.
        """
        ...

    async def suspects(self, slices: Collection[Slice]) -> list[Due]:
        """Rows found ``running`` at a take-over, lowest id first."""
        ...

    async def take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
        """
        Recovery: commit *rows* as delivery rows, ``running``, attempts 0, and return them in order. ``handled`` says
        whether a receipt is there by now: whoever lost them may have written it since they were looked up.

        Raises:
            LeaseLost: Nothing was written.
        """
        ...

    async def begin_attempt(self, due: Due, epoch: int) -> Due | None:
        """
        Recovery: commit one attempt more on a suspect before it runs. Returns it as it is in hand now, with the number
        of attempts *before* this one, and ``handled`` as of now; None where it is not ``running`` any more.

        Raises:
            LeaseLost: Nothing was written.
        """
        ...

    async def settle(self, settlement: Settlement) -> set[Slice]:
        """
        Write outcomes in one transaction. Returns the slices whose epoch no longer matched: of those, only plain
        receipts were written.
        """
        ...

    def transaction(
        self, receipt: Receipt, epoch: int, *, timeout: float = 300.0
    ) -> AbstractAsyncContextManager[HandlerTransaction]:
        """
        A transaction for one transactional handler: begun, receipt written first (unless ``passed``), committed at
        the end if the epoch still stands, rolled back on an exception.

        Args:
            timeout: Seconds that the handler may take; the store may end a transaction that stands idle for longer.

        Raises:
            StoreBusy: At the start: another worker, not yet dead, handles the event in a transaction of its own.
            LeaseLost: At the end: everything was rolled back.
            TransactionError: At the end, when the handler has ended or left the transaction itself.
        """
        ...

    def transaction_sync(
        self, receipt: Receipt, epoch: int, *, timeout: float = 300.0
    ) -> AbstractContextManager[HandlerTransaction]:
        """The same for a handler that runs in a thread; called in that thread."""
        ...

    # Background

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call *wake* whenever another process may have stored something. Runs until cancelled; reconnects itself."""
        ...

    async def unsettled(self, subscriptions: Collection[int], horizon: str) -> dict[int, int]:
        """Per subscription, events that *horizon* shows and that are not settled by what the store knows."""
        ...

    async def caused_since(self, horizon: str) -> bool:
        """Whether an event that *horizon* does not show was published by a handler (has a causation id)."""
        ...

    async def maintain(self, *, retention: float | None, archive: Archive | None = None) -> Maintenance:
        """
        Background duties, safe on several workers at once: make partitions ahead, store a snapshot, drop what is
        older than *retention* seconds and settled everywhere, forget dead workers, date retries anew that were written
        while the database's clock was ahead. Called about once a minute.

        Args:
            archive: What is dropped is on its disk before. No lock is held while it is written; what came meanwhile keeps
                the events for the next time.

        Raises:
            OSError: The archive cannot be written; what was not on its disk was not dropped.
        """
        ...

    async def near_retention(self, seconds: float) -> tuple[str, ...]:
        """Names of the subscriptions that do not hold, and still need events older than *seconds*; sorted."""
        ...

    async def laggards(self, *, retention: float) -> list[Laggard]:
        """
        Begin to let go, or go on where somebody was: of what is older than *retention* seconds and needed by nobody but
        subscriptions that do not hold. Whoever holds, holds it for all.
        """
        ...

    async def left_behind(self, laggard: Laggard, *, limit: int, max_bytes: int) -> LeftBehind:
        """
        What a laggard has not settled among the next *limit* events of its part at most, stopping after the one that
        passes *max_bytes*. Payloads as the store has them: encrypted ones are.
        """
        ...

    async def let_go(self, laggard: Laggard, page: LeftBehind) -> Laggard | None:
        """
        Let go of a page, in one transaction: its delivery rows are discarded. Returns how far it has got; None, and
        nothing is let go of, where somebody else was quicker or the subscription has made another choice since.
        """
        ...

    async def end_letting_go(self, laggard: Laggard, *, archive: str | None, event_id: UUID) -> bool:
        """
        All of the part is let go of: retention may drop it. An audit row and an event say so, unless it was nothing.
        What the log drops takes the leases of those partitions with it: what is in hand of it settles nothing any more.

        Args:
            archive: Where it was archived, for the record.
            event_id: Of the event.

        Returns:
            False, and nothing is written, as in `let_go`.
        """
        ...

    async def add_samples(self, worker: UUID, samples: Sequence[Sampled]) -> None:
        """
        Keep what a worker has counted under the minute that is nearest by the database's clock, and with it how far the
        log has got. Called once a minute. Samples older than 48 hours are forgotten.
        """
        ...

    async def add_lags(self, worker: UUID) -> None:
        """
        Keep how far every subscription is behind, counted up to `values.LAG_COUNTED_MAX` events and estimated beyond, under the
        minute that is nearest. The first of the workers that live does it for all; another's call does nothing.
        """
        ...
