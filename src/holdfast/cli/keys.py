"""The keys of encrypted payloads: listed, made, rotated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import actor_option, json_option, store_options
from holdfast.cli.output import progress, show_json, show_table
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.encryption import MasterKeys
    from holdfast.stores.keys import Rotated


@click.group("keys", invoke_without_command=True, short_help="Keys of encrypted payloads: list, make, rotate.")
@store_options
@json_option
@click.pass_context
def keys_command(ctx: click.Context, target: Target, as_json: bool) -> None:
    """List the master keys by what is under them. Master keys are read from HOLDFAST_MASTER_KEYS_FILE, never stored."""
    if ctx.invoked_subcommand is not None:
        return
    found = look(target, lambda inspector: inspector.keys())
    if as_json:
        show_json(found)
        return
    rows = [(one.master, one.kept, one.erased) for one in found]
    show_table(("master key", "data keys", "erased"), rows, empty="Nothing was ever encrypted here.")


@keys_command.command("make", short_help="Make a new master key.")
@click.argument("name")
@click.option(
    "--file", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write it there, for this user alone."
)
@click.option("--first", is_flag=True, help="Put it first in the file: it is the current one from the next start on.")
def make(name: str, path: Path | None, first: bool) -> None:
    """Make a new master key called NAME, and print it as a line for the file of master keys, or write it there, last."""
    from holdfast.encryption import MasterKeys, new_master_key

    if path is None:
        if first:
            raise WrongUsage("--first goes with --file")
        line = new_master_key(name)
        MasterKeys.from_text(line, "the new line")  # a name that could not be read back is refused here
        click.echo(line)
        return
    add_line(path, new_master_key(name), first=first)
    click.echo(f"The master key {clean(name)} is in {path}. Keep a copy elsewhere: without it no payload can be read.")


def add_line(path: Path, line: str, *, first: bool) -> None:
    """Write *line* into the file as a whole: whoever reads it sees all of it, before or after."""
    from holdfast.encryption import MasterKeys

    known = path.read_text("utf-8") if path.exists() else ""
    if known and not known.endswith("\n"):
        known += "\n"
    text = f"{line}\n{known}" if first else f"{known}{line}\n"
    MasterKeys.from_text(text, f"the file {path}")
    beside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@keys_command.command("rotate", short_help="Wrap all data keys with the current master key.")
@store_options
@actor_option
@json_option
def rotate(target: Target, actor: str, as_json: bool) -> None:
    """Wrap all data keys with the current master key, the first in HOLDFAST_MASTER_KEYS_FILE.

    Those before it must be in the file as well, behind it; afterwards they can be taken out. Payloads stay as they are.
    """
    provider = master_keys()

    async def work(opened: Desk) -> Rotated:
        count = sum(one.kept for one in await opened.inspector.keys() if one.master != provider.current)
        with progress("Rotating", count) as advance:
            return await opened.operator.rotate_keys(provider, actor=actor, progress=advance)

    found = at_desk(target, work)
    if as_json:
        show_json(found)
    else:
        click.echo(f"{counted(found.wrapped, 'data key is', 'data keys are')} under {clean(provider.current)} now.")
    if found.left:
        raise Failure(
            f"{counted(found.left, 'data key is', 'data keys are')} under master keys that are not in the file: "
            f"holdfast keys  names them"
        )


def master_keys() -> MasterKeys:
    """Those that the environment names. Raises WrongUsage where it names none."""
    from holdfast.encryption import MasterKeys

    if (found := MasterKeys.from_environment()) is None:
        raise WrongUsage("there is no master key: HOLDFAST_MASTER_KEYS_FILE names the file with them")
    return found
