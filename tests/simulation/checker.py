"""Whether a history keeps the promises. Each rule yields what breaks it; the numbers are those of the design's list.

The server's facts are the truth about what committed, and when; the history is the truth about what handlers saw.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from holdfast.stores.values import State
from holdfast.worker.decisions import AttemptTimeout
from tests.simulation import order
from tests.simulation.expected import subscriptions, unhandled
from tests.simulation.subscriptions import ENDS_DEAD, Act

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.history import Call
    from tests.simulation.loop import Process
    from tests.simulation.server import Fact
    from tests.simulation.subscriptions import Declared
    from tests.simulation.tables import DeliveryRow
    from tests.simulation.world import World


def check(world: World) -> list[str]:
    """Every promise that the run has broken."""
    return [f"{rule.__name__}: {problem}" for rule in RULES for problem in rule(world)]


# 1, 2, 3: what was published, and what was seen


def lost_publishes(world: World) -> Iterator[str]:
    """A publish that returned is in the log."""
    for event_id, publish in world.history.publishes.items():
        if publish.outcome == "ok" and world.server.find(event_id) is None:
            yield f"{short(event_id)} of {publish.lineage} was acknowledged ({publish.how}) and is not stored"


def unexpected(world: World) -> Iterator[str]:
    """Handlers see only what somebody published, or the store itself: the news of dead letters."""
    for call in world.history.calls:
        entry = world.server.find(call.event_id)
        if call.event_id not in world.history.publishes and (
            entry is None or entry.row.name != "holdfast.delivery.dead"
        ):
            yield f"{call.subscription} was given {short(call.event_id)}, which nobody published"


def phantoms(world: World) -> Iterator[str]:
    """What did not commit is never delivered."""
    for call in world.history.calls:
        if world.server.find(call.event_id) is None:
            yield f"{call.subscription} was given {short(call.event_id)}, which never committed"
    for event_id, publish in world.history.publishes.items():
        if publish.outcome in {"failed", "rolled back"} and world.server.find(event_id) is not None:
            yield f"{short(event_id)} of {publish.lineage} is stored, though its publish {publish.outcome}"


# 4, 6: effects and receipts


def effects(world: World) -> Iterator[str]:
    """Transactional handlers: one effect for each receipt, and one more for each replay."""
    found = Counter((effect.subscription, effect.event_id) for effect in world.server.tables.effects)
    again = _asked_again(world)
    for declared, known in subscriptions(world):
        if not declared.is_transactional:
            continue
        done = {event_id for subscription, event_id in world.server.tables.receipts if subscription == known.record.id}
        for event_id in sorted(done | {event_id for name, event_id in found if name == declared.name}):
            number, replays = found[declared.name, event_id], again[declared.name, event_id]
            if not (event_id in done) <= number <= (event_id in done) * (1 + replays):
                yield f"{declared.name} has {number} effects of {short(event_id)}, receipt: {event_id in done}"


def _asked_again(world: World) -> Counter[tuple[str, bytes]]:
    """(subscription, event): how often an operator asked for it again."""
    return Counter(fact.about for fact in world.server.facts if fact.what == "replayed")


def completions(world: World) -> Iterator[str]:
    """
    Without any fault a handler completes an attempt once.

    But for a thread that came to its end after its time was over: where that was a breaker's probe, the attempt was not
    counted, and the next one has its number again.
    """
    if not is_calm(world):
        return
    names = {known.record.id: declared.name for declared, known in subscriptions(world)}
    too_late = Counter(
        (names[attempt.slice.subscription], attempt.event_id, attempt.attempt)
        for attempt in (row.attempt for row in world.server.tables.attempts)
        if (attempt.outcome, attempt.error) == ("put off", AttemptTimeout.__name__)
    )
    done = Counter(
        (call.subscription, call.event_id, call.attempt) for call in world.history.calls if call.outcome == "ok"
    )
    for (name, event_id, attempt), number in done.items():
        if number > 1 + too_late[name, event_id, attempt]:
            yield f"{name} completed {short(event_id)} {number} times at attempt {attempt}, and nothing had gone wrong"


def is_calm(world: World) -> bool:
    """Nothing was lost, refused, paused or killed in this run."""
    deadly = {Act.KILL, Act.QUIT_FIRST}
    return not world.faults.blows and world.faults.weather == type(world.faults.weather)() and not any(
        act in deadly for declared in world.declared for act, _ in declared.acts
    )  # fmt: skip


def receipts_without_handling(world: World) -> Iterator[str]:
    """A receipt comes after the handler has returned, never before."""
    calls = _calls(world)
    names = {known.record.id: declared for declared, known in subscriptions(world)}
    for fact in world.server.facts:
        if fact.what != "receipt":
            continue
        declared, event_id = names[fact.about.slice.subscription], fact.about.event_id
        ends = [
            call.ended for call in calls[declared.name, event_id] if call.outcome == "ok" and call.ended is not None
        ]
        # A thread's function that wrote through its transaction has committed before its thread seems to return.
        if not declared.is_sync and not any(end < fact.number for end in ends):
            yield f"{declared.name} has a receipt of {short(event_id)} and had not handled it by then"


def _calls(world: World) -> dict[tuple[str, bytes], list[Call]]:
    found: dict[tuple[str, bytes], list[Call]] = defaultdict(list)
    for call in world.history.calls:
        found[call.subscription, call.event_id].append(call)
    return found


# 5, 7: what runs again, and dead letters


def repeats(world: World) -> Iterator[str]:
    """What had a receipt when its partition was taken does not run again, unless somebody replays it."""
    taken = {fact.about[:2]: fact.number for fact in world.server.facts if fact.what == "acquired"}
    receipts: dict[tuple[int, bytes], int] = {}
    for fact in world.server.facts:
        if fact.what == "receipt":
            receipts.setdefault((fact.about.slice.subscription, fact.about.event_id), fact.number)
    for call in world.history.calls:
        done = receipts.get((call.slice.subscription, call.event_id))
        if done is not None and done < taken[call.slice, call.epoch] and not call.is_replay:
            yield f"{call.subscription} was given {short(call.event_id)}, which was handled before epoch {call.epoch}"


def dead_letters(world: World) -> Iterator[str]:
    """Dead: after as many recorded attempts as are allowed, or rejected; and never for what others did."""
    for declared, known in subscriptions(world):
        for row in world.server.tables.deliveries.values():
            if row.slice.subscription == known.record.id and row.state is State.DEAD:
                yield from _dead(world, declared, row)


def _dead(world: World, declared: Declared, row: DeliveryRow) -> Iterator[str]:
    attempts = [
        one.attempt
        for one in world.server.tables.attempts
        if (one.attempt.slice.subscription, one.attempt.event_id) == (row.slice.subscription, row.row.id)
    ]
    outcomes = Counter(attempt.outcome for attempt in attempts)
    rejected = bool(outcomes["rejected"])
    counted = sum(outcomes[one] for one in ("failed", "timeout", "worker lost"))
    act = declared.act_on(row.row.id)
    # A suspect whose worker vanishes for another reason is out of luck; one that ran with others is not to blame.
    if not rejected and row.attempts < declared.max_attempts:
        yield f"{declared.name}: {short(row.row.id)} is dead after {row.attempts} of {declared.max_attempts} attempts"
    if not rejected and counted < row.attempts:
        yield f"{declared.name}: {short(row.row.id)} is dead, {row.attempts} attempts, on record: {dict(outcomes)}"
    suspected = sum(fact.what == "counted" and fact.about[1:] == _key(row) for fact in world.server.facts)
    if act not in ENDS_DEAD and outcomes["worker lost"] > suspected:
        yield f"{declared.name}: {short(row.row.id)} is dead ({dict(outcomes)}), and its handler would {act.value}"


def _key(row: DeliveryRow) -> tuple[int, bytes]:
    return row.slice.subscription, row.row.id


def resurrections(world: World) -> Iterator[str]:
    """What is dead stays dead, until somebody asks for it again: whoever takes over looks at its row, too."""
    died: dict[tuple[int, bytes], int] = {}
    names = {declared.name: known.record.id for declared, known in subscriptions(world)}
    for fact in world.server.facts:
        if fact.what == "delivery" and fact.about[2] is State.DEAD:
            died[fact.about[0].subscription, fact.about[1]] = fact.number
        elif fact.what in {"retried", "replayed"}:
            died.pop((names[fact.about[0]], fact.about[1]), None)
    for call in world.history.calls:
        if call.live and call.started > died.get((names[call.subscription], call.event_id), call.started):
            yield f"{call.subscription} was given {short(call.event_id)}, which was dead by then"


def poisonings(world: World) -> Iterator[str]:
    """An event that kills its process ends dead after at most two crashes more than it has attempts."""
    limits = {declared.name: declared.max_attempts + 2 for declared in world.declared}
    again = Counter(fact.about for fact in world.server.facts if fact.what in {"retried", "replayed"})
    for (name, event_id), number in Counter(world.history.poisonings).items():
        allowed = (1 + again[name, event_id]) * limits[name]
        if number > allowed:
            yield f"{name}: {short(event_id)} killed {number} processes, {allowed} are allowed"


def suspects_together(world: World) -> Iterator[str]:
    """Suspects run one at a time in a worker: an attempt that is counted before it runs must be its own."""
    names = {known.record.id: declared.name for declared, known in subscriptions(world)}
    calls: dict[tuple[Process, str, bytes], list[Call]] = defaultdict(list)
    for call in world.history.calls:
        calls[call.process, call.subscription, call.event_id].append(call)
    latest: dict[Process, Fact] = {}
    for fact in world.server.facts:
        if fact.what == "counted":
            client, _, event_id = fact.about
            if (other := latest.get(client)) is not None and other.about != fact.about:
                runs = calls[client, names[other.about[1]], other.about[2]]
                if any(other.number < run.started and (run.ended is None or run.ended > fact.number) for run in runs):
                    yield f"{client!r} counts an attempt of {short(event_id)} while {short(other.about[2])} runs"
            latest[client] = fact
        elif fact.what == "delivery":  # its outcome is on record, though a thread may still run
            slice_, event_id, *_ = fact.about
            latest = {client: one for client, one in latest.items() if one.about[1:] != (slice_.subscription, event_id)}


# 8, 10


def stale_starts(world: World) -> Iterator[str]:
    """Nothing is handed out once the lease is over: the guard counts from before the renewal was sent.

    A step of the server's clock ends leases early. Transactions and threads take their time before the handler starts.
    """
    if "step clock" in world.faults.blows:
        return
    asked = {declared.name for declared in world.declared if declared.style == "async"}
    for call in world.history.calls:
        if not call.live and call.subscription in asked:
            yield f"{call.subscription} was given {short(call.event_id)} by {call.process!r}, whose lease was over"


def old_epochs(world: World) -> Iterator[str]:
    """Cursors and delivery rows are written by the owner only."""
    for fact in world.server.facts:
        if fact.what in {"delivery", "cursor"}:
            slice_, *_, epoch, stood = fact.about
            if epoch != stood:
                yield f"{fact.what} of {tuple(slice_)} written under epoch {epoch}, it was {stood}"


def leftovers(world: World) -> Iterator[str]:
    """Nothing is left of who said goodbye."""
    yield from world.leftovers


def short(event_id: bytes) -> str:
    return event_id.hex()[-6:]


RULES = (
    lost_publishes, unhandled, unexpected, phantoms, effects, completions, order.overtakings, order.overlaps,
    receipts_without_handling, repeats, dead_letters, resurrections, poisonings, suspects_together, stale_starts, old_epochs,
    leftovers,
)  # fmt: skip
