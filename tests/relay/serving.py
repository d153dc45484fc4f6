"""A real server on a real socket, in this loop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def served(app: Any, *, port: int = 0) -> AsyncIterator[tuple[str, int]]:
    """Host and port of *app* under uvicorn, which is stopped at the end."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2, ws="none"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listening]))
    try:
        while not server.started:
            await asyncio.sleep(0)
            if serving.done():
                serving.result()
        yield listening.getsockname()[:2]
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving
