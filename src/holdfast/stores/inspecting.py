"""The reading half that both stores share: statements of the same names, rows of the same columns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from holdfast.errors import NotFound
from holdfast.health import verdict
from holdfast.patterns import to_regex
from holdfast.ports import elapsed
from holdfast.stores import grouping, sampled
from holdfast.stores.columns import as_json, as_moment, as_texts, as_time, as_uuid, longest, shortest
from holdfast.stores.filters import AuditFilter
from holdfast.stores.keys import MasterKeyRecord
from holdfast.stores.lineage import causation_tree
from holdfast.stores.records import (
    BACKLOG_MAX,
    RETENTION_SECONDS,
    AttemptRecord,
    AuditRecord,
    Blocked,
    DeadLetter,
    DeliveryRecord,
    EventDetail,
    EventRecord,
    Fact,
    LagSample,
    LeaseRecord,
    ReplayRecord,
    Samples,
    Status,
    SubscriptionRecord,
    SubscriptionStatus,
    WorkerRecord,
)
from holdfast.stores.scheduling import ScheduledRecord, ScheduleRecord
from holdfast.stores.searching import Reading, Search, search_events
from holdfast.stores.storage import IndexStorage, RetentionRule, Seals, SearchIndex, by_default
from holdfast.wording import roughly

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from holdfast.stores.filters import DeadFilter, EventFilter, PayloadMatch
    from holdfast.stores.records import AsKept, CausationTree, Count, DeadGroups, EventPage, SpoolFolder
    from holdfast.stores.storage import Retention, Storage


class Inspecting(ABC):
    """`holdfast.stores.inspector.Inspector`, but for what a store must say itself."""

    @abstractmethod
    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a named statement."""

    @abstractmethod
    async def backlogs(self, *, bound: int, tenant_id: str | None) -> dict[int, tuple[Any, ...]]:
        """By subscription: events it has still to see, whether that is estimated, since when one waits, its last move."""

    @abstractmethod
    async def estimate(self, filter: EventFilter) -> Count: ...

    @abstractmethod
    async def storage(self) -> Storage: ...

    @abstractmethod
    async def retention_preview(self, seconds: float) -> Retention: ...

    @abstractmethod
    async def retention_blockers(self, seconds: float) -> set[str]:
        """Names of the subscriptions that need the oldest events beyond that age."""

    @abstractmethod
    async def days_ahead(self) -> int | None: ...

    @abstractmethod
    async def facts(self) -> list[Fact]: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def status(
        self,
        *,
        backlog_max: int = BACKLOG_MAX,
        retention: float | AsKept | None = "as kept",
        spool: SpoolFolder | None = None,
        tenant_id: str | None = None,
    ) -> Status:
        subscriptions = await self.subscriptions()
        blockers, near, let_go = set[str](), set[str](), dict[str, int]()
        rule = await self.retention_rule() if retention == "as kept" else by_default(retention)
        if rule.seconds is not None and tenant_id is None:
            blockers = await self.retention_blockers(rule.seconds)
            near = await self._near_retention(subscriptions, rule.seconds - rule.warning)
            let_go = dict(await self.rows("recent_let_go"))
        counts = {row[0]: row[1:] for row in await self.rows("subscription_counts", tenant_id=tenant_id)}
        backlogs = await self.backlogs(bound=backlog_max, tenant_id=tenant_id)
        found = [
            replace(
                await self._status(one, counts[one.id], backlogs[one.id], one.name in blockers, tenant_id),
                behind_retention=one.behind_retention,
                near_retention=one.name in near,
                let_go=int(let_go.get(one.name, 0)),
            )
            for one in subscriptions
            if one.id in counts and one.id in backlogs
        ]
        workers = sum(one.live for one in await self.workers())
        return Status(verdict(found, spools=[spool] if spool else []), tuple(found), workers, spool)

    async def _status(
        self, one: SubscriptionRecord, counts: Sequence[int], waits: Sequence[Any], blocks: bool, tenant_id: str | None
    ) -> SubscriptionStatus:
        backlog, estimated, since, moved = waits
        backlog = roughly(backlog) if estimated else backlog
        ((oldest, ready, changed, now),) = await self.rows(
            "subscription_deliveries", subscription=one.id, tenant_id=tenant_id
        )
        pending, retrying, running, dead, discarded, owned, workers, tripped = counts
        return SubscriptionStatus(
            id=one.id,
            name=one.name,
            paused=one.paused_at is not None,
            backlog=backlog,
            backlog_estimated=bool(estimated),
            pending=pending,
            retrying=retrying,
            running=running,
            dead=dead,
            discarded=discarded,
            lag=backlog + pending + retrying + running,
            lag_seconds=longest(now, since, oldest),
            waiting_seconds=longest(now, since, ready),
            idle_seconds=shortest(now, moved, changed),
            owned=owned,
            free=one.partitions - owned,
            workers=workers,
            tripped=tripped,
            blocks_retention=blocks,
        )

    async def retention_rule(self) -> RetentionRule:
        for seconds, warning in await self.rows("kept_for"):
            return RetentionRule(None if math.isinf(seconds) else seconds, warning)
        return by_default(RETENTION_SECONDS)

    async def _near_retention(self, subscriptions: Sequence[SubscriptionRecord], seconds: float) -> set[str]:
        """Those that do not hold, and need something older than that."""
        letting_go = {one.name for one in subscriptions if one.behind_retention != "hold"}
        return letting_go & await self.retention_blockers(seconds) if letting_go else set()

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
        search = Search(filter, status, correlation_id, payload)
        reading = Reading(self.rows, as_event, as_moment)
        return await search_events(search, reading, filter_parameters(filter), limit=limit, before=before)

    async def search_indexes(self) -> list[SearchIndex]:
        return [
            SearchIndex(name, index_state(ready=ready, begun=begun, building=building), size)
            for name, _, ready, begun, size, building in await self.rows("search_indexes")
        ]

    async def keys(self) -> list[MasterKeyRecord]:
        return [MasterKeyRecord(*row) for row in await self.rows("keys_by_master")]

    async def event(self, event_id: UUID, *, tenant_id: str | None = None) -> EventDetail:
        rows = await self.rows("event_content", event_id=event_id)
        if not rows or tenant_id not in {None, rows[0][1]}:
            whose = "" if tenant_id is None else f" of tenant {tenant_id!r}"
            raise NotFound(
                f"no event {event_id}{whose} is stored, and no dead letter of it: retention may have dropped it"
            )
        found, tenant_id, name, key, occurred_at, payload, headers, in_log = rows[0]
        history: dict[str, list[AttemptRecord]] = {}
        for subscription, *attempt in await self.rows("event_attempts", event_id=event_id):
            history.setdefault(subscription, []).append(as_attempt(attempt))
        deliveries = [
            as_delivery(row, tuple(history.get(row[0], ())))
            for row in await self.rows("event_deliveries", event_id=event_id)
        ]
        return EventDetail(
            as_uuid(found), tenant_id, name, key, as_time(occurred_at), as_json(payload), as_json(headers),
            bool(in_log), tuple(deliveries),
        )  # fmt: skip

    async def causation(self, event_id: UUID, *, tenant_id: str | None = None, limit: int = 200) -> CausationTree:
        return await causation_tree(Reading(self.rows, as_event, as_moment), event_id, tenant_id, limit=limit)

    async def subscriptions(self) -> list[SubscriptionRecord]:
        return [as_subscription(row) for row in await self.rows("subscription_records")]

    async def require_known(self, subscription: str | None) -> None:
        """Raise NotFound where a subscription is named that there is not."""
        if subscription is not None:
            find(await self.subscriptions(), subscription)

    async def dead(self, filter: DeadFilter, *, limit: int = 50, before: int | None = None) -> list[DeadLetter]:
        found = await self.matching(filter, limit=limit, before=before)
        return [as_dead_letter(row) for row in await self.rows("dead_letters", deliveries=found)]

    async def matching(
        self, filter: DeadFilter, *, held: bool = False, limit: int | None = None, before: int | None = None
    ) -> list[int]:
        """Ids of the delivery rows that *filter* means, the latest first. Raises NotFound as `require_known`."""
        await self.require_known(filter.subscription)
        bound = limit if filter.fingerprint is None else None
        rows = await self.rows("matching_deliveries", **dead_parameters(filter), held=held, limit=bound, before=before)
        found = [row[0] for row in rows]
        if filter.fingerprint is None:
            return found
        causes = [cause for part in grouping.chunks(found) for cause in await grouping.causes(self._letters, part)]
        return [one.delivery for one in causes if one.fingerprint.digest == filter.fingerprint][:limit]

    async def dead_groups(self, filter: DeadFilter) -> DeadGroups:
        begun = elapsed()
        found = await self.matching(filter, limit=grouping.LOOKED_MAX + 1)
        causes: list[grouping.Cause] = []
        for part in grouping.chunks(found[: grouping.LOOKED_MAX]):
            causes += await grouping.causes(self._letters, part)
            if elapsed() - begun >= grouping.LOOKED_SECONDS:
                break
        return grouping.grouped(self._letters, causes, complete=len(causes) == len(found))

    @property
    def _letters(self) -> grouping.Reading:
        return grouping.Reading(self.rows, as_uuid, as_moment)

    async def blocked(self, filter: DeadFilter, *, limit: int = 50) -> list[Blocked]:
        await self.require_known(filter.subscription)
        return [
            Blocked(
                subscription,
                tenant,
                key,
                as_uuid(event_id),
                name,
                state,
                reason,
                None if state == "dead" else as_moment(due_at),
                held,
            )
            for subscription, tenant, key, event_id, name, state, reason, due_at, held in await self.rows(
                "blocked_behind", **dead_parameters(filter), limit=limit
            )
        ]

    async def workers(self) -> list[WorkerRecord]:
        return [
            WorkerRecord(
                as_uuid(worker), host, pid, version, as_texts(subscriptions), leases, bool(draining), bool(live),
                as_moment(started_at), as_moment(heartbeat_at),
            )
            for worker, host, pid, version, subscriptions, leases, draining, live, started_at, heartbeat_at
            in await self.rows("worker_records")
        ]  # fmt: skip

    async def leases(self, subscription: str | None = None) -> list[LeaseRecord]:
        await self.require_known(subscription)
        return [
            LeaseRecord(
                name, partition, None if owner is None else as_uuid(owner), as_time(until), bool(live), epoch,
                bool(clean), crashes, str(done), None if open_ is None else str(open_), position, as_moment(moved_at),
            )
            for name, partition, owner, until, live, epoch, clean, crashes, done, open_, position, moved_at
            in await self.rows("lease_records")
            if subscription in {None, name}
        ]  # fmt: skip

    async def _indexes(self) -> tuple[IndexStorage, ...]:
        return tuple(
            IndexStorage(table, name, size, scans, bool(valid))
            for table, name, size, scans, valid in await self.rows("storage_indexes")
        )

    async def samples(self, since: datetime) -> Samples:
        places = [(as_moment(at), position) for at, position in await self.rows("log_samples", since=since)]
        return Samples(
            sampled.published(places),
            sampled.by_subscription(
                sampled.Counted(name, as_moment(at), delivered, failed, retried, dead, as_json(durations))
                for name, at, delivered, failed, retried, dead, durations in await self.rows(
                    "subscription_samples", since=since
                )
            ),
            {
                name: tuple([LagSample(as_moment(at), lag, seconds) for _, at, lag, seconds in rows])
                for name, rows in groupby(await self.rows("lag_samples", since=since), key=itemgetter(0))
            },
        )

    async def audit(
        self, filter: AuditFilter | None = None, *, limit: int = 50, before: int | None = None
    ) -> list[AuditRecord]:
        asked = asdict(filter or AuditFilter())
        return [
            AuditRecord(number, as_moment(at), actor, action, target, as_json(detail), count, bool(allowed))
            for number, at, actor, action, target, detail, count, allowed in await self.rows(
                "audit_records", **asked, limit=limit, before=before
            )
        ]

    async def seals(self) -> Seals:
        ((days, events, sealed_at, until, behind, verified_at, detail),) = await self.rows("seal_state")
        found = as_json(detail) or {}
        return Seals(
            days, events, as_time(sealed_at), as_time(until), behind, as_time(verified_at),
            found.get("sound") if verified_at else None,
        )  # fmt: skip

    async def replays(self, *, limit: int = 50) -> list[ReplayRecord]:
        return [
            ReplayRecord(
                number, subscription, as_json(filters), rate, total, done, state, actor, as_moment(created_at),
                as_time(finished_at), bool(stopped),
            )
            for number, subscription, filters, rate, total, done, state, actor, created_at, finished_at, stopped
            in await self.rows("replay_records", limit=limit)
        ]  # fmt: skip

    async def scheduled(self, *, tenant_id: str | None = None, limit: int = 50) -> list[ScheduledRecord]:
        return [
            ScheduledRecord(
                as_uuid(event_id), as_moment(due_at), as_moment(published_at), tenant, name, key, as_time(refused_at)
            )
            for event_id, due_at, published_at, tenant, name, key, refused_at
            in await self.rows("scheduled_records", tenant_id=tenant_id, limit=limit)
        ]  # fmt: skip

    async def schedules(self) -> list[ScheduleRecord]:
        return [
            ScheduleRecord(
                name, rule, zone, missed, tenant, as_moment(next_at), as_time(last_at), as_time(paused_at), paused_by
            )
            for name, rule, zone, missed, tenant, next_at, last_at, paused_at, paused_by
            in await self.rows("schedule_records")
        ]  # fmt: skip


