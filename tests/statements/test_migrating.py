"""Making the tables, broken at some of its many statements; at each with ``HOLDFAST_LONG=1``. About five seconds."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreUnavailable
from holdfast.stores import make_store
from tests.statements import hooks, wire
from tests.statements.hooks import Hooks
from tests.statements.operation import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from holdfast.stores.base import Store
    from tests.statements.counting import Countdown

LONG = os.environ.get("HOLDFAST_LONG") == "1"
SAMPLES = 6


async def test_a_schema_is_made_whole_whichever_statement_breaks(postgres_dsn: str) -> None:
    kinds = [wire.Break.CUT, wire.Break.LOST, wire.Break.REFUSED, wire.Break.TERMINATED]
    with wire.Wire(postgres_dsn) as faults:

        def make(number: int) -> Store:
            return make_store(faults.dsn, schema=f"made_{number}", timeout=AT_ONCE)

        await broken_everywhere(faults, make, kinds)
        assert faults.admin.execute("select * from pg_locks where locktype = 'advisory'").fetchall() == []


async def test_a_file_is_made_whole_whichever_statement_breaks(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hooks(str(memory_folder), monkeypatch) as faults:

        def make(number: int) -> Store:
            return make_store(f"sqlite:///{memory_folder / f'{number}.db'}", timeout=0.5)

        await broken_everywhere(faults, make, [hooks.Break.INTERRUPTED])


async def broken_everywhere(faults: Countdown[Any], make: Callable[[int], Store], kinds: list[Any]) -> None:
    faults.watch()
    applied = await make_tables(make(0))
    statements = faults.heal()
    numbers = range(1, statements + 1, 1 if LONG else max(1, statements // SAMPLES))
    felt = [await broken(faults, partial(make, one), one, kinds[one % len(kinds)], applied) for one in numbers]
    assert sum(felt) >= len(felt) / 2


async def broken(faults: Countdown[Any], make: Callable[[], Store], number: int, kind: Any, applied: list[str]) -> bool:
    """Returns whether it broke: SQLite looks for an interruption at jumps, and some statements have none."""
    faults.break_at(number, kind, lasting=bool(number % 2))
    try:
        begun, is_felt = await make_tables(make()), False
    except StoreUnavailable:
        is_felt = True
    else:
        assert (kind, begun) == (hooks.Break.INTERRUPTED, applied), f"{kind} at statement {number}"
    assert faults.heal()
    rest = await make_tables(make())
    # What was applied before it broke is not applied again, and the rest is.
    assert rest == applied[len(applied) - len(rest) :], f"{kind} at statement {number}"
    assert is_felt or not rest
    assert await make_tables(make()) == []
    return is_felt


async def make_tables(store: Store) -> list[str]:
    """Migrate and open; returns the names of what was applied."""
    try:
        async with asyncio.timeout(AT_ONCE):
            applied = await store.migrate()
            await store.open()
        return applied
    finally:
        await store.close()
