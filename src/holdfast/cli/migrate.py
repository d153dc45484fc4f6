"""Bringing the tables to this release, and registering a program's subscriptions."""

from __future__ import annotations

import asyncio
import os

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.options import Target, store_options
from holdfast.cli.output import clean


@click.command("migrate")
@store_options
@click.argument("place", metavar="[MODULE:BUS]", required=False)
@click.option("--sql", "as_sql", is_flag=True, help="Print the whole schema as SQL; change nothing.")
def migrate_command(target: Target, place: str | None, as_sql: bool) -> None:
    """Make or change the tables; with MODULE:BUS, in that bus's store, and register its subscriptions."""
    from holdfast.stores import make_store

    if place is None:
        bus = None
    else:
        from holdfast.cli.load import load_bus

        # A bus that names no store itself takes the one given here.
        os.environ["HOLDFAST_DSN"] = target.dsn
        bus = load_bus(place)
        target = Target(bus.dsn, bus.schema)
    store = make_store(target.dsn, schema=target.schema, timeout=10.0)
    if as_sql:
        script = getattr(store, "migration_script", None)
        if script is None:
            raise WrongUsage("an SQLite file makes its tables by itself: --sql is for PostgreSQL")
        click.echo(script())
        return
    declarations = [] if bus is None else [consumer.declaration for consumer in bus.consumers]

    async def work() -> tuple[list[str], list[str]]:
        try:
            applied = await store.migrate()
            await store.open()
            return applied, [one.name for one in await store.register(declarations)] if declarations else []
        finally:
            await store.close()

    applied, names = asyncio.run(work())
    for step in applied:
        click.echo(f"applied {step}")
    if not applied:
        click.echo("The tables are up to date.")
    for name in names:
        click.echo(f"registered {clean(name)}")
