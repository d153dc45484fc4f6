"""Order per key: later events wait for earlier ones, and one of a key runs at a time."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from holdfast.stores.values import State
from tests.simulation.expected import subscriptions, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.history import Call, Publish
    from tests.simulation.subscriptions import Declared
    from tests.simulation.tables import KnownSubscription, LoggedEvent
    from tests.simulation.world import World

Key = tuple[str, str]


class Placed(NamedTuple):
    """An event of a key, the number at which it came into being for everybody, and how it was published."""

    entry: LoggedEvent
    committed: int
    call: Publish | None  # by a bus

    def comes_before(self, other: Placed) -> bool:
        """By cause and effect, as anybody could see it, or by the order of the calls of one bus."""
        if self.entry.txid == other.entry.txid:
            return self.entry.row.position < other.entry.row.position
        if self.committed < other.entry.drawn:
            return True
        earlier, later = self.call, other.call
        if earlier is None or later is None or earlier.outcome != "ok" or earlier.lineage != later.lineage:
            return False
        assert earlier.returned is not None
        in_one_bus = earlier.process is later.process and earlier.invoked < later.invoked
        return in_one_bus or earlier.returned < later.invoked


def overtakings(world: World) -> Iterator[str]:
    """The handler of a later event starts, while its lease lives, only when the earlier one is settled."""
    by_key = _placed_by_key(world)
    settled = _settled(world)
    first, batches = _first_starts(world), _batches(world)
    asked_again = _asked_again(world)
    for declared, known in subscriptions(world):
        if not declared.is_ordered or declared.name in asked_again:
            continue
        mine = {entry.row.id for entry in wanted(world, declared, known)}
        for placed in by_key.values():
            chain = [one for one in placed if one.entry.row.id in mine]
            yield from _overtakings(declared, known, chain, settled, first, batches)


def _overtakings(
    declared: Declared, known: KnownSubscription, chain: list[Placed],
    settled: dict[tuple[int, bytes], int], first: dict[tuple[str, bytes], Call],
    batches: dict[tuple[str, bytes], set[object]],
) -> Iterator[str]:  # fmt: skip
    for later in chain:
        call = first.get((declared.name, later.entry.row.id))
        if call is None:
            continue
        for earlier in chain:
            if earlier is later or not earlier.comes_before(later):
                continue
            done = settled.get((known.record.id, earlier.entry.row.id))
            together = call.batch in batches[declared.name, earlier.entry.row.id]
            if (done is None or done > call.started) and not together:
                yield (
                    f"{declared.name}: {call.event_id.hex()[-6:]} (position {later.entry.row.position}) ran before "
                    f"{earlier.entry.row.id.hex()[-6:]} (position {earlier.entry.row.position}) was settled"
                )


def _placed_by_key(world: World) -> dict[Key, list[Placed]]:
    found: dict[Key, list[Placed]] = defaultdict(list)
    for fact in world.server.facts:
        if fact.what == "event" and fact.about.row.key is not None:
            row = fact.about.row
            publish = world.history.publishes.get(row.id)
            by_bus = publish is not None and publish.how == "bus"
            found[row.tenant_id, row.key].append(Placed(fact.about, fact.number, publish if by_bus else None))
    return found


def _settled(world: World) -> dict[tuple[int, bytes], int]:
    """When each (subscription, event) was first handled, or committed as dead."""
    found: dict[tuple[int, bytes], int] = {}
    names = {declared.name: known.record.id for declared, known in subscriptions(world)}
    batches = {known.record.id for declared, known in subscriptions(world) if declared.style == "batch"}
    for call in world.history.calls:
        key = names[call.subscription], call.event_id
        # A batch goes on when a member has failed for the last time; what came of it commits later.
        done = call.outcome == "ok" or key[0] in batches
        if done and call.ended is not None:
            found[key] = min(found.get(key, call.ended), call.ended)
    for fact in world.server.facts:
        if fact.what == "delivery" and fact.about[2] is State.DEAD:
            key = fact.about[0].subscription, fact.about[1]
        elif fact.what == "receipt":
            key = fact.about.slice.subscription, fact.about.event_id
        else:
            continue
        found[key] = min(found.get(key, fact.number), fact.number)
    return found


def _first_starts(world: World) -> dict[tuple[str, bytes], Call]:
    """The first call of each event under a live lease; replays ask for no order."""
    found: dict[tuple[str, bytes], Call] = {}
    for call in world.history.calls:
        if call.live and not call.is_replay:
            found.setdefault((call.subscription, call.event_id), call)
    return found


def _batches(world: World) -> dict[tuple[str, bytes], set[object]]:
    """The batches that each event was in: those of a key go together, in order."""
    found: dict[tuple[str, bytes], set[object]] = defaultdict(set)
    for call in world.history.calls:
        found[call.subscription, call.event_id].add(call.batch)
    return found


def _asked_again(world: World) -> set[str]:
    """Subscriptions of which an operator has retried or replayed something: that comes when it comes."""
    return {fact.about[0] for fact in world.server.facts if fact.what in {"retried", "replayed"}}


def overlaps(world: World) -> Iterator[str]:
    """Under one epoch, one event of a key runs at a time."""
    running: dict[tuple[str, Key, int], list[Call]] = defaultdict(list)
    ordered = {declared.name for declared in world.declared if declared.is_ordered}
    for call in world.history.calls:
        if call.key is None or call.subscription not in ordered:
            continue
        mine = running[call.subscription, call.key, call.epoch]
        for other in mine:
            at_once = other.ended is None or other.ended > call.started
            if at_once and other.batch != call.batch and other.process is call.process:
                yield (
                    f"{call.subscription}: {call.event_id.hex()[-6:]} runs beside {other.event_id.hex()[-6:]} "
                    f"of its key under epoch {call.epoch}"
                )
        mine.append(call)
