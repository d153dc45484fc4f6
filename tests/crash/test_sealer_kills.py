"""A sealer is killed in the midst of its work, again and again: links stay whole, and each event is sealed once."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from typing import TYPE_CHECKING

import pytest

from holdfast.sealing import Sealer, Verifier
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from tests.contract.harness import event, until

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 24_000
KILLS = 4


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_killed_sealer_leaves_whole_links(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    dsn = f"sqlite:///{tmp_path / 'shop.db'}" if kind == "sqlite" else request.getfixturevalue("migrated_dsn")
    store = make_store(dsn, timeout=30)
    inspector, operator = make_inspector(store)
    await store.open()
    for _ in range(EVENTS // 1000):
        await store.append([event(f"k{number}") for number in range(1000)], atomic=True)

    async def links() -> int:
        return sum([row[1] for row in await inspector.rows("seal_days")])

    lives = []
    for _ in range(KILLS):
        known = await links()
        life = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast", "seal", "--dsn", dsn, stdout=DEVNULL
        )

        async def has_come_further(known: int = known, life: Process = life) -> bool:
            return life.returncode is not None or await links() > known

        await until(has_come_further, 60)
        if life.returncode is None:
            life.kill()
        await life.wait()
        lives.append(life.returncode)
        verifier = Verifier(inspector)
        assert [finding async for finding in verifier.findings()] == []
        assert verifier.summary.sealed + verifier.summary.unsealed == EVENTS
    print(f"{kind}: lives ended with {lives}, {await links()} links")
    assert -9 in lives, "no sealer was killed at work"
    await Sealer(inspector, operator, actor="ann").seal()
    verifier = Verifier(inspector)
    assert [finding async for finding in verifier.findings()] == []
    assert (verifier.summary.sealed, verifier.summary.unsealed) == (EVENTS, 0)
    await inspector.close()
    await store.close()
