"""``publish(..., tx=...)``: one way to run a statement inside the caller's own transaction, whatever its library.

The statement goes through the connection or session that was given, so it commits, rolls back and returns to
savepoints together with the caller's own writes. Nothing here begins, commits or sends a statement beside it; what
the caller's library does before any first statement (its own BEGIN, taking a connection from its pool) still happens.
A session's pending objects are not flushed: they are written when the caller flushes or commits, as always.

No driver is imported here: an object is known by the names of its classes, so what is not installed costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from holdfast.errors import TransactionError
from holdfast.transactions.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Caller", "Database", "adapt"]

Database = Literal["postgresql", "sqlite"]

# Class of the object (package and name) -> module here and class in it.
_SQLALCHEMY = {
    "sqlalchemy.Session": "sqlalchemy.SessionCaller",
    "sqlalchemy.scoped_session": "sqlalchemy.SessionCaller",
    "sqlalchemy.Connection": "sqlalchemy.ConnectionCaller",
    "sqlalchemy.AsyncSession": "sqlalchemy.AsyncSessionCaller",
    "sqlalchemy.async_scoped_session": "sqlalchemy.AsyncSessionCaller",
    "sqlalchemy.AsyncConnection": "sqlalchemy.AsyncConnectionCaller",
}
_DJANGO = {
    "django.ConnectionProxy": "django.caller_below",
    "django.BaseDatabaseWrapper": "django.caller_below",
}
_KINDS: dict[Database, dict[str, str]] = {
    "postgresql": {
        "psycopg.Connection": "psycopg.PsycopgCaller",
        "psycopg.AsyncConnection": "psycopg.AsyncPsycopgCaller",
        "asyncpg.Connection": "asyncpg.AsyncpgCaller",
        "asyncpg.PoolConnectionProxy": "asyncpg.AsyncpgCaller",
        "psycopg2.connection": "psycopg2.Psycopg2Caller",
        **_SQLALCHEMY,
        **_DJANGO,
    },
    "sqlite": {
        "sqlite3.Connection": "sqlite.SQLiteCaller",
        "aiosqlite.Connection": "sqlite.AiosqliteCaller",
        **_SQLALCHEMY,
        **_DJANGO,
    },
}

# What people need not be told of: they meet it under another name.
_UNTOLD = ("asyncpg.PoolConnectionProxy", "django.BaseDatabaseWrapper")

# Part of a class's name -> what its owner meant to pass.
_MEANT = {
    "cursor": "pass the cursor's connection",
    "transaction": "pass the connection or session that began it",
    "pool": "take a connection from it, begin a transaction there, and pass the connection",
    "engine": "pass a connection or session made with it",
    "maker": "call it, and pass the session that it makes",
}


def adapt(transaction: Any, database: Database) -> Caller:
    """
    The adapter for what a caller gave as ``tx=``. Reads nothing and sends nothing.

    Raises:
        TransactionError: No kind of connection or session that *database* knows; the text lists those.
    """
    # `__class__`, unlike type(), sees through the proxies that tracing tools put round connections.
    names = [f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in transaction.__class__.__mro__]
    kinds = _KINDS[database]
    for name in names:
        if name in kinds:
            module, _, caller = kinds[name].partition(".")
            make: Callable[[Any, Database], Caller] = getattr(import_module(f"{__name__}.{module}"), caller)
            return make(transaction, database)
    raise TransactionError(
        f"tx= is of type {names[0]}, and this bus writes to {database}: {_advice(names[0])} "
        f"(accepted: {', '.join(name for name in kinds if name not in _UNTOLD)})"
    )


def _advice(name: str) -> str:
    lower = name.lower()
    return next((advice for part, advice in _MEANT.items() if part in lower), "pass a connection or session")
