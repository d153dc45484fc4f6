"""The bus of a project: where its database is, and inside of its transactions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from holdfast.integrations.django.conf import Conf, conf
from holdfast.integrations.django.databases import dsn_of
from holdfast.integrations.django.surrounding import surrounding
from holdfast.stores import make_store
from holdfast.sync import SyncEventBus

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from holdfast.event import NewEvent, Published

T = TypeVar("T")

_MIGRATING_SECONDS = 10.0


class ProjectBus(SyncEventBus):
    """
    A `SyncEventBus` on the database of a Django project.

    Inside of ``transaction.atomic`` it publishes by Django's own connection: the event commits, or rolls back, with the
    rows, at savepoints too. Outside it publishes by a connection of its own, and so it does with ``tx=False``. In tests
    it is where their database is.

    Args:
        found: The project's settings.
    """

    def __init__(self, found: Conf) -> None:
        self._conf = found
        self._has_moved = False
        options = found.loaded()
        around = surrounding(self._between_handlers, options.pop("around", None))
        super().__init__(self._dsn_now(), schema=found.schema, around=around, **options)

    @property
    def dsn(self) -> str:
        """The DSN, with its password if it has one: not for logs."""
        self._follow()
        return super().dsn

    @property
    def database(self) -> str | None:
        """Alias of the database that has the tables; None where the setting names a DSN."""
        return self._conf.database if self._conf.dsn is None else None

    @property
    def is_in_transaction(self) -> bool:
        """Whether what is published here and now joins a transaction of Django."""
        if self._conf.database is None:
            return False
        connection = connections[self._conf.database]
        return bool(connection.in_atomic_block or (connection.connection is not None and not connection.autocommit))

    async def apublish(self, name: str, payload: Any = None, **options: Any) -> Published:
        """`publish` for async views: in the thread where Django's asynchronous calls use its connection."""
        return await sync_to_async(self.publish)(name, payload, **options)

    def migrate(self) -> list[str]:
        """
        Make or change the tables, and register what is declared. Returns the steps applied.

        Raises:
            PermissionDenied: The role may not.
            As `EventBus.publish`.
        """
        from holdfast.cli.migrate import bring_up  # a web server is spared the command line

        declarations = [consumer.declaration for consumer in self.consumers]
        store = make_store(self.dsn, schema=self.schema, timeout=_MIGRATING_SECONDS)
        applied, _ = self._wait(bring_up(store, declarations))
        return applied

    def run(self) -> None:
        self._follow()
        super().run()

    def _publish(self, events: Sequence[NewEvent], tx: Any, *, atomic: bool, caller: int = 4) -> list[Published]:
        if tx is None and self.is_in_transaction:
            tx = connections[self._conf.database]
        return super()._publish(events, tx, atomic=atomic, caller=caller + 1)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            self._follow()
        except BaseException:
            work.close()
            raise
        return super()._wait(work)

    def _follow(self) -> None:
        """Go where Django's connection leads: a test runner makes its database after the bus was made."""
        if (dsn := self._dsn_now()) != self._bus.dsn:
            self._bus._options = replace(self._bus._options, dsn=dsn)  # noqa: SLF001 - the other face of the same bus
            self._has_moved = True
            self.close()

    def _dsn_now(self) -> str:
        return self._conf.dsn or dsn_of(connections[self._conf.database])

    def _between_handlers(self) -> None:
        """What Django does between requests. In tests nothing may stay open: a database in use cannot be dropped."""
        if self._has_moved:
            connections.close_all()
        else:
            close_old_connections()


@cache
def project_bus() -> ProjectBus:
    """The one bus of this project, made at the first call."""
    return ProjectBus(conf())
