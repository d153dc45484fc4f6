"""Putting back what was archived."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.desk import at_desk
from holdfast.cli.options import actor_option, store_options, yes_option
from holdfast.cli.output import confirm
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target


@click.command("put-back", short_help="Deliver the events of archives and exports to a subscription.")
@store_options
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "name", metavar="NAME", help="The subscription, where it is not the one that let go of them.")
@actor_option
@yes_option
def put_back_command(target: Target, files: tuple[Path, ...], name: str | None, actor: str, yes: bool) -> None:
    """
    Deliver the events of FILES to the subscription that let go of them, and to no other, in their order.

    Files are what a worker has archived, or `holdfast export` has written: JSON lines, packed or not, and Parquet. What was
    dropped or exported says of no subscription: give --to. Of events that the log still has, only those are delivered that
    the subscription has no receipt for. A file is deleted by nobody: whoever puts it back a second time has its events handled
    a second time.
    """

    async def work(opened: Desk) -> dict[str, int]:
        placed: dict[str, int] = {}
        for file in files:
            for of, events in groupby(read(file), attrgetter("subscription")):
                if not (subscription := name or of):
                    raise WrongUsage(f"{file} does not say who is to get its events: give --to")
                count = await opened.operator.put_back(subscription, events, actor=actor)
                placed[subscription] = placed.get(subscription, 0) + count
        return placed

    from holdfast.moving.files import read

    try:
        confirm(f"Deliver the events of {counted(len(files), 'file')} again?", yes=yes)
        for subscription, count in at_desk(target, work).items():
            waits = "waits" if count == 1 else "wait"
            click.echo(f"{counted(count, 'event')} of {clean(subscription)} {waits} again.")
    except OSError as error:
        raise Failure(f"the archive cannot be read: {error}") from error
