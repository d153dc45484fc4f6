"""The operator's actions, for the command line and the dashboard. What all have in common: `holdfast.stores.inspector`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from holdfast.stores.keys import KeyOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from holdfast.archive import Archived
    from holdfast.erased import Erasable, Erased
    from holdfast.stores.filters import DeadFilter, ReplayFilter
    from holdfast.stores.records import Count, Restored
    from holdfast.stores.storage import Retention


class Operator(KeyOperator, Protocol):
    """The operator's actions. *actor* is who acts. Running workers take notice at their next read.

    Every method raises `NotFound` where the subscription does not exist, and `StoreError` and its kin.
    """

    async def pause(self, subscription: str, *, actor: str, tenant_id: str | None = None) -> bool:
        """
        Stop delivering, to the subscription or only what is one tenant's; events go on being stored.
        The workers of a paused subscription give it back.

        The others' events go on meanwhile, and what is the tenant's waits as a range of the log, whatever there is of
        it. Retention keeps it. False if it was paused already.

        Raises:
            InvalidEvent: No tenant can have that name.
        """
        ...

    async def set_concurrency(self, subscription: str, concurrency: int | None, *, actor: str) -> bool:
        """
        How many events every worker handles at once, from its next read on, whatever the program declares; None: as
        declared. What runs goes on. False if it was so already.

        Raises:
            InvalidInput: Not between 1 and 10,000. Handlers that are plain functions never get more than 1,000 threads.
        """
        ...

    async def resume(self, subscription: str, *, actor: str, tenant_id: str | None = None) -> bool:
        """Go on delivering; a tenant that was paused alone catches up, in the order of its keys. False if it was not paused."""
        ...

    async def cancel_scheduled(self, event_id: UUID, *, actor: str) -> None:
        """Forget an event that was published for later. Raises NotFound where it does not wait (any more)."""
        ...

    async def reschedule(self, event_id: UUID, due_at: datetime, *, actor: str) -> None:
        """Change when such an event comes into the log. Raises NotFound as `cancel_scheduled`."""
        ...

    async def pause_schedule(self, name: str, *, actor: str) -> bool:
        """Make no events of a schedule's times from now on. False if it was paused already. Raises NotFound."""
        ...

    async def resume_schedule(self, name: str, *, actor: str) -> bool:
        """
        Go on with a schedule from its next time on: what came due meanwhile is not made up for. False if it was not
        paused. Raises NotFound.
        """
        ...

    async def remove_schedule(self, name: str, *, actor: str) -> None:
        """
        Forget a schedule that no program declares any more; one that does makes it anew when it next starts. Its
        subscription stays. Raises NotFound.
        """
        ...

    async def verified(self, target: str, *, actor: str, events: int, sound: bool) -> None:
        """Write into the audit that *actor* compared *target* with its seals, *events* of them, and what came of it."""
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
        """What `skip` would pass over: events beyond the cursors, about, where they are many, and unsettled rows."""
        ...

    async def skip(self, subscription: str, *, actor: str, patience: float = 30.0) -> Count:
        """
        Go on from now: what is stored and not settled is passed over for good, unsettled delivery rows are discarded.
        Dead letters stay, and so do the events: a replay brings them back. Returns what was passed over.

        Where workers run it, it is paused until they have given back its partitions, and then as it was; an operator that
        dies meanwhile leaves it paused. Raises BusStateError where that took *patience* seconds: nothing was skipped then.
        """
        ...

    async def replay_count(self, subscription: str, filter: ReplayFilter) -> int:
        """
        How many events `replay` would deliver again. Cost: walks the range. Raises InvalidSubscription where it was
        declared with ``replayable=False``, NotFound where there is no event with *first_id* or *last_id*.
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
        afresh, unsettled ones are left alone. Cancelled, it stops after a whole chunk. *total*: what `replay_count` said,
        if that was asked already. Raises as `replay_count`; nothing was written then but the audit row.
        """
        ...

    async def go_on_replaying(self, replay: int, *, actor: str, progress: Callable[[int], None] | None = None) -> int:
        """
        Take up a replay that has stopped (`ReplayRecord.stopped`) where it was. Returns how many were handed over now.

        Raises BusStateError where it has not, NotFound where there is none of that number.
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

    async def retention_run(self, seconds: float, *, actor: str, archive: Path | None = None) -> Retention:
        """
        Drop events stored longer than *seconds* ago that every subscription is through with. With *archive*, a folder, they
        are on its disk before; OSError where it cannot be written, and what was not on it was not dropped.
        """
        ...

    async def put_back(self, subscription: str, events: Iterable[Archived], *, actor: str) -> int:
        """
        Deliver archived events (`holdfast.archive.read`) to the subscription that let go of them, and to no other, in the
        order given. Each is a delivery row that has its content itself. Returns how many; those of which there is a row
        that waits or is dead are not put there again.

        Raises InvalidInput where the iterator does; what was put back until then is.
        """
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

        Where there are data keys of these, they are dropped first: nothing new is encrypted with them from the first
        moment, and they are gone 6 seconds later, when no process uses them from memory any more.

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
