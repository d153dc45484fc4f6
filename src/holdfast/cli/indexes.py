"""Search indexes: listed, added, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import actor_option, json_option, store_options, yes_option
from holdfast.cli.output import confirm, show_json, show_table
from holdfast.printable import clean
from holdfast.wording import sized

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target


@click.group("indexes", invoke_without_command=True, short_help="Search indexes: list, add, drop.")
@store_options
@json_option
@click.pass_context
def indexes_command(ctx: click.Context, target: Target, as_json: bool) -> None:
    """List the indexes that make a search of events quick, and each publish a little dearer; add or drop one."""
    if ctx.invoked_subcommand is not None:
        return
    found = look(target, lambda inspector: inspector.search_indexes())
    if as_json:
        show_json(found)
        return
    rows = [(one.name, one.state, None if one.bytes is None else sized(one.bytes)) for one in found]
    show_table(("index", "state", "size"), rows, empty="There is none.")


@indexes_command.command("add", short_help="Build a search index.")
@store_options
@click.argument("name")
@actor_option
def add(target: Target, name: str, actor: str) -> None:
    """Build the search index NAME. On PostgreSQL nobody waits for it; on SQLite nobody writes meanwhile."""
    built = at_desk(target, lambda opened: opened.operator.add_index(name, actor=actor))
    click.echo(f"The index {clean(name)} is ready{'' if built else ' already'}.")


@indexes_command.command("drop", short_help="Drop a search index.")
@store_options
@click.argument("name")
@actor_option
@yes_option
def drop(target: Target, name: str, actor: str, yes: bool) -> None:
    """Drop the search index NAME."""

    async def work(opened: Desk) -> None:
        confirm(f"Drop the index {name}?", yes=yes)
        await opened.operator.drop_index(name, actor=actor)

    at_desk(target, work)
    click.echo(f"The index {clean(name)} is dropped.")
