"""Connections of Django: the transaction is the one of the driver's connection below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from holdfast.errors import NotInTransaction, TransactionError
from holdfast.transactions import adapt
from holdfast.transactions.caller import closed, failed, unusable

if TYPE_CHECKING:
    from holdfast.transactions import Caller, Database


def caller_below(connection: Any, database: Database) -> Caller:
    """
    The adapter for what lies below `django.db.connection`, or one of `django.db.connections`. Sends nothing.

    Django's own state is asked here, because the driver does not know of it: that a connection belongs to another
    thread, or that an atomic block has met an error and will be rolled back.

    Raises:
        NotInTransaction: Outside of ``transaction.atomic``.
        TransactionAborted: Closed, or its atomic block will be rolled back.
        TransactionError: It leads to another kind of database, or belongs to another thread.
    """
    if (found := getattr(connection, "vendor", type(connection).__name__)) != database:
        raise TransactionError(
            f"the connection given as tx= leads to {found}, and this bus writes to {database}: "
            f"nothing was published; pass one to the bus's own database"
        )
    try:
        connection.validate_thread_sharing()
    except DatabaseError as error:
        raise unusable(str(error)) from error
    if connection.needs_rollback:
        raise failed("its atomic block has met an error and will be rolled back")
    if connection.connection is None and connection.in_atomic_block:
        raise closed()
    if connection.connection is None or connection.autocommit:
        raise NotInTransaction(
            "the connection of Django given as tx= has no open transaction: nothing was published; "
            "publish inside of transaction.atomic(), or without tx="
        )
    return adapt(connection.connection, database)
