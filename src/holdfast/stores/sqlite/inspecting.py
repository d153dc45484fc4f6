"""Looking at the SQLite store: the shared reading over a connection that cannot write, and what doctor asks of a file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from holdfast.errors import HoldfastError, SchemaMismatch
from holdfast.names import text_problem
from holdfast.patterns import matches
from holdfast.stores.filters import EventFilter
from holdfast.stores.inspecting import Inspecting, filter_parameters
from holdfast.stores.records import Count, Fact
from holdfast.stores.sqlite.errors import is_damage
from holdfast.stores.sqlite.files import is_read_only
from holdfast.stores.sqlite.maintenance import droppable
from holdfast.stores.sqlite.migrating import version_of
from holdfast.stores.sqlite.rows import json_text, slot_of_row, time_text
from holdfast.stores.sqlite.threads import SessionThread
from holdfast.stores.sqlite.version import SCHEMA_VERSION
from holdfast.stores.storage import Retention, Storage, TableStorage
from holdfast.wording import roughly, sized

if TYPE_CHECKING:
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.store import SQLiteStore

_MEBIBYTE = 1024 * 1024
_FREE_BYTES_MIN = 256 * _MEBIBYTE
_LOG_BYTES_MAX = 512 * _MEBIBYTE
COUNTED_MAX = 20_000
_RESCUE = (
    "stop all programs, keep a copy, and restore a backup; what can still be read is saved by  "
    "sqlite3 FILE .recover | sqlite3 NEW"
)


class SQLiteInspector(Inspecting):
    """See `holdfast.stores.inspector.Inspector`. Never makes a file, never migrates one."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._where, self._path = store._where, store._path  # noqa: SLF001 - a part of the store
        if self._path is None:
            self._thread = self.writing = store._writer  # noqa: SLF001
            return
        self._thread = store._session_thread("inspect", reads_only=True)  # noqa: SLF001
        # Not the store's own writer, which makes a file that is missing.
        self.writing = SessionThread(
            "holdfast-sqlite-operate", store._connect_session, where=self._where, turn=store._turn,  # noqa: SLF001
            timeout=store._timeout, thread=store._thread,  # noqa: SLF001
        )  # fmt: skip

    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return await self._thread.run(self._rows, statement, parameters)

    def _rows(self, session: Session, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        self.require_version(session)
        return session.rows(statement, **adapted(session, parameters))

    def require_version(self, session: Session) -> None:
        if (found := version_of(session)) != SCHEMA_VERSION:
            raise SchemaMismatch(self._where, found or None, SCHEMA_VERSION, "  or give the path of a Holdfast file")

    async def backlogs(self, *, bound: int, tenant_id: str | None) -> dict[int, tuple[Any, ...]]:
        asked: dict[str, Any] = {"bound": bound, "tenant_id": tenant_id}
        return {
            one.id: (await self.rows("subscription_backlog", subscription=one.id, **asked))[0]
            for one in await self.subscriptions()
        }

    async def estimate(self, filter: EventFilter) -> Count:
        ((length,),) = await self.rows("log_length")
        if filter == EventFilter():
            return Count(length, "estimate")
        ((matching, looked),) = await self.rows("estimate_events", **filter_parameters(filter), bound=COUNTED_MAX)
        if looked < COUNTED_MAX:
            return Count(matching, "exact")
        return Count(roughly(matching * length // looked), "estimate")

    async def storage(self) -> Storage:
        tables = tuple(TableStorage(name, rows=rows) for name, rows in await self.rows("storage_tables"))
        pages, free, page_bytes = await self._thread.run(page_counts)
        log_bytes = disk_free = None
        if self._path is not None:
            path = Path(self._path)
            log_bytes, disk_free = bytes_of_log(path), shutil.disk_usage(path.parent).free
        return Storage(
            pages * page_bytes, tables, await self._indexes(), reusable_bytes=free * page_bytes,
            write_ahead_bytes=log_bytes, disk_free_bytes=disk_free,
        )  # fmt: skip

    async def retention_preview(self, seconds: float) -> Retention:
        return await self._thread.run(self._retention, seconds)

    def _retention(self, session: Session, seconds: float) -> Retention:
        self.require_version(session)
        _, last, blocking = droppable(session, seconds)
        row = session.row("old_horizon", since=session.now(-seconds))
        horizon = last if row is None or row[0] is None else row[0]
        ((may_go, kept),) = session.rows("retention_counts", last=last, horizon=horizon)
        return Retention(may_go, kept, blocking)

    async def retention_blockers(self, seconds: float) -> set[str]:
        return set(await self._thread.run(self._blockers, seconds))

    def _blockers(self, session: Session, seconds: float) -> tuple[str, ...]:
        self.require_version(session)
        return droppable(session, seconds)[2]

    async def days_ahead(self) -> None:
        """One table holds all days."""

    async def facts(self) -> list[Fact]:
        facts = [Fact("SQLite", sqlite3.sqlite_version)]
        if self._path is None:
            return [*facts, Fact("file", "none: the events live in memory and end with the process", "note")]
        place = place_facts(Path(self._path))
        if place[0].level == "problem":
            return [*facts, *place]
        try:
            return [*facts, *place, *await self._thread.run(file_facts)]
        except HoldfastError as error:
            fix = _RESCUE if is_damage(error) else "give the path of a Holdfast file that this user can write"
            return [*facts, *place, Fact("content", str(error), "problem", fix)]

    async def close(self) -> None:
        if self._path is not None:
            await self._thread.close()
            await self.writing.close()


def adapted(session: Session, parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as SQLite takes them, with the clock's; and the functions that our statements call."""
    session.connection.text_factory = _readable
    session.connection.create_function("holdfast_matches", 2, matches, deterministic=True)
    session.connection.create_function("holdfast_slot", 3, slot_of_row, deterministic=True)
    session.connection.create_function("holdfast_at", 2, _at, deterministic=True)
    session.connection.create_function("holdfast_sha256", 1, _sha256, deterministic=True)
    given = {name: _adapted(value) for name, value in parameters.items()}
    return {"now": session.now(), "minute_ago": session.now(-60), "day_ago": session.now(-86_400)} | given


def _readable(text: bytes) -> str:
    """What another program stored may not be UTF-8: it is shown as well as it can be, and hides no other row."""
    return text.decode("utf-8", "replace")


def _adapted(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return time_text(value)
    return json_text(value) if isinstance(value, list) else value


def _at(payload: bytes, path: str) -> str | None:
    """The text, number or truth value at a path, as it is written; None where there is none, or no JSON."""
    try:
        found = json.loads(payload, parse_int=str, parse_float=str)
        for segment in json.loads(path):
            found = found[int(segment)] if isinstance(found, list) else found[segment]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if isinstance(found, bool):
        return "true" if found else "false"
    return found if isinstance(found, str) and text_problem(found) is None else None


def _sha256(value: bytes | None) -> bytes | None:
    return None if value is None else sha256(value).digest()


def place_facts(path: Path) -> list[Fact]:
    """The file, the log beside it, and the room that is left. The first one is a problem if the rest cannot be had."""
    if not path.exists():
        fix = "give the path of an existing file, or start a worker or publish, which makes it"
        return [Fact("file", f"{path} does not exist", "problem", fix)]
    if is_read_only(path.parent):
        fix = "mount it for writing, or give another path"
        return [Fact("file", f"{path} lies on a file system that is mounted read-only", "problem", fix)]
    free = shutil.disk_usage(path.parent).free
    log_bytes = bytes_of_log(path)
    return [
        Fact("file", f"{path}, {sized(path.stat().st_size)}"),
        Fact(
            "write-ahead log", sized(log_bytes), "note", "some connection reads for very long, so it cannot be emptied"
        )
        if log_bytes > _LOG_BYTES_MAX
        else Fact("write-ahead log", sized(log_bytes)),
        Fact("free space", sized(free), "problem", "make room on the disk, or events cannot be stored")
        if free < _FREE_BYTES_MIN
        else Fact("free space", sized(free)),
    ]


def bytes_of_log(path: Path) -> int:
    """Size of the write-ahead log beside a file. Asked for by name: opening it would drop this process's locks."""
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def page_counts(session: Session) -> tuple[int, int, int]:
    """Pages of the file, those of them that are free, and the bytes of one."""
    pages, free, size = (
        session.connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return pages, free, size


def file_facts(session: Session) -> list[Fact]:
    """What the file says of itself."""
    version = version_of(session)
    (journal_mode,) = session.connection.execute("pragma journal_mode").fetchone()
    (synchronous,) = session.connection.execute("pragma synchronous").fetchone()
    return [
        schema_fact(version),
        Fact("journal mode", journal_mode)
        if journal_mode == "wal"
        else Fact("journal mode", journal_mode, "problem", "start a worker or publish once: it switches to wal"),
        Fact("synchronous", "full")
        if synchronous >= 2
        else Fact("synchronous", str(synchronous), "problem", "a power cut can lose events that publish returned"),
        integrity(session),
    ]


def schema_fact(version: int) -> Fact:
    if version == SCHEMA_VERSION:
        return Fact("schema", f"version {version}")
    if version == 0:
        fix = "run  holdfast migrate  or give the path of a Holdfast file"
        return Fact("schema", "no Holdfast tables", "problem", fix)
    fix = "run  holdfast migrate" if version < SCHEMA_VERSION else "upgrade the package here"
    return Fact("schema", f"version {version}, this release needs {SCHEMA_VERSION}", "problem", fix)


def integrity(session: Session) -> Fact:
    """The result of integrity_check on a copy, made by the backup API.

    Not on the file itself, which would be read under a transaction that long, nor by opening it in another way. Copied
    in one go: in steps, every commit of others would begin the copy anew.
    """
    with closing(sqlite3.connect("")) as copy:  # a private temporary database, on disk when it is large
        session.connection.backup(copy)
        problems = [row[0] for row in copy.execute("pragma integrity_check(5)")]
    if problems == ["ok"]:
        return Fact("integrity", "ok (integrity_check of a copy)")
    return Fact("integrity", "; ".join(problems), "problem", _RESCUE)
