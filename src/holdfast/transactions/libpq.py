"""What psycopg and psycopg2 have in common: both show libpq's state of the transaction."""

from __future__ import annotations

from typing import Any

from holdfast.errors import NotInTransaction
from holdfast.transactions.caller import closed, failed

IDLE, ACTIVE, IN_ERROR, UNKNOWN = 0, 1, 3, 4


def require_transaction(connection: Any) -> None:
    """Refuse a connection that is closed, has failed, or commits each statement by itself. Sends nothing."""
    if connection.closed:
        raise closed()
    status = connection.info.transaction_status
    if status == IN_ERROR:
        raise failed("its transaction has failed")
    if status == UNKNOWN:
        raise failed("it is broken")
    if status == IDLE and connection.autocommit:
        raise NotInTransaction(
            "the connection given as tx= is in autocommit and has no open transaction: nothing was published; "
            "open one (with connection.transaction(): ...), or publish without tx="
        )
