"""Where events live: one `Store` protocol (`base`), one folder for each database behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from holdfast.stores.base import Store


def make_store(
    dsn: str, *, schema: str = "holdfast", timeout: float = 2.0, lease_ttl: float = 30.0, handler_connections: int = 16
) -> Store:
    """The store that *dsn* names, not opened yet. Its driver is imported here and nowhere earlier.

    Raises:
        ConfigurationError: The scheme is none of ours.
        MissingExtra: The driver is not installed.
    """
    scheme = dsn.partition("://")[0].lower()
    if scheme in {"postgresql", "postgres"}:
        try:
            from holdfast.stores.postgres import PostgresStore
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "psycopg", "postgres", "a PostgreSQL store") from error
        return PostgresStore(
            dsn, schema=schema, timeout=timeout, lease_ttl=lease_ttl, handler_connections=handler_connections
        )
    if scheme == "sqlite":
        from holdfast.stores.sqlite import SQLiteStore

        return SQLiteStore.from_dsn(dsn, timeout=timeout)
    raise no_store(dsn)


def no_store(dsn: str) -> ConfigurationError:
    """What is said of a DSN of no known kind: its scheme at most, as anything else may be a password."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}(?=:)", dsn) if "://" in dsn else None
    begins = f"a DSN that begins with {scheme[0]}:" if scheme else "a DSN without a scheme:"
    return ConfigurationError(
        f"no store for {begins} use postgresql://host/database, sqlite:///file.db, or sqlite:// (in memory)"
    )
