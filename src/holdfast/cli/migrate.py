"""Bringing the tables to this release: made, changed, repaired, their roles; and a program's subscriptions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.desk import at_desk, store_of
from holdfast.cli.options import actor_option, store_options, yes_option
from holdfast.cli.output import confirm
from holdfast.errors import PermissionDenied
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast import EventBus
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.base import Store
    from holdfast.stores.records import Restored
    from holdfast.stores.values import Declaration


@click.command("migrate", short_help="Make or change the tables; register a bus's subscriptions.")
@store_options
@click.argument("place", metavar="[MODULE:BUS]", required=False)
@click.option(
    "--sql", "as_sql", is_flag=True, help="Print the schema, or with --roles the roles, as SQL; change nothing."
)
@click.option("--roles", is_flag=True, help="Make the roles publisher, worker, operator, eraser, viewer and tenant.")
@click.option("--after-restore", is_flag=True, help="Make a store that was restored into another server usable there.")
@actor_option
@yes_option
def migrate_command(
    target: Target, place: str | None, as_sql: bool, roles: bool, after_restore: bool, actor: str, yes: bool
) -> None:
    """Make or change the tables; with MODULE:BUS, in that bus's store, and register its subscriptions."""
    if after_restore and (as_sql or roles or place):
        raise WrongUsage("--after-restore goes alone: give the store by --dsn")
    if after_restore:
        repair(target, actor, yes=yes)
        return
    bus = None
    if place is not None:
        from holdfast.cli.load import bus_for

        bus = bus_for(place, target)
        target = target._replace(dsn=bus.dsn, schema=bus.schema)
    if as_sql:
        click.echo(script(target, roles=roles))
        return
    migrate(target, bus)
    if roles:
        store: Any = postgres(target)
        asyncio.run(store.make_roles())
        names = ", ".join(
            f"{target.schema}_{part}" for part in ("publisher", "worker", "operator", "eraser", "viewer", "tenant")
        )
        click.echo(f"roles {names}: grant them to those who log in")


def postgres(target: Target) -> Any:
    """The store, which must be PostgreSQL."""
    store = store_of(target)
    if not hasattr(store, "migration_script"):
        raise WrongUsage(
            "an SQLite file makes its tables by itself and has no roles: --sql and --roles are for PostgreSQL"
        )
    return store


def script(target: Target, *, roles: bool) -> str:
    store = postgres(target)
    text: str = store.roles_script() if roles else store.migration_script()
    return text


def migrate(target: Target, bus: EventBus | None) -> None:
    declarations = [] if bus is None else [consumer.declaration for consumer in bus.consumers]
    applied, names = asyncio.run(bring_up(store_of(target), declarations))
    click.echo(f"store {clean(str(target))}")
    for step in applied:
        click.echo(f"applied {step}")
    if not applied:
        click.echo("the tables are up to date")
    for name in names:
        click.echo(f"registered {clean(name)}")


async def bring_up(store: Store, declarations: Sequence[Declaration]) -> tuple[list[str], list[str]]:
    """
    Bring a store's tables to this release, register *declarations*, and close it.

    Returns:
        The steps applied, and the names registered.
    """
    try:
        applied = await store.migrate()
        try:
            await store.open()  # a restored store says so here
        except PermissionDenied:
            if applied or declarations:
                raise  # a role that may only look has nothing to do either
        return applied, [one.name for one in await store.register(declarations)] if declarations else []
    finally:
        await store.close()


def repair(target: Target, actor: str, *, yes: bool) -> None:
    async def work(opened: Desk) -> Restored:
        confirm(
            "Nothing may publish to this store or work for it meanwhile; the log is rewritten, and what its cursors had "
            "not passed is handled again where it has no receipt. Go on?", yes=yes,
        )  # fmt: skip
        return await opened.operator.after_restore(actor=actor)

    done = at_desk(target, work)
    click.echo(
        f"Repaired: {counted(done.events, 'event is', 'events are')} kept, "
        f"{counted(done.deliveries, 'delivery waits', 'deliveries wait')} to be handled."
    )
