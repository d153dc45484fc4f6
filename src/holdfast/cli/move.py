"""Moving a store into another one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.desk import require_file, store_of
from holdfast.cli.options import DEFAULT_SCHEMA, Target, actor_option, json_option
from holdfast.cli.output import progress, show_json, show_table
from holdfast.printable import clean
from holdfast.wording import counted, sized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.moving import Move
    from holdfast.moving.mover import End
    from holdfast.stores.records import SpoolFolder


@click.command("move", short_help="Move a store into another one: SQLite, PostgreSQL, either way.")
@click.argument("source", metavar="SRC_DSN")
@click.argument("destination", metavar="DST_DSN")
@click.option("--source-schema", default=DEFAULT_SCHEMA, show_default=True, help="Schema of the source in PostgreSQL.")
@click.option(
    "--destination-schema", default=DEFAULT_SCHEMA, show_default=True, help="Schema of the destination in PostgreSQL."
)
@json_option
@actor_option
def move_command(
    source: str, destination: str, source_schema: str, destination_schema: str, as_json: bool, actor: str
) -> None:
    """Move events, receipts, what waits, dead letters and pauses from SRC_DSN to DST_DSN, and compare both.

    No worker may run on either. The destination has no events, or those of a run before: broken off, the move is finished
    by running it again; so is what was published to the source meanwhile. The source stays as it is.
    """
    ends = Target(source, source_schema), Target(destination, destination_schema)

    async def work() -> tuple[Move, SpoolFolder | None]:
        from holdfast.moving import Mover
        from holdfast.spool_folder import usual_spool

        async with opened(ends[0], is_made=False) as begin, opened(ends[1], is_made=True) as end:
            done = await Mover(begin, end, actor=actor, bar=progress).move()
            return done, usual_spool(begin.store.address)

    done, spool = asyncio.run(work())
    if as_json:
        show_json({"events": done.events, "sound": done.is_sound, "tables": [one.facts for one in done.tables]})
    else:
        show(done, spool)
    if not done.is_sound:
        raise Failure(
            f"the stores differ: {', '.join(one.name for one in done.tables if not one.agrees)}; the subscriptions of "
            f"{ends[1]} stay paused: begin again with an empty store"
        )


@asynccontextmanager
async def opened(target: Target, *, is_made: bool) -> AsyncIterator[End]:
    """One of the two stores. Where it *is_made*, its tables are; otherwise it has to be there."""
    from holdfast.moving.mover import End
    from holdfast.stores.inspecting import Inspecting
    from holdfast.stores.inspector import make_inspector
    from holdfast.stores.operating import Operating

    store = store_of(target)
    if not store.is_durable:
        raise WrongUsage("a store in memory belongs to one process, and nothing is moved to or from it: give a file")
    inspector, operator = make_inspector(store)
    assert isinstance(inspector, Inspecting)
    assert isinstance(operator, Operating)
    try:
        if is_made:
            await store.migrate()
        else:
            require_file(target.dsn)
        await store.open()
        yield End(store, inspector, operator, str(target))
    finally:
        await inspector.close()
        await store.close()


def show(done: Move, spool: SpoolFolder | None) -> None:
    rows = [
        (
            one.name, one.source.count, one.destination.count,
            one.source.digest if one.agrees else f"{one.source.digest} / {one.destination.digest}",
        )
        for one in done.tables
    ]  # fmt: skip
    show_table(("table", "source", "destination", "digest"), rows, empty="")
    click.echo(f"{counted(done.events, 'event')} moved{'; both stores have the same' if done.is_sound else ''}.")
    if done.sealed_days:
        days = counted(done.sealed_days, "day")
        click.echo(f"The seals of {days} stay with the source: verify and keep it, and seal the destination anew.")
    if spool is not None and spool.waiting_bytes:
        click.echo(
            f"In {clean(spool.path)} lie {sized(spool.waiting_bytes)} for the source: let a program store them there, and move again."
        )
