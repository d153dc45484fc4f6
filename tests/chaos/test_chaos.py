"""A short form of the campaign: real processes, real faults, and the ten rules. The long one: ``make chaos``."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from textwrap import dedent
from typing import TYPE_CHECKING, NoReturn

import pytest

from holdfast.spool_format import encode_header
from holdfast.worker.hand import PAGE_EVENTS
from tests.chaos import campaign, report
from tests.chaos.campaign import run_campaign
from tests.chaos.collecting import readers_of_pages
from tests.chaos.evidence import Evidence, Publish, Run
from tests.chaos.phases import HANDLERS, PROGRAMS, mix, pairs_of, plan
from tests.chaos.report import About
from tests.chaos.run import broken_off, complaints
from tests.chaos.scene import Stage
from tests.chaos.workload import BULK_NAME

if TYPE_CHECKING:
    from pathlib import Path

_GROUPS = [f"group {n}" for n in range(12)]


async def test_every_promise_holds_for_some_seconds(tmp_path: Path) -> None:
    about = About("pytest", 1, "postgres", "now", 8 / 60)
    good = await run_campaign(about, tmp_path, asyncio.Event(), groups=("workers", PROGRAMS))
    report = (tmp_path / "report.md").read_text()
    assert good, report
    assert "Every promise held" in report


async def test_a_campaign_that_is_told_to_stop_heals_and_reports(tmp_path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(4, stop.set)
    about = About("pytest", 1, "sqlite", "now", 60)
    good = await run_campaign(about, tmp_path, stop, groups=("workers", HANDLERS))
    report = (tmp_path / "report.md").read_text()
    assert good, report
    assert "(cut short)" in report


async def test_a_phase_that_breaks_off_is_reported_and_not_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_a_shell(*_: object) -> NoReturn:
        raise OSError("no room for another process")

    monkeypatch.setattr(campaign, "run_phase", without_a_shell)
    good = await run_campaign(About("pytest", 1, "sqlite", "now", 60), tmp_path, asyncio.Event(), groups=("workers",))
    report = (tmp_path / "report.md").read_text()
    assert not good
    assert "the phase broke off: OSError('no room for another process')" in report


def test_a_long_campaign_has_each_group_alone_then_pairs_then_all() -> None:
    phases = plan(_GROUPS, 7200, seed=1)
    alone = [phase for phase in phases if len(phase.groups) == 1]
    pairs = [phase for phase in phases if len(phase.groups) == 2]
    mixes = [phase for phase in phases if phase.is_full]
    assert {group for phase in alone for group in phase.groups} == set(_GROUPS)
    assert len(pairs) >= len(_GROUPS)
    assert all(phase.groups == frozenset(_GROUPS) for phase in mixes)
    assert phases == alone + pairs + mixes
    assert sum(phase.seconds for phase in phases) == pytest.approx(7200, rel=0.05)


@pytest.mark.parametrize("first", [0, 1, 41])
@pytest.mark.parametrize(("groups", "count"), [(10, 11), (10, 10), (4, 1), (4, 6), (4, 9)])
def test_seeds_that_follow_each_other_have_every_pair_between_them(groups: int, count: int, first: int) -> None:
    names = _GROUPS[:groups]
    every = {frozenset(pair) for pair in combinations(names, 2)}
    runs = -(-len(every) // count)
    seen = [frozenset(pair) for seed in range(first, first + runs) for pair in pairs_of(names, count, seed)]
    assert set(seen) == every


def test_a_short_campaign_is_one_mix_of_all() -> None:
    (phase,) = plan(_GROUPS, 180, seed=1)
    assert phase.is_full
    assert phase.groups == frozenset(_GROUPS)


def test_all_groups_are_all_together_however_they_are_asked_for() -> None:
    asked = mix(_GROUPS[::-1], _GROUPS, 60)
    assert asked.is_full
    assert asked.name == "all together"
    assert not mix(_GROUPS[1:], _GROUPS, 60).is_full


_FORGETFUL = {
    "Task was destroyed but it is pending": """
        loop = asyncio.new_event_loop()
        loop.create_task(asyncio.sleep(1))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    """,
    "was never awaited": "asyncio.sleep(1)",
    "never retrieved": """
        async def fail():
            raise ValueError
        async def main():
            asyncio.create_task(fail())
            await asyncio.sleep(0.01)
        asyncio.run(main())
    """,
    " CRITICAL ": "logging.critical('the worker fails and stops')",
}


@pytest.mark.parametrize("complaint", _FORGETFUL)
def test_what_python_complains_of_in_a_log_is_found(complaint: str, tmp_path: Path) -> None:
    program = f"""import asyncio, logging
logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(message)s")
{dedent(_FORGETFUL[complaint])}"""
    with (tmp_path / "worker-1.log").open("wb") as log:
        subprocess.run([sys.executable, "-c", program], stderr=log, check=True)
    (found,) = complaints(tmp_path)
    assert complaint in found


def test_a_log_without_complaints_has_none(tmp_path: Path) -> None:
    (tmp_path / "worker-1.log").write_text("2026-11-26 12:00:00,000 7 WARNING the store is back: leases are kept\n")
    assert complaints(tmp_path) == []


def test_a_spool_file_is_left_over_though_it_holds_no_event(tmp_path: Path) -> None:
    stage = Stage(
        "scene", tmp_path / "run", random.Random(1), server=None, proxy=None, spool=tmp_path / "spool", seconds=1,
        per_second=1,
    )  # fmt: skip
    assert stage.spool_files() == 0
    folder = tmp_path / "spool" / "of a store"
    folder.mkdir(parents=True)
    (folder / "00000001.spool").write_bytes(encode_header())
    (folder / "corrupt-00000001-32-00000000.bin").write_bytes(b"damage that was set aside")
    assert stage.spool_files() == 1


@pytest.mark.parametrize(("last", "readers"), [(PAGE_EVENTS - 1, 0), (PAGE_EVENTS, 1)])
def test_who_handled_what_no_page_holds_together_has_read_several(last: int, readers: int) -> None:
    evidence = Evidence()
    for n in (0, last):
        evidence.publishes[str(n)] = Publish(str(n), BULK_NAME, None, n, 1.0, "ok")
        evidence.runs.append(Run("loose", str(n), None, n, pid=7, epoch=1, attempt=1, began=2.0))
    assert readers_of_pages(evidence) == readers


def test_a_report_names_its_pairs_and_the_bound_of_healing(tmp_path: Path) -> None:
    phase = next(phase for phase in plan(_GROUPS, 7200, seed=1) if len(phase.groups) == 2)
    result = replace(broken_off(phase, "a power cut"), heal_s=107.4)
    text = report.write(tmp_path, About("pytest", 1, "sqlite", "now", 10), [result], []).read_text()
    assert f"Pairs: {' with '.join(sorted(phase.groups))}." in text
    assert "| never | 107 s |" in text
