"""A short form of the campaign: real processes, real faults, and the ten rules. The long one: ``make chaos``."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.chaos import campaign
from tests.chaos.campaign import run_campaign
from tests.chaos.phases import HANDLERS, PROGRAMS, plan
from tests.chaos.report import About

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
    phases = plan(_GROUPS, 7200, random.Random(1))
    alone = [phase for phase in phases if len(phase.groups) == 1]
    pairs = [phase for phase in phases if len(phase.groups) == 2]
    mixes = [phase for phase in phases if phase.is_full]
    assert {group for phase in alone for group in phase.groups} == set(_GROUPS)
    assert len(pairs) >= len(_GROUPS)
    assert all(phase.groups == frozenset(_GROUPS) for phase in mixes)
    assert phases == alone + pairs + mixes
    assert sum(phase.seconds for phase in phases) == pytest.approx(7200, rel=0.05)


def test_a_short_campaign_is_one_mix_of_all() -> None:
    (phase,) = plan(_GROUPS, 180, random.Random(1))
    assert phase.is_full
    assert phase.groups == frozenset(_GROUPS)
