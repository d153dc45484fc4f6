"""The error that is not the driver's own leaves a pipeline as one, and nothing of the connection."""

from __future__ import annotations

import psycopg
import pytest

from holdfast.stores.postgres.pipelines import pipelined, pipelined_sync

_AS_THE_DRIVER_DOES = IndexError("pop from an empty deque")


async def test_of_an_asynchronous_connection(emptied_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(emptied_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError, match="in the midst of a pipeline"):
            async with pipelined(connection):
                raise _AS_THE_DRIVER_DOES
        assert connection.closed


def test_of_a_blocking_connection(emptied_dsn: str) -> None:
    with psycopg.connect(emptied_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError, match="in the midst of a pipeline"), pipelined_sync(connection):
            raise _AS_THE_DRIVER_DOES
        assert connection.closed
