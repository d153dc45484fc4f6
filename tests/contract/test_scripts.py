"""The same script, the same answers: the simulated store is held to what SQLite and PostgreSQL say, step by step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from holdfast.ports import wall_millis
from holdfast.stores import make_store
from tests.contract.harness import Scene, SimulatedScene
from tests.contract.scripts import Player
from tests.simulation.server import Server
from tests.simulation.store import SimulatedStore
from tests.simulation.wire import DirectWire

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = range(2000 if os.environ.get("HOLDFAST_LONG") == "1" else 20)
IN_ONE_TEST = 5
STEPS = 60


async def play(scene: Scene, seed: int, *, interleaved: bool, millis: int) -> list[str]:
    await scene.store.open()
    try:
        return await Player(scene, seed, interleaved=interleaved, millis=millis).play(STEPS)
    finally:
        await scene.close()


async def play_simulated(seed: int, *, interleaved: bool, millis: int) -> list[str]:
    server = Server(lambda: wall_millis() / 1000)
    scene = SimulatedScene("simulated", "", SimulatedStore(server, DirectWire()), server=server)
    return await Player(scene, seed, interleaved=interleaved, millis=millis).play(STEPS)


def compare(seed: int, kind: str, said: list[str], simulated: list[str]) -> None:
    """Where they part for the first time is all that matters: from there on they are asked other things."""
    for number, (real, ours) in enumerate(zip(said, simulated, strict=False)):
        assert real == ours, f"seed {seed}, step {number}: {kind} and the simulated store part"
    assert len(said) == len(simulated)


@pytest.mark.parametrize("first", SEEDS[::IN_ONE_TEST])
async def test_one_transaction_after_the_other_on_sqlite(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + IN_ONE_TEST):
        dsn, millis = f"sqlite:///{tmp_path / f'{seed}.db'}", wall_millis()
        scene = Scene("file", dsn, make_store(dsn, timeout=10))
        said = await play(scene, seed, interleaved=False, millis=millis)
        compare(seed, "SQLite", said, await play_simulated(seed, interleaved=False, millis=millis))


@pytest.mark.parametrize("first", SEEDS[::IN_ONE_TEST])
async def test_with_transactions_that_stay_open_on_postgresql(first: int, migrated_copies) -> None:
    for seed in range(first, first + IN_ONE_TEST):
        dsn, millis = migrated_copies(), wall_millis()
        scene = Scene("postgres", dsn, make_store(dsn, timeout=10))
        said = await play(scene, seed, interleaved=True, millis=millis)
        compare(seed, "PostgreSQL", said, await play_simulated(seed, interleaved=True, millis=millis))
