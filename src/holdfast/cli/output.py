"""What commands print: tables, JSON, progress. Nothing from the store can move the cursor or colour the terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdfast.printable import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_WIDTH_MAX = 60


def show_json(value: Any) -> None:
    """Print *value* as JSON, indented, in ASCII-safe control characters."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_table(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str = "Nothing.") -> None:
    """Print a table: with rich on a terminal, where that is installed, else as plain columns."""
    if not rows:
        click.echo(empty)
        return
    cells = [[text_of(value) for value in row] for row in rows]
    if sys.stdout.isatty() and _show_rich(headings, cells):
        return
    texts = [[heading.upper() for heading in headings], *([_short(cell) for cell in row] for row in cells)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headings))]
    for row in texts:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _show_rich(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ModuleNotFoundError:
        return False
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        # The first column names the row, to be copied whole.
        table.add_column(heading, overflow="fold", no_wrap=heading == headings[0])
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # not markup: a name may look like some
    Console().print(table)
    return True


def text_of(value: Any) -> str:
    """A value as a cell."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case float():
            return age(value)
        case tuple() | list():
            return clean(", ".join(str(one) for one in value))
        case _:
            return clean(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH_MAX else f"{text[: _WIDTH_MAX - 1]}…"


def age(seconds: float | None) -> str:
    """A length of time for people."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed for good; aborts unless the answer is yes."""
    if not yes:
        click.confirm(clean(question), abort=True, err=True)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, shown on a terminal only; the function given takes how many are done so far."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
            yield lambda done: bar.update(done - bar.pos)
        return
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=total)
        yield lambda done: shown.update(task, completed=done)
