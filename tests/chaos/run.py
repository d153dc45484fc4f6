"""One phase of a campaign: start, hurt, keep quiet, heal, wait, judge."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.chaos.checker import judge
from tests.chaos.collecting import PATHS, collect, paths_reached
from tests.chaos.evidence import Evidence
from tests.chaos.fault import BrokenPromiseError
from tests.chaos.onlooker import Onlooker
from tests.chaos.phases import HANDLERS, PROGRAMS
from tests.chaos.workload import LEASE_TTL, MAX_ATTEMPTS, TIMEOUT, VISITORS, Mood

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.checker import Verdict
    from tests.chaos.fault import Fault
    from tests.chaos.phases import Phase
    from tests.chaos.scene import Stage

WORKERS, PUBLISHERS = 2, 2
# The longest lease, every attempt with its timeout, the longest wait of a breaker, and half a minute. What came while
# all was broken has to be worked off too, on whatever machine this is.
HEAL_S = LEASE_TTL + MAX_ATTEMPTS * (TIMEOUT + 1.0) + 60.0 + 30.0
# An event that kills its process does so until it is dead; each time a lease runs out, and another process starts.
HEAL_PER_POISON_S = (MAX_ATTEMPTS + 2) * (LEASE_TTL + 3.0)
_QUIET_SHARE = 0.25
_ORPHAN_S = 2.0
_FIRST = {"worker stopped past its lease", "store away", "worker killed", "server killed"}
_COMPLAINTS = (" CRITICAL ", "was never awaited", "never retrieved", "Task was destroyed but it is pending")
_OUTSIDE = frozenset({HANDLERS, PROGRAMS})


@dataclass
class Result:
    """What a phase came to."""

    phase: Phase
    verdict: Verdict
    paths: Counter[str]
    strikes: Counter[str]
    lags: list[tuple[float, int]]
    marks: list[tuple[float, float, str]]
    """(from, to, fault), on the same time scale as `lags`: seconds from the start."""
    attempts: list[float]
    repeats: list[float]
    recovery_s: float | None
    heal_s: float = 0.0
    """How long that may take."""
    failed_strikes: Counter[str] = field(default_factory=Counter)
    """Faults that another fault kept from doing all that they were to do."""
    problems: list[str] = field(default_factory=list)
    is_whole: bool = True
    took_s: float = 0.0
    """From its start to its verdict: the quiet time, healing and judging too."""

    @property
    def is_good(self) -> bool:
        return self.verdict.is_good and not self.problems


async def run_phase(phase: Phase, stage: Stage, faults: Sequence[Fault], stop: asyncio.Event) -> Result:
    """Run it, or the part of it until *stop* is set; healing and judging are never left out."""
    began = time.monotonic()
    await stage.prepare()
    stage.set_mood(Mood(trouble=HANDLERS in phase.groups, transactions=PROGRAMS in phase.groups or phase.is_full))
    onlooker = Onlooker(stage)
    strikes: Counter[str] = Counter()
    problems: list[str] = []
    try:
        await stage.start(WORKERS, PUBLISHERS)
        watching = asyncio.create_task(onlooker.watch())
        if phase.is_full:
            await onlooker.bulk()
        striking = [fault for fault in faults if fault.group in phase.groups]
        problems += await _hurt(phase, stage, striking, onlooker, strikes, stop)
        await _pass_by(phase.seconds * _QUIET_SHARE, stop)
        recovery, bound = await _heal(stage, onlooker, watching)
        if recovery is None:
            problems.append(f"the lag was not 0 again within {bound:.0f} s")
        evidence = await collect(stage, onlooker.registered, onlooker.lags)
        await onlooker.close()  # with its own sessions
        evidence.left_over |= await _left_over(stage)
        paths = paths_reached(stage, evidence)
        if phase.is_full and not stop.is_set():
            problems += [f"never reached: {path}" for path in PATHS if not paths[path]]
        problems += complaints(stage.folder)
        result = _result(phase, evidence, began, paths, strikes, problems, is_whole=not stop.is_set())
        return replace(result, recovery_s=recovery, heal_s=bound)
    finally:
        await onlooker.close()
        await stage.close()


def broken_off(phase: Phase, problem: str) -> Result:
    """Of a phase that could not be judged."""
    return Result(
        phase, judge(Evidence()), Counter(), Counter(), [], [], [], [], None, problems=[problem], is_whole=False
    )


async def _hurt(
    phase: Phase, stage: Stage, faults: Sequence[Fault], onlooker: Onlooker, strikes: Counter[str], stop: asyncio.Event
) -> list[str]:
    """
    Strike with one fault after the other, each once before any comes again; two at a time where groups are mixed.

    Returns what faults have found out themselves.
    """
    problems: list[str] = []
    tasks = [asyncio.create_task(onlooker.operate())] if phase.is_full or HANDLERS in phase.groups else []
    left: list[Fault] = []

    async def strike_on() -> None:
        while faults:
            if not left:
                left.extend(_shuffled(faults, stage))
            fault = left.pop()
            strikes[fault.name] += 1
            try:
                await fault.strike(stage)
            except BrokenPromiseError as error:
                problems.append(f"{fault.name}: {error}")
            except Exception as error:  # a tool of the fault that another fault has hurt: told, and no finding
                stage.note(fault.name, "fails", error=repr(error)[:1000])
            await asyncio.sleep(stage.random.uniform(0.2, 1.0) * stage.seconds)

    lines = 2 if len(phase.groups - _OUTSIDE) > 1 else 1
    tasks += [asyncio.create_task(strike_on()) for _ in range(lines)]
    try:
        await _pass_by(phase.seconds * (1 - _QUIET_SHARE), stop, tasks)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return problems


def _shuffled(faults: Sequence[Fault], stage: Stage) -> list[Fault]:
    """In the order of which the last is first: by chance, but first those without which a run would prove little."""
    found = list(faults)
    stage.random.shuffle(found)
    return sorted(found, key=lambda fault: fault.name in _FIRST)


async def _pass_by(seconds: float, stop: asyncio.Event, tasks: Sequence[asyncio.Task[Any]] = ()) -> None:
    """Let time pass, until told to stop, or until one of *tasks* has failed."""
    stopping = asyncio.create_task(stop.wait())
    endings = [task for task in tasks if not task.done()]
    deadline = time.monotonic() + seconds
    while not stopping.done() and (left := deadline - time.monotonic()) > 0:
        done, _ = await asyncio.wait([stopping, *endings], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if any(task is not stopping and task.exception() for task in done):
            break
        endings = [task for task in endings if not task.done()]
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


async def _heal(stage: Stage, onlooker: Onlooker, watching: asyncio.Task[None]) -> tuple[float | None, float]:
    """
    End all trouble and all publishing; returns how long it took until nothing was left to do, None if too long, and how
    long it might take.
    """
    began = time.monotonic()
    stage.resume_all()
    visitors = tuple(name for name in VISITORS if name in onlooker.registered)
    stage.set_mood(Mood(visitors=visitors, publishing=False))
    stage.note("healing", "heals")
    await onlooker.heal()
    if stage.proxy is not None:
        stage.proxy.cut(lambda link: link.is_forgotten)  # the kernel's timeouts, which would come in minutes
    # Files of the dead are adopted by whoever opens the folder next.
    await stage.stop_role("publisher")
    await stage.start_more("publisher", PUBLISHERS)
    if visitors:  # workers that know all of them
        await stage.stop_role("worker")
        await stage.start_more("worker", WORKERS)
    # Publishers go on until their spool has drained: lag counts only what the store knows.
    quiet = 0
    recovery: float | None = None
    bound = _heal_bound(stage)
    while time.monotonic() - began < bound:
        lag = await onlooker.look()
        with suppress(Exception):  # the server is still coming back
            await onlooker.end_prepared(older_than=_ORPHAN_S)
        quiet = quiet + 1 if lag == 0 and not stage.spool_files() else 0
        if quiet == 3:
            recovery = time.monotonic() - began
            break
        await asyncio.sleep(0.5)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await stage.stop_keeper()
    await stage.stop_role("publisher")
    await stage.stop_role("worker")
    await onlooker.look()
    await onlooker.end_prepared(older_than=0)
    return recovery, bound


def _heal_bound(stage: Stage) -> float:
    poisonous = sum(path.read_text().count('"load.poison"') for path in stage.folder.glob("publisher-*.jsonl"))
    return HEAL_S + HEAL_PER_POISON_S * poisonous


async def _left_over(stage: Stage) -> dict[str, int]:
    h = "" if stage.server is None else "holdfast."
    now = "clock_timestamp()" if stage.server is not None else "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    found = {"live leases": f"select count(*) from {h}leases where owner is not null and lease_until > {now}"}
    if stage.server is not None:
        of_programs = "datname = current_database() and application_name not in ('chaos', '') and state is not null"
        sessions = (
            f"select count(*) from pg_stat_activity where {of_programs} and pid <> pg_backend_pid() "
            "and application_name not like '%inspector%'"
        )
        await _until_gone(stage, sessions)
        found |= {
            "sessions": sessions,
            "prepared transactions": "select count(*) from pg_prepared_xacts where database = current_database()",
            "advisory locks": "select count(*) from pg_locks where locktype = 'advisory' and database = "
            "(select oid from pg_database where datname = current_database())",
        }
    counts = {what: int((await stage.run_sql(sql))[0][0]) for what, sql in found.items()}
    return counts | {"spool files": stage.spool_files()}


async def _until_gone(stage: Stage, sql: str) -> None:
    """A session ends a moment after its process, or when the server finds that there is nobody at its other end."""
    for _ in range(150):
        if not (await stage.run_sql(sql))[0][0]:
            return
        await asyncio.sleep(0.1)


def complaints(folder: Path) -> list[str]:
    """What no fault may bring a program to, as its log in *folder* tells."""
    found = []
    for path in sorted(folder.glob("*.log")):
        found += [
            f"{path.name}: {line[:300]}"
            for line in path.read_text(errors="replace").splitlines()
            if any(said in line for said in _COMPLAINTS)
        ]
    return found


def _result(
    phase: Phase, evidence: Evidence, began: float, paths: Counter[str], strikes: Counter[str],
    problems: list[str], *, is_whole: bool,
) -> Result:  # fmt: skip
    seen: set[tuple[str, str]] = set()
    attempts, repeats = [], []
    for run in sorted(evidence.runs, key=lambda run: run.began):
        attempts.append(run.began - began)
        if run.completed and not run.is_replay:
            if (run.subscription, run.id) in seen:
                repeats.append(run.began - began)
            seen.add((run.subscription, run.id))
    return Result(
        phase=replace(phase), verdict=judge(evidence), paths=paths, strikes=strikes,
        lags=[(at - began, lag) for at, lag in evidence.lags], marks=_marks(evidence, began), attempts=attempts,
        repeats=repeats, recovery_s=None, problems=problems, is_whole=is_whole,
        failed_strikes=Counter(line["fault"] for line in evidence.faults if line["what"] == "fails"),
    )  # fmt: skip


def _marks(evidence: Evidence, began: float) -> list[tuple[float, float, str]]:
    found, opened = [], {}
    for line in evidence.faults:
        if line["what"] == "begins":
            opened[line["fault"]] = line["at"]
        elif line["what"] == "heals" and line["fault"] in opened:
            found.append((opened.pop(line["fault"]) - began, line["at"] - began, line["fault"]))
    return found
