"""All phases of a campaign, one after the other, and a report that grows with them."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from contextlib import AsyncExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from holdfast.testing import LocalPostgres
from tests.chaos import report
from tests.chaos.acting import insist
from tests.chaos.faults import FAULTS
from tests.chaos.phases import Phase, can_run, groups_of, mix, plan
from tests.chaos.proxy import Proxy
from tests.chaos.run import Result, broken_off, run_phase
from tests.chaos.scene import Stage
from tests.chaos.servers import SMALL_DISK, small_disk
from tests.chaos.workload import LONGEST_FAULT_S

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from tests.chaos.fault import Fault
    from tests.chaos.report import About

_SPOOL_MIB = 64
_TABLES = ("event_log", "receipts", "deliveries", "attempts", "cursors", "leases", "snapshots", "subscriptions")
# A session whose client was reset while packets were dropped is found dead by nothing else.
_SETTINGS = {
    "max_connections": "100", "tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "2",
}  # fmt: skip


async def run_campaign(
    about: About, results: Path, stop: asyncio.Event, *, groups: Sequence[str] = (), per_second: float = 10.0,
    keep: bool = False,
) -> bool:  # fmt: skip
    """
    Run until the plan is through or *stop* is set, and write the report after each phase. Returns whether every
    promise held. The histories of a phase that is not good are kept beside the report; with *keep* all are.
    """
    random = Random(about.seed)
    faults, not_run = can_run(FAULTS, about.store)
    seconds, every = about.minutes * 60, groups_of(faults)
    phases = [mix(groups, every, seconds)] if groups else plan(every, seconds, about.seed)
    done: list[Result] = []
    async with AsyncExitStack() as stack:
        server, proxy = None, None
        if about.store == "postgres":
            server = stack.enter_context(LocalPostgres(fsync=False, settings=_SETTINGS))
            proxy = await stack.enter_async_context(Proxy(server.port))
            about = replace(about, store=f"PostgreSQL {await _version(server)}")
        for number, phase in enumerate(phases):
            if stop.is_set():
                break
            print(f"{number + 1}/{len(phases)} {phase.name}, {phase.seconds:.0f} s", flush=True)
            folder = Path(tempfile.mkdtemp(prefix="holdfast-campaign-"))
            with small_disk(_SPOOL_MIB) if SMALL_DISK.is_met else nullcontext(folder) as disk:
                stage = Stage(
                    f"campaign_{number}", folder / "run", random, server=server, proxy=proxy, spool=disk / "spool",
                    seconds=min(LONGEST_FAULT_S, max(0.5, phase.seconds / 60)), per_second=per_second,
                )  # fmt: skip
                result = await _run(phase, stage, faults, stop)
            done.append(result)
            _say(result)
            if keep or not result.is_good:
                await _keep_tables(stage)
                shutil.copytree(folder / "run", results / f"histories-{number:02}", dirs_exist_ok=True)
            shutil.rmtree(folder)
            if server is not None:
                await insist(stage, f'drop database "{stage.name}" with (force)', dbname="postgres")
            report.write(results, about, done, not_run)
    path = report.write(results, about, done, not_run)
    _say_end(path, done, not_run)
    return all(result.is_good for result in done)


async def _run(phase: Phase, stage: Stage, faults: Sequence[Fault], stop: asyncio.Event) -> Result:
    """A phase that breaks off is not good, and the phases after it still run."""
    began = time.monotonic()
    try:
        result = await run_phase(phase, stage, faults, stop)
    except Exception as error:
        traceback.print_exc()
        result = broken_off(phase, f"the phase broke off: {error!r}")
    return replace(result, took_s=time.monotonic() - began)


async def _keep_tables(stage: Stage) -> None:
    """Beside the histories, as text: what was lost is looked for in both."""
    if stage.server is None:
        return  # the file lies there already
    for table in _TABLES:
        rows = await stage.run_sql(f"select t::text from holdfast.{table} as t")
        (stage.folder / f"{table}.txt").write_text("".join(f"{row[0]}\n" for row in rows))


async def _version(server: LocalPostgres) -> str:
    import psycopg

    async with await psycopg.AsyncConnection.connect(server.dsn()) as connection:
        version: int = connection.info.server_version
    return f"{version // 10_000}.{version % 10_000}"


def _say(result: Result) -> None:
    figures = result.verdict.figures
    recovery = "never" if result.recovery_s is None else f"after {result.recovery_s:.1f} of {result.heal_s:.0f} s"
    print(
        f"   published {figures['published']}, handled {figures['handled']}, repeats {figures['repeats']}, "
        f"strikes {result.strikes.total()}, lag 0 {recovery}: {'good' if result.is_good else 'NOT GOOD'}"
    )
    for problem in result.problems[:10]:
        print(f"   {problem}")
    for rule, found in result.verdict.anomalies.items():
        for one in found[:5]:
            print(f"   {rule}: {one}")
        if len(found) > 5:
            print(f"   {rule}: {len(found) - 5} more")


def _say_end(path: Path, done: Sequence[Result], not_run: Sequence[Fault]) -> None:
    for fault in not_run:
        print(f"not run: {fault.name}, which needs {', '.join(map(str, fault.missing))}")
    print(f"{sum(result.is_good for result in done)} of {len(done)} phases good; the report: {path}")
