"""The store that a command looks at or acts on, opened for as long as the command runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote

from holdfast.cli.commands import Failure, WrongUsage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from holdfast.cli.options import Target
    from holdfast.stores.base import Store
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.operator import Operator
    from holdfast.stores.records import SpoolFolder

T = TypeVar("T")


class Desk(NamedTuple):
    """A store with its inspector and operator. The store is not opened: that would make or change an SQLite file."""

    store: Store
    inspector: Inspector
    operator: Operator

    @property
    def spool(self) -> SpoolFolder | None:
        """What processes of this machine and user have spooled for this store, in the usual place."""
        from holdfast.spool_folder import usual_spool

        return usual_spool(self.store.address)


@asynccontextmanager
async def desk(target: Target, *, must_exist: bool = True, decrypts: bool = True) -> AsyncIterator[Desk]:
    """
    The desk of a store. Where it *decrypts*, and the environment names master keys, payloads are shown decrypted.

    Raises Failure where the SQLite file is missing and *must_exist*.
    """
    from holdfast.encryption import MasterKeys
    from holdfast.encryption.inspecting import open_inspector

    store = store_of(target)
    inspector, operator = open_inspector(store, MasterKeys.from_environment() if decrypts else None)
    try:
        if must_exist:
            require_file(target.dsn)
        yield Desk(store, inspector, operator)
    finally:
        await inspector.close()
        await store.close()


def store_of(target: Target) -> Store:
    """The store, not opened. Raises WrongUsage where the DSN or the schema's name is of no use."""
    from holdfast.errors import ConfigurationError, MissingExtra
    from holdfast.stores import make_store

    try:
        return make_store(target.dsn, schema=target.schema, timeout=10.0)
    except MissingExtra:
        raise
    except ConfigurationError as error:
        raise WrongUsage(str(error)) from error


def require_file(dsn: str) -> None:
    """Raise Failure where *dsn* names an SQLite file that is not there, or a memory store, which nobody can share."""
    if not dsn.startswith("sqlite:"):
        return
    path = unquote(dsn.removeprefix("sqlite://").removeprefix("/"))
    if path in {"", ":memory:"}:
        raise WrongUsage("a store in memory belongs to one process and cannot be looked at from outside: give --dsn")
    if not Path(path).exists():
        raise Failure(
            f"there is no store {path} yet: publish something or start a worker, or give --dsn or HOLDFAST_DSN"
        )


def look(target: Target, work: Callable[[Inspector], Coroutine[Any, Any, T]]) -> T:
    """Run *work* on the inspector of a store."""
    return at_desk(target, lambda opened: work(opened.inspector))


def at_desk(
    target: Target, work: Callable[[Desk], Coroutine[Any, Any, T]], *, must_exist: bool = True, decrypts: bool = True
) -> T:
    """Run *work* on the desk of a store."""

    async def run() -> T:
        async with desk(target, must_exist=must_exist, decrypts=decrypts) as opened:
            return await work(opened)

    return asyncio.run(run())
