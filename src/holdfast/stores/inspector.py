"""Reading for people, and the operator's actions: what the command line and the dashboard stand on.

`Inspector` looks and never writes, `Operator` acts, and every action, a refused one too, leaves an audit row. Both
go over a connection of their own, so that looking never stands in the way of workers. Times are aware UTC datetimes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.stores.records import BACKLOG_MAX, RETENTION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from holdfast.stores.base import Store
    from holdfast.stores.records import (
        AuditRecord,
        Blocked,
        DeadFilter,
        DeadLetter,
        EventDetail,
        EventFilter,
        EventPage,
        Fact,
        LeaseRecord,
        ReplayFilter,
        ReplayRecord,
        Restored,
        Retention,
        SpoolFolder,
        Status,
        SubscriptionRecord,
        WorkerRecord,
    )


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
    ) -> Status:
        """
        How all subscriptions are doing, with a verdict.

        Args:
            backlog_max: Events up to which each backlog is counted.
            retention: Seconds that events are kept, to tell who keeps older ones from being dropped.
            spool: The local spool, which the store cannot see.

        Cost: per subscription one read of the log beyond its oldest cursor, *backlog_max* events at most.
        """
        ...

    async def events(
        self, filter: EventFilter, *, status: str | None = None, limit: int = 50, before: int | None = None
    ) -> EventPage:
        """
        Events, newest first.

        Cost: walks the log from its newest event, or from *before*, until *limit* matched. With *status* at most
        10,000 events are looked at in one call; a page may then be short, or empty, and still have a next one.
        """
        ...

    async def event(self, event_id: UUID) -> EventDetail:
        """
        One event with its deliveries and all their attempts.

        Raises:
            NotFound: No such event, and no dead letter of it.
        """
        ...

    async def subscriptions(self) -> list[SubscriptionRecord]: ...

    async def dead(self, filter: DeadFilter, *, limit: int = 50, before: int | None = None) -> list[DeadLetter]:
        """
        Dead letters, the latest parked first.

        Raises:
            NotFound: The filter names a subscription that there is not.
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

    async def audit(self, *, limit: int = 50, before: int | None = None) -> list[AuditRecord]:
        """What operators did, the latest first."""
        ...

    async def replays(self, *, limit: int = 50) -> list[ReplayRecord]: ...

    async def retention_preview(self, seconds: float) -> Retention:
        """What dropping events stored longer than *seconds* ago would do. Cost: reads those events."""
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
