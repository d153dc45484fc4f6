"""What was sent against what was handled, and both against what Holdfast says: a pure function of the three."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.demo.workload import DEAD_LETTER, FAILING_SUBSCRIPTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from holdfast.demo.ledger import Line
    from holdfast.demo.workload import Manifest

    Pair = tuple[UUID, str]


@dataclass(slots=True)
class Books:
    """What the store says: (event, subscription) of each row of ``event_consumers``, and of each dead delivery."""

    receipts: Counter[Pair] = field(default_factory=Counter)
    dead: set[Pair] = field(default_factory=set)


@dataclass(slots=True)
class Findings:
    """Counts of events; an event counts as handled when each of its subscriptions has handled it."""

    published: int = 0
    handled: int = 0
    repeated: int = 0
    lost: int = 0
    dead: int = 0
    problems: list[str] = field(default_factory=list)


def audit(manifest: Manifest, lines: Sequence[Line], books: Books) -> Findings:
    """Count, and name everything that is not as it must be."""
    own = [line for line in lines if line.name != DEAD_LETTER]
    calls = Counter((line.event_id, line.subscription) for line in own if line.outcome == "handled")
    missing = manifest.expected - calls.keys() - books.dead
    dead = {event_id for event_id, _ in books.dead}
    lost = {event_id for event_id, _ in missing}
    findings = Findings(
        published=len(manifest.sent),
        handled=len(manifest.sent.keys() - lost - dead),
        repeated=len({event_id for (event_id, _), count in calls.items() if count > 1}),
        lost=len(lost),
        dead=len(dead),
    )
    letters = {line.event_id for line in lines if line.name == DEAD_LETTER and line.outcome == "handled"}
    counted = {
        "events lost": len(lost),
        "deliveries that should end dead and did not": len(manifest.doomed - books.dead),
        "deliveries that ended dead and should not": len(books.dead - manifest.doomed),
        "dead deliveries handled": len(books.dead & calls.keys()),
        "dead letters that did not reach the archive": max(len(books.dead) - len(letters), 0),
        "events handled and never published": len({line.event_id for line in own} - manifest.sent.keys()),
        "handled payloads that differ from what was sent": _altered(manifest, own),
        "events that overtook an earlier one of their key": _overtaken(manifest, own),
        "failing events not tried as often as they should": _miscounted(manifest, own),
        **_receipts(manifest, calls, books, letters),
    }
    findings.problems = [f"{what}: {count:,}" for what, count in counted.items() if count]
    return findings


def _altered(manifest: Manifest, lines: Sequence[Line]) -> int:
    return sum(
        (line.digest, line.sequence) != (sent.digest, sent.sequence)
        for line in lines
        if (sent := manifest.sent.get(line.event_id)) is not None
    )


def _overtaken(manifest: Manifest, lines: Sequence[Line]) -> int:
    """First handlings that come after a later event of the same key; repeats after a crash are no violation."""
    newest: dict[tuple[str, str, str], int] = {}
    seen: set[Pair] = set()
    overtaken = 0
    for line in lines:
        sent = manifest.sent.get(line.event_id)
        if line.outcome != "handled" or sent is None or sent.item.key is None:
            continue
        if (line.event_id, line.subscription) in seen:
            continue
        seen.add((line.event_id, line.subscription))
        lane = (line.subscription, sent.item.tenant_id, sent.item.key)
        overtaken += sent.sequence < newest.get(lane, 0)
        newest[lane] = max(sent.sequence, newest.get(lane, 0))
    return overtaken


def _miscounted(manifest: Manifest, lines: Sequence[Line]) -> int:
    failures = Counter((line.event_id, line.subscription) for line in lines if line.outcome == "failed")
    return sum(failures[event_id, FAILING_SUBSCRIPTION] < sent.item.fails for event_id, sent in manifest.sent.items())


def _receipts(manifest: Manifest, calls: Counter[Pair], books: Books, letters: set[UUID]) -> dict[str, int]:
    receipts = {pair for pair in books.receipts if pair[0] not in letters}
    return {
        "handled deliveries without a receipt": len((calls.keys() & manifest.expected) - receipts),
        "receipts for deliveries that no handler saw": len(receipts - calls.keys()),
        "receipts that stand twice": sum(count > 1 for count in books.receipts.values()),
    }
