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
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError
from holdfast.integrations.commands import BusCommands
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
        app.cli.add_command(BusCommands(self.bus, help="Look after the bus of this application."))

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
