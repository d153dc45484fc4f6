"""What the checker judges: what was asked for, what ran, and what the tables say in the end. No I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.patterns import matches

Outcome = Literal["ok", "fail", "unknown"]


@dataclass
class Publish:
    """One event that somebody asked to publish."""

    id: str
    name: str
    key: str | None
    n: int
    invoked_at: float
    outcome: Outcome = "unknown"
    """Unknown until told otherwise: who is killed tells nothing."""
    where: str = "store"


@dataclass
class Run:
    """One attempt of a handler at one event."""

    subscription: str
    id: str
    key: str | None
    n: int
    pid: int
    epoch: int
    attempt: int
    began: float
    wall: float = 0.0
    ended: float | None = None
    completed: bool = False
    is_replay: bool = False

    @property
    def seconds(self) -> float:
        return (self.ended or self.began) - self.began


@dataclass(frozen=True)
class Effect:
    """One row that a transactional handler wrote; *place* grows in the order of writing."""

    place: int
    subscription: str
    id: str
    key: str | None
    n: int
    is_replay: bool = False


@dataclass(frozen=True)
class Attempt:
    """The record of an attempt that failed."""

    number: int
    outcome: str
    error: str


@dataclass(frozen=True)
class Letter:
    """A dead delivery, with all that is on record of it; *attempts* is what its row counts."""

    attempts: int
    reason: str
    recorded: tuple[Attempt, ...]


@dataclass(frozen=True)
class Subscription:
    patterns: tuple[str, ...]
    registered_at: float
    """When it was first seen to be registered, by the clock of the histories."""
    transactional: bool = False
    ordered: bool = True
    max_attempts: int = 5
    batched: bool = False
    threads: bool = False
    timeout: float = 300.0
    """Seconds; no more than an attempt may take."""

    def wants(self, publish: Publish) -> bool:
        return any(matches(pattern, publish.name) for pattern in self.patterns)


@dataclass
class Evidence:
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    publishes: dict[str, Publish] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    receipts: dict[tuple[str, str], float] = field(default_factory=dict)
    """Wall time by (subscription, event id)."""
    repeated_receipts: int = 0
    dead: dict[tuple[str, str], Letter] = field(default_factory=dict)
    stale_writes: list[str] = field(default_factory=list)
    """Rows of a partition that somebody wrote who did not own it."""
    lags: list[tuple[float, int]] = field(default_factory=list)
    left_over: dict[str, int] = field(default_factory=dict)
    clock_is_true: bool = True
    """Whether the server's clock, which dates receipts, may be compared with that of the histories."""
    faults: list[dict[str, Any]] = field(default_factory=list)


def add_lines(evidence: Evidence, lines: list[dict[str, Any]]) -> None:
    """Read the histories of publishers and workers."""
    open_runs: dict[tuple[Any, ...], Run] = {}
    for line in lines:
        match line["what"]:
            case "invoke":
                evidence.publishes[line["id"]] = Publish(line["id"], line["name"], line["key"], line["n"], line["at"])
            case "ok" | "fail" | "unknown":
                publish = evidence.publishes[line["id"]]
                publish.outcome, publish.where = line["what"], line.get("where", "store")
            case "start":
                run = Run(
                    line["subscription"], line["id"], line["key"], line["n"], line["pid"], line["epoch"],
                    line["attempt"], line["at"], line["wall"], is_replay=line["replay"],
                )  # fmt: skip
                evidence.runs.append(run)
                open_runs[_place(line)] = run
            case "done" | "failed":
                if run := open_runs.pop(_place(line), None):
                    run.ended, run.completed = line["at"], line["what"] == "done"
            case "begins" | "heals" | "fails":
                evidence.faults.append(line)
    _end_with_their_process(open_runs, lines)


def _place(line: dict[str, Any]) -> tuple[Any, ...]:
    return line["subscription"], line["id"], line["pid"], line["epoch"], line["attempt"], line["replay"]


def _end_with_their_process(open_runs: dict[tuple[Any, ...], Run], lines: list[dict[str, Any]]) -> None:
    """A handler that never said that it ended, ended with its process, or with the last word of that one."""
    gone = {line["process"]: line["at"] for line in lines if line["what"] == "gone"}
    for run in open_runs.values():
        run.ended = gone.get(run.pid)


def completions(evidence: Evidence) -> dict[tuple[str, str], list[Run]]:
    """By (subscription, event id), in the order of their ends, replays left out."""
    found: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in evidence.runs:
        if run.completed and not run.is_replay:
            found[run.subscription, run.id].append(run)
    for runs in found.values():
        runs.sort(key=lambda run: run.ended or 0.0)
    return found


def first_effects(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How many effects each (subscription, event id) has, those of replays left out."""
    return Counter((effect.subscription, effect.id) for effect in evidence.effects if not effect.is_replay)
