"""
Holdfast as an extension of Flask.

::

    holdfast = Holdfast("sqlite:///shop.db")

    @holdfast.bus.subscribe("order.placed")
    def send_receipt(event):
        current_app.mailer.send(event.payload["order_id"])

    def create_app():
        app = Flask(__name__)
        holdfast.init_app(app)
        return app

``flask holdfast worker`` handles events, each in the application's context; ``flask holdfast status`` and all other commands
work on the bus's store.
"""

from __future__ import annotations

import functools
import inspect
import os
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import Commands
from holdfast.errors import ConfigurationError
from holdfast.sync import SyncEventBus

if TYPE_CHECKING:
    from flask import Flask

    from holdfast.subscription import Around, Handler

__all__ = ["Holdfast"]


class Holdfast:
    """
    A bus whose handlers run in the context of a Flask application.

    Args:
        dsn: As for `EventBus`, and so are all options.
        app: The application, unless `init_app` is given it later.
        around: As for `EventBus`; it is within the application's context.

    Attributes:
        bus: Publishes in views, and takes subscriptions. It starts no worker by itself.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    def __init__(
        self, dsn: str | None = None, *, app: Flask | None = None, around: Around | None = None, **options: Any
    ) -> None:
        self._app: Flask | None = None
        self._own_around = around
        self.bus = SyncEventBus(dsn, around=self._around, **options)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Let handlers run in the context of *app*, and give it the commands ``flask holdfast …``."""
        self._app = app
        app.extensions["holdfast"] = self
        app.cli.add_command(_Commands(self.bus))

    def _around(self, handler: Handler) -> Handler:
        inner: Any = handler if self._own_around is None else self._own_around(handler)
        if inspect.iscoroutinefunction(inner):

            @functools.wraps(inner)
            async def call(*given: Any) -> Any:
                with self._application().app_context():
                    return await inner(*given)

            return call

        @functools.wraps(inner)
        def call_plain(*given: Any) -> Any:
            with self._application().app_context():
                return inner(*given)

        return call_plain

    def _application(self) -> Flask:
        if self._app is None:
            raise ConfigurationError("no application was given to Holdfast: call init_app(app) where it is made")
        return self._app


class _Commands(Commands):
    """The commands of ``holdfast``, on the store of a bus; the worker is that bus's."""

    def __init__(self, bus: SyncEventBus) -> None:
        super().__init__("holdfast", help="Look after the bus of this application.")
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
        ctx.find_root().obj = None  # Flask's own, where our commands keep the store that they work on
        return super().invoke(ctx)

    def _worker(self) -> click.Command:
        def work() -> None:
            """Handle events until SIGTERM or SIGINT; a second signal aborts."""
            self._bus.run()

        return click.command("worker", short_help="Handle events until a signal comes.")(work)


def _set_schema(command: click.Command, schema: str) -> None:
    """What ``--schema`` is where nobody gives it."""
    for option in command.params:
        if option.name == "schema":
            option.default = schema
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _set_schema(inner, schema)
