"""Completion of commands and options in the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from holdfast.cli.commands import main


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell: eval "$(holdfast completion bash)" in its start-up file."""
    kind = get_completion_class(shell)
    assert kind is not None  # click knows the three
    click.echo(kind(main, {}, "holdfast", "_HOLDFAST_COMPLETE").source())
