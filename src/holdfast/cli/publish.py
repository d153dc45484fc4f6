"""Publishing from the shell: one event, or a file of them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.desk import store_of
from holdfast.cli.options import event_id as as_event_id
from holdfast.cli.options import later, store_options
from holdfast.cli.output import progress
from holdfast.errors import HoldfastError, IdConflict, InvalidInput
from holdfast.wording import counted, sized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from uuid import UUID

    from holdfast import EventBus
    from holdfast.cli.options import Target

LINES_A_TRANSACTION = 1_000
LINE_BYTES_MAX = 32 * 2**20
"""A file without line ends is not read into memory. The largest event takes less, however it is escaped."""


class Line(NamedTuple):
    """One event of a file. `end`: bytes of the file up to its end."""

    number: int
    item: dict[str, Any]
    end: int


@click.command("publish", short_help="Publish an event, or a file of them.")
@store_options
@click.argument("name", required=False)
@click.argument("payload", metavar="[JSON]", required=False)
@click.option("--tenant", "tenant_id", help="Tenant of the event.")
@click.option("--key", help="Events of one key are handled in order.")
@click.option("--id", "event_id", type=as_event_id, help="Id of the event, so that a repeat is the same event.")
@click.option("--at", type=later, metavar="TIME", help="Publish it later: at 2030-01-31T12:00:00 (UTC), or in 2h.")
@click.option("--jsonl", metavar="FILE", help="Publish a file, one event a line ('-': standard input).")
def publish_command(
    target: Target, name: str | None, payload: str | None, tenant_id: str | None, key: str | None, event_id: UUID | None,
    at: datetime | None, jsonl: str | None,
) -> None:  # fmt: skip
    """Publish an event NAME with a JSON payload (default null), or a file of events.

    A line of a file is a JSON object with name, payload and optionally tenant_id, key, id, headers, occurred_at,
    deliver_at, delay. They are stored in transactions of 1,000 lines; the first bad line stops, and says how many are stored. Where lines
    carry ids, a repeat is safe.
    """
    if (name is None) == (jsonl is None):
        raise WrongUsage("give either NAME and JSON, or --jsonl FILE")
    if jsonl is not None:
        if any(value is not None for value in (tenant_id, key, event_id, at)):
            raise WrongUsage("with --jsonl, tenant, key, id and time stand in the lines")
        publish_file(target, jsonl)
        return
    # As bytes it is checked as written: keys that appear twice, what is not UTF-8.
    content = None if payload is None else payload.encode("utf-8", "surrogateescape")

    async def work(bus: EventBus) -> None:
        assert name is not None
        published = await bus.publish(name, content, tenant_id=tenant_id, key=key, event_id=event_id, deliver_at=at)
        click.echo(str(published.event_id))
        # Apart from the id, so that a shell can take it: ID=$(holdfast publish ...).
        if published.deduplicated:
            click.echo("it was stored before", err=True)
        if published.where == "spool":
            click.echo("the store is away: it waits in the spool", err=True)

    asyncio.run(with_bus(target, None, work))


async def with_bus(target: Target, spool: str | None, work: Callable[[EventBus], Any]) -> Any:
    """Run *work* on a bus of the target, and close the bus."""
    from holdfast import EventBus

    await store_of(target).close()  # a DSN that is of no use is wrong usage
    bus = EventBus(target.dsn, schema=target.schema, spool=spool)
    try:
        return await work(bus)
    finally:
        await bus.close()


def publish_file(target: Target, path: str) -> None:
    """Publish the lines of a file, or of standard input."""
    try:
        source = nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb")  # noqa: SIM115 - closed by "with"
    except OSError as error:
        raise WrongUsage(f"{path} cannot be read: {error.strerror}") from error
    with source as stream:
        size = os.fstat(stream.fileno()).st_size if path != "-" else 0
        with progress("Publishing", size) as advance:
            stored, known = asyncio.run(with_bus(target, "off", lambda bus: publish_lines(bus, stream, advance)))
    repeated = f", {counted(known, 'of them was', 'of them were')} stored before" if known else ""
    click.echo(f"{counted(stored, 'event')} stored{repeated}")


async def publish_lines(bus: EventBus, stream: IO[bytes], advance: Callable[[int], None]) -> tuple[int, int]:
    """Publish chunk by chunk; returns how many are stored, and how many of them were before.

    Raises:
        Failure: With the number of the first bad line and the count stored.
    """
    lines, stored, known = read_lines(stream), 0, 0
    while True:
        chunk, bad = next_chunk(lines)
        try:
            published = await bus.publish_many([line.item for line in chunk])
        except (InvalidInput, IdConflict) as error:
            place = getattr(error, "index", None)
            if place is None:
                raise _stopped(str(error), stored, error) from error
            error.index = None  # the message names the line instead
            stored += len(await bus.publish_many([line.item for line in chunk[:place]]))
            raise _stopped(f"line {chunk[place].number}: {error}", stored, error) from error
        except HoldfastError as error:
            raise _stopped(str(error), stored, error) from error
        stored += len(chunk)
        known += sum(one.deduplicated for one in published)
        if bad is not None:
            raise _stopped(str(bad), stored, bad)
        if not chunk:
            return stored, known
        advance(chunk[-1].end)


def _stopped(message: str, stored: int, error: Exception) -> Failure:
    kind = WrongUsage if isinstance(error, ValueError) else Failure
    return kind(f"{message}; {counted(stored, 'event is', 'events are')} stored")


def next_chunk(lines: Iterator[Line]) -> tuple[list[Line], ValueError | None]:
    """The next lines, up to a transaction's worth or up to a bad one, which comes as its error."""
    chunk: list[Line] = []
    try:
        for line in islice(lines, LINES_A_TRANSACTION):
            chunk.append(line)  # noqa: PERF402 - what came before a bad line counts
    except ValueError as error:
        return chunk, error
    return chunk, None


def read_lines(stream: IO[bytes]) -> Iterator[Line]:
    """The events of a file; blank lines are passed over.

    Raises:
        ValueError: With the number of the line that is no event, and why.
    """
    from holdfast.payload import parse_line

    end = 0
    for number, raw in enumerate(iter(partial(stream.readline, LINE_BYTES_MAX + 1), b""), 1):
        end += len(raw)
        if len(raw) > LINE_BYTES_MAX:
            raise ValueError(f"line {number} is longer than {sized(LINE_BYTES_MAX)}")
        if not raw.strip():
            continue
        try:
            item = parse_line(raw)
        except InvalidInput as error:
            raise ValueError(f"line {number}{':' if error.field else ''} {str(error).strip()}") from error
        yield Line(number, item, end)
