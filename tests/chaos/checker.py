"""Ten rules. Each looks at the evidence and tells every anomaly in one line. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.evidence import Evidence, Publish, Run, completions, first_effects
from tests.chaos.workload import CONCURRENCY, LEASE_TTL, LONGEST_FAULT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A new owner looks receipts up when it reads, and what it then has in hand waits its turn while the one before, who only
# slept, commits late. What starts later than this after the commit has overlooked the receipt.
_SLACK_S = 15.0
FLUSH_WINDOW_S = LONGEST_FAULT_S + LEASE_TTL
_EXCUSED = {"rejected", "unreadable"}


@dataclass
class Verdict:
    """What a run comes to."""

    anomalies: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not any(self.anomalies.values())


def judge(evidence: Evidence) -> Verdict:
    """Apply every rule."""
    found = {name: list(rule(evidence)) for name, rule in RULES.items()}
    return Verdict(found, figures(evidence, found))


# ---- what was published, and what became of it


def lost(evidence: Evidence) -> Iterator[str]:
    """1. Published, and neither handled nor dead, for a subscription that was there before."""
    handled = _handled(evidence)
    for publish in evidence.publishes.values():
        for name, subscription in evidence.subscriptions.items():
            if publish.outcome != "ok" or not subscription.wants(publish):
                continue
            place = name, publish.id
            if publish.invoked_at > subscription.registered_at and place not in handled and place not in evidence.dead:
                yield f"{name}: {_told(publish)} was published ({publish.where}), never handled, and is not dead"


def unexpected(evidence: Evidence) -> Iterator[str]:
    """2. Handled, and nobody asked to publish it."""
    for name, event_id in sorted(_seen(evidence)):
        if event_id not in evidence.publishes:
            yield f"{name}: event {event_id} was handled, and nobody published it"


def phantom(evidence: Evidence) -> Iterator[str]:
    """3. Handled, though its publish failed or rolled back."""
    for name, event_id in sorted(_seen(evidence)):
        publish = evidence.publishes.get(event_id)
        if publish is not None and publish.outcome == "fail":
            yield f"{name}: {_told(publish)} was handled, though its publish failed"


# ---- how often


def effects(evidence: Evidence) -> Iterator[str]:
    """
    4. A transactional handler has one effect; others complete once under each lease, and repeat within a flush. A thread
    that comes to its end after its timeout has failed by then, and is tried again.
    """
    for (name, event_id), times in first_effects(evidence).items():
        if times > 1:
            yield f"{name}: event {event_id} has {times} effects"
    for (name, event_id), runs in completions(evidence).items():
        subscription = evidence.subscriptions.get(name)
        if subscription is None or subscription.transactional or subscription.batched:
            continue
        in_time = [run for run in runs if not subscription.threads or run.seconds < subscription.timeout]
        for (pid, epoch), times in Counter((run.pid, run.epoch) for run in in_time).items():
            if times > 1:
                yield f"{name}: event {event_id} was completed {times} times by process {pid} under epoch {epoch}"
    most = unwritten_most(evidence)
    for (name, pid, epoch), times in repeats(evidence).items():
        if times > most[name, pid]:
            yield (
                f"{name}: {times} events that process {pid} had completed under epoch {epoch} ran again, and it can have "
                f"had {most[name, pid]} in hand that were not on record"
            )


def unwritten_most(evidence: Evidence) -> dict[tuple[str, int], int]:
    """
    How much of a subscription a process can have completed without having it on record, by (subscription, process): the
    most that it ever completed within one flush window, and as many as run at once.

    A flush takes milliseconds, and waits for as long as a fault keeps it from the store. A fault that keeps the leases
    from it too may last longer: they run out, and nothing more is completed under them. Hence the window.
    """
    ended: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (name, _), runs in completions(evidence).items():
        for run in runs:
            ended[name, run.pid].append(run.ended or 0.0)
    return {place: CONCURRENCY + _most_within(sorted(times), FLUSH_WINDOW_S) for place, times in ended.items()}


def _most_within(times: list[float], seconds: float) -> int:
    return max(n + 1 - bisect_left(times, at - seconds) for n, at in enumerate(times))


def repeats(evidence: Evidence) -> Counter[tuple[str, int, int]]:
    """How many completions were repeated later, by the (subscription, process, epoch) that had done them first."""
    found: Counter[tuple[str, int, int]] = Counter()
    for (name, _), runs in completions(evidence).items():
        subscription = evidence.subscriptions.get(name)
        if subscription is not None and not subscription.transactional:
            found.update((name, run.pid, run.epoch) for run in runs[:-1])
    return found


# ---- in which order


def order(evidence: Evidence) -> Iterator[str]:
    """5. Per key: first completions and effects increase, nothing overlaps under one lease, receipts are heeded."""
    yield from _first_completions(evidence)
    yield from _overlaps(evidence)
    yield from _receipts_overlooked(evidence)
    yield from _effects_in_order(evidence)


def _first_completions(evidence: Evidence) -> Iterator[str]:
    latest: dict[tuple[str, str], Run] = {}
    firsts = [runs[0] for runs in completions(evidence).values()]
    for run in sorted(firsts, key=lambda run: run.ended or 0.0):
        if run.key is None or not _is_ordered(evidence, run):
            continue
        before = latest.setdefault((run.subscription, run.key), run)
        if before.n > run.n:
            yield f"{run.subscription}: {run.key} was completed with number {run.n} after {before.n}"
        else:
            latest[run.subscription, run.key] = run


def _overlaps(evidence: Evidence) -> Iterator[str]:
    """Who sleeps through its lease may overlap with the next owner, whose epoch is another."""
    latest: dict[tuple[str, str, int], Run] = {}
    for run in sorted(evidence.runs, key=lambda run: run.began):
        subscription = evidence.subscriptions.get(run.subscription)
        if run.key is None or subscription is None or not subscription.ordered or subscription.batched:
            continue
        place = run.subscription, run.key, run.epoch
        before = latest.get(place)
        if before is not None and before.ended is not None and run.began < before.ended:
            yield f"{run.subscription}: numbers {before.n} and {run.n} of {run.key} ran at once under epoch {run.epoch}"
        if before is None or (run.ended or run.began) >= (before.ended or before.began):
            latest[place] = run


def _receipts_overlooked(evidence: Evidence) -> Iterator[str]:
    """A run that begins well after its event's receipt, and is no latecomer of an epoch that is over."""
    if not evidence.clock_is_true:
        return
    newest: dict[tuple[str, str], int] = defaultdict(int)
    for run in evidence.runs:
        place = run.subscription, run.id
        newest[place] = max(newest[place], run.epoch)
    completed = completions(evidence)
    for run in evidence.runs:
        place = run.subscription, run.id
        at, before = evidence.receipts.get(place), completed.get(place)
        # A transactional handler starts with its receipt written, however long its process sleeps between the two.
        is_again = before is not None and before[0] is not run and run.began > (before[0].ended or 0.0)
        if (
            at is not None
            and is_again
            and not run.is_replay
            and run.wall > at + _SLACK_S
            and run.epoch == newest[place]
        ):
            yield f"{run.subscription}: event {run.id} ran again {run.wall - at:.1f} s after its receipt"


