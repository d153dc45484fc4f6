"""Events out into a file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import Failure
from holdfast.cli.desk import require_file, store_of
from holdfast.cli.options import event_filter_options, store_options
from holdfast.cli.output import progress
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.options import Target
    from holdfast.moving.files import Format


@click.command("export", short_help="Write events to a file, as JSON lines or Parquet.")
@store_options
@event_filter_options
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="A new file; '-': standard output. One that ends in .gz is packed.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(["jsonl", "parquet"]),
    help="[default: parquet where FILE ends in .parquet, else jsonl]",
)  # fmt: skip
def export_command(target: Target, output: str, kind: Format | None, **filters: Any) -> None:
    """Write the events that were stored when it began, in the order of the log.

    Lines are such as `holdfast publish --jsonl` takes, with ids, so that taking them in twice takes them in once. Payloads
    are written as they are stored: encrypted ones are.
    """
    from holdfast.moving.files import format_of, writing

    try:
        with writing(output, kind or format_of(output)) as writer:
            events = asyncio.run(export(target, writer, filters))
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error}") from error
    click.echo(f"{counted(events, 'event')} exported", err=True)


async def export(target: Target, writer: Any, filters: dict[str, Any]) -> int:
    """Write what the filters mean; returns how many events."""
    from holdfast.moving import pages
    from holdfast.stores.filters import EventFilter
    from holdfast.stores.inspecting import Inspecting
    from holdfast.stores.inspector import make_inspector

    meant, store, events = EventFilter(**filters), store_of(target), 0
    inspector, _ = make_inspector(store)  # not one that decrypts
    assert isinstance(inspector, Inspecting)
    try:
        require_file(target.dsn)
        ((low, high),) = await inspector.rows("log_span")
        with progress("Exporting", 0 if low is None else high - low + 1) as advance:
            async for page in pages(inspector, meant, progress=advance):
                writer.write(page)
                events += len(page)
    finally:
        await inspector.close()
        await store.close()
    return events
