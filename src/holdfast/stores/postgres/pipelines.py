"""The driver's pipelines, with the one error that is not the driver's own.

Where the connection ends in the midst of a pipeline, psycopg (3.3) may be given one answer more than it has questions
left, and fails by the empty queue in which it looks for the question.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CUT = "the connection ended in the midst of a pipeline"


@asynccontextmanager
async def pipelined(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """What is executed inside goes out in one round trip.

    Raises:
        psycopg.Error: As the driver; without a code where the connection ended.
    """
    try:
        async with connection.pipeline():
            yield
    except IndexError as error:
        connection.pgconn.finish()  # nobody knows which answers would come next
        raise psycopg.OperationalError(_CUT) from error
