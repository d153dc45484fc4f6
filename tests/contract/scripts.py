"""Scripts of operations, drawn from a seed and stepped across several sessions of one store.

What is drawn next depends on the answers so far, and on nothing else: two stores that answer alike are asked alike, to
the end. What they answer is written down with names in place of ids, so that it can be compared line by line.

Left out of it, because stores may differ there: numbers that only have to come back as they were given (delivery rows,
claims, cursors, horizons), `Claim.next_in`, which is a hint, and slots, which each store hashes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zlib import crc32

import psycopg

from holdfast.errors import HoldfastError
from holdfast.event import NewEvent
from holdfast.ids import uuid7
from holdfast.patterns import Matcher
from holdfast.stores.filters import DeadFilter
from holdfast.stores.inspector import make_inspector
from holdfast.stores.values import (
    Advance,
    Declaration,
    Finished,
    Parked,
    Receipt,
    Released,
    Revised,
    Settlement,
    State,
)
from tests.contract.harness import TTL, failed
from tests.simulation.caller import CallersConnection
from tests.simulation.store import SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.event import Row
    from holdfast.stores.base import Reader, Store
    from holdfast.stores.values import Cursor, Due, Lease, Slice, Subscription
    from tests.contract.harness import Scene

KEYS = ("a", "b", "c", None)
NAMES = ("order.placed", "order.paid", "other")
SUBSCRIPTIONS = {"billing": (2, ("order.*",)), "audit": (1, ("**",)), "mail": (3, ("order.placed", "other"))}
PARKED = (State.PENDING, State.RETRYING, State.DEAD, State.RUNNING)


@dataclass
class Session:
    """One worker, with a connection of its own for transactions that stay open for a while."""

    number: int
    worker: UUID
    store: Store
    reader: Reader
    leases: dict[Slice, Lease] = field(default_factory=dict)
    places: dict[Slice, Cursor] = field(default_factory=dict)
    rows: dict[Slice, list[Row]] = field(default_factory=dict)
    due: list[Due] = field(default_factory=list)
    transaction: Any = None
    open: list[NewEvent] = field(default_factory=list)


class Player:
    """
    Plays the script of one seed on one store.

    Args:
        scene: An open store.
        interleaved: Transactions may stay open while others act: not on SQLite, which has one writer.
        millis: The time in the ids of events; the same for all stores that are compared, as ids decide slots.
    """

    def __init__(self, scene: Scene, seed: int, *, interleaved: bool, millis: int) -> None:
        self._scene, self._draw, self._interleaved, self._millis = scene, Random(seed), interleaved, millis
        self._sessions: list[Session] = []
        self._events: list[NewEvent] = []
        self._labels: dict[bytes, str] = {}
        self._known: dict[int, Subscription] = {}
        self.lines: list[str] = []

    async def play(self, steps: int) -> list[str]:
        """The answers, one a line, and at the end what the tables say."""
        for number in range(self._draw.randint(2, 4)):
            store = await self._store(number)
            worker = UUID(int=self._draw.getrandbits(128), version=4)
            self._sessions.append(Session(number, worker, store, await store.reader()))
        await self._register(self._sessions[0])
        for _ in range(steps):
            session = self._draw.choice(self._sessions)
            act = self._draw.choices(list(self._acts), weights=list(self._acts.values()))[0]
            try:
                answer = await act(self, session)
            except HoldfastError as error:
                answer = type(error).__name__
            self.lines.append(f"{session.number} {act.__name__.strip('_')}: {answer}")
        for session in self._sessions:
            await self._end(session, commits=False)
            await session.reader.close()
        self.lines += await self._tables()
        return self.lines

    async def _store(self, number: int) -> Store:
        return self._scene.store if number == 0 else await self._scene.rival()

    # Publishing

    def _new(self) -> NewEvent:
        event_id = uuid7(self._millis, self._draw.randbytes(10))
        event = NewEvent(event_id, "acme", self._draw.choice(NAMES), self._draw.choice(KEYS), b"{}", None, None)
        self._labels[event_id.bytes] = f"e{len(self._labels)}"
        self._events.append(event)
        return event

    def _some(self) -> list[NewEvent]:
        events = [self._new() for _ in range(self._draw.randint(1, 4))]
        if self._draw.random() < 0.2:  # one that was meant before, as it was or with another content
            before = self._draw.choice(self._events)
            if not any(before in session.open for session in self._sessions):  # or it waits for that transaction's end
                events.append(before if self._draw.random() < 0.5 else before._replace(payload=b"[1]"))
        return events

    async def _publish(self, session: Session) -> Any:
        if session.transaction is not None:
            return "has a transaction open"
        appended = await session.store.append(self._some(), atomic=self._draw.random() < 0.5)
        return [one.value for one in appended]

    async def _publish_within(self, session: Session) -> Any:
        """Through a transaction that others see when it commits; it stays open where the store can bear it."""
        if session.transaction is None:
            session.transaction = await self._begin(session)
        session.open.append(self._new())
        appended = await session.store.append_within(session.transaction, session.open[-1:])
        answer = [one.value for one in appended]
        if not self._interleaved:
            await self._end(session, commits=self._draw.random() < 0.7)
        return answer

    async def _finish(self, session: Session) -> Any:
        commits = self._draw.random() < 0.7
        await self._end(session, commits=commits)
        return commits

    async def _begin(self, session: Session) -> Any:
        if isinstance(session.store, SimulatedStore):
            return CallersConnection(session.store._server)
        if self._scene.kind == "postgres":
            return await psycopg.AsyncConnection.connect(self._scene.dsn)
        connection = self._scene.connect()
        connection.execute("begin immediate")
        return connection

    async def _end(self, session: Session, *, commits: bool) -> None:
        transaction, session.transaction = session.transaction, None
        session.open.clear()
        if transaction is not None:
            for end in ("commit" if commits else "rollback", "close"):
                if (waits := getattr(transaction, end)()) is not None:
                    await waits

    # Subscriptions and leases

    async def _register(self, session: Session) -> Any:
        names = self._draw.sample(sorted(SUBSCRIPTIONS), self._draw.randint(1, 3))
        start = self._draw.choice(("now", "beginning"))
        declared = [
            Declaration(
                name, SUBSCRIPTIONS[name][1], SUBSCRIPTIONS[name][0], ordering=self._draw.choice(("key", "key", "none")),
                on_dead=self._draw.choice(("continue", "hold")), start=start,
            )
            for name in names
        ]  # fmt: skip
        records = await session.store.register(declared)
        self._known |= {record.id: record for record in records}
        return sorted((record.name, record.partitions, record.ordering, record.on_dead) for record in records)

    async def _acquire(self, session: Session) -> Any:
        record = self._draw.choice(sorted(self._known.values()))
        leases = await session.store.acquire(session.worker, {record.id: record.partitions}, ttl=TTL)
        for lease in leases:
            session.leases[lease.slice] = lease
            session.places[lease.slice], session.rows[lease.slice] = lease.cursor, []
        return sorted((self._where(one.slice), one.epoch, one.clean, one.lost, one.crashes) for one in leases)

    async def _renew(self, session: Session) -> Any:
        epochs = {slice_: lease.epoch for slice_, lease in session.leases.items()}
        return sorted(map(self._where, await session.store.renew(session.worker, epochs, ttl=TTL)))

    async def _release(self, session: Session) -> Any:
        exact = self._draw.random() < 0.5
        released = [
            Released(slice_, lease.epoch, lease.cursor, exact, lease.lost and self._draw.random() < 0.5)
            for slice_, lease in session.leases.items()
        ]
        await session.store.release(session.worker, released)
        session.leases.clear()
        session.due.clear()
        return exact

    async def _lapse(self, session: Session) -> Any:
        """The time of its leases is over, and it does not know."""
        for lease in session.leases.values():
            await self._scene.lapse(lease)
        return len(session.leases)

    def _where(self, slice_: Slice) -> tuple[str, int]:
        return self._known[slice_.subscription].name, slice_.partition

    def _held(self, session: Session) -> Slice | None:
        return self._draw.choice(sorted(session.leases)) if session.leases else None

    # Reading and settling

    async def _read(self, session: Session) -> Any:
        """All that there is, page by page."""
        if (slice_ := self._held(session)) is None:
            return "holds nothing"
        cursor, found, limit = session.places[slice_], [], self._draw.choice((2, 100))
        while True:
            page = await session.reader.read(cursor, limit=limit, max_bytes=2**20)
            found += page.rows
            if not page.rows and cursor.open is None:
                break
            cursor = page.cursor
        session.places[slice_] = page.cursor
        mine = self._matcher(slice_)
        session.rows[slice_] += [row for row in found if mine(row)]
        return [self._label(row) for row in found]

    def _matcher(self, slice_: Slice) -> Callable[[Row], bool]:
        """What belongs to a slice. By a hash of our own: the stores need not agree on theirs."""
        record = self._known[slice_.subscription]
        matches = Matcher(record.patterns)
        return lambda row: (
            matches(row.name) and crc32(row.key.encode() if row.key else row.id) % record.partitions == slice_.partition
        )

    async def _settle(self, session: Session) -> Any:
        """Outcomes of what was read: receipts, delivery rows, attempts, and the cursor once nothing is left."""
        if (slice_ := self._held(session)) is None:
            return "holds nothing"
        lease, rows = session.leases[slice_], session.rows[slice_]
        known = await session.store.known(slice_.subscription, [(row.id, row.day) for row in rows])
        settlement = Settlement({slice_: lease.epoch})
        for row in [row for row in rows if row.id not in known]:
            if self._draw.random() < 0.5:
                settlement.add(Receipt(slice_, row.id, row.day))
            else:
                state = self._draw.choice(PARKED)
                settlement.parked.append(Parked(slice_, row, state, attempts=self._draw.randint(0, 2)))
                settlement.attempts.append(failed(slice_, row, self._draw.randint(1, 2)))
        settlement.advances.append(Advance(slice_, session.places[slice_]))
        session.rows[slice_] = []
        lost = await session.store.settle(settlement)
        return sorted(self._labels[one] for one in known if one in self._labels), sorted(map(self._where, lost))

    async def _known_of(self, session: Session) -> Any:
        slice_ = self._held(session)
        if slice_ is None:
            return "holds nothing"
        known = await session.store.known(slice_.subscription, [(row.id, row.day) for row in session.rows[slice_]])
        return sorted(self._labels.get(one, "?") for one in known)

    # Off the fast path

    async def _claim(self, session: Session) -> Any:
        epochs = {slice_: lease.epoch for slice_, lease in session.leases.items()}
        claim = await session.store.claim(epochs, limit=self._draw.choice((2, 100)))
        session.due += claim.due
        return [self._due(due) for due in claim.due]

    async def _conclude(self, session: Session) -> Any:
        """Outcomes of what was claimed."""
        settlement = Settlement()
        for due in session.due:
            if (lease := session.leases.get(due.slice)) is None:
                continue
            settlement.epochs[due.slice] = lease.epoch
            if self._draw.random() < 0.4:
                settlement.add(Receipt(due.slice, due.row.id, due.row.day, due.attempts + 1, due.is_replay))
                settlement.finished.append(Finished(due.slice, due.delivery, due.claim))
            else:
                state, attempts = self._draw.choice((State.RETRYING, State.PENDING, State.DEAD)), due.attempts + 1
                settlement.revised.append(Revised(due.slice, due.delivery, due.claim, state, attempts))
        session.due.clear()
        return sorted(map(self._where, await session.store.settle(settlement)))

    async def _suspects(self, session: Session) -> Any:
        return [self._due(due) for due in await session.store.suspects(sorted(session.leases))]

    async def _begin_attempt(self, session: Session) -> Any:
        """A suspect runs: one attempt more, and then its outcome or its worker's end."""
        if not (found := await session.store.suspects(sorted(session.leases))):
            return "no suspects"
        due = self._draw.choice(found)
        begun = await session.store.begin_attempt(due, session.leases[due.slice].epoch)
        if begun is not None and self._draw.random() < 0.7:
            session.due.append(begun)
        return None if begun is None else self._due(begun)

    async def _take_in(self, session: Session) -> Any:
        slice_ = self._held(session)
        if slice_ is None or not session.rows[slice_]:
            return "nothing to take in"
        known = await session.store.known(slice_.subscription, [(row.id, row.day) for row in session.rows[slice_]])
        rows = [row for row in session.rows[slice_] if row.id not in known]
        taken = await session.store.take_in(slice_, session.leases[slice_].epoch, rows)
        session.due += taken
        session.rows[slice_] = []
        return [self._due(due) for due in taken]

    async def _blocked(self, session: Session) -> Any:
        blocked = await session.store.blocked_keys(sorted(session.leases))
        return sorted((self._where(slice_), sorted(keys.items())) for slice_, keys in blocked.items() if keys)

    # Operators

    async def _pause(self, session: Session) -> Any:
        record, paused = self._draw.choice(sorted(self._known.values())), self._draw.random() < 0.5
        if isinstance(session.store, SimulatedStore):
            await session.store.pause(record.name, paused=paused)
        else:
            inspector, operator = make_inspector(session.store)
            await (operator.pause if paused else operator.resume)(record.name, actor="ann")
            await inspector.close()
        return sorted((one.name, one.paused) for one in await session.store.subscriptions())

    async def _retry_dead(self, session: Session) -> Any:
        name = self._draw.choice(sorted(self._known.values())).name
        if isinstance(session.store, SimulatedStore):
            return await session.store.retry_dead(name)
        inspector, operator = make_inspector(session.store)
        try:
            return await operator.retry_dead(DeadFilter(subscription=name), actor="ann")
        finally:
            await inspector.close()

    _acts: dict[Callable[[Any, Session], Awaitable[Any]], int] = {  # noqa: RUF012 - how often each is drawn
        _publish: 6, _publish_within: 4, _finish: 3, _register: 1, _acquire: 5, _renew: 2, _release: 1, _lapse: 1,
        _read: 6, _settle: 5, _known_of: 1, _claim: 4, _conclude: 3, _suspects: 1, _begin_attempt: 2, _take_in: 1,
        _blocked: 2, _pause: 1, _retry_dead: 1,
    }  # fmt: skip

    # Names in place of ids

    def _label(self, row: Row) -> str:
        return self._labels.get(row.id, f"? {row.name}")

    def _due(self, due: Due) -> tuple[Any, ...]:
        return (
            self._label(due.row), *self._where(due.slice), due.attempts, due.put_offs, due.is_replay, due.handled,
            due.lost, due.behind,
        )  # fmt: skip

    async def _tables(self) -> list[str]:
        names = {str(UUID(bytes=event_id)): label for event_id, label in self._labels.items()}
        rows = await self._scene.sql(
            "select cast(d.event_id as text), s.name, d.state, d.attempts from deliveries d "
            "join subscriptions s on s.id = d.subscription"
        )
        deliveries = sorted((names.get(row[0], "?"), *row[1:]) for row in rows)
        receipts = sorted((names.get(row[0], "?"), *row[1:]) for row in await self._scene.consumed())
        stored = [
            names.get(event_id, "?") for (event_id,) in await self._scene.sql("select cast(id as text) from event_log")
        ]
        return [f"deliveries {deliveries}", f"receipts {receipts}", f"stored {sorted(stored)}"]
