"""Running workers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.options import store_options
from holdfast.printable import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast import EventBus
    from holdfast.cli.options import Target


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of whatever runs workers, for `log_to_stderr` and `work`."""
    for option in (
        click.option(
            "--log-format", default="text", show_default=True, type=click.Choice(["text", "json"]),
            help="A line of text or a JSON object for each record.",
        ),
        click.option(
            "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"]),
            help="What goes to standard error.",
        ),
        click.option("--health-host", default="127.0.0.1", show_default=True, help="Address for --health-port."),
        click.option(
            "--health-port", type=click.IntRange(0, 65_535), help="Answer /livez, /readyz and /metrics on this port."
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("worker", short_help="Handle events until a signal comes.")
@click.argument("places", metavar="MODULE:BUS...", nargs=-1, required=True)
@store_options
@worker_options
def worker_command(
    places: tuple[str, ...], target: Target, health_port: int | None, health_host: str, log_level: str, log_format: str
) -> None:
    """Handle events until SIGTERM or SIGINT; a second signal aborts. Modules are found from the current folder."""
    from holdfast.cli.load import bus_for

    log_to_stderr(log_level, log_format)
    # Two names may lead to one bus, which works once.
    buses = list({id(bus): bus for bus in (bus_for(place, target) for place in places)}.values())
    asyncio.run(work(buses, health_host, health_port))


def log_to_stderr(level: str, format: str) -> None:
    """What workers say goes to standard error, unless the program has said where to."""
    from holdfast.telemetry.logs import DeliveryFilter, JsonFormatter

    handler = logging.StreamHandler()
    handler.addFilter(DeliveryFilter())
    in_text = OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if format == "json" else in_text)
    logging.basicConfig(level=level.upper(), handlers=[handler])


class OneLine(logging.Formatter):
    """What handlers log and raise came from elsewhere: it forges no line and moves no cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return clean(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        return clean(super().formatException(ei), lines=True)


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
