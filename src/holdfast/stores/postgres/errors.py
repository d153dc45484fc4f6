"""Errors of the driver become errors of Holdfast: here, by SQLSTATE, never by wording."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from holdfast.errors import HoldfastError, SchemaMismatch, StoreError
from holdfast.stores.postgres.version import SCHEMA_VERSION
from holdfast.stores.sqlstate import NO_TABLES, cause, from_sqlstate

if TYPE_CHECKING:
    from collections.abc import Iterator


def no_tables(where: str) -> SchemaMismatch:
    hint = "  (or EventBus(..., auto_migrate=True)); if they exist there, the role lacks USAGE on the schema"
    return SchemaMismatch(where, None, SCHEMA_VERSION, hint)


def first_line(error: psycopg.Error) -> str:
    """What happened, without the driver's own preface and without the hints that follow on further lines."""
    connection = error.pgconn
    text = connection.error_message.decode("utf-8", "replace") if connection else ""
    return next((line.strip() for line in (text or str(error)).splitlines() if line.strip()), type(error).__name__)


def translate(error: psycopg.Error, where: str) -> HoldfastError:
    """The error of Holdfast that stands for *error*, which happened at *where*."""
    if error.sqlstate is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreError(
            f"{where}: {first_line(error)}"
        )  # the driver was used wrongly: a defect, and trying again cannot help
    if error.sqlstate in NO_TABLES:
        return no_tables(where)
    return from_sqlstate(error.sqlstate, error.diag.message_primary or first_line(error), where)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of the driver inside leave as errors of Holdfast."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, where) from cause(error, error.sqlstate)