def find(known: Sequence[SubscriptionRecord], name: str) -> SubscriptionRecord:
    """The subscription of that name; else an error that names those whose names are near."""
    for one in known:
        if one.name == name:
            return one
    import difflib

    close = difflib.get_close_matches(name, [one.name for one in known], n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "holdfast subscriptions  lists those there are"
    if not known:
        hint = "none is registered yet (holdfast migrate MODULE:BUS)"
    raise NotFound(f"no subscription {name!r}: {hint}")


def filter_parameters(filter: EventFilter) -> dict[str, Any]:
    """What the statements that filter take: the name both as a pattern and as a regular expression."""
    return {
        "event_id": filter.event_id,
        "name": filter.name,
        "regex": None if filter.name is None else to_regex(filter.name),
        "tenant_id": filter.tenant_id,
        "key": filter.key,
        "since": filter.since,
        "until": filter.until,
    }


def dead_parameters(filter: DeadFilter) -> dict[str, Any]:
    return filter_parameters(filter) | {"subscription": filter.subscription, "error": filter.error}


def as_subscription(row: Sequence[Any]) -> SubscriptionRecord:
    number, name, patterns, partitions, ordering, on_dead, replayable, paused_at, paused_by, tenants, *rest = row
    concurrency, behind, created_at, updated_at = rest
    return SubscriptionRecord(
        number, name, as_texts(patterns), partitions, ordering, on_dead, bool(replayable), as_time(paused_at), paused_by,
        as_texts(tenants), concurrency, behind, as_moment(created_at), as_moment(updated_at),
    )  # fmt: skip


def index_state(*, ready: Any, begun: Any, building: Any) -> Literal["missing", "building", "incomplete", "ready"]:
    if ready or not begun:
        return "ready" if ready else "missing"
    return "building" if building else "incomplete"


def as_event(row: Sequence[Any]) -> EventRecord:
    position, event_id, tenant_id, name, key, status, retries, occurred_at, processed_at, size = row
    return EventRecord(
        position, as_uuid(event_id), tenant_id, name, key, status, retries, as_moment(occurred_at), as_time(processed_at),
        size,
    )  # fmt: skip


def as_attempt(row: Sequence[Any]) -> AttemptRecord:
    attempt, outcome, error, message, traceback, seconds, finished_at = row
    return AttemptRecord(attempt, outcome, error, message, traceback, seconds, as_moment(finished_at))


def as_delivery(row: Sequence[Any], history: tuple[AttemptRecord, ...]) -> DeliveryRecord:
    subscription, state, attempts, put_offs, next_try_at, processed_at, reason, is_replay, held_behind, paused = row
    held = None if held_behind is None else as_uuid(held_behind)
    return DeliveryRecord(
        subscription, state, attempts, put_offs, None if held else as_time(next_try_at), as_time(processed_at), reason,
        bool(is_replay), held, bool(paused), history,
    )  # fmt: skip


def as_dead_letter(row: Sequence[Any]) -> DeadLetter:
    delivery, subscription, event_id, *texts, died_at, occurred_at, payload, headers = row
    name, tenant_id, key, attempts, put_offs, reason, error, message = texts
    return DeadLetter(
        delivery, subscription, as_uuid(event_id), name, tenant_id, key, attempts, put_offs, reason, error, message,
        as_moment(died_at), as_time(occurred_at), as_json(payload), as_json(headers),
    )  # fmt: skip
