"""Running workers."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast import EventBus


@click.command("worker")
@click.argument("places", metavar="MODULE:BUS...", nargs=-1, required=True)
@click.option("--dsn", metavar="URL", help="The store of buses that name none themselves (as HOLDFAST_DSN does).")
@click.option("--health-port", type=click.IntRange(0, 65_535), help="Answer /livez and /readyz on this port.")
@click.option("--health-host", default="127.0.0.1", show_default=True, help="Address for --health-port.")
@click.option(
    "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"]),
    help="What goes to standard error.",
)  # fmt: skip
def worker_command(
    places: tuple[str, ...], dsn: str | None, health_port: int | None, health_host: str, log_level: str
) -> None:
    """Handle events until SIGTERM or SIGINT; a second signal aborts. Modules are found from the current folder."""
    from holdfast.cli.load import load_bus

    if dsn is not None:
        os.environ["HOLDFAST_DSN"] = dsn
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Two names may lead to one bus, which works once.
    buses = list({id(bus): bus for bus in map(load_bus, places)}.values())
    asyncio.run(work(buses, health_host, health_port))


async def work(buses: list[EventBus], host: str, port: int | None) -> None:
    """Run the buses, with the health server where a port is given."""
    from holdfast.running import run_buses

    if port is None:
        await run_buses(buses)
        return
    from holdfast.cli.health import HealthServer

    async with HealthServer(buses, host, port) as server:
        logging.getLogger("holdfast.health").info("health on http://%s:%d/readyz", host, server.port)
        await run_buses(buses)
