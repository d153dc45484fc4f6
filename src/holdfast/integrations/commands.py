"""The commands of ``holdfast`` as a framework offers them: on the store of one bus, whose worker is the worker."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import Commands
from holdfast.cli.worker import log_to_stderr, work, worker_options
from holdfast.sync import SyncEventBus

if TYPE_CHECKING:
    from holdfast.bus import EventBus


class BusCommands(Commands):
    """
    All commands of ``holdfast``, whatever ``HOLDFAST_DSN`` says.

    Args:
        bus: Its store is the one that is looked at and acted on; its subscriptions are what a worker works on.
        help: What the group is said to be for.
    """

    def __init__(self, bus: EventBus | SyncEventBus, *, help: str) -> None:
        super().__init__("holdfast", help=help)
        self._bus = bus

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "worker":
            return self._worker()
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            _set_schema(found, self._bus.schema)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        os.environ["HOLDFAST_DSN"] = self._bus.dsn  # of this process, which ends with the command
        ctx.find_root().obj = None  # the framework's own, where our commands keep the store that they work on
        return super().invoke(ctx)

    def _worker(self) -> click.Command:
        @worker_options
        def run(health_port: int | None, health_host: str, log_level: str, log_format: str) -> None:
            """Handle events until SIGTERM or SIGINT; a second signal aborts."""
            log_to_stderr(log_level, log_format)
            if isinstance(self._bus, SyncEventBus):
                self._bus.close()  # what has used it in the background
            asyncio.run(self._work(health_host, health_port))

        return click.command("worker", short_help="Handle events until a signal comes.")(run)

    async def _work(self, health_host: str, health_port: int | None) -> None:
        bus = self._bus.async_bus if isinstance(self._bus, SyncEventBus) else self._bus
        await work([bus], health_host, health_port)


def _set_schema(command: click.Command, schema: str) -> None:
    """What ``--schema`` is where nobody gives it."""
    for option in command.params:
        if option.name == "schema":
            option.default = schema
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _set_schema(inner, schema)
