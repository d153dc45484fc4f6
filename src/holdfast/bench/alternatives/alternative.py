"""What the benchmark has to know of an alternative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

Content = dict[str, Any]
"""A payload as `holdfast.bench.workload.payload` makes it; ``order_id`` is the number of the event."""

Note = Callable[[Content], None]
"""All that a handler does: it notes the payload. Each alternative makes of it a handler of its own kind."""

Left = Callable[[], int]
"""How many events are not acknowledged yet, as a session of its own sees it; from any thread."""


class Publisher(Protocol):
    """Publishes over connections that are there already. What it has returned from is durable."""

    async def one(self, content: Content) -> None: ...

    async def many(self, contents: Sequence[Content]) -> None:
        """All, in the best way that the alternative documents."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """
    Something else that people use, behind the few verbs that the `measures` need.

    Its functions are named from modules: they travel to the processes that measure. Drivers and packages are imported
    inside them.

    Attributes:
        name: As the report shows it.
        missing: What is not to be had on this machine, and what to do; None if all is there.
        prepared: Its tables in an empty database, or its server; gives the address that the others take.
        publishing: A publisher, connected.
        working: One worker in this process and event loop, until it is left.
        looking: Tells how many events are left.
        is_slow: It takes a tenth of the events, lest a run takes ten times as long.
        in_postgres: Its events lie in the database that is measured, whose dead rows count.
    """

    name: str
    missing: Callable[[], str | None]
    prepared: Callable[[str], AbstractContextManager[str]]
    publishing: Callable[[str], AbstractAsyncContextManager[Publisher]]
    working: Callable[[str, Note], AbstractAsyncContextManager[None]]
    looking: Callable[[str], AbstractContextManager[Left]]
    is_slow: bool = False
    in_postgres: bool = True


def nothing_missing() -> None:
    """The answer of an alternative that needs only the driver that Holdfast needs."""


def missing_package(package: str) -> str | None:
    """What to do if *package*, of the benchmark's own extra, is not installed."""
    return None if find_spec(package) else "it is not installed:  pip install 'holdfast[bench]'  adds it"
