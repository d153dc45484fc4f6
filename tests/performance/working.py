"""A worker at work in this process, and nothing else that could count."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast import EventBus
from tests.bus.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from holdfast import Event

PAGE = 1_000
"""Events that a worker reads at once, and receipts that it writes at once."""

_ROWS = {
    "postgres": "select 'load.n' || (n % {names}), 'key-' || (n % 500), json_build_object('n', n, 'text', repeat('x', 150)) "
    "from generate_series(1, {number}) as n",
    "sqlite": "with recursive s (n) as (select 1 union all select n + 1 from s where n < {number}) "
    "select 'load.n' || (n % {names}), 'key-' || (n % 500), json_object('n', n, 'text', printf('%.150c', 'x')) from s",
}
_INTO = "insert into {schema}event_store (event_name, event_key, payload) "


class Work:
    """A bus whose handlers do nothing but count."""

    def __init__(self, dsn: str) -> None:
        self.bus = EventBus(dsn, spool="off", auto_migrate=dsn.startswith("sqlite"))
        self.handled = 0

    def subscribe(self, name: str, pattern: str = "**", **options: Any) -> None:
        self.bus.subscribe(pattern, self.count, name=name, **options)

    async def count(self, event: Event) -> None:
        self.handled += 1

    @property
    def worker(self) -> Any:
        return self.bus._live and self.bus._live.worker

    @property
    def rests(self) -> bool:
        """All that was handled is settled, and nothing more is to be read."""
        return self.worker is not None and self.worker.is_quiet

    async def until_handled(self, number: int) -> None:
        await until(lambda: self.handled >= number and self.rests, seconds=60)


@asynccontextmanager
async def at_work(
    dsn: str, subscriptions: int = 1, *, names: Callable[[], Sequence[str]], last: str, **options: Any
) -> AsyncIterator[Work]:
    """
    A worker that has all its partitions and connections, has done its chores, has handled an event of each, and rests.

    Args:
        subscriptions: With more than one, each wants the events of its own number; see `fill`.
        names: The statements so far.
        last: The last statement of its chores, which come again only in a minute.
        options: Of each subscription.
    """
    work = Work(dsn)
    for number in range(subscriptions):
        work.subscribe(f"s{number}", f"load.n{number}", **options)
    async with work.bus:
        slices = subscriptions * options.get("partitions", 8)
        await until(lambda: work.rests and len(work.worker.epochs) == slices and last in names(), seconds=60)
        for number in range(subscriptions):
            await work.bus.publish(f"load.n{number}")
        await work.until_handled(subscriptions)
        yield work


def fill(dsn: str, number: int, *, names: int = 1) -> None:
    """So many events, stored by one transaction of another program."""
    if dsn.startswith("sqlite"):
        with closing(sqlite3.Connection(dsn.removeprefix("sqlite:///"))) as file, file:
            file.execute(_INTO.format(schema="") + _ROWS["sqlite"].format(number=number, names=names))
        return
    with closing(psycopg.connect(dsn, application_name="another program")) as connection, connection:
        connection.execute(_INTO.format(schema="holdfast.") + _ROWS["postgres"].format(number=number, names=names))
