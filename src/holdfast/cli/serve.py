"""Serving an inbox, a feed, or both."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.dashboard import listen
from holdfast.cli.options import store_options
from holdfast.cli.worker import OneLine
from holdfast.errors import MissingExtra

if TYPE_CHECKING:
    import socket

    import uvicorn

    from holdfast import EventBus
    from holdfast.cli.options import Target


@click.command("serve", short_help="Serve an inbox for webhooks, or a feed.")
@click.argument("place", metavar="MODULE:APP")
@store_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8422, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0: a free one.")
@click.option("--health-port", type=click.IntRange(0, 65_535), help="Answer /livez, /readyz and /metrics on this port.")
@click.option("--health-host", default="127.0.0.1", show_default=True, help="Address for --health-port.")
def serve_command(place: str, target: Target, host: str, port: int, health_port: int | None, health_host: str) -> None:
    """
    Serve an ASGI application, such as an Inbox or a Feed, until SIGTERM or SIGINT.

    It speaks plain HTTP: HTTPS is for a proxy in front of it. The module is found from the current folder.
    """
    from holdfast.cli.load import load_app

    if "dsn" in target.given:
        import os

        os.environ["HOLDFAST_DSN"] = target.dsn
    app = load_app(place)
    bus: Any = getattr(app, "bus", None)
    if health_port is not None and bus is None:
        raise WrongUsage(f"--health-port tells of a bus, and {place} has none: serve an Inbox or a Feed by itself")
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    server, listening = server_of(app), listen(host, port)
    shown = listening.getsockname()
    click.echo(f"Serving {place} on http://{f'[{shown[0]}]' if ':' in shown[0] else shown[0]}:{shown[1]}")
    with suppress(KeyboardInterrupt):
        if health_port is None:
            server.run(sockets=[listening])
        else:
            asyncio.run(_serve(server, listening, bus, health_host, health_port))


async def _serve(server: uvicorn.Server, listening: socket.socket, told: EventBus, host: str, port: int) -> None:
    """Serve, and tell the health of a bus and its metrics meanwhile."""
    from holdfast.cli.health import HealthServer

    async with HealthServer([told], host, port) as health:
        await told.open()  # a feed publishes nothing, nor does an inbox that refuses everything, and both count
        logging.getLogger("holdfast.health").info("health on http://%s:%d/readyz", host, health.port)
        await server.serve(sockets=[listening])
        await told.close()


def server_of(app: Any) -> uvicorn.Server:
    """What serves *app* until SIGINT or SIGTERM. Raises MissingExtra."""
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingExtra("uvicorn", "web", "holdfast serve") from error

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if (end := getattr(app, "end", None)) is not None:
                end()  # or the streams of a feed would be waited for
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app, access_log=False, log_config=None, log_level="warning", server_header=False, proxy_headers=False,
            ws="none", lifespan="auto", limit_concurrency=500, timeout_graceful_shutdown=10,
        )
    )  # fmt: skip