def _effects_in_order(evidence: Evidence) -> Iterator[str]:
    latest: dict[tuple[str, str], int] = {}
    for effect in sorted(evidence.effects, key=lambda effect: effect.place):
        publish = evidence.publishes.get(effect.id)
        if effect.is_replay or effect.key is None or publish is None or publish.outcome == "unknown":
            continue
        before = latest.get((effect.subscription, effect.key), -1)
        if before > effect.n:
            yield f"{effect.subscription}: the effect of number {effect.n} of {effect.key} came after that of {before}"
        latest[effect.subscription, effect.key] = max(before, effect.n)


def _is_ordered(evidence: Evidence, run: Run) -> bool:
    """Where the order is known: not of an event of which nobody knew for a time whether it was published."""
    subscription, publish = evidence.subscriptions.get(run.subscription), evidence.publishes.get(run.id)
    return subscription is not None and subscription.ordered and publish is not None and publish.outcome == "ok"


# ---- what is on record


def receipts(evidence: Evidence) -> Iterator[str]:
    """6. A transactional effect has its receipt and the other way round; whatever has a receipt was handled."""
    if evidence.repeated_receipts:
        yield f"{evidence.repeated_receipts} receipts are there more than once"
    handled = _handled(evidence)
    effected = {(effect.subscription, effect.id) for effect in evidence.effects}
    for name, event_id in sorted(evidence.receipts.keys() - handled):
        if name in evidence.subscriptions:
            yield f"{name}: event {event_id} has a receipt, and was not handled"
    for name, event_id in sorted(effected - evidence.receipts.keys()):
        if name in evidence.subscriptions and (name, event_id) not in evidence.dead:
            yield f"{name}: event {event_id} has an effect and no receipt"


