"""Reading for people, and the operator's actions: what the command line and the dashboard stand on.

`Inspector` looks and never writes, `Operator` acts, and every action, a refused one too, leaves an audit row. Both
go over a connection of their own, so that looking never stands in the way of workers. Times are aware UTC datetimes.

What is about events and their deliveries takes a tenant: a filter's ``tenant_id``, or one of its own. The other verbs
have none, because what they are about belongs to all tenants: subscriptions with their cursors, pauses and skips;
workers and leases; tables, indexes and retention; the audit, whose details name the tenant where an action had one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from holdfast.stores.records import BACKLOG_MAX, RETENTION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from holdfast.erased import Erasable, Erased
    from holdfast.stores.base import Store
    from holdfast.stores.filters import DeadFilter, EventFilter, PayloadMatch, ReplayFilter
    from holdfast.stores.records import (
        AuditRecord,
        Blocked,
        CausationTree,
        Count,
        DeadGroups,
        DeadLetter,
        EventDetail,
        EventPage,
        Fact,
        LeaseRecord,
        ReplayRecord,
        Restored,
        Retention,
        Samples,
        SpoolFolder,
        Status,
        SubscriptionRecord,
        WorkerRecord,
    )
    from holdfast.stores.storage import SearchIndex, Storage


class Inspector(Protocol):
    """Reading for people. Never writes.

    Every method raises `StoreUnavailable`, `SchemaMismatch` or `PermissionDenied` as the store does.
    """

    async def status(
        self,
        *,
        backlog_max: int = BACKLOG_MAX,
        retention: float | None = RETENTION_SECONDS,
        spool: SpoolFolder | None = None,
        tenant_id: str | None = None,
    ) -> Status:
        """
        How all subscriptions are doing, with a verdict.

        Args:
            backlog_max: Events up to which each backlog is counted.
            retention: Seconds that events are kept, to tell who keeps older ones from being dropped.
            spool: The local spool, which the store cannot see.
            tenant_id: Figures of this tenant's events and deliveries alone. Owners, workers, pauses and breakers are
                the subscription's; retention is nobody's, and not told then.

        Cost: per subscription one read of the log beyond its oldest cursor, *backlog_max* events at most.
        """
        ...

    async def events(
        self,
        filter: EventFilter,
        *,
        status: str | None = None,
        correlation_id: str | None = None,
        payload: PayloadMatch | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> EventPage:
        """
        Events, newest first.

        Args:
            status: As in the view ``event_store``.
            correlation_id: All that goes back to the same first event, itself included.
            payload: A value at a path of the payload.
            limit: Events at most.
            before: `EventPage.next_before` of the page before.

        Cost: an id and a plain list take the events of the page; the status dead or failed goes by the delivery rows of
        that state, which are put in order. Key, correlation, exact name, tenant and time walk
        their search index, where there is one (`search_indexes`); what is asked for beside, and all else, is looked
        for event by event, 10,000 at most in one call. A page may then be short, or empty, and still have a next one.
        """
        ...

    async def estimate(self, filter: EventFilter) -> Count:
        """
        About how many events match. Cost: PostgreSQL asks its planner and reads nothing; SQLite counts among the
        newest 100,000, and says "at least" where there are more. Without a filter neither reads the log.
        """
        ...

    async def search_indexes(self) -> list[SearchIndex]:
        """The search indexes that there may be: correlation, causation, key, name, tenant and time."""
        ...

    async def event(self, event_id: UUID, *, tenant_id: str | None = None) -> EventDetail:
        """
        One event with its deliveries and all their attempts.

        Raises:
            NotFound: No such event of that tenant, if one is given, and no dead letter of it.
        """
        ...

    async def causation(self, event_id: UUID, *, tenant_id: str | None = None, limit: int = 200) -> CausationTree:
        """
        What caused an event, up to 50 steps, and what it caused, *limit* events at most; of one tenant, if it is given.

        Cost: a look-up for each cause. Effects are found by the search index "causation"; without it among the 10,000
        events that were stored next.

        Raises:
            NotFound: No such event, of that tenant, is in the log (any more).
        """
        ...

    async def subscriptions(self) -> list[SubscriptionRecord]: ...

    async def dead(self, filter: DeadFilter, *, limit: int = 50, before: int | None = None) -> list[DeadLetter]:
        """
        Dead letters, the latest parked first.

        Cost: with a fingerprint, the last errors of all that match the rest of the filter are read.

        Raises:
            NotFound: The filter names a subscription that there is not.
        """
        ...

    async def dead_groups(self, filter: DeadFilter) -> DeadGroups:
        """
        Dead letters by subscription and fingerprint of their last error, the largest group first. The filter goes on
        with `DeadFilter.fingerprint`, for `dead` and for the operator's `retry_dead` and `discard`.

        Raises NotFound as `dead`. Cost: reads the last errors of the latest 10,000 that match.
        """
        ...

    async def blocked(self, filter: DeadFilter, *, limit: int = 50) -> list[Blocked]:
        """What is held behind what, the longest queue first. Raises NotFound as `dead`."""
        ...

    async def workers(self) -> list[WorkerRecord]: ...

    async def leases(self, subscription: str | None = None) -> list[LeaseRecord]:
        """
        All partitions, or those of one subscription.

        Raises:
            NotFound: No such subscription.
        """
        ...

    async def samples(self, since: datetime) -> Samples:
        """
        What happened minute by minute, as the workers have sampled it for the last 48 hours.

        Args:
            since: Aware; from the minute that ends then on.

        Cost: reads a row for each minute and worker, and one more for each subscription that it did something for.
        """
        ...

    async def audit(self, *, limit: int = 50, before: int | None = None) -> list[AuditRecord]:
        """What operators did, the latest first."""
        ...

    async def replays(self, *, limit: int = 50) -> list[ReplayRecord]: ...

    async def storage(self) -> Storage:
        """What tables, partitions and indexes take up. Cost: the catalogue and the statistics; no table is read."""
        ...

    async def retention_preview(self, seconds: float) -> Retention:
        """What dropping events stored longer than *seconds* ago would do. Cost: reads those events."""
        ...

    async def days_ahead(self) -> int | None:
        """For how many days from today on the log has partitions; None where the store has none."""
        ...

    async def facts(self) -> list[Fact]:
        """What doctor reports. Works on a store that the engine would refuse, too, as far as it goes."""
        ...

    async def close(self) -> None: ...


class Operator(Protocol):
    """The operator's actions. *actor* is who acts. Running workers take notice at their next read.

    Every method raises `NotFound` where the subscription does not exist, and `StoreError` and its kin.
    """

    async def pause(self, subscription: str, *, actor: str) -> bool:
        """Stop delivering; events go on being stored. False if it was paused already."""
        ...

    async def resume(self, subscription: str, *, actor: str) -> bool:
        """Go on delivering. False if it was not paused."""
        ...

    async def refused(self, action: str, target: str, *, actor: str, reason: str) -> None:
        """Write into the audit that *actor* was not let do something. Nothing else happens."""
        ...

    async def matching(self, filter: DeadFilter, *, held: bool = False) -> int:
        """How many dead deliveries, with *held* pending and retrying ones too, an action would concern."""
        ...

    async def retry_dead(self, filter: DeadFilter, *, actor: str, progress: Callable[[int], None] | None = None) -> int:
        """Give dead deliveries fresh attempts, due now; their history is kept. Returns how many."""
        ...

    async def discard(
        self, filter: DeadFilter, *, actor: str, held: bool = False, progress: Callable[[int], None] | None = None
    ) -> int:
        """Settle dead deliveries, with *held* pending and retrying ones too, without handling. Returns how many."""
        ...

    async def correct(
        self,
        subscription: str,
        event_id: UUID,
        payload: Any,
        *,
        actor: str,
        may_edit: bool = False,
        tenant_id: str | None = None,
        max_payload: int = 2**20,
    ) -> UUID:
        """
        Publish the event of a dead letter anew with another payload, and discard the dead letter, both or neither.

        The event itself stays as it is. The new one has its tenant, key and name, and headers that name it as the cause
        (``causation_id``) and who wrote it (``corrected_by``, ``corrected_for`` the subscription). Every subscription of
        that name gets it. On PostgreSQL the role needs to publish as well.

        Args:
            tenant_id: If given, the dead letter has to be of that tenant.
            may_edit: Off unless whoever answers for the store has said that it may be done.
            max_payload: Bytes of the payload as JSON.

        Returns: the id of the new event.

        Raises:
            BusStateError: It is off.
            InvalidEvent: The payload is none that can be published.
            NotFound: No such dead letter, or somebody else has just retried or discarded it.
            PermissionDenied: The role may not publish.
        """
        ...

    async def skip_count(self, subscription: str) -> Count:
        """What `skip` would pass over: events beyond the cursors, 100,000 at most, and unsettled delivery rows."""
        ...

    async def skip(self, subscription: str, *, actor: str) -> Count:
        """
        Go on from now: what is stored and not settled is passed over for good, unsettled delivery rows are discarded.
        Dead letters stay, and so do the events: a replay brings them back. Returns what was passed over.

        Raises:
            BusStateError: A live worker holds a lease of it.
        """
        ...

    async def replay_count(self, subscription: str, filter: ReplayFilter) -> int:
        """
        How many events `replay` would deliver again. Cost: walks the range.

        Raises:
            InvalidSubscription: It was declared with ``replayable=False``.
            NotFound: No such subscription, or no event with *first_id* or *last_id*.
        """
        ...

    async def replay(
        self,
        subscription: str,
        filter: ReplayFilter,
        *,
        actor: str,
        rate: float = 1000.0,
        total: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """
        Deliver stored events again, in order, *rate* a second at most. Returns how many.

        Only what the subscription is through with and its patterns match; dead and discarded deliveries start
        afresh, unsettled ones are left alone. Cancelled, it stops after a whole chunk.

        Args:
            total: What `replay_count` said, if that was asked already.

        Raises:
            InvalidSubscription, NotFound: As `replay_count`; nothing was written but the audit row.
        """
        ...

    async def rename(self, subscription: str, new_name: str, *, actor: str, force: bool = False) -> None:
        """
        Raises:
            DuplicateSubscription: The new name is taken.
            BusStateError: Live workers run it; *force* does not care.
        """
        ...

    async def remove(self, subscription: str, *, actor: str, force: bool = False) -> int:
        """
        Forget a subscription with its cursors and deliveries. Returns the number of delivery rows that went.

        Raises:
            BusStateError: Live workers run it; *force* does not care.
        """
        ...

    async def repartition(self, subscription: str, partitions: int, *, actor: str) -> None:
        """
        Change the number of partitions, 1 to 1024. All go on from the oldest cursor and pass over what is settled.

        Raises:
            BusStateError: A live worker holds a lease of it.
            InvalidSubscription: It has that number already.
        """
        ...

    async def retention_run(self, seconds: float, *, actor: str) -> Retention:
        """Drop events stored longer than *seconds* ago that every subscription is through with."""
        ...

    async def erase_count(self, *, tenant_id: str | None = None, key: str | None = None) -> Erasable:
        """What `erase` would mask in the store. Raises InvalidInput as `erase`. Cost: walks the log."""
        ...

    async def erase(
        self,
        *,
        actor: str,
        tenant_id: str | None = None,
        key: str | None = None,
        spool: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Erased:
        """
        Erase personal data: mask payload and headers of all events of a tenant, of a key, or of a key of a tenant, and
        what delivery rows and attempts say of them. Not undone by anything.

        The events stay where they are in the log, with id, tenant, key, name, time and lineage; the headers say
        ``erased_at`` and ``erased_by``. They are delivered as any other: `Event.is_erased` tells. A publish that repeats
        one by its id, whatever its payload, is a duplicate and brings nothing back.

        Broken off, it is finished by being called again. Two audit rows: ``erase``, whose count grows with each part,
        and ``erased`` at the end, with all counts.

        Args:
            spool: Folder of a spool on this machine to erase in, too.

        Raises:
            InvalidInput: Neither tenant nor key is given; nothing was done.
            PermissionDenied: The role may not change events: on PostgreSQL it takes the role ``eraser``. The spool, which
                comes first, is erased already.
            SpoolError: The spool cannot be read or written; nothing was done in the store.

        Cost: walks the log in transactions of up to 5,000 rows; an UPDATE for each event that is meant, which leaves a
        dead row on PostgreSQL.
        """
        ...

    async def add_index(self, name: str, *, actor: str, progress: Callable[[int], None] | None = None) -> bool:
        """
        Build a search index (`Inspector.search_indexes`). False if it is ready already. A build that was broken off
        goes on where it was.

        PostgreSQL: day by day, concurrently, so nobody waits; only the owner of the tables may. SQLite: in one write
        transaction, so nobody writes meanwhile. Cost: reads the whole log; each publish is a little dearer from then on.

        Raises:
            BusStateError: An index of the log is being built just now.
            NotFound: No search index has that name.
            PermissionDenied: The role does not own the tables.
        """
        ...

    async def drop_index(self, name: str, *, actor: str) -> None:
        """Drop a search index; nothing happens where it is missing. Raises NotFound, PermissionDenied as `add_index`."""
        ...

    async def after_restore(self, *, actor: str) -> Restored:
        """
        Repair a store that was restored into, or copied to, another server: what its cursors had not passed and has
        no receipt waits as delivery rows, and every cursor begins at what that server shows now.

        Publishers wait meanwhile; nothing may work there. Cost: rewrites the whole log.

        Raises:
            ConfigurationError: It was not restored, or the store's cursors need no server.
        """
        ...


def make_inspector(store: Store) -> tuple[Inspector, Operator]:
    """Inspector and operator of *store*, which need not be open. Close the inspector after use; it closes both."""
    from holdfast.stores.sqlite import SQLiteStore

    if isinstance(store, SQLiteStore):
        from holdfast.stores.sqlite.inspecting import SQLiteInspector
        from holdfast.stores.sqlite.operating import SQLiteOperator

        looking = SQLiteInspector(store)
        return looking, SQLiteOperator(store, looking)
    from holdfast.stores.postgres.inspecting import PostgresInspector
    from holdfast.stores.postgres.operating import PostgresOperator
    from holdfast.stores.postgres.store import PostgresStore

    if not isinstance(store, PostgresStore):
        raise TypeError(f"no inspector for {type(store).__qualname__}")
    inspector = PostgresInspector(store)
    return inspector, PostgresOperator(store, inspector)
