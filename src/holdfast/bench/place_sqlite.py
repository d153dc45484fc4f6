"""SQLite files in one folder, each copied from a prepared one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from holdfast.bench.apart import apart
from holdfast.bench.loads import Load, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.bench.places import Kind

_RECEIPTS_OF_HISTORY = """insert into receipts (event_id, subscription, processed_at)
    select e.id, s.id, e.occurred_at from event_log as e join subscriptions as s on e.position <= s.start_horizon"""


class SQLitePlace:
    """
    A place of SQLite; see `holdfast.bench.places.Place`.

    Args:
        folder: Empty, and for the benchmark alone.
    """

    name: Kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[Load, Path] = {}
        self.facts = {"version": f"SQLite {sqlite3.sqlite_version}", "journal": "WAL, synchronous=FULL"}

    @contextmanager
    def loaded(self, load: Load, *, keep: bool = True) -> Iterator[str]:
        path = self._copy(load) if keep else self._make(load)
        try:
            yield _dsn_of(path)
        finally:
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()

    def close(self) -> None:
        for path in self._templates.values():
            path.unlink()

    def _copy(self, load: Load) -> Path:
        if load not in self._templates:
            self._templates[load] = self._make(load)
        path = self._new_path()
        shutil.copyfile(self._templates[load], path)
        return path

    def _new_path(self) -> Path:
        return self._folder / f"{uuid4().hex}.db"

    def _make(self, load: Load) -> Path:
        path = self._new_path()
        apart(fill, _dsn_of(path), load)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("create table bench_effects (event_id text not null)")
        if load.history:
            connection.execute(_RECEIPTS_OF_HISTORY)
        connection.execute("analyze")
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.close()
        return path


def _dsn_of(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"
