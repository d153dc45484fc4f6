"""Background duties: a snapshot a minute, retention, forgetting the dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.patterns import matches
from holdfast.stores.sqlite.reader import log_state
from holdfast.stores.sqlite.rows import MAX_POSITION, json_text, row_of, slot_of_row
from holdfast.stores.values import LAG_COUNTED_MAX, Maintenance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from holdfast.archive import Archive
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import Sampled

SNAPSHOTS_KEPT = 31 * 86_400.0
WORKERS_KEPT = 600.0
SAMPLES_KEPT = 48 * 3_600.0
EVENTS_A_BATCH = 2_000
_BYTES_A_BATCH = 8 * 2**20
_BATCHES = 200


class Maintaining:
    """The part of the SQLite store that tidies up."""

    _writer: SessionThread
    _lookup: SessionThread

    async def maintain(self, *, retention: float | None, archive: Archive | None = None) -> Maintenance:
        await self._writer.run(tidy, SNAPSHOTS_KEPT if retention is None else max(retention, SNAPSHOTS_KEPT))
        if retention is None:
            return Maintenance(0, ())
        generation, last, blocking = await self._lookup.run(droppable, retention)
        dropped = 0
        for _ in range(_BATCHES):  # each a transaction of its own, so that others get their turn in between
            upto = last if archive is None else await self._lookup.run(archive_batch, last, archive)
            count = await self._writer.run(drop_batch, upto, generation)
            dropped += count
            if count == 0 or (archive is None and count < EVENTS_A_BATCH):
                break
        return Maintenance(dropped, blocking)

    async def add_samples(self, worker: UUID, samples: Sequence[Sampled]) -> None:
        await self._writer.run(add_samples, worker, samples)

    async def add_lags(self, worker: UUID) -> None:
        if found := await self._lookup.run(lags, str(worker)):
            await self._writer.run(add_lags, found)


def add_samples(session: Session, worker: UUID, samples: Sequence[Sampled]) -> None:
    log = {"subscription": None, "delivered": 0, "failed": 0, "retried": 0, "dead": 0, "durations": None}
    counted = [sample._asdict() | {"durations": json_text(sample.durations)} for sample in samples]
    common = {"worker": str(worker), "now": session.now()}
    with session.write():
        session.each("add_samples", [values | common for values in (log, *counted)])
        session.count("forget_samples", {"since": session.now(-SAMPLES_KEPT)})


def lags(session: Session, worker: str) -> list[dict[str, Any]]:
    """How far each subscription is behind in the log, if it is for this worker to say so."""
    session.connection.create_function("holdfast_matches", 2, matches, deterministic=True)
    session.connection.create_function("holdfast_slot", 3, slot_of_row, deterministic=True)
    now, found = session.now(), []
    for (subscription,) in session.rows("lags_wanted", worker=worker, minute_ago=session.now(-60)):
        (backlog,) = session.rows(
            "subscription_backlog", subscription=subscription, bound=LAG_COUNTED_MAX, tenant_id=None, now=now
        )
        unsettled, _, waiting_since, _ = backlog
        found.append({
            "worker": worker, "now": now, "subscription": subscription, "unsettled": unsettled,
            "waiting_since": waiting_since,
        })  # fmt: skip
    return found


def add_lags(session: Session, found: list[dict[str, Any]]) -> None:
    with session.write():
        session.each("add_lags", found)


def tidy(session: Session, snapshots_kept: float) -> None:
    with session.write():
        now = session.now()
        session.count("store_snapshot", {"now": now, "horizon": log_state(session)[0]})
        session.count("forget_snapshots", {"now": now, "since": session.now(-snapshots_kept)})
        session.count("forget", {"since": session.now(-WORKERS_KEPT)})
        session.count("redate", {"now": now, "soon": session.now(5.0)})


def droppable(session: Session, retention: float) -> tuple[int, int, tuple[str, ...]]:
    """
    How far the log may be dropped: generation, last position, names of subscriptions that keep it from more.

    Events go in the order of positions, up to the first one that a subscription still waits for.
    """
    with session.snapshot():
        generation = log_state(session)[1]
        row = session.row("old_horizon", since=session.now(-retention))
        last = 0 if row is None or row[0] is None else int(row[0])
        waiting = session.rows("waited_for", horizon=last, none=MAX_POSITION)
    blocking = tuple(sorted(name for name, first, *_ in waiting if first <= last))
    return generation, min([last, *(first - 1 for _, first, *_ in waiting)]), blocking


def archive_batch(session: Session, last: int, archive: Archive) -> int:
    """Write the oldest events up to *last* to the disk; returns how far that goes. Nothing can come in between any more."""
    ((upto,),) = session.rows(
        "left_behind_page", position=0, shown=last, limit=EVENTS_A_BATCH, max_bytes=_BYTES_A_BATCH
    )
    if upto is None:
        return 0
    archive.add(None, [row_of(*row) for row in session.stream("events_to_drop", last=upto)])
    return int(upto)


def drop_batch(session: Session, last: int, generation: int) -> int:
    """Drop the oldest events up to *last*, with all that belongs to them; returns how many."""
    with session.write():
        # Whoever registers, retries or replays makes old events wanted again.
        if log_state(session)[1] != generation:
            return 0
        row = session.row("last_of_batch", horizon=last, limit=EVENTS_A_BATCH)
        if row is None or row[0] is None:
            return 0
        upto = {"position": row[0]}
        session.count("keep_dead_letters", upto)
        session.count("drop_discarded", upto)
        session.count("drop_attempts", upto)
        session.count("drop_receipts", upto)
        session.count("note_dropped", upto)
        return session.count("drop_events", upto)
