"""The page of the command line, made of the commands themselves."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click
from mkdocs.structure.files import File

from holdfast.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    context = click.Context(main, info_name="holdfast")
    page = "\n\n".join(["# Command line", *_described(main, context)])
    files.append(File.generated(config, "command-line.md", content=f"{page}\n"))
    return files


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    """What a command does, how it is called, its options; then the same of its commands."""
    yield _plain(inspect.cleandoc(command.help or ""))
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    yield f"```text\n{usage}\n```"
    if rows := list(_options(command, context)):
        yield "\n".join(["| option | meaning |", "| --- | --- |", *rows])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                below = click.Context(inner, info_name=name, parent=context)
                yield f"{'#' * len(below.command_path.split())} {below.command_path}"
                yield from _described(inner, below)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and "--help" not in parameter.opts:
            names, meaning = record
            yield f"| `{names}` | {_plain(' '.join(meaning.split()))} |"


def _plain(text: str) -> str:
    """Help that reads in Markdown as it does in a terminal."""
    return re.sub(r"[\\`*_{}\[\]|]", r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;")
