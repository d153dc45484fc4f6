"""SQLite files in one folder, each copied from a prepared one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from holdfast.bench.apart import apart
from holdfast.bench.publishing import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.bench.places import Kind


class SQLitePlace:
    """
    A place of SQLite; see `holdfast.bench.places.Place`.

    Args:
        folder: Empty, and for the benchmark alone.
    """

    name: Kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[int, Path] = {}
        self.facts = {"version": f"SQLite {sqlite3.sqlite_version}", "journal": "WAL, synchronous=FULL"}

    @contextmanager
    def loaded(self, events: int, *, keep: bool = True) -> Iterator[str]:
        if events not in self._templates:
            self._templates[events] = self._make_template(events)
        path = self._folder / f"{uuid4().hex}.db"
        shutil.copyfile(self._templates[events], path)
        try:
            yield _dsn_of(path)
        finally:
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()
            if not keep:
                self._templates.pop(events).unlink()

    def close(self) -> None:
        for path in self._templates.values():
            path.unlink()

    def _make_template(self, events: int) -> Path:
        path = self._folder / f"template-{events}.db"
        apart(load, _dsn_of(path), events)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("create table bench_effects (event_id text not null)")
        connection.execute("analyze")
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.close()
        return path


def _dsn_of(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"
