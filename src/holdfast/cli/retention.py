"""Retention: what would go, and letting it go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import actor_option, duration, json_option, store_options, yes_option
from holdfast.cli.output import advised, confirm, show_json
from holdfast.health import catching_up
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.storage import Retention


@click.command("retention", short_help="Show, or drop, old events that nobody needs any more.")
@store_options
@click.option("--older-than", "seconds", type=duration, default="30d", show_default=True, help="Stored longer ago.")
@click.option("--run", is_flag=True, help="Drop them, as workers do by themselves.")
@json_option
@actor_option
@yes_option
def retention_command(target: Target, seconds: float, run: bool, as_json: bool, actor: str, yes: bool) -> None:
    """Show which old events every subscription is through with; with --run, drop them."""
    if not run:
        found = look(target, lambda inspector: inspector.retention_preview(seconds))
        show(found, "may be dropped", as_json=as_json)
        return

    async def work(opened: Desk) -> Retention:
        preview = await opened.inspector.retention_preview(seconds)
        if preview.droppable:
            confirm(f"Drop {counted(preview.droppable, 'event')} for good?", yes=yes)
        await opened.store.open()
        return await opened.operator.retention_run(seconds, actor=actor)

    show(at_desk(target, work), "dropped", as_json=as_json)


def show(found: Retention, what: str, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    kept = counted(found.kept, "older one is", "older ones are")
    click.echo(f"{counted(found.droppable, 'event')} {what}, {kept} kept.")
    for name in found.blocking:
        click.echo(f"  {clean(name)} still needs some: {advised(catching_up(clean(name)))}")
    if found.with_their_day and not found.droppable:
        young = counted(found.with_their_day, "older event goes when its", "older events go when their")
        click.echo(f"  {young} whole day is old enough: PostgreSQL drops days, of UTC.")
