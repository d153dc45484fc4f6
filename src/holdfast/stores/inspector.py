"""Reading for people, and the operator's actions: what the command line and the dashboard stand on.

`Inspector` looks and never writes, `holdfast.stores.operator.Operator` acts, and every action, a refused one too, leaves an audit row. Both
go over a connection of their own, so that looking never stands in the way of workers. Times are aware UTC datetimes.

What is about events and their deliveries takes a tenant: a filter's ``tenant_id``, or one of its own. The other verbs
have none, because what they are about belongs to all tenants: subscriptions with their cursors, pauses and skips;
workers and leases; tables, indexes and retention; the audit, whose details name the tenant where an action had one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.stores.keys import KeyInspector
from holdfast.stores.records import BACKLOG_MAX, AsKept

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from holdfast.stores.base import Store
    from holdfast.stores.filters import AuditFilter, DeadFilter, EventFilter, PayloadMatch
    from holdfast.stores.operator import Operator
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
        Samples,
        SpoolFolder,
        Status,
        SubscriptionRecord,
        WorkerRecord,
    )
    from holdfast.stores.scheduling import ScheduledRecord, ScheduleRecord
    from holdfast.stores.storage import Retention, RetentionRule, Seals, SearchIndex, Storage


class Inspector(KeyInspector, Protocol):
    """Reading for people. Never writes.

    Every method raises `StoreUnavailable`, `SchemaMismatch` or `PermissionDenied` as the store does.
    """

    async def status(
        self,
        *,
        backlog_max: int = BACKLOG_MAX,
        retention: float | AsKept | None = "as kept",
        spool: SpoolFolder | None = None,
        tenant_id: str | None = None,
    ) -> Status:
        """
        How all subscriptions are doing, with a verdict.

        Args:
            backlog_max: Events up to which each backlog is counted; a larger one is estimated, from a sample.
            retention: Seconds that events are kept, to tell who keeps older ones from being dropped, and who comes near;
                by default as `retention_rule` has it. None: neither is looked for.
            spool: The local spool, which the store cannot see.
            tenant_id: Figures of this tenant's events and deliveries alone. Owners, workers, pauses and breakers are
                the subscription's; retention is nobody's, and not told then.

        Cost: per subscription one read of the log beyond its oldest cursor, of *backlog_max* + 1,000 events at most.
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
        their search index, where there is one (`search_indexes`), from where the time asked for ends to where it begins;
        what is asked for beside, and all else, is looked for event by event, 10,000 at most in one call and no further
        than a fifth of a second allows. A page may then be short, or empty, and still have a next one.
        """
        ...

    async def estimate(self, filter: EventFilter) -> Count:
        """
        About how many events match. Cost: PostgreSQL asks its planner and reads nothing; SQLite counts among the
        newest 20,000, and takes the rest for alike. Without a filter neither reads the log.
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

        Raises NotFound as `dead`. Cost: reads the last errors of the latest 10,000 that match, or of as many of them as
        a fifth of a second allows; `DeadGroups.looked` says how many.
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

    async def audit(
        self, filter: AuditFilter | None = None, *, limit: int = 50, before: int | None = None
    ) -> list[AuditRecord]:
        """What operators did, the latest first. *before*: the id of the last one of the page before."""
        ...

    async def replays(self, *, limit: int = 50) -> list[ReplayRecord]: ...

    async def scheduled(self, *, tenant_id: str | None = None, limit: int = 50) -> list[ScheduledRecord]:
        """Events that were published for later, the next one first. Cost: with a tenant, a walk through all of them."""
        ...

    async def schedules(self) -> list[ScheduleRecord]:
        """All schedules, by name."""
        ...

    async def seals(self) -> Seals:
        """How far the log is sealed against tampering, and when that was last verified. Cost: a row for each day."""
        ...

    async def storage(self) -> Storage:
        """What tables, partitions and indexes take up. Cost: the catalogue and the statistics; no table is read."""
        ...

    async def retention_rule(self) -> RetentionRule:
        """
        How long the live worker keeps events that keeps them for the shortest time; what a bus does that says nothing,
        where none lives.
        """
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
