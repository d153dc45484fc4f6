"""Storage: what the store weighs, what may go, and what keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from holdfast.dashboard.rendering import View
from holdfast.moments import duration, written
from holdfast.stores.records import RETENTION_SECONDS
from holdfast.stores.storage import TableStorage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.dashboard.asking import Ask
    from holdfast.dashboard.board import Board

_SUMMED = ("rows", "dead_rows", "bytes", "index_bytes")


async def page(board: Board, ask: Ask) -> View:
    kept_for = (await board.inspector.retention_rule()).seconds
    older_than = ask.text("older_than") or written(RETENTION_SECONDS if kept_for is None else kept_for)
    data: dict[str, Any] = {
        "storage": await board.inspector.storage(),
        "retention": await board.inspector.retention_preview(duration(older_than, field="older_than")),
        "older_than": older_than,
        "kept_for": kept_for,
        "search_indexes": await board.inspector.search_indexes(),
        # Not by itself: an SQLite file is copied and checked for it.
        "facts": await board.inspector.facts() if ask.text("doctor") else None,
        "seals": await board.inspector.seals(),
        "spool": (await board.status()).spool,
    }
    return View("storage", "Storage", data, {"live": False, "tables": by_table(data["storage"].tables)})


@dataclass(frozen=True, slots=True)
class Table:
    """A table with all its partitions, the latest day first."""

    name: str
    whole: TableStorage
    partitions: tuple[TableStorage, ...]


def by_table(found: Sequence[TableStorage]) -> list[Table]:
    """One for each table, with what its partitions come to."""
    tables = []
    for name, parts in groupby(sorted(found, key=attrgetter("table")), key=attrgetter("table")):
        alike = list(parts)
        sums: dict[str, Any] = {field: total(getattr(one, field) for one in alike) for field in _SUMMED}
        days = sorted((one for one in alike if one.partition), key=lambda one: str(one.since or ""), reverse=True)
        tables.append(Table(name, TableStorage(name, **sums), tuple(days)))
    return tables


def total(values: Iterable[int | None]) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
