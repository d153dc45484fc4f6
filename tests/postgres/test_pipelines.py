"""The error that is not the driver's own leaves a pipeline as one, and nothing of the connection."""

from __future__ import annotations

import psycopg
import pytest

from holdfast.stores.postgres.pipelines import pipelined

_AS_THE_DRIVER_DOES = IndexError("pop from an empty deque")


async def test_an_empty_queue_of_the_driver_is_a_lost_connection(emptied_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(emptied_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError, match="in the midst of a pipeline"):
            async with pipelined(connection):
                raise _AS_THE_DRIVER_DOES
        assert connection.closed
