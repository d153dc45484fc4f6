"""From a stage, when all is over, to the evidence: histories, logs and tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from holdfast.worker.hand import PAGE_EVENTS
from tests.chaos.evidence import Attempt, Effect, Evidence, Letter, Publish, Subscription, add_lines
from tests.chaos.history import read_all
from tests.chaos.workload import BULK_NAME, MAX_ATTEMPTS, SPECS, TIMEOUT

if TYPE_CHECKING:
    from tests.chaos.evidence import Outcome
    from tests.chaos.scene import Stage

# What the logs of programs say when a path was taken that the campaign exists for.
_SAID = {
    "zombie fenced": "the lease of epoch",
    "take-over": "its worker vanished",
    "spool flushed": "the spool has drained",
    "breaker tripped": "the breaker trips",
}
PATHS = (*_SAID, "dead letter", "backlog of pages", "replay", "visitor", "unknown outcome")


async def collect(stage: Stage, registered: dict[str, float], lags: list[tuple[float, int]]) -> Evidence:
    """*registered*: when each subscription was first seen in the tables, by the clock of the histories."""
    evidence = Evidence(lags=lags)
    evidence.subscriptions = {
        name: Subscription(
            spec.patterns, registered[name], spec.kind == "transactional", spec.ordering == "key", MAX_ATTEMPTS,
            spec.kind == "batch", spec.sync, TIMEOUT,
        )
        for name, spec in SPECS.items() if name in registered
    }  # fmt: skip
    add_lines(evidence, read_all(stage.folder))
    evidence.clock_is_true = not any("clock" in line["fault"] for line in evidence.faults)
    await _add_tables(stage, evidence)
    return evidence


async def _add_tables(stage: Stage, evidence: Evidence) -> None:
    h = "" if stage.server is None else "holdfast."
    follows: list[tuple[str, str, int, Outcome]] = []
    for place, name, event_id, key, n, follow, replay in await stage.run_sql(
        "select place, subscription, event_id, event_key, n, follow_id, replay from effects order by place"
    ):
        evidence.effects.append(Effect(place, name, event_id, key, n, bool(replay)))
        if follow is not None:
            # What a handler published in its transaction is published exactly if its effect is there. Of a replay, and
            # of an event of which nobody knew for a time whether it was published, it comes out of its order.
            cause = evidence.publishes.get(event_id)
            in_order = cause is not None and cause.outcome == "ok" and not replay
            follows.append((follow, key, n, "ok" if in_order else "unknown"))
    for follow, key, n, outcome in follows:
        evidence.publishes[follow] = Publish(follow, "follow.up", key, n, float("-inf"), outcome)
    if "follow" in evidence.subscriptions:
        _require_follows(evidence, {follow for follow, *_ in follows})
    counted: Counter[tuple[str, str]] = Counter()
    for event_id, name, at in await stage.run_sql(
        f"select event_id, consumer_name, processed_at from {h}event_consumers"
    ):
        evidence.receipts[name, str(event_id)] = _seconds(at)
        counted[name, str(event_id)] += 1
    evidence.repeated_receipts = sum(times > 1 for times in counted.values())
    await _add_dead(stage, evidence, h)
    evidence.stale_writes = [told for (told,) in await stage.run_sql("select told from stale_writes")]
    if stage.server is not None:
        # Events that the faults publish themselves and commit: seen, and nobody's history knows them.
        for event_id, key in await stage.run_sql(
            "select id, event_key from holdfast.event_log where event_name in ('chaos.slow', 'chaos.damaged')"
        ):
            evidence.publishes[str(event_id)] = Publish(str(event_id), "chaos.slow", key, -1, float("-inf"), "unknown")


def _require_follows(evidence: Evidence, follows: set[str]) -> None:
    seen = {run.id for run in evidence.runs if run.subscription == "follow" and run.completed}
    evidence.left_over["follow-ups that were committed and not handled"] = len(follows - seen)


async def _add_dead(stage: Stage, evidence: Evidence, h: str) -> None:
    recorded: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for name, event_id, *attempt in await stage.run_sql(
        f"select s.name, a.event_id, a.attempt, a.outcome, a.error from {h}attempts a "
        f"join {h}subscriptions s on s.id = a.subscription order by a.id"
    ):
        recorded[name, str(event_id)].append(Attempt(*attempt))
    for name, event_id, attempts, reason in await stage.run_sql(
        f"select s.name, d.event_id, d.attempts, d.reason from {h}deliveries d "
        f"join {h}subscriptions s on s.id = d.subscription where d.state = 'dead'"
    ):
        place = name, str(event_id)
        evidence.dead[place] = Letter(attempts, reason or "", tuple(recorded[place]))


def _seconds(at: Any) -> float:
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return float((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def paths_reached(stage: Stage, evidence: Evidence) -> Counter[str]:
    """How often each of `PATHS` was taken, as the logs and the histories tell."""
    text = "".join(path.read_text(errors="replace") for path in sorted(stage.folder.glob("*.log")))
    found: Counter[str] = Counter({path: text.count(said) for path, said in _SAID.items()})
    found["dead letter"] = len(evidence.dead)
    found["backlog of pages"] = readers_of_pages(evidence)
    found["replay"] = sum(run.is_replay for run in evidence.runs)
    found["visitor"] = sum(run.subscription.startswith("visitor") for run in evidence.runs)
    found["unknown outcome"] = sum(publish.outcome == "unknown" for publish in evidence.publishes.values())
    return found


def readers_of_pages(evidence: Evidence) -> int:
    """
    How many processes have read more than one page of the bulk, which came in one transaction and so lies in one window:
    those that handled two events of it that are further apart than a page is long.
    """
    numbers: dict[int, list[int]] = defaultdict(list)
    for run in evidence.runs:
        publish = evidence.publishes.get(run.id)
        if publish is not None and publish.name == BULK_NAME and not run.is_replay:
            numbers[run.pid].append(run.n)
    return sum(max(seen) - min(seen) >= PAGE_EVENTS for seen in numbers.values())