def dead_letters(evidence: Evidence) -> Iterator[str]:
    """
    7. Dead after as many attempts as are allowed, each with its own error; or rejected, unreadable.

    An attempt is known by its number: who vanishes in one leaves the record "worker lost", who loses its lease leaves
    the number to the next owner. The row may count one that nobody has begun: the answer to its beginning was lost.
    """
    begun = _begun_in_vain(evidence)
    for (name, event_id), letter in evidence.dead.items():
        subscription = evidence.subscriptions.get(name)
        if subscription is None:
            continue
        counted = [attempt for attempt in letter.recorded if attempt.outcome != "put off"]
        numbers, allowed = {attempt.number for attempt in counted}, subscription.max_attempts
        if not letter.reason:
            yield f"{name}: event {event_id} is dead without a reason"
        if any(not attempt.error for attempt in letter.recorded):
            yield f"{name}: an attempt at event {event_id} has no error"
        for number in sorted(begun[name, event_id] - numbers):
            yield f"{name}: attempt {number} at event {event_id}, which is dead, is not on record"
        if len(numbers) > allowed:
            yield f"{name}: event {event_id} is dead after {len(numbers)} attempts, and {allowed} are allowed"
        if counted and counted[-1].outcome in _EXCUSED:
            continue
        if letter.attempts < allowed:
            yield f"{name}: event {event_id} is dead after {letter.attempts} of {allowed} attempts"
        if not counted:
            yield f"{name}: event {event_id} is dead, and no attempt is on record"


def _begun_in_vain(evidence: Evidence) -> dict[tuple[str, str], set[int]]:
    """The numbers of the attempts that handlers began and did not complete."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for run in evidence.runs:
        if not run.completed:
            found[run.subscription, run.id].add(run.attempt)
    return found


def stale_writes(evidence: Evidence) -> Iterator[str]:
    """8. No cursor moves and no delivery row is written but by the owner of the partition; see `tests.chaos.witness`."""
    yield from evidence.stale_writes


# ---- afterwards


def lag(evidence: Evidence) -> Iterator[str]:
    """9. When all is healed, nothing is left to do."""
    if not evidence.lags:
        yield "nobody has looked at the lag"
    elif evidence.lags[-1][1]:
        yield f"{evidence.lags[-1][1]} deliveries were still not settled when the time was over"


def left_over(evidence: Evidence) -> Iterator[str]:
    """10. No session, lock, prepared transaction, lease or spool file remains."""
    for what, count in evidence.left_over.items():
        if count:
            yield f"{count} {what} remain"


RULES: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "lost": lost,
    "unexpected": unexpected,
    "phantom": phantom,
    "effects": effects,
    "order": order,
    "receipts": receipts,
    "dead letters": dead_letters,
    "stale writes": stale_writes,
    "lag": lag,
    "left over": left_over,
}


def figures(evidence: Evidence, anomalies: dict[str, list[str]]) -> dict[str, int]:
    """What a report tells in numbers."""
    outcomes = Counter(publish.outcome for publish in evidence.publishes.values())
    seen = {event_id for _, event_id in _seen(evidence)}
    repeated = repeats(evidence)
    return {
        "published": outcomes["ok"],
        "by way of the spool": sum(p.outcome == "ok" and p.where == "spool" for p in evidence.publishes.values()),
        "failed or rolled back": outcomes["fail"],
        "of unknown outcome": outcomes["unknown"],
        "of these, appeared": sum(p.outcome == "unknown" and p.id in seen for p in evidence.publishes.values()),
        "attempts": len(evidence.runs),
        "handled": len(_handled(evidence)),
        "transactional effects": sum(first_effects(evidence).values()),
        "replayed": sum(run.is_replay and run.completed for run in evidence.runs),
        "dead": len(evidence.dead),
        "repeats": sum(repeated.values()),
        "most repeats after one loss": max(repeated.values(), default=0),
        **{name: len(found) for name, found in anomalies.items()},
    }


def _seen(evidence: Evidence) -> set[tuple[str, str]]:
    """(subscription, event id) of all that handlers ever saw."""
    return {(run.subscription, run.id) for run in evidence.runs} | {(e.subscription, e.id) for e in evidence.effects}


def _handled(evidence: Evidence) -> set[tuple[str, str]]:
    """Of all that came to its end: for transactional handlers what they wrote, for others what they said."""
    found = {(effect.subscription, effect.id) for effect in evidence.effects}
    for run in evidence.runs:
        subscription = evidence.subscriptions.get(run.subscription)
        if run.completed and not (subscription is not None and subscription.transactional):
            found.add((run.subscription, run.id))
    return found


def _told(publish: Publish) -> str:
    return f"{publish.name} {publish.id} (number {publish.n} of {publish.key})"
