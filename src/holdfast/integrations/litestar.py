"""
A bus that lives as long as a Litestar application does, and comes to its handlers as a dependency.

::

    @post("/orders")
    async def place(data: JSONBody[Order], bus: NamedDependency[EventBus]) -> None:
        await bus.publish("order.placed", {"item": data.item}, key=data.customer)

    app = Litestar([place], plugins=[HoldfastPlugin(bus)])

``litestar holdfast worker`` handles events beside the web server; ``litestar holdfast status`` and all other commands work
on the bus's store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.bus import EventBus
from holdfast.errors import ConfigurationError, MissingExtra
from holdfast.integrations.commands import BusCommands
from holdfast.integrations.starlette import Worker, lifespan

try:
    from litestar.di import Provide
    from litestar.handlers import ASGIRouteHandler, asgi
    from litestar.plugins import CLIPlugin, InitPlugin
    from litestar.types import Receive, Scope, Send  # noqa: TC002 - Litestar reads the annotations
except ImportError as missing:
    raise MissingExtra("litestar", "litestar", "holdfast.integrations.litestar") from missing

if TYPE_CHECKING:
    import click
    from litestar import Litestar
    from litestar.config.app import AppConfig

__all__ = ["HoldfastPlugin", "Worker", "mounted"]

_NAME = "bus"


class HoldfastPlugin(InitPlugin, CLIPlugin):
    """
    Opens a bus with an application, closes it gracefully with that, and gives it the dependency ``bus``, for handlers of
    requests and WebSockets, and the commands ``litestar holdfast …``.

    The worker begins when all that the application does at its start is done, and ends before what it does at its end.
    With several processes each has a worker, and they share the partitions.

    Args:
        bus: One that nobody else closes.
        worker: ``"embedded"`` handles events inside of this process; if the store is away, it starts when that is back.
            ``"off"`` only publishes, and ``litestar holdfast worker`` handles elsewhere.

    Raises:
        ConfigurationError: An argument is of no use.
    """

    def __init__(self, bus: EventBus, *, worker: Worker = "embedded") -> None:
        lifespan(bus, worker=worker)  # refuses what is of no use
        self.bus, self._worker = bus, worker

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Called by Litestar. Raises ConfigurationError: The application has another dependency ``bus``."""
        if _NAME in app_config.dependencies:
            raise ConfigurationError(f"the application has another dependency {_NAME!r}: give that one another name")
        app_config.dependencies[_NAME] = Provide(self._provide, sync_to_thread=False)
        app_config.signature_namespace.setdefault(EventBus.__name__, EventBus)
        app_config.lifespan.append(lifespan(self.bus, worker="off"))
        if self._worker == "embedded":
            app_config.on_startup.append(self._start)
        return app_config

    def on_cli_init(self, cli: click.Group) -> None:
        """Called by Litestar's command line."""
        cli.add_command(_Commands(self.bus))

    def _provide(self) -> EventBus:
        return self.bus

    async def _start(self) -> None:
        await self.bus.__aenter__()  # closed by the lifespan, which has begun


def mounted(path: str, app: Any, **options: Any) -> ASGIRouteHandler:
    """
    A route handler for an ASGI application below *path*, such as the dashboard.

    Litestar's own mount does not tell an application where it is, and ends each path with a slash: its links would lead
    elsewhere. Middleware and *options* such as ``guards`` are Litestar's.
    """
    root = "/" + path.strip("/")

    @asgi(root, is_mount=True, copy_scope=True, **options)
    async def mount(scope: Scope, receive: Receive, send: Send) -> None:
        below: dict[str, Any] = {**scope}
        below["root_path"] = scope.get("root_path", "") + root.rstrip("/")
        below["path"] = below["root_path"] + "/" + scope["path"].strip("/")
        await app(below, receive, send)

    return mount


class _Commands(BusCommands):
    """The worker has what the application opens."""

    def __init__(self, bus: EventBus) -> None:
        super().__init__(bus, help="Look after the bus of this application.")
        self._application: Litestar | None = None

    def invoke(self, ctx: click.Context) -> Any:
        self._application = ctx.find_root().obj.app
        return super().invoke(ctx)

    async def _work(self, health_host: str, health_port: int | None) -> None:
        assert self._application is not None
        async with self._application.lifespan():
            await super()._work(health_host, health_port)
