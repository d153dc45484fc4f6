"""Retention: what would go, and letting it go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import actor_option, duration, json_option, store_options, yes_option
from holdfast.cli.output import advised, confirm, show_json
from holdfast.health import catching_up
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.storage import Retention


@click.command("retention", short_help="Show, or drop, old events that nobody needs any more.")
@store_options
@click.option(
    "--older-than", "seconds", type=duration, help="Stored longer ago.  [default: as long as workers keep them]"
)
@click.option("--run", is_flag=True, help="Drop them, as workers do by themselves.")
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write what is dropped there first.",
)
@json_option
@actor_option
@yes_option
def retention_command(
    target: Target, seconds: float | None, run: bool, archive: Path | None, as_json: bool, actor: str, yes: bool
) -> None:
    """Show which old events every subscription is through with; with --run, drop them."""
    if not run:
        if archive is not None:
            raise WrongUsage("--archive goes with --run: nothing is dropped without it")

        async def preview_alone(inspector: Inspector) -> Retention:
            return await inspector.retention_preview(await _age(inspector, seconds))

        show(look(target, preview_alone), "may be dropped", as_json=as_json)
        return

    async def work(opened: Desk) -> Retention:
        age = await _age(opened.inspector, seconds)
        preview = await opened.inspector.retention_preview(age)
        if preview.droppable:
            confirm(f"Drop {counted(preview.droppable, 'event')} for good?", yes=yes)
        await opened.store.open()
        return await opened.operator.retention_run(age, actor=actor, archive=archive)

    try:
        show(at_desk(target, work), "dropped", as_json=as_json)
    except OSError as error:
        raise Failure(f"the archive cannot be written, so that the rest is kept: {error}") from error


async def _age(inspector: Inspector, seconds: float | None) -> float:
    """As asked for; else as long as workers keep events."""
    if seconds is None:
        seconds = (await inspector.retention_rule()).seconds
    if seconds is None:
        raise Failure("the workers keep events for ever: say how old they are to be by --older-than")
    return seconds


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
