"""Declared types of events: their schemas kept and checked, and documents made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import Failure
from holdfast.cli.options import json_option, store_options
from holdfast.cli.output import show_json
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast import EventBus
    from holdfast.cli.options import Target
    from holdfast.stores.inspector import Inspector
    from holdfast.typed.declared import Declared
    from holdfast.typed.sampling import Tried
    from holdfast.typed.schemas import Change

_place = click.argument("place", metavar="MODULE:BUS")
_file = click.option(
    "--file", "path", default="schemas.json", show_default=True, type=click.Path(dir_okay=False, path_type=Path),
    help="Where the schemas are kept.",
)  # fmt: skip


def _document_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--title", help="Of the program. [default: the module]"),
        click.option(
            "-o",
            "--output",
            "path",
            type=click.Path(dir_okay=False, path_type=Path),
            help="A file; else it is printed.",
        ),
    ):
        command = option(command)
    return command


@click.group("schemas", short_help="Types of events: keep their schemas, check changes, make documents.")
def schemas_command() -> None:
    """What a program has declared with holdfast.typed.event, found by importing the module of its bus."""


@schemas_command.command("export", short_help="Write the schemas of all declared events into one file.")
@_place
@store_options
@_file
def export_schemas(place: str, target: Target, path: Path) -> None:
    """Write the JSON Schemas of all declared events into one file, to be committed with the program."""
    from holdfast.typed.schemas import kept_text

    _, events = _declared(place, target)
    _write(path, kept_text(events))
    click.echo(f"{counted(len(events), 'event')} in {clean(str(path))}")


@schemas_command.command("check", short_help="Find changes after which stored events cannot be read.")
@_place
@store_options
@_file
@click.option("--against-store", is_flag=True, help="Try the types on stored events, too.")
@click.option(
    "--sample",
    default=100,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="So many of the newest of each name.",
)
@json_option
def check_schemas(
    place: str, target: Target, path: Path, against_store: bool, sample: int, as_json: bool
) -> None:  # fmt: skip
    """
    Compare the declared events with the kept schemas. Exit code 1 where an old payload may not be read any more and the
    version is the same, where an upcaster is missing, or where a stored event cannot be read.
    """
    from holdfast.typed.schemas import changes_since, kept_in

    bus, events = _declared(place, target)
    changes = changes_since(kept_in(_read(path, place)), events)
    tried = _try_stored(bus, target, events, sample) if against_store else []
    if as_json:
        show_json({"changes": [one._asdict() for one in changes], "tried": [_as_json(one) for one in tried]})
    else:
        _show(changes, tried)
    if any(one.breaking for one in changes) or any(one.refused for one in tried):
        click.get_current_context().exit(1)


@schemas_command.command("asyncapi", short_help="Make an AsyncAPI document, version 3.0.")
@_place
@store_options
@_document_options
@click.option("--api-version", default="1.0.0", show_default=True, help="Of the program.")
def make_asyncapi(place: str, target: Target, path: Path | None, title: str | None, api_version: str) -> None:
    """Say as AsyncAPI what the program publishes, and what its subscriptions receive."""
    from holdfast.typed.asyncapi import asyncapi
    from holdfast.typed.schemas import as_text

    bus, events = _declared(place, target)
    title = title or place.partition(":")[0]
    _put_out(path, as_text(asyncapi(events, bus.consumers, title=title, version=api_version)))


@schemas_command.command("catalogue", short_help="Make a page for people, as one HTML file.")
@_place
@store_options
@_document_options
def make_catalogue(place: str, target: Target, path: Path | None, title: str | None) -> None:
    """Make a page with all declared events, their fields, and who receives them. It needs nothing beside itself."""
    from holdfast.typed.catalogue import catalogue

    bus, events = _declared(place, target)
    _put_out(path, catalogue(events, bus.consumers, title=title or place.partition(":")[0]))


def _declared(place: str, target: Target) -> tuple[EventBus, list[Declared]]:
    from holdfast.cli.load import bus_for
    from holdfast.typed.registry import declared_events

    bus = bus_for(place, target)
    events = declared_events()
    if not events:
        raise Failure(f"no event is declared in what {place} imports: write @event of holdfast.typed above its class")
    return bus, events


def _read(path: Path, place: str) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise Failure(f"there is no {path}: holdfast schemas export {place} writes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {error}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error


def _put_out(path: Path | None, text: str) -> None:
    if path is None:
        click.echo(text, nl=False)
        return
    _write(path, text)
    click.echo(f"wrote {clean(str(path))}")


def _try_stored(bus: EventBus, target: Target, events: Sequence[Declared], sample: int) -> list[Tried]:
    from holdfast.cli.desk import look
    from holdfast.typed.sampling import try_stored

    async def work(inspector: Inspector) -> list[Tried]:
        return [await try_stored(inspector, event, sample=sample) for event in events]

    return look(target._replace(dsn=bus.dsn, schema=bus.schema), work)


def _as_json(tried: Tried) -> dict[str, Any]:
    return {**tried._asdict(), "refused": [one._asdict() for one in tried.refused]}


def _show(changes: Sequence[Change], tried: Sequence[Tried]) -> None:
    for change in changes:
        click.echo(clean(f"{'BREAKS ' if change.breaking else 'changed'} {change}"))
    for one in tried:
        locked = f", {one.locked} are encrypted without a key here" if one.locked else ""
        click.echo(
            clean(f"{one.name}: {counted(one.events, 'stored event')} tried, {len(one.refused)} unreadable{locked}")
        )
        for refused in one.refused:
            click.echo(clean(f"  {refused.event_id} {refused.path} {refused.problem}"))
    if breaking := sum(change.breaking for change in changes):
        click.echo(
            f"{counted(breaking, 'change breaks', 'changes break')} what is stored: raise the version and write an "
            f"upcaster, or take it back; export where it is meant"
        )
    elif changes:
        click.echo("nothing breaks; export the schemas anew, and commit them")
    else:
        click.echo("the schemas are as they are kept")
